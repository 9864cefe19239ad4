//! De-identified copies of all real images: readable, the same pixels, no private attribute, no name.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use bifocal_core::dicom::pixels::PixelReader;
use bifocal_core::dicom::{DataSet, Deidentifier, DicomFile, Retain, tags};
use bifocal_core::study::Source;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

fn has_private(set: DataSet<'_>) -> bool {
    set.elements().any(|element| element.tag().0 % 2 == 1 || element.items().any(has_private))
}

#[test]
fn copies_of_real_images_show_the_same_pixels_and_no_one() {
    let Some(folder) = support::real_files() else { return };
    let by = Deidentifier::new("correct-horse", Retain::default());
    let (mut copies, mut frames) = (0, 0);
    for path in files(&folder) {
        let source = Source::file(&path);
        let Ok(file) = DicomFile::read(&source) else { continue };
        let Ok(copy) = by.copy(&file) else { continue };
        let name = file.data_set().line(tags::PATIENT_NAME);
        // Some were de-identified before, and are called REMOVED.
        if name.len() > 6 && name != "REMOVED" {
            let found = copy.bytes.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(!found, "{}: {name} is left", path.display());
        }
        let copied = DicomFile::from_bytes(&copy.bytes, &Source::file("copy")).unwrap();
        assert!(!has_private(copied.data_set()), "{}", path.display());
        let (Ok(before), Ok(after)) = (PixelReader::new(file), PixelReader::new(copied)) else { continue };
        assert_eq!(before.frames(), after.frames(), "{}", path.display());
        for frame in 0..before.frames().min(3) {
            match (before.stored(frame), after.stored(frame)) {
                (Ok(a), Ok(b)) => assert_eq!(a, b, "{} frame {frame}", path.display()),
                (a, b) => assert_eq!(a.is_err(), b.is_err(), "{} frame {frame}", path.display()),
            }
            frames += 1;
        }
        copies += 1;
    }
    println!("{copies} copies, {frames} frames");
    assert!(copies > 250, "{copies}");
}
