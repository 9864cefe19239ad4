//! A small project fine-tunes a small bundle: held-out patients teach nothing, a stopped run goes on, originals stay as they are.

#![allow(clippy::unwrap_used)]

#[path = "support/scans.rs"]
mod scans;
#[path = "support/spots.rs"]
mod spots;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bifocal_core::dataset::CocoDataset;
use bifocal_core::evaluate::Comparison;
use bifocal_core::model::{Bundle, DeviceChoice, open_device, read_metadata};
use bifocal_core::project::{CaseState, Project};
use bifocal_core::task::Task;
use bifocal_core::tune::{Choice, TuneError, TuneOptions, candidates, plan, suggest, tune};
use spots::{parent, project};

fn options(folder: &Path, name: &str, project: &Project, parent: &Path) -> TuneOptions {
    let labels = suggest(project.labels(), &read_metadata(parent).unwrap());
    TuneOptions {
        reader: "anna".into(),
        parent: parent.to_path_buf(),
        out: folder.join(name),
        run: folder.join(format!("{name}-run")),
        choice: Choice::new(labels),
        steps: 20,
        rate: 3e-3,
        created: "2026-01-02".into(),
        device: DeviceChoice::Cpu,
    }
}

/// All files below a folder with their bytes.
fn bytes_below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(bytes_below(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn patients(coco: &Path) -> BTreeSet<String> {
    CocoDataset::load(coco).unwrap().images.into_iter().map(|image| image.patient_id).collect()
}

#[test]
fn a_project_fine_tunes_a_bundle_without_its_held_out_patients() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let parent = parent(folder);
    let (project, index) = project(folder);
    let before = [bytes_below(&folder.join("images")), bytes_below(&folder.join("project")), bytes_below(&parent)];
    let first = options(folder, "tuned", &project, &parent);
    assert_eq!(first.choice.labels, BTreeMap::from([("lesion".to_owned(), "spot".to_owned())]), "by its code");

    let reports = Mutex::new(Vec::new());
    let watch = |report: &bifocal_core::train::Report| reports.lock().unwrap().push(report.clone());
    let tuned = tune(&project, &index, &first, &Task::new(), &watch).unwrap();
    assert!(tuned.problems.is_empty(), "{:?}", tuned.problems);
    let after = [bytes_below(&folder.join("images")), bytes_below(&folder.join("project")), bytes_below(&parent)];
    assert!(before == after, "originals, readings and parent are not written to");

    // The three sides do not meet, and training was given two of them only.
    let plan = &tuned.plan;
    let (training, validation, held_out) =
        (&plan.training.patients, &plan.validation.patients, &plan.held_out.patients);
    assert!(training.is_disjoint(validation) && training.is_disjoint(held_out) && validation.is_disjoint(held_out));
    assert_eq!(training.len() + validation.len() + held_out.len(), 19, "the one that is not done is left out");
    assert_eq!(plan.left_out.values().sum::<usize>(), 1);
    let seen = patients(&first.run.join("training/coco.json"));
    assert_eq!(seen, training.union(validation).cloned().collect());
    assert_eq!(&patients(&first.run.join("held-out/coco.json")), held_out);
    for side in [&plan.training, &plan.validation, &plan.held_out] {
        assert!(side.classes["spot"].with > 0 && side.classes["spot"].without > 0, "{side:?}");
    }

    // A bundle that says where it comes from, and other weights.
    let (device, name, _) = open_device(DeviceChoice::Cpu);
    let bundle = Bundle::load(&first.out, device, name).unwrap();
    let (metadata, old) = (&bundle.metadata, read_metadata(&parent).unwrap());
    let origin = metadata.fine_tuning.as_ref().unwrap();
    assert_eq!((metadata.id.as_str(), origin.parent.as_str(), origin.project.as_str()), ("tuned", "spots", "Spots"));
    assert_eq!(origin.parent_sha256, old.weights_sha256);
    assert_ne!(metadata.weights_sha256, old.weights_sha256);
    assert_eq!(&origin.held_out.iter().cloned().collect::<BTreeSet<_>>(), held_out);
    assert!(!metadata.recipe.contains(folder.to_str().unwrap()), "no paths of this computer");
    let card = std::fs::read_to_string(first.out.join("card.md")).unwrap();
    assert!(card.contains("spots 1.0.0") && card.contains("Spots") && card.contains("anna"), "{card}");

    // The comparison, as numbers and as a page; few patients are called few.
    let json = std::fs::read_to_string(first.out.join("comparison.json")).unwrap();
    let comparison: Comparison = serde_json::from_str(&json).unwrap();
    assert_eq!(comparison.patients, held_out.len());
    let auroc = comparison.rows.iter().find(|row| row.metric == "auroc").unwrap();
    assert!((auroc.after.value - auroc.before.value - auroc.difference.value).abs() < 1e-12);
    assert!(comparison.sentence().contains("too few"), "{}", comparison.sentence());
    assert!(first.out.join("comparison.html").is_file() && first.out.join("curves.png").is_file());

    // Lines for the curves: from the parent on, training and validation.
    let reports = reports.into_inner().unwrap();
    assert_eq!(reports[0].step, 0);
    let validation: Vec<f32> = reports
        .iter()
        .filter(|r| r.split == bifocal_core::train::LogSplit::Validation)
        .map(|r| r.lesion_loss + r.class_loss)
        .collect();
    assert!(validation.iter().copied().fold(f32::MAX, f32::min) < validation[0], "it learns: {validation:?}");

    // Held-out images can be anything: the weights are the same, number for number.
    for study in index.studies.iter().filter(|study| held_out.contains(&project.patient(study))) {
        let file = &study.series[0].instances[0].source.file;
        image::GrayImage::from_fn(64, 64, |x, y| image::Luma([(x * y % 251) as u8])).save(file).unwrap();
    }
    // Stopped on the way and started again, too.
    let second = options(folder, "again", &project, &parent);
    let handle: Arc<Mutex<Option<Task>>> = Arc::default();
    let held = handle.clone();
    let task = Task::with_listener(move |progress| {
        if progress.stage == "Stage fine-tuning" && progress.done == 7 {
            held.lock().unwrap().as_ref().unwrap().cancel();
        }
    });
    *handle.lock().unwrap() = Some(task.clone());
    let stopped = tune(&project, &index, &second, &task, &|_| {}).unwrap_err();
    assert!(stopped.is_cancelled() && !second.out.join("metadata.json").exists(), "{stopped}");
    let again = tune(&project, &index, &second, &Task::new(), &|_| {}).unwrap();
    assert_eq!(again.metadata.weights_sha256, tuned.metadata.weights_sha256);
    assert_eq!(again.steps, tuned.steps);
    assert_ne!(again.comparison, tuned.comparison, "what was compared on did change");

    // A folder with a bundle is not overwritten, and a run goes on with nothing but its own cases.
    let error = tune(&project, &index, &first, &Task::new(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("there is a bundle here already"), "{error}");
    let mut other = options(folder, "other", &project, &parent);
    other.run = second.run.clone();
    other.choice.seed = 2;
    let error = tune(&project, &index, &other, &Task::new(), &|_| {}).unwrap_err().to_string();
    assert!(error.contains("other cases"), "{error}");
}

#[test]
fn a_bundle_of_slabs_is_shown_slabs_of_the_projects_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (project, index) = scans::project(folder);
    let parent = scans::parent(folder);
    let options = TuneOptions { steps: 4, ..options(folder, "tuned-slabs", &project, &parent) };
    let tuned = tune(&project, &index, &options, &Task::new(), &|_| {}).unwrap();
    assert!(tuned.problems.is_empty(), "{:?}", tuned.problems);
    assert_eq!(tuned.metadata.config.slab, read_metadata(&parent).unwrap().config.slab);

    // Each picture is a slice between its neighbours, the one towards the feet first, through the bundle's window: as `analyze` shows it.
    let folder = options.run.join("training");
    let dataset = CocoDataset::load(&folder.join("coco.json")).unwrap();
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("coco.json")).unwrap()).unwrap();
    let images = json["images"].as_array().unwrap();
    let mut slices: BTreeMap<(usize, usize), bool> = BTreeMap::new();
    for (image, record) in images.iter().zip(&dataset.images) {
        let found = index.studies.iter().find_map(|study| {
            let instances = &study.series[0].instances;
            let slice =
                instances.iter().position(|instance| Some(instance.key().0.as_str()) == image["instance"].as_str())?;
            Some((study.patient.id["scan".len()..].parse::<usize>().unwrap(), slice))
        });
        let (patient, slice) = found.unwrap();
        let picture = image::open(folder.join(image["file_name"].as_str().unwrap())).unwrap();
        let picture = picture.as_rgb8().expect("three channels");
        for (channel, neighbour) in
            [slice.saturating_sub(1), slice, (slice + 1).min(scans::SLICES - 1)].into_iter().enumerate()
        {
            let hu = scans::hu(patient, neighbour);
            for (x, y) in [(40, 20), (3, 60), (50, 9)] {
                let [low, high] = scans::WINDOW;
                let expected = (f32::from(hu[[y, x]]) - low) / (high - low) * 255.0;
                let found = f32::from(picture.get_pixel(x as u32, y as u32)[channel]);
                assert!((found - expected).abs() < 1.0, "{patient} {slice} {channel}: {found} is not {expected}");
            }
        }
        slices.insert((patient, slice), !record.shapes.is_empty());
    }
    // All slices of the ball, and of each scan some without anything, from all over it.
    let patients: BTreeSet<usize> = slices.keys().map(|(patient, _)| *patient).collect();
    assert!(patients.len() > 3);
    for patient in patients {
        let of = |boxed: bool| -> Vec<usize> {
            slices
                .iter()
                .filter(|((of, _), is)| *of == patient && **is == boxed)
                .map(|((_, slice), _)| *slice)
                .collect()
        };
        assert_eq!(of(true), if patient.is_multiple_of(2) { Vec::from_iter(scans::BALL) } else { Vec::new() });
        let empty = of(false);
        assert!((8..=16).contains(&empty.len()) && empty[0] < 4 && empty[empty.len() - 1] > 34, "{empty:?}");
    }
}

