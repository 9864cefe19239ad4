//! Keys are changed in the window as a reader does it, and remembered.

mod support;

use std::path::{Path, PathBuf};

use bifocal_app::app::App;
use bifocal_app::keymap::Action;
use bifocal_app::settings::Settings;
use eframe::egui::{self, Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use support::until;

/// A window that is opening a picture.
fn start(folder: &Path, settings: Option<PathBuf>) -> Harness<'static, App> {
    let picture = folder.join("picture.png");
    image::GrayImage::from_fn(64, 48, |x, _| image::Luma([x as u8])).save(&picture).expect("written");
    Harness::builder()
        .with_size(egui::vec2(1400.0, 900.0))
        .with_max_steps(64)
        // Messages last for seconds.
        .with_step_dt(1.0 / 60.0)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, settings, vec![picture]))
}

/// A window on a picture.
fn open(folder: &Path, settings: Option<PathBuf>) -> Harness<'static, App> {
    let mut harness = start(folder, settings);
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    harness
}

fn key(harness: &mut Harness<'_, App>, modifiers: Modifiers, key: Key) {
    harness.key_press_modifiers(modifiers, key);
    harness.run_steps(3);
}

fn click(harness: &mut Harness<'_, App>, name: &str) {
    // Also where it must be scrolled to.
    harness.get_by_label(name).click_accesskit();
    harness.run_steps(3);
}

fn inverted(harness: &Harness<'_, App>) -> bool {
    harness.state().state().reading.as_ref().expect("a reading").view.inverted
}

fn turns(harness: &Harness<'_, App>) -> u8 {
    harness.state().state().reading.as_ref().expect("a reading").view.transform.quarter_turns
}

#[test]
fn a_key_is_changed_shown_everywhere_and_remembered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("home/settings.json");
    let mut harness = open(folder.path(), Some(path.clone()));
    key(&mut harness, Modifiers::NONE, Key::Questionmark);
    click(&mut harness, "Key of Invert: I");
    // Modifiers alone are no key; the chord is.
    key(&mut harness, Modifiers::SHIFT, Key::ShiftLeft);
    assert!(harness.query_all_by_label_contains("Press the new key of").count() > 0);
    key(&mut harness, Modifiers::ALT, Key::N);
    harness.get_by_label("Key of Invert: Alt+N");
    assert!(!inverted(&harness), "the key was given, not used");
    key(&mut harness, Modifiers::NONE, Key::Escape);
    assert!(harness.query_by_label("Key of Invert: Alt+N").is_none(), "closed");
    key(&mut harness, Modifiers::NONE, Key::I);
    assert!(!inverted(&harness));
    key(&mut harness, Modifiers::ALT, Key::N);
    assert!(inverted(&harness));
    harness.get_by_label("Invert").hover();
    harness.run_steps(90);
    harness.get_by_label("Invert  (Alt+N)");

    until(&mut harness, "saving", |_| std::fs::read_to_string(&path).is_ok_and(|text| text.contains("Alt+N")));
    let stored: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("readable")).expect("JSON");
    assert_eq!(stored["keys"], serde_json::json!({ "Invert": ["Alt+N"] }), "only what differs");
    drop(harness);
    let mut harness = open(folder.path(), Some(path));
    key(&mut harness, Modifiers::ALT, Key::N);
    assert!(inverted(&harness));
}

#[test]
fn a_clash_is_told_and_resolved_by_the_readers_choice() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), None);
    key(&mut harness, Modifiers::NONE, Key::Questionmark);
    click(&mut harness, "Key of Invert: I");
    key(&mut harness, Modifiers::NONE, Key::R);
    assert!(harness.query_all_by_label_contains("R is the key of “Rotate a quarter”").count() > 0);
    click(&mut harness, "Leave it");
    harness.get_by_label("Key of Invert: I");
    harness.get_by_label("Key of Rotate a quarter: R");
    click(&mut harness, "Key of Invert: I");
    key(&mut harness, Modifiers::NONE, Key::R);
    // The answer has the keyboard.
    key(&mut harness, Modifiers::NONE, Key::Enter);
    harness.get_by_label("Key of Invert: R");
    harness.get_by_label("Key of Rotate a quarter: none");
    key(&mut harness, Modifiers::NONE, Key::R);
    assert!(inverted(&harness) && turns(&harness) == 0, "the other command has no key now");

    // Its own key again takes it back from the other, after a question.
    key(&mut harness, Modifiers::NONE, Key::Questionmark);
    click(&mut harness, "Reset the key of Rotate a quarter");
    assert!(harness.query_all_by_label_contains("R is the key of “Invert”").count() > 0);
    click(&mut harness, "Take it over");
    harness.get_by_label("Key of Rotate a quarter: R");
    harness.get_by_label("Key of Invert: none");
    click(&mut harness, "Reset all keys");
    click(&mut harness, "Leave it");
    harness.get_by_label("Key of Invert: none");
    click(&mut harness, "Reset all keys");
    click(&mut harness, "Reset all");
    harness.get_by_label("Key of Invert: I");
    assert!(!harness.state().state().settings.keys.any_changed());
}

