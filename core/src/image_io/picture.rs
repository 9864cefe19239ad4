//! PNG and JPEG into [`Frame`].

use std::io::{self, Cursor, Read};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use ndarray::{Array2, Array3};

use super::stream::with_stream;
use crate::study::{DisplayAttributes, Frame, GrayPixels, Pixels, Source, Window};

/// Width and height that an image may have.
const MAX_SIDE: u32 = 32_768;
/// Bytes that decoding may take.
const MAX_MEMORY: u64 = 512 << 20;
/// Bytes in which the size is looked for first.
const HEADER_BYTES: u64 = 256 << 10;
/// Bytes that a file may have.
const MAX_FILE: u64 = 512 << 20;

/// Why a PNG or JPEG could not be used; names the file.
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
    /// Damaged, or too large.
    #[error("{file}: not a usable PNG or JPEG: {error}")]
    Decode {
        /// The file.
        file: Source,
        /// The reason given.
        #[source]
        error: image::ImageError,
    },
}

impl ImageError {
    /// The cause without the file's name.
    pub fn cause(&self) -> String {
        match self {
            Self::Read { error, .. } => format!("cannot be read: {error}"),
            Self::NotAnImage { .. } => "neither PNG nor JPEG".into(),
            Self::Decode { error, .. } => format!("not a usable PNG or JPEG: {error}"),
        }
    }
}

/// Whether a file that begins with `head` is PNG or JPEG.
pub fn is_picture(head: &[u8]) -> bool {
    head.starts_with(b"\x89PNG\r\n\x1a\n") || head.starts_with(&[0xFF, 0xD8, 0xFF])
}

/// Rows and columns of a PNG or JPEG as shown, from its header; `stream` is read no further than needed, `source` is the name in messages.
///
/// # Errors
/// When it cannot be read, is neither PNG nor JPEG, or is larger than 32,768 pixels a side.
pub fn read_info(stream: &mut dyn Read, source: &Source) -> Result<(usize, usize), ImageError> {
    let read_error = |error| ImageError::Read { file: source.clone(), error };
    let mut bytes = Vec::new();
    stream.take(HEADER_BYTES).read_to_end(&mut bytes).map_err(read_error)?;
    info(&bytes, source).or_else(|error| {
        // A colour profile or a photograph's preview before the size.
        let read = stream.take(MAX_FILE).read_to_end(&mut bytes).map_err(read_error)?;
        if read == 0 { Err(error) } else { info(&bytes, source) }
    })
}

/// [`read_info`] of a file or archive member.
///
/// # Errors
/// As [`read_info`].
pub fn dimensions(source: &Source) -> Result<(usize, usize), ImageError> {
    with_stream(source, |stream, _| Ok(read_info(stream, source)))
        .unwrap_or_else(|error: io::Error| Err(ImageError::Read { file: source.clone(), error }))
}

fn info(bytes: &[u8], source: &Source) -> Result<(usize, usize), ImageError> {
    let mut decoder = decoder(bytes, source)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = match orientation(&mut decoder) {
        Orientation::Rotate90 | Orientation::Rotate270 | Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => {
            (height, width)
        }
        _ => (width, height),
    };
    Ok((height as usize, width as usize))
}

/// Reads a PNG or JPEG: gray with 8 or 16 bits, or RGB with 8 bits.
///
/// Transparency is laid over black, 16-bit colour is scaled to 8 bits, palettes are looked up, a photograph's rotation
/// (EXIF) is applied. Colour whose three channels are equal everywhere comes as gray, so that it can be windowed.
///
/// # Errors
/// As [`read_info`], and when the pixels are damaged or would take more than 512 MiB.
pub fn read_frame(source: &Source) -> Result<Frame, ImageError> {
    read_frame_bytes(&bytes(source)?, source)
}

/// [`read_frame`] from memory; `source` is the name in messages.
///
/// # Errors
/// As [`read_frame`].
pub fn read_frame_bytes(bytes: &[u8], source: &Source) -> Result<Frame, ImageError> {
    let decode_error = |error| ImageError::Decode { file: source.clone(), error };
    let mut decoder = decoder(bytes, source)?;
    let orientation = orientation(&mut decoder);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(decode_error)?;
    picture.apply_orientation(orientation);
    let lossy = bytes.starts_with(&[0xFF, 0xD8]).then(|| "ISO_10918_1".to_owned());
    let mut display = DisplayAttributes { lossy, ..DisplayAttributes::default() };
    let (columns, rows) = (picture.width() as usize, picture.height() as usize);
    let shape = |error: ndarray::ShapeError| ImageError::Read { file: source.clone(), error: io::Error::other(error) };
    let pixels = match picture {
        DynamicImage::ImageLuma8(gray) => gray8(rows, columns, gray.into_raw()).map_err(shape)?,
        DynamicImage::ImageLuma16(gray) => {
            display.bits_stored = 16;
            let array = Array2::from_shape_vec((rows, columns), gray.into_raw()).map_err(shape)?;
            Pixels::Gray(GrayPixels::U16(array))
        }
        DynamicImage::ImageLumaA8(gray) => {
            let over_black = gray.pixels().map(|p| over_black(p.0[0], p.0[1])).collect();
            gray8(rows, columns, over_black).map_err(shape)?
        }
        DynamicImage::ImageLumaA16(gray) => {
            display.bits_stored = 16;
            let over_black =
                gray.pixels().map(|p| (u32::from(p.0[0]) * u32::from(p.0[1]) / 65_535) as u16).collect::<Vec<_>>();
            Pixels::Gray(GrayPixels::U16(Array2::from_shape_vec((rows, columns), over_black).map_err(shape)?))
        }
        other => {
            let rgb: Vec<u8> = if other.color().has_alpha() {
                let black = |p: &image::Rgba<u8>| [0, 1, 2].map(|c: usize| over_black(p.0[c], p.0[3]));
                other.to_rgba8().pixels().flat_map(black).collect()
            } else {
                other.into_rgb8().into_raw()
            };
            let (triples, _) = rgb.as_chunks::<3>();
            if triples.iter().all(|[r, g, b]| r == g && g == b) {
                gray8(rows, columns, triples.iter().map(|p| p[0]).collect()).map_err(shape)?
            } else {
                Pixels::Rgb(Array3::from_shape_vec((rows, columns, 3), rgb).map_err(shape)?)
            }
        }
    };
    if display.bits_stored == 8 && matches!(pixels, Pixels::Gray(_)) {
        display.windows = vec![Window { name: "as stored".into(), ..Window::linear(128.0, 256.0) }];
    }
    Ok(Frame { pixels, display })
}

