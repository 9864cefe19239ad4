//! The veil that shows while files are held over the window.

use eframe::egui::{self, Align2, CornerRadius, Id, LayerId, Order, Stroke, StrokeKind};

use super::Cx;

/// Draws the veil, while something is held over the window.
pub fn show(ui: &mut egui::Ui, cx: &Cx<'_>) {
    let held = ui.input(|input| input.raw.hovered_files.len());
    if held == 0 {
        return;
    }
    let theme = &cx.theme;
    let painter = ui.ctx().layer_painter(LayerId::new(Order::Foreground, Id::unique("drop hint")));
    let rect = ui.ctx().content_rect();
    painter.rect_filled(rect, CornerRadius::ZERO, theme.palette.scrim);
    let frame = rect.shrink(theme.space().xl);
    let stroke = Stroke::new(2.0, theme.viewport().text);
    painter.rect_stroke(frame, CornerRadius::same(theme.tokens.radius.l), stroke, StrokeKind::Inside);
    let text = if held == 1 { "Drop to open".to_owned() } else { format!("Drop to open {held} items") };
    let font = egui::FontId::proportional(theme.tokens.text.display);
    painter.text(rect.center(), Align2::CENTER_CENTER, text, font, theme.viewport().text);
}
