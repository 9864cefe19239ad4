//! Reading with an answer in the lenses, driven by the names that a screen reader hears.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bifocal_core::analysis::FindingId;
use bifocal_core::annotation::{Decision, Points, Review, Shape, ShapeKind};
use bifocal_core::measure::polygon_area;
use bifocal_core::render;
use eframe::egui::{self, Key};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use ndarray::Array2;

use crate::analysis_fixture::analysis;
use crate::app::App;
use crate::images::FrameState;
use crate::state::OverlaySettings;
use crate::view::{ImagePoint, ScreenFromImage};

const SIDE: usize = 96;

fn until(harness: &mut Harness<'_, App>, what: &str, done: impl Fn(&Harness<'_, App>) -> bool) {
    within(30, harness, what, done);
}

fn within(seconds: u64, harness: &mut Harness<'_, App>, what: &str, done: impl Fn(&Harness<'_, App>) -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        harness.step();
        if done(harness) {
            harness.run_steps(3);
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} did not happen within {seconds} seconds");
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
    analysis.target.instance_uid = instance.key();
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
        harness.key_press(Key::Enter);
        harness.run_steps(3);
        assert!(harness.get_by_label("Comment on finding 1").is_focused());
        harness.get_by_label("Comment on finding 1").type_text("old granuloma");
        harness.run_steps(3);
        assert_eq!(review(&harness, 1).comment, "old granuloma");
        // Typed text is kept after a short pause, without leaving the field: a kill then loses nothing.
        until(&mut harness, "keeping", |harness| {
            let session = harness.state().state.session().expect("a session");
            session.reviews.values().any(|review| review.comment == "old granuloma")
        });
        // Esc leaves the field, and nothing else.
        harness.key_press(Key::Escape);
        harness.run_steps(3);
        assert!(!harness.get_by_label("Comment on finding 1").is_focused());
        let selected = harness.state().state.reading.as_ref().and_then(|reading| reading.selected);
        assert_eq!(selected, Some(FindingId(1)));
    }
    let harness = reading(folder.path(), Some(settings));
    assert_eq!(review(&harness, 1).comment, "old granuloma");
}

#[test]
fn a_finding_is_taken_over_and_corrected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = reading(folder.path(), None);
    decoded(&mut harness);
    let shapes = |harness: &Harness<'_, App>| -> Vec<Shape> {
        harness.state().state.session().expect("a session").shapes.values().cloned().collect()
    };
    harness.key_press(Key::N);
    harness.run_steps(3);
    harness.get_by_label("Take over finding 1 as contour").click();
    harness.run_steps(3);
    let taken = shapes(&harness);
    let shape = taken.first().expect("a shape");
    let origin = shape.origin.as_ref().expect("an origin");
    assert_eq!((origin.finding, origin.class.as_str(), shape.kind), (FindingId(1), "lung_opacity", ShapeKind::Polygon));
    let analysis = harness.state().state.reading.as_ref().and_then(|r| r.analysis.clone()).expect("an analysis");
    let Points::Pixel(points) = &shape.points else { panic!("a picture has no patient") };
    assert!(points.len() >= 6 && points.len() < analysis.findings[0].contour.len(), "few vertices: {}", points.len());
    let area = |points: &[(f64, f64)]| polygon_area(&points.iter().map(|(r, c)| [*c, *r, 0.0]).collect::<Vec<_>>());
    let contour: Vec<(f64, f64)> =
        analysis.findings[0].contour.iter().map(|(r, c)| (f64::from(*r), f64::from(*c))).collect();
    assert!(
        (area(points) / area(&contour) - 1.0).abs() < 0.05,
        "the same region: {} vertices of {}",
        points.len(),
        contour.len()
    );

    // A vertex is dragged outwards: the correction is one step, the take-over another.
    let rect = harness.get_by_label("Local lens").rect();
    let reading = harness.state().state.reading.as_ref().expect("a reading");
    let key = reading.key_at(0).expect("an image");
    let FrameState::Ready(frame) = harness.state().images.frame(&key) else { panic!("not decoded") };
    let map = ScreenFromImage::new(&reading.view, frame.frame().shape(), &frame.frame().display, rect);
    let from = map.row_column((points[0].0 as f32, points[0].1 as f32));
    let to = from + egui::vec2(25.0, 15.0);
    harness.hover_at(from);
    harness.run_steps(2);
    harness.drag_at(from);
    harness.step();
    harness.hover_at(to);
    harness.step();
    harness.drop_at(to);
    harness.run_steps(3);
    let corrected = shapes(&harness);
    assert_ne!(corrected[0].points, shape.points);
    assert_eq!(corrected[0].origin, shape.origin, "it still says where it comes from");
    harness.key_press_modifiers(egui::Modifiers::COMMAND, Key::Z);
    harness.run_steps(3);
    assert_eq!(shapes(&harness), taken);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, Key::Z);
    harness.run_steps(3);
    assert!(shapes(&harness).is_empty());
    harness.key_press(Key::N);
    harness.run_steps(3);
    harness.get_by_label("Take over finding 1 as box").click();
    harness.run_steps(3);
    assert_eq!(shapes(&harness).first().map(|shape| shape.kind), Some(ShapeKind::Rectangle));
}

