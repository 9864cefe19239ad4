//! Three planes through the volume of a series, linked by a crosshair: how they lie and how they are moved.
//!
//! This is view state: it is not undoable, but Esc puts it back.

use std::sync::Arc;

use bifocal_core::render::{Placement, ViewTransform};
use bifocal_core::volume::{
    Orientation, Plane, PlaneKind, Slab, Vector, Volume, along, cross, dot, minus, reach, rotate, unit,
};
use eframe::egui::Vec2;

use crate::images::LoadedFrame;

/// One of the three panes.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanePane {
    /// What it was at first.
    pub kind: PlaneKind,
    /// How it is turned now.
    pub orientation: Orientation,
    /// The patient position in the middle of the picture before it is panned; only its place in the plane counts.
    anchor: Vector,
    /// Zoom and pan.
    pub transform: ViewTransform,
    /// Height and width that fill the pane at zoom 1, mm.
    field: (f64, f64),
}

/// The planes of a volume.
pub struct Planes {
    /// The volume.
    pub volume: Arc<Volume>,
    /// A slice of it as acquired: what windows are worked out from.
    pub sample: Arc<LoadedFrame>,
    /// Where they crossed at first.
    start: Vector,
    /// Where the planes cross, LPS mm.
    pub crosshair: Vector,
    /// Axial, coronal and sagittal, however they have been turned.
    pub panes: [PlanePane; 3],
    /// Thickness, and what is shown of it.
    pub slab: Slab,
    /// The pane that keys act on.
    pub active: usize,
    /// Whether it has all the room.
    pub maximised: bool,
    /// Whether the lines of the other planes are drawn.
    pub lines: bool,
}

/// How planes are placed, without their volume.
#[derive(Debug, Clone)]
pub struct Carried {
    frame_of_reference: Option<String>,
    crosshair: Vector,
    /// Directions and middles of the panes.
    placed: [(Orientation, Vector); 3],
    slab: Slab,
    active: usize,
    maximised: bool,
    lines: bool,
}

/// One change of the planes.
#[derive(Debug, Clone, PartialEq)]
pub enum PlaneEdit {
    /// Moves the crosshair.
    Crosshair(Vector),
    /// Moves a pane's plane along its normal, by voxels.
    Scroll {
        /// The pane.
        pane: usize,
        /// Forward, or back.
        steps: i64,
    },
    /// Moves the active plane to the first or the last that cuts the volume.
    End {
        /// Whether to the last.
        last: bool,
    },
    /// Turns the other two planes about this pane's line of sight.
    Turn {
        /// The pane that is looked at.
        pane: usize,
        /// Clockwise as seen.
        radians: f64,
    },
    /// Magnifies all three about a point of one.
    Zoom {
        /// The pane.
        pane: usize,
        /// Above 1 enlarges.
        factor: f32,
        /// The point, from the pane's top left corner.
        at: Vec2,
        /// Size of the pane.
        size: Vec2,
    },
    /// Moves the picture in a pane.
    Pan {
        /// The pane.
        pane: usize,
        /// To the right and down, points.
        delta: Vec2,
        /// Size of the pane.
        size: Vec2,
    },
    /// Sets thickness and projection.
    Slab(Slab),
    /// Makes a pane the one that keys act on.
    Activate(usize),
    /// Gives a pane all the room, or each its own again.
    ToggleMaximise(usize),
    /// Shows or hides the lines.
    ToggleLines,
    /// Everything as it was at first; the thickness too.
    Reset,
}

/// Thickest slab, mm.
pub const THICKEST_MM: f64 = 500.0;

impl Planes {
    /// The planes of the patient through the middle of the slice nearest to `near`, LPS mm, all on voxels.
    pub fn new(volume: Arc<Volume>, sample: Arc<LoadedFrame>, near: Vector) -> Self {
        let grid = &volume.grid;
        let [slices, rows, columns] = grid.shape();
        let slice = grid.voxel_from_patient(near)[0].round().clamp(0.0, slices as f64 - 1.0);
        let crosshair = grid.patient_from_voxel([slice, (rows / 2) as f64, (columns / 2) as f64]);
        let panes = PlaneKind::ORTHOGONAL.map(|kind| PlanePane::new(&volume, kind));
        Self {
            volume,
            sample,
            start: crosshair,
            crosshair,
            panes,
            slab: Slab::default(),
            active: 0,
            maximised: false,
            lines: true,
        }
    }

    /// How the planes are placed.
    pub fn carried(&self) -> Carried {
        Carried {
            frame_of_reference: self.volume.frame_of_reference.clone(),
            crosshair: self.crosshair,
            placed: [0, 1, 2].map(|pane: usize| (self.panes[pane].orientation, self.panes[pane].anchor)),
            slab: self.slab,
            active: self.active,
            maximised: self.maximised,
            lines: self.lines,
        }
    }

