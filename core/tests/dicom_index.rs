//! The tree of studies: from real folders, and from files made to trip it.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use bifocal_core::dicom::index_paths;
use bifocal_core::study::{Series, SeriesNote, StudyIndex};
use bifocal_core::task::{Cancelled, Task};
use support::*;

fn index(paths: &[&Path]) -> StudyIndex {
    index_paths(&paths.iter().map(PathBuf::from).collect::<Vec<_>>(), &Task::new()).unwrap()
}

fn series(index: &StudyIndex) -> Vec<&Series> {
    index.studies.iter().flat_map(|study| &study.series).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Writes slices `0.dcm`, `1.dcm`, ... and indexes the folder.
fn index_slices(slices: &[Slice<'_>]) -> StudyIndex {
    let folder = tempfile::tempdir().unwrap();
    for (number, one) in slices.iter().enumerate() {
        fs::write(folder.path().join(format!("{number}.dcm")), slice(EXPLICIT, one)).unwrap();
    }
    index(&[folder.path()])
}

#[test]
fn every_real_file_is_in_the_tree_or_named_with_a_reason() {
    let Some(folder) = real_files() else { return };
    let index = index(&[&folder]);
    let listed: BTreeSet<&PathBuf> = series(&index).iter().flat_map(|s| &s.instances).map(|i| &i.source.file).collect();
    let named: BTreeSet<&PathBuf> = index.problems.iter().map(|p| &p.source.file).collect();
    let all = files(&folder);
    assert!(all.len() > 400);
    for path in &all {
        let directory = path.file_name().unwrap().to_string_lossy().starts_with("DICOMDIR");
        let copy = !listed.contains(path) && !named.contains(path) && !directory;
        // An identical copy of a listed file is listed once.
        let twin = || {
            let bytes = fs::read(path).unwrap();
            all.iter().any(|other| other != path && fs::read(other).is_ok_and(|b| b == bytes))
        };
        assert!(!copy || twin(), "{} is neither listed nor named", path.display());
    }
    assert!(index.problems.iter().all(|problem| !problem.cause.is_empty()));
    let malformed = fs::read_to_string(folder.join("malformed.tsv")).unwrap();
    for name in malformed.lines().filter_map(|line| line.split('\t').next()) {
        let path = folder.join(name);
        assert!(listed.contains(&path) || named.contains(&path), "{name}");
    }
    // Every image of the manifest's size and frames.
    let manifest = fs::read_to_string(folder.join("manifest.csv")).unwrap();
    let mut compared = 0;
    for line in manifest.lines().skip(1).filter(|line| !line.contains('"')) {
        let cells: Vec<_> = line.split(',').collect();
        let path = folder.join(cells[0]);
        let all_series = series(&index);
        let Some(instance) = all_series.iter().flat_map(|s| &s.instances).find(|i| i.source.file == path) else {
            continue;
        };
        if cells[15] == "yes" {
            assert_eq!((instance.rows.to_string(), instance.columns.to_string()), (cells[6].into(), cells[7].into()));
            assert_eq!(instance.frames, cells[8].parse().unwrap_or(1), "{}", path.display());
            compared += 1;
        }
    }
    assert!(compared > 250, "{compared}");
}

#[test]
fn tilt_and_mixed_spacing_of_a_real_head_ct() {
    let Some(folder) = real_files() else { return };
    let index = index(&[&folder.join("neurolabusc+dcm_qa_ct")]);
    let all = series(&index);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].frame_count(), 28);
    let distances: Vec<f64> = all[0].instances.iter().map(|i| i.geometry.unwrap().distance_along_normal()).collect();
    assert!(distances.is_sorted(), "{distances:?}");
    assert!(
        all[0].notes.iter().any(|n| matches!(n, SeriesNote::GantryTilt { degrees } if (degrees - 18.5).abs() < 0.05))
    );
    let mixed = all[0].notes.iter().find_map(|note| match note {
        SeriesNote::MixedSpacing { spacings_mm } => Some(spacings_mm.clone()),
        _ => None,
    });
    let mixed = mixed.unwrap();
    for wanted in [4.0, 7.0] {
        assert!(mixed.iter().any(|(mm, count)| (mm - wanted).abs() < 0.01 && *count == 13), "{mixed:?}");
    }
}

