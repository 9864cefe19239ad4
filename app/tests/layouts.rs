//! Layouts, planes and linked viewports, driven by the names that a screen reader hears and by the pointer.

mod support;

use std::path::{Path, PathBuf};

use bifocal_app::app::App;
use bifocal_app::desk::{Layout, VolumeState};
use bifocal_app::planes::Planes;
use bifocal_app::settings::Settings;
use bifocal_app::state::Reading;
use eframe::egui::{self, Key, Modifiers, Pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use support::until;

fn sample(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(part)
}

fn open(paths: Vec<PathBuf>, settings: Option<PathBuf>) -> Harness<'static, App> {
    let mut harness = Harness::builder()
        .with_size(vec2(1600.0, 1000.0))
        .with_max_steps(64)
        // Two clicks in neighbouring frames are a double click.
        .with_step_dt(1.0 / 60.0)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, settings, paths));
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    harness
}

fn planes<'a>(harness: &'a Harness<'_, App>) -> &'a Planes {
    harness.state().state().desk.planes().expect("planes")
}

/// The sample CT, its planes shown.
fn sample_planes() -> Harness<'static, App> {
    let mut harness = open(vec![sample("ct")], None);
    harness.key_press(Key::V);
    until(&mut harness, "the volume", |app| app.state().desk.planes().is_some());
    harness
}

fn wheel(harness: &mut Harness<'_, App>, at: Pos2, lines: f32) {
    harness.hover_at(at);
    harness.run_steps(2);
    harness.event(egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Line,
        delta: vec2(0.0, lines),
        phase: egui::TouchPhase::Move,
        modifiers: Modifiers::NONE,
        source: egui::MouseWheelSource::Wheel,
    });
    harness.run_steps(3);
}

fn drag(harness: &mut Harness<'_, App>, from: Pos2, to: Pos2) {
    harness.hover_at(from);
    harness.run_steps(2);
    harness.drag_at(from);
    harness.run_steps(2);
    for step in 1..=4 {
        harness.hover_at(from + (to - from) * (step as f32 / 4.0));
        harness.run_steps(2);
    }
    harness.drop_at(to);
    harness.run_steps(3);
}

fn center(harness: &Harness<'_, App>, label: &str) -> Pos2 {
    harness.get_by_label(label).rect().center()
}

#[test]
fn planes_are_scrolled_moved_and_turned() {
    let mut harness = sample_planes();
    for name in ["Plane axial", "Plane coronal", "Plane sagittal"] {
        harness.get_by_label(name);
    }
    let before = planes(&harness).crosshair;
    // Scrolling a plane moves along its normal alone.
    let coronal = center(&harness, "Plane coronal");
    wheel(&mut harness, coronal, -2.0);
    let after = planes(&harness).crosshair;
    assert!(after[1] > before[1] && after[0] == before[0] && after[2] == before[2], "{before:?} {after:?}");
    // The keys act on the active plane: axial slices are 2.5 mm apart.
    harness.key_press(Key::ArrowDown);
    harness.run_steps(2);
    assert!((planes(&harness).crosshair[2] - before[2] - 2.5).abs() < 1e-6);
    // The crossing is in the middle of the axial pane at first: dragged, all planes follow.
    let middle = center(&harness, "Plane axial");
    let moved = planes(&harness).crosshair;
    drag(&mut harness, middle, middle + vec2(60.0, 0.0));
    let now = planes(&harness).crosshair;
    assert!(now[0] > moved[0] + 5.0, "to the patient's left: {moved:?} {now:?}");
    assert!((now[2] - moved[2]).abs() < 1e-6);
    // A handle of the coronal plane's line, to the right of the crossing, pulled down: clockwise.
    let pane = harness.get_by_label("Plane axial").rect();
    let at = middle + vec2(60.0 + 0.36 * pane.width().min(pane.height()), 0.0);
    drag(&mut harness, at, at + vec2(0.0, 80.0));
    assert!(planes(&harness).is_oblique());
    assert_eq!(planes(&harness).panes[1].title(), "Coronal oblique");
    assert_eq!(planes(&harness).panes[0].title(), "Axial");
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    assert!(!planes(&harness).is_oblique());
    assert_eq!(planes(&harness).crosshair, before, "as it was at first: on the slice that was in view");
}

