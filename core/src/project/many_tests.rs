//! Many patients: who is in, how they are split, what leaves without identifiers, and who did what.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::tests::{done, draw, project};
use super::*;
use crate::annotation::{Act, What};
use crate::dicom::{CtSlice, ImageContext, index_paths, read_segmentation, uid_from_name, write_ct};
use crate::study::{PlaneGeometry, Source, StudyIndex};
use crate::task::Task;

/// Three CT slices of each of `patients` patients.
fn images(folder: &Path, patients: usize) -> StudyIndex {
    for patient in 0..patients {
        let place = folder.join(format!("{patient}"));
        std::fs::create_dir_all(&place).expect("a folder");
        for slice in 0..3usize {
            let hu = Array2::from_shape_fn((40, 50), |(r, c)| (r * 10 + c) as i16);
            let context = ImageContext {
                patient_id: format!("SECRET-{patient}"),
                patient_name: "Doe^Jane".into(),
                study_uid: uid_from_name(&format!("study {patient}")),
                series_uid: uid_from_name(&format!("series {patient}")),
                ..ImageContext::default()
            };
            let image = CtSlice {
                sop_instance_uid: uid_from_name(&format!("ct {patient} {slice}")),
                number: slice as u32,
                hu: hu.view(),
                geometry: PlaneGeometry {
                    position: [0.0, 0.0, 3.0 * slice as f64],
                    row_direction: [1.0, 0.0, 0.0],
                    column_direction: [0.0, 1.0, 0.0],
                },
                spacing_mm: [0.7, 0.8],
                thickness_mm: 3.0,
                field_mm: 40.0,
                frame_of_reference_uid: uid_from_name(&format!("space {patient}")),
                kvp: 120.0,
                patient_position: "HFS".into(),
                contrast: String::new(),
                windows: Vec::new(),
            };
            write_ct(&place.join(format!("{slice}.dcm")), &context, &image).expect("written");
        }
    }
    index_paths(&[folder.to_path_buf()], &Task::new()).expect("indexed")
}

fn options(format: ExportFormat) -> ExportOptions {
    ExportOptions {
        format,
        readers: vec!["anna".into()],
        only_done: false,
        flagged: true,
        split: None,
        deidentify: false,
        date_time: ("20260101".into(), "120000".into()),
    }
}

/// All files below a folder, with their bytes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("listed").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            all.extend(files(&entry));
        } else {
            let bytes = std::fs::read(&entry).expect("read");
            all.push((entry, bytes));
        }
    }
    all
}

/// What anna draws on the first study, as in the other tests.
fn begin(folder: &Path, patients: usize) -> (Project, StudyIndex) {
    let index = images(&folder.join("images"), patients);
    let project = project(&folder.join("project"));
    let first = StudyIndex { studies: vec![index.studies[0].clone()], ..StudyIndex::default() };
    draw(&project, "anna", &first);
    (project, index)
}

#[test]
fn studies_come_and_go_and_images_are_never_written_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut project, index) = begin(folder.path(), 2);
    images(&folder.path().join("more"), 3);
    let before = files(&folder.path().join("images"));
    let task = Task::new();
    let count = |project: &Project| project.index(&task).expect("indexed").studies.len();
    assert_eq!(count(&project), 2);
    assert_eq!(project.add_sources("anna", &[folder.path().join("images/1")]).expect("added"), 0, "it is in already");
    assert_eq!(project.add_sources("anna", &[folder.path().join("more")]).expect("added"), 1);
    assert_eq!(count(&project), 3, "the same files twice are one study");
    let study = index.studies[0].uid.clone();
    // Another reader's window knows nothing of that, and changes the project.
    let mut other = Project::open(project.folder()).expect("opens");
    project.set_left_out("anna", &study, true).expect("taken out");
    other.rename("Renamed").expect("renamed");
    let again = Project::open(project.folder()).expect("opens");
    assert_eq!((again.name(), again.left_out(), count(&again)), ("Renamed", &[study.clone()][..], 2));
    project.set_left_out("anna", &study, false).expect("put back");
    assert_eq!(count(&project), 3);
    let missing = folder.path().join("nowhere");
    let error = project.add_sources("anna", &[missing]).expect_err("not there").to_string();
    assert!(error.contains("nowhere"), "{error}");
    // What is written among images would be read as images.
    let error = project.add_sources("anna", &[folder.path().to_path_buf()]).expect_err("refused").to_string();
    assert!(error.contains("among the images"), "{error}");
    let inside = folder.path().join("images/1/project");
    let sources = vec![folder.path().join("images")];
    assert!(Project::create(&inside, "x", sources, Taxonomy::default()).is_err() && !inside.exists());
    let index = project.index(&task).expect("indexed");
    for (format, _) in ExportFormat::ALL {
        let error = export(&project, &index, &options(format), &folder.path().join("images/out"), &task);
        assert!(error.expect_err("refused").to_string().contains("among the images"));
    }
    assert_eq!(files(&folder.path().join("images")), before);
}

