use super::super::tests::gray;
use super::super::{CodecError, StoredData};
use super::decode;

/// The worked example of ITU-T T.87 annex H.3: 4 x 4 samples of 8 bits.
const EXAMPLE: &[u8] = &[
    0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00, 0xFF, 0xDA, 0x00, 0x08,
    0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00, 0x57, 0x40,
    0x00, 0x00, 0x6E, 0xE6, 0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8, 0x00, 0x00, 0x91, 0x60, 0xFF, 0xD9,
];
const EXPECTED: [u8; 16] = [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];

#[test]
fn the_example_of_the_standard() {
    let frame = decode(EXAMPLE, &gray(4, 4, 8)).expect("decodes");
    assert_eq!(frame.data, StoredData::U8(EXPECTED.to_vec()));
}

#[test]
fn padding_before_the_end_marker_does_no_harm() {
    let mut bytes = EXAMPLE[..EXAMPLE.len() - 2].to_vec();
    bytes.extend([0, 0xFF, 0xD9, 0]);
    assert_eq!(decode(&bytes, &gray(4, 4, 8)).expect("decodes").data, StoredData::U8(EXPECTED.to_vec()));
}

#[test]
fn header_and_codestream_must_agree() {
    let error = decode(EXAMPLE, &gray(4, 5, 8)).expect_err("another width");
    assert_eq!(error.tag, Some(dicom_dictionary_std::tags::ROWS));
    let mut rgb = gray(4, 4, 8);
    rgb.samples = 3;
    let error: CodecError = decode(EXAMPLE, &rgb).expect_err("one component");
    assert_eq!(error.tag, Some(dicom_dictionary_std::tags::SAMPLES_PER_PIXEL));
}

#[test]
fn cut_streams_give_the_rows_before_the_cut_and_flipped_bits_never_panic() {
    let whole = decode(EXAMPLE, &gray(4, 4, 8)).expect("whole").to_f64();
    let mut parts = 0;
    for end in 0..EXAMPLE.len() - 4 {
        let Ok(part) = decode(&EXAMPLE[..end], &gray(4, 4, 8)) else { continue };
        let from = part.incomplete.clone().unwrap_or_else(|| panic!("cut at {end}")).from_pixel;
        assert_eq!(part.to_f64()[..from], whole[..from], "cut at {end}");
        parts += 1;
    }
    assert!(parts > 3, "{parts}");
    for bit in 0..EXAMPLE.len() * 8 {
        let mut bytes = EXAMPLE.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let _ = decode(&bytes, &gray(4, 4, 8));
    }
}

#[test]
fn hostile_parameters_never_panic() {
    // An LSE segment with every value at its extremes, in front of the scan.
    for extreme in [0u8, 1, 2, 0x7F, 0xFF] {
        for field in 0..5 {
            let mut bytes = EXAMPLE[..15].to_vec();
            let mut lse = vec![0xFF, 0xF8, 0x00, 0x0D, 1, 0, 255, 0, 3, 0, 7, 0, 21, 0, 64];
            lse[5 + 2 * field] = extreme;
            lse[6 + 2 * field] = extreme;
            bytes.extend(lse);
            bytes.extend(&EXAMPLE[15..]);
            let _ = decode(&bytes, &gray(4, 4, 8));
        }
    }
}
