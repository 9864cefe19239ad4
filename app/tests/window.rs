//! The window as a reader uses it, driven by the names that a screen reader hears.

mod support;

use std::path::{Path, PathBuf};

use bifocal_app::app::App;
use bifocal_app::header::Content;
use bifocal_app::state::{LensLayout, Screen};
use bifocal_app::view::WindowChoice;
use bifocal_core::dicom::{CtSlice, DataSetBuilder, ImageContext, tags, write_ct};
use bifocal_core::study::PlaneGeometry;
use eframe::egui::{self, Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use support::until;

/// Pictures of a bright square, so that there is something to window.
fn pictures(folder: &Path, names: &[&str]) {
    for name in names {
        let picture = image::GrayImage::from_fn(64, 48, |x, y| {
            image::Luma([if x.abs_diff(32) + y.abs_diff(24) < 16 { 200 } else { 40 }])
        });
        picture.save(folder.join(name)).expect("a picture can be written");
    }
}

fn open(paths: Vec<PathBuf>, settings: Option<PathBuf>) -> Harness<'static, App> {
    Harness::builder()
        .with_size(egui::vec2(1400.0, 900.0))
        .with_max_steps(64)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, settings, paths))
}

fn reading(folder: &Path) -> Harness<'static, App> {
    let mut harness = open(vec![folder.to_path_buf()], None);
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    harness
}

#[test]
fn the_start_screen_offers_three_ways_in() {
    let harness = open(Vec::new(), None);
    for name in ["Open folder", "Open files", "Sample study", "Path of a file or folder"] {
        harness.get_by_label(name);
    }
}

#[test]
fn threads_are_chosen_among_those_of_the_machine() {
    let cores = bifocal_app::settings::cores();
    let mut harness = open(Vec::new(), None);
    let threads = |harness: &Harness<'_, App>| harness.state().state().settings.threads;
    assert_eq!(threads(&harness), 0, "automatic");
    harness.get_by_label("Preferences").click();
    harness.run_steps(3);
    // One click more than there are cores: the last one finds the button disabled.
    for click in 1..=cores + 1 {
        harness.get_by_label("More threads").click();
        harness.run_steps(3);
        assert_eq!(threads(&harness), click.min(cores));
    }
    for _ in 0..=cores {
        harness.get_by_label("Fewer threads").click();
        harness.run_steps(3);
    }
    assert_eq!(threads(&harness), 0);
}

#[test]
fn a_typed_path_opens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["one.png"]);
    let mut harness = open(Vec::new(), None);
    let path = folder.path().display().to_string();
    harness.get_by_label("Path of a file or folder").focus();
    harness.step();
    harness.get_by_label("Path of a file or folder").type_text(&path);
    harness.step();
    harness.step();
    harness.get_by_label("Open").click();
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    assert_eq!(harness.state().state().screen, Screen::Reading);
    assert_eq!(harness.state().state().library.studies.len(), 1);
    harness.get_by_label("Local lens");
    harness.get_by_label("Global lens");
}

#[test]
fn a_missing_path_says_so_and_nothing_else_happens() {
    let mut harness = open(Vec::new(), None);
    harness.get_by_label("Path of a file or folder").focus();
    harness.step();
    harness.get_by_label("Path of a file or folder").type_text("/no/such/place");
    harness.step();
    harness.step();
    harness.get_by_label("Open").click();
    until(&mut harness, "the message", |app| !app.state().toasts.is_empty());
    assert!(harness.state().state().toasts[0].text.contains("/no/such/place"));
    assert_eq!(harness.state().state().screen, Screen::Start);
    harness.get_by_label("Dismiss").click();
    until(&mut harness, "dismissal", |app| app.state().toasts.is_empty());
}

#[test]
fn a_folder_without_images_shows_what_was_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("broken.png"), b"\x89PNG\r\n\x1a\nnothing").expect("a file can be written");
    let mut harness = open(vec![folder.path().to_path_buf()], None);
    until(&mut harness, "indexing", |app| !app.state().library.problems.is_empty());
    assert!(harness.state().state().reading.is_none());
    harness.get_by_label("1 problem");
    assert!(harness.query_all_by_label_contains("broken.png").count() > 0);
}

