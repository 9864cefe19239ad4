//! PET over CT in the window: offered where both lie in one space, laid over planes and images, read by the probe.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use bifocal_app::app::App;
use bifocal_app::fusion::FusedVolume;
use bifocal_core::study::Suv;
use eframe::egui::{self, Key, Modifiers, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use support::until;

/// A coarse simulated patient with CT and PET in one frame of reference, and a radiograph in none.
fn patient(folder: &Path) -> PathBuf {
    let out = folder.join("patient");
    let done = Command::new(env!("CARGO_BIN_EXE_bifocal"))
        .args(["phantom", "--seed", "4", "--ct-size", "96", "--ct-slice-mm", "6", "--dx-size", "64", "--pet", "--out"])
        .arg(&out)
        .output()
        .expect("the program starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    out
}

fn open(folder: &Path) -> Harness<'static, App> {
    let paths = vec![folder.to_path_buf()];
    let mut harness = Harness::builder()
        .with_size(vec2(1600.0, 1000.0))
        .with_max_steps(64)
        .with_step_dt(1.0 / 60.0)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, None, paths));
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    show(&mut harness, "SIMULATED thorax", "CT");
    harness
}

fn modality(app: &App) -> String {
    let series = app.state().reading.as_ref().and_then(|reading| reading.series());
    series.map(|series| series.modality.clone()).unwrap_or_default()
}

fn show(harness: &mut Harness<'_, App>, description: &str, wanted: &str) {
    let listed = harness
        .query_all_by_label_contains("Series ")
        .find(|node| node.accesskit_node().label().is_some_and(|label| label.contains(description)))
        .map(|node| node.rect().center())
        .expect("it is listed");
    harness.hover_at(listed);
    harness.run_steps(2);
    harness.drag_at(listed);
    harness.run_steps(1);
    harness.drop_at(listed);
    until(harness, "the series", |app| modality(app) == wanted);
}

fn is_laid(app: &App) -> bool {
    app.state().fusion.as_ref().is_some_and(|fusion| matches!(fusion.volume, FusedVolume::Ready(_)))
}

fn opacity(app: &App) -> f32 {
    app.state().fusion.as_ref().map_or(0.0, |fusion| fusion.style.opacity)
}

#[test]
fn a_pet_is_laid_over_planes_and_images_of_its_ct() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut harness = open(&patient(folder.path()));
    // The menu offers the PET, and says of the radiograph why not.
    harness.get_by_label("Lay a series over").click();
    harness.run_steps(4);
    assert_eq!(harness.query_all_by_label_contains("name no frame of reference").count(), 1);
    harness.get_by_label_contains("PT  ").click();
    until(&mut harness, "the PET", is_laid);
    let state = harness.state().state();
    let base = state.reading.as_ref().and_then(|reading| reading.series()).expect("a series").clone();
    let (volume, style) = state.fused_over(&base).expect("it lies over the CT");
    assert_eq!((volume.display.units.as_str(), style.range), (Suv::UNITS, [0.0, 7.0]));
    assert!(harness.query_all_by_label_contains("SUVbw").count() > 0, "the strip names the unit");

    // Keys and the slider change the same opacity.
    let before = opacity(harness.state());
    harness.key_press(Key::Num9);
    harness.run_steps(2);
    assert!((opacity(harness.state()) - before - 0.1).abs() < 1e-6);
    harness.key_press(Key::Num8);
    harness.key_press(Key::Num8);
    harness.run_steps(2);
    assert!((opacity(harness.state()) - before + 0.1).abs() < 1e-6);
    harness.get_by_label("Opacity of the series laid over");

    // Planes: what is laid over is sampled where they are, and hidden with the overlays.
    harness.key_press(Key::V);
    until(&mut harness, "the volume", |app| app.state().desk.planes().is_some());
    let pane = harness.get_by_label("Plane coronal").rect();
    harness.hover_at(pane.center());
    harness.run_steps(4);
    harness.key_press(Key::Space);
    harness.run_steps(3);
    assert!(!harness.state().state().reading.as_ref().expect("one").view.overlays);
    harness.key_press(Key::Space);
    harness.run_steps(3);
    harness.key_press(Key::V);
    harness.run_steps(3);

    // The PET itself is not laid over itself, and the radiograph lies nowhere.
    show(&mut harness, "SIMULATED FDG PET", "PT");
    assert_eq!(harness.query_all_by_label_contains("It is in view itself").count(), 1);
    show(&mut harness, "SIMULATED chest PA", "DX");
    assert_eq!(harness.query_all_by_label_contains("Not laid over this series").count(), 1);
    // It is still there when its space is.
    show(&mut harness, "SIMULATED thorax", "CT");
    assert!(is_laid(harness.state()));
    harness.get_by_label("Take the series off").click();
    harness.run_steps(3);
    assert!(harness.state().state().fusion.is_none());
    // By key: on, and off again.
    harness.key_press_modifiers(Modifiers::SHIFT, Key::T);
    until(&mut harness, "the PET again", is_laid);
    harness.key_press_modifiers(Modifiers::SHIFT, Key::T);
    harness.run_steps(3);
    assert!(harness.state().state().fusion.is_none());
}