#[test]
fn a_patient_lying_on_the_side_and_enhanced_frames_are_in_order() {
    let Some(folder) = real_files() else { return };
    let index_mr = index(&[&folder.join("neurolabusc+dcm_qa_decubitus")]);
    let all = series(&index_mr);
    assert_eq!((all.len(), all[0].instances.len()), (1, 35));
    assert!(all[0].instances.iter().map(|i| i.geometry.unwrap().distance_along_normal()).is_sorted());
    assert_eq!(all[0].notes, []);
    let enhanced = index(&[&folder.join("neurolabusc+dcm_qa_enh/In/Philips")]);
    let all = series(&enhanced);
    assert_eq!((all.len(), all[0].frame_count()), (1, 64));
    assert_eq!(all[0].notes, [SeriesNote::RepeatedPositions { count: 64 }]);
    // Each frame is shown exactly once.
    let shown: BTreeSet<usize> =
        (0..64).filter_map(|position| all[0].frame_at(position)).map(|(_, frame)| frame).collect();
    assert_eq!(shown.len(), 64);
}

#[test]
fn a_zip_gives_the_same_tree_as_its_folder() {
    let Some(folder) = real_files() else { return };
    let folder = folder.join("neurolabusc+dcm_qa_ct");
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("study.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    for file in files(&folder) {
        let name = file.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(&fs::read(&file).unwrap()).unwrap();
    }
    zip.finish().unwrap();
    let (unpacked, packed) = (index(&[&folder]), index(&[&path]));
    let uids = |index: &StudyIndex| {
        series(index).iter().flat_map(|s| s.instances.iter().map(|i| i.uid.clone())).collect::<Vec<_>>()
    };
    assert_eq!(uids(&packed), uids(&unpacked));
    let all = series(&packed);
    let first = &all[0].instances[0];
    let file = bifocal_core::dicom::DicomFile::read(&first.source).unwrap();
    assert_eq!(file.data_set().string(bifocal_core::dicom::tags::SOP_INSTANCE_UID).unwrap(), first.uid.0);
}