#[test]
fn keys_and_buttons_change_the_view() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["one.png"]);
    let mut harness = reading(folder.path());
    let view = |harness: &Harness<'_, App>| harness.state().state().reading.as_ref().expect("a reading").view.clone();

    harness.key_press(Key::Num0);
    harness.step();
    harness.step();
    assert_eq!(view(&harness).window, WindowChoice::Auto);

    harness.get_by_label("Invert").click();
    harness.step();
    harness.step();
    assert!(view(&harness).inverted);

    harness.key_press(Key::R);
    harness.step();
    harness.step();
    assert_eq!(view(&harness).transform.quarter_turns, 1);

    harness.key_press(Key::Escape);
    harness.step();
    harness.step();
    assert_eq!(view(&harness).transform.quarter_turns, 0);
    assert!(!view(&harness).inverted);

    // A picture has no unit that a preset could be for.
    harness.key_press(Key::Num7);
    harness.step();
    harness.step();
    assert_eq!(view(&harness).window, WindowChoice::FromFile);
    assert!(harness.state().state().toasts.iter().any(|toast| toast.text.contains("presets")));
}

#[test]
fn series_follow_each_other_and_one_lens_fills_the_window() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["a.png", "b.png"]);
    let mut harness = reading(folder.path());
    let shown = |harness: &Harness<'_, App>| {
        let reading = harness.state().state().reading.as_ref().expect("a reading");
        reading.key_at(0).expect("an image").source
    };
    let first = shown(&harness);
    harness.key_press(Key::ArrowRight);
    harness.step();
    harness.step();
    assert_ne!(shown(&harness), first);
    harness.key_press(Key::ArrowLeft);
    harness.step();
    harness.step();
    assert_eq!(shown(&harness), first);

    harness.get_by_label("One viewport or all").click();
    harness.step();
    harness.step();
    let layout = harness.state().state().reading.as_ref().expect("a reading").layout;
    assert!(matches!(layout, LensLayout::Only(_)));
    assert!(harness.query_by_label("Global lens").is_none());
}

#[test]
fn letters_typed_into_the_search_are_no_keys_of_the_viewport() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["heart.png", "lung.png"]);
    let mut harness = reading(folder.path());
    harness.key_press_modifiers(Modifiers::COMMAND, Key::F);
    harness.step();
    harness.step();
    harness.step();
    harness.get_by_label("Search studies").type_text("lung");
    harness.step();
    harness.step();
    assert_eq!(harness.state().state().browser.search, "lung");
    let view = &harness.state().state().reading.as_ref().expect("a reading").view;
    assert_eq!(view.transform.quarter_turns, 0);
}

#[test]
fn the_search_narrows_the_list() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["heart.png", "lung.png", "lung-again.png"]);
    let mut harness = reading(folder.path());
    let rows = |harness: &Harness<'_, App>| harness.query_all_by_label_contains("Series ").count();
    assert_eq!(rows(&harness), 3);
    harness.get_by_label("Search studies").focus();
    harness.run_steps(2);
    harness.get_by_label("Search studies").type_text("Lung");
    harness.run_steps(4);
    assert_eq!(rows(&harness), 2);
    assert!(harness.query_by_label("Series heart.png").is_none());
    harness.get_by_label("Search studies").type_text(" again");
    harness.run_steps(4);
    assert_eq!(rows(&harness), 1);
    harness.get_by_label("Search studies").type_text(" knee");
    harness.run_steps(4);
    assert_eq!(rows(&harness), 0);
    harness.get_by_label("No study matches");
    // Esc empties the field, and everything is back.
    harness.key_press(Key::Escape);
    harness.run_steps(4);
    assert_eq!(harness.state().state().browser.search, "");
    assert_eq!(rows(&harness), 3);
}

#[test]
fn series_are_stepped_through_as_they_are_listed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["a-heart.png", "b-lung.png", "c-heart.png"]);
    let mut harness = reading(folder.path());
    let shown = |harness: &Harness<'_, App>| {
        let reading = harness.state().state().reading.as_ref().expect("a reading");
        reading.series().expect("a series").description.clone()
    };
    assert_eq!(shown(&harness), "a-heart.png");
    harness.get_by_label("Search studies").focus();
    harness.run_steps(2);
    harness.get_by_label("Search studies").type_text("heart");
    harness.run_steps(3);
    harness.get_by_label("Local lens").focus();
    harness.run_steps(2);
    harness.key_press(Key::ArrowRight);
    harness.run_steps(3);
    assert_eq!(shown(&harness), "c-heart.png", "the one that is not listed is passed over");
}

