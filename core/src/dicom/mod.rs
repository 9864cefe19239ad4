//! The only room that knows DICOM files: opening, indexing, decoding, writing.
//!
//! | file | what is in it |
//! |---|---|
//! | `parse.rs` | bytes to a flat tape of elements, without recursion or copies |
//! | `text.rs` | character sets, names for people |
//! | `data_set.rs` | typed getters over the tape |
//! | `file.rs` | preamble, meta group, transfer syntax, deflate, truncation |
//! | `geometry.rs` | planes and functional groups |
//! | `sop_class.rs` | names of objects |
//! | `listing.rs` | all elements of a file, one row each |
//! | `object.rs` | objects in words: what they hold, what they refer to |
//! | `structure_set.rs` | RT Structure Sets |
//! | `index/` | paths to the tree of studies |
//! | `fragments.rs` | encapsulated pixel data to frames |
//! | `codec/` | bytes of one frame to stored values, for each transfer syntax |
//! | `pixels/` | stored values and everything needed to show them: [`pixels::FrameReader`] |
//! | `write.rs` | data sets to Part 10 files, identifiers |
//! | `write_image.rs`, `write_pet.rs` | CT slices and radiographs, PET slices |
//! | `deidentify/` | copies without identifiers |
//! | `segmentation/` | segmentation objects, read and written |

pub mod codec;
mod data_set;
mod deidentify;
mod file;
mod fragments;
mod geometry;
mod index;
mod listing;
mod object;
mod parse;
pub mod pixels;
mod segmentation;
mod sop_class;
pub(crate) mod structure_set;
mod text;
mod write;
mod write_image;
mod write_pet;

pub use data_set::{DataSet, Element, tag_name};
pub use deidentify::{Deidentified, Deidentifier, Retain, pixel_warnings};
pub use dicom_core::{Tag, VR};
pub use dicom_dictionary_std::{tags, uids};
pub use file::{DicomError, DicomFile, EXPLICIT_VR_BIG_ENDIAN, codestream_syntax};
pub use fragments::{Encapsulated, PixelData};
pub use index::index_paths;
pub use listing::{TagRow, tag_rows};
pub use object::{ObjectSummary, Reference, describe_object};
pub use parse::Encoding;
pub use segmentation::{SegmentationContext, is_segmentation, read_segmentation, write_segmentation};
pub use sop_class::sop_class_name;
pub use structure_set::{Contour, ContourKind, RegionOfInterest, StructureSet, is_structure_set, read_structure_set};
pub use write::{Code, DataSetBuilder, WriteError, decimal_string, uid_from_name};
pub use write_image::{CtSlice, DxImage, ImageContext, write_ct, write_dx};
pub use write_pet::{Injection, PetSlice, write_pet};
