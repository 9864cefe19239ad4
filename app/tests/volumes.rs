//! A CT as one volume: analysed as a whole, scrolled through, left and come back to.

#[path = "support/scan.rs"]
mod scan;
mod support;

use bifocal_app::app::App;
use eframe::egui::{Key, Modifiers, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use support::until;

fn attended(app: &App) -> bool {
    let analysis = app.state().reading.as_ref().and_then(|reading| reading.analysis_in_view());
    analysis.is_some_and(|analysis| !analysis.attention_maps.is_empty())
}

#[test]
fn a_ct_is_analysed_as_a_whole_and_its_maps_follow_scrolling() {
    let folder = tempfile::tempdir().expect("a folder");
    scan::write(folder.path());
    let picture = folder.path().join("other.png");
    image::GrayImage::from_fn(64, 48, |x, y| image::Luma([(x * y % 251) as u8])).save(&picture).expect("written");
    let paths = vec![folder.path().to_path_buf()];
    let mut harness = Harness::builder()
        .with_size(vec2(1600.0, 1000.0))
        .with_max_steps(64)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, None, paths));
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    harness.get_by_label("Series Coarse").click();
    let is_ct = |app: &App| app.state().reading.as_ref().is_some_and(|reading| reading.frame_count() > 20);
    until(&mut harness, "the series", is_ct);
    assert_eq!(harness.state().state().model.as_deref(), Some("chest-ct-demo 1.0.0"), "made for the modality");
    until(&mut harness, "its image", App::first_image_shown);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    until(&mut harness, "the analysis and its attention", attended);
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