#[test]
fn a_reader_gets_another_name_and_keeps_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let (project, index) = begin(folder.path(), 1);
    done(&project, "anna", &index);
    done(&project, "ben", &index);
    let error = project.rename_reader("anna", "ben").expect_err("taken").to_string();
    assert!(error.contains("ben"), "{error}");
    assert!(matches!(project.rename_reader("anna", "a/b"), Err(ProjectError::Reader(_))));
    project.rename_reader("anna", "Zoe").expect("renamed");
    assert_eq!(project.readers().expect("listed"), ["Zoe", "ben"]);
    let frames = collect(&project, "Zoe", &index, 0, &Task::new()).expect("gathered").frames;
    assert_eq!(frames.len(), 3);
    project.rename_reader("new", "newer").expect("who has not read has nothing to rename");
}

#[test]
fn splits_are_by_patient_and_the_same_each_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (project, index) = begin(folder.path(), 20);
    let shares = SplitShares { validation: 0.2, test: 0.3, seed: 5 };
    let split = split_patients(&project, &index, shares).expect("split");
    let count = |side| split.values().filter(|other| **other == side).count();
    assert_eq!(Side::ALL.map(count), [10, 4, 6]);
    assert_eq!(split_patients(&project, &index, shares).as_ref(), Ok(&split));
    let other = split_patients(&project, &index, SplitShares { seed: 6, ..shares }).expect("split");
    assert_ne!(other, split);
    let none = split_patients(&project, &index, SplitShares { validation: 0.0, test: 0.0, seed: 5 }).expect("split");
    assert!(none.values().all(|side| *side == Side::Train));
    for (validation, test) in [(0.5, 0.5), (1.0, 0.0), (-0.1, 0.2), (f64::NAN, 0.2)] {
        assert!(split_patients(&project, &index, SplitShares { validation, test, seed: 5 }).is_err());
    }

    // All are done without a finding, so that each is written.
    for study in &index.studies {
        let case = Case { state: CaseState::Done, ..Case::default() };
        project.set_case("anna", &study.series[0].reading_uid(), case).expect("kept");
    }
    let out = folder.path().join("yolo");
    let wanted = ExportOptions { split: Some(shares), ..options(ExportFormat::Yolo) };
    let exported = export(&project, &index, &wanted, &out, &Task::new()).expect("written");
    let parts: Vec<_> = exported.parts.iter().map(|part| (part.side, part.patients)).collect();
    assert_eq!(parts, [(Some(Side::Train), 10), (Some(Side::Validation), 4), (Some(Side::Test), 6)]);
    let data = std::fs::read_to_string(out.join("data.yaml")).expect("read");
    assert!(data.starts_with("path: .\ntrain: train/images\nval: validation/images\ntest: test/images\n"), "{data}");
    assert_eq!(std::fs::read_dir(out.join("test/images")).expect("listed").count(), 18);
    let text = std::fs::read_to_string(out.join("split.json")).expect("read");
    assert!(text.contains(r#""seed": 5"#) && text.contains(&project.patient(&index.studies[0])), "{text}");
    assert!(!text.contains("SECRET"));
    let coco = folder.path().join("coco");
    let wanted = ExportOptions { format: ExportFormat::Coco, ..wanted };
    export(&project, &index, &wanted, &coco, &Task::new()).expect("written");
    let patients = |side: &str| {
        let data = crate::dataset::CocoDataset::load(&coco.join(side).join("coco.json")).expect("COCO");
        data.images.into_iter().map(|image| image.patient_id).collect::<BTreeSet<_>>()
    };
    let (train, test) = (patients("train"), patients("test"));
    assert_eq!((train.len(), test.len(), train.intersection(&test).count()), (10, 6, 0));
}

#[test]
fn what_leaves_without_identifiers_has_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let (project, index) = begin(folder.path(), 1);
    let task = Task::new();
    let mut secrets: Vec<String> = ["Doe", "SECRET", "anna"].map(str::to_owned).to_vec();
    let study = &index.studies[0];
    secrets.extend([study.uid.0.clone(), study.series[0].uid.0.clone(), uid_from_name("space 0")]);
    secrets.extend(study.series[0].instances.iter().map(|instance| instance.uid.0.clone()));
    for (format, name) in ExportFormat::ALL {
        let out = folder.path().join(name);
        let wanted = ExportOptions { deidentify: true, ..options(format) };
        let exported = export(&project, &index, &wanted, &out, &task).expect("written");
        assert_eq!(exported.parts.len(), 1, "{name}: {exported:?}");
        let written = files(&out);
        assert!(!written.is_empty());
        for (file, bytes) in &written {
            let text = String::from_utf8_lossy(bytes);
            for secret in &secrets {
                assert!(!text.contains(secret.as_str()), "{}: {secret}", file.display());
            }
        }
        let images = written.iter().filter(|(file, _)| file.starts_with(out.join("images")));
        let copies = images.filter(|(file, _)| file.extension().is_some_and(|e| e == "dcm")).count();
        let beside = matches!(format, ExportFormat::Seg | ExportFormat::Nifti);
        assert_eq!(copies, if beside { 3 } else { 0 }, "{name}");
    }
    // What was drawn on the copies comes back to the originals.
    let mut project = project;
    for (place, annotations) in [("COCO/coco.json", 4), ("DICOM SEG/001-ct.dcm", 4), ("NIfTI/001-ct.nii.gz", 4)] {
        let file = folder.path().join(place);
        let imported = import_file(&mut project, "ben", &index, &file, &task).expect("imported");
        assert_eq!((imported.annotations, imported.problems.len()), (annotations, 0), "{place}: {imported:?}");
    }
    // The segmentation fits the copies beside it.
    let seg = read_segmentation(&Source::file(folder.path().join("DICOM SEG/001-ct.dcm"))).expect("read");
    let copies = index_paths(&[folder.path().join("DICOM SEG/images")], &task).expect("indexed");
    let known: BTreeSet<_> =
        copies.studies[0].series[0].instances.iter().map(|instance| instance.uid.clone()).collect();
    assert_eq!(copies.studies[0].patient.id, project.patient(study));
    assert!(!seg.masks.is_empty());
    for mask in &seg.masks {
        assert!(known.contains(&mask.source.as_ref().expect("a source").sop_instance_uid));
    }
    assert_eq!(seg.frame_of_reference_uid, copies.studies[0].series[0].frame_of_reference);
}

