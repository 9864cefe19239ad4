//! PNG and JPEG into the types of [`study`](crate::study).

use std::fs::File;
use std::io::{self, Cursor, Read};

use image::{DynamicImage, ImageDecoder, ImageReader, Limits};
use ndarray::{Array2, Array3, ShapeError};

use crate::study::{DisplayAttributes, Frame, GrayPixels, Pixels, Source};

/// Largest file that is read, bytes.
const MAX_FILE: u64 = 512 << 20;
/// Longest side, pixels.
const MAX_SIDE: u32 = 32_768;

/// Why a picture could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The operating system or the archive refused.
    #[error("{file}: cannot be read: {error}")]
    Read {
        /// The file.
        file: Source,
        /// The reason given.
        #[source]
        error: io::Error,
    },
    /// Neither PNG nor JPEG.
    #[error("{file}: neither PNG nor JPEG")]
    NotAnImage {
        /// The file.
        file: Source,
    },
    /// Damaged, or over the limits.
    #[error("{file}: {cause}")]
    Content {
        /// The file.
        file: Source,
        /// What is wrong.
        cause: String,
    },
}

impl ImageError {
    /// What is wrong, without the name of the file.
    pub fn cause(&self) -> String {
        match self {
            Self::Read { error, .. } => format!("cannot be read: {error}"),
            Self::NotAnImage { .. } => "neither PNG nor JPEG".into(),
            Self::Content { cause, .. } => cause.clone(),
        }
    }
}

/// Whether the first bytes of a file are those of PNG or JPEG.
pub fn is_picture(start: &[u8]) -> bool {
    start.starts_with(b"\x89PNG\r\n\x1A\n") || start.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Rows and columns as shown, from the header alone.
///
/// # Errors
/// When the file cannot be read or is no PNG or JPEG.
pub fn dimensions(source: &Source) -> Result<(usize, usize), ImageError> {
    let bytes = read(source)?;
    let mut decoder = decoder(&bytes, source)?;
    let (width, height) = decoder.dimensions();
    use image::metadata::Orientation;
    let turned = matches!(
        decoder.orientation().unwrap_or(Orientation::NoTransforms),
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH
    );
    Ok(if turned { (width as usize, height as usize) } else { (height as usize, width as usize) })
}

/// Reads a picture: grey (8 or 16 bits) where every pixel is, else 8-bit RGB; turned as its EXIF orientation says;
/// transparency is dropped.
///
/// # Errors
/// When the file cannot be read, is no PNG or JPEG, or is damaged.
pub fn read_frame(source: &Source) -> Result<Frame, ImageError> {
    let bytes = read(source)?;
    let mut decoder = decoder(&bytes, source)?;
    let orientation = decoder.orientation().ok();
    let damaged = |cause: String| ImageError::Content { file: source.clone(), cause };
    let mut picture =
        DynamicImage::from_decoder(decoder).map_err(|error| damaged(format!("cannot be decoded: {error}")))?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    let jpeg = bytes.starts_with(&[0xFF, 0xD8]);
    let (pixels, bits_stored) = pixels(picture).map_err(|error| damaged(error.to_string()))?;
    let display = DisplayAttributes {
        bits_stored,
        lossy: jpeg.then(|| "ISO_10918_1".to_owned()),
        ..DisplayAttributes::default()
    };
    Ok(Frame { pixels, display })
}

fn pixels(picture: DynamicImage) -> Result<(Pixels, u16), ShapeError> {
    let (rows, columns) = (picture.height() as usize, picture.width() as usize);
    Ok(match picture {
        DynamicImage::ImageLuma16(_) | DynamicImage::ImageLumaA16(_) => {
            let values = picture.into_luma16().into_raw();
            (Pixels::Gray(GrayPixels::U16(Array2::from_shape_vec((rows, columns), values)?)), 16)
        }
        DynamicImage::ImageLuma8(_) | DynamicImage::ImageLumaA8(_) => {
            let values = picture.into_luma8().into_raw();
            (Pixels::Gray(GrayPixels::U8(Array2::from_shape_vec((rows, columns), values)?)), 8)
        }
        _ => {
            let values = picture.into_rgb8().into_raw();
            let (triples, _) = values.as_chunks::<3>();
            if triples.iter().all(|[r, g, b]| r == g && g == b) {
                let gray = triples.iter().map(|&[value, ..]| value).collect();
                (Pixels::Gray(GrayPixels::U8(Array2::from_shape_vec((rows, columns), gray)?)), 8)
            } else {
                (Pixels::Rgb(Array3::from_shape_vec((rows, columns, 3), values)?), 8)
            }
        }
    })
}

fn decoder<'a>(bytes: &'a [u8], source: &Source) -> Result<impl ImageDecoder + 'a, ImageError> {
    let damaged = |error: image::ImageError| ImageError::Content {
        file: source.clone(),
        cause: format!("cannot be decoded: {error}"),
    };
    let mut reader = ImageReader::new(Cursor::new(bytes));
    let format = image::guess_format(bytes).map_err(damaged)?;
    reader.set_format(format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(1 << 30);
    reader.limits(limits);
    reader.into_decoder().map_err(damaged)
}

