//! A project in the window: its work list, its sessions, its labels.

mod support;

use std::path::Path;

use bifocal_app::app::App;
use bifocal_app::work::Work;
use bifocal_core::annotation::Taxonomy;
use bifocal_core::project::{CaseState, Project};
use eframe::egui;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use support::until;

fn states(folder: &Path) -> Vec<CaseState> {
    let project = Project::open(folder).expect("opens");
    project.work_list("anna").expect("a list").values().map(|case| case.state).collect()
}

#[test]
fn a_series_that_is_opened_is_begun_and_can_be_done() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let images = folder.path().join("images");
    std::fs::create_dir_all(&images).expect("a folder");
    for name in ["one.png", "two.png"] {
        image::GrayImage::from_pixel(32, 24, image::Luma([90])).save(images.join(name)).expect("a picture");
    }
    let place = folder.path().join("project");
    let mut labels = Taxonomy::default();
    labels.labels.truncate(2);
    let project = Project::create(&place, "Two pictures", vec!["../images".into()], labels).expect("made");
    let work = Work::new(project, "anna").expect("taken up");
    let mut harness =
        Harness::builder().with_size(egui::vec2(1400.0, 900.0)).with_max_steps(64).build_eframe(move |creation| {
            let mut app = App::new(&creation.egui_ctx, None, Vec::new());
            app.take_up(work);
            app
        });
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    assert_eq!(harness.state().state().drawing.taxonomy.labels.len(), 2, "the project's own labels");
    harness.get_by_label("Two pictures");
    assert_eq!(states(&place), [CaseState::InProgress]);
    harness.get_by_label("Done").click();
    harness.run_steps(3);
    assert_eq!(states(&place), [CaseState::Done], "kept at once");
    let series = |app: &App| {
        let reading = app.state().reading.as_ref();
        reading.and_then(|reading| reading.series()).map(|series| series.reading_uid())
    };
    let first = series(harness.state());
    harness.get_by_label("Next series that is not done").click();
    harness.run_steps(3);
    assert_ne!(series(harness.state()), first);
    assert_eq!(states(&place).len(), 2);
    // What is written goes into the reader's own folder.
    let journals = std::fs::read_dir(place.join("readings/anna")).expect("a folder");
    let names = journals.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    assert!(names.filter(|name| name.ends_with(".session.jsonl")).count() >= 1);
}
