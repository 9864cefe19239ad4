//! Reading with an answer in the lenses, driven by the names that a screen reader hears.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bifocal_core::analysis::FindingId;
use bifocal_core::annotation::{Decision, Review};
use eframe::egui::{self, Key};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use crate::analysis_fixture::analysis;
use crate::app::App;

const SIDE: usize = 96;

fn until(harness: &mut Harness<'_, App>, what: &str, done: impl Fn(&Harness<'_, App>) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        harness.step();
        if done(harness) {
            harness.run_steps(3);
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} did not happen within twenty seconds");
}

/// A window that reads one picture, with an answer of blobs in its lenses.
fn reading(folder: &Path, settings: Option<PathBuf>) -> Harness<'static, App> {
    let picture = folder.join("chest.png");
    let ramp = image::GrayImage::from_fn(SIDE as u32, SIDE as u32, |x, y| image::Luma([(x + y) as u8]));
    ramp.save(&picture).expect("a picture can be written");
    let mut harness = Harness::builder()
        .with_size(egui::vec2(1600.0, 1000.0))
        .with_max_steps(64)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, settings, vec![picture]));
    until(&mut harness, "opening", |harness| harness.state().state.reading.is_some());
    answer(&mut harness);
    harness
}

/// Puts an analysis of the frame in view into the lenses.
fn answer(harness: &mut Harness<'_, App>) {
    let state = &mut harness.state_mut().state;
    let reading = state.reading.as_ref().expect("a reading");
    let (instance, frame) = reading.instance_at(0).expect("an image");
    let mut analysis = analysis(SIDE, SIDE);
    analysis.target.series_uid = reading.series().expect("a series").uid.clone();
    analysis.target.instance_uid = instance.uid.clone();
    analysis.target.frame = frame;
    analysis.model.weights_sha256 = state.network.weights_sha256().to_owned();
    state.network.keep(Arc::new(analysis));
    until(harness, "the analysis", |harness| harness.query_by_label_contains("Finding 1").is_some());
}

fn review(harness: &Harness<'_, App>, finding: u32) -> Review {
    let state = &harness.state().state;
    let target = &state.reading.as_ref().expect("a reading").analysis.as_ref().expect("an analysis").target;
    state.review(&target.instance_uid, target.frame, FindingId(finding))
}

#[test]
fn a_finding_is_accepted_and_that_is_undone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = reading(folder.path(), None);
    harness.get_by_label("Accept finding 2").click();
    harness.run_steps(3);
    assert_eq!(review(&harness, 2).decision, Decision::Accepted);
    assert_eq!(review(&harness, 1).decision, Decision::Open);
    harness.get_by_label("1 of 2 reviewed");
    harness.get_by_label("Undo").click();
    harness.run_steps(3);
    assert_eq!(review(&harness, 2).decision, Decision::Open);
}

#[test]
fn keys_go_through_the_findings() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = reading(folder.path(), None);
    let selected = |harness: &Harness<'_, App>| harness.state().state.reading.as_ref().and_then(|r| r.selected);
    harness.key_press(Key::N);
    harness.run_steps(3);
    assert_eq!(selected(&harness), Some(FindingId(1)));
    harness.key_press(Key::N);
    harness.run_steps(3);
    assert_eq!(selected(&harness), Some(FindingId(2)));
    harness.key_press(Key::R);
    harness.run_steps(3);
    assert_eq!(review(&harness, 2).decision, Decision::Rejected);
    let turns =
        |harness: &Harness<'_, App>| harness.state().state.reading.as_ref().map(|r| r.view.transform.quarter_turns);
    assert_eq!(turns(&harness), Some(0), "R rejects a selected finding instead of turning the image");
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    assert_eq!(selected(&harness), None);
    harness.key_press(Key::R);
    harness.run_steps(3);
    assert_eq!(turns(&harness), Some(1));
}

#[test]
fn a_comment_is_there_after_a_new_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = folder.path().join("home/settings.json");
    {
        let mut harness = reading(folder.path(), Some(settings.clone()));
        harness.key_press(Key::N);
        harness.run_steps(3);
        harness.get_by_label("Comment on finding 1").focus();
        harness.step();
        harness.get_by_label("Comment on finding 1").type_text("old granuloma");
        harness.run_steps(3);
        assert_eq!(review(&harness, 1).comment, "old granuloma");
        // Typed text is kept after a short pause, without leaving the field: a kill then loses nothing.
        until(&mut harness, "keeping", |harness| {
            let session = harness.state().state.session().expect("a session");
            session.reviews.values().any(|review| review.comment == "old granuloma")
        });
    }
    let harness = reading(folder.path(), Some(settings));
    assert_eq!(review(&harness, 1).comment, "old granuloma");
}