#[test]
fn slabs_window_and_maximising() {
    let mut harness = sample_planes();
    harness.get_by_label("Projection MinIP").click();
    harness.run_steps(3);
    let slab = planes(&harness).slab;
    assert_eq!((slab.thickness_mm, slab.projection.name()), (10.0, "MinIP"));
    harness.key_press(Key::Period);
    harness.run_steps(2);
    assert_eq!(planes(&harness).slab.thickness_mm, 11.0);
    harness.key_press(Key::Num7);
    harness.run_steps(2);
    let reading = harness.state().state().reading.as_ref().expect("a reading");
    assert!(format!("{:?}", reading.view.window).contains("Lung"));
    // A drag away from the lines changes the window.
    let pane = harness.get_by_label("Plane axial").rect();
    let at = pane.min + vec2(120.0, 160.0);
    drag(&mut harness, at, at + vec2(50.0, 0.0));
    let reading = harness.state().state().reading.as_ref().expect("a reading");
    assert!(!format!("{:?}", reading.view.window).contains("Lung"));
    // Tab goes on to the coronal plane, M gives it the room.
    harness.key_press(Key::Tab);
    harness.run_steps(3);
    harness.key_press(Key::M);
    harness.run_steps(3);
    assert!(harness.query_by_label("Plane axial").is_none());
    assert!(harness.get_by_label("Plane coronal").rect().width() > 900.0);
    harness.key_press(Key::M);
    harness.run_steps(3);
    harness.get_by_label("Plane axial");
}

#[test]
fn what_is_drawn_on_a_slice_is_seen_where_planes_cut_it() {
    let mut harness = open(vec![sample("ct")], None);
    until(&mut harness, "decoding", |app| app.first_image_shown());
    harness.key_press(Key::D);
    harness.run_steps(2);
    let middle = center(&harness, "Local lens");
    drag(&mut harness, middle - vec2(50.0, 0.0), middle + vec2(50.0, 30.0));
    let shapes = |harness: &Harness<'_, App>| {
        let reading = harness.state().state().reading.as_ref().expect("a reading");
        reading.document.session().shapes.len()
    };
    assert_eq!(shapes(&harness), 1);
    let named = |harness: &Harness<'_, App>| {
        let texts = harness.output().shapes.iter().filter_map(|clipped| match &clipped.shape {
            egui::Shape::Text(text) => Some((text.galley.text().to_owned(), text.pos)),
            _ => None,
        });
        texts.filter(|(text, _)| text == "Length").map(|(_, at)| at).collect::<Vec<_>>()
    };
    harness.key_press(Key::V);
    until(&mut harness, "the volume", |app| app.state().desk.planes().is_some());
    // Whole, with its name, on the axial plane of its slice; the others only cut it.
    let axial = harness.get_by_label("Plane axial").rect();
    assert!(named(&harness).iter().any(|at| axial.contains(*at)), "{:?}", named(&harness));
    assert!(named(&harness).iter().all(|at| !harness.get_by_label("Plane sagittal").rect().contains(*at)));
    wheel(&mut harness, axial.min + vec2(40.0, 200.0), -2.0);
    assert!(named(&harness).iter().all(|at| !axial.contains(*at)), "two slices on it is not there");
    wheel(&mut harness, axial.min + vec2(40.0, 200.0), 2.0);
    assert!(named(&harness).iter().any(|at| axial.contains(*at)));
    harness.key_press(Key::Space);
    harness.run_steps(3);
    assert!(named(&harness).iter().all(|at| !axial.contains(*at)), "hidden with the overlays");
}

#[test]
fn leaving_the_planes_goes_to_the_slice_of_the_crosshair() {
    let mut harness = sample_planes();
    let position = |harness: &Harness<'_, App>| harness.state().state().reading.as_ref().expect("one").view.position;
    let before = position(&harness);
    for _ in 0..3 {
        harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowUp);
        harness.run_steps(2);
    }
    assert_eq!(position(&harness), before, "the slice of the series stays while planes are shown");
    harness.key_press(Key::V);
    harness.run_steps(3);
    harness.get_by_label("Local lens");
    let now = position(&harness);
    assert!(now.abs_diff(before) >= 29 && now < before, "{before} {now}");
}

#[test]
fn a_series_without_a_volume_says_why_and_shows_its_images() {
    let mut harness = open(vec![sample("dx")], None);
    harness.key_press(Key::V);
    until(&mut harness, "the refusal", |app| matches!(app.state().desk.volume, VolumeState::Failed(_)));
    assert!(harness.query_all_by_label_contains("No planes of this series").count() > 0);
    harness.get_by_label("Local lens");
    harness.key_press(Key::I);
    harness.run_steps(2);
    assert!(harness.state().state().reading.as_ref().expect("a reading").view.inverted);
    harness.get_by_label("Two lenses").click();
    harness.run_steps(3);
    harness.get_by_label("Global lens");
}