#[test]
fn the_start_screen_lets_no_key_through_to_the_lenses() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["one.png"]);
    let mut harness = reading(folder.path());
    let view = |harness: &Harness<'_, App>| harness.state().state().reading.as_ref().expect("a reading").view.clone();
    harness.key_press(Key::R);
    harness.run_steps(2);
    let before = view(&harness);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Home);
    harness.run_steps(2);
    assert_eq!(harness.state().state().screen, Screen::Start);
    for key in [Key::I, Key::R, Key::Escape, Key::Num7] {
        harness.key_press(key);
        harness.run_steps(2);
    }
    assert_eq!(view(&harness), before);
}

#[test]
fn key_images_are_undone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["one.png"]);
    let mut harness = reading(folder.path());
    let is_key =
        |harness: &Harness<'_, App>| harness.state().state().reading.as_ref().is_some_and(|r| r.is_key_image());
    harness.key_press(Key::K);
    harness.step();
    harness.step();
    assert!(is_key(&harness));
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    harness.step();
    harness.step();
    assert!(!is_key(&harness));
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Y);
    harness.step();
    harness.step();
    assert!(is_key(&harness));
}

#[test]
fn the_map_of_keys_opens_and_closes() {
    let mut harness = open(Vec::new(), None);
    harness.key_press(Key::Questionmark);
    harness.run_steps(3);
    harness.get_by_label("Keys and mouse");
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    assert!(harness.query_by_label("Keys and mouse").is_none());
}

#[test]
fn what_was_opened_is_remembered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["one.png"]);
    let settings = folder.path().join("home/settings.json");
    {
        let mut harness = open(vec![folder.path().join("one.png")], Some(settings.clone()));
        until(&mut harness, "opening", |app| app.state().reading.is_some());
        until(&mut harness, "saving", |_| settings.exists());
    }
    let harness = open(Vec::new(), Some(settings));
    assert_eq!(harness.state().state().settings.recents.len(), 1);
    assert_eq!(harness.query_all_by_label_contains("Recent: ").count(), 1);
}

#[test]
fn the_wheel_zooms_a_single_image_once_and_the_other_lens_follows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["one.png"]);
    let mut harness = reading(folder.path());
    until(&mut harness, "decoding", |app| app.first_image_shown());
    let at = harness.get_by_label("Local lens").rect().center();
    harness.hover_at(at);
    harness.run_steps(2);
    let turn = egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Line,
        delta: egui::vec2(0.0, 1.0),
        phase: egui::TouchPhase::Move,
        modifiers: Modifiers::NONE,
        source: egui::MouseWheelSource::Wheel,
    };
    harness.event(turn);
    harness.run_steps(3);
    let reading = harness.state().state().reading.as_ref().expect("a reading");
    assert!((reading.view.transform.zoom - 0.12_f64.exp()).abs() < 1e-3, "{}", reading.view.transform.zoom);
    assert!(reading.hover.is_some_and(|(lens, _)| lens == bifocal_app::state::Lens::Local));
}

#[test]
fn dragging_changes_the_window() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["one.png"]);
    let mut harness = reading(folder.path());
    until(&mut harness, "decoding", |app| app.first_image_shown());
    let at = harness.get_by_label("Global lens").rect().center();
    harness.drag_at(at);
    harness.run_steps(2);
    harness.hover_at(at + egui::vec2(40.0, 0.0));
    harness.run_steps(2);
    harness.drop_at(at + egui::vec2(40.0, 0.0));
    harness.run_steps(2);
    let reading = harness.state().state().reading.as_ref().expect("a reading");
    assert!(matches!(reading.view.window, WindowChoice::Fixed(_)), "{:?}", reading.view.window);
    assert_eq!(reading.active, bifocal_app::state::Lens::Global);
}

