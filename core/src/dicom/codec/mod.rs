//! Bytes of one frame to stored values, for each transfer syntax (PS3.5 chapter 8 and annex A).
//!
//! | codestream | decoder |
//! |---|---|
//! | native, RLE, deflated image frame | own: `native`, `rle` |
//! | JPEG baseline, extended (8 and 12 bit), progressive, lossless | own: `jpeg`, without colour transform |
//! | JPEG-LS | own: `jpegls`, all interleave modes |
//! | JPEG 2000, HTJ2K | `openjp2`: `jpeg2000` |
//! | JPEG XL | `jxl-oxide`: `jpegxl` |
//!
//! Every decoder checks the size of the codestream against the header before it allocates.

mod jpeg;
mod jpeg2000;
mod jpegls;
mod jpegxl;
mod native;
mod rle;
mod stored;
mod syntax;

use std::borrow::Cow;
use std::io::Read;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::data_set::tag_name;

pub use stored::{Incomplete, StoredData, StoredFrame};
pub use syntax::{Codec, TransferSyntax};

/// Most samples (rows × columns × samples per pixel) in one frame: about 11,585 × 11,585.
pub const MAX_SAMPLES: usize = 1 << 27;

/// Most bytes of stored values in one frame: decoding takes up to four times as much.
pub const MAX_FRAME_BYTES: usize = 1 << 28;

/// Why a frame could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{cause}", tag.map(|tag| format!("{}: ", tag_name(tag))).unwrap_or_default())]
pub struct CodecError {
    /// The attribute to blame; Pixel Data where `None`.
    pub tag: Option<Tag>,
    /// What is wrong, in one sentence.
    pub cause: String,
    /// The data end early: what came before may be good.
    pub truncated: bool,
}

impl CodecError {
    /// An error in the pixel data itself.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { tag: None, cause: cause.into(), truncated: false }
    }

    /// An error that one attribute of the header is to blame for.
    pub fn tag(tag: Tag, cause: impl Into<String>) -> Self {
        Self { tag: Some(tag), cause: cause.into(), truncated: false }
    }

    fn truncated(codec: &str) -> Self {
        Self { truncated: true, ..Self::new(format!("the {codec} codestream ends early")) }
    }
}

/// Image Pixel module of one frame (PS3.3 C.7.6.3): what the header says of the samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameFormat {
    /// Rows (0028,0010).
    pub rows: usize,
    /// Columns (0028,0011).
    pub columns: usize,
    /// Samples per Pixel (0028,0002): 1 or 3.
    pub samples: usize,
    /// Bits Allocated (0028,0100): 1, 8, 16, 32 or 64 (64 for floating point only).
    pub bits_allocated: u16,
    /// Bits Stored (0028,0101).
    pub bits_stored: u16,
    /// High Bit (0028,0102).
    pub high_bit: u16,
    /// Pixel Representation (0028,0103) is 1.
    pub signed: bool,
    /// Planar Configuration (0028,0006) is 1.
    pub planar: bool,
    /// Float (0x7FE0,0008) or Double Float (0x7FE0,0009) Pixel Data.
    pub float: bool,
    /// Photometric Interpretation (0028,0004), trimmed.
    pub photometric: String,
}

impl FrameFormat {
    /// Pixels of the frame. Call [`FrameFormat::check`] first: it may overflow otherwise.
    pub fn pixels(&self) -> usize {
        self.rows.saturating_mul(self.columns)
    }

    /// Samples of the frame.
    pub fn sample_count(&self) -> usize {
        self.pixels().saturating_mul(self.samples)
    }

    /// Whether chroma is stored once for two pixels in native encoding (PS3.3 C.7.6.3.1.2).
    pub fn is_subsampled(&self) -> bool {
        self.photometric == "YBR_FULL_422" || self.photometric == "YBR_PARTIAL_422"
    }

    /// Bits of one frame in native encoding.
    pub fn native_bits(&self) -> usize {
        let samples = if self.is_subsampled() && self.samples == 3 {
            self.rows.saturating_mul(self.columns.div_ceil(2)).saturating_mul(4)
        } else {
            self.sample_count()
        };
        samples.saturating_mul(usize::from(self.bits_allocated))
    }

    /// Refuses formats that no decoder here reads, and sizes over [`MAX_SAMPLES`].
    pub fn check(&self) -> Result<(), CodecError> {
        if self.rows == 0 || self.columns == 0 {
            return Err(CodecError::tag(
                tags::ROWS,
                format!("Rows and Columns are {} x {}: no image", self.rows, self.columns),
            ));
        }
        if !matches!(self.samples, 1 | 3) {
            return Err(CodecError::tag(
                tags::SAMPLES_PER_PIXEL,
                format!("{} samples a pixel; 1 and 3 are read", self.samples),
            ));
        }
        let allowed: &[u16] = if self.float { &[32, 64] } else { &[1, 8, 16, 32] };
        if !allowed.contains(&self.bits_allocated) {
            return Err(CodecError::tag(
                tags::BITS_ALLOCATED,
                format!("{} bits allocated; {allowed:?} are read", self.bits_allocated),
            ));
        }
        if !self.float && (self.bits_stored == 0 || self.bits_stored > self.bits_allocated) {
            return Err(CodecError::tag(
                tags::BITS_STORED,
                format!("{} of {} allocated bits are stored", self.bits_stored, self.bits_allocated),
            ));
        }
        let bytes = self.sample_count().saturating_mul(usize::from(self.bits_allocated).div_ceil(8));
        if self.sample_count() > MAX_SAMPLES || bytes > MAX_FRAME_BYTES {
            return Err(CodecError::tag(
                tags::ROWS,
                format!(
                    "{} x {} pixels of {} samples are more than the limit of {MAX_SAMPLES} samples or {} MiB a frame",
                    self.rows,
                    self.columns,
                    self.samples,
                    MAX_FRAME_BYTES >> 20
                ),
            ));
        }
        Ok(())
    }

