//! Measuring and annotating as a reader does: by pointer and keys, read back by the names that a screen reader hears.

mod support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bifocal_app::app::App;
use bifocal_app::view::ScreenFromImage;
use bifocal_core::annotation::{ShapeKind, Store};
use bifocal_core::dicom::pixels::read_frame;
use bifocal_core::study::Frame;
use eframe::egui::{self, Key, Modifiers, Pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

fn sample(what: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample-data").join(what)
}

fn open(path: PathBuf, settings: Option<PathBuf>) -> Harness<'static, App> {
    let mut harness = Harness::builder()
        .with_size(egui::vec2(1600.0, 1000.0))
        .with_max_steps(64)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, settings, vec![path]));
    let end = Instant::now() + Duration::from_secs(60);
    while !harness.state().first_image_shown() {
        harness.step();
        assert!(Instant::now() < end, "no image within a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
    harness.run_steps(3);
    harness
}

fn drag(harness: &mut Harness<'_, App>, from: Pos2, to: Pos2) {
    harness.hover_at(from);
    harness.run_steps(2);
    harness.drag_at(from);
    harness.step();
    harness.hover_at(from + (to - from) / 2.0);
    harness.step();
    harness.hover_at(to);
    harness.step();
    harness.drop_at(to);
    harness.run_steps(3);
}

fn click(harness: &mut Harness<'_, App>, at: Pos2) {
    harness.hover_at(at);
    harness.run_steps(2);
    harness.drag_at(at);
    harness.step();
    harness.drop_at(at);
    harness.run_steps(3);
}

fn key(harness: &mut Harness<'_, App>, modifiers: Modifiers, key: Key) {
    harness.key_press_modifiers(modifiers, key);
    harness.run_steps(3);
}

fn middle(harness: &Harness<'_, App>) -> Pos2 {
    harness.get_by_label("Local lens").rect().center()
}

/// The frame in view, read again, and the map to the screen.
fn frame_and_map(harness: &Harness<'_, App>) -> (Frame, ScreenFromImage) {
    let reading = harness.state().state().reading.as_ref().expect("a reading");
    let key = reading.key_at(reading.view.position).expect("an image");
    let frame = read_frame(&key.source, key.frame).expect("reads");
    let rect = harness.get_by_label("Local lens").rect();
    let map = ScreenFromImage::new(&reading.view, frame.shape(), &frame.display, rect);
    (frame, map)
}

/// The only row of the list that begins with `start`.
fn row(harness: &Harness<'_, App>, start: &str) -> String {
    let shapes = &harness.state().state().reading.as_ref().expect("a reading").document.session().shapes;
    let label = harness
        .query_all_by_label_contains(start)
        .filter_map(|node| node.accesskit_node().label())
        .find(|label| label.starts_with(start));
    label.unwrap_or_else(|| panic!("no row `{start}` for {shapes:?}"))
}

fn shapes(harness: &Harness<'_, App>) -> usize {
    harness.state().state().reading.as_ref().expect("a reading").document.session().shapes.len()
}

#[test]
fn every_tool_draws_shows_its_value_and_is_undone() {
    let mut harness = open(sample("ct"), None);
    let at = middle(&harness);
    let (_, map) = frame_and_map(&harness);
    let mm = |points: f64| points / map.points_per_mm();
    let none = Modifiers::NONE;

    key(&mut harness, none, Key::D);
    drag(&mut harness, at, at + vec2(60.0, 80.0));
    assert_eq!(row(&harness, "Length: "), format!("Length: {:.1} mm", mm(100.0)));
    key(&mut harness, Modifiers::SHIFT, Key::D);
    drag(&mut harness, at, at + vec2(0.0, 120.0));
    assert_eq!(row(&harness, "Bidirectional: "), format!("Bidirectional: {:.1} × {:.1} mm", mm(120.0), mm(60.0)));
    key(&mut harness, none, Key::A);
    drag(&mut harness, at + vec2(100.0, 0.0), at);
    click(&mut harness, at + vec2(0.0, -90.0));
    assert_eq!(row(&harness, "Angle: "), "Angle: 90.0°");
    key(&mut harness, Modifiers::SHIFT, Key::A);
    drag(&mut harness, at + vec2(-60.0, -100.0), at + vec2(60.0, -100.0));
    drag(&mut harness, at + vec2(-60.0, 60.0), at + vec2(40.0, 160.0));
    assert_eq!(row(&harness, "Cobb angle: "), "Cobb angle: 45.0°");
    let area = |square: f64| {
        if square >= 1000.0 { format!("{:.2} cm²", square / 100.0) } else { format!("{square:.1} mm²") }
    };
    key(&mut harness, none, Key::E);
    drag(&mut harness, at, at + vec2(80.0, 40.0));
    let oval = area(mm(40.0) * mm(20.0) * std::f64::consts::PI);
    let ellipse = row(&harness, "Ellipse: ");
    assert!(ellipse.starts_with(&format!("Ellipse: {oval}, ")) && ellipse.ends_with(" HU"), "{ellipse} {oval}");
    key(&mut harness, Modifiers::SHIFT, Key::E);
    drag(&mut harness, at, at + vec2(-80.0, 40.0));
    let flat = area(mm(80.0) * mm(40.0));
    assert!(row(&harness, "Box: ").starts_with(&format!("Box: {flat}, ")), "{flat}");
    key(&mut harness, none, Key::G);
    for corner in [vec2(0.0, 0.0), vec2(100.0, 0.0), vec2(0.0, 100.0), vec2(0.0, 0.0)] {
        click(&mut harness, at + corner);
    }
    assert!(row(&harness, "Polygon: ").starts_with(&format!("Polygon: {}", area(mm(100.0) * mm(50.0)))));
    key(&mut harness, Modifiers::SHIFT, Key::G);
    harness.hover_at(at + vec2(50.0, 0.0));
    harness.run_steps(2);
    harness.drag_at(at + vec2(50.0, 0.0));
    harness.step();
    for n in 1..90 {
        let turn = std::f32::consts::TAU * n as f32 / 90.0;
        harness.hover_at(at + vec2(50.0 * turn.cos(), 50.0 * turn.sin()));
        harness.step();
    }
    harness.drop_at(at + vec2(50.0, -2.0));
    harness.run_steps(3);
    let round = mm(50.0) * mm(50.0) * std::f64::consts::PI;
    let freehand = row(&harness, "Freehand: ");
    let number: f64 = freehand["Freehand: ".len()..].split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    let number = if freehand.contains("cm²") { number * 100.0 } else { number };
    assert!((number - round).abs() < 0.03 * round, "{freehand}, a circle of {round:.1} mm²");
    key(&mut harness, none, Key::O);
    click(&mut harness, at + vec2(30.0, 30.0));
    assert!(row(&harness, "Point: ").ends_with(" HU"));
    key(&mut harness, none, Key::Q);
    drag(&mut harness, at, at + vec2(60.0, -80.0));
    row(&harness, "Arrow");
    key(&mut harness, none, Key::X);
    click(&mut harness, at + vec2(-120.0, -60.0));
    harness.get_by_label("Text on the image").type_text("old scar");
    harness.run_steps(2);
    key(&mut harness, none, Key::Enter);
    row(&harness, "Text “old scar”");

    assert_eq!(shapes(&harness), ShapeKind::ALL.len());
    for left in (0..ShapeKind::ALL.len()).rev() {
        key(&mut harness, Modifiers::COMMAND, Key::Z);
        assert_eq!(shapes(&harness), left, "each shape is one step");
    }
    for there in 1..=ShapeKind::ALL.len() {
        key(&mut harness, Modifiers::COMMAND, Key::Y);
        assert_eq!(shapes(&harness), there);
    }
}

#[test]
fn a_shape_is_selected_moved_bent_named_hidden_and_deleted() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let settings = folder.path().join("settings.json");
    let mut harness = open(sample("ct"), Some(settings.clone()));
    let at = middle(&harness);
    let (_, map) = frame_and_map(&harness);
    key(&mut harness, Modifiers::NONE, Key::D);
    drag(&mut harness, at, at + vec2(100.0, 0.0));
    // Esc lets the selection go, once more puts the tool away; then any click takes hold of the line.
    key(&mut harness, Modifiers::NONE, Key::Escape);
    key(&mut harness, Modifiers::NONE, Key::Escape);
    let window = harness.state().state().reading.as_ref().expect("a reading").view.window.clone();
    drag(&mut harness, at + vec2(50.0, 0.0), at + vec2(50.0, 40.0));
    drag(&mut harness, at + vec2(100.0, 40.0), at + vec2(200.0, 40.0));
    let twice = 200.0 / map.points_per_mm();
    assert_eq!(row(&harness, "Length: "), format!("Length: {twice:.1} mm"));
    let reading = harness.state().state().reading.as_ref().expect("a reading");
    assert_eq!(reading.view.window, window, "the window was not dragged along");
    let line = reading.document.session().shapes.values().next().cloned().expect("a line");
    let (frame, _) = frame_and_map(&harness);
    let expected = map.image_point(at + vec2(0.0, 40.0));
    let start = line.pixels(&frame.display)[0];
    assert!((start.0 - f64::from(expected.row)).abs() < 0.05 && (start.1 - f64::from(expected.column)).abs() < 0.05);

    harness.get_by_label("Name of the shape").focus();
    harness.run_steps(2);
    harness.get_by_label("Name of the shape").type_text("Nodule 1");
    harness.run_steps(2);
    key(&mut harness, Modifiers::NONE, Key::Enter);
    row(&harness, "Nodule 1: ");
    harness.get_by_label("Line profile");
    harness.get_by_label("Hide Nodule 1").click();
    harness.run_steps(3);
    harness.get_by_label("Show Nodule 1");
    harness.get_by_label("Delete Nodule 1").click();
    harness.run_steps(3);
    assert_eq!(shapes(&harness), 0);
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    row(&harness, "Nodule 1: ");

    // A new start finds it again.
    drop(harness);
    let harness = open(sample("ct"), Some(settings));
    assert_eq!(shapes(&harness), 1);
    row(&harness, "Nodule 1: ");
}

