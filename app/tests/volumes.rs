//! A CT as one volume: analysed as a whole, scrolled through, left and come back to.

#[path = "support/scan.rs"]
mod scan;
mod support;

use std::path::Path;

use bifocal_app::app::App;
use eframe::egui::{self, Key, Modifiers, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use support::until;

fn attended(app: &App) -> bool {
    let analysis = app.state().reading.as_ref().and_then(|reading| reading.analysis_in_view());
    analysis.is_some_and(|analysis| !analysis.attention_maps.is_empty())
}

/// Opens the scan in a folder and analyses it.
fn analysed(folder: &Path) -> Harness<'static, App> {
    let paths = vec![folder.to_path_buf()];
    let mut harness = Harness::builder()
        .with_size(vec2(1600.0, 1000.0))
        .with_max_steps(64)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, None, paths));
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    harness.get_by_label("Series Coarse").click();
    until(&mut harness, "the series", is_ct);
    assert_eq!(harness.state().state().model.as_deref(), Some("chest-ct-demo 1.1.0"), "made for the modality");
    until(&mut harness, "its image", App::first_image_shown);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    until(&mut harness, "the analysis and its attention", attended);
    harness
}

fn is_ct(app: &App) -> bool {
    app.state().reading.as_ref().is_some_and(|reading| reading.frame_count() > 20)
}

#[test]
fn a_ct_is_analysed_as_a_whole_and_its_maps_follow_scrolling() {
    let folder = tempfile::tempdir().expect("a folder");
    scan::write(folder.path());
    let picture = folder.path().join("other.png");
    image::GrayImage::from_fn(64, 48, |x, y| image::Luma([(x * y % 251) as u8])).save(&picture).expect("written");
    let mut harness = analysed(folder.path());
    assert_eq!(harness.query_all_by_label_contains("highest of all images").count(), 2, "a line a class");
    let series =
        |app: &App| app.state().reading.as_ref().and_then(|r| r.series()).map(|s| s.uid.clone()).expect("open");
    let place = |app: &App| app.state().reading.as_ref().map_or(0, |reading| reading.view.position);
    let uid = series(harness.state());
    let volume = harness.state().state().network.volume_of(&uid).expect("kept").clone();
    assert_eq!((volume.planes, volume.organs.len()), (50, 3));
    assert!(volume.organs.iter().all(|organ| organ.volume_mm3 > 300_000.0), "organs of a simulated chest are found");

    // Maps are there with the next image, its attention a moment later.
    let before = place(harness.state());
    harness.key_press(Key::ArrowDown);
    harness.run_steps(4);
    assert_eq!(place(harness.state()), before + 1);
    let analysis = harness.state().state().reading.as_ref().and_then(|r| r.analysis_in_view()).cloned();
    let analysis = analysis.expect("maps follow at once");
    assert_eq!((analysis.place, analysis.heat_maps.len()), (Some(before + 1), 2));
    until(&mut harness, "attention of the next image", attended);

    // Another series, read by another bundle, and back: nothing is asked for twice.
    harness.get_by_label_contains("Series other").click();
    until(&mut harness, "the picture", |app| !is_ct(app));
    assert_eq!(harness.state().state().model.as_deref(), Some("chest-opacity 1.1.0"));
    harness.get_by_label("Series Coarse").click();
    until(&mut harness, "the series again", is_ct);
    until(&mut harness, "its attention again", attended);
    assert!(std::sync::Arc::ptr_eq(harness.state().state().network.volume_of(&uid).expect("kept"), &volume));
}

/// All texts that were drawn in the last frame.
fn texts(harness: &Harness<'_, App>) -> Vec<String> {
    let texts = harness.output().shapes.iter().filter_map(|clipped| match &clipped.shape {
        egui::Shape::Text(text) => Some(text.galley.text().to_owned()),
        _ => None,
    });
    texts.collect()
}

#[test]
fn maps_of_an_analysed_volume_are_shown_on_its_planes() {
    let folder = tempfile::tempdir().expect("a folder");
    scan::write(folder.path());
    let mut harness = analysed(folder.path());
    harness.key_press(Key::V);
    until(&mut harness, "the volume", |app| app.state().desk.planes().is_some());
    harness.run_steps(3);
    // Bar, notice and outlines of organs are drawn; the strip has the lens's own controls.
    let all = texts(&harness);
    assert!(
        all.iter().any(|text| text.contains("lesion probability") && text.contains("research use only")),
        "{all:?}"
    );
    assert!(all.iter().any(|text| text == "Right lung") && all.iter().any(|text| text == "Left lung"), "{all:?}");
    harness.get_by_label("Lesion map on the planes");
    harness.get_by_label("Threshold of the heat map");
    let opacity =
        |harness: &Harness<'_, App>| harness.state().state().reading.as_ref().expect("a reading").overlays.heat_opacity;
    let before = opacity(&harness);
    harness.key_press(Key::Num8);
    harness.run_steps(2);
    assert!((opacity(&harness) - before + 0.1).abs() < 1e-6);

    // A finding is gone to in all planes: its probability is read at its peak.
    harness.key_press(Key::N);
    harness.run_steps(4);
    let state = harness.state().state();
    let reading = state.reading.as_ref().expect("a reading");
    let analysis = reading.analysis_in_view().expect("an analysis");
    let finding = analysis.findings.iter().find(|finding| Some(finding.id) == reading.selected).expect("a finding");
    let peak = finding.extent.as_ref().expect("of a volume").peak_mm;
    let planes = state.desk.planes().expect("planes");
    let away: f64 = planes.crosshair.iter().zip(peak).map(|(a, b)| (a - b).powi(2)).sum();
    assert!(away.sqrt() < 1e-6, "{:?} is not {peak:?}", planes.crosshair);
    let (expected, label) = (format!("p {:.2}", finding.probability), finding.label.clone());
    let shown = reading.overlays.heat_map;
    assert_eq!(analysis.heat_maps[shown].label, label, "its class is the one that is shown");
    let pane = harness.get_by_label("Plane axial").rect();
    let nominal = planes.nominal(0);
    let (row, column) = bifocal_app::planes::pixel_of(&nominal, peak);
    let (x, y) = planes.placement(0, &nominal, pane.size()).screen_from_image(row, column);
    harness.hover_at(pane.min + vec2(x as f32, y as f32));
    harness.run_steps(4);
    let all = texts(&harness);
    assert!(all.iter().any(|text| text.contains("HU") && text.contains(&expected)), "{expected}: {all:?}");

    // Hidden with the overlays, strip and bar apart: nothing is said of them on the images.
    harness.key_press(Key::Space);
    harness.run_steps(3);
    let all = texts(&harness);
    assert!(!all.iter().any(|text| text.contains("lesion probability") || text == "Right lung"), "{all:?}");
    harness.get_by_label("Lesion map on the planes");
}
