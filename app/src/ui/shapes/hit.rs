//! Which part of which shape lies under the pointer.

use bifocal_core::annotation::ShapeKind;
use eframe::egui::{CursorIcon, Pos2};

use super::captions::Placed;
use super::{REACH, Shown, paint};
use crate::drawing::{Hit, Part};
use crate::view::ScreenFromImage;

/// Points first, then captions, then lines; the selected shape before others, the latest before older ones.
pub(super) fn find(map: &ScreenFromImage, position: Pos2, shown: &[Shown], placed: &Placed) -> Option<Hit> {
    let mut order: Vec<(usize, &Shown)> = shown.iter().enumerate().filter(|(_, item)| item.id.is_some()).collect();
    order.sort_by_key(|(index, item)| (!item.selected, std::cmp::Reverse(*index)));
    let found = |item: &Shown, part| item.id.map(|id| Hit { id, part });
    for (_, item) in &order {
        if item.shape.kind == ShapeKind::Freehand && !item.selected {
            continue;
        }
        let nearest = item.points.iter().enumerate().map(|(index, point)| (index, point.distance(position)));
        if let Some((index, distance)) = nearest.min_by(|a, b| a.1.total_cmp(&b.1))
            && distance <= REACH
        {
            return found(item, Part::Point(index));
        }
    }
    for (index, item) in &order {
        if let Some(rect) = placed.rect(*index)
            && rect.contains(position)
        {
            let corner = map.image_point(rect.min);
            return found(item, Part::Caption((f64::from(corner.row), f64::from(corner.column))));
        }
    }
    for (_, item) in &order {
        for (edge, (a, b)) in paint::edges(item).into_iter().enumerate() {
            if off(position, a, b) <= REACH {
                return found(item, Part::Line(edge));
            }
        }
    }
    None
}

fn off(p: Pos2, a: Pos2, b: Pos2) -> f32 {
    let along = b - a;
    let length = along.length_sq();
    let t = if length > 0.0 { ((p - a).dot(along) / length).clamp(0.0, 1.0) } else { 0.0 };
    (a + along * t).distance(p)
}

pub(super) fn cursor(part: Part) -> CursorIcon {
    match part {
        Part::Point(_) => CursorIcon::PointingHand,
        Part::Line(_) | Part::Caption(_) => CursorIcon::Move,
    }
}