/// Opens the sample with two viewports side by side.
fn side_by_side(settings: Option<PathBuf>) -> Harness<'static, App> {
    let mut harness = open(vec![sample("ct"), sample("dx")], settings);
    harness.get_by_label("Layout").click();
    harness.run_steps(3);
    harness.get_by_label("1 by 2 viewports").click();
    harness.run_steps(4);
    harness
}

fn modality(harness: &Harness<'_, App>) -> String {
    let reading = harness.state().state().reading.as_ref().expect("a reading");
    reading.series().expect("a series").modality.clone()
}

#[test]
fn viewports_are_filled_activated_and_maximised() {
    let mut harness = side_by_side(None);
    let first = modality(&harness);
    harness.get_by_label("Viewport 1");
    let second = center(&harness, "Viewport 2");
    until(&mut harness, "decoding", |app| app.first_image_shown());
    drag(&mut harness, second, second + vec2(0.0, 30.0));
    assert_eq!(harness.state().state().desk.active, 1);
    assert_ne!(modality(&harness), first, "the next series of the study");
    // A double click gives it all the room, another one takes it back.
    for expected in [true, false] {
        for _ in 0..2 {
            harness.drag_at(second);
            harness.step();
            harness.drop_at(second);
            harness.step();
        }
        // Long enough for the next click to be a first one again.
        harness.run_steps(60);
        assert_eq!(harness.state().state().desk.maximised, expected);
        assert_eq!(harness.query_by_label("Viewport 1").is_none(), expected);
    }
}

#[test]
fn a_series_is_dragged_into_a_viewport_and_both_scroll_together() {
    let mut harness = side_by_side(None);
    let ct = harness
        .query_all_by_label_contains("Series ")
        .map(|node| (node.rect().center(), node.accesskit_node().label().unwrap_or_default()))
        .find(|(_, label)| label.contains("SIMULATED thorax"))
        .map(|(center, _)| center)
        .expect("the CT is listed");
    for name in ["Viewport 1", "Viewport 2"] {
        let to = center(&harness, name);
        drag(&mut harness, ct, to);
        assert_eq!(modality(&harness), "CT");
    }
    let positions = |harness: &Harness<'_, App>| {
        let state = harness.state().state();
        let parked = state.desk.panes.iter().flatten().map(|reading| reading.view.position);
        (state.reading.as_ref().expect("one").view.position, parked.collect::<Vec<_>>())
    };
    let (before, parked) = positions(&harness);
    assert_eq!(parked, [before]);
    // The wheel scrolls the viewport under the pointer, active or not, and the other one goes along.
    let at = center(&harness, "Viewport 1");
    wheel(&mut harness, at, -3.0);
    assert_eq!(harness.state().state().desk.active, 1);
    assert_eq!(positions(&harness), (before + 3, vec![before + 3]));
    // Unlinked, each goes its own way.
    harness.get_by_label("Layout").click();
    harness.run_steps(3);
    harness.get_by_label("Scroll together").click();
    harness.run_steps(3);
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    harness.key_press(Key::ArrowDown);
    harness.run_steps(3);
    assert_eq!(positions(&harness), (before + 4, vec![before + 3]));
    // What is done in one viewport is seen in the other.
    harness.key_press(Key::K);
    harness.run_steps(3);
    let state = harness.state().state();
    let parked = state.desk.panes.iter().flatten().next().expect("the other one");
    assert_eq!(parked.document.session().key_images.len(), 1);
    harness.key_press(Key::Tab);
    harness.run_steps(3);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    harness.run_steps(3);
    let state = harness.state().state();
    assert!(state.reading.as_ref().expect("one").document.session().key_images.is_empty());
}

#[test]
fn the_layout_is_remembered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("home/settings.json");
    {
        let mut harness = side_by_side(Some(path.clone()));
        until(&mut harness, "saving", |_| Settings::load(&path).layout == Layout::Grid { rows: 1, columns: 2 });
    }
    let mut harness = open(vec![sample("ct"), sample("dx")], Some(path));
    harness.run_steps(3);
    harness.get_by_label("Viewport 1");
    harness.get_by_label("Viewport 2");
}

fn click(harness: &mut Harness<'_, App>, name: &str) {
    harness.get_by_label(name).click();
    harness.run_steps(4);
}