/// Presses and lets go of the left button.
fn click_at(harness: &mut Harness<'_, App>, at: egui::Pos2) {
    harness.hover_at(at);
    harness.run_steps(2);
    harness.drag_at(at);
    harness.step();
    harness.drop_at(at);
    harness.run_steps(3);
}

/// Waits until the image is on the screen: before, there is no place on it to click.
fn decoded(harness: &mut Harness<'_, App>) {
    until(harness, "decoding", |harness| {
        let app = harness.state();
        let key = app.state.reading.as_ref().and_then(|reading| reading.key_at(0)).expect("an image");
        matches!(app.images.frame(&key), FrameState::Ready(_))
    });
}

#[test]
fn a_click_on_the_image_puts_the_probe_down() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = reading(folder.path(), None);
    decoded(&mut harness);
    let probe = |harness: &Harness<'_, App>| harness.state().state.reading.as_ref().and_then(|reading| reading.probe);
    let local = harness.get_by_label("Local lens").rect().center();
    click_at(&mut harness, local);
    assert_eq!(probe(&harness), None, "without the probe a click asks nothing");
    let before = harness.query_all_by_label_contains(": share ").count();
    assert_eq!(before, 3, "three organs");

    harness.key_press(Key::B);
    harness.run_steps(2);
    let global = harness.get_by_label("Global lens").rect().center();
    click_at(&mut harness, global);
    let ImagePoint { row, column } = probe(&harness).expect("the probe is down");
    let middle = (SIDE as f32 - 1.0) / 2.0;
    assert!((row - middle).abs() < 1.0 && (column - middle).abs() < 1.0, "({row}, {column})");
    harness.get_by_label("from the probed token");
    let state = &harness.state().state;
    let analysis = state.reading.as_ref().and_then(|reading| reading.analysis.clone()).expect("an analysis");
    let answer = harness.state().overlays.probe(&analysis, ImagePoint { row, column }).expect("an answer");
    let first = answer.organs.iter().max_by(|a, b| a.share.total_cmp(&b.share)).expect("organs");
    let row = format!("share {:.0} %, enrichment ×{:.2}", first.share * 100.0, first.enrichment);
    assert!(harness.query_all_by_label_contains(&row).count() > 0, "the table shows {row}");

    // Another place gives another answer; Esc leaves, and the whole map is back.
    click_at(&mut harness, global + egui::vec2(60.0, 60.0));
    let moved = probe(&harness).expect("the probe is down");
    assert!(moved.row > middle + 2.0 && moved.column > middle + 2.0, "{moved:?}");
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    assert_eq!(probe(&harness), None);
    assert!(harness.query_by_label("from the probed token").is_none());
}

#[test]
fn tab_goes_from_lens_to_lens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = reading(folder.path(), None);
    let active = |harness: &Harness<'_, App>| harness.state().state.reading.as_ref().expect("a reading").active;
    let first = active(&harness);
    harness.key_press(Key::Tab);
    harness.run_steps(2);
    assert_eq!(active(&harness), first.other());
    harness.key_press(Key::Tab);
    harness.run_steps(2);
    assert_eq!(active(&harness), first);
    assert!(harness.ctx.memory(|memory| memory.focused()).is_none(), "no button has taken the keyboard");
}

