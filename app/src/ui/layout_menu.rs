//! The menu of layouts: lenses, planes, grids of viewports, and what the viewports do together.

use eframe::egui::{
    self, Align, Button, CornerRadius, Key, Margin, Rect, RichText, Sense, Stroke, StrokeKind, TextEdit, Ui, vec2,
};
use lucide_icons::Icon;

use super::{Cx, widgets};
use crate::command::Command;
use crate::desk::{DeskCommand, Layout, Links, MOST_ROWS};
use crate::keymap::Action;
use crate::layouts::{LayoutCommand, SavedLayout};

/// The button of the bar above the images, with its menu.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let layout = cx.state.settings.layout;
    let side = theme.size().control;
    let chevron = theme.icon(Icon::ChevronDown, theme.palette.weak).size(theme.tokens.text.body);
    let button = Button::new((theme.icon(icon_of(layout), theme.palette.text), chevron)).min_size(vec2(side, side));
    let config =
        egui::containers::menu::MenuConfig::new().close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside);
    let (response, _) = egui::containers::menu::MenuButton::from_button(button).config(config).ui(ui, |ui| {
        ui.set_width(248.0);
        choice(ui, cx, Layout::Lenses, "Two lenses", Action::Lenses);
        choice(ui, cx, Layout::Planes, "Planes (MPR)", Action::Planes);
        ui.separator();
        widgets::caption(ui, theme, "Viewports");
        grids(ui, cx);
        ui.separator();
        links(ui, cx);
        ui.separator();
        kept(ui, cx);
    });
    widgets::named(response, "Layout").on_hover_text("Layout");
}

fn icon_of(layout: Layout) -> Icon {
    match layout {
        Layout::Lenses => Icon::Columns2,
        Layout::Planes => Icon::Box,
        Layout::Grid { .. } => Icon::LayoutGrid,
    }
}

fn choice(ui: &mut Ui, cx: &Cx<'_>, layout: Layout, label: &str, action: Action) {
    let theme = &cx.theme;
    let keys = RichText::new(cx.key(action)).font(theme.small()).color(theme.palette.faint);
    let selected = cx.state.settings.layout == layout;
    let button =
        Button::selectable(selected, (theme.icon(icon_of(layout), theme.palette.weak), label)).shortcut_text(keys);
    if widgets::named(ui.add(button), label).clicked() {
        cx.send(Command::Desk(DeskCommand::Layout(layout)));
        ui.close();
    }
}

/// Three by three cells: pointing at one shows the grid that a click makes.
fn grids(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let (cell, gap) = (vec2(30.0, 22.0), theme.space().xs);
    let most = usize::from(MOST_ROWS);
    let size = vec2((cell.x + gap) * most as f32, (cell.y + gap) * most as f32);
    let (area, _) = ui.allocate_exact_size(size, Sense::hover());
    let mut cells = Vec::new();
    for row in 1..=MOST_ROWS {
        for column in 1..=MOST_ROWS {
            let at = area.min + vec2((cell.x + gap) * f32::from(column - 1), (cell.y + gap) * f32::from(row - 1));
            let rect = Rect::from_min_size(at, cell);
            let response = ui.interact(rect, ui.scope_id().with(("grid", row, column)), Sense::click());
            let response = widgets::named(response, &format!("{row} by {column} viewports"));
            if response.clicked() {
                cx.send(Command::Desk(DeskCommand::Layout(Layout::Grid { rows: row, columns: column })));
                ui.close();
            }
            cells.push((row, column, rect, response.hovered() || response.has_focus()));
        }
    }
    let pointed = cells.iter().find(|cell| cell.3).map(|(row, column, ..)| (*row, *column));
    let current = match cx.state.settings.layout {
        Layout::Grid { rows, columns } => Some((rows, columns)),
        _ => None,
    };
    let meant = pointed.or(current);
    for (row, column, rect, _) in cells {
        let inside = meant.is_some_and(|(rows, columns)| row <= rows && column <= columns);
        let fill = if inside { theme.palette.active } else { theme.palette.window };
        let radius = CornerRadius::same(theme.tokens.radius.s);
        ui.painter().rect_filled(rect, radius, fill);
        let color = if inside { theme.palette.weak } else { theme.palette.line };
        ui.painter().rect_stroke(rect, radius, Stroke::new(theme.size().hairline, color), StrokeKind::Inside);
    }
    let words =
        meant.map_or("Two lenses or planes are shown".to_owned(), |(rows, columns)| format!("{rows} × {columns}"));
    widgets::caption(ui, theme, words);
}