#[test]
fn hostile_archives_cost_one_problem_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.zip");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("good.dcm", options).unwrap();
    zip.write_all(&slice(EXPLICIT, &Slice::default())).unwrap();
    zip.start_file("../../escape.dcm", options).unwrap();
    zip.write_all(&slice(EXPLICIT, &Slice { uid: "9.9", ..Slice::default() })).unwrap();
    zip.start_file("zeros.bin", options).unwrap();
    for _ in 0..200 {
        zip.write_all(&vec![0; 1 << 20]).unwrap();
    }
    zip.start_file("inner.zip", options).unwrap();
    zip.write_all(b"PK\x03\x04rest").unwrap();
    zip.finish().unwrap();
    // An archive cut in half, and one that is only a signature.
    let bytes = fs::read(&path).unwrap();
    fs::write(folder.path().join("half.zip"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(folder.path().join("signature.zip"), b"PK\x03\x04").unwrap();
    let index = index(&[folder.path()]);
    assert_eq!(series(&index).iter().map(|s| s.instances.len()).sum::<usize>(), 1);
    let causes: Vec<String> = index.problems.iter().chain(&index.remarks).map(ToString::to_string).collect();
    for wanted in ["leads out of the archive", "archive within an archive", "zeros.bin", "half.zip", "signature.zip"] {
        assert!(causes.iter().any(|cause| cause.contains(wanted)), "{wanted}: {causes:#?}");
    }
}

/// A DICOMDIR that references the files given, each as parts of a path.
fn dicomdir(references: &[&str]) -> Vec<u8> {
    let mut items = Writer::new(EXPLICIT);
    for reference in references {
        let mut record = Writer::new(EXPLICIT);
        // Both links point at the first record: a cycle.
        record.header((4, 0x1400), "UL", 4).u32(1);
        record.header((4, 0x1420), "UL", 4).u32(1);
        record.text((4, 0x1430), "CS", "IMAGE").text((4, 0x1500), "CS", reference);
        items.header((0xFFFE, 0xE000), "", record.bytes.len() as u32).bytes.extend(record.bytes);
    }
    let mut w = Writer::new(EXPLICIT);
    w.text((4, 0x1130), "CS", "TEST").header((4, 0x1200), "UL", 4).u32(1);
    w.raw((4, 0x1220), "SQ", &items.bytes);
    file(EXPLICIT, &w.bytes)
}

#[test]
fn a_dicomdir_is_followed_but_not_out_of_its_folder_or_in_circles() {
    let folder = tempfile::tempdir().unwrap();
    let disc = folder.path().join("disc");
    fs::create_dir_all(disc.join("images")).unwrap();
    fs::write(disc.join("images/a"), slice(EXPLICIT, &Slice { uid: "1.1", ..Slice::default() })).unwrap();
    fs::write(disc.join("images/b"), slice(EXPLICIT, &Slice { uid: "1.2", ..Slice::default() })).unwrap();
    fs::write(folder.path().join("secret"), slice(EXPLICIT, &Slice { uid: "1.3", ..Slice::default() })).unwrap();
    let path = disc.join("DICOMDIR");
    let references = ["IMAGES\\A", "images\\a", "..\\secret", "/etc\\passwd", "DICOMDIR", "IMAGES\\GONE", "IMAGES"];
    fs::write(&path, dicomdir(&references)).unwrap();
    let alone = index(&[&path]);
    let uids: Vec<_> = series(&alone).iter().flat_map(|s| &s.instances).map(|i| i.uid.0.clone()).collect();
    assert_eq!(uids, ["1.1"]);
    let causes: Vec<String> = alone.problems.iter().map(ToString::to_string).collect();
    assert_eq!(causes.iter().filter(|cause| cause.contains("leads out of the folder")).count(), 2, "{causes:#?}");
    assert_eq!(causes.iter().filter(|cause| cause.contains("absent")).count(), 2, "{causes:#?}");
    // In a folder it says nothing, and the other file is found as well.
    let whole = index(&[&disc]);
    assert_eq!(series(&whole).iter().map(|s| s.instances.len()).sum::<usize>(), 2);
    assert_eq!(whole.problems, []);
}

#[test]
fn a_real_dicomdir_leads_to_its_files() {
    let Some(folder) = real_files() else { return };
    let folder = folder.join("pydicom+pydicom/src/pydicom/data/test_files/dicomdirtests");
    let alone = index(&[&folder.join("DICOMDIR")]);
    let found: usize = series(&alone).iter().map(|s| s.instances.len()).sum();
    assert_eq!(found, 31, "{:#?}", alone.problems);
}

#[test]
fn unusable_positions_are_named_and_go_last() {
    let usual = Slice::default();
    let index = index_slices(&[
        Slice { uid: "1.1", position: "0\\0\\30", number: "1", ..usual.clone() },
        Slice { uid: "1.2", position: "NaN\\0\\10", number: "2", ..usual.clone() },
        Slice { uid: "1.3", position: "0\\0\\10", number: "3", ..usual.clone() },
        Slice { uid: "1.4", position: "0\\0\\20", number: "4", orientation: "0\\0\\0\\0\\0\\0", ..usual.clone() },
        Slice { uid: "1.5", position: "0\\0\\25", number: "5", orientation: "1\\0\\0\\1\\0\\0", ..usual.clone() },
        Slice { uid: "1.6", position: "0\\0\\20", number: "6", orientation: "2\\0\\0\\0\\2\\0", ..usual.clone() },
        Slice { uid: "1.7", position: "0\\0", number: "7", ..usual.clone() },
        Slice { uid: "1.8", position: "1e300\\0\\0", number: "8", ..usual.clone() },
    ]);
    let all = series(&index);
    let order: Vec<&str> = all[0].instances.iter().map(|i| i.uid.0.as_str()).collect();
    assert_eq!(order, ["1.3", "1.6", "1.1", "1.2", "1.4", "1.5", "1.7", "1.8"]);
    for (file, tag) in
        [(1, "0020,0032"), (3, "0020,0037"), (4, "0020,0037"), (5, "0020,0037"), (6, "0020,0032"), (7, "0020,0032")]
    {
        let name = format!("{file}.dcm");
        let named = index.remarks.iter().find(|p| p.source.file.ends_with(&name)).unwrap();
        assert!(named.tag.as_ref().unwrap().contains(tag), "{named}");
    }
}

#[test]
fn duplicates_are_kept_where_they_differ() {
    let usual = Slice::default();
    let index = index_slices(&[usual.clone(), usual.clone(), Slice { pixel: 9, ..usual.clone() }]);
    assert_eq!(series(&index)[0].instances.len(), 2);
    assert_eq!(series(&index)[0].notes, [SeriesNote::RepeatedPositions { count: 2 }]);
    assert_eq!((index.problems.len(), index.remarks.len()), (0, 1));
    assert!(index.remarks[0].cause.contains("content differs"), "{}", index.remarks[0]);
}

#[test]
fn what_belongs_to_one_file_is_not_kept_under_anothers_key() {
    let usual = Slice::default();
    let keys = |slices: &[Slice<'_>]| -> Vec<String> {
        let index = index_slices(slices);
        series(&index).iter().flat_map(|s| &s.instances).map(|instance| instance.key().0).collect()
    };
    // Unique: the UID itself, under which older sessions kept their reviews.
    assert_eq!(keys(std::slice::from_ref(&usual)), [usual.uid]);
    assert_eq!(keys(&[usual.clone(), usual.clone()]), [usual.uid], "a copy is the same instance");
    let other = Slice { pixel: 9, ..usual.clone() };
    let first = keys(&[usual.clone(), other.clone()]);
    assert!(first.len() == 2 && first[0] != first[1], "{first:?}");
    assert!(first.iter().all(|key| key.starts_with(&format!("{}#", usual.uid))), "{first:?}");
    // The content decides, not the order or the name of the files.
    let mut second = keys(&[other, usual.clone()]);
    second.reverse();
    assert_eq!(first, second);
}

#[test]
fn one_series_uid_in_two_studies_gives_two_readings() {
    let first = slice(EXPLICIT, &Slice::default());
    let at = first.windows(6).position(|window| window == b"1.2.3\0").unwrap();
    let mut second = first.clone();
    // The Study Instance UID and the instance's own.
    assert_eq!(&second[at..at + 5], b"1.2.3");
    second[at + 4] = b'9';
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.dcm"), first).unwrap();
    fs::write(folder.path().join("b.dcm"), second).unwrap();
    let index = index(&[folder.path()]);
    let all = series(&index);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].uid, all[1].uid);
    assert_ne!(all[0].reading_uid(), all[1].reading_uid());
    assert_ne!(all[0].instances[0].key(), all[1].instances[0].key(), "the same SOP Instance UID in two studies");
}

