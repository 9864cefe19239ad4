//! What the reader has drawn on slices, on the planes that cut it: whole where a plane lies on the slice, else where it goes through.

use bifocal_core::annotation::Shape as Drawn;
use bifocal_core::volume::{Section, Vector, section};
use eframe::egui::{Align2, Color32, Painter, Pos2, Stroke, vec2};

use super::planes::PlaneMap;
use super::{Cx, shapes, widgets};
use crate::planes::Planes;
use crate::state::Reading;

/// Draws the shapes of the series that is read; only those with a place in the patient have one here.
pub fn paint(painter: &Painter, cx: &Cx<'_>, reading: &Reading, planes: &Planes, map: &PlaneMap) {
    let plane = map.plane();
    let normal = plane.orientation.normal();
    // A slice fills half the way to its neighbours, a slab all of its thickness.
    let reach = 0.5 * planes.volume.grid.step_mm(normal).max(planes.slab.thickness_mm);
    for shape in reading.document.session().shapes.values().filter(|shape| !shape.hidden) {
        let color = shapes::color_of(cx, shape.label.as_deref());
        for outline in shape.outlines_in_patient() {
            match section(&outline.points, outline.closed, planes.crosshair, normal, reach) {
                Section::Missed => {}
                Section::Whole => whole(painter, cx, map, shape, (&outline.points, outline.closed), color),
                Section::Across(cuts) => {
                    for [a, b] in cuts {
                        let ends = [map.screen(a), map.screen(b)];
                        stroke(painter, cx, &ends, false, color);
                        for end in ends {
                            dot(painter, cx, end, color);
                        }
                    }
                }
                Section::Through(places) => {
                    for place in places {
                        dot(painter, cx, map.screen(place), color);
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
    color: Color32,
) {
    let points: Vec<Pos2> = outline.iter().map(|point| map.screen(*point)).collect();
    match points[..] {
        [at] => dot(painter, cx, at, color),
        _ => stroke(painter, cx, &points, closed, color),
    }
    let Some(top) = points.iter().copied().min_by(|a, b| a.y.total_cmp(&b.y)) else { return };
    let theme = &cx.theme;
    let at = top + vec2(theme.space().s, -theme.space().xs);
    widgets::plated_text(painter, theme, at, Align2::LEFT_BOTTOM, shape.title(), theme.small(), color);
}

fn stroke(painter: &Painter, cx: &Cx<'_>, points: &[Pos2], closed: bool, color: Color32) {
    let halo = cx.theme.viewport().halo.gamma_multiply(0.6);
    let width = 1.5 * cx.theme.size().hairline;
    for (width, color) in [(width + 2.0, halo), (width, color)] {
        let stroke = Stroke::new(width, color);
        let line = points.to_vec();
        painter.add(if closed {
            eframe::egui::Shape::closed_line(line, stroke)
        } else {
            eframe::egui::Shape::line(line, stroke)
        });
    }
}

fn dot(painter: &Painter, cx: &Cx<'_>, at: Pos2, color: Color32) {
    painter.circle(at, 3.0, color, Stroke::new(1.5, cx.theme.viewport().halo));
}