    /// Checks what a codestream says of itself against the header.
    fn check_codestream(&self, rows: usize, columns: usize, components: usize, bits: u32) -> Result<(), CodecError> {
        if (rows, columns) != (self.rows, self.columns) {
            return Err(CodecError::tag(
                tags::ROWS,
                format!(
                    "the codestream holds {rows} rows x {columns} columns, but Rows and Columns (0028,0011) say {} x {}",
                    self.rows, self.columns
                ),
            ));
        }
        if components != self.samples {
            return Err(CodecError::tag(
                tags::SAMPLES_PER_PIXEL,
                format!("the codestream holds {components} components, the header says {}", self.samples),
            ));
        }
        if bits > u32::from(self.bits_allocated.max(8)) {
            return Err(CodecError::tag(
                tags::BITS_ALLOCATED,
                format!("the codestream holds {bits}-bit samples, the header allocates {}", self.bits_allocated),
            ));
        }
        Ok(())
    }
}

/// Decodes one frame of encapsulated or deflated pixel data.
///
/// Native syntaxes go through [`decode_native`], which knows where in the pixel data a frame begins.
pub fn decode(codec: Codec, bytes: &[u8], format: &FrameFormat) -> Result<StoredFrame, CodecError> {
    format.check()?;
    match codec {
        Codec::Native { big_endian } => decode_native(bytes, 0, big_endian, format),
        Codec::Rle => rle::decode(bytes, format),
        Codec::DeflatedFrame => decode_native(&inflate_frame(bytes, format)?, 0, false, format),
        Codec::JpegDct | Codec::JpegLossless => {
            guarded("JPEG", || jpeg::decode(bytes, format, codec == Codec::JpegLossless))
        }
        Codec::JpegLs => guarded("JPEG-LS", || jpegls::decode(bytes, format)),
        Codec::Jpeg2000 => guarded("JPEG 2000", || jpeg2000::decode(bytes, format)),
        Codec::JpegXl => guarded("JPEG XL", || jpegxl::decode(bytes, format)),
        Codec::Unsupported(reason) => Err(CodecError::new(reason)),
    }
}

/// Reads one frame of native pixel data that begins `first_bit` bits (0 to 7) into `bytes`.
pub fn decode_native(
    bytes: &[u8],
    first_bit: usize,
    big_endian: bool,
    format: &FrameFormat,
) -> Result<StoredFrame, CodecError> {
    format.check()?;
    native::decode(bytes, first_bit, big_endian, format)
}

/// A panic inside a decoder becomes an error: no file may end the program.
fn guarded<T>(codec: &str, decode: impl FnOnce() -> Result<T, CodecError>) -> Result<T, CodecError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(CodecError::new(format!("the {codec} decoder gave up on a damaged codestream"))))
}

/// Raw deflate (RFC 1951), as in Deflated Image Frame Compression (PS3.5 A.4.13); stops at the size of a frame. A stream
/// that breaks off gives what came before.
fn inflate_frame<'a>(bytes: &[u8], format: &FrameFormat) -> Result<Cow<'a, [u8]>, CodecError> {
    let needed = format.native_bits().div_ceil(8);
    let mut out = Vec::new();
    let read = flate2::read::DeflateDecoder::new(bytes).take(needed as u64).read_to_end(&mut out);
    match read {
        Err(error) if out.is_empty() => Err(CodecError::new(format!("the deflated frame is damaged: {error}"))),
        _ => Ok(Cow::Owned(out)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A grey format for tests.
    pub fn gray(rows: usize, columns: usize, bits: u16) -> FrameFormat {
        FrameFormat {
            rows,
            columns,
            samples: 1,
            bits_allocated: if bits > 8 { 16 } else { 8 },
            bits_stored: bits,
            high_bit: bits - 1,
            signed: false,
            planar: false,
            float: false,
            photometric: "MONOCHROME2".into(),
        }
    }

    #[test]
    fn sizes_are_checked_before_anything_else() {
        let huge = gray(65_535, 65_535, 16);
        for codec in [Codec::Rle, Codec::JpegDct, Codec::JpegLs, Codec::Jpeg2000, Codec::JpegXl, Codec::DeflatedFrame] {
            let error = decode(codec, &[0xFF, 0xD8], &huge).expect_err("too large");
            assert_eq!(error.tag, Some(tags::ROWS));
        }
        assert_eq!(gray(0, 5, 8).check().expect_err("empty").tag, Some(tags::ROWS));
        let mut odd = gray(5, 5, 8);
        odd.bits_stored = 9;
        assert_eq!(odd.check().expect_err("bits").tag, Some(tags::BITS_STORED));
    }

    #[test]
    fn a_deflated_frame_is_read_up_to_its_size() {
        use std::io::Write;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![7; 100_000]).expect("in memory");
        let bytes = encoder.finish().expect("in memory");
        let frame = decode(Codec::DeflatedFrame, &bytes, &gray(4, 4, 8)).expect("decodes");
        assert_eq!(frame.data, StoredData::U8(vec![7; 16]));
        let part = decode(Codec::DeflatedFrame, &bytes, &gray(1000, 1000, 8)).expect("in part");
        let incomplete = part.incomplete.expect("too short");
        assert_eq!(incomplete.from_pixel, 100_000);
        assert!(incomplete.cause.contains("100000 of 1000000"), "{incomplete:?}");
    }
}