fn gray8(rows: usize, columns: usize, values: Vec<u8>) -> Result<Pixels, ndarray::ShapeError> {
    Ok(Pixels::Gray(GrayPixels::U8(Array2::from_shape_vec((rows, columns), values)?)))
}

fn over_black(value: u8, alpha: u8) -> u8 {
    ((u32::from(value) * u32::from(alpha) + 127) / 255) as u8
}

fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

fn decoder<'a>(bytes: &'a [u8], source: &Source) -> Result<impl ImageDecoder + 'a, ImageError> {
    if !is_picture(bytes) {
        return Err(ImageError::NotAnImage { file: source.clone() });
    }
    let format = if bytes.starts_with(&[0xFF, 0xD8]) { ImageFormat::Jpeg } else { ImageFormat::Png };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    reader.into_decoder().map_err(|error| ImageError::Decode { file: source.clone(), error })
}

fn bytes(source: &Source) -> Result<Vec<u8>, ImageError> {
    let read = |stream: &mut dyn Read, _| {
        let mut bytes = Vec::new();
        // The signature decides before the rest is read.
        stream.take(16).read_to_end(&mut bytes)?;
        if !is_picture(&bytes) {
            return Ok(None);
        }
        stream.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::other("larger than 512 MiB"));
        }
        Ok(Some(bytes))
    };
    let bytes = with_stream(source, read).map_err(|error| ImageError::Read { file: source.clone(), error })?;
    bytes.ok_or_else(|| ImageError::NotAnImage { file: source.clone() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageBuffer, Luma, RgbImage, RgbaImage};

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        picture.write_to(&mut out, ImageFormat::Png).unwrap();
        out.into_inner()
    }

    fn read(picture: &DynamicImage) -> Frame {
        read_frame_bytes(&png(picture), &Source::file("a.png")).unwrap()
    }

    #[test]
    fn gray_keeps_its_bits() {
        let frame = read(&DynamicImage::ImageLuma8(GrayImage::from_fn(5, 3, |x, y| Luma([(x * 10 + y) as u8]))));
        assert_eq!(frame.shape(), (3, 5));
        assert_eq!(frame.value_at(2, 4), Some(42.0));
        let deep = ImageBuffer::from_fn(5, 3, |x, y| Luma([(x * 1000 + y) as u16]));
        let frame = read(&DynamicImage::ImageLuma16(deep));
        assert_eq!((frame.value_at(2, 4), frame.display.bits_stored), (Some(4002.0), 16));
    }

    #[test]
    fn colour_stays_colour_and_gray_in_colour_becomes_gray() {
        let colour = RgbImage::from_fn(2, 2, |x, _| image::Rgb([200, 10, x as u8]));
        assert!(matches!(read(&DynamicImage::ImageRgb8(colour)).pixels, Pixels::Rgb(_)));
        let gray = RgbImage::from_fn(2, 2, |x, _| image::Rgb([x as u8; 3]));
        assert!(matches!(read(&DynamicImage::ImageRgb8(gray)).pixels, Pixels::Gray(GrayPixels::U8(_))));
    }

    #[test]
    fn transparency_lies_over_black() {
        let hidden = RgbaImage::from_fn(1, 1, |_, _| image::Rgba([255, 100, 0, 0]));
        assert_eq!(read(&DynamicImage::ImageRgba8(hidden)).value_at(0, 0), Some(0.0));
    }

    #[test]
    fn damaged_and_huge_images_are_refused_by_name() {
        let mut bytes = png(&DynamicImage::ImageLuma8(GrayImage::new(64, 64)));
        for length in 0..bytes.len() {
            // Any outcome but a panic; what decodes has the right shape.
            if let Ok(frame) = read_frame_bytes(&bytes[..length], &Source::file("cut.png")) {
                assert_eq!(frame.shape(), (64, 64));
            }
        }
        // A header that claims 2^31 pixels a side.
        bytes[16..24].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]);
        let error = read_frame_bytes(&bytes, &Source::file("huge.png")).unwrap_err();
        assert!(error.to_string().starts_with("huge.png: "), "{error}");
    }

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
