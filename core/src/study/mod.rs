//! Patient, study, series, instance, frame, geometry and window: plain data without input or output.
//!
//! Nouns are DICOM's (PS3.3 A.1.2): a [`Study`] holds [`Series`], a series holds [`Instance`]s, an instance holds frames.

mod frame;
mod geometry;
mod hierarchy;
mod order;
mod resample;
mod segmentation;
mod window;

pub use frame::{DisplayAttributes, Frame, GrayPixels, Pixels, Suv};
pub use geometry::{PixelSpacing, PlaneGeometry, SpacingKind};
pub use hierarchy::{
    Instance, InstanceKey, InstanceUid, Patient, Problem, Series, SeriesNote, SeriesUid, Severity, Source, Study,
    StudyIndex, StudyUid,
};
pub use order::{Order, Slice, order_slices};
pub use resample::{Affine, Displacement, letterbox, warp, warp_displaced};
pub use segmentation::{
    CodedConcept, Segment, SegmentAlgorithm, SegmentMask, Segmentation, SegmentationKind, SourceFrame,
};
pub use window::{LookupTable, ModalityTransform, VoiFunction, Window};