#[test]
fn cases_that_cannot_teach_are_refused_with_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (project, index) = project(folder.path());
    let metadata =
        read_metadata(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models/chest-opacity")).unwrap();
    let (candidates, problems) = candidates(&project, "anna", &index).unwrap();
    assert!(problems.is_empty());
    let labels = suggest(project.labels(), &metadata);
    assert_eq!(labels, BTreeMap::from([("lesion".to_owned(), "lung_opacity".to_owned())]));
    let refused = |change: &dyn Fn(&mut Choice), with: &[_]| {
        let mut choice = Choice::new(labels.clone());
        change(&mut choice);
        match plan(with, &choice, &metadata) {
            Err(TuneError::Cases(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    let text = refused(&|choice| choice.states = BTreeSet::from([CaseState::New]), &candidates);
    assert!(text.contains("none of 20 series") && text.contains("20 not as far"), "{text}");
    let text = refused(&|choice| choice.labels.clear(), &candidates);
    assert!(text.contains("no label of the project fits") && text.contains("Lung opacity"), "{text}");
    let text = refused(&|choice| _ = choice.labels.insert("nodule".into(), "brain".into()), &candidates);
    assert!(text.contains("no class brain"), "{text}");
    let text = refused(&|choice| choice.hold_out = 1.0, &candidates);
    assert!(text.contains("held-out share"), "{text}");
    let two: Vec<_> = candidates.iter().take(2).cloned().collect();
    let text = refused(&|_| (), &two);
    assert!(text.contains("cannot be split three ways"), "{text}");
    let well: Vec<_> = candidates.iter().filter(|c| c.labels.is_empty()).cloned().collect();
    let text = refused(&|_| (), &well);
    assert!(text.contains("no training case shows a class"), "{text}");
    let mut ct = candidates.clone();
    ct.iter_mut().for_each(|candidate| candidate.modality = "CT".into());
    let text = refused(&|_| (), &ct);
    assert!(text.contains("19 CT: chest-opacity is made for CR"), "{text}");

    // Only what is done counts as negative, and a labelled point says neither where nor that nothing is there.
    let all =
        Choice { states: BTreeSet::from([CaseState::Done, CaseState::InProgress]), ..Choice::new(labels.clone()) };
    let whole = plan(&candidates, &all, &metadata).unwrap();
    assert_eq!(whole.left_out.values().sum::<usize>(), 1, "the one that is begun shows nothing");
    let mut pointed = candidates.clone();
    let well = pointed.iter_mut().find(|c| c.labels.is_empty() && c.state == CaseState::Done).unwrap();
    well.unplaced.insert("lesion".into());
    assert_eq!(plan(&pointed, &all, &metadata).unwrap().left_out.values().sum::<usize>(), 2);
    assert_eq!(plan(&candidates, &all, &metadata).unwrap(), whole, "reproducible");
    assert!(
        whole.warnings.iter().any(|warning| warning.contains("held-out patients: below 10")),
        "{:?}",
        whole.warnings
    );
    // Several series of a patient stay together.
    let mut twins = candidates.clone();
    for pair in twins.chunks_mut(2) {
        pair[1].patient = pair[0].patient.clone();
    }
    let paired = plan(&twins, &all, &metadata).unwrap();
    let sides = [&paired.training, &paired.validation, &paired.held_out];
    assert_eq!(sides.map(|side| side.patients.len()).iter().sum::<usize>(), 10);
}
