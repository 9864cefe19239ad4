//! Captions of shapes: beside the anatomy, not on it, and not on each other, with a leader line to what they belong to.

use std::sync::Arc;

use bifocal_core::study::Frame;
use eframe::egui::{Color32, Galley, Painter, Pos2, Rect, Vec2, vec2};

use super::{Shown, on_screen, paint as lines};
use crate::images::LoadedFrame;
use crate::state::Reading;
use crate::ui::Cx;
use crate::view::ScreenFromImage;

/// Distances from the shape that are tried, points.
const RINGS: [f32; 6] = [10.0, 28.0, 56.0, 96.0, 150.0, 220.0];
/// Directions that are tried: right first, as text is read.
const DIRECTIONS: [(f32, f32); 8] =
    [(1.0, 0.0), (1.0, -1.0), (1.0, 1.0), (0.0, -1.0), (0.0, 1.0), (-1.0, 0.0), (-1.0, -1.0), (-1.0, 1.0)];
/// What a caption over nothing but anatomy costs, in points of distance.
const ANATOMY: f32 = 140.0;
/// What lying on another caption, a shape or a corner text costs.
const COVERED: f32 = 600.0;
/// Display values from this on are anatomy, and on CT values above air: a lung is dark, but it is anatomy.
const AIR: f32 = 0.12;
const AIR_HU: f64 = -950.0;
const PADDING: Vec2 = vec2(5.0, 2.0);

/// Where the captions of the shapes are, in their order.
pub(super) struct Placed(Vec<Option<(Rect, Arc<Galley>)>>);

impl Placed {
    pub(super) fn rect(&self, index: usize) -> Option<Rect> {
        self.0.get(index).and_then(|item| item.as_ref()).map(|(rect, _)| *rect)
    }
}

/// Finds a place for each caption.
pub(super) fn place(
    painter: &Painter,
    cx: &Cx<'_>,
    reading: &Reading,
    loaded: &LoadedFrame,
    map: &ScreenFromImage,
    shown: &[Shown],
) -> Placed {
    let pane = map.pane().shrink(4.0);
    let mut taken: Vec<Rect> = corners(map.pane());
    let shapes: Vec<Rect> = shown.iter().map(|item| Rect::from_points(&item.points)).collect();
    let anatomy = Anatomy::new(reading, loaded, map);
    let mut placed = Vec::with_capacity(shown.len());
    for (index, item) in shown.iter().enumerate() {
        if item.lines.is_empty() || item.points.is_empty() {
            placed.push(None);
            continue;
        }
        let font = cx.theme.small();
        let galley = painter.layout(item.lines.join("\n"), font, item.color, pane.width() * 0.5);
        let size = galley.size() + 2.0 * PADDING;
        let rect = match item.shape.caption_at {
            Some(at) => Rect::from_min_size(on_screen(map, at), size),
            None => {
                let others: Vec<Rect> =
                    shapes.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, rect)| *rect).collect();
                best(pane, shapes[index], size, &taken, &others, &anatomy)
            }
        };
        taken.push(rect);
        placed.push(Some((rect, galley)));
    }
    Placed(placed)
}

/// Where patient, window and scale are written, and where the ruler stands.
fn corners(pane: Rect) -> Vec<Rect> {
    let size = vec2((pane.width() * 0.36).min(230.0), 62.0);
    let at = |min: Pos2| Rect::from_min_size(min, size);
    vec![
        at(pane.min),
        at(pane.right_top() - vec2(size.x, 0.0)),
        at(pane.left_bottom() - vec2(0.0, size.y)),
        at(pane.max - size),
        Rect::from_center_size(pane.right_center() - vec2(38.0, -8.0), vec2(76.0, pane.height() * 0.32 + 24.0)),
        Rect::from_center_size(pane.left_center() + vec2(14.0, 0.0), vec2(28.0, 24.0)),
    ]
}

fn best(pane: Rect, shape: Rect, size: Vec2, taken: &[Rect], others: &[Rect], anatomy: &Anatomy<'_>) -> Rect {
    let mut best: Option<(f32, Rect)> = None;
    for ring in RINGS {
        for (turn, (x, y)) in DIRECTIONS.into_iter().enumerate() {
            let reach = (shape.size() + size) / 2.0 + Vec2::splat(ring);
            let rect = Rect::from_center_size(shape.center() + vec2(x * reach.x, y * reach.y), size);
            let shift = |low: f32, high: f32| (low.max(0.0)) + (high.min(0.0));
            // Pushed back into the pane.
            let rect = rect.translate(vec2(
                shift(pane.left() - rect.left(), pane.right() - rect.right()),
                shift(pane.top() - rect.top(), pane.bottom() - rect.bottom()),
            ));
            let on = |other: &Rect| {
                let both = rect.intersect(*other);
                if both.is_positive() { both.area() / rect.area().max(1.0) } else { 0.0 }
            };
            let covered: f32 =
                taken.iter().map(on).sum::<f32>() + others.iter().map(on).sum::<f32>() * 0.3 + on(&shape);
            let cost = ring + turn as f32 * 2.0 + COVERED * covered + ANATOMY * anatomy.share(rect);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, rect));
            }
        }
    }
    best.map_or(Rect::from_min_size(shape.right_top(), size), |(_, rect)| rect)
}

