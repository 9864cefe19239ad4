//! A project in the window: made, read by two, compared, exported, imported, and its history.

mod support;

use std::path::{Path, PathBuf};

use bifocal_app::app::App;
use bifocal_app::project::ProjectPanel;
use bifocal_app::settings::Settings;
use bifocal_app::work::Work;
use bifocal_core::annotation::Taxonomy;
use bifocal_core::dicom::{CtSlice, ImageContext, uid_from_name, write_ct};
use bifocal_core::project::{CaseState, Project};
use bifocal_core::study::PlaneGeometry;
use eframe::egui::{self, Key, Modifiers, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use support::until;

/// Two CT slices of each of three patients.
fn scans(folder: &Path) -> PathBuf {
    let place = folder.join("images");
    for patient in 0..3 {
        let own = place.join(format!("{patient}"));
        std::fs::create_dir_all(&own).expect("a folder");
        for slice in 0..2usize {
            let hu = ndarray::Array2::from_shape_fn((64, 64), |(r, c)| (r * 10 + c) as i16 - 300);
            let context = ImageContext {
                patient_id: format!("ID{patient}"),
                patient_name: format!("Patient {patient}"),
                study_uid: uid_from_name(&format!("study {patient}")),
                series_uid: uid_from_name(&format!("series {patient}")),
                series_description: format!("Thorax {patient}"),
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
                spacing_mm: [1.0, 1.0],
                thickness_mm: 3.0,
                field_mm: 64.0,
                frame_of_reference_uid: uid_from_name(&format!("space {patient}")),
                kvp: 120.0,
                patient_position: "HFS".into(),
                contrast: String::new(),
                windows: Vec::new(),
            };
            write_ct(&own.join(format!("{slice}.dcm")), &context, &image).expect("written");
        }
    }
    place
}

fn window(folder: &Path, paths: Vec<PathBuf>, work: Option<Work>) -> Harness<'static, App> {
    let settings = folder.join("home/settings.json");
    Harness::builder().with_size(egui::vec2(1500.0, 1000.0)).with_max_steps(64).build_eframe(move |creation| {
        let mut app = App::new(&creation.egui_ctx, Some(settings), paths);
        if let Some(work) = work {
            app.take_up(work);
        }
        app
    })
}

/// A window on `reader`'s work in a project of the scans, which is made where it is missing.
fn open(folder: &Path, reader: &str) -> Harness<'static, App> {
    let place = folder.join("project");
    let project = Project::open(&place).unwrap_or_else(|_| {
        let images = scans(folder);
        Project::create(&place, "Nodules", vec![images], Taxonomy::default()).expect("made")
    });
    let work = Work::new(project, reader).expect("taken up");
    let mut harness = window(folder, Vec::new(), Some(work));
    until(&mut harness, "an image", App::first_image_shown);
    harness
}

fn key(harness: &mut Harness<'_, App>, modifiers: Modifiers, key: Key) {
    harness.key_press_modifiers(modifiers, key);
    harness.run_steps(3);
}

fn click(harness: &mut Harness<'_, App>, name: &str) {
    harness.get_by_label(name).click();
    harness.run_steps(4);
}

fn type_into(harness: &mut Harness<'_, App>, name: &str, text: &str) {
    harness.get_by_label(name).focus();
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.run_steps(2);
    harness.get_by_label(name).type_text(text);
    harness.run_steps(3);
}

fn shown(harness: &Harness<'_, App>, text: &str) -> bool {
    harness.query_all_by_label_contains(text).count() > 0
}

/// Draws a box with the label of a digit; `right` points beside the middle of the lens.
fn draw(harness: &mut Harness<'_, App>, digit: Key, right: f32) {
    let at = harness.get_by_label("Local lens").rect().center() + vec2(right, 0.0);
    key(harness, Modifiers::SHIFT, Key::E);
    key(harness, Modifiers::NONE, digit);
    harness.hover_at(at);
    harness.run_steps(2);
    harness.drag_at(at);
    harness.step();
    harness.hover_at(at + vec2(80.0, 80.0));
    harness.step();
    harness.drop_at(at + vec2(80.0, 80.0));
    harness.run_steps(3);
    key(harness, Modifiers::NONE, Key::Escape);
    key(harness, Modifiers::NONE, Key::Escape);
}

fn series(app: &App) -> Option<String> {
    app.state().reading.as_ref().and_then(|reading| reading.series()).map(|series| series.description.clone())
}

fn states(folder: &Path, reader: &str) -> Vec<CaseState> {
    let project = Project::open(&folder.join("project")).expect("opens");
    project.work_list(reader).expect("a list").values().map(|case| case.state).collect()
}

