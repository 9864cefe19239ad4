//! Labels are made, changed and deleted in the window, and found again by the next start.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bifocal_app::app::App;
use bifocal_app::settings::Settings;
use bifocal_app::work::Work;
use bifocal_core::annotation::{Session, Taxonomy};
use bifocal_core::project::Project;
use eframe::egui::{self, Key, Modifiers, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use support::until;

/// A window on a picture; settings and labels lie in `home`.
fn open(folder: &Path, name: &str) -> Harness<'static, App> {
    let picture = folder.join(name);
    image::GrayImage::from_fn(200, 160, |x, _| image::Luma([x as u8])).save(&picture).expect("written");
    let settings: PathBuf = folder.join("home/settings.json");
    let mut harness = Harness::builder()
        .with_size(egui::vec2(1400.0, 900.0))
        .with_max_steps(64)
        .build_eframe(move |creation| App::new(&creation.egui_ctx, Some(settings), vec![picture]));
    until(&mut harness, "an image", App::first_image_shown);
    harness
}

/// A window on a reader's work in the project of `folder`.
fn open_project(folder: &Path, reader: &str) -> Harness<'static, App> {
    let project = Project::open(&folder.join("project")).expect("a project");
    let work = Work::new(project, reader).expect("a reader");
    let settings = folder.join("home/settings.json");
    let mut harness =
        Harness::builder().with_size(egui::vec2(1400.0, 900.0)).with_max_steps(64).build_eframe(move |creation| {
            let mut app = App::new(&creation.egui_ctx, Some(settings), Vec::new());
            app.take_up(work);
            app
        });
    until(&mut harness, "an image", App::first_image_shown);
    harness
}

fn key(harness: &mut Harness<'_, App>, modifiers: Modifiers, key: Key) {
    harness.key_press_modifiers(modifiers, key);
    harness.run_steps(3);
}

fn click(harness: &mut Harness<'_, App>, name: &str) {
    harness.get_by_label(name).click();
    harness.run_steps(4);
}

fn type_into(harness: &mut Harness<'_, App>, name: &str, text: &str) {
    harness.get_by_label(name).focus();
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.run_steps(2);
    harness.get_by_label(name).type_text(text);
    harness.run_steps(3);
}

/// A file that is dropped into the window.
#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

/// Opens the editor as a reader does, and waits until it knows where labels are in use.
fn edit_labels(harness: &mut Harness<'_, App>) {
    click(harness, "Label of new shapes");
    click(harness, "Edit labels…");
    let known = |app: &App| app.state().labels.as_ref().is_some_and(|editor| editor.elsewhere.is_some());
    until(harness, "looking for labels in use", known);
}

/// Draws a line with the label of a digit.
fn draw(harness: &mut Harness<'_, App>, digit: Key) {
    let at = harness.get_by_label("Local lens").rect().center();
    key(harness, Modifiers::NONE, Key::D);
    key(harness, Modifiers::NONE, digit);
    harness.hover_at(at);
    harness.run_steps(2);
    harness.drag_at(at);
    harness.step();
    harness.hover_at(at + vec2(60.0, 0.0));
    harness.step();
    harness.drop_at(at + vec2(60.0, 0.0));
    harness.run_steps(3);
    key(harness, Modifiers::NONE, Key::Escape);
    key(harness, Modifiers::NONE, Key::Escape);
}

fn session<'a>(harness: &'a Harness<'_, App>) -> &'a Session {
    harness.state().state().reading.as_ref().expect("a reading").document.session()
}

fn on_disk(folder: &Path, file: &str) -> Taxonomy {
    let text = std::fs::read_to_string(folder.join("home").join(file)).expect("readable");
    Taxonomy::parse(&text).expect("sound")
}

