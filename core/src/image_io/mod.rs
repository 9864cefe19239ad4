//! Bytes from files and archives, and PNG and JPEG into the same types as DICOM.

mod picture;
mod stream;

pub use picture::{ImageError, dimensions, is_picture, read_frame, read_frame_bytes, read_info};
pub use stream::{MAX_MEMBERS, archive, with_stream};
