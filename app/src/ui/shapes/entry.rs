//! The field on the image: words of a text, the true length of a line.

use eframe::egui::{Area, Frame, Id, Key, Order, RichText, TextEdit, Ui, vec2};

use super::on_screen;
use crate::command::Command;
use crate::drawing::{Canvas, Purpose};
use crate::shape_commands::DrawCommand;
use crate::ui::{Cx, widgets};
use crate::view::ScreenFromImage;

/// Draws the field where one is open on this frame, in the pane that has the pointer's lens.
pub(super) fn show(ui: &Ui, cx: &Cx<'_>, on: &Canvas<'_>, map: &ScreenFromImage) {
    let Some(entry) = &cx.state.drawing.entry else { return };
    let here = entry.instance == *on.instance && entry.frame == on.frame_index;
    if !here {
        return;
    }
    let theme = &cx.theme;
    let (name, title, hint, width) = match entry.purpose {
        Purpose::Text => ("Text on the image", "Words at this place", "Text", 180.0),
        Purpose::Calibrate(..) => ("True length of the line", "How long is this line?", "25 mm or 2.5 cm", 150.0),
    };
    let size = vec2(width + 40.0, theme.size().control * 2.0);
    let at = on_screen(map, entry.at) + vec2(12.0, 12.0);
    let limits = map.pane().shrink(theme.space().s);
    let at = at.clamp(limits.min, (limits.max - size).max(limits.min));
    Area::new(Id::unique("field on the image")).order(Order::Foreground).fixed_pos(at).show(ui.ctx(), |ui| {
        Frame::popup(ui.style()).show(ui, |ui| {
            widgets::caption(ui, theme, title);
            let mut text = entry.text.clone();
            let hint = RichText::new(hint).color(theme.palette.weak);
            let field = ui.add(TextEdit::singleline(&mut text).hint_text(hint).desired_width(width));
            let field = field.accessible_name(name);
            if !entry.focused {
                field.request_focus();
            }
            let send = |command| cx.send(Command::Draw(command));
            if text != entry.text || (!entry.focused && field.has_focus()) {
                send(DrawCommand::Entry(text));
            }
            if field.lost_focus() {
                let left = ui.input(|input| input.key_pressed(Key::Escape));
                send(if left { DrawCommand::EntryCancelled } else { DrawCommand::EntryDone });
            }
        });
    });
}
