use image::codecs::jpeg::JpegEncoder;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::tests::gray;
use super::super::{FrameFormat, StoredData, StoredFrame};
use super::decode;

fn rgb(rows: usize, columns: usize) -> FrameFormat {
    FrameFormat { samples: 3, photometric: "YBR_FULL".into(), ..gray(rows, columns, 8) }
}

/// A smooth picture with an edge.
fn picture(rows: usize, columns: usize) -> Vec<u8> {
    (0..rows * columns)
        .map(|at| {
            let (y, x) = (at / columns, at % columns);
            if x > y { (40 + 3 * x + y) as u8 } else { (200 - x) as u8 }
        })
        .collect()
}

fn baseline(rows: usize, columns: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95)
        .encode(&picture(rows, columns), columns as u32, rows as u32, image::ExtendedColorType::L8)
        .expect("in memory");
    bytes
}

/// Writes lossless JPEG with a table in which category `n` has the code of `n` as five bits.
struct LosslessWriter {
    bytes: Vec<u8>,
    window: u64,
    used: u32,
}

impl LosslessWriter {
    fn put(&mut self, value: u32, count: u32) {
        self.window = self.window << count | (u64::from(value) & ((1 << count) - 1));
        self.used += count;
        while self.used >= 8 {
            let byte = (self.window >> (self.used - 8)) as u8;
            self.bytes.push(byte);
            if byte == 0xFF {
                self.bytes.push(0);
            }
            self.used -= 8;
        }
    }

    fn difference(&mut self, difference: i32) {
        let wrapped = (difference + 32_768).rem_euclid(65_536) - 32_768;
        if wrapped == -32_768 {
            return self.put(16, 5);
        }
        let length = 32 - wrapped.unsigned_abs().leading_zeros();
        self.put(length, 5);
        let value = if wrapped < 0 { wrapped - 1 + (1 << length) } else { wrapped };
        self.put(value as u32, length);
    }
}

fn lossless(samples: &[u16], rows: usize, columns: usize, precision: u8, predictor: u8, interval: usize) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 11, precision];
    bytes.extend((rows as u16).to_be_bytes());
    bytes.extend((columns as u16).to_be_bytes());
    bytes.extend([1, 1, 0x11, 0, 0xFF, 0xC4, 0, 2 + 17 + 17, 0]);
    bytes.extend([0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(0..=16u8);
    bytes.extend([0xFF, 0xDD, 0, 4, 0, (interval * columns) as u8]);
    bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, predictor, 0, 0]);
    let mut writer = LosslessWriter { bytes, window: 0, used: 0 };
    for row in 0..rows {
        let fresh = row == 0 || (interval > 0 && row % interval == 0);
        if fresh && row > 0 {
            writer.put(0x7F, (8 - writer.used % 8) % 8);
            writer.bytes.extend([0xFF, 0xD0 + ((row / interval - 1) % 8) as u8]);
        }
        for column in 0..columns {
            let at = |y: usize, x: usize| i32::from(samples[y * columns + x]);
            let prediction = match (fresh, column) {
                (true, 0) => 1 << (precision - 1),
                (true, x) => at(row, x - 1),
                (false, 0) => at(row - 1, 0),
                (false, x) => {
                    let (a, b, c) = (at(row, x - 1), at(row - 1, x), at(row - 1, x - 1));
                    match predictor {
                        1 => a,
                        2 => b,
                        3 => c,
                        4 => a + b - c,
                        5 => a + ((b - c) >> 1),
                        6 => b + ((a - c) >> 1),
                        _ => (a + b) / 2,
                    }
                }
            };
            writer.difference(at(row, column) - prediction);
        }
    }
    writer.put(0x7F, (8 - writer.used % 8) % 8);
    writer.bytes.extend([0xFF, 0xD9]);
    writer.bytes
}

fn values(frame: StoredFrame) -> Vec<u16> {
    match frame.data {
        StoredData::U16(values) => values,
        other => panic!("16 bits expected, not {other:?}"),
    }
}

#[test]
fn baseline_is_close_to_the_original() {
    let (rows, columns) = (37, 45);
    let frame = decode(&baseline(rows, columns), &gray(rows, columns, 8), false).expect("decodes");
    let StoredData::U8(values) = frame.data else { panic!("8 bits expected") };
    let worst = values.iter().zip(picture(rows, columns)).map(|(&a, b)| a.abs_diff(b)).max();
    assert!(worst < Some(24), "{worst:?}");
}

