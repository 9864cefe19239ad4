//! What is measured on images: pure geometry and statistics over the types of `study`, without a window and without storage.
//!
//! Lengths, areas and angles are taken from points in millimetres, in the patient (LPS) or in the plane of an image, so that
//! anisotropic pixels, oblique planes and spacing that differs from frame to frame need no case of their own. [`PixelScale`] says
//! what a millimetre is worth: measured in the patient, on the detector, calibrated by hand, or unknown.

mod geometry;
mod profile;
mod region;
mod runs;
mod scale;
mod statistics;

pub use geometry::{
    Point, angle_degrees, axis_across, centre, cobb_degrees, distance, ellipse_area, ellipse_perimeter, path_length,
    polygon_area,
};
pub use profile::{Profile, line_profile};
pub use region::{Pixel, ellipse, polygon, simplify};
pub use runs::{Brush, Runs};
pub use scale::{CalibrationError, PixelScale, ScaleKind, Spacing, calibrate};
pub use statistics::{Histogram, Statistics, StatisticsError, Unit, statistics};
