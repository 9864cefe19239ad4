//! The map of keys, drawn from the same table that the keyboard reads, and where keys are changed.

use bifocal_core::study::Suv;
use eframe::egui::{self, Align, Button, Frame, Id, Layout, Margin, Modal, RichText, Sense, Stroke, TextEdit, Ui};
use lucide_icons::Icon;

use super::{Cx, widgets};
use crate::command::Command;
use crate::keymap::{ACTIONS, Action, Entry, Group};
use crate::keys::{KeyCommand, KeyEditor, Step};
use crate::view::WindowChoice;

/// What the mouse does, for the overlay.
const MOUSE: &[(&str, &str)] = &[
    ("Left drag", "the tool in hand; window at first"),
    ("Middle drag", "pan"),
    ("Right drag", "zoom"),
    ("Right click", "menu"),
    ("Wheel", "scroll; zoom where there is one image"),
    ("Ctrl+Wheel", "zoom; tolerance of a region that grows"),
    ("Double click", "one viewport or all; closes an outline"),
    ("Ctrl+Click", "on a contour: vertex in or out"),
    ("Shift+Move", "linked crosshair"),
];

/// Draws the overlay.
pub fn show(ui: &mut Ui, cx: &Cx<'_>, editor: &KeyEditor) {
    let theme = &cx.theme;
    let space = theme.space();
    let frame = Frame::popup(ui.style()).inner_margin(Margin::same(space.xl as i8));
    let modal = Modal::new(Id::unique("keys")).frame(frame).backdrop_color(theme.palette.scrim);
    let modal = modal.show(ui.ctx(), |ui| {
        let available = ui.ctx().content_rect().size();
        ui.set_width((available.x - 2.0 * space.xxl).min(1080.0));
        ui.horizontal(|ui| {
            ui.label(RichText::new("Keys and mouse").size(theme.tokens.text.display));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if widgets::icon_button(ui, theme, Icon::X, "Close  (Esc)", false).clicked() {
                    cx.act(Action::ShowKeys);
                }
                let reset = Button::new("Reset all keys");
                if ui.add_enabled(cx.state.settings.keys.any_changed(), reset).clicked() {
                    send(cx, KeyCommand::ResetAll);
                }
                let mut search = editor.search.clone();
                let hint = RichText::new("Search commands and keys").color(theme.palette.faint);
                let field = ui.add(TextEdit::singleline(&mut search).hint_text(hint).desired_width(220.0));
                if field.accessible_name("Search commands and keys").changed() {
                    send(cx, KeyCommand::Search(search));
                }
            });
        });
        ui.add_space(space.s);
        question(ui, cx, editor);
        ui.add_space(space.s);
        let height = available.y - 6.0 * space.xxl;
        let area = egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height);
        area.auto_shrink([false, true]).show(ui, |ui| {
            ui.set_min_height(height);
            ui.spacing_mut().item_spacing.x = space.xl;
            // The scroll bar has room of its own.
            ui.set_max_width(ui.available_width() - space.m);
            ui.columns(3, |columns| {
                column(&mut columns[0], cx, editor, &[Group::View, Group::Navigate, Group::Project]);
                column(&mut columns[1], cx, editor, &[Group::Draw]);
                column(&mut columns[2], cx, editor, &[Group::Read, Group::Window, Group::General]);
                if editor.search.trim().is_empty() {
                    mouse(&mut columns[1], cx);
                }
            });
        });
    });
    if modal.should_close() {
        cx.act(Action::ShowKeys);
    }
}

fn send(cx: &Cx<'_>, command: KeyCommand) {
    cx.send(Command::Keys(command));
}

/// The line under the heading: what to do, or what is asked, with its answers.
fn question(ui: &mut Ui, cx: &Cx<'_>, editor: &KeyEditor) {
    let theme = &cx.theme;
    let keys = &cx.state.settings.keys;
    let name = |action: Action| keys.label(action);
    let (words, answers): (String, &[(&str, KeyCommand)]) = match &editor.step {
        Step::Idle => ("Click a key to change it.".to_owned(), &[]),
        Step::Key(action, _) => {
            let words = format!("Press the new key of “{}”. Esc leaves it as it is.", name(*action));
            (editor.refused.clone().unwrap_or(words), &[("No key", KeyCommand::NoKey)])
        }
        Step::TakeOver(action, wanted) => {
            let held = wanted.iter().filter_map(|key| Some((key, keys.holder(*key)?)));
            let others: Vec<String> = held
                .filter(|(_, holder)| holder != action)
                .map(|(key, holder)| format!("{key} is the key of “{}”", name(holder)))
                .collect();
            let words = format!("{}. Give it to “{}” instead?", others.join(", "), name(*action));
            (words, &[("Take it over", KeyCommand::Confirm), ("Leave it", KeyCommand::Leave)])
        }
        Step::ResetAll => {
            let words = "Give all commands their first keys again? Your changes are lost.".to_owned();
            (words, &[("Reset all", KeyCommand::Confirm), ("Leave it", KeyCommand::Leave)])
        }
    };
    ui.horizontal(|ui| {
        ui.set_min_height(theme.size().control);
        let idle = editor.step == Step::Idle;
        let color = if idle { theme.palette.weak } else { theme.palette.text };
        if !idle {
            ui.label(theme.icon(Icon::Keyboard, theme.palette.warning));
        }
        ui.label(RichText::new(words).color(color));
        for (index, (label, command)) in answers.iter().enumerate() {
            let button = ui.button(*label);
            // The keyboard answers at once; while a key is asked for, every key is an answer.
            if index == 0 && !editor.is_asking() && ui.memory(|memory| memory.focused()).is_none() {
                button.request_focus();
            }
            if button.clicked() {
                send(cx, command.clone());
            }
        }
    });
}