    /// Places the planes as those of another series were: how they are shown, and where they lie if both series lie in one space.
    pub fn take_over(&mut self, carried: Carried) {
        self.slab = carried.slab;
        self.active = carried.active;
        self.maximised = carried.maximised;
        self.lines = carried.lines;
        let same_space =
            carried.frame_of_reference.is_some() && carried.frame_of_reference == self.volume.frame_of_reference;
        if same_space && self.volume.grid.contains(carried.crosshair) {
            self.crosshair = carried.crosshair;
            for (pane, (orientation, anchor)) in self.panes.iter_mut().zip(carried.placed) {
                if pane.orientation != orientation {
                    (pane.orientation, pane.anchor) = (orientation, anchor);
                }
            }
        }
    }

    /// Applies a change.
    pub fn apply(&mut self, edit: PlaneEdit) {
        match edit {
            PlaneEdit::Crosshair(to) => self.crosshair = self.inside(to),
            PlaneEdit::Scroll { pane, steps } => {
                let normal = self.panes[pane % 3].orientation.normal();
                let step = self.volume.grid.step_mm(normal);
                self.move_along(normal, dot(self.crosshair, normal) + steps as f64 * step);
            }
            PlaneEdit::End { last } => {
                let normal = self.panes[self.active].orientation.normal();
                let [low, high] = reach(&self.volume.grid, normal);
                self.move_along(normal, if last { high } else { low });
            }
            PlaneEdit::Turn { pane, radians } => {
                let axis = self.panes[pane % 3].orientation.normal();
                for (index, other) in self.panes.iter_mut().enumerate() {
                    if index != pane % 3 {
                        other.orientation = other.orientation.rotated(axis, radians);
                        let arm = minus(other.anchor, self.crosshair);
                        other.anchor = along(self.crosshair, rotate(arm, axis, radians), 1.0);
                    }
                }
            }
            PlaneEdit::Zoom { pane, factor, at, size } => {
                let before = self.panes[pane % 3].transform.zoom;
                let (x, y) = (f64::from(at.x), f64::from(at.y));
                self.panes[pane % 3].transform.zoom_about(f64::from(factor), x, y, as_pair(size));
                let ratio = self.panes[pane % 3].transform.zoom / before;
                for (index, other) in self.panes.iter_mut().enumerate() {
                    if index != pane % 3 {
                        // The others keep their middles.
                        let (x, y) = (0.5, 0.5);
                        other.transform.zoom_about(ratio, x, y, (1.0, 1.0));
                    }
                }
            }
            PlaneEdit::Pan { pane, delta, size } => {
                let (dx, dy) = (f64::from(delta.x), f64::from(delta.y));
                self.panes[pane % 3].transform.pan_by(dx, dy, as_pair(size));
            }
            PlaneEdit::Slab(slab) => {
                let mm = if slab.thickness_mm.is_finite() { slab.thickness_mm } else { 0.0 };
                self.slab = Slab { thickness_mm: mm.clamp(0.0, THICKEST_MM), ..slab };
            }
            PlaneEdit::Activate(pane) => self.activate(pane),
            PlaneEdit::ToggleMaximise(pane) => {
                self.maximised = !self.maximised;
                self.activate(pane);
            }
            PlaneEdit::ToggleLines => self.lines = !self.lines,
            PlaneEdit::Reset => {
                let (active, maximised, start) = (self.active, self.maximised, self.start);
                *self =
                    Self { active, maximised, ..Self::new(Arc::clone(&self.volume), Arc::clone(&self.sample), start) };
            }
        }
    }

    fn activate(&mut self, pane: usize) {
        self.active = pane % 3;
    }

    /// Moves the crosshair so that its distance along a unit vector becomes `height` mm, not beyond the middles of the outermost
    /// voxels.
    fn move_along(&mut self, normal: Vector, height: f64) {
        let [low, high] = reach(&self.volume.grid, normal);
        let rim = 0.5 * self.volume.grid.step_mm(normal);
        let height = if high - low > 2.0 * rim { height.clamp(low + rim, high - rim) } else { 0.5 * (low + high) };
        self.crosshair = along(self.crosshair, normal, height - dot(self.crosshair, normal));
    }

    /// The nearest place in the volume.
    fn inside(&self, point: Vector) -> Vector {
        if self.volume.grid.contains(point) {
            return point;
        }
        let shape = self.volume.grid.shape();
        let voxel = self.volume.grid.voxel_from_patient(point);
        let clamped = std::array::from_fn(|axis| voxel[axis].clamp(0.0, shape[axis] as f64 - 1.0));
        if clamped.iter().all(|v: &f64| v.is_finite()) {
            self.volume.grid.patient_from_voxel(clamped)
        } else {
            self.crosshair
        }
    }