#[test]
fn names_are_for_people_and_hold_no_control_characters() {
    for (stored, shown) in [
        (&b"Doe^Jane^Q"[..], "Doe, Jane Q"),
        (b"Doe", "Doe"),
        (b"^Jane ", "Jane"),
        (b"Doe^\x1b[31mJane\x07\n^", "Doe, [31mJane"),
        (b"^^^^=\x00 ", ""),
    ] {
        let index = index_slices(&[Slice { name: stored, ..Slice::default() }]);
        assert_eq!(index.studies[0].patient.name, shown);
    }
}

#[test]
fn claimed_frames_are_limited_by_the_file() {
    for frames in ["2147483647", "99999999999999999999", "1000"] {
        let index = index_slices(&[Slice { frames, rows: 65_535, ..Slice::default() }]);
        assert_eq!(series(&index)[0].frame_count(), 1, "{frames}");
    }
    let index = index_slices(&[Slice { frames: "2147483647", rows: 1, ..Slice::default() }]);
    assert_eq!(series(&index)[0].frame_count(), 4);
    assert!(index.problems.iter().any(|p| p.cause.contains("the file holds 4")));
    let index = index_slices(&[Slice { rows: 0, ..Slice::default() }]);
    assert_eq!(series(&index)[0].frame_count(), 0);
    assert!(index.problems.iter().any(|p| p.tag.as_ref().is_some_and(|tag| tag.contains("Rows"))));
}

