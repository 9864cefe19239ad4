//! The editor of labels: one row a label, everything about it in place.

use bifocal_core::annotation::Label;
use bifocal_core::study::CodedConcept;
use eframe::egui::{
    self, Align, Button, Color32, ComboBox, Frame, Grid, Id, Layout, Margin, Modal, RichText, ScrollArea, TextEdit, Ui,
    Vec2, containers::menu, ecolor::Hsva, vec2,
};
use lucide_icons::Icon;

use super::{Cx, widgets};
use crate::command::Command;
use crate::label_editor::{Asked, LabelCommand, LabelEditor};
use crate::labels;

/// Widths of the columns with text, points.
const NAME: f32 = 190.0;
const DIGIT: f32 = 52.0;
const SCHEME: f32 = 60.0;
const CODE: f32 = 110.0;
const USES: f32 = 84.0;

/// Draws the editor.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, editor: &LabelEditor) {
    let theme = &cx.theme;
    let space = theme.space();
    let frame = Frame::popup(ui.style()).inner_margin(Margin::same(space.xl as i8));
    let modal = Modal::new(Id::unique("labels")).frame(frame).backdrop_color(theme.palette.scrim);
    let modal = modal.show(ui.ctx(), |ui| {
        let available = ui.ctx().content_rect().size();
        ui.set_width((available.x - 2.0 * space.xxl).min(960.0));
        head(ui, cx, editor);
        ui.add_space(space.m);
        let height = (available.y - 7.0 * space.xxl).min(560.0);
        ScrollArea::vertical().max_height(height).auto_shrink([false, true]).show(ui, |ui| rows(ui, cx, editor));
        ui.add_space(space.s);
        let add = Button::new((theme.icon(Icon::Plus, theme.palette.weak), "Add a label"));
        if widgets::named(ui.add(add), "Add a label").clicked() {
            send(cx, LabelCommand::Add);
        }
        ui.add_space(space.m);
        foot(ui, cx, editor);
    });
    if modal.should_close() {
        send(cx, LabelCommand::Close);
    }
}

fn send(cx: &Cx<'_>, command: LabelCommand) {
    cx.send(Command::Labels(command));
}

/// Which set, and what can be done with it as a whole.
fn head(ui: &mut Ui, cx: &Cx<'_>, editor: &LabelEditor) {
    let theme = &cx.theme;
    let of_project = cx.state.work.is_some();
    ui.horizontal(|ui| {
        let title = if of_project { "Labels of the project" } else { "Labels" };
        ui.label(RichText::new(title).size(theme.tokens.text.display));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::icon_button(ui, theme, Icon::X, "Close  (Esc)", false).clicked() {
                send(cx, LabelCommand::Close);
            }
            let first = editor.file.as_deref().is_none_or(|file| file == labels::FILE);
            if !of_project && ui.add_enabled(!first, Button::new("Delete set")).clicked() {
                send(cx, LabelCommand::DeleteSet);
            }
            if ui.button("Save as…").on_hover_text("Write these labels to a JSON file").clicked() {
                send(cx, LabelCommand::SaveAs);
            }
            let tip = if of_project { "Take in the labels of a JSON file" } else { "A new set from a JSON file" };
            if ui.button("Load…").on_hover_text(tip).clicked() {
                send(cx, LabelCommand::Load);
            }
            if !of_project && ui.button("New set").clicked() {
                send(cx, LabelCommand::New);
            }
        });
    });
    ui.add_space(theme.space().s);
    ui.horizontal(|ui| {
        let mut name = editor.draft.name.clone();
        ui.label("Set");
        let field = ui.add(TextEdit::singleline(&mut name).desired_width(NAME));
        if field.accessible_name("Name of the set").changed() {
            send(cx, LabelCommand::Name(name));
        }
        let sets = &cx.state.drawing.sets;
        if !of_project && sets.len() + usize::from(editor.file.is_none()) > 1 {
            ui.add_space(theme.space().l);
            ui.label("Other sets");
            for set in sets.iter().filter(|set| Some(&set.file) != editor.file.as_ref()) {
                if ui.button(&set.labels.name).on_hover_text("Use and edit this set").clicked() {
                    send(cx, LabelCommand::Use(set.file.clone()));
                }
            }
        }
    });
}

fn rows(ui: &mut Ui, cx: &Cx<'_>, editor: &LabelEditor) {
    let theme = &cx.theme;
    let space = theme.space();
    // What is left of the line is the meaning's.
    let fixed = NAME + DIGIT + SCHEME + CODE + USES + 3.0 * theme.size().control + 8.0 * space.s + space.l;
    let meaning = (ui.available_width() - fixed).max(120.0);
    Grid::new("labels").num_columns(9).spacing(vec2(space.s, space.s)).min_col_width(0.0).show(ui, |ui| {
        for title in ["", "Label", "Digit", "Scheme", "Code", "Meaning", "In use", "", ""] {
            ui.label(RichText::new(title).font(theme.small()).color(theme.palette.weak));
        }
        ui.end_row();
        for (index, label) in editor.draft.labels.iter().enumerate() {
            row(ui, cx, editor, index, label, meaning);
            ui.end_row();
        }
    });
}