#[test]
fn only_what_is_wanted_is_written_and_the_rest_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let (project, index) = begin(folder.path(), 2);
    let first = StudyIndex { studies: vec![index.studies[0].clone()], ..StudyIndex::default() };
    draw(&project, "ben", &first);
    done(&project, "ben", &first);
    let wanted =
        ExportOptions { readers: vec!["anna".into(), "ben".into()], only_done: true, ..options(ExportFormat::Coco) };
    let out = folder.path().join("out");
    let exported = export(&project, &index, &wanted, &out, &Task::new()).expect("written");
    let [part] = exported.parts.as_slice() else { panic!("anna is not done: {exported:?}") };
    assert_eq!((part.reader.as_str(), part.written.as_str()), ("ben", "3 images, 4 annotations"));
    assert!(out.join("ben/coco.json").exists() && !out.join("anna").exists());
    let expected =
        ["1 points, lengths and the like left out: COCO has no place for them", "1 series of anna left out: not done"];
    assert_eq!(exported.problems, expected);
    let cancelled = Task::new();
    cancelled.cancel();
    let error = export(&project, &index, &wanted, &out, &cancelled).expect_err("cancelled");
    assert!(matches!(error, ProjectError::Cancelled(_)), "{error}");
}

#[test]
fn the_history_tells_who_did_what_and_when() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut project, index) = begin(folder.path(), 1);
    done(&project, "ben", &index);
    let out = folder.path().join("coco");
    export(&project, &index, &options(ExportFormat::Coco), &out, &Task::new()).expect("written");
    import_file(&mut project, "ben", &index, &out.join("coco.json"), &Task::new()).expect("imported");
    let (entries, problems) = history(&project, &Task::new()).expect("told");
    assert!(problems.is_empty(), "{problems:?}");
    let series = index.studies[0].series[0].reading_uid();
    let steps = entries.iter().filter(|entry| matches!(&entry.told, Told::Step(step) if step.act == Act::Done));
    let by = |reader: &str| steps.clone().filter(|entry| entry.reader == reader).count();
    assert_eq!((by("anna"), by("ben")), (5, 1), "an import is one step");
    assert!(steps.clone().all(|entry| entry.at.is_some() && entry.series.as_ref() == Some(&series)));
    let painted = |entry: &&Entry| matches!(&entry.told, Told::Step(step) if step.changes[0].what == What::Painted { added: 13, removed: 0 });
    assert_eq!(entries.iter().find(painted).map(|entry| entry.reader.as_str()), Some("anna"));
    let deed = |of: fn(&Deed) -> bool| entries.iter().find(|entry| matches!(&entry.told, Told::Deed(d) if of(d)));
    assert_eq!(deed(|d| matches!(d, Deed::Imported { annotations: 4, .. })).map(|e| e.reader.as_str()), Some("ben"));
    let case = deed(|d| matches!(d, Deed::Case { to, .. } if to.state == CaseState::Done)).expect("told");
    assert_eq!((case.reader.as_str(), case.series.as_ref()), ("ben", Some(&series)));
    std::fs::write(project.readings("ben").expect("a name").join("deeds.jsonl"), "{\n").expect("written");
    let (entries, problems) = history(&project, &Task::new()).expect("told");
    assert!(!entries.is_empty() && problems[0].contains("deeds.jsonl, line 1"), "{problems:?}");
}