/// Types the layout's name into the menu, which is open, and keeps it.
fn keep_layout(harness: &mut Harness<'_, App>, name: &str) {
    harness.get_by_label("Name of this layout").focus();
    harness.run_steps(2);
    harness.get_by_label("Name of this layout").type_text(name);
    harness.run_steps(3);
    let button = if harness.query_by_label("Replace").is_some() { "Replace" } else { "Save" };
    click(harness, button);
}

/// Modalities in the viewports of the grid, in their order.
fn grid(harness: &Harness<'_, App>) -> Vec<String> {
    let state = harness.state().state();
    let modality = |reading: &Reading| reading.series().expect("a series").modality.clone();
    let active = state.reading.as_ref().map(modality);
    let panes = state.desk.panes.iter().map(|pane| pane.as_ref().map(modality));
    panes.map(|pane| pane.or_else(|| active.clone()).unwrap_or_default()).collect()
}

#[test]
fn a_layout_is_kept_by_name_and_brings_its_series_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.json");
    let mut harness = side_by_side(Some(path.clone()));
    let before = grid(&harness);
    assert_ne!(before[0], before[1]);
    click(&mut harness, "Layout");
    click(&mut harness, "Zoom and pan together");
    keep_layout(&mut harness, "Compare");
    // Something else in everything that was kept.
    click(&mut harness, "2 by 2 viewports");
    harness.key_press(Key::CloseBracket);
    harness.run_steps(3);
    click(&mut harness, "Layout");
    click(&mut harness, "Zoom and pan together");
    click(&mut harness, "Two lenses");
    harness.key_press(Key::ArrowRight);
    harness.run_steps(3);
    assert_eq!(harness.state().state().settings.layout, Layout::Lenses);
    click(&mut harness, "Layout");
    click(&mut harness, "Use layout Compare");
    assert_eq!(grid(&harness), before);
    let settings = &harness.state().state().settings;
    assert_eq!(settings.layout, Layout::Grid { rows: 1, columns: 2 });
    assert!(settings.links.zoom && settings.findings_open);
    harness.get_by_label("Viewport 2");

    // Renamed, and there at the next start.
    click(&mut harness, "Layout");
    click(&mut harness, "Rename layout Compare");
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.run_steps(2);
    harness.get_by_label("New name of the layout").type_text("Side by side");
    harness.run_steps(3);
    harness.key_press(Key::Enter);
    harness.run_steps(3);
    harness.get_by_label("Use layout Side by side");
    until(&mut harness, "saving", |_| Settings::load(&path).layouts.iter().any(|layout| layout.name == "Side by side"));
    drop(harness);
    let mut harness = open(vec![sample("ct"), sample("dx")], Some(path.clone()));
    click(&mut harness, "Layout");
    click(&mut harness, "Delete layout Side by side");
    click(&mut harness, "Keep");
    click(&mut harness, "Delete layout Side by side");
    click(&mut harness, "Delete");
    assert!(harness.state().state().settings.layouts.is_empty());
}

#[test]
fn a_layout_of_planes_brings_its_slab_and_a_series_of_its_kind() {
    let mut harness = open(vec![sample("ct"), sample("dx")], None);
    // Which of the two comes first in the list is not the point.
    let leave = [Key::ArrowLeft, Key::ArrowRight].into_iter().find(|key| {
        harness.key_press(*key);
        harness.run_steps(3);
        modality(&harness) == "DX"
    });
    let leave = leave.expect("the radiograph is listed beside the CT");
    let back = if leave == Key::ArrowLeft { Key::ArrowRight } else { Key::ArrowLeft };
    harness.key_press(back);
    harness.run_steps(3);
    assert_eq!(modality(&harness), "CT");
    harness.key_press(Key::V);
    until(&mut harness, "the volume", |app| app.state().desk.planes().is_some());
    click(&mut harness, "Projection MinIP");
    let slab = planes(&harness).slab;
    click(&mut harness, "Layout");
    keep_layout(&mut harness, "Minimum");
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    click(&mut harness, "Projection MIP");
    harness.key_press(Key::V);
    harness.run_steps(3);
    harness.key_press(leave);
    harness.run_steps(3);
    assert_eq!(modality(&harness), "DX");
    click(&mut harness, "Layout");
    click(&mut harness, "Use layout Minimum");
    until(&mut harness, "the volume", |app| app.state().desk.planes().is_some());
    assert_eq!(modality(&harness), "CT");
    assert_eq!(planes(&harness).slab, slab);
}