/// Pixels of the heat map that are not clear, as it was last drawn.
fn drawn(harness: &mut Harness<'_, App>, heat: &Arc<Array2<f32>>) -> usize {
    harness.run_steps(4);
    let style = harness.state().overlays.style_of(heat).expect("the heat map is drawn");
    render::heat_layer(heat, &style).pixels.iter().filter(|[_, _, _, alpha]| *alpha > 0).count()
}

#[test]
fn the_threshold_changes_what_is_drawn_and_listed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = reading(folder.path(), None);
    decoded(&mut harness);
    let heat = {
        let reading = harness.state().state.reading.as_ref().expect("a reading");
        Arc::clone(&reading.analysis.as_ref().expect("an analysis").heat_maps[0].values)
    };
    let reach = |threshold: f32| heat.iter().filter(|value| **value >= threshold).count();

    harness.get_by_label("Threshold of the heat map").set_value_accesskit(0.8);
    let high = drawn(&mut harness, &heat);
    let overlays = harness.state().state.reading.as_ref().expect("a reading").overlays.clone();
    assert!(overlays.heat_threshold.is_some_and(|threshold| (threshold - 0.8).abs() < 0.01), "{overlays:?}");
    assert!(high > 0 && high <= reach(0.79), "{high} pixels are drawn, {} reach the threshold", reach(0.79));
    harness.run_steps(2);
    assert!(harness.query_by_label_contains("Finding 1,").is_some());
    assert!(harness.query_by_label_contains("Finding 2,").is_none(), "0.70 does not reach 0.80");
    harness.get_by_label("1 finding below 0.80 not listed");
    // Keys skip what is not listed.
    for _ in 0..2 {
        harness.key_press(Key::N);
        harness.run_steps(2);
        assert_eq!(harness.state().state.reading.as_ref().and_then(|r| r.selected), Some(FindingId(1)));
    }

    harness.get_by_label("Threshold of the heat map").set_value_accesskit(0.2);
    let low = drawn(&mut harness, &heat);
    assert!(low > reach(0.5) && low <= reach(0.19), "{low} pixels are drawn");
    harness.run_steps(2);
    assert!(harness.query_by_label_contains("Finding 2,").is_some());
    assert!(harness.query_by_label_contains("not listed").is_none());

    // What was decided on stays listed, and one click lists all.
    harness.get_by_label("Accept finding 2").click();
    harness.run_steps(2);
    harness.get_by_label("Threshold of the heat map").set_value_accesskit(0.95);
    harness.run_steps(3);
    assert!(harness.query_by_label_contains("Finding 1,").is_none());
    assert!(harness.query_by_label_contains("Finding 2,").is_some());
    harness.get_by_label("Show all").click();
    harness.run_steps(3);
    assert!(harness.query_by_label_contains("Finding 1,").is_some());
    let overlays = &harness.state().state.reading.as_ref().expect("a reading").overlays;
    assert_eq!(*overlays, OverlaySettings::default());
}

/// Writes the open report to `path` by the path field.
fn write_report(harness: &mut Harness<'_, App>, path: &Path) {
    harness.get_by_label("Path of the report").focus();
    harness.run_steps(2);
    harness.key_press_modifiers(egui::Modifiers::COMMAND, Key::A);
    harness.run_steps(2);
    harness.get_by_label("Path of the report").type_text(&path.display().to_string());
    harness.run_steps(3);
    assert_eq!(harness.state().state.report.as_ref().map(|report| PathBuf::from(&report.path)), Some(path.into()));
    harness.get_by_label("Write to this path").click();
    until(harness, "writing", |_| path.exists());
    until(harness, "the message", |harness| {
        harness.state().state.toasts.iter().any(|toast| toast.text == format!("Saved {}", path.display()))
    });
}