fn links(ui: &mut Ui, cx: &Cx<'_>) {
    let before = cx.state.settings.links;
    let mut now = before;
    for (on, label, tip) in [
        (
            &mut now.scroll,
            "Scroll together",
            "To the same place; by the same distance where the frames of reference differ",
        ),
        (&mut now.zoom, "Zoom and pan together", "All viewports are magnified and moved together"),
        (&mut now.window, "Window together", "Among series of one modality"),
        (&mut now.lines, "Reference lines", "The active viewport's slice is drawn as a line in the others"),
    ] {
        ui.checkbox(on, label).on_hover_text(tip);
    }
    if now != before {
        cx.send(Command::Desk(DeskCommand::Links(Links { ..now })));
    }
}

fn send(cx: &Cx<'_>, command: LayoutCommand) {
    cx.send(Command::Layouts(command));
}

/// Layouts that are kept by name, and a name for the one in use.
fn kept(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let menu = &cx.state.layout_menu;
    let layouts = &cx.state.settings.layouts;
    // A menu takes the margins of its parts away.
    let margin = Margin::symmetric(theme.space().s as i8, theme.space().xs as i8);
    widgets::caption(ui, theme, "Saved layouts");
    for (index, layout) in layouts.iter().enumerate() {
        let name = &layout.name;
        ui.horizontal(|ui| match &menu.renamed {
            _ if menu.doomed == Some(index) => {
                ui.with_layout(egui::Layout::right_to_left(Align::Center), |ui| {
                    for (label, yes) in [("Keep", false), ("Delete", true)] {
                        if ui.button(label).clicked() {
                            send(cx, LayoutCommand::Deleted(yes));
                        }
                    }
                    ui.with_layout(egui::Layout::left_to_right(Align::Center), |ui| {
                        widgets::caption(ui, theme, format!("Delete “{name}”?"));
                    });
                });
            }
            Some((renamed, typed)) if *renamed == index => {
                let mut typed = typed.clone();
                let width = ui.available_width();
                let field = ui.add(TextEdit::singleline(&mut typed).desired_width(width).margin(margin));
                let field = field.accessible_name("New name of the layout");
                if field.changed() {
                    send(cx, LayoutCommand::Rename(index, typed));
                } else if field.lost_focus() {
                    send(cx, LayoutCommand::Renamed(!ui.input(|input| input.key_pressed(Key::Escape))));
                } else if !field.has_focus() {
                    field.request_focus();
                }
            }
            _ => row(ui, cx, index, layout),
        });
    }
    let mut typed = menu.name.clone();
    let replaces = layouts.iter().any(|layout| layout.name == typed.trim());
    ui.horizontal(|ui| {
        let width = ui.available_width() - 72.0;
        let hint = RichText::new("Name of this layout").color(theme.palette.faint);
        let field = ui.add(TextEdit::singleline(&mut typed).hint_text(hint).desired_width(width).margin(margin));
        let field = field.accessible_name("Name of this layout");
        if field.changed() {
            send(cx, LayoutCommand::Name(typed.clone()));
        }
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        let save = Button::new(if replaces { "Replace" } else { "Save" });
        if ui.add_enabled(!typed.trim().is_empty(), save).clicked() || entered {
            send(cx, LayoutCommand::Save);
        }
    });
}

/// A kept layout: a click takes it into use.
fn row(ui: &mut Ui, cx: &Cx<'_>, index: usize, layout: &SavedLayout) {
    let theme = &cx.theme;
    let name = &layout.name;
    ui.with_layout(egui::Layout::right_to_left(Align::Center), |ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        if widgets::icon_button(ui, theme, Icon::Trash2, &format!("Delete layout {name}"), false).clicked() {
            send(cx, LayoutCommand::Delete(index));
        }
        if widgets::icon_button(ui, theme, Icon::Pencil, &format!("Rename layout {name}"), false).clicked() {
            send(cx, LayoutCommand::Rename(index, name.clone()));
        }
        ui.with_layout(egui::Layout::left_to_right(Align::Center), |ui| {
            let icon = theme.icon(icon_of(layout.layout), theme.palette.weak);
            let button = Button::new((icon, name.as_str())).frame_when_inactive(false).truncate();
            // What is on the right keeps the name on the left.
            let button = button.right_text("").min_size(vec2(ui.available_width(), 0.0));
            if widgets::named(ui.add(button), &format!("Use layout {name}")).clicked() {
                send(cx, LayoutCommand::Apply(index));
                ui.close();
            }
        });
    });
}
