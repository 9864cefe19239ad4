//! The panel on the right: findings, organs and impression.

use eframe::egui::{self, Frame, Panel, Ui};
use lucide_icons::Icon;

use super::{Cx, widgets};

/// Draws the panel.
pub fn show(ui: &mut Ui, cx: &Cx<'_>) {
    let theme = &cx.theme;
    let frame: Frame = theme.panel_frame().stroke(theme.line());
    Panel::right("findings")
        .default_size(theme.size().findings)
        .size_range(240.0..=520.0)
        .show_separator_line(false)
        .frame(frame)
        .show(ui, |ui| {
            egui::ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                widgets::heading(ui, theme, "Findings");
                widgets::empty(ui, theme, Icon::ScanSearch, "Not analysed yet", "Analyse this image: Ctrl+Enter");
            });
        });
}