#[test]
fn the_report_is_written_as_chosen() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = reading(folder.path(), None);
    decoded(&mut harness);
    harness.get_by_label("Reject finding 2").click();
    harness.run_steps(2);
    harness.key_press(Key::P);
    let pages = |harness: &Harness<'_, App>| harness.state().state.report.as_ref().map_or(0, |r| r.pages.len());
    until(&mut harness, "the preview", |harness| pages(harness) > 0);
    let all_pages = pages(&harness);

    // Keys of the lenses do nothing behind the report.
    harness.key_press(Key::I);
    harness.run_steps(2);
    assert!(!harness.state().state.reading.as_ref().is_some_and(|reading| reading.view.inverted));

    let whole = folder.path().join("whole.json");
    write_report(&mut harness, &whole);
    let json = |path: &Path| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
    };
    let written = json(&whole);
    assert_eq!(written["identifiers"], true);
    assert_eq!(written["images"][0]["findings"].as_array().map(Vec::len), Some(2));
    assert_eq!(written["images"][0]["findings"][1]["review"]["decision"], "rejected");
    assert!(written["images"][0]["attention"].is_array());
    assert!(written["sources"][0]["file"].as_str().is_some_and(|file| file.ends_with("chest.png")));

    for switch in ["Leave identifiers out", "Rejected findings", "Attention and organs", "Model and its limits"] {
        harness.get_by_label(switch).click();
        harness.run_steps(2);
    }
    until(&mut harness, "a shorter preview", |harness| pages(harness) > 0 && pages(harness) < all_pages);
    let part = folder.path().join("part.json");
    write_report(&mut harness, &part);
    let written = json(&part);
    assert_eq!(written["identifiers"], false);
    assert_eq!(written["images"][0]["findings"].as_array().map(Vec::len), Some(1));
    assert!(written["images"][0]["attention"].is_null());
    assert!(written["sources"][0]["file"].is_null());
    assert!(!std::fs::read_to_string(&part).expect("readable").contains("chest.png"));

    let pdf = folder.path().join("part.pdf");
    write_report(&mut harness, &pdf);
    let bytes = std::fs::read(&pdf).expect("readable");
    assert!(bytes.starts_with(b"%PDF-"));
    let count = format!("/Count {}", pages(&harness));
    assert!(String::from_utf8_lossy(&bytes).contains(&count), "the file has the pages of the preview: {count}");

    // What is there already is not replaced at the first word.
    let other = folder.path().join("other.json");
    std::fs::write(&other, b"mine").expect("writable");
    harness.state_mut().state.report.as_mut().expect("a report").path = other.display().to_string();
    harness.get_by_label("Write to this path").click();
    until(&mut harness, "the warning", |harness| {
        harness.state().state.toasts.iter().any(|toast| toast.text.contains("is there already"))
    });
    assert_eq!(std::fs::read(&other).expect("readable"), b"mine");
    harness.get_by_label("Write to this path").click();
    until(&mut harness, "replacing", |_| std::fs::read(&other).is_ok_and(|bytes| bytes.starts_with(b"{")));
}

#[test]
fn what_speaks_against_an_analysis_is_said_before_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let picture = folder.path().join("slice.png");
    image::GrayImage::new(64, 64).save(&picture).expect("a picture can be written");
    let mut harness = Harness::builder()
        .with_size(egui::vec2(1600.0, 1000.0))
        .with_max_steps(64)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, None, vec![picture]));
    until(&mut harness, "opening", |harness| harness.state().state.reading.is_some());
    decoded(&mut harness);
    if harness.state().state.network.metadata.is_none() {
        println!("skipped: there is no bundle to ask");
        return;
    }
    // The picture becomes a slice of a CT.
    {
        let reading = harness.state_mut().state.reading.as_mut().expect("a reading");
        let mut study = (*reading.study).clone();
        study.series[0].modality = "CT".into();
        reading.study = Arc::new(study);
    }
    harness.key_press_modifiers(egui::Modifiers::COMMAND, Key::Enter);
    until(&mut harness, "the warning", |h| h.query_all_by_label("Analyse all the same").count() > 0);
    assert!(harness.query_all_by_label_contains("not for CT").count() > 0);
    assert!(harness.state().state.reading.as_ref().is_some_and(|reading| reading.analysis.is_none()), "no answer yet");
    harness.key_press_modifiers(egui::Modifiers::COMMAND, Key::Enter);
    within(120, &mut harness, "the answer", |harness| {
        harness.state().state.reading.as_ref().is_some_and(|reading| reading.analysis.is_some())
    });
    assert!(harness.query_all_by_label_contains("not for CT").count() > 0, "the warning stays beside the answer");
    assert!(harness.query_all_by_label("calibration void").count() > 0);
}
