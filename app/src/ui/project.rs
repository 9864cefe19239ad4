//! The dialog of projects: a new one, who reads in one that is opened, and what the open one is made of.

use eframe::egui::{
    self, Align, Button, Frame, Grid, Id, Key, Layout, Margin, Modal, RichText, ScrollArea, TextEdit, Ui, vec2,
};
use lucide_icons::Icon;

use super::{Cx, text, widgets};
use crate::command::Command;
use crate::project::{About, Field, ProjectCommand, ProjectDialog, Purpose};

/// Width of the dialog's content, points.
const WIDTH: f32 = 560.0;
/// Width of the buttons after fields.
const BUTTON: f32 = 84.0;

/// Draws the dialog.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, dialog: &ProjectDialog) {
    let theme = &cx.theme;
    let space = theme.space();
    let frame = Frame::popup(ui.style()).inner_margin(Margin::same(space.xl as i8));
    let kind = std::mem::discriminant(&dialog.about);
    let modal = Modal::new(Id::unique(("project", kind))).frame(frame).backdrop_color(theme.palette.scrim);
    let modal = modal.show(ui.ctx(), |ui| {
        let available = ui.ctx().content_rect().size();
        ui.set_width((available.x - 2.0 * space.xxl).min(WIDTH));
        let title = match &dialog.about {
            About::New => "New project".to_owned(),
            About::Open(_, name, _) => format!("Open project “{name}”"),
            About::Own(_) => "Project".to_owned(),
        };
        ui.horizontal(|ui| {
            ui.label(RichText::new(title).size(theme.tokens.text.display));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if widgets::icon_button(ui, theme, Icon::X, "Close  (Esc)", false).clicked() {
                    send(cx, ProjectCommand::Close);
                }
            });
        });
        ui.add_space(space.m);
        let height = (available.y - 5.0 * space.xxl).max(200.0);
        let scroll = ScrollArea::vertical().max_height(height).min_scrolled_height(height);
        scroll.auto_shrink([false, true]).show(ui, |ui| match &dialog.about {
            About::New => new(ui, cx, dialog),
            About::Open(_, _, readers) => open(ui, cx, dialog, readers),
            About::Own(readers) => own(ui, cx, dialog, readers),
        });
        if let Some(message) = &dialog.message {
            ui.add_space(space.s);
            ui.horizontal_top(|ui| {
                ui.label(theme.icon(Icon::TriangleAlert, theme.palette.warning));
                let words = RichText::new(text::sentence(message)).color(theme.palette.text);
                ui.add(egui::Label::new(words).wrap());
            });
        }
    });
    if modal.should_close() {
        send(cx, ProjectCommand::Close);
    }
}

fn send(cx: &Cx<'_>, command: ProjectCommand) {
    cx.send(Command::Project(command));
}

/// A field that leaves room for so many buttons after it; returns whether Enter was pressed in it.
fn field(ui: &mut Ui, cx: &Cx<'_>, name: &str, hint: &str, (which, before): (Field, &str), buttons: usize) -> bool {
    let theme = &cx.theme;
    let mut value = before.to_owned();
    let width = ui.available_width() - buttons as f32 * (BUTTON + ui.spacing().item_spacing.x) - theme.space().s;
    let hint = RichText::new(hint).color(theme.palette.faint);
    let edit = TextEdit::singleline(&mut value).hint_text(hint).align(egui::Align2::LEFT_CENTER);
    let response = ui.add_sized(vec2(width, theme.size().control), edit).accessible_name(name);
    if response.changed() {
        send(cx, ProjectCommand::Field(which, value.clone()));
    }
    response.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter))
}

/// A button of the width that fields leave.
fn button(ui: &mut Ui, cx: &Cx<'_>, words: &str, name: &str, ready: bool) -> bool {
    let button = Button::new(words).min_size(vec2(BUTTON, cx.theme.size().control));
    widgets::named(ui.add_enabled(ready, button), name).clicked()
}

/// Asks for the path of a field by the platform's dialog.
fn choose(ui: &mut Ui, cx: &Cx<'_>, name: &str, which: Field) {
    if button(ui, cx, "Choose…", &format!("Choose: {name}"), true) {
        send(cx, ProjectCommand::Choose(Purpose::Field(which)));
    }
}

