//! The menu of layouts: lenses, planes, grids of viewports, and what the viewports do together.

use eframe::egui::{self, Button, CornerRadius, Rect, RichText, Sense, Stroke, StrokeKind, Ui, vec2};
use lucide_icons::Icon;

use super::{Cx, widgets};
use crate::command::Command;
use crate::desk::{DeskCommand, Layout, Links, MOST_ROWS};
use crate::keymap::Action;

/// The button of the bar above the images, with its menu.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let layout = cx.state.settings.layout;
    let side = theme.size().control;
    let icon = match layout {
        Layout::Lenses => Icon::Columns2,
        Layout::Planes => Icon::Box,
        Layout::Grid { .. } => Icon::LayoutGrid,
    };
    let chevron = theme.icon(Icon::ChevronDown, theme.palette.weak).size(theme.tokens.text.body);
    let button = Button::new((theme.icon(icon, theme.palette.text), chevron)).min_size(vec2(side, side));
    let config =
        egui::containers::menu::MenuConfig::new().close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside);
    let (response, _) = egui::containers::menu::MenuButton::from_button(button).config(config).ui(ui, |ui| {
        ui.set_min_width(216.0);
        choice(ui, cx, Layout::Lenses, Icon::Columns2, "Two lenses", Action::Lenses);
        choice(ui, cx, Layout::Planes, Icon::Box, "Planes (MPR)", Action::Planes);
        ui.separator();
        widgets::caption(ui, theme, "Viewports");
        grids(ui, cx);
        ui.separator();
        links(ui, cx);
    });
    widgets::named(response, "Layout").on_hover_text("Layout");
}

fn choice(ui: &mut Ui, cx: &Cx<'_>, layout: Layout, icon: Icon, label: &str, action: Action) {
    let theme = &cx.theme;
    let keys = RichText::new(cx.key(action)).font(theme.small()).color(theme.palette.faint);
    let selected = cx.state.settings.layout == layout;
    let button = Button::selectable(selected, (theme.icon(icon, theme.palette.weak), label)).shortcut_text(keys);
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
