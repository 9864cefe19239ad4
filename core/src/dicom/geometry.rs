//! Where frames lie: plane attributes and functional groups (PS3.3 C.7.6.2 and C.7.6.16).

use std::collections::HashMap;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::data_set::DataSet;
use crate::study::PlaneGeometry;

/// A doubt about geometry: the attribute to blame and what follows.
pub(super) type GeometryDoubt = (Tag, &'static str);

/// Functional groups of an enhanced multi-frame object, collected once, because looking up an item is a walk.
#[derive(Debug, Default)]
pub(super) struct FunctionalGroups<'a> {
    /// First items of the shared sequences, by tag.
    shared: HashMap<Tag, DataSet<'a>>,
    per_frame: Vec<DataSet<'a>>,
    /// Grid Frame Offset Vector of a dose grid (PS3.3 C.8.8.3.2): planes along the normal, mm.
    offsets: Vec<f64>,
}

impl<'a> FunctionalGroups<'a> {
    /// The groups of `set`; empty for other objects.
    pub(super) fn of(set: DataSet<'a>) -> Self {
        Self {
            shared: set
                .item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)
                .into_iter()
                .flat_map(DataSet::elements)
                .filter_map(|element| Some((element.tag(), element.items().next()?)))
                .collect(),
            per_frame: set.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).collect(),
            offsets: set.floats(tags::GRID_FRAME_OFFSET_VECTOR),
        }
    }

    /// The first item of a functional group macro for `frame` (from 0): its own, else the shared one.
    pub(super) fn get(&self, frame: usize, sequence: Tag) -> Option<DataSet<'a>> {
        self.per_frame.get(frame).and_then(|item| item.item(sequence)).or_else(|| self.shared.get(&sequence).copied())
    }

    /// Number of frames whose place is told one by one.
    pub(super) fn positions(&self) -> usize {
        self.len().max(self.offsets.len())
    }

    /// Number of per-frame items.
    pub(super) fn len(&self) -> usize {
        self.per_frame.len()
    }
}

/// Plane of `frame` (from 0); `None` where the file gives none, or none that can be used, which `doubts` then tells.
pub(super) fn plane_geometry(
    set: DataSet<'_>,
    groups: &FunctionalGroups<'_>,
    frame: usize,
    doubts: &mut Vec<GeometryDoubt>,
) -> Option<PlaneGeometry> {
    let position_set =
        groups.get(frame, tags::PLANE_POSITION_SEQUENCE).filter(|item| item.has(tags::IMAGE_POSITION_PATIENT));
    let orientation_set =
        groups.get(frame, tags::PLANE_ORIENTATION_SEQUENCE).filter(|item| item.has(tags::IMAGE_ORIENTATION_PATIENT));
    // The plain attributes belong to single-frame objects: for others they would put all frames in one place.
    let plain = (groups.len() == 0 && (frame == 0 || frame < groups.offsets.len())).then_some(set);
    let position_set = position_set.or(plain)?;
    let orientation_set = orientation_set.or(plain)?;
    if !position_set.has(tags::IMAGE_POSITION_PATIENT) && !orientation_set.has(tags::IMAGE_ORIENTATION_PATIENT) {
        return None;
    }
    let position = position_set.floats(tags::IMAGE_POSITION_PATIENT);
    let orientation = orientation_set.floats(tags::IMAGE_ORIENTATION_PATIENT);
    if position.is_empty() && orientation.is_empty() {
        return None;
    }
    let usable = |v: &f64| v.is_finite() && v.abs() < 1e6;
    let Some(position) = <[f64; 3]>::try_from(position).ok().filter(|p| p.iter().all(usable)) else {
        doubts.push((tags::IMAGE_POSITION_PATIENT, "not three usable numbers: the slice has no position"));
        return None;
    };
    let bad = |doubts: &mut Vec<GeometryDoubt>, cause| doubts.push((tags::IMAGE_ORIENTATION_PATIENT, cause));
    let Ok([ax, ay, az, bx, by, bz]) = <[f64; 6]>::try_from(orientation) else {
        bad(doubts, "not six numbers: the slice has no position");
        return None;
    };
    let (Some(row), Some(column)) = (unit([ax, ay, az]), unit([bx, by, bz])) else {
        bad(doubts, "a direction is zero or no number: the slice has no position");
        return None;
    };
    let length_off = |v: [f64; 3]| (dot(v, v).sqrt() - 1.0).abs() > 0.01;
    if length_off([ax, ay, az]) || length_off([bx, by, bz]) {
        bad(doubts, "the directions are not unit vectors: scaled to length 1");
    }
    let skew = dot(row, column);
    if skew.abs() > 0.1 {
        bad(doubts, "row and column are not at right angles: the slice has no position");
        return None;
    }
    if skew.abs() > 0.005 {
        bad(doubts, "row and column are not quite at right angles: the column direction was turned to 90 degrees");
    }
    let column = unit([0, 1, 2].map(|axis: usize| column[axis] - skew * row[axis]))?;
    let plane = PlaneGeometry { position, row_direction: row, column_direction: column };
    match groups.offsets.get(frame) {
        Some(_) if groups.len() == 0 => offset_plane(plane, &groups.offsets, frame).or_else(|| {
            let cause = "not usable numbers: the planes of the grid have no position";
            doubts.push((tags::GRID_FRAME_OFFSET_VECTOR, cause));
            None
        }),
        _ => Some(plane),
    }
}

/// Plane of `frame` of a dose grid whose first plane is `plane` (PS3.3 C.8.8.3.2): `offsets` are distances along the
/// normal from the first plane where they begin with zero, else the planes' z coordinates (axial grids only).
///
/// `None` where there is no usable offset for the frame.
pub(super) fn offset_plane(plane: PlaneGeometry, offsets: &[f64], frame: usize) -> Option<PlaneGeometry> {
    let usable = |v: &&f64| v.is_finite() && v.abs() < 1e6;
    let first = *offsets.first().filter(usable)?;
    let offset = *offsets.get(frame).filter(usable)?;
    let mut position = plane.position;
    let normal = plane.normal();
    if first == 0.0 {
        for (value, direction) in position.iter_mut().zip(normal) {
            *value += direction * offset;
        }
    } else if normal[2].abs() > 0.999 {
        position[2] += offset - first;
    } else {
        for (value, direction) in position.iter_mut().zip(normal) {
            *value += direction * (offset - first);
        }
    }
    Some(PlaneGeometry { position, ..plane })
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn unit(v: [f64; 3]) -> Option<[f64; 3]> {
    let length = dot(v, v).sqrt();
    (length.is_finite() && length > 1e-3).then(|| v.map(|x| x / length))
}
