//! The attention probe on the screen: the probed token, and lines from it to the places it attends.

use eframe::egui::{Align2, Color32, CornerRadius, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, Ui, vec2};

use super::{Cx, widgets};
use crate::keymap::Action;
use crate::probe::Answer;
use crate::state::Lens;
use crate::view::ScreenFromImage;

/// Draws the probed token in both lenses, and its links in the global one, the strongest on top.
pub fn paint(painter: &Painter, cx: &Cx<'_>, lens: Lens, map: &ScreenFromImage, answer: &Answer) {
    let theme = &cx.theme;
    let colors = theme.viewport();
    let from = map.point(answer.from);
    if lens == Lens::Global {
        for link in answer.links.iter().rev() {
            let to = map.point(link.to);
            let width = 1.0 + 2.5 * link.weight * link.weight;
            let color = colors.cool.gamma_multiply(0.45 + 0.55 * link.weight);
            arc(painter, from, to, width + 2.0, colors.halo.gamma_multiply(0.6));
            arc(painter, from, to, width, color);
            painter.circle_filled(to, 3.0 + 3.0 * link.weight, colors.halo);
            painter.circle_filled(to, 2.0 + 3.0 * link.weight, color);
        }
        for link in answer.links.iter().take(3) {
            let away = map.point(link.to) - from;
            let side = if away.x < 0.0 { -1.0 } else { 1.0 };
            let at = map.point(link.to) + vec2(side * theme.space().s, -theme.space().s);
            let align = if side < 0.0 { Align2::RIGHT_BOTTOM } else { Align2::LEFT_BOTTOM };
            let share = format!("{:.1} %", link.share * 100.0);
            widgets::plated_text(painter, theme, at, align, share, theme.small(), colors.text);
        }
    }
    let [top, left, bottom, right] = answer.area;
    let token = Rect::from_two_pos(map.row_column((top, left)), map.row_column((bottom, right)));
    painter.rect_stroke(token, CornerRadius::same(2), Stroke::new(3.0, colors.halo), StrokeKind::Middle);
    painter.rect_stroke(token, CornerRadius::same(2), Stroke::new(1.5, colors.text), StrokeKind::Middle);
    painter.circle_filled(from, 3.5, colors.halo);
    painter.circle_filled(from, 2.5, colors.text);
}

/// A slightly bent line, so that links in one direction stay apart.
fn arc(painter: &Painter, from: Pos2, to: Pos2, width: f32, color: Color32) {
    let across = (to - from).rot90() * 0.12;
    let middle = from + (to - from) * 0.5 + across;
    let points: Vec<Pos2> = (0..=24)
        .map(|step| {
            let t = step as f32 / 24.0;
            let (a, b) = (from + (middle - from) * t, middle + (to - middle) * t);
            a + (b - a) * t
        })
        .collect();
    painter.add(Shape::line(points, Stroke::new(width, color)));
}

/// One line at the foot of a lens while the probe is on: what to do, and how to leave.
pub fn hint(ui: &Ui, cx: &Cx<'_>, lens: Lens, pane: Rect, asked: bool, analysed: bool) {
    let theme = &cx.theme;
    let text = match (analysed, asked, lens) {
        (false, _, _) => &cx.state.settings.keys.with_text("Probe: analyse this image first", Action::Analyse),
        (true, false, _) => "Probe: click a place to see where its token looks  ·  Esc leaves",
        (true, true, Lens::Local) => "Probe: click another place  ·  Esc leaves",
        (true, true, Lens::Global) => "Where the probed token looks",
    };
    let painter = ui.painter_at(pane);
    // Above the letter of orientation at the lower edge, where no other text is.
    let at = pane.center_bottom() - vec2(0.0, theme.space().xl + theme.space().s);
    let galley = painter.layout_no_wrap(text.to_owned(), theme.small(), theme.palette.cool);
    let rect = Align2::CENTER_BOTTOM.anchor_size(at, galley.size());
    let plate = rect.expand2(vec2(theme.space().s, theme.space().xs));
    painter.rect_filled(plate, CornerRadius::same(theme.tokens.radius.s), theme.palette.cool_fill);
    painter.galley(rect.min, galley, theme.palette.cool);
}
