//! What another reader drew on the image, beside one's own: dashed, without handles, out of the pointer's reach.

use bifocal_core::measure::Runs;
use eframe::egui::{Align2, Painter, Pos2, Shape, Stroke, vec2};

use super::on_screen;
use crate::drawing::Canvas;
use crate::state::Reading;
use crate::ui::{Cx, widgets};
use crate::view::ScreenFromImage;

/// Length of dashes, points.
pub const DASH: f32 = 6.0;
/// Gaps between them, points.
pub const GAP: f32 = 4.0;

/// Draws it.
pub(super) fn paint(painter: &Painter, cx: &Cx<'_>, reading: &Reading, on: &Canvas<'_>, map: &ScreenFromImage) {
    let Some((reader, session)) = cx.state.beside(reading) else { return };
    for (_, shape) in session.shapes_on(on.instance, on.frame_index).filter(|(_, shape)| !shape.hidden) {
        let outlines = shape.outlines(&on.frame.display);
        let mut lowest: Option<Pos2> = None;
        for outline in &outlines {
            let mut points: Vec<Pos2> =
                outline.points.iter().map(|[row, column]| on_screen(map, (*row, *column))).collect();
            lowest = points.iter().copied().chain(lowest).reduce(|a, b| if a.y >= b.y { a } else { b });
            if outline.closed {
                points.extend(points.first().copied());
            }
            dashes(painter, cx, &points, shape.label.as_deref());
        }
        if let Some(at) = lowest {
            name(painter, cx, at, reader, shape.label.as_deref());
        }
    }
    for (label, pixels) in session.masks_on(on.instance, on.frame_index) {
        let loops = rims(pixels, on.frame.shape());
        let mut lowest: Option<Pos2> = None;
        for rim in &loops {
            // From corners of pixels to their middles, where places are counted from.
            let at = |(row, column): &(usize, usize)| on_screen(map, (*row as f64 - 0.5, *column as f64 - 0.5));
            let points: Vec<Pos2> = rim.iter().map(at).collect();
            lowest = points.iter().copied().chain(lowest).reduce(|a, b| if a.y >= b.y { a } else { b });
            dashes(painter, cx, &points, Some(label));
        }
        if let Some(at) = lowest {
            name(painter, cx, at, reader, Some(label));
        }
    }
}

fn dashes(painter: &Painter, cx: &Cx<'_>, points: &[Pos2], label: Option<&str>) {
    let color = super::color_of(cx, label);
    let halo = cx.theme.viewport().halo.gamma_multiply(0.6);
    if let [at] = points {
        painter.circle_stroke(*at, DASH, Stroke::new(cx.theme.size().hairline, color));
        return;
    }
    let width = 1.5 * cx.theme.size().hairline;
    for (width, color) in [(width + 2.0, halo), (width, color)] {
        painter.extend(Shape::dashed_line(points, Stroke::new(width, color), DASH, GAP));
    }
}

fn name(painter: &Painter, cx: &Cx<'_>, at: Pos2, reader: &str, label: Option<&str>) {
    let title = label.map(|key| cx.state.drawing.label_of(key).map_or(key, |label| label.name.as_str()));
    let words = title.map_or_else(|| reader.to_owned(), |title| format!("{reader} · {title}"));
    let at = at + vec2(0.0, cx.theme.space().xs);
    let color = super::color_of(cx, label);
    widgets::plated_text(painter, &cx.theme, at, Align2::CENTER_TOP, words, cx.theme.small(), color);
}

/// The rims of a region, as closed lines through corners of pixels (row, column), the last one the first again.
fn rims(pixels: &Runs, (rows, columns): (usize, usize)) -> Vec<Vec<(usize, usize)>> {
    let Some([top, left, bottom, right]) = pixels.bounds(columns) else { return Vec::new() };
    let (height, width) = (bottom - top + 1, right - left + 1);
    let mask = pixels.to_mask((rows, columns));
    let inside = |row: isize, column: isize| {
        row >= 0
            && column >= 0
            && (row as usize) < height
            && (column as usize) < width
            && mask[[top + row as usize, left + column as usize]] > 0
    };
    // Edges between a pixel inside and one outside, with the inside on their right: at most two begin at a corner.
    let at = |row: isize, column: isize| row as usize * (width + 1) + column as usize;
    let mut next: Vec<[Option<(usize, usize)>; 2]> = vec![[None; 2]; (height + 1) * (width + 1)];
    let mut edge = |from: usize, to: (usize, usize)| {
        let slots = &mut next[from];
        slots[usize::from(slots[0].is_some())] = Some(to);
    };
    for row in 0..height as isize {
        for column in 0..width as isize {
            if !inside(row, column) {
                continue;
            }
            let corner = |row: isize, column: isize| (row as usize, column as usize);
            if !inside(row - 1, column) {
                edge(at(row, column), corner(row, column + 1));
            }
            if !inside(row, column + 1) {
                edge(at(row, column + 1), corner(row + 1, column + 1));
            }
            if !inside(row + 1, column) {
                edge(at(row + 1, column + 1), corner(row + 1, column));
            }
            if !inside(row, column - 1) {
                edge(at(row + 1, column), corner(row, column));
            }
        }
    }
    let mut loops = Vec::new();
    for start in 0..next.len() {
        while next[start][0].is_some() {
            let first = (start / (width + 1), start % (width + 1));
            let mut line = vec![first];
            let mut from = start;
            // Of two ways on, either closes a line.
            while let Some(to) = next[from][0].take() {
                next[from].swap(0, 1);
                line.push(to);
                if to == first {
                    break;
                }
                from = to.0 * (width + 1) + to.1;
            }
            loops.push(line.into_iter().map(|(row, column)| (row + top, column + left)).collect());
        }
    }
    loops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rims_go_around_regions_and_their_holes() {
        // Rows 1 to 4, columns 2 to 5 of 10 columns, without the pixel (2, 3); and a pixel that touches it by a corner.
        let mut runs: Vec<(u32, u32)> = (1..5).map(|row| (row * 10 + 2, 4)).collect();
        runs[1] = (22, 1);
        runs.push((24, 2));
        runs.push((56, 1));
        runs.sort_unstable();
        let loops = rims(&Runs::new(runs), (10, 10));
        assert!(loops.iter().all(|line| line.first() == line.last()), "{loops:?}");
        let mut lengths: Vec<usize> = loops.iter().map(|line| line.len() - 1).collect();
        lengths.sort_unstable();
        // 16 around, 4 around the hole, 4 around the single pixel; the two that touch may be one line.
        assert!(lengths == [4, 4, 16] || lengths == [4, 20], "{lengths:?}");
        assert!(loops.iter().flatten().all(|(row, column)| (1..=6).contains(row) && (2..=7).contains(column)));
        assert!(rims(&Runs::default(), (10, 10)).is_empty());
    }
}