fn row(ui: &mut Ui, cx: &Cx<'_>, editor: &LabelEditor, index: usize, label: &Label, meaning: f32) {
    let theme = &cx.theme;
    let set = |change: &dyn Fn(&mut Label)| {
        let mut changed = label.clone();
        change(&mut changed);
        if changed != *label {
            send(cx, LabelCommand::Set(index, Box::new(changed)));
        }
    };
    let name = &label.name;
    color(ui, cx, label, &|color| set(&|label| label.color.clone_from(&color)));
    let mut text = name.clone();
    // A grid gives a field no more than its column has, unless it is told the size.
    let height = theme.size().control;
    let field = ui.add_sized(vec2(NAME, height), TextEdit::singleline(&mut text).align(egui::Align2::LEFT_CENTER));
    let field = field.accessible_name(format!("Name of label {}", index + 1));
    if field.changed() {
        set(&|label| label.name.clone_from(&text));
    }
    if editor.focus_last && index + 1 == editor.draft.labels.len() {
        field.request_focus();
        field.scroll_to_me(None);
        send(cx, LabelCommand::Focused);
    }
    digits(ui, editor, index, label, &|digit| set(&|label| label.digit = digit));
    let concept = label.concept.clone().unwrap_or_else(|| CodedConcept::new("", "", ""));
    for (what, hint, width, part) in
        [("Scheme", "SCT", SCHEME, 0), ("Code", "27925004", CODE, 1), ("Meaning", "Nodule", meaning, 2)]
    {
        let mut parts = [concept.scheme.clone(), concept.value.clone(), concept.meaning.clone()];
        let hint = RichText::new(hint).color(theme.palette.faint);
        let field = TextEdit::singleline(&mut parts[part]).hint_text(hint).align(egui::Align2::LEFT_CENTER);
        let field = ui.add_sized(vec2(width, height), field);
        if field.accessible_name(format!("{what} of {name}")).changed() {
            let [scheme, value, meaning] = &parts;
            set(&|label| label.concept = Some(CodedConcept::new(value, scheme, meaning)));
        }
    }
    uses(ui, cx, editor, label);
    ui.add_enabled_ui(index > 0, |ui| {
        if widgets::icon_button(ui, theme, Icon::ArrowUp, &format!("Move label {name} up"), false).clicked() {
            send(cx, LabelCommand::Up(index));
        }
    });
    if widgets::icon_button(ui, theme, Icon::Trash2, &format!("Delete label {name}"), false).clicked() {
        send(cx, LabelCommand::Delete(index));
    }
}

/// Hues to choose from, and their shades (saturation and value of linear light): all are bright enough for lines on black.
const HUES: usize = 12;
const SHADES: [(f32, f32); 3] = [(0.5, 1.0), (0.8, 0.9), (0.95, 0.55)];

/// The colour, and a menu of others; any can be typed.
fn color(ui: &mut Ui, cx: &Cx<'_>, label: &Label, choose: &dyn Fn(String)) {
    let side = Vec2::splat(cx.theme.size().control);
    let swatch = |[r, g, b]: [u8; 3]| Button::new("").fill(Color32::from_rgb(r, g, b)).min_size(side);
    let config = menu::MenuConfig::new().close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside);
    let (response, _) = menu::MenuButton::from_button(swatch(label.rgb())).config(config).ui(ui, |ui| {
        for (saturation, value) in SHADES {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = cx.theme.space().xs;
                for hue in 0..HUES {
                    let [r, g, b] = Hsva::new(hue as f32 / HUES as f32, saturation, value, 1.0).to_srgb();
                    let color = format!("#{r:02x}{g:02x}{b:02x}");
                    if widgets::named(ui.add(swatch([r, g, b])), &color).clicked() {
                        choose(color);
                        ui.close();
                    }
                }
            });
        }
        ui.horizontal(|ui| {
            let mut typed = label.color.clone();
            ui.label("Red, green, blue");
            let margin = Margin::symmetric(cx.theme.space().s as i8, cx.theme.space().xs as i8);
            let field = ui.add(TextEdit::singleline(&mut typed).desired_width(CODE).margin(margin));
            if field.accessible_name(format!("Colour of {} as #rrggbb", label.name)).changed() {
                choose(typed);
            }
        });
    });
    widgets::named(response, &format!("Colour of {}", label.name)).on_hover_text("Colour");
}

