//! Lines and handles of shapes.

use bifocal_core::annotation::ShapeKind;
use eframe::egui::{Color32, Painter, Pos2, Shape, Stroke, Vec2, vec2};

use super::Shown;
use crate::drawing::Canvas;
use crate::ui::Cx;
use crate::view::ScreenFromImage;

const HANDLE: f32 = 4.0;
const ARROW_HEAD: f32 = 13.0;
/// Sides that an ellipse is drawn with.
const ROUND: usize = 72;

/// The straight lines that a shape is drawn with, on the screen; of closed shapes the edge after each point.
pub(super) fn edges(item: &Shown) -> Vec<(Pos2, Pos2)> {
    let p = &item.points;
    let closed = |points: &[Pos2]| -> Vec<(Pos2, Pos2)> {
        let next = points.iter().cycle().skip(1);
        points.iter().zip(next).map(|(a, b)| (*a, *b)).collect()
    };
    match (item.shape.kind, p.as_slice()) {
        (ShapeKind::Cobb | ShapeKind::Bidirectional, [a, b, rest @ ..]) => {
            let mut lines = vec![(*a, *b)];
            if let [c, d, ..] = rest {
                lines.push((*c, *d));
            }
            lines
        }
        (ShapeKind::Ellipse, [a, b, c, d]) => closed(&ellipse([*a, *b, *c, *d])),
        (ShapeKind::Rectangle, _) => closed(p),
        (ShapeKind::Polygon | ShapeKind::Freehand, _) if item.id.is_some() => closed(p),
        _ => p.windows(2).map(|pair| (pair[0], pair[1])).collect(),
    }
}

fn ellipse([a, b, c, d]: [Pos2; 4]) -> Vec<Pos2> {
    let middle = Pos2::new((a.x + b.x + c.x + d.x) / 4.0, (a.y + b.y + c.y + d.y) / 4.0);
    let (u, v) = ((b - a) / 2.0, (d - c) / 2.0);
    let turn = |n: usize| std::f32::consts::TAU * n as f32 / ROUND as f32;
    (0..ROUND).map(|n| middle + u * turn(n).cos() + v * turn(n).sin()).collect()
}

/// Draws a shape, with handles where it is selected.
pub(super) fn shape(painter: &Painter, cx: &Cx<'_>, _map: &ScreenFromImage, item: &Shown) {
    let halo = cx.theme.viewport().halo.gamma_multiply(0.6);
    let width = if item.selected { 2.0 } else { 1.5 } * cx.theme.size().hairline;
    let lines = edges(item);
    for (width, color) in [(width + 2.0, halo), (width, item.color)] {
        let stroke = Stroke::new(width, color);
        for (a, b) in &lines {
            painter.line_segment([*a, *b], stroke);
        }
        match (item.shape.kind, item.points.as_slice()) {
            (ShapeKind::Arrow, [tip, tail, ..]) => arrow_head(painter, *tip, *tail, stroke),
            (ShapeKind::Point, [at]) => {
                for arm in [vec2(1.0, 0.0), vec2(-1.0, 0.0), vec2(0.0, 1.0), vec2(0.0, -1.0)] {
                    painter.line_segment([*at + arm * 3.0, *at + arm * 9.0], stroke);
                }
            }
            (ShapeKind::Angle, [a, vertex, b]) => arc(painter, *a, *vertex, *b, stroke),
            (ShapeKind::Cobb, [a, b, c, d]) => dashed(painter, middle(*a, *b), middle(*c, *d), width, color),
            _ => {}
        }
    }
    if item.selected {
        for point in &item.points {
            painter.circle(*point, HANDLE, halo, Stroke::new(1.5, item.color));
        }
    } else if item.shape.kind == ShapeKind::Text {
        for point in &item.points {
            painter.circle_filled(*point, 2.0, item.color);
        }
    }
}

fn middle(a: Pos2, b: Pos2) -> Pos2 {
    a + (b - a) / 2.0
}

fn arrow_head(painter: &Painter, tip: Pos2, tail: Pos2, stroke: Stroke) {
    let back = tail - tip;
    if back.length() < 1.0 {
        return;
    }
    let back = back.normalized() * ARROW_HEAD.min(back.length());
    let side = Vec2::new(-back.y, back.x) * 0.4;
    painter.line_segment([tip, tip + back + side], stroke);
    painter.line_segment([tip, tip + back - side], stroke);
}

/// A small arc that shows which angle is meant.
fn arc(painter: &Painter, a: Pos2, vertex: Pos2, b: Pos2, stroke: Stroke) {
    let radius = (a - vertex).length().min((b - vertex).length()).min(60.0) * 0.4;
    let (from, mut to) = ((a - vertex).angle(), (b - vertex).angle());
    if to - from > std::f32::consts::PI {
        to -= std::f32::consts::TAU;
    } else if from - to > std::f32::consts::PI {
        to += std::f32::consts::TAU;
    }
    let steps = 24;
    let at = |n: i32| vertex + Vec2::angled(from + (to - from) * n as f32 / steps as f32) * radius;
    painter.add(Shape::line((0..=steps).map(at).collect(), stroke));
}

/// A dotted line: leads from one thing to another without being one.
pub(super) fn dashed(painter: &Painter, from: Pos2, to: Pos2, width: f32, color: Color32) {
    painter.extend(Shape::dashed_line(&[from, to], Stroke::new(width * 0.7, color), 3.0, 4.0));
}

/// The brush's outline at the pointer, in the size that it paints.
pub(super) fn brush(painter: &Painter, cx: &Cx<'_>, on: &Canvas<'_>, map: &ScreenFromImage, at: Pos2, erase: bool) {
    let scale = on.scale();
    let drawing = &cx.state.drawing;
    let radius = drawing.brush.radius;
    let middle = map.image_point(at);
    let (down, right) = ((radius / scale.row) as f32, (radius / scale.column) as f32);
    let turn = |n: usize| std::f32::consts::TAU * n as f32 / ROUND as f32;
    let points: Vec<Pos2> = (0..ROUND)
        .map(|n| map.row_column((middle.row + down * turn(n).sin(), middle.column + right * turn(n).cos())))
        .collect();
    let color = if erase { cx.theme.viewport().text } else { super::color_of(cx, drawing.label_or_first()) };
    painter.add(Shape::closed_line(points.clone(), Stroke::new(3.0, cx.theme.viewport().halo.gamma_multiply(0.6))));
    painter.add(Shape::closed_line(points, Stroke::new(cx.theme.size().hairline, color)));
}