#[test]
fn planes_of_a_dose_grid_have_their_place() {
    for offsets in ["0\\5\\-2.5\\10", "30\\35\\27.5\\40"] {
        let mut w = slice_header(EXPLICIT, &Slice { frames: "4", position: "0\\0\\30", ..Slice::default() });
        w.text((0x3004, 0x0C), "DS", offsets);
        w.raw((0x7FE0, 0x10), "OW", &[7; 64]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dose.dcm");
        fs::write(&path, file(EXPLICIT, &w.bytes)).unwrap();
        let index = index(&[&path]);
        let instance = &series(&index)[0].instances[0];
        // Reading order is by position: the third plane lies lowest.
        assert_eq!(instance.frame_order, [2, 0, 1, 3], "{offsets}");
        assert_eq!(instance.geometry.unwrap().position, [0.0, 0.0, 27.5]);
        let source = bifocal_core::study::Source::file(&path);
        let frame = bifocal_core::dicom::pixels::read_frame(&source, 3).unwrap();
        assert_eq!(frame.display.geometry.unwrap().position[2], 40.0);
    }
}

#[test]
fn problems_are_files_that_cannot_be_used_and_remarks_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let whole = slice(EXPLICIT, &Slice::default());
    put("bare.dcm", &slice(EXPLICIT, &Slice { uid: "1.5", ..Slice::default() })[132..]);
    put("cut.dcm", &whole[..whole.len() - 5]);
    put("text.dcm", b"words");
    let packed = slice(RLE, &Slice { uid: "1.6", ..Slice::default() });
    put("packed.dcm", &packed);
    put("packed-cut.dcm", &packed[..packed.len() - 20]);
    put("packed-open.dcm", &packed[..packed.len() - 8]);
    put("other.dcm", &slice(EXPLICIT, &Slice { pixel: 1, ..Slice::default() }));
    let index = index(&[folder.path()]);
    let names = |list: &[bifocal_core::study::Problem]| -> Vec<String> {
        list.iter().map(|p| p.source.file.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(&index.problems), ["cut.dcm", "packed-cut.dcm", "text.dcm"], "{:#?}", index.problems);
    // Three files claim one UID, of which two are told; one of them has no end mark.
    let remarks = ["bare.dcm", "other.dcm", "packed-open.dcm", "packed-open.dcm", "packed.dcm"];
    assert_eq!(names(&index.remarks), remarks, "{:#?}", index.remarks);
    assert!(index.problems[0].tag.as_ref().unwrap().contains("7FE0,0010"));
    let json = serde_json::to_value(&index).unwrap();
    assert_eq!(json["problems"][0]["severity"], "error");
    assert_eq!(json["remarks"][0]["severity"], "remark");
    assert_eq!(series(&index).iter().map(|s| s.instances.len()).sum::<usize>(), 6);
}

#[test]
fn one_bad_file_never_fails_a_folder_and_pictures_are_series() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    put("good.dcm", &slice(EXPLICIT, &Slice::default()));
    put("empty.dcm", b"");
    put("notes.txt", b"a few words about nothing");
    put("cut.png", b"\x89PNG\r\n\x1a\n\0\0");
    put("Thumbs.db", b"whatever");
    put("magic.dcm", &[&[0; 128][..], b"DICM"].concat());
    image::GrayImage::new(7, 5).save(folder.path().join("chest.png")).unwrap();
    let index = index(&[folder.path(), &folder.path().join("absent")]);
    assert_eq!(series(&index).len(), 2);
    let all = series(&index);
    let picture = all.iter().find(|s| s.description == "chest.png").unwrap();
    assert_eq!((picture.instances[0].rows, picture.instances[0].columns, picture.frame_count()), (5, 7, 1));
    assert!(picture.uid.0.starts_with("2.25."));
    let named: BTreeSet<String> =
        index.problems.iter().map(|p| p.source.file.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(named, ["absent", "cut.png", "empty.dcm", "magic.dcm", "notes.txt"].map(String::from).into());
}

#[cfg(unix)]
#[test]
fn loops_of_links_end() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.dcm"), slice(EXPLICIT, &Slice::default())).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).unwrap();
    std::os::unix::fs::symlink("self", folder.path().join("self")).unwrap();
    let index = index(&[folder.path()]);
    assert_eq!(series(&index)[0].instances.len(), 1);
}

#[test]
fn cancelling_stops() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.dcm"), slice(EXPLICIT, &Slice::default())).unwrap();
    let task = Task::new();
    task.cancel();
    assert_eq!(index_paths(&[folder.path().to_path_buf()], &task), Err(Cancelled));
}
