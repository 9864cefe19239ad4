//! The lines of the other two planes in a pane: how they are drawn, held and turned.

use bifocal_core::volume::{Vector, along, dot};
use eframe::egui::{Color32, CursorIcon, Painter, Pos2, Rect, Shape, Stroke, Vec2, vec2};

use super::Cx;
use super::planes::PlaneMap;
use crate::command::Command;
use crate::desk::DeskCommand;
use crate::planes::{PlaneEdit, Planes};

/// What of the lines is held by the pointer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Grab {
    /// The crossing: moves freely.
    Center,
    /// The line of a plane: moves across itself.
    Line(usize),
    /// A handle on the line of a plane: turns both.
    Handle(usize),
}

impl Grab {
    /// The pointer that shows it.
    pub fn cursor(self) -> CursorIcon {
        match self {
            Self::Center => CursorIcon::Move,
            Self::Line(_) => CursorIcon::Grab,
            Self::Handle(_) => CursorIcon::Alias,
        }
    }
}

/// Points around the crossing that are left free, so that what lies there is seen.
const GAP: f32 = 14.0;
/// Points within which a line or a handle is held.
const REACH: f32 = 6.0;
const HANDLE: f32 = 5.0;

/// The colour of a plane's lines and name.
pub fn color(cx: &Cx<'_>, index: usize) -> Color32 {
    let colors = cx.theme.viewport();
    [colors.axial, colors.coronal, colors.sagittal][index % 3]
}

/// The other two panes.
fn others(index: usize) -> [usize; 2] {
    [(index + 1) % 3, (index + 2) % 3]
}

/// The direction of a plane's line on the screen, a unit vector.
fn direction(planes: &Planes, index: usize, other: usize, map: &PlaneMap) -> Option<Vec2> {
    let line = planes.crossing(index, other)?;
    let orientation = &map.plane().orientation;
    let on_screen = vec2(dot(line, orientation.row) as f32, dot(line, orientation.column) as f32);
    (on_screen.length() > 0.5).then(|| on_screen.normalized())
}

/// Both handles of a line: a third of the way to the pane's edge.
fn handles(map: &PlaneMap, center: Pos2, along_line: Vec2) -> [Pos2; 2] {
    let way = 0.36 * map.pane().width().min(map.pane().height());
    [center - along_line * way, center + along_line * way]
}

/// What lies under the pointer.
pub fn grab_at(planes: &Planes, index: usize, map: &PlaneMap, at: Pos2) -> Option<Grab> {
    let center = map.screen(planes.crosshair);
    let from_center = at - center;
    if from_center.length() < GAP {
        return Some(Grab::Center);
    }
    let lines = others(index).map(|other| (other, direction(planes, index, other, map)));
    for (other, line) in lines {
        if let Some(line) = line
            && handles(map, center, line).iter().any(|handle| (at - *handle).length() < HANDLE + REACH)
        {
            return Some(Grab::Handle(other));
        }
    }
    lines.into_iter().find_map(|(other, line)| {
        let across = line?.rot90().dot(from_center);
        (across.abs() < REACH).then_some(Grab::Line(other))
    })
}

/// Moves or turns what is held from one point to another.
pub fn drag(cx: &Cx<'_>, planes: &Planes, index: usize, map: &PlaneMap, grab: Grab, from: Pos2, to: Pos2) {
    let send = |edit| cx.send(Command::Desk(DeskCommand::Planes(edit)));
    match grab {
        Grab::Center => send(PlaneEdit::Crosshair(map.patient(to))),
        Grab::Line(other) => {
            // Only the part of the way that leads across the line moves its plane.
            let normal = planes.panes[other].orientation.normal();
            let way: Vector = std::array::from_fn(|axis| map.patient(to)[axis] - map.patient(from)[axis]);
            let sideways = dot(way, normal);
            // In this pane the normal of an oblique plane may point out of the picture.
            let (row, column) = (map.plane().orientation.row, map.plane().orientation.column);
            let share = dot(normal, row).powi(2) + dot(normal, column).powi(2);
            if share > 1e-3 {
                let flat: Vector =
                    std::array::from_fn(|axis| row[axis] * dot(normal, row) + column[axis] * dot(normal, column));
                send(PlaneEdit::Crosshair(along(planes.crosshair, flat, sideways / share)));
            }
        }
        Grab::Handle(_) => {
            let center = map.screen(planes.crosshair);
            let (a, b) = (from - center, to - center);
            if a.length() > 2.0 && b.length() > 2.0 {
                let mut turn = b.angle() - a.angle();
                if turn > std::f32::consts::PI {
                    turn -= std::f32::consts::TAU;
                } else if turn < -std::f32::consts::PI {
                    turn += std::f32::consts::TAU;
                }
                send(PlaneEdit::Turn { pane: index, radians: f64::from(turn) });
            }
        }
    }
}