    /// The pixels of a pane: a plane through the crosshair that shows the pane's whole field.
    pub fn nominal(&self, pane: usize) -> Plane {
        let PlanePane { orientation, anchor, field: (height, width), .. } = &self.panes[pane % 3];
        let spacing_mm = self.volume.finest_mm();
        let count = |mm: f64| (mm / spacing_mm).round().max(1.0) as usize;
        let (rows, columns) = (count(*height), count(*width));
        let normal = orientation.normal();
        let middle = along(*anchor, normal, dot(minus(self.crosshair, *anchor), normal));
        let half = |count: usize| (count as f64 - 1.0) / 2.0 * spacing_mm;
        let origin = along(along(middle, orientation.column, -half(rows)), orientation.row, -half(columns));
        Plane { origin, orientation: *orientation, spacing_mm, rows, columns }
    }

    /// Where a pane's plane lies in a pane of that size.
    pub fn placement(&self, pane: usize, nominal: &Plane, size: Vec2) -> Placement {
        let pixel = (nominal.spacing_mm, nominal.spacing_mm);
        Placement::new(&self.panes[pane % 3].transform, (nominal.rows, nominal.columns), pixel, as_pair(size))
    }

    /// The direction in which the plane of `other` crosses that of `pane`, a unit vector; `None` where they are parallel.
    pub fn crossing(&self, pane: usize, other: usize) -> Option<Vector> {
        unit(cross(self.panes[pane % 3].orientation.normal(), self.panes[other % 3].orientation.normal()))
    }

    /// Whether any plane has been turned.
    pub fn is_oblique(&self) -> bool {
        self.panes.iter().any(|pane| pane.orientation != pane.kind.orientation(&self.volume.grid))
    }
}

impl PlanePane {
    fn new(volume: &Volume, kind: PlaneKind) -> Self {
        let orientation = kind.orientation(&volume.grid);
        let size = |direction| {
            let [low, high] = reach(&volume.grid, direction);
            high - low
        };
        let field = (size(orientation.column), size(orientation.row));
        Self { kind, orientation, anchor: volume.grid.center(), transform: ViewTransform::default(), field }
    }

    /// Its name: `Axial`, or `Axial oblique` where it has been turned.
    pub fn title(&self) -> String {
        let (nearest, straight) = self.orientation.nearest();
        let mut name = nearest.name().to_owned();
        if let Some(first) = name.get_mut(0..1) {
            first.make_ascii_uppercase();
        }
        if straight { name } else { format!("{name} oblique") }
    }
}

/// Row and column of a patient position among the pixels of a plane.
pub fn pixel_of(plane: &Plane, point: Vector) -> (f64, f64) {
    let offset = minus(point, plane.origin);
    (dot(offset, plane.orientation.column) / plane.spacing_mm, dot(offset, plane.orientation.row) / plane.spacing_mm)
}

fn as_pair(size: Vec2) -> (f64, f64) {
    (f64::from(size.x), f64::from(size.y))
}

#[cfg(test)]
mod tests {
    use bifocal_core::render::Placement;
    use bifocal_core::study::{DisplayAttributes, Frame, GrayPixels, Pixels};
    use bifocal_core::volume::{Grid, Projection, Voxels, length};
    use eframe::egui::vec2;
    use ndarray::Array2;

    use super::*;

    fn planes() -> Planes {
        let positions: Vec<Vector> = (0..10).map(|k| [-20.0, -15.0, 3.0 * f64::from(k)]).collect();
        let grid = Grid::new(&positions, (30, 40), [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]).expect("a lattice");
        let volume = Volume {
            grid,
            voxels: Voxels::U8(vec![7; 10 * 30 * 40]),
            places: Vec::new(),
            rescale: (1.0, 0.0),
            frame_of_reference: None,
            display: DisplayAttributes::default(),
            notes: Vec::new(),
        };
        let pixels = Pixels::Gray(GrayPixels::U8(Array2::from_elem((4, 4), 7)));
        let sample = LoadedFrame::new(Frame { pixels, display: DisplayAttributes::default() });
        Planes::new(Arc::new(volume), Arc::new(sample), [0.0, 0.0, 13.0])
    }

    fn close(a: Vector, b: Vector) -> bool {
        length(minus(a, b)) < 1e-9
    }