/// Anna draws a nodule on the first and the second series, and is done with all three.
fn read_as_anna(folder: &Path) {
    let mut harness = open(folder, "anna");
    for drawn in [true, true, false] {
        if drawn {
            draw(&mut harness, Key::Num2, 0.0);
        }
        key(&mut harness, Modifiers::COMMAND, Key::D);
    }
    assert_eq!(states(folder, "anna"), [CaseState::Done; 3]);
}

#[test]
fn a_project_is_made_in_the_window_and_found_among_the_recent_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let images = scans(folder.path());
    let mut harness = window(folder.path(), vec![images.clone()], None);
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    key(&mut harness, Modifiers::COMMAND, Key::N);
    click(&mut harness, "Make the project");
    assert!(shown(&harness, "The project needs a name"));
    type_into(&mut harness, "Name of the project", "Nodules 2026");
    let proposed = harness.state().state().project.as_ref().map(|dialog| dialog.folder.clone()).unwrap_or_default();
    assert!(proposed.ends_with("bifocal-projects/Nodules-2026") || proposed.is_empty(), "{proposed}");
    // Among the images it would be read as images.
    type_into(&mut harness, "Folder of the project", &images.join("own").display().to_string());
    type_into(&mut harness, "Name of the reader", "Anna B");
    click(&mut harness, "Make the project");
    assert!(shown(&harness, "letters, digits"), "a reader's name names a folder");
    type_into(&mut harness, "Name of the reader", "anna");
    click(&mut harness, "Make the project");
    assert!(shown(&harness, "among the images"));
    let place = folder.path().join("mine");
    type_into(&mut harness, "Folder of the project", &place.display().to_string());
    click(&mut harness, "Make the project");
    until(&mut harness, "opening", |app| app.state().work.is_some() && app.state().reading.is_some());
    assert!(harness.state().state().project.is_none());
    harness.get_by_label("Nodules 2026");
    let made = Project::open(&place).expect("made");
    assert_eq!(made.name(), "Nodules 2026");
    // A reader is listed once the first reading is open.
    let listed = vec!["anna".to_owned()];
    until(&mut harness, "the reader", |_| made.readers().expect("listed") == listed);
    assert_eq!(made.sources(), [images.canonicalize().expect("there")]);
    let settings = folder.path().join("home/settings.json");
    until(&mut harness, "saving", |_| Settings::load(&settings).recents.iter().any(|r| r.reader.is_some()));
    drop(harness);

    // The next window offers it on the start screen, and goes on as the same reader.
    let mut harness = window(folder.path(), Vec::new(), None);
    harness.run_steps(3);
    click(&mut harness, "Recent: Nodules 2026");
    until(&mut harness, "opening", |app| app.state().work.is_some() && app.state().reading.is_some());
    assert_eq!(harness.state().state().work.as_ref().map(|work| work.reader.as_str()), Some("anna"));
    drop(harness);

    // A project's folder that is opened asks who reads.
    let mut harness = window(folder.path(), vec![place.clone()], None);
    harness.run_steps(3);
    assert!(shown(&harness, "Open project “Nodules 2026”"));
    type_into(&mut harness, "Name of the reader", "ben");
    click(&mut harness, "Open the project");
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    assert_eq!(Project::open(&place).expect("opens").readers().expect("listed"), ["anna", "ben"]);
    drop(harness);

    // What is wrong with it is named.
    std::fs::write(place.join("project.json"), "{}").expect("written");
    let mut harness = window(folder.path(), vec![place], None);
    harness.run_steps(3);
    assert!(shown(&harness, "project.json: missing field"));
}

#[test]
fn a_series_that_is_opened_is_begun_and_can_be_done() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), "anna");
    assert_eq!(states(folder.path(), "anna"), [CaseState::InProgress]);
    click(&mut harness, "Done");
    assert_eq!(states(folder.path(), "anna"), [CaseState::Done], "kept at once");
    let first = series(harness.state());
    click(&mut harness, "Next series that is not done");
    assert_ne!(series(harness.state()), first);
    assert_eq!(states(folder.path(), "anna").len(), 2);
    // What is written goes into the reader's own folder.
    let journals = std::fs::read_dir(folder.path().join("project/readings/anna")).expect("a folder");
    let names = journals.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    assert!(names.filter(|name| name.ends_with(".session.jsonl")).count() >= 1);
}

