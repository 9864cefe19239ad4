//! Real compressed files with random damage: no panic gets out, nothing hangs, memory stays bounded.
//!
//! `BIFOCAL_FUZZ_SECONDS=300 BIFOCAL_FUZZ_SEED=7 cargo test --release -p bifocal-core --test decoding_fuzz` runs longer; the
//! seed of the case in work is in the file that `BIFOCAL_FUZZ_LOG` names, in case the process dies.

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bifocal_core::dicom::DicomFile;
use bifocal_core::dicom::pixels::PixelReader;
use bifocal_core::study::Source;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use support::{peak_mib, processor_seconds};

/// Files with compressed pixel data, small enough to be decoded often.
fn compressed_files(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>, usize)>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
        .unwrap_or_default();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            compressed_files(&path, found);
            continue;
        }
        let small = path.metadata().is_ok_and(|metadata| metadata.len() < 400_000);
        let Some(bytes) = small.then(|| std::fs::read(&path).ok()).flatten() else { continue };
        let fragments = [0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF];
        if let Some(start) = bytes.windows(12).position(|window| window == fragments) {
            found.push((path, bytes, start));
        }
    }
}

fn damage(bytes: &[u8], pixels: usize, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    // Mostly the codestream, its first bytes above all; sometimes the header.
    let start = if random.random_ratio(1, 12) { 140 } else { pixels + 12 };
    let span = (bytes.len() - start).max(1);
    let near = span.min(300);
    for _ in 0..random.random_range(1..5) {
        let reach = if random.random() { near } else { span };
        let at = (start + random.random_range(0..reach)).min(bytes.len() - 1);
        match random.random_range(0..8) {
            0..=2 => bytes[at] = random.random(),
            3 => bytes[at] ^= 1 << random.random_range(0..8),
            4 => bytes[at] = [0, 0xFF, 0x7F, 0x80][random.random_range(0..4)],
            5 => {
                let end = (at + random.random_range(1..64)).min(bytes.len());
                bytes[at..end].fill(random.random());
            }
            6 if random.random_ratio(1, 3) => bytes.truncate(at.max(start)),
            _ => {
                let end = (at + random.random_range(1..16)).min(bytes.len());
                let from = start + random.random_range(0..span);
                for index in at..end {
                    bytes[index] = bytes.get(from + index - at).copied().unwrap_or(0);
                }
            }
        }
        if bytes.len() <= start {
            break;
        }
    }
    bytes
}

#[test]
fn damaged_files_are_read_or_refused_in_bounded_time_and_memory() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dicom");
    let mut files = Vec::new();
    compressed_files(&folder, &mut files);
    if files.is_empty() {
        println!("skipped: no compressed files in {}", folder.display());
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let budget = Duration::from_secs(number("BIFOCAL_FUZZ_SECONDS").unwrap_or(3));
    let first = number("BIFOCAL_FUZZ_SEED").unwrap_or(1);
    let log = std::env::var("BIFOCAL_FUZZ_LOG").ok();
    // The decoders' own panics are caught; what they print is of no use here.
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let (mut cases, mut read, mut peak) = (0u64, 0u64, peak_mib());
    let mut slow = Vec::new();
    while start.elapsed() < budget {
        let seed = first * 1_000_000_007 + cases;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (path, bytes, pixels) = &files[random.random_range(0..files.len())];
        let damaged = damage(bytes, *pixels, &mut random);
        if let Some(log) = &log {
            std::fs::write(log, format!("{seed} {}", path.display())).expect("the log is writable");
        }
        let before = processor_seconds(start);
        let outcome = DicomFile::from_bytes(&damaged, &Source::file(path))
            .and_then(PixelReader::new)
            .and_then(|reader| reader.frame(reader.frames().min(2) - 1));
        let seconds = processor_seconds(start) - before;
        read += u64::from(outcome.is_ok());
        cases += 1;
        let now = peak_mib();
        if seconds > 5.0 || now > peak.max(1024) {
            slow.push(format!("seed {seed}, {}: {seconds:.1} s, {now} MiB", path.display()));
        }
        peak = peak.max(now);
    }
    let _ = std::panic::take_hook();
    println!("{cases} damaged files, {read} read all the same, peak {peak} MiB");
    assert!(slow.is_empty(), "{}", slow.join("\n"));
    assert!(cases > read, "no damage was noticed at all");
}