#[test]
fn escape_leaves_a_key_as_it_is_and_some_keys_cannot_be_had() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), None);
    key(&mut harness, Modifiers::NONE, Key::Questionmark);
    click(&mut harness, "Key of Play as cine: C");
    key(&mut harness, Modifiers::COMMAND, Key::Plus);
    assert!(harness.query_all_by_label_contains("scales the window").count() > 0);
    assert_eq!(harness.state().state().settings.ui_scale, 1.0);
    key(&mut harness, Modifiers::NONE, Key::Escape);
    harness.get_by_label("Key of Play as cine: C");
    click(&mut harness, "Key of Play as cine: C");
    click(&mut harness, "No key");
    harness.get_by_label("Key of Play as cine: none");
    // Esc itself always leads out: it is no button.
    assert!(harness.query_all_by_label_contains("Key of Leave").next().is_none());
    key(&mut harness, Modifiers::NONE, Key::Escape);
    assert!(harness.state().state().keys.is_none());
}

#[test]
fn the_search_finds_commands_by_words_and_by_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), None);
    key(&mut harness, Modifiers::NONE, Key::Questionmark);
    let listed = |harness: &Harness<'_, App>| harness.query_all_by_label_contains("Key of ").count();
    let all = listed(&harness);
    assert!(all > 80, "{all}");
    harness.get_by_label("Search commands and keys").focus();
    harness.run_steps(2);
    harness.get_by_label("Search commands and keys").type_text("flip top");
    harness.run_steps(3);
    assert_eq!(listed(&harness), 1);
    harness.get_by_label("Key of Flip top and bottom: Shift+F");
    assert_eq!(turns(&harness), 0, "letters of the search are no keys");
}

#[test]
fn digits_choose_labels_while_drawing_also_where_they_are_no_window() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), None);
    let label = |harness: &Harness<'_, App>| harness.state().state().drawing.label.clone();
    key(&mut harness, Modifiers::NONE, Key::Num8);
    assert_eq!(label(&harness), None, "no tool in hand");
    key(&mut harness, Modifiers::NONE, Key::U);
    key(&mut harness, Modifiers::NONE, Key::Num8);
    assert_eq!(label(&harness).as_deref(), Some("lymph_node"));
    key(&mut harness, Modifiers::NONE, Key::Num0);
    assert_eq!(label(&harness), None);
}

#[test]
fn a_broken_file_of_settings_starts_all_the_same_and_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("settings.json");
    let text = r#"{"dark": false, "keys": {"Dance": ["D"], "Cine": ["Nonsense+Q"], "KeyImage": ["Alt+K"]}}"#;
    std::fs::write(&path, text).expect("written");
    let mut harness = start(folder.path(), Some(path.clone()));
    let toasts = &harness.state().state().toasts;
    assert!(toasts.iter().any(|toast| toast.text.contains("Cine, Dance")), "{toasts:?}");
    until(&mut harness, "opening", |app| app.state().reading.is_some());
    let settings = &harness.state().state().settings;
    assert!(!settings.dark && settings.keys.text(Action::KeyImage) == "Alt+K");
    assert_eq!(settings.keys.text(Action::Cine), "C");
    key(&mut harness, Modifiers::ALT, Key::K);
    assert_eq!(
        harness.state().state().reading.as_ref().expect("a reading").document.session().key_images.len(),
        1,
        "what can be used is used"
    );
    std::fs::write(&path, r#"{"keys": [1, 2]}"#).expect("written");
    assert_eq!(Settings::load(&path).keys.text(Action::Invert), "I");
}
