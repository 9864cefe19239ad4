//! Class activation maps and tests of maps in the window, with the bundled network.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bifocal_core::analysis::MapKind;
use bifocal_core::explain::CamMethod;
use eframe::egui::{self, Key};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use crate::app::App;
use crate::jobs::JobKind;
use crate::state::{Lens, State};

fn until(harness: &mut Harness<'_, App>, what: &str, done: impl Fn(&Harness<'_, App>) -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        harness.step();
        if done(harness) {
            harness.run_steps(3);
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} did not happen");
}

/// A window that reads the simulated radiograph, once it is analysed; `None` without a bundle.
fn analysed(settings: Option<PathBuf>) -> Option<Harness<'static, App>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data/dx");
    let mut harness = Harness::builder()
        .with_size(egui::vec2(1600.0, 1000.0))
        .with_max_steps(64)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, settings, vec![folder]));
    if harness.state().state.network.metadata.is_none() {
        println!("skipped: there is no bundle to ask");
        return None;
    }
    until(&mut harness, "the analysis", |harness| {
        harness.state().state.reading.as_ref().is_some_and(|reading| reading.analysis_in_view().is_some())
    });
    Some(harness)
}

/// Whether the map in a lens is there and tested.
fn tested(state: &State, lens: Lens) -> bool {
    let Some(reading) = &state.reading else { return false };
    reading.analysis_in_view().is_some_and(|analysis| state.faithfulness(lens, reading, analysis).is_some())
}

#[test]
fn a_class_activation_map_is_chosen_made_tested_and_remembered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = folder.path().join("settings.json");
    let Some(mut harness) = analysed(Some(settings.clone())) else { return };
    until(&mut harness, "the tests of both lenses", |harness| {
        [Lens::Local, Lens::Global].into_iter().all(|lens| tested(&harness.state().state, lens))
    });
    harness.get_by_label_contains("Faithfulness of Lesion head:");
    harness.get_by_label_contains("Faithfulness of Attention rollout:");

    harness.get_by_label("Heat map shown").click();
    harness.run_steps(3);
    harness.get_by_label("LayerCAM, stage 2").click();
    harness.run_steps(3);
    let chosen = MapKind::Cam { method: CamMethod::LayerCam, stage: 2 };
    assert_eq!(harness.state().state.local_kind(), chosen);
    until(&mut harness, "the map", |harness| harness.query_by_label_contains("ResNet stage 2 (32 × 32)").is_some());
    until(&mut harness, "its test", |harness| tested(&harness.state().state, Lens::Local));
    harness.get_by_label_contains("Faithfulness of LayerCAM, stage 2:");

    // By keyboard to the next one, and back.
    harness.key_press(Key::J);
    harness.run_steps(2);
    assert_eq!(harness.state().state.local_kind(), MapKind::Cam { method: CamMethod::LayerCam, stage: 3 });
    harness.key_press_modifiers(egui::Modifiers::SHIFT, Key::J);
    harness.run_steps(2);
    assert_eq!(harness.state().state.local_kind(), chosen);
    assert!(tested(&harness.state().state, Lens::Local), "what was made is kept");

    // A slider moves the map's own threshold, not that of findings.
    harness.get_by_label("Threshold of the heat map").set_value_accesskit(0.9);
    harness.run_steps(3);
    let overlays = harness.state().state.reading.as_ref().expect("a reading").overlays.clone();
    assert_eq!(overlays.heat_threshold, None);
    assert!(overlays.cam_threshold.is_some_and(|threshold| (threshold - 0.9).abs() < 0.01));

    until(&mut harness, "saving", |_| std::fs::read_to_string(&settings).is_ok_and(|text| text.contains("layer_cam")));
    assert_eq!(crate::settings::Settings::load(&settings).local_map, chosen);
}

#[test]
fn a_cancelled_test_waits_to_be_asked_for_again() {
    let Some(mut harness) = analysed(None) else { return };
    until(&mut harness, "a test", |harness| harness.state().jobs.is_running(JobKind::Explanation));
    harness.state_mut().jobs.cancel(JobKind::Explanation);
    until(&mut harness, "the end", |harness| harness.query_all_by_label("Try again").count() > 0);
    harness.run_steps(10);
    assert!(!harness.state().jobs.is_running(JobKind::Explanation));
    harness.query_all_by_label("Try again").next().expect("a button").click();
    until(&mut harness, "the tests", |harness| tested(&harness.state().state, Lens::Local));
}