#[test]
fn the_work_list_is_filtered_and_walked_both_ways() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), "anna");
    let order: Vec<Option<String>> = (0..3)
        .map(|_| {
            let here = series(harness.state());
            key(&mut harness, Modifiers::SHIFT, Key::PageDown);
            here
        })
        .collect();
    assert_eq!(series(harness.state()), order[0], "round once");
    key(&mut harness, Modifiers::SHIFT, Key::PageUp);
    assert_eq!(series(harness.state()), order[2]);
    key(&mut harness, Modifiers::COMMAND, Key::B);
    type_into(&mut harness, "Note on the series", "motion");
    key(&mut harness, Modifiers::NONE, Key::Tab);
    let project = Project::open(&folder.path().join("project")).expect("opens");
    let noted = project.work_list("anna").expect("a list").into_values().find(|case| case.flagged).expect("set aside");
    assert_eq!((noted.note.as_str(), noted.state), ("motion", CaseState::InProgress));
    harness.get_by_label("Local lens").focus();
    // The last is done, and the first comes.
    key(&mut harness, Modifiers::COMMAND, Key::D);
    assert_eq!(series(harness.state()), order[0]);
    let listed = |harness: &Harness<'_, App>| harness.state().state().listed().len();
    assert_eq!(listed(&harness), 3);
    click(&mut harness, "List: set aside");
    assert_eq!(listed(&harness), 2, "the open one stays in sight");
    key(&mut harness, Modifiers::SHIFT, Key::PageDown);
    assert_eq!((series(harness.state()), listed(&harness)), (order[2].clone(), 1), "done, and listed all the same");
    key(&mut harness, Modifiers::SHIFT, Key::PageDown);
    assert!(harness.state().state().toasts.iter().any(|toast| toast.text.contains("no other series")));
    click(&mut harness, "List: done");
    assert_eq!(listed(&harness), 1);
    click(&mut harness, "List: done");
    assert_eq!(listed(&harness), 3, "a second click lists all");
}

#[test]
fn studies_come_and_go_and_readers_are_changed_and_renamed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), "anna");
    draw(&mut harness, Key::Num2, 0.0);
    click(&mut harness, "Project: name, reader, images");
    click(&mut harness, "Take the open study out");
    until(&mut harness, "reading headers", |app| app.state().library.studies.len() == 2);
    click(&mut harness, "Project: name, reader, images");
    let name = harness.state().state().work.as_ref().expect("a project").left_out[0].patient.name.clone();
    harness.get_by_label_contains(&format!("Put back {name}")).click();
    until(&mut harness, "reading headers", |app| app.state().library.studies.len() == 3);

    let more = folder.path().join("more");
    std::fs::create_dir_all(&more).expect("a folder");
    image::GrayImage::from_pixel(32, 24, image::Luma([90])).save(more.join("a.png")).expect("a picture");
    click(&mut harness, "Project: name, reader, images");
    type_into(&mut harness, "Images to add", &folder.path().join("nowhere").display().to_string());
    click(&mut harness, "Add the images");
    assert!(shown(&harness, "nowhere"));
    type_into(&mut harness, "Images to add", &more.display().to_string());
    click(&mut harness, "Add the images");
    until(&mut harness, "reading headers", |app| app.state().library.studies.len() == 4);

    // A new reader begins with nothing; the old one gets another name and keeps everything.
    let shapes = |app: &App| app.state().reading.as_ref().map(|reading| reading.document.session().shapes.len());
    let drawn_on = |harness: &mut Harness<'static, App>| {
        while shapes(harness.state()) != Some(1) {
            key(harness, Modifiers::SHIFT, Key::PageDown);
        }
    };
    drawn_on(&mut harness);
    click(&mut harness, "Project: name, reader, images");
    type_into(&mut harness, "New reader", "ben");
    click(&mut harness, "Change the reader");
    assert_eq!(harness.state().state().work.as_ref().map(|work| work.reader.as_str()), Some("ben"));
    assert_eq!(shapes(harness.state()), Some(0));
    click(&mut harness, "Project: name, reader, images");
    click(&mut harness, "Read as anna");
    assert_eq!(shapes(harness.state()), Some(1));
    click(&mut harness, "Project: name, reader, images");
    type_into(&mut harness, "Reader's name", "ben");
    click(&mut harness, "Rename the reader");
    assert!(shown(&harness, "has read in this project already"));
    type_into(&mut harness, "Reader's name", "zoe");
    click(&mut harness, "Rename the reader");
    assert_eq!(harness.state().state().work.as_ref().map(|work| work.reader.as_str()), Some("zoe"));
    assert_eq!(shapes(harness.state()), Some(1));
    draw(&mut harness, Key::Num2, -120.0);
    assert_eq!(shapes(harness.state()), Some(2));
    let readers = Project::open(&folder.path().join("project")).expect("opens").readers().expect("listed");
    assert_eq!(readers, ["ben", "zoe"]);
}

