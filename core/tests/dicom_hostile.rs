//! Files that are broken on purpose: none may panic, hang or take memory that its size does not explain.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use bifocal_core::dicom::{DicomError, DicomFile, Encapsulated, PixelData, Tag, tags};
use bifocal_core::study::Source;
use support::*;

fn open(bytes: &[u8]) -> Result<DicomFile, DicomError> {
    DicomFile::from_bytes(bytes, &Source::file("hostile.dcm"))
}

fn said(file: &DicomFile, what: &str) -> bool {
    file.problems.iter().any(|problem| problem.cause.contains(what))
}

/// Tags and bytes of the top level, as one comparable list.
fn content(file: &DicomFile) -> Vec<(Tag, Vec<u8>)> {
    file.data_set().elements().map(|e| (e.tag(), e.bytes().to_vec())).collect()
}

#[test]
fn truncation_at_every_byte_keeps_what_came_before_and_says_so() {
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE, DEFLATED] {
        let whole = slice(syntax, &Slice::default());
        let full = open(&whole).unwrap();
        assert_eq!(full.problems, [], "{syntax}");
        let full = content(&full);
        let (mut before, mut silent) = (0, 0);
        for length in 0..whole.len() {
            let Ok(file) = open(&whole[..length]) else { continue };
            let found = content(&file);
            assert!(found.len() >= before, "{syntax}: fewer elements from {length} bytes than from fewer");
            before = found.len();
            for (index, (tag, value)) in found.iter().enumerate() {
                let (wanted_tag, wanted) = &full[index];
                assert_eq!(tag, wanted_tag, "{syntax}: cut at {length}");
                // Pixel data keep what is there, anything else is whole or left out.
                let last = index + 1 == found.len() && *tag == tags::PIXEL_DATA;
                assert!(value == wanted || (last && wanted.starts_with(value)), "{syntax}: {tag} cut at {length}");
            }
            silent += usize::from(file.problems.is_empty());
        }
        assert!(before >= full.len() - 1, "{syntax}: nothing was kept");
        // Only a cut exactly between two elements (or one zero byte after) cannot be told from a whole file.
        assert!(silent <= 2 * full.len() && silent * 8 < whole.len(), "{syntax}: {silent} cuts went unnoticed");
    }
}

#[test]
fn lengths_past_the_end_are_named_by_tag() {
    for length in [0xFFFF_FFFE, 0x8000_0000, 1_000_000] {
        let mut w = slice_header(EXPLICIT, &Slice::default());
        w.header((0x28, 0x3006), "OW", length).bytes.extend([0; 32]);
        let opened = open(&file(EXPLICIT, &w.bytes)).unwrap();
        assert_eq!(opened.data_set().int(tags::ROWS), Some(4));
        let problem = opened.problems.first().unwrap();
        assert!(problem.tag.as_ref().unwrap().starts_with("(0028,3006)"), "{problem}");
    }
    // As the length of an item and of a fragment.
    let mut w = slice_header(EXPLICIT, &Slice::default());
    w.header((0x28, 0x9110), "SQ", UNDEFINED).header((0xFFFE, 0xE000), "", 0xFFFF_FFFE).bytes.extend([0; 3]);
    assert_eq!(open(&file(EXPLICIT, &w.bytes)).unwrap().data_set().int(tags::ROWS), Some(4));
    let mut w = slice_header(RLE, &Slice::default());
    w.header((0x7FE0, 0x10), "OB", UNDEFINED).raw((0xFFFE, 0xE000), "", &[]).header((0xFFFE, 0xE000), "", 0xFFFF_FFFE);
    w.bytes.extend([1; 10]);
    let opened = open(&file(RLE, &w.bytes)).unwrap();
    assert!(said(&opened, "cut off"));
    let PixelData::Encapsulated(pixels) = opened.pixel_data().unwrap() else { panic!("encapsulated") };
    assert_eq!(pixels.frame(0, 1).unwrap().as_ref(), [1; 10]);
}