/// Tells anatomy from air by how bright a place is shown.
struct Anatomy<'a> {
    map: &'a ScreenFromImage,
    /// A small copy of the frame, and how often it was halved.
    small: (&'a Frame, usize),
    voi: bifocal_core::render::Voi,
    hounsfield: bool,
}

impl<'a> Anatomy<'a> {
    fn new(reading: &Reading, loaded: &'a LoadedFrame, map: &'a ScreenFromImage) -> Self {
        let voi = loaded.voi(&reading.view.window, false);
        let hounsfield = loaded.frame().display.units == "HU";
        Self { map, small: loaded.smallest(), voi, hounsfield }
    }

    /// Share of a rectangle of the screen that lies on anatomy, 0 to 1.
    fn share(&self, rect: Rect) -> f32 {
        let (frame, level) = self.small;
        let shrink = (1_u32 << level) as f32;
        let (columns, rows) = (5, 3);
        let mut hits = 0;
        for n in 0..columns * rows {
            let share =
                vec2((n % columns) as f32 + 0.5, (n / columns) as f32 + 0.5) / vec2(columns as f32, rows as f32);
            let point = self.map.image_point(rect.min + rect.size() * share);
            let (row, column) = ((point.row + 0.5) / shrink, (point.column + 0.5) / shrink);
            if row < 0.0 || column < 0.0 {
                continue;
            }
            let value = frame.value_at(row as usize, column as usize);
            hits += usize::from(
                value.is_some_and(|value| if self.hounsfield { value > AIR_HU } else { self.voi.apply(value) > AIR }),
            );
        }
        hits as f32 / (columns * rows) as f32
    }
}

/// Draws captions and leader lines.
pub(super) fn paint(painter: &Painter, cx: &Cx<'_>, shown: &[Shown], placed: &Placed) {
    let theme = &cx.theme;
    for (item, place) in shown.iter().zip(&placed.0) {
        let Some((rect, galley)) = place else { continue };
        leader(painter, item, *rect);
        let plate = theme.viewport().halo.gamma_multiply(crate::ui::widgets::PLATE_OPACITY);
        painter.rect_filled(*rect, f32::from(theme.tokens.radius.s), plate);
        if item.selected {
            let stroke = eframe::egui::Stroke::new(theme.size().hairline, item.color.gamma_multiply(0.7));
            painter.rect_stroke(*rect, f32::from(theme.tokens.radius.s), stroke, eframe::egui::StrokeKind::Inside);
        }
        painter.galley(rect.min + PADDING, Arc::clone(galley), item.color);
    }
}

/// From the edge of the caption to the nearest point of the shape.
fn leader(painter: &Painter, item: &Shown, rect: Rect) {
    let edges = lines::edges(item);
    let ends = edges.iter().flat_map(|(a, b)| [*a, *b, *a + (*b - *a) / 2.0]).chain(item.points.iter().copied());
    let nearest = ends.min_by(|a, b| rect.distance_sq_to_pos(*a).total_cmp(&rect.distance_sq_to_pos(*b)));
    let Some(to) = nearest else { return };
    let from = to.clamp(rect.min, rect.max);
    if from.distance(to) > 6.0 {
        lines::dashed(painter, from, to, 3.0, Color32::from_black_alpha(150));
        lines::dashed(painter, from, to, 1.4, item.color.gamma_multiply(0.8));
    }
}

#[cfg(test)]
mod tests {
    use bifocal_core::study::{DisplayAttributes, Frame, GrayPixels, Pixels};
    use eframe::egui::pos2;
    use ndarray::Array2;

    use super::*;
    use crate::view::ViewState;

    #[test]
    fn captions_lie_in_the_air_and_apart() {
        // The left half is bright, the right half air.
        let pixels = Array2::from_shape_fn((100, 100), |(_, c)| if c < 60 { 200_u8 } else { 0 });
        let display = DisplayAttributes {
            windows: vec![bifocal_core::study::Window::linear(100.0, 200.0)],
            ..DisplayAttributes::default()
        };
        let loaded = LoadedFrame::new(Frame { pixels: Pixels::Gray(GrayPixels::U8(pixels)), display });
        let pane = Rect::from_min_size(pos2(0.0, 0.0), vec2(500.0, 500.0));
        let map = ScreenFromImage::new(&ViewState::default(), (100, 100), &loaded.frame().display, pane);
        let voi = loaded.voi(&crate::view::WindowChoice::FromFile, false);
        let anatomy = Anatomy { map: &map, small: loaded.smallest(), voi, hounsfield: false };
        let shape = Rect::from_center_size(pos2(240.0, 250.0), vec2(60.0, 40.0));
        let size = vec2(90.0, 20.0);
        let first = best(pane, shape, size, &[], &[], &anatomy);
        assert!(first.left() >= 295.0 && pane.contains_rect(first), "in the air to the right: {first:?}");
        let second = best(pane, shape, size, &[first], &[], &anatomy);
        assert!(!second.intersects(first) && !second.intersects(shape), "{second:?}");
    }
}
