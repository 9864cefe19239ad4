//! One way to lay something over an image or a plane: a texture in its place, and a colour bar that says what it means.

use bifocal_core::render::HeatStyle;
use eframe::egui::{
    Align2, Color32, CornerRadius, Mesh, Painter, Pos2, Rect, Shape, Stroke, StrokeKind, TextureId, epaint::Vertex,
    pos2, vec2,
};

use super::planes::PlaneMap;
use super::{Cx, widgets};
use crate::overlays::LayerTexture;
use crate::reformat::Laid;

/// Draws a whole texture between four corners: top left, top right, bottom right, bottom left of the texture.
pub fn texture(painter: &Painter, texture: TextureId, corners: [Pos2; 4]) {
    part(painter, texture, Rect::from_min_max(Pos2::ZERO, pos2(1.0, 1.0)), corners, Color32::WHITE);
}

/// Draws a map whose whole texture lies between four corners, as [`texture`] does, but only the part that is not clear: most of a lesion map is, and
/// to blend clear pixels in takes as long as any others.
pub fn layer(painter: &Painter, over: &LayerTexture, corners: [Pos2; 4]) {
    layer_in(painter, over, corners, Color32::WHITE);
}

/// As [`layer`], its colours multiplied by one.
fn layer_in(painter: &Painter, layer: &LayerTexture, corners: [Pos2; 4], color: Color32) {
    if layer.seen.is_positive() {
        part(painter, layer.handle.id(), layer.seen, corners, color);
    }
}

/// Draws a part of the texture, 0 to 1, that as a whole lies between four corners of a parallelogram.
fn part(painter: &Painter, texture: TextureId, uv: Rect, [corner, right, _, below]: [Pos2; 4], color: Color32) {
    let mut mesh = Mesh::with_texture(texture);
    for uv in [uv.left_top(), uv.right_top(), uv.right_bottom(), uv.left_bottom()] {
        let pos = corner + (right - corner) * uv.x + (below - corner) * uv.y;
        mesh.vertices.push(Vertex { pos, uv, color });
    }
    mesh.add_triangle(0, 1, 2);
    mesh.add_triangle(0, 2, 3);
    painter.add(Shape::mesh(mesh));
}

/// Draws what is laid over a plane, where it lies.
pub fn laid(painter: &Painter, cx: &Cx<'_>, map: &PlaneMap, laid: &Laid, style: &HeatStyle) {
    tinted(painter, cx, map, laid, style, Color32::WHITE);
}

/// As [`laid`], its colours multiplied by one.
pub fn tinted(painter: &Painter, cx: &Cx<'_>, map: &PlaneMap, laid: &Laid, style: &HeatStyle, color: Color32) {
    let over = cx.overlays.layer(&laid.values, style);
    layer_in(painter, &over, map.corners(&laid.plane, over.covers), color);
}

/// A colour bar on the left edge of a pane.
pub struct ColorBar<'a> {
    /// Colours, range, threshold.
    pub style: &'a HeatStyle,
    /// What the values are, with their unit.
    pub title: &'a str,
    /// Values with a tick.
    pub ticks: &'a [f32],
    /// A value with a word of its own: where findings begin, what an even map would give.
    pub mark: Option<(f32, &'a str, Color32)>,
    /// Bars to its left.
    pub place: usize,
}

/// Ticks of probabilities and shares.
pub const SHARES: [f32; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// Room for a bar with its labels, points.
const BAR_WIDTH: f32 = 148.0;

impl ColorBar<'_> {
    /// Draws it; nothing in a pane that is too small for it.
    pub fn paint(&self, painter: &Painter, cx: &Cx<'_>, pane: Rect) {
        let theme = &cx.theme;
        let (space, colors) = (theme.space(), theme.viewport());
        let height = (pane.height() * 0.26).clamp(72.0, 200.0);
        let left = pane.left() + space.xl + space.s + self.place as f32 * BAR_WIDTH;
        if pane.height() < 260.0 || pane.width() < 260.0 + 1.3 * self.place as f32 * BAR_WIDTH {
            return;
        }
        let bar = Rect::from_min_size(pos2(left, pane.center().y - height / 2.0), vec2(space.s, height));
        painter.rect_filled(bar.expand(1.0), CornerRadius::ZERO, colors.halo);
        let texture = cx.overlays.bar(self.style);
        painter.image(texture.id(), bar, Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0)), Color32::WHITE);
        let line = Stroke::new(theme.size().hairline, colors.line);
        painter.rect_stroke(bar, CornerRadius::ZERO, line, StrokeKind::Outside);
        let y_of = |value: f32| bar.bottom() - bar.height() * self.style.share(value).clamp(0.0, 1.0);
        let label = |value: f32, text: String, color: Color32| {
            let y = y_of(value);
            painter.hline(bar.right()..=bar.right() + space.xs, y, Stroke::new(theme.size().hairline, color));
            let at = pos2(bar.right() + space.xs + 2.0, y);
            widgets::plated_text(painter, theme, at, Align2::LEFT_CENTER, text, theme.small(), color);
        };
        let near = |value: f32| {
            let of_mark = |(mark, ..): (f32, &str, Color32)| (y_of(value) - y_of(mark)).abs();
            self.mark.is_some_and(|mark| of_mark(mark) < theme.tokens.text.small + 1.0)
        };
        for value in self.ticks.iter().filter(|value| !near(**value)) {
            label(*value, number(*value), colors.weak);
        }
        if let Some((mark, word, color)) = self.mark {
            label(mark, format!("{mark:.2} {word}"), color);
        }
        let at = pos2(bar.left(), bar.top() - space.s);
        widgets::plated_text(painter, theme, at, Align2::LEFT_BOTTOM, self.title, theme.small(), colors.weak);
    }
}

/// A value with as many digits as are worth reading: `0`, `0.25`, `3.5`, `12000`.
pub fn number(value: f32) -> String {
    let digits = match value.abs() {
        v if v < 1.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let all = [0.0, 0.25, 0.5, 1.0, 3.5, 7.0, -20.0, 12_345.6].map(number);
        assert_eq!(all, ["0", "0.25", "0.5", "1", "3.5", "7", "-20", "12346"]);
    }
}