#[test]
fn enter_closes_an_outline_that_has_enough_points() {
    let mut harness = open(sample("ct"), None);
    let at = middle(&harness);
    let (_, map) = frame_and_map(&harness);
    let drafted = |harness: &Harness<'_, App>| harness.state().state().drawing.draft.is_some();
    let told = |harness: &Harness<'_, App>, words: &str| {
        harness.state().state().toasts.iter().any(|toast| toast.text.contains(words))
    };
    for (tool, corners) in [
        ((Modifiers::NONE, Key::G), [vec2(0.0, 0.0), vec2(100.0, 0.0), vec2(0.0, 100.0)]),
        ((Modifiers::SHIFT, Key::L), [vec2(-40.0, -40.0), vec2(60.0, -40.0), vec2(20.0, 60.0)]),
    ] {
        let before = shapes(&harness);
        key(&mut harness, tool.0, tool.1);
        click(&mut harness, at + corners[0]);
        key(&mut harness, Modifiers::NONE, Key::Enter);
        assert!(drafted(&harness) && told(&harness, "needs three points"), "one point is no outline, and not lost");
        click(&mut harness, at + corners[1]);
        click(&mut harness, at + corners[2]);
        assert_eq!(shapes(&harness), before);
        key(&mut harness, Modifiers::NONE, Key::Enter);
        assert_eq!((shapes(&harness), drafted(&harness)), (before + 1, false));
        assert!(!told(&harness, "finding"), "Enter was no comment on a finding");
        key(&mut harness, Modifiers::NONE, Key::Escape);
        key(&mut harness, Modifiers::NONE, Key::Escape);
    }
    let square = 5000.0 / map.points_per_mm().powi(2);
    let area = if square >= 1000.0 { format!("{:.2} cm²", square / 100.0) } else { format!("{square:.1} mm²") };
    assert!(row(&harness, "Polygon: ").starts_with(&format!("Polygon: {area}")));
    for left in [1, 0] {
        key(&mut harness, Modifiers::COMMAND, Key::Z);
        assert_eq!(shapes(&harness), left, "each outline is one step");
    }
}

