//! Annotated images: COCO files, class groups, splits by patient, augmentation and simulated lesions.
//!
//! An image counts for a category, as positive or as negative, only if it is annotated for it: most sets annotate some of
//! the classes on some of the images. A [`ClassMap`] turns the categories of a data set into one class of a model.

mod augment;
mod classes;
mod coco;
mod fields;
mod image;
mod rle;
mod simulate;
mod split;
mod transplant;

pub use self::image::{ImageStore, load_gray};
pub use augment::{Augmentation, Draw, Photometric, image_rng};
pub use classes::{ClassMap, UnionTarget};
pub use coco::{CocoDataset, DatasetError, Geometry, ImageRecord, Shape};
pub use rle::{Rle, RleError};
pub use simulate::{OpacityOptions, Simulated, simulate_distractors, simulate_opacity};
pub use split::{Split, hold_out, split_by_patient};
pub use transplant::{lung_on_lung, transplant};