fn read(source: &Source) -> Result<Vec<u8>, ImageError> {
    let read_error = |error| ImageError::Read { file: source.clone(), error };
    let mut file = File::open(&source.file).map_err(read_error)?;
    match &source.member {
        None => read_all(&mut file, source),
        Some(member) => {
            let mut archive =
                zip::ZipArchive::new(io::BufReader::new(file)).map_err(|e| read_error(io::Error::other(e)))?;
            let mut entry = archive.by_name(member).map_err(|e| read_error(io::Error::other(e)))?;
            read_all(&mut entry, source)
        }
    }
}

fn read_all(reader: &mut dyn Read, source: &Source) -> Result<Vec<u8>, ImageError> {
    let read_error = |error| ImageError::Read { file: source.clone(), error };
    let mut bytes = Vec::new();
    // The signature decides before the rest is read.
    reader.take(16).read_to_end(&mut bytes).map_err(read_error)?;
    if !is_picture(&bytes) {
        return Err(ImageError::NotAnImage { file: source.clone() });
    }
    reader.take(MAX_FILE).read_to_end(&mut bytes).map_err(read_error)?;
    if bytes.len() as u64 >= MAX_FILE {
        return Err(ImageError::Content { file: source.clone(), cause: "larger than 512 MiB: refused".into() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_stored_as_colour_comes_back_as_grey() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("grey.png");
        image::RgbImage::from_fn(5, 3, |x, y| image::Rgb([(x * 10 + y) as u8; 3])).save(&path).expect("writes");
        let frame = read_frame(&Source::file(&path)).expect("reads");
        assert_eq!(frame.shape(), (3, 5));
        assert_eq!(frame.value_at(2, 4), Some(42.0));
        assert_eq!(dimensions(&Source::file(&path)).expect("reads"), (3, 5));
    }

    #[test]
    fn sixteen_bits_and_colour_are_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deep.png");
        image::ImageBuffer::<image::Luma<u16>, _>::from_fn(2, 2, |x, _| image::Luma([x as u16 * 40_000]))
            .save(&path)
            .expect("writes");
        assert_eq!(read_frame(&Source::file(&path)).expect("reads").value_at(0, 1), Some(40_000.0));
        image::RgbImage::from_pixel(2, 2, image::Rgb([1, 2, 3])).save(&path).expect("writes");
        assert!(matches!(read_frame(&Source::file(&path)).expect("reads").pixels, Pixels::Rgb(_)));
    }

    #[test]
    fn other_files_are_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("text.png");
        std::fs::write(&path, "no picture").expect("writes");
        assert!(matches!(read_frame(&Source::file(&path)), Err(ImageError::NotAnImage { .. })));
        std::fs::write(&path, b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR").expect("writes");
        let error = read_frame(&Source::file(&path)).expect_err("cut off").to_string();
        assert!(error.contains("text.png"), "{error}");
    }
}
