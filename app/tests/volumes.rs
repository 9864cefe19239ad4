//! A CT as one volume: analysed as a whole, scrolled through, left and come back to.

mod support;

use std::path::Path;

use bifocal_app::app::App;
use bifocal_core::dicom::{CtSlice, ImageContext, uid_from_name, write_ct};
use bifocal_core::phantom::{Options, simulate_ct_alone};
use bifocal_core::study::PlaneGeometry;
use bifocal_core::task::Task;
use eframe::egui::{Key, Modifiers, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use support::until;

/// A coarse simulated CT.
fn scan(folder: &Path) {
    let options = Options { ct_size: 96, ct_slice_mm: 6.0, ..Options::new(77) };
    let (_, ct) = simulate_ct_alone(options, &Task::new()).expect("simulated");
    let context = ImageContext {
        patient_name: "Phantom".into(),
        study_uid: uid_from_name("volume study"),
        series_uid: uid_from_name("volume series"),
        series_description: "Coarse".into(),
        body_part: "CHEST".into(),
        ..ImageContext::default()
    };
    let [slice_mm, row_mm, column_mm] = ct.spacing_mm;
    for (index, hu) in ct.hu.outer_iter().enumerate() {
        let [x, y, z] = ct.origin_mm;
        let slice = CtSlice {
            sop_instance_uid: uid_from_name(&format!("volume {index}")),
            number: index as u32 + 1,
            hu,
            geometry: PlaneGeometry {
                position: [x, y, z + slice_mm * index as f64],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            },
            spacing_mm: [row_mm, column_mm],
            thickness_mm: slice_mm,
            field_mm: column_mm * 96.0,
            frame_of_reference_uid: uid_from_name("volume frame of reference"),
            kvp: 120.0,
            patient_position: "HFS".into(),
            contrast: String::new(),
            windows: Vec::new(),
        };
        write_ct(&folder.join(format!("{index:03}.dcm")), &context, &slice).expect("written");
    }
}

fn attended(app: &App) -> bool {
    let analysis = app.state().reading.as_ref().and_then(|reading| reading.analysis_in_view());
    analysis.is_some_and(|analysis| !analysis.attention_maps.is_empty())
}

#[test]
fn a_ct_is_analysed_as_a_whole_and_its_maps_follow_scrolling() {
    let folder = tempfile::tempdir().expect("a folder");
    scan(folder.path());
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
