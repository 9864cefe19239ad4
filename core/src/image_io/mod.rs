//! image_io