#[test]
fn two_readers_are_compared_and_seen_side_by_side() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    read_as_anna(folder.path());
    let mut harness = open(folder.path(), "ben");
    // The same nodule on the first, half of it beside on the second, none on the third.
    draw(&mut harness, Key::Num2, 0.0);
    key(&mut harness, Modifiers::COMMAND, Key::D);
    draw(&mut harness, Key::Num2, 40.0);
    key(&mut harness, Modifiers::COMMAND, Key::D);
    key(&mut harness, Modifiers::COMMAND, Key::D);
    key(&mut harness, Modifiers::COMMAND, Key::R);
    until(&mut harness, "comparing", |app| app.state().comparing.result.is_some());
    let comparison = harness.state().state().comparing.result.clone().expect("compared").expect("without an error");
    let nodule = comparison.labels.iter().find(|row| row.label == "nodule").expect("a label");
    assert_eq!((nodule.series, nodule.kappa, nodule.frames), ([2, 0, 0, 1], Some(1.0), 2));
    let dice: Vec<f64> = comparison.cases.iter().filter_map(|case| case.labels.first()?.dice).collect();
    assert_eq!((comparison.cases.len(), dice.len()), (3, 2));
    let (least, most) = (dice[0].min(dice[1]), dice[0].max(dice[1]));
    assert!(most > 0.97 && (0.4..0.6).contains(&least), "{dice:?}");
    assert!((nodule.dice.expect("drawn") - (least + most) / 2.0).abs() < 1e-9);
    // The least agreement stands first; a click leads there, with anna's shape beside ben's.
    let first = harness.state().state().comparing.cases()[0].series.clone();
    let place = harness.state().state().place_of(&first).expect("open");
    let study = harness.state().state().library.studies[place.0].clone();
    click(&mut harness, &format!("Case {}, {}", study.patient.name, study.series[place.1].description));
    let beside = |app: &App| {
        let state = app.state();
        let series = state.reading.as_ref()?.series()?.reading_uid();
        Some(state.work.as_ref()?.beside.as_ref()?.on(&series)?.shapes.len())
    };
    assert_eq!(series(harness.state()), Some(study.series[place.1].description.clone()));
    assert_eq!(beside(harness.state()), Some(1));
    key(&mut harness, Modifiers::SHIFT, Key::R);
    assert_eq!(beside(harness.state()), None);
    key(&mut harness, Modifiers::SHIFT, Key::R);
    assert_eq!(beside(harness.state()), Some(1));
    // Another's shapes are only looked at: ben has one of his own.
    let own = harness.state().state().reading.as_ref().expect("a reading").document.session().shapes.len();
    assert_eq!(own, 1);
    key(&mut harness, Modifiers::NONE, Key::Escape);
    assert_eq!(harness.state().state().panel, None);
}

