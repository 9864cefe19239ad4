//! Pixels of a DICOM file: frames decoded, with everything that is needed to show them.
//!
//! [`FrameReader`] opens a file once and decodes any frame of it; [`read_frame`] is the same for one frame.

mod color;
mod display;
mod header;
mod lut;
mod suv;

use ndarray::{Array2, Array3};

use super::codec::{self, Codec, CodecError, FrameFormat, Incomplete, StoredData, StoredFrame, TransferSyntax};
use super::file::{DicomError, DicomFile, codestream_syntax};
use super::fragments::PixelData;
use super::{Element, tags};
use crate::image_io;
use crate::study::{DisplayAttributes, Frame, GrayPixels, Pixels, PlaneGeometry, Source};
use dicom_core::VR;

/// Reads one frame (from 0) of a DICOM, PNG or JPEG file, ready to show.
///
/// # Errors
/// Names the file, the attribute where one is to blame, and the cause.
pub fn read_frame(source: &Source, frame: usize) -> Result<Frame, DicomError> {
    FrameReader::open(source)?.frame(frame)
}

/// Reads the stored values of one frame (from 0) of a DICOM file, untouched by rescale, palette or colour conversion.
///
/// # Errors
/// As [`read_frame`]; also for files that are not DICOM.
pub fn read_stored(source: &Source, frame: usize) -> Result<StoredFrame, DicomError> {
    PixelReader::open(source)?.stored(frame)
}

/// An image file that was read, DICOM or not: decodes any of its frames.
///
/// Holds the file's bytes, compressed as they are. Cheap to share between threads.
#[derive(Debug)]
pub struct FrameReader(Inner);

#[derive(Debug)]
enum Inner {
    Dicom(Box<PixelReader>),
    Picture(Box<Frame>, Source),
}

impl FrameReader {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, or is neither DICOM with an image nor PNG or JPEG.
    pub fn open(source: &Source) -> Result<Self, DicomError> {
        match PixelReader::open(source) {
            Ok(reader) => Ok(Self(Inner::Dicom(Box::new(reader)))),
            Err(error @ DicomError::NotDicom { .. }) => match image_io::read_frame(source) {
                Ok(frame) => Ok(Self(Inner::Picture(Box::new(frame), source.clone()))),
                Err(image_io::ImageError::NotAnImage { .. }) => Err(error),
                Err(other) => Err(DicomError::content(source, other.cause())),
            },
            Err(error) => Err(error),
        }
    }

    /// How many frames there are; at least 1.
    pub fn frames(&self) -> usize {
        match &self.0 {
            Inner::Dicom(reader) => reader.frames,
            Inner::Picture(..) => 1,
        }
    }

    /// Where a frame (from 0) lies in the patient, without decoding it; `None` where the file does not tell.
    pub fn geometry(&self, frame: usize) -> Option<PlaneGeometry> {
        match &self.0 {
            Inner::Dicom(reader) => reader.display(frame).geometry,
            Inner::Picture(..) => None,
        }
    }

    /// Decodes one frame (from 0).
    ///
    /// # Errors
    /// When there is no such frame, or it cannot be decoded.
    pub fn frame(&self, frame: usize) -> Result<Frame, DicomError> {
        match &self.0 {
            Inner::Dicom(reader) => reader.frame(frame),
            Inner::Picture(picture, _) if frame == 0 => Ok((**picture).clone()),
            Inner::Picture(_, source) => {
                Err(DicomError::content(source, format!("a picture has one frame; there is no frame {}", frame + 1)))
            }
        }
    }
}

/// A DICOM file with pixel data that was read: decodes any of its frames.
#[derive(Debug)]
pub struct PixelReader {
    file: DicomFile,
    format: FrameFormat,
    frames: usize,
    syntax: Option<TransferSyntax>,
    /// How the pixel data disagree with the number of frames.
    frame_doubt: Option<String>,
}

impl PixelReader {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read, is not DICOM, or holds no image that can be described.
    pub fn open(source: &Source) -> Result<Self, DicomError> {
        Self::new(DicomFile::read(source)?)
    }

