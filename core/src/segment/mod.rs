//! Tools that make and change regions of pixels: growing, filling, smoothing, interpolation between slices, and
//! masks that follow the tissue under a click.
//!
//! Regions are [`crate::measure::Runs`]; nothing here knows a window, a session or a network.

mod distance;
mod grow;
mod interpolate;
mod livewire;
mod shape;
mod smart;

pub use distance::signed_distance;
pub use grow::{connected, flood};
pub use interpolate::{Blend, interpolate};
pub use livewire::LiveWire;
pub use shape::{fill_holes, smooth};
pub use smart::{LocalFeatures, Strokes};
