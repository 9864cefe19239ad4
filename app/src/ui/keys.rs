//! The map of keys, drawn from the same table that the keyboard reads.

use eframe::egui::{self, Align, Frame, Id, Layout, Margin, Modal, RichText};

use super::{Cx, widgets};
use crate::keymap::{ACTIONS, Action, Group};
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
pub fn show(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let space = theme.space();
    let frame = Frame::popup(ui.style()).inner_margin(Margin::same(space.xl as i8));
    let modal = Modal::new(Id::unique("keys")).frame(frame).backdrop_color(theme.palette.scrim);
    let modal = modal.show(ui.ctx(), |ui| {
        let available = ui.ctx().content_rect().size();
        ui.set_width((available.x - 2.0 * space.xxl).min(1040.0));
        ui.horizontal(|ui| {
            ui.label(RichText::new("Keys and mouse").size(theme.tokens.text.display));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if widgets::icon_button(ui, theme, lucide_icons::Icon::X, "Close  (Esc)", false).clicked() {
                    cx.act(Action::ShowKeys);
                }
            });
        });
        ui.add_space(space.m);
        let height = available.y - 4.0 * space.xxl;
        egui::ScrollArea::vertical().max_height(height).min_scrolled_height(height).show(ui, |ui| {
            ui.spacing_mut().item_spacing.x = space.xl;
            ui.columns(3, |columns| {
                column(&mut columns[0], cx, &[Group::View, Group::Navigate]);
                column(&mut columns[1], cx, &[Group::Draw]);
                column(&mut columns[2], cx, &[Group::Read, Group::Window, Group::General]);
                let ui = &mut columns[1];
                ui.add_space(space.l);
                widgets::heading(ui, theme, "Mouse on an image");
                for (input, effect) in MOUSE {
                    row(ui, cx, effect, &[(*input).to_owned()]);
                }
            });
        });
    });
    if modal.should_close() {
        cx.act(Action::ShowKeys);
    }
}

fn column(ui: &mut egui::Ui, cx: &Cx<'_>, groups: &[Group]) {
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            ui.add_space(cx.theme.space().l);
        }
        widgets::heading(ui, &cx.theme, group.title());
        for entry in ACTIONS.iter().filter(|entry| entry.group == *group && !entry.keys.is_empty()) {
            let keys: Vec<String> = entry.keys.iter().take(2).map(|key| key.label()).collect();
            let label = match entry.action {
                Action::Preset(digit) => match WindowChoice::preset(digit) {
                    Some(WindowChoice::Fixed(w)) => format!("{}  {} / {}", w.name, w.width, w.center),
                    _ => entry.label.to_owned(),
                },
                _ => entry.label.to_owned(),
            };
            row(ui, cx, &label, &keys);
        }
    }
}

fn row(ui: &mut egui::Ui, cx: &Cx<'_>, label: &str, keys: &[String]) {
    ui.horizontal(|ui| {
        ui.spacing_mut().interact_size.y = 0.0;
        ui.spacing_mut().item_spacing.x = cx.theme.space().xs;
        ui.label(RichText::new(label).font(cx.theme.body()).color(cx.theme.palette.weak));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            for key in keys.iter().rev() {
                widgets::key_cap(ui, &cx.theme, key);
            }
        });
    });
}
