//! Decoding against the reference hashes and arrays of a manifest of real files (`../shared/data/dicom`).
//!
//! `cargo test --release -p bifocal-core --test decoding -- --nocapture` prints the decode table.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;

use bifocal_core::dicom::codec::{StoredFrame, TransferSyntax};
use bifocal_core::dicom::pixels::{read_frame, read_stored};
use bifocal_core::study::{GrayPixels, Pixels, Source};
use ndarray::ArrayD;
use ndarray_npy::ReadNpyExt;

fn data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dicom");
    if folder.join("manifest.csv").is_file() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}

type Row = BTreeMap<String, String>;

/// Rows of a CSV file, quoted fields included.
fn rows(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).expect("the manifest is readable");
    let mut records = vec![vec![String::new()]];
    let mut quoted = false;
    for c in text.chars() {
        let record = records.last_mut().expect("never empty");
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(String::new()),
            '\n' if !quoted => records.push(vec![String::new()]),
            '\r' => {}
            c => record.last_mut().expect("never empty").push(c),
        }
    }
    let mut records = records.into_iter().filter(|record| record.len() > 1);
    let names = records.next().expect("a header");
    records.map(|record| names.iter().cloned().zip(record).collect()).collect()
}

/// The array `a` of a NumPy archive.
fn reference(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).expect("the reference is readable");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).expect("a NumPy archive is a ZIP");
    let mut array = Vec::new();
    archive.by_name("a.npy").expect("an array named a").read_to_end(&mut array).expect("it inflates");
    let read = |array: &[u8]| -> Option<Vec<f64>> {
        if let Ok(a) = ArrayD::<u8>::read_npy(array) {
            return Some(a.iter().map(|&v| f64::from(v)).collect());
        }
        if let Ok(a) = ArrayD::<u16>::read_npy(array) {
            return Some(a.iter().map(|&v| f64::from(v)).collect());
        }
        ArrayD::<i16>::read_npy(array).ok().map(|a| a.iter().map(|&v| f64::from(v)).collect())
    };
    read(&array).expect("8 or 16 bit integers")
}

/// Mean difference at most 1 and 99 % of pixels within 3 grey levels, each for 8 bits.
fn within_tolerance(frame: &StoredFrame, expected: &[f64], bits: u32) -> Result<(), String> {
    let values = frame.to_f64();
    if values.len() != expected.len() {
        return Err(format!("{} values, {} expected", values.len(), expected.len()));
    }
    let unit = f64::from(1u32 << bits.saturating_sub(8));
    let differences: Vec<f64> = values.iter().zip(expected).map(|(a, b)| (a - b).abs() / unit).collect();
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let near = differences.iter().filter(|&&d| d <= 3.0).count() as f64 / differences.len() as f64;
    if mean <= 1.0 && near >= 0.99 {
        return Ok(());
    }
    Err(format!("mean difference {mean:.2}, {:.1} % within 3", near * 100.0))
}

#[derive(Default)]
struct Count {
    equal: usize,
    near: usize,
    differ: usize,
    refused: usize,
    ungated: usize,
    milliseconds: f64,
}

/// Second decoders of the 12-bit files whose reference is of a decoder with another inverse DCT: the hash of the first frame
/// as GDCM gives it, with the code of the Independent JPEG Group.
const SECOND_DECODER: [(&str, &str); 3] = [
    ("JPGExtended.dcm", "d30242775a414c01d616447854ebe3f2b20259822894bcd6891f879bcdcbf313"),
    (
        "CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm",
        "85e3b617e00dc755e55971bfe8770210f17d4909b17db5d71d2617e22254b3b9",
    ),
    (
        "CT0012.fragmented_no_bot_jpeg_baseline.51.dcm",
        "ca02438fa06a99507080f811fd05f0792fa474f352a1146d3793aa2040848bce",
    ),
];

