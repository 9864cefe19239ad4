//! What is on offer, at the foot of the image: its name and size, and the two answers to it.

use bifocal_core::annotation::MaskKey;
use eframe::egui::{Align2, Area, Frame, Id, Order, Ui, vec2};

use crate::drawing::Canvas;
use crate::keymap::{Action, shortcut_text};
use crate::ui::{Cx, annotations, widgets};
use crate::view::ScreenFromImage;

/// Draws it.
pub(super) fn show(ui: &Ui, cx: &Cx<'_>, on: &Canvas<'_>, map: &ScreenFromImage) {
    let Some(proposal) = &cx.state.drawing.proposal else { return };
    let theme = &cx.theme;
    let here = |key: &MaskKey| key.instance == *on.instance && key.frame == on.frame_index;
    let size = proposal.masks.iter().find(|(key, _)| here(key));
    let words = match size {
        Some((_, pixels)) => format!("{}  ·  {}", proposal.title, annotations::area_in_words(pixels, on.scale())),
        None => format!("{}  ·  not on this image", proposal.title),
    };
    let foot = map.pane().center_bottom() - vec2(0.0, theme.space().xl);
    let area = Area::new(Id::unique("what is on offer")).order(Order::Foreground);
    area.pivot(Align2::CENTER_BOTTOM).fixed_pos(foot).constrain_to(map.pane()).show(ui.ctx(), |ui| {
        Frame::popup(ui.style()).show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = theme.space().s;
                ui.label(words);
                for (action, name) in [(Action::TakeOffer, "Take"), (Action::Escape, "Drop")] {
                    let text = format!("{name}  ({})", shortcut_text(action));
                    if widgets::named(ui.button(text), name).clicked() {
                        cx.act(action);
                    }
                }
            });
        });
    });
}