/// The digits that no other label of the set has.
fn digits(ui: &mut Ui, editor: &LabelEditor, index: usize, label: &Label, choose: &dyn Fn(Option<u8>)) {
    let word = |digit: Option<u8>| digit.map_or_else(|| "none".to_owned(), |digit| digit.to_string());
    let combo = ComboBox::from_id_salt(("digit", index)).width(DIGIT).selected_text(word(label.digit));
    let response = combo.show_ui(ui, |ui| {
        let free = (0..=9).filter(|digit| editor.draft.by_digit(*digit).is_none_or(|other| other.key == label.key));
        for digit in std::iter::once(None).chain(free.map(Some)) {
            if ui.selectable_label(digit == label.digit, word(digit)).clicked() {
                choose(digit);
            }
        }
    });
    let response = widgets::named(response.response, &format!("Digit of {}", label.name));
    response.on_hover_text("Chooses the label while a drawing tool is in hand");
}

fn uses(ui: &mut Ui, cx: &Cx<'_>, editor: &LabelEditor, label: &Label) {
    let here = editor.here.get(&label.key).copied().unwrap_or_default();
    let elsewhere = editor.elsewhere.as_ref().map(|all| all.get(&label.key).copied().unwrap_or_default());
    let words = match (here, elsewhere) {
        (0, Some(0)) => "no".to_owned(),
        (0, None) => "…".to_owned(),
        (here, Some(0) | None) => format!("{here} here"),
        (0, Some(1)) => "1 reading".to_owned(),
        (0, Some(readings)) => format!("{readings} readings"),
        (here, Some(readings)) => format!("{here} here, {readings} more"),
    };
    ui.scope(|ui| {
        ui.set_width(USES);
        let tip = "Shapes and painted regions of the open series, and other readings that have it";
        widgets::caption(ui, &cx.theme, words).on_hover_text(tip);
    });
}

/// What is asked or cannot be, and the way out.
fn foot(ui: &mut Ui, cx: &Cx<'_>, editor: &LabelEditor) {
    let theme = &cx.theme;
    ui.horizontal(|ui| {
        ui.set_min_height(theme.size().control);
        match &editor.asked {
            Some(asked) => question(ui, cx, editor, asked),
            None => {
                if let Some(message) = &editor.message {
                    ui.label(theme.icon(Icon::TriangleAlert, theme.palette.warning));
                    let width = ui.available_width() - 160.0;
                    ui.allocate_ui(vec2(width, theme.size().control), |ui| {
                        ui.add(egui::Label::new(RichText::new(message).color(theme.palette.text)).wrap());
                    });
                }
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    let save = Button::new("Save").min_size(vec2(72.0, theme.size().control));
                    if ui.add_enabled(editor.is_changed(), save).clicked() {
                        send(cx, LabelCommand::Save);
                    }
                    if ui.button(if editor.is_changed() { "Cancel" } else { "Close" }).clicked() {
                        send(cx, LabelCommand::Close);
                    }
                });
            }
        }
    });
}

fn question(ui: &mut Ui, cx: &Cx<'_>, editor: &LabelEditor, asked: &Asked) {
    let theme = &cx.theme;
    ui.label(theme.icon(Icon::CircleQuestionMark, theme.palette.warning));
    let answer = |ui: &mut Ui, label: &str, command: LabelCommand| {
        if ui.button(label).clicked() {
            send(cx, command);
        }
    };
    match asked {
        Asked::Replace(index) => {
            let Some(label) = editor.draft.labels.get(*index) else { return };
            let count = editor.here.get(&label.key).copied().unwrap_or_default();
            let what = if count == 1 { "1 annotation".to_owned() } else { format!("{count} annotations") };
            ui.label(format!("“{}” is on {what} of this series. Delete it, and in its place use", label.name));
            let combo = ComboBox::from_id_salt("replacement").selected_text("another label").width(NAME);
            let response = combo.show_ui(ui, |ui| {
                for other in editor.draft.labels.iter().filter(|other| other.key != label.key) {
                    if ui.selectable_label(false, &other.name).clicked() {
                        send(cx, LabelCommand::Replace(other.key.clone()));
                    }
                }
            });
            widgets::named(response.response, "Label in its place");
        }
        Asked::Drop(_) => {
            ui.label("The changes are not saved.");
            answer(ui, "Discard them", LabelCommand::Confirm);
        }
        Asked::DeleteSet => {
            ui.label(format!("Delete the set “{}” and its file?", editor.draft.name));
            answer(ui, "Delete", LabelCommand::Confirm);
        }
    }
    answer(ui, "Cancel", LabelCommand::Stay);
}