#[test]
fn everything_is_exported_and_comes_back_to_another_reader() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    read_as_anna(folder.path());
    let mut harness = open(folder.path(), "ben");
    click(&mut harness, "Export");
    click(&mut harness, "anna");
    click(&mut harness, "ben");
    assert_eq!(harness.state().state().exchange.form.readers.iter().collect::<Vec<_>>(), ["anna"]);
    let out = folder.path().join("out");
    let export = |harness: &mut Harness<'static, App>, format: &str, place: &str| {
        click(harness, format);
        type_into(harness, "Folder of the export", &out.join(place).display().to_string());
        click(harness, "Start the export");
        until(harness, "exporting", |app| app.state().exchange.exported.is_some());
        harness.state().state().exchange.exported.clone().expect("ended")
    };
    for (format, place, file) in [
        ("COCO", "coco", "coco.json"),
        ("DICOM SEG", "seg", "001-ct.dcm"),
        ("NIfTI", "nifti", "001-ct.nii.gz"),
        ("CSV", "csv", "measurements.csv"),
        ("YOLO", "yolo", "data.yaml"),
    ] {
        let exported = export(&mut harness, format, place).expect("written");
        assert_eq!((exported.parts.len(), exported.problems.len()), (1, 0), "{format}: {exported:?}");
        assert!(out.join(place).join(file).is_file(), "{format}");
        assert!(shown(&harness, &format!("{format} was written")));
        click(&mut harness, "Export again");
    }
    // An earlier export is not mixed with a new one.
    let refused = export(&mut harness, "COCO", "coco").expect_err("refused");
    assert!(refused.contains("files in it already"), "{refused}");
    assert!(shown(&harness, "files in it already"));
    // Split by patient, without identifiers.
    click(&mut harness, "Into train, validation and test");
    click(&mut harness, "Without identifiers");
    assert!(shown(&harness, "1 train, 1 validation, 1 test"));
    let exported = export(&mut harness, "DICOM SEG", "split").expect("written");
    assert!(out.join("split/split.json").is_file() && !exported.parts.is_empty());
    let sides = exported.parts.iter().filter(|part| part.side.is_some()).count();
    assert_eq!(sides, exported.parts.len());

    click(&mut harness, "Import");
    let import = |harness: &mut Harness<'static, App>, file: &str| {
        type_into(harness, "File of the import", &out.join(file).display().to_string());
        click(harness, "Start the import");
        until(harness, "importing", |app| app.state().exchange.imported.is_some());
        harness.state().state().exchange.imported.clone().expect("ended").1
    };
    let missing = import(&mut harness, "nothing.json").expect_err("not there");
    assert!(missing.contains("nothing.json"), "{missing}");
    let coco = import(&mut harness, "coco/coco.json").expect("imported");
    assert_eq!((coco.annotations, coco.frames, coco.problems.len()), (2, 2, 0), "{coco:?}");
    // What came in is seen at once, and is one step of undo.
    let project = Project::open(&folder.path().join("project")).expect("opens");
    let count = |harness: &Harness<'_, App>| {
        harness.state().state().reading.as_ref().map(|reading| reading.document.session().shapes.len())
    };
    let places: Vec<_> = harness.state().state().library.studies.iter().map(|study| study.uid.clone()).collect();
    assert_eq!(places.len(), 3);
    while count(&harness) != Some(1) {
        key(&mut harness, Modifiers::SHIFT, Key::PageDown);
    }
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(count(&harness), Some(0));
    let masks = |harness: &Harness<'_, App>| {
        harness.state().state().reading.as_ref().map(|reading| reading.document.session().masks.len())
    };
    for (file, annotations) in [("seg/001-ct.dcm", 1), ("seg/002-ct.dcm", 1), ("nifti/001-ct.nii.gz", 1)] {
        let imported = import(&mut harness, file).expect("imported");
        assert_eq!((imported.annotations, imported.new_labels.len()), (annotations, 0), "{file}: {imported:?}");
    }
    assert_eq!(masks(&harness), Some(1));
    drop(harness);
    let task = bifocal_core::task::Task::new();
    let index = project.index(&task).expect("indexed");
    let compared = bifocal_core::project::compare(&project, ["anna", "ben"], &index, &task).expect("compared");
    let dice: Vec<f64> = compared.cases.iter().filter_map(|case| case.labels.first()?.dice).collect();
    assert_eq!(dice.len(), 2);
    assert!(dice.iter().all(|dice| *dice > 0.95), "{dice:?}");
}

#[test]
fn the_history_is_listed_and_leads_to_what_was_done() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    read_as_anna(folder.path());
    let mut harness = open(folder.path(), "ben");
    draw(&mut harness, Key::Num3, 0.0);
    let drawn_on = series(harness.state());
    key(&mut harness, Modifiers::COMMAND, Key::H);
    until(&mut harness, "reading journals", |app| app.state().history.entries.is_some());
    assert_eq!(harness.state().state().panel, Some(ProjectPanel::History));
    harness.get_by_label("ben: Drew box, Mass");
    harness.get_by_label("ben: In progress");
    // What is done while one looks is told too.
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    until(&mut harness, "what was just done", |app| {
        let entries = app.state().history.entries.as_ref().and_then(|entries| entries.as_ref().ok());
        entries.is_some_and(|entries| {
            use bifocal_core::project::Told;
            matches!(&entries[0].told, Told::Step(step) if step.act == bifocal_core::annotation::Act::Undone)
        })
    });
    harness.get_by_label("ben: Undo: deleted box, Mass");
    key(&mut harness, Modifiers::COMMAND, Key::Y);
    click(&mut harness, "Whole project");
    assert!(harness.query_all_by_label("anna: Drew box, Nodule").count() == 2);
    key(&mut harness, Modifiers::SHIFT, Key::PageDown);
    assert_ne!(series(harness.state()), drawn_on);
    type_into(&mut harness, "Search the history", "ben mass drew");
    assert_eq!(harness.query_all_by_label_contains("anna: Drew").count(), 0);
    click(&mut harness, "ben: Drew box, Mass");
    assert_eq!(series(harness.state()), drawn_on);
    assert!(harness.state().state().drawing.selected.is_some(), "the shape itself");
}
