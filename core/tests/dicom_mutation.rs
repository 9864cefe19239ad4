//! Files in many encodings, mutated: cut at every byte, bytes flipped, lengths made huge. Nothing panics, hangs, or takes
//! memory that the file's size does not explain, and what is incomplete says so.
//!
//! `BIFOCAL_MUTATE_SECONDS=600 BIFOCAL_MUTATE_FOLDER=FOLDER cargo test --release --test dicom_mutation` runs longer, over
//! the files of a folder; `BIFOCAL_MUTATE_SEED` takes another course, and the file that `BIFOCAL_MUTATE_LOG` names holds the
//! case in work, in case the process dies.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bifocal_core::dicom::pixels::{FrameReader, PixelReader};
use bifocal_core::dicom::{DicomFile, index_paths};
use bifocal_core::image_io;
use bifocal_core::study::{Frame, Source};
use bifocal_core::task::Task;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::*;

/// The example of ITU-T T.87 H.3: 4 x 4 samples of 8 bits in JPEG-LS.
const JPEG_LS: [u8; 58] = [
    0xFF, 0xD8, 0xFF, 0xF7, 0x00, 0x0B, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00, 0xFF, 0xDA, 0x00, 0x08,
    0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xC0, 0x00, 0x00, 0x6C, 0x80, 0x20, 0x8E, 0x01, 0xC0, 0x00, 0x00, 0x57, 0x40,
    0x00, 0x00, 0x6E, 0xE6, 0x00, 0x00, 0x01, 0xBC, 0x18, 0x00, 0x00, 0x05, 0xD8, 0x00, 0x00, 0x91, 0x60, 0xFF, 0xD9,
    0x00,
];

/// A file to mutate.
struct Seed {
    name: String,
    bytes: Vec<u8>,
}

fn fragments(w: &mut Writer, parts: &[&[u8]]) {
    w.header((0x7FE0, 0x10), "OB", UNDEFINED).raw((0xFFFE, 0xE000), "", &[]);
    for part in parts {
        w.raw((0xFFFE, 0xE000), "", part);
    }
    w.header((0xFFFE, 0xE0DD), "", 0);
}

/// 4 x 4 pixels of 8 bits as one RLE segment.
fn rle_frame() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    (bytes[0], bytes[4]) = (1, 64);
    bytes.push(15);
    bytes.extend(1..=16);
    bytes.push(128);
    bytes
}

fn picture(format: image::ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let gray = image::GrayImage::from_fn(width, height, |x, y| image::Luma([(x * 13 + y * 29) as u8]));
    let mut out = Cursor::new(Vec::new());
    image::DynamicImage::from(gray).write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// An enhanced object: two frames of 2 x 4 pixels with functional groups.
fn enhanced() -> Vec<u8> {
    let mut w = slice_header(EXPLICIT, &Slice { frames: "2", rows: 2, ..Slice::default() });
    let nested = |tag: (u16, u16), inner: &Writer| {
        let mut items = Writer::new(EXPLICIT);
        items.header((0xFFFE, 0xE000), "", inner.bytes.len() as u32).bytes.extend(&inner.bytes);
        let mut out = Writer::new(EXPLICIT);
        out.raw(tag, "SQ", &items.bytes);
        out
    };
    let mut groups = Writer::new(EXPLICIT);
    for position in ["0\\0\\5", "0\\0\\1"] {
        let mut place = Writer::new(EXPLICIT);
        place.text((0x20, 0x32), "DS", position);
        let mut scale = Writer::new(EXPLICIT);
        scale.text((0x28, 0x1052), "DS", "-3").text((0x28, 0x1053), "DS", "2");
        let (place, scale) = (nested((0x20, 0x9113), &place), nested((0x28, 0x9145), &scale));
        let length = place.bytes.len() + scale.bytes.len();
        groups.header((0xFFFE, 0xE000), "", length as u32).bytes.extend([place.bytes, scale.bytes].concat());
    }
    w.raw((0x5200, 0x9230), "SQ", &groups.bytes).raw((0x7FE0, 0x10), "OW", &[5; 16]);
    file(EXPLICIT, &w.bytes)
}

/// A palette and a window that lie a little, and a dose grid.
fn others() -> Vec<Seed> {
    let mut palette = slice_header(EXPLICIT, &Slice { uid: "1.7", ..Slice::default() });
    for tag in [0x1101, 0x1102, 0x1103] {
        palette.header((0x28, tag), "US", 6).u16(4).u16(3).u16(16);
    }
    for tag in [0x1201, 0x1202, 0x1203] {
        palette.raw((0x28, tag), "OW", &[1, 2, 3, 4, 5, 6, 7, 8]);
    }
    palette.raw((0x7FE0, 0x10), "OW", &[4; 16]);
    let mut bytes = file(EXPLICIT, &palette.bytes);
    let at = bytes.windows(11).position(|window| window == b"MONOCHROME2").unwrap();
    bytes[at..at + 12].copy_from_slice(b"PALETTE COLO");
    bytes[at + 11] = b' ';
    let mut dose = slice_header(IMPLICIT, &Slice { uid: "1.8", frames: "3", ..Slice::default() });
    dose.text((0x28, 0x1050), "DS", "0\\NaN").text((0x28, 0x1051), "DS", "0\\-1");
    dose.text((0x3004, 0x0C), "DS", "0\\2\\4").text((0x3004, 0x0E), "DS", "0.01");
    dose.raw((0x7FE0, 0x10), "OW", &[9; 48]);
    vec![Seed { name: "palette".into(), bytes }, Seed { name: "dose".into(), bytes: file(IMPLICIT, &dose.bytes) }]
}

fn archive() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("a/one.dcm", options).unwrap();
    zip.write_all(&slice(EXPLICIT, &Slice::default())).unwrap();
    zip.start_file("two.png", options).unwrap();
    zip.write_all(&picture(image::ImageFormat::Png, 9, 7)).unwrap();
    zip.finish().unwrap().into_inner()
}