    /// Takes a file that was read whole.
    ///
    /// # Errors
    /// When the file holds no image that can be described.
    pub fn new(file: DicomFile) -> Result<Self, DicomError> {
        let mut format = header::format(&file)?;
        let frames = header::frames(&file);
        // Some writers label full-resolution chroma as 4:2:2.
        if let PixelData::Native(element) = file.pixel_data()?
            && format.is_subsampled()
            && element.bytes().len() >= frames.saturating_mul(format.sample_count())
        {
            format.photometric = "YBR_FULL".into();
        }
        let syntax = TransferSyntax::find(&file.transfer_syntax);
        let held = match file.pixel_data()? {
            PixelData::Encapsulated(data) => data.held_frames(frames),
            // One frame that is too short is told with the frame itself.
            PixelData::Native(element) => Some(element.bytes().len().saturating_mul(8) / format.native_bits().max(1))
                .filter(|held| *held > 0 || frames > 1),
        };
        let frame_doubt = held.filter(|held| *held != frames).map(|held| {
            format!("says {frames}, but the pixel data hold {held} whole frame{}", if held == 1 { "" } else { "s" })
        });
        Ok(Self { file, format, frames, syntax, frame_doubt })
    }

    /// How the pixel data disagree with Number of Frames (0028,0008), in one sentence; `None` where they agree.
    pub fn frame_doubt(&self) -> Option<&str> {
        self.frame_doubt.as_deref()
    }

    /// The file.
    pub fn file(&self) -> &DicomFile {
        &self.file
    }

    /// What the header says of the samples.
    pub fn format(&self) -> &FrameFormat {
        &self.format
    }

    /// Number of Frames (0028,0008), at least 1.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// The transfer syntax, where it is known.
    pub fn transfer_syntax(&self) -> Option<TransferSyntax> {
        self.syntax
    }

    /// Stored values of one frame (from 0). Where its data end early, the pixels that are missing have the padding value, or
    /// the lowest value that can be stored (NaN for floating point); [`StoredFrame::incomplete`] says which.
    ///
    /// # Errors
    /// When there is no such frame, or nothing of it can be decoded.
    pub fn stored(&self, frame: usize) -> Result<StoredFrame, DicomError> {
        if frame >= self.frames {
            let cause = format!("the file has {} frames; there is no frame {}", self.frames, frame + 1);
            return Err(self.file.attribute_error(tags::NUMBER_OF_FRAMES, cause));
        }
        let result = match self.file.pixel_data()? {
            PixelData::Native(element) => self.native(element, frame),
            PixelData::Encapsulated(data) => match data.frame(frame, self.frames) {
                Some(bytes) => codec::decode(self.codec(&bytes), &bytes, &self.format),
                None => Err(CodecError::new(match data.held_frames(self.frames) {
                    Some(held) => format!("absent: the pixel data hold {held} of {} frames", self.frames),
                    None => {
                        format!("which of {} fragments belong to the frame cannot be told", data.fragments.len())
                    }
                })),
            },
        };
        let mut stored = result.map_err(|error| {
            let cause = if self.frames > 1 { format!("frame {}: {}", frame + 1, error.cause) } else { error.cause };
            self.file.attribute_error(error.tag.unwrap_or(tags::PIXEL_DATA), cause)
        })?;
        if let Some(first) = stored.incomplete.as_ref().map(|incomplete| incomplete.from_pixel) {
            stored.fill_from(first, self.missing_value());
        }
        Ok(stored)
    }

    /// What stands for pixels that are missing.
    fn missing_value(&self) -> f64 {
        let format = &self.format;
        match display::padding(self.file.data_set(), format) {
            Some((value, _)) => value,
            None if format.float => f64::NAN,
            None if format.signed => -f64::from(2.0_f32).powi(i32::from(format.bits_stored.clamp(1, 32)) - 1),
            None => 0.0,
        }
    }

    /// One frame (from 0), ready to show.
    ///
    /// # Errors
    /// As [`PixelReader::stored`], and where a palette or colour space is not usable.
    pub fn frame(&self, frame: usize) -> Result<Frame, DicomError> {
        let stored = self.stored(frame)?;
        let incomplete = stored.incomplete.clone();
        let pixels = self.pixels(stored)?;
        let mut display = self.display(frame);
        if let Some(incomplete) = incomplete {
            self.warn(&mut display, &incomplete);
        }
        Ok(Frame { pixels, display })
    }

    /// Says that a frame is incomplete, and has what is missing shown as padding.
    fn warn(&self, display: &mut DisplayAttributes, incomplete: &Incomplete) {
        display.warnings.insert(0, incomplete.describe(self.format.rows, self.format.columns));
        let (missing, all) = (self.missing_value(), self.format.pixels());
        if incomplete.from_pixel < all && !missing.is_nan() && self.format.samples == 1 {
            display.padding.get_or_insert((missing, missing));
        }
    }

    /// How to show one frame (from 0), without decoding it.
    pub fn display(&self, frame: usize) -> DisplayAttributes {
        let mut display = display::attributes(&self.file, &self.format, frame);
        display.warnings.extend(self.frame_doubt.as_ref().map(|doubt| format!("Number of Frames {doubt}")));
        display
    }