#[test]
fn escape_lets_go_and_delete_deletes() {
    let mut harness = open(sample("ct"), None);
    let at = middle(&harness);
    key(&mut harness, Modifiers::NONE, Key::G);
    click(&mut harness, at);
    click(&mut harness, at + vec2(50.0, 0.0));
    key(&mut harness, Modifiers::NONE, Key::Escape);
    click(&mut harness, at + vec2(50.0, 50.0));
    key(&mut harness, Modifiers::NONE, Key::Escape);
    assert_eq!(shapes(&harness), 0);
    key(&mut harness, Modifiers::NONE, Key::E);
    drag(&mut harness, at, at + vec2(80.0, 40.0));
    assert_eq!(shapes(&harness), 1);
    harness.get_by_label("Histogram");
    key(&mut harness, Modifiers::NONE, Key::Delete);
    assert_eq!(shapes(&harness), 0);
}

#[test]
fn without_spacing_lengths_are_refused_until_a_line_calibrates() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let picture = folder.path().join("picture.png");
    image::GrayImage::from_fn(400, 300, |x, y| image::Luma([(x + y) as u8])).save(&picture).expect("written");
    let mut harness = open(picture, None);
    let at = middle(&harness);
    key(&mut harness, Modifiers::NONE, Key::D);
    drag(&mut harness, at, at + vec2(100.0, 0.0));
    assert_eq!(row(&harness, "Length: "), "Length: no pixel spacing");
    let toasts = &harness.state().state().toasts;
    assert!(toasts.iter().any(|toast| toast.text.contains("Calibrate by a line")), "{toasts:?}");
    key(&mut harness, Modifiers::NONE, Key::L);
    drag(&mut harness, at + vec2(0.0, 50.0), at + vec2(200.0, 50.0));
    harness.get_by_label("True length of the line").type_text("5 cm");
    harness.run_steps(2);
    key(&mut harness, Modifiers::NONE, Key::Enter);
    assert_eq!(row(&harness, "Length: "), "Length: 25.0 mm calibrated by hand");
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(row(&harness, "Length: "), "Length: no pixel spacing");
}

