//! Volumes: a series as one lattice of voxels in the patient, and planes cut out of it.
//!
//! [`Volume::build`] makes a volume of a series, or says why it cannot. [`Volume::reformat`] cuts any [`Plane`] out of it, thin or
//! as a [`Slab`], as a [`crate::study::Frame`]: what is shown, measured and exported of frames works for planes too.
//!
//! | file | what is in it |
//! |---|---|
//! | `grid.rs` | where voxels lie: affine, sheared by a gantry tilt, slices at any distances |
//! | `build.rs` | a series to a volume, decoded in parallel |
//! | `plane.rs` | planes: axial, coronal, sagittal, as acquired, oblique |
//! | `sample.rs` | trilinear interpolation and projections |
//! | `painted.rs` | what was painted on slices, as a volume |
//! | `section.rs` | where a plane cuts what was drawn on another |

mod build;
mod grid;
mod painted;
mod plane;
mod sample;
mod section;
mod vector;

pub use build::{Lattice, VolumeError};
pub use grid::{Grid, GridError};
pub use plane::{Orientation, Plane, PlaneKind, UnknownPlane, extent, reach};
pub use sample::{Projection, Slab, UnknownProjection};
pub use section::{Section, section};
pub use vector::{Vector, along, cross, dot, length, minus, rotate, unit};

use crate::study::DisplayAttributes;

/// Values of voxels, `[slice, row, column]`, before the linear rescale.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Voxels {
    U8(Vec<u8>),
    I16(Vec<i16>),
    U16(Vec<u16>),
    F32(Vec<f32>),
}

/// A series as one lattice of voxels in the patient.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Where the voxels lie.
    pub grid: Grid,
    /// Their values.
    pub voxels: Voxels,
    /// Place of each slice in the reading order of its series, from 0; empty where the volume is of no series.
    pub places: Vec<usize>,
    /// Rescale slope and intercept: from voxels to the modality's units.
    pub rescale: (f64, f64),
    /// Frame of Reference UID: volumes and slices that share it lie in one space.
    pub frame_of_reference: Option<String>,
    /// How to show it: the attributes of the middle slice, values taken to be in the modality's units.
    pub display: DisplayAttributes,
    /// What a reader must know, one sentence each: what was left out, uneven or missing slices, tilt.
    pub notes: Vec<String>,
}

impl Volume {
    /// Bytes of its voxels.
    pub fn bytes(&self) -> usize {
        match &self.voxels {
            Voxels::U8(v) => v.len(),
            Voxels::I16(v) => 2 * v.len(),
            Voxels::U16(v) => 2 * v.len(),
            Voxels::F32(v) => 4 * v.len(),
        }
    }

    /// The value of the voxel nearest to a patient position (LPS, mm), in the modality's units; `None` outside and in holes.
    pub fn nearest_value(&self, point: Vector) -> Option<f64> {
        let [depth, row, column] = self.grid.oblique_from_patient(point);
        let inside =
            [depth, row, column].iter().zip(self.grid.limits()).all(|(v, [low, high])| (low..=high).contains(v));
        let (slice, hole) = match self.grid.even_step() {
            Some(step) => (depth / step, false),
            None => self.grid.between(depth),
        };
        if !inside || hole {
            return None;
        }
        let [slices, rows, columns] = self.grid.shape();
        let index = |v: f64, count: usize| (v.round().max(0.0) as usize).min(count - 1);
        let at = (index(slice, slices) * rows + index(row, rows)) * columns + index(column, columns);
        let stored = match &self.voxels {
            Voxels::U8(v) => v.get(at).map(|v| f64::from(*v)),
            Voxels::I16(v) => v.get(at).map(|v| f64::from(*v)),
            Voxels::U16(v) => v.get(at).map(|v| f64::from(*v)),
            Voxels::F32(v) => v.get(at).map(|v| f64::from(*v)),
        };
        stored.map(|v| v * self.rescale.0 + self.rescale.1).filter(|v| v.is_finite())
    }

    /// The same voxels in the unit that readers expect: SUV by body weight for PET where the file allows it, else the modality's own.
    #[must_use]
    pub fn in_usual_units(mut self) -> Self {
        let modality = self.display.modality.clone();
        let factor = self.display.take_usual_units();
        // Planes are cut in the modality's units already.
        self.display.modality = modality;
        self.rescale = (self.rescale.0 * factor, self.rescale.1 * factor);
        self
    }

    /// The pixels by which this volume is laid over `plane`, which was cut out of another one: the same area, no finer than half of the voxels
    /// here, since between those nothing is known.
    pub fn plane_over(&self, plane: &Plane) -> Plane {
        plane.coarsened(0.5 * plane.orientation.spacing_mm(&self.grid))
    }

    /// The slice of the stack that stands at a place of the reading order of its series.
    pub fn slice_at(&self, place: usize) -> Option<usize> {
        self.places.iter().position(|other| *other == place)
    }

    /// The finest distance of neighbouring voxels, mm: planes are cut at it.
    pub fn finest_mm(&self) -> f64 {
        self.grid.spacing().into_iter().fold(f64::INFINITY, f64::min)
    }
}
