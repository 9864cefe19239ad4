//! Fine-tuning from the work list, as a reader does it.
#![allow(clippy::unwrap_used)]

#[path = "../../core/tests/support/spots.rs"]
mod spots;
mod support;

use std::path::Path;

use bifocal_app::app::App;
use bifocal_app::settings::Settings;
use bifocal_app::work::Work;
use eframe::egui;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use support::until;

/// A window on the small project, with the small bundle.
fn open(folder: &Path) -> Harness<'static, App> {
    let parent = spots::parent(folder);
    let (project, _) = spots::project(folder);
    let settings = folder.join("home/settings.json");
    Settings { model: parent.display().to_string(), analyse_on_open: false, ..Settings::default() }
        .save(&settings)
        .unwrap();
    let work = Work::new(project, "anna").unwrap();
    let mut harness =
        Harness::builder().with_size(egui::vec2(1500.0, 1400.0)).with_max_steps(64).build_eframe(move |creation| {
            let mut app = App::new(&creation.egui_ctx, Some(settings), Vec::new());
            app.take_up(work);
            app
        });
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    harness.get_by_label("Fine-tune").click();
    until(&mut harness, "looking through the cases", |app| app.state().tuning.plan.is_some());
    harness
}

#[test]
fn a_new_bundle_is_made_compared_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = open(folder.path());
    let plan = harness.state().state().tuning.plan.clone().unwrap().unwrap();
    assert_eq!(plan.training.classes.keys().collect::<Vec<_>>(), ["spot"], "the label fits by its code");
    harness.get_by_label("Split by patient");

    // Without finished cases there is nothing to start.
    harness.get_by_label_contains("Done (").click();
    harness.run_steps(3);
    assert!(harness.state().state().tuning.plan.as_ref().unwrap().is_err());
    assert!(harness.query_all_by_label_contains("None of 20 series can be used").count() > 0);
    harness.get_by_label("Start fine-tuning").click();
    harness.run_steps(3);
    assert!(harness.state().state().tuning.reports().is_empty());
    harness.get_by_label_contains("Done (").click();
    harness.run_steps(3);

    harness.get_by_label("Start fine-tuning").click();
    until(&mut harness, "the first line of the log", |app| !app.state().tuning.reports().is_empty());
    until(&mut harness, "the end", |app| app.state().tuning.result.is_some());
    let tuned = harness.state().state().tuning.result.as_ref().unwrap().as_ref().unwrap().clone();
    assert!(tuned.folder.join("metadata.json").is_file());
    harness.get_by_label_contains("too few to tell");
    harness.get_by_label_contains("Loss of Lesions, training");
    let before = harness.state().state().weights_sha256.clone();
    let drawn = harness.state().state().reading.as_ref().unwrap().document.session().shapes.clone();
    assert!(!drawn.is_empty());
    harness.get_by_label("Use new bundle").click();
    harness.run_steps(4);
    let state = harness.state().state();
    assert_eq!(state.settings.model, tuned.folder.display().to_string(), "remembered");
    assert_eq!(state.weights_sha256, tuned.metadata.weights_sha256);
    assert_ne!(state.weights_sha256, before);
    assert!(state.bundles.iter().any(|(_, title)| title.starts_with("tuned ")), "{:?}", state.bundles);
    harness.get_by_label_contains("is used from now on");
    // What was drawn is still there under the new weights.
    let reading = state.reading.as_ref().unwrap();
    assert_eq!(reading.document.session().shapes, drawn);
}

#[test]
fn a_run_is_cancelled_and_goes_on_under_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut harness = open(folder.path());
    harness.get_by_label("Start fine-tuning").click();
    until(&mut harness, "training", |app| app.state().tuning.reports().len() > 3);
    harness.get_by_label("Cancel fine-tuning").click();
    until(&mut harness, "stopping", |app| {
        app.state().toasts.iter().any(|toast| toast.text.contains("goes on from there"))
    });
    let name = harness.state().state().tuning.name.clone();
    assert!(!folder.path().join("project/models").join(&name).exists(), "no half bundle");
    let lines = harness.state().state().tuning.reports().len();
    harness.get_by_label("Start fine-tuning").click();
    until(&mut harness, "going on", |app| app.state().tuning.reports().len() >= lines - 3);
    // The window goes on: another series is opened while it runs, and the panel may be closed.
    harness.key_press(egui::Key::Escape);
    harness.run_steps(2);
    harness.key_press(egui::Key::Escape);
    harness.run_steps(2);
    until(&mut harness, "the end", |app| app.state().tuning.result.is_some());
    assert!(harness.state().state().tuning.result.as_ref().unwrap().is_ok());
    assert_eq!(harness.state().state().tuning.name, name);
}

#[test]
fn a_remembered_model_that_is_gone_is_told_and_another_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings.json");
    Settings { model: "/no/such/model".into(), ..Settings::default() }.save(&settings).unwrap();
    let harness = Harness::builder()
        .with_max_steps(8)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, Some(settings), Vec::new()));
    let state = harness.state().state();
    assert!(state.toasts.iter().any(|toast| toast.text.contains("/no/such/model")), "{:?}", state.toasts);
    assert!(state.network.folder().is_some() && state.network.problem.is_none());
}