#[test]
fn escape_closes_a_menu_before_it_resets_the_view() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pictures(folder.path(), &["one.png"]);
    let mut harness = reading(folder.path());
    harness.key_press(Key::R);
    harness.run_steps(2);
    harness.get_by_label("Window preset").click();
    harness.run_steps(3);
    harness.get_by_label_contains("First of the file");
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    assert!(harness.query_by_label_contains("First of the file").is_none());
    let turns = |h: &Harness<'_, App>| h.state().state().reading.as_ref().map(|r| r.view.transform.quarter_turns);
    assert_eq!(turns(&harness), Some(1));
    harness.key_press(Key::Escape);
    harness.run_steps(2);
    assert_eq!(turns(&harness), Some(0));
}

#[test]
fn an_empty_folder_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(vec![folder.path().to_path_buf()], None);
    until(&mut harness, "the message", |app| !app.state().toasts.is_empty());
    assert!(harness.state().state().toasts[0].text.contains("no files"));
    harness.get_by_label("No image to show");
}

/// A CT slice, and a structured report that refers to it.
fn report_beside_an_image(folder: &Path) {
    let hu = ndarray::Array2::from_shape_fn((32, 32), |(r, c)| (r * c) as i16);
    let context = ImageContext {
        patient_name: "Doe^Jane".into(),
        study_uid: "1.2.1".into(),
        series_uid: "1.2.1.1".into(),
        series_description: "Thorax".into(),
        ..ImageContext::default()
    };
    let slice = CtSlice {
        sop_instance_uid: "1.2.1.1.1".into(),
        number: 1,
        hu: hu.view(),
        geometry: PlaneGeometry {
            position: [0.0; 3],
            row_direction: [1.0, 0.0, 0.0],
            column_direction: [0.0, 1.0, 0.0],
        },
        spacing_mm: [1.0, 1.0],
        thickness_mm: 1.0,
        field_mm: 32.0,
        frame_of_reference_uid: "1.2.9".into(),
        kvp: 120.0,
        patient_position: "HFS".into(),
        contrast: String::new(),
        windows: Vec::new(),
    };
    write_ct(&folder.join("ct.dcm"), &context, &slice).expect("written");
    let mut text = DataSetBuilder::item();
    text.text(tags::VALUE_TYPE, "TEXT").text(tags::TEXT_VALUE, "Nothing suspicious");
    let mut reference = DataSetBuilder::item();
    reference.text(tags::REFERENCED_SOP_INSTANCE_UID, "1.2.1.1.1");
    let mut report = DataSetBuilder::new("1.2.840.10008.5.1.4.1.1.88.11", "1.2.1.2.1");
    report.text(tags::PATIENT_NAME, "Doe^Jane").text(tags::STUDY_INSTANCE_UID, "1.2.1");
    report.text(tags::SERIES_INSTANCE_UID, "1.2.1.2").text(tags::MODALITY, "SR");
    report.text(tags::SERIES_DESCRIPTION, "Findings").text(tags::VALUE_TYPE, "CONTAINER");
    report.sequence(tags::CONTENT_SEQUENCE, vec![text]);
    report.sequence(tags::REFERENCED_IMAGE_SEQUENCE, vec![reference]);
    report.save(&folder.join("sr.dcm")).expect("written");
}

#[test]
fn a_report_is_read_and_leads_to_its_image_and_all_tags_are_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    report_beside_an_image(folder.path());
    let mut harness = reading(folder.path());
    harness.get_by_label("Series Findings").click();
    let ready = |app: &App| matches!(app.state().header.as_ref().map(|h| &h.content), Some(Content::Ready(_)));
    until(&mut harness, "the report", ready);
    harness.run_steps(2);
    harness.get_by_label("Nothing suspicious");
    harness.get_by_label_contains("1 instance named, 1 open");
    harness.get_by_label_contains("Open Thorax").click();
    until(&mut harness, "its image", |app| app.state().header.is_none());
    assert!(harness.state().state().reading.is_some());

    harness.key_press_modifiers(Modifiers::COMMAND, Key::I);
    until(&mut harness, "the tags", ready);
    harness.run_steps(2);
    harness.get_by_label("(0010,0010) PatientName: Doe^Jane");
    harness.get_by_label("Search tags").type_text("kvp");
    harness.run_steps(3);
    assert!(harness.query_by_label_contains("PatientName").is_none());
    harness.get_by_label_contains("KVP: 120");
    harness.get_by_label("Close").click();
    until(&mut harness, "closing", |app| app.state().header.is_none());
}