    #[test]
    fn scrolling_moves_by_slices_and_stays_in_the_volume() {
        let mut planes = planes();
        let before = planes.crosshair;
        planes.apply(PlaneEdit::Scroll { pane: 0, steps: 2 });
        assert!(close(minus(planes.crosshair, before), [0.0, 0.0, 6.0]));
        planes.apply(PlaneEdit::Scroll { pane: 2, steps: 3 });
        assert!(close(minus(planes.crosshair, before), [-3.0, 0.0, 6.0]), "the sagittal normal points to the right");
        planes.apply(PlaneEdit::Scroll { pane: 0, steps: 10_000 });
        assert!(planes.volume.grid.contains(planes.crosshair));
        planes.apply(PlaneEdit::End { last: false });
        assert!((planes.crosshair[2] - 0.0).abs() < 1e-6, "{:?}", planes.crosshair);
        planes.apply(PlaneEdit::Crosshair([1e9, 0.0, 5.0]));
        assert!(planes.volume.grid.contains(planes.crosshair));
        planes.apply(PlaneEdit::Crosshair([f64::NAN, 0.0, 5.0]));
        assert!(planes.volume.grid.contains(planes.crosshair));
    }

    #[test]
    fn turning_leaves_the_pane_and_the_crosshair_where_they_are() {
        let mut planes = planes();
        planes.apply(PlaneEdit::Crosshair([4.0, 3.0, 9.0]));
        let at = |planes: &Planes, pane: usize| {
            let nominal = planes.nominal(pane);
            let (row, column) = pixel_of(&nominal, planes.crosshair);
            Placement::new(&planes.panes[pane].transform, (nominal.rows, nominal.columns), (1.0, 1.0), (300.0, 200.0))
                .screen_from_image(row, column)
        };
        let before: Vec<_> = (0..3).map(|pane| at(&planes, pane)).collect();
        let axial = planes.panes[0].clone();
        planes.apply(PlaneEdit::Turn { pane: 0, radians: 0.4 });
        assert_eq!(planes.panes[0], axial);
        assert!(planes.is_oblique());
        assert_eq!(planes.panes[1].title(), "Coronal oblique");
        for (pane, before) in before.into_iter().enumerate() {
            let after = at(&planes, pane);
            assert!((after.0 - before.0).hypot(after.1 - before.1) < 1e-6, "pane {pane}");
        }
        // The coronal plane's line in the axial pane has turned clockwise: from the row direction towards the column direction.
        let line = planes.crossing(0, 1).expect("they cross");
        assert!((line[1] / line[0] - 0.4_f64.tan()).abs() < 1e-9);
        planes.apply(PlaneEdit::Reset);
        assert!(!planes.is_oblique());
    }

    #[test]
    fn the_next_series_of_one_space_is_cut_where_the_last_one_was() {
        let mut before = planes();
        let in_space = |planes: &mut Planes, uid: &str| {
            let volume = Volume { frame_of_reference: Some(uid.to_owned()), ..(*planes.volume).clone() };
            planes.volume = Arc::new(volume);
        };
        in_space(&mut before, "1.2.3");
        before.apply(PlaneEdit::Crosshair([4.0, 3.0, 9.0]));
        before.apply(PlaneEdit::Turn { pane: 0, radians: 0.4 });
        before.apply(PlaneEdit::Slab(Slab { thickness_mm: 8.0, projection: Projection::Mip }));
        let (mut same, mut other) = (planes(), planes());
        in_space(&mut same, "1.2.3");
        in_space(&mut other, "9.9");
        let start = other.crosshair;
        same.take_over(before.carried());
        other.take_over(before.carried());
        assert!(close(same.crosshair, [4.0, 3.0, 9.0]) && same.is_oblique());
        assert!(close(other.crosshair, start) && !other.is_oblique());
        assert_eq!((same.slab, other.slab), (before.slab, before.slab));
    }

    #[test]
    fn zoom_is_shared_and_pan_is_not() {
        let mut planes = planes();
        planes.apply(PlaneEdit::Zoom { pane: 1, factor: 2.0, at: vec2(10.0, 10.0), size: vec2(200.0, 100.0) });
        assert!(planes.panes.iter().all(|pane| (pane.transform.zoom - 2.0).abs() < 1e-9));
        assert_eq!(planes.panes[0].transform.pan, [0.0, 0.0]);
        planes.apply(PlaneEdit::Pan { pane: 2, delta: vec2(10.0, 0.0), size: vec2(200.0, 100.0) });
        assert_eq!(planes.panes[2].transform.pan, [0.1, 0.0]);
        assert_eq!(planes.panes[0].transform.pan, [0.0, 0.0]);
        planes.apply(PlaneEdit::Slab(Slab { thickness_mm: 1e9, projection: Projection::Mean }));
        assert_eq!(planes.slab.thickness_mm, THICKEST_MM);
    }
}