#[test]
fn sequences_nested_100_000_deep_are_read_over() {
    for syntax in [EXPLICIT, IMPLICIT] {
        let mut w = slice_header(syntax, &Slice::default());
        for _ in 0..100_000 {
            w.header((0x28, 0x9110), "SQ", UNDEFINED).header((0xFFFE, 0xE000), "", UNDEFINED);
        }
        let open_ended = file(syntax, &w.bytes);
        for _ in 0..100_000 {
            w.header((0xFFFE, 0xE00D), "", 0).header((0xFFFE, 0xE0DD), "", 0);
        }
        w.raw((0x7FE0, 0x10), "OW", &[3; 16]);
        let opened = open(&file(syntax, &w.bytes)).unwrap();
        assert!(said(&opened, "nested deeper than 64"));
        assert_eq!(opened.data_set().bytes(tags::PIXEL_DATA), Some(&[3; 16][..]));
        let mut depth = 0;
        let mut set = opened.data_set();
        while let Some(item) = set.item(Tag(0x28, 0x9110)) {
            (set, depth) = (item, depth + 1);
        }
        assert_eq!(depth, 64);
        // Never closed.
        assert_eq!(open(&open_ended).unwrap().data_set().int(tags::ROWS), Some(4));
    }
}

/// A deflate stream of `mebibytes` zeros after `head`.
fn bomb(head: &[u8], mebibytes: usize) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(head).unwrap();
    encoder.flush().unwrap();
    let before = encoder.get_ref().len();
    encoder.write_all(&vec![0; 1 << 20]).unwrap();
    encoder.flush().unwrap();
    let mut out = encoder.get_ref().clone();
    // A flushed run of zeros refers to zeros only, so it can be repeated.
    let block = out[before..].to_vec();
    for _ in 1..mebibytes {
        out.extend(&block);
    }
    out
}

#[test]
fn deflate_bombs_are_refused() {
    let start = Instant::now();
    let mut w = slice_header(DEFLATED, &Slice::default());
    w.header((0x7FE0, 0x10), "OW", 700 << 20);
    let mut bytes = file(EXPLICIT, &[]);
    // Relabelled as deflated: the meta group is the same but for the UID.
    let mut meta = file(DEFLATED, &[]);
    bytes.clear();
    bytes.append(&mut meta);
    // `file` has closed an empty stream (two bytes) behind the meta group.
    bytes.truncate(bytes.len() - 2);
    bytes.extend(bomb(&w.bytes, 700));
    assert!(bytes.len() < 2 << 20);
    let error = open(&bytes).unwrap_err().to_string();
    assert!(error.contains("larger than 512 MiB"), "{error}");
    // Headers alone are fine: reading stops at the pixel data.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.dcm");
    std::fs::write(&path, &bytes).unwrap();
    let headers = DicomFile::read_headers(&Source::file(&path)).unwrap();
    assert_eq!(headers.data_set().int(tags::ROWS), Some(4));
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn mislabelled_encodings_are_read_as_they_are() {
    let wanted = content(&open(&slice(EXPLICIT, &Slice::default())).unwrap()).len();
    for (label, real) in [
        (EXPLICIT, IMPLICIT),
        (IMPLICIT, EXPLICIT),
        (BIG_ENDIAN, EXPLICIT),
        (EXPLICIT, BIG_ENDIAN),
        (DEFLATED, EXPLICIT),
        (RLE, IMPLICIT),
    ] {
        let mut w = slice_header(real, &Slice::default());
        w.raw((0x7FE0, 0x10), "OW", &[7; 16]);
        let mut bytes = file(if label == DEFLATED { EXPLICIT } else { label }, &w.bytes);
        if label == DEFLATED {
            let mut meta = file(DEFLATED, &[]);
            meta.truncate(meta.len() - 2);
            meta.extend(&w.bytes);
            bytes = meta;
        }
        let opened = open(&bytes).unwrap();
        assert_eq!(content(&opened).len(), wanted, "{label} is {real}");
        assert_eq!(opened.data_set().int(tags::ROWS), Some(4), "{label} is {real}");
        assert_eq!(opened.data_set().item(Tag(8, 0x1032)).unwrap().string(Tag(8, 0x104)).unwrap(), "meaning");
        if label != DEFLATED {
            assert!(said(&opened, "read as it is"), "{label} is {real}");
        }
    }
}

#[test]
fn files_without_preamble_or_meta_group_open() {
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN] {
        let whole = slice(syntax, &Slice::default());
        let wanted = open(&whole).unwrap();
        let bare = &whole[whole.len() - slice_bytes(syntax)..];
        let opened = open(bare).unwrap();
        assert_eq!(opened.transfer_syntax, syntax);
        assert_eq!(opened.data_set().int(tags::ROWS), Some(4));
        assert_eq!(opened.encoding, wanted.encoding);
        let meta_only = &whole[132..];
        assert_eq!(open(meta_only).unwrap().transfer_syntax, syntax);
    }
}