    /// The decoder for a compressed frame. What the codestream shows of itself weighs more than a wrong label.
    fn codec(&self, bytes: &[u8]) -> Codec {
        let labelled = self.syntax.map(|syntax| syntax.codec);
        let seen = codestream_syntax(bytes).and_then(TransferSyntax::find).map(|syntax| syntax.codec);
        match (labelled, seen) {
            // The JPEG decoder reads both processes; the label says what the colour is.
            (Some(Codec::JpegLossless | Codec::JpegDct), Some(Codec::JpegLossless | Codec::JpegDct))
            | (Some(_), None) => labelled.unwrap_or(Codec::Unsupported("")),
            // A raw deflate stream or RLE header cannot begin like a JPEG; a video has another signature.
            (Some(Codec::Unsupported(reason)), _) => Codec::Unsupported(reason),
            (_, Some(seen)) => seen,
            (None, None) => Codec::Unsupported("the transfer syntax is unknown, and so is the codestream"),
        }
    }

    fn native(&self, element: Element<'_>, frame: usize) -> Result<StoredFrame, CodecError> {
        self.format.check()?;
        let bytes = element.bytes();
        let bits = self.format.native_bits();
        let cut = || {
            CodecError::new(format!(
                "the pixel data hold {} bytes, a frame of this size needs {}: {} whole frames",
                bytes.len(),
                bits.div_ceil(8),
                bytes.len().saturating_mul(8) / bits.max(1)
            ))
        };
        // A frame that is cut off is decoded as far as it goes; one of which nothing is there is refused.
        let first = frame.checked_mul(bits).ok_or_else(cut)?;
        let last = first.checked_add(bits).ok_or_else(cut)?.div_ceil(8);
        let range = first / 8..last.min(bytes.len());
        if range.is_empty() {
            return Err(cut());
        }
        let big_endian = self.file.encoding.big_endian;
        if big_endian && self.format.bits_allocated <= 8 && element.vr() == VR::OW {
            // Bytes in 16-bit words change places in big endian (PS3.5 7.3).
            let swapped: Vec<u8> = range.map(|at| bytes.get(at ^ 1).copied().unwrap_or(0)).collect();
            return codec::decode_native(&swapped, first % 8, true, &self.format);
        }
        codec::decode_native(bytes.get(range).ok_or_else(cut)?, first % 8, big_endian, &self.format)
            .map_err(|error| if error.truncated { cut() } else { error })
    }

    fn pixels(&self, stored: StoredFrame) -> Result<Pixels, DicomError> {
        let (rows, columns) = (stored.rows, stored.columns);
        let missing_from = stored.incomplete.as_ref().map(|incomplete| incomplete.from_pixel);
        let shape_error = || DicomError::content(&self.file.source, "the decoded frame has another size");
        if stored.samples == 3 || stored.photometric == "PALETTE COLOR" {
            let mut rgb = if stored.samples == 3 {
                color::to_rgb(&stored, &self.format).map_err(|error| {
                    self.file.attribute_error(error.tag.unwrap_or(tags::PHOTOMETRIC_INTERPRETATION), error.cause)
                })?
            } else {
                color::Palette::read(&self.file)?.apply(&stored)
            };
            if let Some(missing) = missing_from.and_then(|from| rgb.get_mut(from.saturating_mul(3)..)) {
                missing.fill(0);
            }
            return Array3::from_shape_vec((rows, columns, 3), rgb).map(Pixels::Rgb).map_err(|_| shape_error());
        }
        let shape = (rows, columns);
        let gray = match stored.data {
            StoredData::U8(v) => Array2::from_shape_vec(shape, v).map(GrayPixels::U8),
            StoredData::I8(v) => Array2::from_shape_vec(shape, v).map(GrayPixels::I8),
            StoredData::U16(v) => Array2::from_shape_vec(shape, v).map(GrayPixels::U16),
            StoredData::I16(v) => Array2::from_shape_vec(shape, v).map(GrayPixels::I16),
            StoredData::U32(v) => Array2::from_shape_vec(shape, v).map(GrayPixels::U32),
            StoredData::I32(v) => Array2::from_shape_vec(shape, v).map(GrayPixels::I32),
            StoredData::F32(v) => Array2::from_shape_vec(shape, v).map(GrayPixels::F32),
            StoredData::F64(v) => Array2::from_shape_vec(shape, v).map(GrayPixels::F64),
        };
        gray.map(Pixels::Gray).map_err(|_| shape_error())
    }
}

#[cfg(test)]
mod tests;
