//! What the reader has drawn on slices, on the planes that cut it: whole where a plane lies on the slice, else where it goes through.

use bifocal_core::annotation::{Session, Shape as Drawn};
use bifocal_core::volume::{Section, Vector, section};
use eframe::egui::{Align2, Color32, Painter, Pos2, Shape, Stroke, vec2};

use super::planes::PlaneMap;
use super::{Cx, shapes, widgets};
use crate::planes::Planes;
use crate::state::Reading;

/// How lines are drawn, and whose they are.
#[derive(Clone, Copy)]
struct Pen<'a> {
    color: Color32,
    /// The other reader, whose lines are dashed.
    other: Option<&'a str>,
}

/// Draws the shapes of the series that is read, and another reader's beside them; only those with a place in the patient have one here.
pub fn paint(painter: &Painter, cx: &Cx<'_>, reading: &Reading, planes: &Planes, map: &PlaneMap) {
    drawn(painter, cx, reading.document.session(), None, planes, map);
    if let Some((reader, session)) = cx.state.beside(reading) {
        drawn(painter, cx, session, Some(reader), planes, map);
    }
}

fn drawn(painter: &Painter, cx: &Cx<'_>, session: &Session, other: Option<&str>, planes: &Planes, map: &PlaneMap) {
    let plane = map.plane();
    let normal = plane.orientation.normal();
    // A slice fills half the way to its neighbours, a slab all of its thickness.
    let reach = 0.5 * planes.volume.grid.step_mm(normal).max(planes.slab.thickness_mm);
    for shape in session.shapes.values().filter(|shape| !shape.hidden) {
        let pen = Pen { color: shapes::color_of(cx, shape.label.as_deref()), other };
        for outline in shape.outlines_in_patient() {
            match section(&outline.points, outline.closed, planes.crosshair, normal, reach) {
                Section::Missed => {}
                Section::Whole => whole(painter, cx, map, shape, (&outline.points, outline.closed), pen),
                Section::Across(cuts) => {
                    for [a, b] in cuts {
                        let ends = [map.screen(a), map.screen(b)];
                        stroke(painter, cx, &ends, false, pen);
                        for end in ends {
                            dot(painter, cx, end, pen);
                        }
                    }
                }
                Section::Through(places) => {
                    for place in places {
                        dot(painter, cx, map.screen(place), pen);
                    }
                }
            }
        }
    }
}

fn whole(
    painter: &Painter,
    cx: &Cx<'_>,
    map: &PlaneMap,
    shape: &Drawn,
    (outline, closed): (&[Vector], bool),
    pen: Pen<'_>,
) {
    let points: Vec<Pos2> = outline.iter().map(|point| map.screen(*point)).collect();
    match points[..] {
        [at] => dot(painter, cx, at, pen),
        _ => stroke(painter, cx, &points, closed, pen),
    }
    let theme = &cx.theme;
    // One's own name stands above, the other's below.
    let (end, align, away) = match pen.other {
        None => (points.iter().min_by(|a, b| a.y.total_cmp(&b.y)), Align2::LEFT_BOTTOM, -theme.space().xs),
        Some(_) => (points.iter().max_by(|a, b| a.y.total_cmp(&b.y)), Align2::LEFT_TOP, theme.space().xs),
    };
    let Some(end) = end else { return };
    let title = pen.other.map_or_else(|| shape.title().to_owned(), |reader| format!("{reader} · {}", shape.title()));
    let at = *end + vec2(theme.space().s, away);
    widgets::plated_text(painter, theme, at, align, title, theme.small(), pen.color);
}

fn stroke(painter: &Painter, cx: &Cx<'_>, points: &[Pos2], closed: bool, pen: Pen<'_>) {
    let halo = cx.theme.viewport().halo.gamma_multiply(0.6);
    let width = 1.5 * cx.theme.size().hairline;
    let mut line = points.to_vec();
    if closed {
        line.extend(points.first().copied());
    }
    for (width, color) in [(width + 2.0, halo), (width, pen.color)] {
        let stroke = Stroke::new(width, color);
        match pen.other {
            None if closed => _ = painter.add(Shape::closed_line(points.to_vec(), stroke)),
            None => _ = painter.add(Shape::line(line.clone(), stroke)),
            Some(_) => painter.extend(Shape::dashed_line(&line, stroke, shapes::DASH, shapes::GAP)),
        }
    }
}

/// Filled for one's own, a ring for the other's.
fn dot(painter: &Painter, cx: &Cx<'_>, at: Pos2, pen: Pen<'_>) {
    let halo = cx.theme.viewport().halo;
    match pen.other {
        None => _ = painter.circle(at, 3.0, pen.color, Stroke::new(1.5, halo)),
        Some(_) => _ = painter.circle(at, 3.0, halo, Stroke::new(1.5, pen.color)),
    }
}