fn caption(ui: &mut Ui, cx: &Cx<'_>, words: &str) {
    let words = RichText::new(words).font(cx.theme.small()).color(cx.theme.palette.weak);
    ui.add(egui::Label::new(words).wrap());
}

fn main(ui: &mut Ui, cx: &Cx<'_>, words: &str) -> bool {
    let palette = cx.theme.palette;
    let button = Button::new(RichText::new(words).color(palette.on_primary)).fill(palette.primary);
    ui.add(button.min_size(vec2(140.0, cx.theme.size().control))).clicked()
}

fn new(ui: &mut Ui, cx: &Cx<'_>, dialog: &ProjectDialog) {
    let theme = &cx.theme;
    let space = theme.space();
    Grid::new("new project").num_columns(2).spacing(vec2(space.m, space.s)).min_col_width(88.0).show(ui, |ui| {
        ui.label("Name");
        // What is typed first is the name.
        if dialog.name.is_empty() && ui.memory(|memory| memory.focused()).is_none() {
            ui.memory_mut(|memory| memory.move_focus(egui::FocusDirection::Next));
        }
        field(ui, cx, "Name of the project", "such as Nodules 2026", (Field::Name, &dialog.name), 0);
        ui.end_row();
        ui.label("Folder");
        let hint = "Made where it is missing; not among the images";
        ui.horizontal(|ui| {
            field(ui, cx, "Folder of the project", hint, (Field::Folder, &dialog.folder), 1);
            choose(ui, cx, "Folder of the project", Field::Folder);
        });
        ui.end_row();
        ui.label("Reader");
        let hint = "Your name or initials: letters, digits, - and _";
        field(ui, cx, "Name of the reader", hint, (Field::Reader, &dialog.reader), 0);
        ui.end_row();
        ui.label("Images");
        ui.vertical(|ui| {
            let studies = cx.state.library.studies.len();
            if cx.state.work.is_none() && studies > 0 {
                let mut with = dialog.with_open;
                let words = if studies == 1 { "1 study".to_owned() } else { format!("{studies} studies") };
                if ui.checkbox(&mut with, format!("What is open now ({words})")).changed() {
                    send(cx, ProjectCommand::WithOpen(with));
                }
            }
            ui.horizontal(|ui| {
                field(ui, cx, "Images of the project", "A folder with studies", (Field::Images, &dialog.images), 1);
                choose(ui, cx, "Images of the project", Field::Images);
            });
        });
        ui.end_row();
    });
    ui.add_space(space.s);
    let labels = &cx.state.drawing.taxonomy;
    let words = format!(
        "Images stay where they are and are only read. It begins with the labels of the set “{}” ({}), which can be changed at any time.",
        labels.name,
        labels.labels.len()
    );
    caption(ui, cx, &words);
    ui.add_space(space.m);
    if main(ui, cx, "Make the project") {
        send(cx, ProjectCommand::Make);
    }
}

fn open(ui: &mut Ui, cx: &Cx<'_>, dialog: &ProjectDialog, readers: &[String]) {
    let space = cx.theme.space();
    let words = "Each reader has a work list and readings of their own, and never sees the others' unless they are laid beside.";
    caption(ui, cx, words);
    ui.add_space(space.s);
    if !readers.is_empty() {
        ui.label("Go on as");
        choice_of(ui, cx, readers, "Read as", |reader| {
            send(cx, ProjectCommand::Field(Field::Reader, reader));
            send(cx, ProjectCommand::Read);
        });
        ui.add_space(space.s);
        ui.label("or as somebody new");
    } else {
        ui.label("Who reads");
    }
    if field(ui, cx, "Name of the reader", "Letters, digits, - and _", (Field::Reader, &dialog.reader), 0) {
        send(cx, ProjectCommand::Read);
    }
    ui.add_space(space.m);
    if main(ui, cx, "Open the project") {
        send(cx, ProjectCommand::Read);
    }
}

/// A button for each reader.
fn choice_of(ui: &mut Ui, cx: &Cx<'_>, readers: &[String], verb: &str, chosen: impl Fn(String)) {
    ui.horizontal_wrapped(|ui| {
        for reader in readers {
            let button = Button::new((cx.theme.icon(Icon::User, cx.theme.palette.weak), reader.as_str()));
            if widgets::named(ui.add(button), &format!("{verb} {reader}")).clicked() {
                chosen(reader.clone());
            }
        }
    });
}