#[test]
fn a_label_is_added_named_coded_and_found_by_the_next_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), "a.png");
    edit_labels(&mut harness);
    click(&mut harness, "Add a label");
    // The new label's name has the keyboard.
    type_into(&mut harness, "Name of label 10", "Cyst");
    type_into(&mut harness, "Scheme of Cyst", "SCT");
    type_into(&mut harness, "Code of Cyst", "441457006");
    click(&mut harness, "Save");
    assert!(
        harness.query_all_by_label_contains("needs scheme, code and meaning").count() > 0,
        "half a concept is none"
    );
    type_into(&mut harness, "Meaning of Cyst", "Cyst");
    type_into(&mut harness, "Name of label 2", "Knoten");
    click(&mut harness, "Colour of Knoten");
    type_into(&mut harness, "Colour of Knoten as #rrggbb", "#12345");
    click(&mut harness, "Save");
    assert!(harness.query_all_by_label_contains("is no colour").count() > 0);
    click(&mut harness, "Colour of Knoten");
    click(&mut harness, "#ffbcbc");
    // Digits that are taken are not offered: one is given up first.
    click(&mut harness, "Digit of Lesion");
    click(&mut harness, "none");
    click(&mut harness, "Digit of Cyst");
    click(&mut harness, "1");
    assert_eq!(on_disk(folder.path(), "labels.json"), Taxonomy::default(), "nothing is kept before it is saved");
    click(&mut harness, "Save");
    assert!(harness.state().state().labels.is_none());
    let kept = on_disk(folder.path(), "labels.json");
    let cyst = kept.label("cyst").expect("added");
    let concept = cyst.concept.as_ref().expect("coded");
    assert_eq!((cyst.digit, concept.value.as_str(), concept.meaning.as_str()), (Some(1), "441457006", "Cyst"));
    assert_eq!(kept.label("nodule").map(|label| label.name.as_str()), Some("Knoten"), "the key stays");
    assert_eq!(kept.label("nodule").map(|label| label.color.as_str()), Some("#ffbcbc"));
    assert_eq!(kept.label("lesion").and_then(|label| label.digit), None);
    drop(harness);
    let mut harness = open(folder.path(), "a.png");
    draw(&mut harness, Key::Num1);
    assert_eq!(session(&harness).label_counts().into_keys().collect::<Vec<_>>(), ["cyst"]);
    assert!(harness.query_all_by_label_contains("Cyst").count() > 0);
}

#[test]
fn a_label_in_use_is_replaced_in_one_step_or_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), "a.png");
    draw(&mut harness, Key::Num3);
    drop(harness);
    let mut harness = open(folder.path(), "b.png");
    draw(&mut harness, Key::Num2);
    let before = session(&harness).clone();
    edit_labels(&mut harness);
    // In use in the other series: refused.
    click(&mut harness, "Delete label Mass");
    assert!(harness.query_all_by_label_contains("“Mass” is in use in 1 other reading").count() > 0);
    harness.get_by_label("Colour of Mass");
    // In no use: gone at once; in use here: replaced.
    click(&mut harness, "Delete label Fracture");
    assert!(harness.query_by_label("Colour of Fracture").is_none());
    click(&mut harness, "Delete label Nodule");
    assert!(harness.query_all_by_label_contains("“Nodule” is on 1 annotation of this series").count() > 0);
    click(&mut harness, "Label in its place");
    click(&mut harness, "Lesion");
    assert!(harness.query_by_label("Colour of Nodule").is_none());
    assert_eq!(session(&harness), &before, "nothing happens before it is saved");
    click(&mut harness, "Save");
    assert_eq!(session(&harness).label_counts().into_keys().collect::<Vec<_>>(), ["lesion"]);
    assert_eq!(on_disk(folder.path(), "labels.json").labels.len(), 7);
    key(&mut harness, Modifiers::COMMAND, Key::Z);
    assert_eq!(session(&harness), &before, "one step of undo");
}

#[test]
fn changes_are_dropped_only_after_a_question() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), "a.png");
    edit_labels(&mut harness);
    type_into(&mut harness, "Name of label 1", "Anything");
    key(&mut harness, Modifiers::NONE, Key::Escape);
    key(&mut harness, Modifiers::NONE, Key::Escape);
    if harness.query_by_label("Discard them").is_none() {
        key(&mut harness, Modifiers::NONE, Key::Escape);
    }
    click(&mut harness, "Discard them");
    assert!(harness.state().state().labels.is_none());
    assert_eq!(harness.state().state().drawing.taxonomy, Taxonomy::default());
    // Keys of the reading screen do nothing behind the editor.
    edit_labels(&mut harness);
    key(&mut harness, Modifiers::NONE, Key::I);
    assert!(!harness.state().state().reading.as_ref().expect("a reading").view.inverted);
    key(&mut harness, Modifiers::NONE, Key::Escape);
    assert!(harness.state().state().labels.is_none(), "without changes it closes at once");
}