#[test]
fn every_reference_of_the_manifest() {
    let Some(folder) = data() else { return };
    let mut table: BTreeMap<String, Count> = BTreeMap::new();
    let mut failures = Vec::new();
    let mut notes = Vec::new();
    for row in rows(&folder.join("manifest.csv")) {
        if row["ref_sha256"].is_empty() {
            continue;
        }
        let path = folder.join(&row["path"]);
        let start = Instant::now();
        let result = read_stored(&Source::file(&path), 0);
        let count = table.entry(row["transfer_syntax"].clone()).or_default();
        count.milliseconds += start.elapsed().as_secs_f64() * 1e3;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let confidence = row["confidence"].as_str();
        let frame = match result {
            Ok(frame) => frame,
            Err(error) => {
                count.refused += 1;
                failures.push(format!("refused: {error}"));
                continue;
            }
        };
        if confidence == "DISPUTED" {
            count.ungated += 1;
            let verdict = if frame.sha256() == row["ref_sha256"] { "equal" } else { "differs" };
            notes.push(format!("{name}: reference is disputed; {verdict}"));
        } else if frame.sha256() == row["ref_sha256"] {
            count.equal += 1;
        } else if matches!(confidence, "lossy-decoders-differ" | "second-decoder-agrees<=1") {
            // Decoders of lossy JPEG round the inverse DCT in their own ways.
            let bits = row["bits_stored"].parse().unwrap_or(8);
            let expected = reference(&folder.join(&row["ref_npz"]));
            let limit = if confidence == "lossy-decoders-differ" { f64::INFINITY } else { 1.0 };
            let worst = frame.to_f64().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            let second = SECOND_DECODER.iter().find(|(file, _)| *file == name);
            if confidence == "second-decoder-agrees<=1" && second.is_none_or(|(_, hash)| *hash != frame.sha256()) {
                count.differ += 1;
                failures.push(format!("{name}: equal to neither decoder"));
                continue;
            }
            match within_tolerance(&frame, &expected, bits) {
                Ok(()) if worst <= limit => count.near += 1,
                Ok(()) => {
                    count.differ += 1;
                    failures.push(format!("{name}: a value differs by {worst}, more than {limit}"));
                }
                Err(cause) => {
                    count.differ += 1;
                    failures.push(format!("{name}: {cause}"));
                }
            }
        } else {
            count.differ += 1;
            let mut cause = format!("{name}: {confidence}: differs; {} {:?}", frame.dtype(), frame.min_max());
            cause += &format!(", expected {} {}..{}", row["ref_dtype"], row["ref_min"], row["ref_max"]);
            if !row["ref_npz"].is_empty() {
                let expected = reference(&folder.join(&row["ref_npz"]));
                let worst = frame.to_f64().iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let wrong = frame.to_f64().iter().zip(&expected).filter(|(a, b)| a != b).count();
                cause += &format!("; {wrong} of {} values, at most by {worst}", expected.len());
            }
            failures.push(cause);
        }
    }
    println!("| transfer syntax | equal | within tolerance | differs | refused | reference disputed | ms a file |");
    println!("|---|---|---|---|---|---|---|");
    let mut total = Count::default();
    for (uid, count) in &table {
        let name = TransferSyntax::find(uid).map_or("none given", |syntax| syntax.name);
        let files = count.equal + count.near + count.differ + count.refused + count.ungated;
        println!(
            "| {name} ({}) | {} | {} | {} | {} | {} | {:.1} |",
            if uid.is_empty() { "no meta group" } else { uid },
            count.equal,
            count.near,
            count.differ,
            count.refused,
            count.ungated,
            count.milliseconds / files as f64
        );
        total.equal += count.equal;
        total.near += count.near;
        total.differ += count.differ;
        total.refused += count.refused;
        total.ungated += count.ungated;
    }
    println!("| all | {} | {} | {} | {} | {} | |", total.equal, total.near, total.differ, total.refused, total.ungated);
    for note in notes {
        println!("{note}");
    }
    assert!(failures.is_empty(), "{} files:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn files_without_a_reference_are_read_or_refused_with_a_reason() {
    let Some(folder) = data() else { return };
    let mut read = 0;
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows(&folder.join("manifest.csv")) {
        if !row["ref_sha256"].is_empty() {
            continue;
        }
        let source = Source::file(folder.join(&row["path"]));
        match read_frame(&source, 0) {
            Ok(_) => {
                read += 1;
                println!("read: {source}");
            }
            Err(error) => {
                let text = error.to_string();
                let cause = text.strip_prefix(&source.to_string()).expect("the file is named").to_owned();
                assert!(cause.len() > 12, "{text}");
                *reasons.entry(cause).or_default() += 1;
            }
        }
    }
    println!("{read} read");
    for (reason, count) in &reasons {
        println!("{count} refused{reason}");
    }
}

#[test]
fn all_frames_of_multi_frame_files_decode_and_differ() {
    let Some(folder) = data() else { return };
    let mut seen = 0;
    for row in rows(&folder.join("manifest.csv")) {
        let frames: usize = row["frames"].parse().unwrap_or(1);
        if frames < 2 || row["ref_sha256"].is_empty() {
            continue;
        }
        let source = Source::file(folder.join(&row["path"]));
        let reader = bifocal_core::dicom::pixels::PixelReader::open(&source).expect("a reference was decoded from it");
        assert_eq!(reader.frames(), frames, "{source}");
        for frame in 0..frames {
            let shown = reader.frame(frame);
            assert!(shown.is_ok(), "{}", shown.err().map(|e| e.to_string()).unwrap_or_default());
        }
        let past = reader.frame(frames).expect_err("there is no such frame").to_string();
        assert!(past.contains("(0028,0008)"), "{past}");
        seen += 1;
    }
    println!("{seen} multi-frame files");
    assert!(seen > 10);
}

#[test]
fn a_colour_file_is_the_same_picture_in_every_coding() {
    let Some(folder) = data() else { return };
    // One test picture, written as native RGB and in several codings with different chroma and colour labels.
    let files: Vec<PathBuf> = rows(&folder.join("manifest.csv"))
        .iter()
        .map(|row| folder.join(&row["path"]))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("TestPattern_")))
        .collect();
    assert!(files.len() >= 4, "the test patterns are part of the data");
    let rgb = |path: &PathBuf| match read_frame(&Source::file(path), 0).expect("decodes").pixels {
        Pixels::Rgb(array) => array,
        Pixels::Gray(_) => panic!("{} is in colour", path.display()),
    };
    let first = rgb(&files[0]);
    for path in &files[1..] {
        let other = rgb(path);
        assert_eq!(first.dim(), other.dim());
        let sum: f64 = first.iter().zip(&other).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        let mean = sum / first.len() as f64;
        assert!(mean < 4.0, "{}: mean difference {mean}", path.display());
    }
}

#[test]
fn the_display_attributes_of_a_ct_slice() {
    let Some(folder) = data() else { return };
    let row = rows(&folder.join("manifest.csv"))
        .into_iter()
        .find(|row| row["path"].ends_with("test_files/CT_small.dcm"))
        .expect("the small CT is part of the data");
    let frame = read_frame(&Source::file(folder.join(&row["path"])), 0).expect("decodes");
    assert!(matches!(frame.pixels, Pixels::Gray(GrayPixels::I16(_))));
    assert_eq!(frame.shape(), (128, 128));
    let display = &frame.display;
    assert_eq!(display.units, "HU");
    // Rescale Intercept is -1024; the first stored value is 175.
    assert_eq!(frame.value_at(0, 0), Some(175.0 - 1024.0));
    let spacing = display.spacing.expect("Pixel Spacing");
    assert!((spacing.row_mm - 0.661468).abs() < 1e-9);
    assert_eq!(display.geometry.expect("geometry").position, [-158.135803, -179.035797, -75.699997]);
    assert_eq!(display.slice_thickness_mm, Some(5.0));
    assert_eq!(display.lossy, None);
}
