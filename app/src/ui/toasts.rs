//! Messages in the lower right corner: they never take the keyboard.

use eframe::egui::{self, Align2, Frame, Margin, RichText, Stroke, vec2};
use lucide_icons::Icon;

use super::{Cx, widgets};
use crate::command::Command;
use crate::state::Tone;

/// Draws the messages.
pub fn show(ui: &mut egui::Ui, cx: &Cx<'_>) {
    if cx.state.toasts.is_empty() {
        return;
    }
    let theme = &cx.theme;
    let space = theme.space();
    let offset = vec2(-space.l, -(theme.size().status_bar + space.l));
    egui::Area::new(egui::Id::unique("toasts"))
        .anchor(Align2::RIGHT_BOTTOM, offset)
        .order(egui::Order::Foreground)
        .show(ui.ctx(), |ui| {
            for toast in &cx.state.toasts {
                let (icon, color) = match toast.tone {
                    Tone::Info => (Icon::Info, theme.palette.weak),
                    Tone::Warning => (Icon::TriangleAlert, theme.palette.warning),
                    Tone::Error => (Icon::CircleX, theme.palette.danger),
                };
                Frame::new()
                    .fill(theme.palette.raised)
                    .stroke(Stroke::new(theme.size().hairline, theme.palette.line))
                    .corner_radius(theme.tokens.radius.m)
                    .shadow(ui.visuals().popup_shadow)
                    .inner_margin(Margin::same(space.m as i8))
                    .show(ui, |ui| {
                        ui.horizontal_top(|ui| {
                            ui.label(theme.icon(icon, color));
                            ui.vertical(|ui| {
                                ui.set_max_width(360.0);
                                ui.add(egui::Label::new(RichText::new(&toast.text).color(theme.palette.text)).wrap());
                            });
                            if widgets::icon_button(ui, theme, Icon::X, "Dismiss  (Esc)", false).clicked() {
                                cx.send(Command::DismissToast(toast.id));
                            }
                        });
                    });
                ui.add_space(space.s);
            }
        });
}