#[test]
fn a_projection_is_marked() {
    let mut harness = open(sample("dx"), None);
    let at = middle(&harness);
    key(&mut harness, Modifiers::NONE, Key::D);
    drag(&mut harness, at, at + vec2(100.0, 0.0));
    assert!(row(&harness, "Length: ").ends_with(" mm at detector"));
}

#[test]
fn the_brush_paints_a_label_and_is_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(sample("ct"), Some(folder.path().join("settings.json")));
    let at = middle(&harness);
    key(&mut harness, Modifiers::NONE, Key::U);
    // While a drawing tool is in hand digits choose labels.
    key(&mut harness, Modifiers::NONE, Key::Num2);
    drag(&mut harness, at, at + vec2(60.0, 0.0));
    harness.get_by_label("Nodule, painted");
    let painted = |harness: &Harness<'_, App>| {
        let session = harness.state().state().reading.as_ref().expect("a reading").document.session();
        session.masks.values().map(|pixels| pixels.count()).sum::<u64>()
    };
    let all = painted(&harness);
    assert!(all > 0);
    let radius = harness.state().state().drawing.brush.radius;
    key(&mut harness, Modifiers::NONE, Key::OpenBracket);
    assert!(harness.state().state().drawing.brush.radius < radius);
    key(&mut harness, Modifiers::SHIFT, Key::U);
    drag(&mut harness, at + vec2(30.0, -60.0), at + vec2(30.0, 60.0));
    let less = painted(&harness);
    assert!(less < all);
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(painted(&harness), all);
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(painted(&harness), 0);
    key(&mut harness, Modifiers::COMMAND, Key::Y);
    let session = harness.state().state().reading.as_ref().expect("a reading").document.session().clone();
    let sessions = folder.path().join("sessions");
    let store = Store::open(&sessions, &session.series_uid, &session.weights_sha256).expect("opens");
    assert_eq!(store.session(), &session, "on the disk is what is in the window");
    assert!(folder.path().join("labels.json").exists());
}

/// Closed lines of a colour that the last frame drew within `pane`.
fn outlines(harness: &Harness<'_, App>, pane: egui::Rect, color: egui::Color32) -> Vec<egui::Rect> {
    let lines = harness.output().shapes.iter().filter_map(|clipped| match &clipped.shape {
        egui::Shape::Path(path) if path.closed && path.stroke.color == egui::epaint::ColorMode::Solid(color) => {
            Some(path.visual_bounding_rect())
        }
        _ => None,
    });
    lines.filter(|line| pane.contains_rect(*line)).collect()
}

