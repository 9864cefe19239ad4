//! Every real file opens with the attributes that the manifest gives, or is refused with a reason.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use bifocal_core::dicom::{DicomError, DicomFile, PixelData, tags};
use bifocal_core::study::Source;

fn data() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/dicom");
    if !folder.is_dir() {
        println!("skipped: {} is absent", folder.display());
        return None;
    }
    Some(folder)
}

/// Cells by column name of each row of the manifest.
fn manifest(folder: &Path) -> Vec<HashMap<String, String>> {
    let text = std::fs::read_to_string(folder.join("manifest.csv")).unwrap();
    let mut lines = text.lines().map(|line| {
        let (mut cells, mut quoted) = (vec![String::new()], false);
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ',' if !quoted => cells.push(String::new()),
                c => cells.last_mut().unwrap().push(c),
            }
        }
        cells
    });
    let names = lines.next().unwrap();
    lines.map(|cells| names.iter().cloned().zip(cells).collect()).collect()
}

#[test]
fn every_file_of_the_manifest_opens_with_its_attributes() {
    let Some(folder) = data() else { return };
    let rows = manifest(&folder);
    assert!(rows.len() > 400);
    for row in rows {
        let source = Source::file(folder.join(&row["path"]));
        if row["sop_class"].is_empty() && row["rows"].is_empty() {
            // Broken beyond the manifest's own reader, or text with a misleading name: any answer with a reason will do.
            match DicomFile::read(&source) {
                Ok(file) => assert!(file.data_set().elements().count() > 0, "{source}"),
                Err(error) => assert!(matches!(error, DicomError::NotDicom { .. }), "{error}"),
            }
            continue;
        }
        let file = DicomFile::read(&source).unwrap_or_else(|error| panic!("{error}"));
        let headers = DicomFile::read_headers(&source).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(headers.transfer_syntax, file.transfer_syntax, "{source}");
        let declared = &row["transfer_syntax"];
        if !declared.is_empty() {
            assert_eq!(&file.transfer_syntax, declared, "{source}");
        }
        let (set, headers) = (file.data_set(), headers.data_set());
        for (tag, name) in [
            (tags::ROWS, "rows"),
            (tags::COLUMNS, "cols"),
            (tags::BITS_ALLOCATED, "bits_allocated"),
            (tags::BITS_STORED, "bits_stored"),
        ] {
            let wanted = row[name].parse::<i64>().ok();
            // The manifest's reader gave up on a few broken files.
            let Some(wanted) = wanted else { continue };
            let wanted = Some(wanted);
            assert_eq!(set.int(tag), wanted, "{source}: {name}");
            assert_eq!(headers.int(tag), wanted, "{source}: {name}, headers only");
        }
        if row["modality"].is_empty() {
            continue;
        }
        for (tag, name) in [(tags::MODALITY, "modality"), (tags::SERIES_INSTANCE_UID, "series_uid")] {
            assert_eq!(set.string(tag).unwrap_or_default(), row[name], "{source}: {name}");
        }
        if row["decodes_with_pydicom"] == "yes" {
            let frames = set.int(tags::NUMBER_OF_FRAMES).unwrap_or(1) as usize;
            match file.pixel_data().unwrap_or_else(|error| panic!("{error}")) {
                PixelData::Encapsulated(pixels) => {
                    for frame in 0..frames {
                        assert!(pixels.frame(frame, frames).is_some(), "{source}: frame {frame} of {frames}");
                    }
                }
                PixelData::Native(element) => assert!(!element.bytes().is_empty(), "{source}"),
            }
        }
    }
}

fn charset_file(name: &str) -> Option<DicomFile> {
    let path = data()?.join("pydicom+pydicom/src/pydicom/data/charset_files").join(name);
    Some(DicomFile::read(&Source::file(path)).unwrap())
}

#[test]
fn names_in_every_character_set() {
    // Names as in DICOM PS3.5 annexes H, I and J and in the files' own history.
    for (name, expected) in [
        ("chrArab.dcm", "قباني, لنزار"),
        ("chrFren.dcm", "Buc, Jérôme"),
        ("chrFrenMulti.dcm", "Buc, Jérôme"),
        ("chrGerm.dcm", "Äneas, Rüdiger"),
        ("chrGreek.dcm", "Διονυσιος"),
        ("chrH31.dcm", "Yamada, Tarou"),
        ("chrH32.dcm", "ﾔﾏﾀﾞ, ﾀﾛｳ"),
        ("chrHbrw.dcm", "שרון, דבורה"),
        ("chrI2.dcm", "Hong, Gildong"),
        ("chrRuss.dcm", "Люкceмбypг"),
        ("chrX1.dcm", "Wang, XiaoDong"),
        ("chrX2.dcm", "Wang, XiaoDong"),
    ] {
        let Some(file) = charset_file(name) else { return };
        assert_eq!(file.data_set().person_name(tags::PATIENT_NAME), expected, "{name}");
    }
    for (name, group, expected) in [
        ("chrH31.dcm", 1, "山田^太郎"),
        ("chrH31.dcm", 2, "やまだ^たろう"),
        ("chrH32.dcm", 1, "山田^太郎"),
        ("chrH32.dcm", 2, "やまだ^たろう"),
        ("chrI2.dcm", 1, "洪^吉洞"),
        ("chrI2.dcm", 2, "홍^길동"),
        ("chrX1.dcm", 1, "王^小東"),
        ("chrX2.dcm", 1, "王^小东"),
    ] {
        let Some(file) = charset_file(name) else { return };
        let value = file.data_set().string(tags::PATIENT_NAME).unwrap();
        assert_eq!(value.split('=').nth(group), Some(expected), "{name}");
    }
}

#[test]
fn truncated_and_mislabelled_files_keep_what_they_have_and_say_so() {
    let Some(folder) = data() else { return };
    let test_files = folder.join("pydicom+pydicom/src/pydicom/data/test_files");
    for (name, said) in [
        ("MR_truncated.dcm", "the file ends before the pixel data does"),
        ("no_meta.dcm", "no DICOM preamble"),
        ("meta_missing_tsyntax.dcm", "missing: taken from the content"),
        ("ExplVR_BigEndNoMeta.dcm", "no DICOM preamble"),
        ("rtplan_truncated.dcm", "the file"),
    ] {
        let file = DicomFile::read(&Source::file(test_files.join(name))).unwrap();
        assert!(file.problems.iter().any(|p| p.cause.contains(said)), "{name}: {:?}", file.problems);
        assert!(file.data_set().elements().count() > 4, "{name}");
    }
    let file = DicomFile::read(&Source::file(test_files.join("MR_truncated.dcm"))).unwrap();
    assert_eq!(file.data_set().bytes(tags::PIXEL_DATA).map(<[u8]>::len), Some(8130));
}

#[test]
fn text_is_refused_by_name() {
    let source = Source::file("notes.txt");
    let error =
        DicomFile::from_bytes(b"Patient came back on Monday, no new images. See the letter.", &source).unwrap_err();
    assert!(matches!(error, DicomError::NotDicom { .. }));
    assert!(error.to_string().starts_with("notes.txt: not a DICOM file"), "{error}");
}