/// Draws the lines of the other planes with their handles, and the edges of their slabs.
pub fn paint(
    painter: &Painter,
    cx: &Cx<'_>,
    planes: &Planes,
    index: usize,
    map: &PlaneMap,
    held: Option<Grab>,
    pointed: bool,
) {
    let center = map.screen(planes.crosshair);
    let halo = cx.theme.viewport().halo.gamma_multiply(0.6);
    let pane = map.pane();
    for other in others(index) {
        let Some(line) = direction(planes, index, other, map) else { continue };
        let color = color(cx, other);
        let mine = matches!(held, Some(Grab::Line(o) | Grab::Handle(o)) if o == other);
        let width = if mine { 2.0 } else { 1.0 };
        for way in [line, -line] {
            let Some([from, to]) = clipped(pane, center + way * GAP, way) else { continue };
            painter.line_segment([from, to], Stroke::new(width + 2.0, halo));
            painter.line_segment([from, to], Stroke::new(width, color));
        }
        if planes.slab.thickness_mm > 0.0 {
            let half = (planes.slab.thickness_mm * map.points_per_mm() / 2.0) as f32;
            for shift in [-half, half] {
                let start = center + line.rot90() * shift;
                for way in [line, -line] {
                    if let Some(ends) = clipped(pane, start, way) {
                        let stroke = Stroke::new(1.0, color.gamma_multiply(0.75));
                        painter.extend(Shape::dashed_line(&ends, stroke, 4.0, 5.0));
                    }
                }
            }
        }
        if pointed || mine {
            for handle in handles(map, center, line) {
                painter.circle_filled(handle, HANDLE + 1.5, halo);
                let filled = matches!(held, Some(Grab::Handle(o)) if o == other);
                if filled {
                    painter.circle_filled(handle, HANDLE, color);
                } else {
                    painter.circle_stroke(handle, HANDLE, Stroke::new(1.5, color));
                }
            }
        }
    }
}

/// The part of a ray that lies in a rectangle.
fn clipped(rect: Rect, from: Pos2, way: Vec2) -> Option<[Pos2; 2]> {
    let (mut first, mut last) = (0.0_f32, f32::INFINITY);
    for (start, step, low, high) in
        [(from.x, way.x, rect.left(), rect.right()), (from.y, way.y, rect.top(), rect.bottom())]
    {
        if step.abs() < 1e-6 {
            if start < low || start > high {
                return None;
            }
            continue;
        }
        let (a, b) = ((low - start) / step, (high - start) / step);
        first = first.max(a.min(b));
        last = last.min(a.max(b));
    }
    (first < last && last.is_finite()).then(|| [from + way * first, from + way * last])
}

#[cfg(test)]
mod tests {
    use eframe::egui::pos2;

    use super::*;

    #[test]
    fn rays_end_at_the_edges() {
        let rect = Rect::from_min_max(pos2(0.0, 0.0), pos2(100.0, 50.0));
        let ends = clipped(rect, pos2(20.0, 10.0), vec2(1.0, 0.0)).expect("it is inside");
        assert_eq!(ends, [pos2(20.0, 10.0), pos2(100.0, 10.0)]);
        let ends = clipped(rect, pos2(-10.0, 20.0), vec2(1.0, 0.0)).expect("it leads inside");
        assert_eq!(ends, [pos2(0.0, 20.0), pos2(100.0, 20.0)]);
        assert_eq!(clipped(rect, pos2(-10.0, 20.0), vec2(-1.0, 0.0)), None);
        assert_eq!(clipped(rect, pos2(20.0, 80.0), vec2(1.0, 0.0)), None);
    }
}