fn directory() -> Vec<u8> {
    let mut items = Writer::new(EXPLICIT);
    for name in ["ONE", "images\\two", "..\\three"] {
        let mut record = Writer::new(EXPLICIT);
        record.header((4, 0x1400), "UL", 4).u32(0).text((4, 0x1430), "CS", "IMAGE").text((4, 0x1500), "CS", name);
        items.header((0xFFFE, 0xE000), "", record.bytes.len() as u32).bytes.extend(record.bytes);
    }
    let mut w = Writer::new(EXPLICIT);
    w.text((4, 0x1130), "CS", "TEST").raw((4, 0x1220), "SQ", &items.bytes);
    file(EXPLICIT, &w.bytes)
}

fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| seeds.push(Seed { name: name.into(), bytes });
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED] {
        add(syntax, slice(syntax, &Slice::default()));
    }
    let compressed = |syntax: &str, frames: &str, rows: u16, parts: &[&[u8]]| {
        let mut w = slice_header(RLE, &Slice { frames, rows, ..Slice::default() });
        fragments(&mut w, parts);
        file(syntax, &w.bytes)
    };
    let jpeg = picture(image::ImageFormat::Jpeg, 4, 20);
    add("RLE", compressed(RLE, "2", 4, &[&rle_frame(), &rle_frame()]));
    add("JPEG", compressed("1.2.840.10008.1.2.4.50", "2", 20, &[&jpeg, &jpeg]));
    add("JPEG-LS", compressed("1.2.840.10008.1.2.4.80", "1", 4, &[&JPEG_LS[..20], &JPEG_LS[20..]]));
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    deflate.write_all(&[3; 16]).unwrap();
    add("deflated frame", compressed("1.2.840.10008.1.2.8.1", "1", 4, &[&deflate.finish().unwrap()]));
    add("enhanced", enhanced());
    add("DICOMDIR", directory());
    add("PNG", picture(image::ImageFormat::Png, 19, 11));
    add("JPEG file", picture(image::ImageFormat::Jpeg, 19, 11));
    add("ZIP", archive());
    seeds.extend(others());
    seeds
}

/// The files of a folder, as seeds.
fn seeds_of(folder: &Path) -> Vec<Seed> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut seeds = Vec::new();
    for path in entries {
        if path.is_dir() {
            seeds.extend(seeds_of(&path));
        } else if path.metadata().unwrap().len() < 4 << 20 {
            seeds.push(Seed { name: path.display().to_string(), bytes: fs::read(&path).unwrap() });
        }
    }
    seeds
}

/// Uses a frame as a window would.
fn look_at(frame: &Frame) {
    let (rows, columns) = frame.shape();
    assert!(rows > 0 && columns > 0);
    let _ = (frame.value_at(rows - 1, columns - 1), frame.value_at(rows, columns));
    assert!(frame.display.warnings.iter().all(|warning| !warning.is_empty()));
}

/// Everything that opening a file does, from memory and, where `place` is given, from disk; whether an image came out.
fn open(bytes: &[u8], place: Option<&Path>) -> bool {
    let source = Source::file("mutated");
    let reader = DicomFile::from_bytes(bytes, &source).and_then(PixelReader::new);
    let mut shown = false;
    if let Ok(reader) = &reader {
        for frame in [0, reader.frames() - 1] {
            match reader.frame(frame) {
                Ok(frame) => {
                    look_at(&frame);
                    shown = true;
                }
                Err(error) => assert!(error.to_string().starts_with("mutated: "), "{error}"),
            }
        }
    }
    if let Ok(frame) = image_io::read_frame_bytes(bytes, &source) {
        look_at(&frame);
        shown = true;
    }
    let Some(place) = place else { return shown };
    fs::write(place, bytes).unwrap();
    let index = index_paths(&[place.to_path_buf()], &Task::new()).unwrap();
    for problem in index.problems.iter().chain(&index.remarks) {
        // The index turns a panic into a problem too.
        assert!(!problem.cause.is_empty() && !problem.cause.contains("the reader failed on it"), "{problem}");
    }
    for instance in index.studies.iter().flat_map(|study| &study.series).flat_map(|series| &series.instances) {
        if instance.source.member.is_some()
            && let Ok(reader) = FrameReader::open(&instance.source)
        {
            shown |= reader.frame(0).is_ok();
        }
    }
    shown
}