fn own(ui: &mut Ui, cx: &Cx<'_>, dialog: &ProjectDialog, readers: &[String]) {
    let (theme, Some(work)) = (&cx.theme, &cx.state.work) else { return };
    let space = theme.space();
    caption(ui, cx, &work.project.folder().display().to_string());
    ui.add_space(space.s);
    widgets::heading(ui, theme, "Name");
    ui.horizontal(|ui| {
        let changed = dialog.name.trim() != work.project.name();
        let entered = field(ui, cx, "Name of the project", "", (Field::Name, &dialog.name), 1);
        let clicked = button(ui, cx, "Rename", "Rename the project", changed);
        if clicked || (entered && changed) {
            send(cx, ProjectCommand::Rename);
        }
    });
    ui.add_space(space.m);
    widgets::heading(ui, theme, "Reader");
    ui.horizontal(|ui| {
        let changed = dialog.renamed.trim() != work.reader;
        let entered = field(ui, cx, "Reader's name", "", (Field::Renamed, &dialog.renamed), 1);
        let clicked = button(ui, cx, "Rename", "Rename the reader", changed);
        if clicked || (entered && changed) {
            send(cx, ProjectCommand::RenameReader);
        }
    });
    let others: Vec<String> = readers.iter().filter(|reader| **reader != work.reader).cloned().collect();
    if !others.is_empty() {
        ui.add_space(space.xs);
        ui.label("Go on as");
        choice_of(ui, cx, &others, "Read as", |reader| {
            send(cx, ProjectCommand::Field(Field::Reader, reader));
            send(cx, ProjectCommand::Read);
        });
    }
    ui.add_space(space.xs);
    ui.label(if others.is_empty() { "Go on as somebody new" } else { "or as somebody new" });
    ui.horizontal(|ui| {
        let named = !dialog.reader.trim().is_empty();
        let entered = field(ui, cx, "New reader", "Letters, digits, - and _", (Field::Reader, &dialog.reader), 1);
        let clicked = button(ui, cx, "Change", "Change the reader", named);
        if clicked || (entered && named) {
            send(cx, ProjectCommand::Read);
        }
    });
    ui.add_space(space.m);
    images(ui, cx, dialog);
    ui.add_space(space.m);
    if ui.button("Leave the project").on_hover_text("Back to the start screen; everything is kept").clicked() {
        send(cx, ProjectCommand::Leave);
    }
}

fn images(ui: &mut Ui, cx: &Cx<'_>, dialog: &ProjectDialog) {
    let (theme, Some(work)) = (&cx.theme, &cx.state.work) else { return };
    let space = theme.space();
    widgets::heading(ui, theme, "Images");
    for source in work.project.sources() {
        let there = source.exists();
        let words = source.display().to_string();
        let words = if there { words } else { format!("{words} is not there") };
        let color = if there { theme.palette.weak } else { theme.palette.warning };
        ui.add(egui::Label::new(RichText::new(words).font(theme.small()).color(color)).wrap());
    }
    ui.horizontal(|ui| {
        let typed = !dialog.images.trim().is_empty();
        let hint = "Another folder: type, choose or drop it";
        let entered = field(ui, cx, "Images to add", hint, (Field::Images, &dialog.images), 2);
        choose(ui, cx, "Images to add", Field::Images);
        let clicked = button(ui, cx, "Add", "Add the images", typed);
        if clicked || (entered && typed) {
            send(cx, ProjectCommand::Add);
        }
    });
    if let Some(reading) = &cx.state.reading {
        let study = &reading.study;
        let who = text::join([text::patient_name(&study.patient), text::study_detail(study)]);
        let button = ui.button(format!("Take the open study out: {who}"));
        if widgets::named(button, "Take the open study out").clicked() {
            send(cx, ProjectCommand::LeaveOut(study.uid.clone(), true));
        }
    }
    if !work.left_out.is_empty() {
        ui.add_space(space.xs);
        ui.label("Taken out");
    }
    for study in &work.left_out {
        let who = text::join([text::patient_name(&study.patient), text::study_detail(study)]);
        ui.horizontal(|ui| {
            if widgets::named(ui.button("Put back"), &format!("Put back {who}")).clicked() {
                send(cx, ProjectCommand::LeaveOut(study.uid.clone(), false));
            }
            widgets::caption(ui, theme, who);
        });
    }
}