fn slice_bytes(syntax: &str) -> usize {
    let mut w = slice_header(syntax, &Slice::default());
    w.raw((0x7FE0, 0x10), "OW", &[7; 16]);
    w.bytes.len()
}

#[test]
fn wrong_meta_group_lengths_do_no_harm() {
    let whole = slice(EXPLICIT, &Slice::default());
    for wrong in [0_u32, 1, 7, 10_000, u32::MAX] {
        let mut bytes = whole.clone();
        bytes[140..144].copy_from_slice(&wrong.to_le_bytes());
        assert_eq!(open(&bytes).unwrap().data_set().int(tags::ROWS), Some(4), "{wrong}");
    }
}

#[test]
fn offset_tables_that_lie_are_not_believed() {
    let (a, b, c) = ([0xFF, 0xD8, 0xFF, 1], [2_u8, 2, 2, 2], [0xFF, 0xD8, 0xFF, 3]);
    let frames = |basic: &[u64], extended: &[(u64, u64)]| {
        let pixels = Encapsulated {
            fragments: vec![&a[..], &b[..], &c[..]],
            basic_offsets: basic.to_vec(),
            extended_offsets: extended.to_vec(),
        };
        [0, 1].map(|frame| pixels.frame(frame, 2).map(|bytes| bytes.to_vec()))
    };
    let right = [Some([a, b].concat()), Some(c.to_vec())];
    assert_eq!(frames(&[0, 24], &[]), right);
    assert_eq!(frames(&[], &[(0, 8), (24, 4)]), right);
    // Backwards, overlapping, inside a fragment, outside: told apart by the first bytes instead.
    for lie in [[24, 0], [0, 0], [0, 13], [0, u64::MAX], [8, 24]] {
        assert_eq!(frames(&lie, &[]), right, "{lie:?}");
        assert_eq!(frames(&[], &lie.map(|offset| (offset, u64::MAX))), right, "{lie:?}");
    }
    let pixels = Encapsulated { fragments: vec![&b[..]; 3], basic_offsets: vec![], extended_offsets: vec![] };
    assert_eq!(pixels.frame(0, 2), None);
    assert_eq!(pixels.frame(2, 2), None);
    assert_eq!(pixels.frame(0, 1).unwrap().len(), 12);
}

#[test]
fn a_million_empty_elements_take_no_time() {
    let start = Instant::now();
    let mut w = slice_header(IMPLICIT, &Slice::default());
    for index in 0..1_000_000_u32 {
        w.header((0x29, index as u16), "UN", 0);
    }
    let opened = open(&file(IMPLICIT, &w.bytes)).unwrap();
    assert_eq!(opened.data_set().int(tags::ROWS), Some(4));
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn flipped_bytes_never_panic() {
    // A fixed sequence of changes over each encoding; longer runs belong to a fuzzer.
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, RLE, DEFLATED] {
        let whole = slice(syntax, &Slice::default());
        for _ in 0..4_000 {
            let mut bytes = whole.clone();
            for _ in 0..1 + next() % 4 {
                let at = 132 + (next() as usize) % (bytes.len() - 132);
                bytes[at] = next() as u8;
            }
            if let Ok(file) = open(&bytes) {
                touch(file.data_set(), 0);
                let _ = file.pixel_data().map(|pixels| match pixels {
                    PixelData::Encapsulated(pixels) => pixels.frame(0, 2).map_or(0, |bytes| bytes.len()),
                    PixelData::Native(element) => element.bytes().len(),
                });
            }
        }
    }
}

/// Reads every element in every way.
fn touch(set: bifocal_core::dicom::DataSet<'_>, depth: usize) {
    assert!(depth <= 64);
    for element in set.elements() {
        let tag = element.tag();
        let _ = (set.strings(tag), set.ints(tag), set.floats(tag), set.line(tag), set.person_name(tag), set.words(tag));
        let _ = element.signed_ints();
        element.items().for_each(|item| touch(item, depth + 1));
        assert!(element.fragments().map(<[u8]>::len).sum::<usize>() < 1 << 20);
    }
}