#[test]
fn what_was_painted_on_a_slice_is_shown_on_planes_through_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(sample("ct"), Some(folder.path().join("settings.json")));
    let at = middle(&harness);
    key(&mut harness, Modifiers::NONE, Key::U);
    key(&mut harness, Modifiers::NONE, Key::Num2);
    drag(&mut harness, at, at + vec2(60.0, 0.0));
    key(&mut harness, Modifiers::NONE, Key::Escape);
    let (frame, _) = frame_and_map(&harness);
    let reading = harness.state().state().reading.as_ref().expect("a reading");
    let (mask, pixels) = reading.document.session().masks.iter().next().expect("it is painted");
    let [r, g, b] = harness.state().state().drawing.label_of(&mask.label).expect("a label").rgb();
    let color = egui::Color32::from_rgb(r, g, b);
    let [top, left, bottom, right] = pixels.bounds(frame.shape().1).expect("pixels");
    let (geometry, spacing) = frame.display.geometry.zip(frame.display.spacing).expect("it has a place");
    let middle = geometry.patient_from_pixel((top + bottom) as f64 / 2.0, (left + right) as f64 / 2.0, spacing);

    key(&mut harness, Modifiers::NONE, Key::V);
    support::until(&mut harness, "the volume", |app| app.state().desk.planes().is_some());
    harness.run_steps(4);
    let pane = harness.get_by_label("Plane axial").rect();
    let planes = harness.state().state().desk.planes().expect("planes");
    let nominal = planes.nominal(0);
    let placement = planes.placement(0, &nominal, pane.size());
    let (row, column) = bifocal_app::planes::pixel_of(&nominal, middle);
    let (x, y) = placement.screen_from_image(row, column);
    let place = pane.min + vec2(x as f32, y as f32);
    let points_per_mm = placement.scale();
    let found = outlines(&harness, pane, color);
    let [line] = found[..] else { panic!("one region, but {found:?}") };
    assert!(line.center().distance(place) < 3.0, "{line} is not at {place}");
    let width = (right - left + 1) as f64 * spacing.column_mm * points_per_mm;
    assert!((f64::from(line.width()) - width).abs() < 6.0, "{line} is not {width} wide");

    // Across: as thick as a slice where the coronal plane goes through, nothing where it does not.
    let coronal = harness.get_by_label("Plane coronal").rect();
    let through = (place, place - vec2(0.0, 120.0));
    click(&mut harness, through.0);
    assert_eq!(outlines(&harness, coronal, color).len(), 1);
    click(&mut harness, through.1);
    assert_eq!(outlines(&harness, coronal, color).len(), 0);
    assert_eq!(outlines(&harness, pane, color).len(), 1, "the axial plane has not moved");

    key(&mut harness, Modifiers::NONE, Key::Space);
    assert_eq!(outlines(&harness, pane, color).len(), 0, "hidden with the overlays");
    key(&mut harness, Modifiers::NONE, Key::Space);
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(outlines(&harness, pane, color).len(), 0, "undone");
    key(&mut harness, Modifiers::COMMAND, Key::Y);
    assert_eq!(outlines(&harness, pane, color).len(), 1, "and done again");
}

/// Pixels of all painted regions, and how many regions there are.
fn painted(harness: &Harness<'_, App>) -> (u64, usize) {
    let masks = &harness.state().state().reading.as_ref().expect("a reading").document.session().masks;
    (masks.values().map(|pixels| pixels.count()).sum(), masks.len())
}

#[test]
fn a_region_grows_is_offered_and_taken_or_dropped() {
    let mut harness = open(sample("ct"), None);
    let at = middle(&harness);
    key(&mut harness, Modifiers::SHIFT, Key::W);
    click(&mut harness, at);
    harness.get_by_label("Take");
    harness.get_by_label("Tolerance of growing");
    assert_eq!(painted(&harness), (0, 0));
    key(&mut harness, Modifiers::NONE, Key::Escape);
    assert!(harness.query_by_label("Take").is_none(), "Esc drops it");
    click(&mut harness, at);
    let size = |harness: &Harness<'_, App>| {
        harness.state().state().drawing.proposal.as_ref().map(|offer| offer.masks[0].1.count())
    };
    let before = size(&harness);
    key(&mut harness, Modifiers::NONE, Key::CloseBracket);
    assert!(size(&harness) > before, "] widens the tolerance");
    let offered = size(&harness).expect("an offer");
    key(&mut harness, Modifiers::NONE, Key::Enter);
    assert_eq!(painted(&harness), (offered, 1));
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(painted(&harness), (0, 0));
}