fn flip(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    for _ in 0..random.random_range(1..5) {
        if bytes.len() < 8 {
            return;
        }
        // Headers more than pixels, where a file is large.
        let span = if random.random_ratio(1, 2) { bytes.len().min(4096) } else { bytes.len() };
        let at = random.random_range(0..span);
        match random.random_range(0..6) {
            0 => bytes[at] = random.random(),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => bytes[at] = [0, 0xFF, 0x7F, 0x80][random.random_range(0..4)],
            3 => bytes.truncate(at.max(1)),
            4 => {
                let value =
                    [u32::MAX, u32::MAX - 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF, 1 << 20][random.random_range(0..6)];
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            _ => {
                let (from, length) = (random.random_range(0..bytes.len()), random.random_range(1..32));
                let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

/// Cases, their limits, and what went wrong.
struct Trial {
    place: PathBuf,
    log: Option<String>,
    start: Instant,
    peak: usize,
    cases: usize,
    shown: usize,
    failures: Vec<String>,
}

impl Trial {
    fn run(&mut self, name: &str, what: &str, bytes: &[u8]) {
        if let Some(log) = &self.log {
            fs::write(log, format!("{name}: {what}")).unwrap();
        }
        let before = processor_seconds(self.start);
        // Indexing goes through the disk and through threads: every eighth file, and every one that only it reads.
        let on_disk = self.cases.is_multiple_of(8) || name == "ZIP" || name == "DICOMDIR";
        let outcome = catch_unwind(AssertUnwindSafe(|| open(bytes, on_disk.then_some(&self.place))));
        let seconds = processor_seconds(self.start) - before;
        self.cases += 1;
        match outcome {
            Ok(shown) => self.shown += usize::from(shown),
            Err(cause) => {
                let cause = cause.downcast_ref::<String>().cloned().unwrap_or_default();
                self.failures.push(format!("{name}: {what}: panicked: {cause}"));
            }
        }
        let now = peak_mib();
        // A real file of some MiB may take a while; a few bytes may not.
        let slow = 2.0 + bytes.len() as f64 / 1e6;
        if seconds > slow || now > self.peak.max(512) {
            self.failures.push(format!("{name}: {what}: {seconds:.1} s, {now} MiB"));
        }
        self.peak = self.peak.max(now);
    }
}

#[test]
fn mutated_files_are_read_or_refused_in_bounded_time_and_memory() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let folder = std::env::var("BIFOCAL_MUTATE_FOLDER").ok();
    let seeds = folder.as_ref().map_or_else(seeds, |folder| seeds_of(Path::new(folder)));
    let budget = Duration::from_secs(number("BIFOCAL_MUTATE_SECONDS").unwrap_or(4));
    let first = number("BIFOCAL_MUTATE_SEED").unwrap_or(1);
    let temporary = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let log = std::env::var("BIFOCAL_MUTATE_LOG").ok();
    let place = temporary.path().join("mutated");
    let mut trial = Trial { place, log, start, peak: peak_mib(), cases: 0, shown: 0, failures: Vec::new() };
    // Panics are caught and told; the decoders' own, which they turn into errors, are of no interest.
    std::panic::set_hook(Box::new(|_| {}));
    if folder.is_none() {
        for seed in &seeds {
            assert!(open(&seed.bytes, Some(&trial.place)) || seed.name == "DICOMDIR", "{} opens whole", seed.name);
            for length in 0..seed.bytes.len() {
                trial.run(&seed.name, &format!("cut at {length}"), &seed.bytes[..length]);
            }
            for at in (128..seed.bytes.len()).step_by(2) {
                for value in [u32::MAX, u32::MAX - 1, 0x7FFF_FFFF] {
                    let mut bytes = seed.bytes.clone();
                    let end = (at + 4).min(bytes.len());
                    bytes[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                    trial.run(&seed.name, &format!("{value:#X} at {at}"), &bytes);
                }
                if start.elapsed() > 2 * budget {
                    break;
                }
            }
        }
    }
    let random_from = Instant::now();
    let budget = if folder.is_none() { budget / 4 } else { budget };
    while random_from.elapsed() < budget && trial.failures.len() < 20 {
        let number = first * 1_000_000_007 + trial.cases as u64;
        let mut random = ChaCha8Rng::seed_from_u64(number);
        let seed = &seeds[random.random_range(0..seeds.len())];
        let mut bytes = seed.bytes.clone();
        flip(&mut bytes, &mut random);
        trial.run(&seed.name, &format!("seed {number}"), &bytes);
    }
    let _ = std::panic::take_hook();
    let Trial { cases, shown, peak, failures, .. } = trial;
    println!("{cases} mutated files, {shown} show an image, peak {peak} MiB, {:.1} s", start.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(shown > 0 && shown < cases, "{shown} of {cases} show an image");
}