#[test]
fn a_set_is_made_used_remembered_and_deleted_and_old_labels_keep_their_names() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), "a.png");
    draw(&mut harness, Key::Num2);
    edit_labels(&mut harness);
    click(&mut harness, "New set");
    type_into(&mut harness, "Name of the set", "Brain");
    type_into(&mut harness, "Name of label 1", "Infarct");
    click(&mut harness, "Save");
    let brain = on_disk(folder.path(), "labels/brain.json");
    assert_eq!(brain.labels[0].key, "infarct", "the key of a new label follows its name");
    assert_eq!(harness.state().state().drawing.taxonomy.name, "Brain");
    assert!(harness.query_all_by_label_contains("Nodule").count() > 0, "what was drawn is still called so");
    let settings = folder.path().join("home/settings.json");
    until(&mut harness, "saving", |_| Settings::load(&settings).labels == "labels/brain.json");
    drop(harness);
    let mut harness = open(folder.path(), "a.png");
    assert_eq!(harness.state().state().drawing.taxonomy.name, "Brain");
    click(&mut harness, "Label of new shapes");
    click(&mut harness, "Chest");
    assert_eq!(harness.state().state().drawing.taxonomy.name, "Chest");
    click(&mut harness, "Label of new shapes");
    click(&mut harness, "Brain");
    assert_eq!(harness.state().state().drawing.taxonomy.name, "Brain");
    edit_labels(&mut harness);
    click(&mut harness, "Delete set");
    click(&mut harness, "Delete");
    assert_eq!(harness.state().state().drawing.taxonomy.name, "Chest");
    assert!(!folder.path().join("home/labels/brain.json").exists());
}

#[test]
fn a_file_is_dropped_in_as_a_new_set_and_a_broken_one_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut harness = open(folder.path(), "a.png");
    let mut spine = Taxonomy { name: "Spine".to_owned(), labels: Vec::new() };
    spine.labels.push(spine.new_label("Vertebra"));
    let (good, bad) = (folder.path().join("spine.json"), folder.path().join("bad.json"));
    std::fs::write(&good, serde_json::to_string(&spine).expect("serialises")).expect("written");
    std::fs::write(&bad, "{}").expect("written");
    edit_labels(&mut harness);
    harness.input_mut().dropped_files = vec![Arc::new(Dropped(bad))];
    harness.run_steps(3);
    assert!(harness.query_all_by_label_contains("bad.json").count() > 0);
    harness.get_by_label("Colour of Nodule");
    harness.input_mut().dropped_files = vec![Arc::new(Dropped(good))];
    harness.run_steps(3);
    harness.get_by_label("Colour of Vertebra");
    click(&mut harness, "Save");
    assert_eq!(on_disk(folder.path(), "labels/spine.json"), spine);
    assert_eq!(harness.state().state().drawing.taxonomy, spine);
}

#[test]
fn a_projects_labels_are_its_readers_and_none_loses_one_by_another() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let picture = folder.path().join("a.png");
    image::GrayImage::from_fn(200, 160, |x, _| image::Luma([x as u8])).save(&picture).expect("written");
    Project::create(&folder.path().join("project"), "Test", vec![picture], Taxonomy::default()).expect("made");
    let mut harness = open_project(folder.path(), "ben");
    draw(&mut harness, Key::Num3);
    drop(harness);
    let mut harness = open_project(folder.path(), "anna");
    edit_labels(&mut harness);
    harness.get_by_label("Labels of the project");
    click(&mut harness, "Delete label Mass");
    assert!(harness.query_all_by_label_contains("“Mass” is in use in 1 other reading").count() > 0);
    type_into(&mut harness, "Name of label 3", "Tumour");
    click(&mut harness, "Save");
    assert_eq!(on_disk(folder.path(), "labels.json"), Taxonomy::default(), "the reader's own are others");
    drop(harness);
    let harness = open_project(folder.path(), "ben");
    assert_eq!(harness.state().state().drawing.taxonomy.label("mass").map(|l| l.name.as_str()), Some("Tumour"));
    assert!(harness.query_all_by_label_contains("Tumour").count() > 0, "what ben drew is called so");
}