#[test]
fn masks_are_copied_interpolated_combined_filled_and_smoothed_each_in_one_step() {
    let mut harness = open(sample("ct"), None);
    let at = middle(&harness);
    key(&mut harness, Modifiers::NONE, Key::U);
    key(&mut harness, Modifiers::NONE, Key::Num2);
    drag(&mut harness, at, at + vec2(40.0, 0.0));
    let (one, _) = painted(&harness);
    // The same on the next image, which comes into view.
    let position = |harness: &Harness<'_, App>| harness.state().state().reading.as_ref().expect("open").view.position;
    let first = position(&harness);
    key(&mut harness, Modifiers::SHIFT, Key::C);
    assert_eq!((painted(&harness), position(&harness)), ((2 * one, 2), first + 1));
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(painted(&harness), (one, 1));
    // Painted three images on as well: the two between are offered.
    for _ in 0..2 {
        key(&mut harness, Modifiers::NONE, Key::ArrowDown);
    }
    harness.run_steps(10);
    drag(&mut harness, at, at + vec2(40.0, 0.0));
    key(&mut harness, Modifiers::SHIFT, Key::I);
    harness.get_by_label("Take").click();
    harness.run_steps(3);
    assert_eq!(painted(&harness), (4 * one, 4), "between equal regions lies the same");
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(painted(&harness), (2 * one, 2), "all slices are one step");
    // Another label over the right half: cut out, then taken back.
    key(&mut harness, Modifiers::NONE, Key::Num3);
    drag(&mut harness, at + vec2(40.0, 0.0), at + vec2(60.0, 0.0));
    let (all, _) = painted(&harness);
    key(&mut harness, Modifiers::NONE, Key::Num2);
    harness.get_by_label("Combine masks");
    for combination in [Key::X, Key::B, Key::O] {
        key(&mut harness, Modifiers::SHIFT, combination);
        assert_ne!(painted(&harness).0, all, "{combination:?}");
        key(&mut harness, Modifiers::COMMAND, Key::Z);
        assert_eq!(painted(&harness), (all, 3), "{combination:?}");
    }
    // A hole, filled; a rim, smoothed.
    for _ in 0..6 {
        key(&mut harness, Modifiers::NONE, Key::OpenBracket);
    }
    key(&mut harness, Modifiers::SHIFT, Key::U);
    drag(&mut harness, at + vec2(10.0, 0.0), at + vec2(10.0, 0.0));
    let (holed, _) = painted(&harness);
    assert!(holed < all);
    harness.get_by_label("Fill holes of the mask").click();
    harness.run_steps(3);
    assert_eq!(painted(&harness).0, all);
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(painted(&harness).0, holed);
    key(&mut harness, Modifiers::SHIFT, Key::M);
    assert_ne!(painted(&harness).0, holed);
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(painted(&harness).0, holed);
}

#[test]
fn a_click_becomes_a_mask_of_the_tissue_and_is_taken_or_dropped() {
    let mut harness = open(sample("dx"), None);
    let at = middle(&harness);
    key(&mut harness, Modifiers::SHIFT, Key::S);
    // Features of the image are computed once, in the background; then the mask is there.
    let offered = |harness: &mut Harness<'_, App>, other_than: Option<u64>| {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            harness.step();
            let offer = harness.state().state().drawing.proposal.as_ref().map(|offer| offer.masks[0].1.count());
            if let Some(offer) = offer.filter(|offer| Some(*offer) != other_than) {
                return offer;
            }
            assert!(Instant::now() < end, "no mask within a minute");
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    click(&mut harness, at + vec2(-90.0, -60.0));
    let one = offered(&mut harness, None);
    assert!(one > 0);
    click(&mut harness, at + vec2(90.0, -60.0));
    let two = offered(&mut harness, Some(one));
    assert!(two > one, "a second click adds: {one} {two}");
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(offered(&mut harness, Some(two)), one, "and is taken back");
    harness.get_by_label("Take").click();
    harness.run_steps(3);
    assert_eq!(painted(&harness), (one, 1));
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(painted(&harness), (0, 0));
    click(&mut harness, at);
    offered(&mut harness, None);
    key(&mut harness, Modifiers::NONE, Key::Escape);
    assert!(harness.query_by_label("Take").is_none());
    assert_eq!(painted(&harness), (0, 0));
}