fn column(ui: &mut Ui, cx: &Cx<'_>, editor: &KeyEditor, groups: &[Group]) {
    let words: Vec<String> = editor.search.to_lowercase().split_whitespace().map(str::to_owned).collect();
    ui.spacing_mut().interact_size.y = 0.0;
    let mut first = true;
    for group in groups {
        let all = ACTIONS.iter().filter(|entry| entry.group == *group).map(|entry| (entry, label_of(cx, entry)));
        let found: Vec<(&Entry, String)> = all
            .filter(|(entry, label)| {
                let keys: Vec<String> = cx.state.settings.keys.of(entry.action).iter().map(|k| k.label()).collect();
                let text = format!("{label} {} {}", group.title(), keys.join(" ")).to_lowercase();
                words.iter().all(|word| text.contains(word))
            })
            .collect();
        if found.is_empty() {
            continue;
        }
        if !std::mem::take(&mut first) {
            ui.add_space(cx.theme.space().l);
        }
        widgets::heading(ui, &cx.theme, group.title());
        for (entry, label) in found {
            row(ui, cx, editor, entry.action, &label);
        }
    }
}

fn label_of(cx: &Cx<'_>, entry: &Entry) -> String {
    match entry.action {
        Action::Preset(digit) => match ["HU", Suv::UNITS].map(|units| WindowChoice::preset(digit, units)) {
            [Some(WindowChoice::Fixed(ct)), Some(WindowChoice::Fixed(pet))] => {
                format!("{}  {} / {};  PET: {}", ct.name, ct.width, ct.center, pet.name)
            }
            _ => entry.label.to_owned(),
        },
        action => cx.state.settings.keys.label(action),
    }
}

fn row(ui: &mut Ui, cx: &Cx<'_>, editor: &KeyEditor, action: Action, label: &str) {
    let theme = &cx.theme;
    let keys = &cx.state.settings.keys;
    let changed = keys.is_changed(action);
    line(ui, cx, label, changed, |ui| {
        let held: Vec<String> = keys.of(action).iter().map(|key| key.label()).collect();
        let asked = |place: usize| editor.step == Step::Key(action, place);
        for (place, text) in held.iter().enumerate().rev() {
            cap(ui, cx, action, label, place, text, asked(place));
        }
        if held.is_empty() {
            cap(ui, cx, action, label, 0, "none", asked(0));
        }
        if changed {
            let icon = theme.icon(Icon::RotateCcw, theme.palette.weak).size(theme.tokens.text.body);
            let button = ui.add(Button::new(icon).frame_when_inactive(false).small());
            let usual: Vec<String> = crate::keymap::entry(action)
                .map(|entry| entry.keys.iter().map(|key| key.label()).collect())
                .unwrap_or_default();
            let usual = if usual.is_empty() { "no key".to_owned() } else { usual.join(", ") };
            let button = widgets::named(button, &format!("Reset the key of {label}"));
            if button.on_hover_text(format!("Back to {usual}")).clicked() {
                send(cx, KeyCommand::Reset(action));
            }
        }
    });
}

/// A key that can be changed.
fn cap(ui: &mut Ui, cx: &Cx<'_>, action: Action, label: &str, place: usize, text: &str, asked: bool) {
    let theme = &cx.theme;
    let words = if asked { "press a key" } else { text };
    let color = if text == "none" { theme.palette.faint } else { theme.palette.text };
    let stroke = if asked { Stroke::new(theme.size().hairline, theme.palette.focus) } else { theme.line() };
    let button = Button::new(RichText::new(words).font(theme.mono()).color(color));
    let button = button.fill(theme.palette.window).stroke(stroke).small();
    if action == Action::Escape {
        // It leads out of everything, the change of keys included.
        ui.add(button.sense(Sense::hover()));
        return;
    }
    let response = ui.add(button);
    let response = widgets::named(response, &format!("Key of {label}: {text}"));
    if response.on_hover_text("Change this key").clicked() {
        send(cx, KeyCommand::Ask(action, place));
    }
}

fn mouse(ui: &mut Ui, cx: &Cx<'_>) {
    ui.add_space(cx.theme.space().l);
    widgets::heading(ui, &cx.theme, "Mouse on an image");
    for (input, effect) in MOUSE {
        line(ui, cx, effect, false, |ui| widgets::key_cap(ui, &cx.theme, input));
    }
}

/// Words on the left, what `keys` draws on the right.
fn line(ui: &mut Ui, cx: &Cx<'_>, label: &str, strong: bool, keys: impl FnOnce(&mut Ui)) {
    let theme = &cx.theme;
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = theme.space().xs;
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            keys(ui);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let color = if strong { theme.palette.text } else { theme.palette.weak };
                ui.add(egui::Label::new(RichText::new(label).font(theme.body()).color(color)).truncate());
            });
        });
    });
}
