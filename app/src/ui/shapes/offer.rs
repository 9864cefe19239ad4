//! What is on offer, at the foot of the image: its name and size, and the two answers to it.

use bifocal_core::annotation::MaskKey;
use eframe::egui::{Align2, Area, Frame, Id, Order, Painter, Stroke, Ui, vec2};

use crate::drawing::Canvas;
use crate::keymap::Action;
use crate::smart::Clicks;
use crate::ui::{Cx, annotations, widgets};
use crate::view::ScreenFromImage;

/// Draws it.
pub(super) fn show(ui: &Ui, painter: &Painter, cx: &Cx<'_>, on: &Canvas<'_>, map: &ScreenFromImage) {
    let drawing = &cx.state.drawing;
    let theme = &cx.theme;
    let here = |key: &MaskKey| key.instance == *on.instance && key.frame == on.frame_index;
    if let Some(clicks) = drawing.clicks.as_ref().filter(|clicks| here(clicks.mask())) {
        mark(painter, cx, map, clicks);
    }
    let Some(proposal) = &drawing.proposal else { return };
    let size = proposal.masks.iter().find(|(key, _)| here(key));
    let words = match size {
        Some((_, pixels)) => format!("{}  ·  {}", proposal.title, annotations::area_in_words(pixels, on.scale())),
        None => format!("{}  ·  not on this image", proposal.title),
    };
    let foot = map.pane().center_bottom() - vec2(0.0, theme.space().xl);
    let area = Area::new(Id::unique("what is on offer")).order(Order::Foreground);
    area.pivot(Align2::CENTER_BOTTOM).fixed_pos(foot).constrain_to(map.pane()).show(ui.ctx(), |ui| {
        Frame::popup(ui.style()).show(ui, |ui| {
            // Two short lines: the panes of two lenses are narrow.
            ui.set_max_width(map.pane().width() - 2.0 * theme.space().xl);
            widgets::caption(ui, theme, words);
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = theme.space().s;
                for (action, key, name) in
                    [(Action::TakeOffer, Action::CommentFinding, "Take"), (Action::Escape, Action::Escape, "Drop")]
                {
                    let words = cx.state.settings.keys.with_text(name, key);
                    if widgets::named(ui.button(words), name).clicked() {
                        cx.act(action);
                    }
                }
            });
        });
    });
}

/// A cross where a stroke began: upright for the tissue, a bar for what is not meant.
fn mark(painter: &Painter, cx: &Cx<'_>, map: &ScreenFromImage, clicks: &Clicks) {
    let (arm, colors) = (cx.theme.space().xs, cx.theme.viewport());
    for (at, negative) in clicks.starts() {
        let at = super::on_screen(map, at);
        for (width, color) in [(4.0, colors.halo), (1.5, colors.text)] {
            let stroke = Stroke::new(width, color);
            painter.hline(at.x - arm..=at.x + arm, at.y, stroke);
            if !negative {
                painter.vline(at.x, at.y - arm..=at.y + arm, stroke);
            }
        }
    }
}