#[test]
fn colour_comes_out_as_coded() {
    let (rows, columns) = (20, 20);
    let mut bytes = Vec::new();
    let red: Vec<u8> = [250, 10, 10].repeat(rows * columns);
    JpegEncoder::new(&mut bytes)
        .encode(&red, columns as u32, rows as u32, image::ExtendedColorType::Rgb8)
        .expect("in memory");
    let frame = decode(&bytes, &rgb(rows, columns), false).expect("decodes");
    assert_eq!(frame.photometric, "YBR_FULL");
    let StoredData::U8(values) = frame.data else { panic!("8 bits expected") };
    // Y, Cb and Cr of (250, 10, 10) by Rec. 601.
    for (value, expected) in values.iter().zip([82u8, 87, 248]) {
        assert!(value.abs_diff(expected) <= 3, "{value} {expected}");
    }
    // A header that says RGB is corrected where the file is JFIF.
    let mut says_rgb = rgb(rows, columns);
    says_rgb.photometric = "RGB".into();
    assert_eq!(decode(&bytes, &says_rgb, false).expect("decodes").photometric, "YBR_FULL");
}

#[test]
fn lossless_comes_back_with_every_predictor_and_restarts() {
    let (rows, columns) = (9, 11);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for precision in [9u8, 12, 16] {
        let samples: Vec<u16> =
            (0..rows * columns).map(|_| random.random_range(0..=(1u32 << precision) - 1) as u16).collect();
        for predictor in 1..=7 {
            for interval in [0, 1, 4] {
                let bytes = lossless(&samples, rows, columns, precision, predictor, interval);
                let format = gray(rows, columns, u16::from(precision));
                let frame = decode(&bytes, &format, true).expect("decodes");
                assert_eq!(values(frame), samples, "{precision} bits, predictor {predictor}, interval {interval}");
            }
        }
    }
}

#[test]
fn header_and_codestream_must_agree() {
    let bytes = baseline(16, 24);
    let error = decode(&bytes, &gray(24, 16, 8), false).expect_err("turned");
    assert!(error.to_string().contains("16 rows x 24 columns"), "{error}");
    let error = decode(&bytes, &rgb(16, 24), false).expect_err("one component");
    assert_eq!(error.tag, Some(dicom_dictionary_std::tags::SAMPLES_PER_PIXEL));
}

#[test]
fn cut_streams_give_the_rows_before_the_cut_and_say_so() {
    let (rows, columns) = (40, 40);
    let samples: Vec<u16> = (0..99).map(|v| v * 600).collect();
    let cases =
        [(baseline(rows, columns), gray(rows, columns, 8)), (lossless(&samples, 9, 11, 16, 4, 3), gray(9, 11, 16))];
    for (bytes, format) in cases {
        let whole = decode(&bytes, &format, false).expect("whole").to_f64();
        let mut parts = 0;
        for end in (0..bytes.len() - 8).step_by(3) {
            let Ok(part) = decode(&bytes[..end], &format, false) else { continue };
            let from = part.incomplete.clone().unwrap_or_else(|| panic!("cut at {end} of {}", bytes.len())).from_pixel;
            assert!(from > 0 && from < whole.len(), "cut at {end}: {from}");
            assert_eq!(part.to_f64()[..from], whole[..from], "cut at {end}");
            parts += 1;
        }
        assert!(parts > 3, "{parts}");
    }
}

#[test]
fn damaged_streams_never_panic() {
    let samples: Vec<u16> = (0..99).map(|v| v * 600).collect();
    let originals = [(baseline(9, 11), 8), (lossless(&samples, 9, 11, 16, 4, 3), 16)];
    let mut random = ChaCha8Rng::seed_from_u64(6);
    for (original, bits) in originals {
        for _ in 0..3000 {
            let mut bytes = original.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(2..bytes.len());
                bytes[at] = random.random();
            }
            // The outcome does not matter; a panic or an endless loop does.
            let _ = decode(&bytes, &gray(9, 11, bits), false);
        }
    }
}