/// All texts that were drawn in the last frame.
fn texts(harness: &Harness<'_, App>) -> Vec<String> {
    fn of(shape: &egui::Shape, found: &mut Vec<String>) {
        match shape {
            egui::Shape::Text(text) => found.push(text.galley.text().to_owned()),
            egui::Shape::Vec(shapes) => shapes.iter().for_each(|shape| of(shape, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    for clipped in &harness.output().shapes {
        of(&clipped.shape, &mut found);
    }
    found
}

#[test]
fn a_pet_is_read_in_suv_and_has_windows_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut harness = open(&patient(folder.path()));
    show(&mut harness, "SIMULATED FDG PET", "PT");
    until(&mut harness, "the image", App::first_image_shown);
    let lens = harness.get_by_label("Local lens").rect();
    harness.hover_at(lens.center());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !texts(&harness).iter().any(|text| text.starts_with("x ") && text.contains(Suv::UNITS)) {
        assert!(std::time::Instant::now() < end, "no readout in SUV: {:?}", texts(&harness));
        harness.step();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    harness.key_press(Key::Num4);
    harness.run_steps(4);
    assert!(texts(&harness).iter().any(|text| text == "W 7.00 L 3.50"), "{:?}", texts(&harness));
    harness.key_press(Key::V);
    until(&mut harness, "the volume", |app| app.state().desk.planes().is_some());
    let planes = harness.state().state().desk.planes().expect("planes");
    assert_eq!(planes.volume.display.units, Suv::UNITS);
    harness.run_steps(4);
    assert!(texts(&harness).iter().any(|text| text == "W 7.00 L 3.50"), "one window for images and planes");
    // What means nothing from one scanner to the next has no presets, and says so.
    show(&mut harness, "SIMULATED chest PA", "DX");
    until(&mut harness, "the image", App::first_image_shown);
    harness.key_press(Key::Num4);
    harness.run_steps(4);
    assert!(texts(&harness).iter().any(|text| text.contains("Only values in HU or SUV have presets")));
}

#[test]
fn the_probe_reads_both_values_at_one_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut harness = open(&patient(folder.path()));
    harness.key_press_modifiers(Modifiers::SHIFT, Key::T);
    until(&mut harness, "the PET", is_laid);
    until(&mut harness, "the image", App::first_image_shown);
    // On an image: HU and SUV of the pixel under the pointer, each looked up in its own volume.
    let lens = harness.get_by_label("Local lens").rect();
    harness.hover_at(lens.center());
    harness.run_steps(4);
    let read = texts(&harness).into_iter().find(|text| text.starts_with("x ") && text.contains("HU"));
    let read = read.expect("a readout");
    assert!(read.contains("HU") && read.contains(Suv::UNITS), "{read}");
    harness.key_press(Key::V);
    until(&mut harness, "the volume", |app| app.state().desk.planes().is_some());
    let pane = harness.get_by_label("Plane axial").rect();
    // Off the crossing, whose lines do not matter here.
    let from_corner = vec2(0.4 * pane.width(), 0.45 * pane.height());
    harness.hover_at(pane.min + from_corner);
    harness.run_steps(4);
    let state = harness.state().state();
    let planes = state.desk.planes().expect("planes");
    let Some(FusedVolume::Ready(pet)) = state.fusion.as_ref().map(|fusion| fusion.volume.clone()) else {
        panic!("no PET")
    };
    let nominal = planes.nominal(0);
    let placement = planes.placement(0, &nominal, pane.size());
    let (row, column) = placement.image_from_screen(f64::from(from_corner.x), f64::from(from_corner.y));
    let point = nominal.patient_from_pixel(row, column);
    let hu = planes.volume.nearest_value(point).expect("inside");
    let suv = pet.nearest_value(point).expect("inside");
    let read = texts(&harness).into_iter().find(|text| text.contains("HU") && text.contains(Suv::UNITS));
    let read = read.expect("a readout");
    let both = read.contains(&format!("{hu:.0} HU")) && read.contains(&format!("{suv:.2} {}", Suv::UNITS));
    assert!(both, "{read}: not {hu} HU and {suv} at {point:?}");
    // The legend names the unit, and its ends.
    let all = texts(&harness);
    assert!(all.iter().any(|text| text.starts_with("PT") && text.contains(Suv::UNITS)), "{all:?}");
    assert!(all.iter().any(|text| text == "3.5") && all.iter().any(|text| text == "7"));
}
