//! Segmentation objects (PS3.3 A.51), binary, fractional and label maps (A.51.5): read and written.

mod read;
mod write;

pub use read::{is_segmentation, read_segmentation};
pub use write::{SegmentationContext, write_segmentation};

/// Segmentation Storage.
const SEGMENTATION: &str = "1.2.840.10008.5.1.4.1.1.66.4";
/// Label Map Segmentation Storage.
const LABEL_MAP: &str = "1.2.840.10008.5.1.4.1.1.66.7";

#[cfg(test)]
mod tests;
