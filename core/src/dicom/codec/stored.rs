//! Stored values of one frame.

use sha2::{Digest, Sha256};

use super::{CodecError, FrameFormat};

/// Stored values of one frame: `[row, column, sample]` in C order, colour by pixel, before rescale, palette and any
/// conversion from YBR.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFrame {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Samples per pixel: 1 or 3.
    pub samples: usize,
    /// The values, `rows * columns * samples` of them.
    pub data: StoredData,
    /// Colour space of the values: Photometric Interpretation, corrected by what the codestream did
    /// (JPEG 2000's own transform gives `RGB`, native 4:2:2 expands to `YBR_FULL`).
    pub photometric: String,
    /// What could not be read, where the data end early; `None` for a whole frame.
    pub incomplete: Option<Incomplete>,
}

/// A frame whose data end early: the values before are as stored, the others are made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incomplete {
    /// The first pixel that is missing, counted row by row; all behind it are missing too. The number of pixels where all
    /// are there with less detail.
    pub from_pixel: usize,
    /// What the data lack, in one sentence.
    pub cause: String,
}

impl Incomplete {
    /// What the reader must know, for an image of `rows` by `columns`.
    pub fn describe(&self, rows: usize, columns: usize) -> String {
        let first = self.from_pixel / columns.max(1) + 1;
        if first > rows {
            return format!("INCOMPLETE IMAGE: detail is missing ({})", self.cause);
        }
        format!("INCOMPLETE IMAGE: rows {first} to {rows} of {rows} are missing and shown black ({})", self.cause)
    }
}

/// Values in their container; unused high bits cleared or sign-extended. One bit a sample is unpacked to 0 and 1.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum StoredData {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// Evaluates `$body` with `$values` bound to the typed vector.
macro_rules! with_data {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            StoredData::U8($values) => $body,
            StoredData::I8($values) => $body,
            StoredData::U16($values) => $body,
            StoredData::I16($values) => $body,
            StoredData::U32($values) => $body,
            StoredData::I32($values) => $body,
            StoredData::F32($values) => $body,
            StoredData::F64($values) => $body,
        }
    };
}

impl StoredFrame {
    /// SHA-256 of the values as little-endian bytes, in hexadecimal.
    pub fn sha256(&self) -> String {
        let mut hasher = Sha256::new();
        with_data!(&self.data, values => {
            let mut block = Vec::with_capacity(1 << 16);
            for chunk in values.chunks(4096) {
                block.clear();
                for value in chunk {
                    block.extend_from_slice(&value.to_le_bytes());
                }
                hasher.update(&block);
            }
        });
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Sets all values from the pixel `first` on to the nearest value of the container.
    #[allow(clippy::unnecessary_cast)] // one body for eight types
    pub(in crate::dicom) fn fill_from(&mut self, first: usize, value: f64) {
        let at = first.saturating_mul(self.samples);
        macro_rules! fill {
            ($($kind:ident: $sample:ty),*) => {
                match &mut self.data {
                    $(StoredData::$kind(values) => {
                        if let Some(rest) = values.get_mut(at..) {
                            rest.fill(value as $sample);
                        }
                    })*
                }
            };
        }
        fill!(U8: u8, I8: i8, U16: u16, I16: i16, U32: u32, I32: i32, F32: f32, F64: f64);
    }

    /// Smallest and largest value, NaN left out; `None` where there is none.
    #[allow(clippy::useless_conversion)] // one body for eight types
    pub fn min_max(&self) -> Option<(f64, f64)> {
        with_data!(&self.data, values => {
            let mut values = values.iter().map(|&v| f64::from(v)).filter(|v| !v.is_nan());
            let first = values.next()?;
            Some(values.fold((first, first), |(low, high), v| (low.min(v), high.max(v))))
        })
    }

    /// Name of the container as NumPy calls it.
    pub fn dtype(&self) -> &'static str {
        match self.data {
            StoredData::U8(_) => "uint8",
            StoredData::I8(_) => "int8",
            StoredData::U16(_) => "uint16",
            StoredData::I16(_) => "int16",
            StoredData::U32(_) => "uint32",
            StoredData::I32(_) => "int32",
            StoredData::F32(_) => "float32",
            StoredData::F64(_) => "float64",
        }
    }

    /// All values as floating point.
    #[allow(clippy::useless_conversion)] // one body for eight types
    pub fn to_f64(&self) -> Vec<f64> {
        with_data!(&self.data, values => values.iter().map(|&v| f64::from(v)).collect())
    }
}

/// Turns codestream samples into the container that the header asks for.
///
/// `precision` and `signed` are the codestream's; the header's Pixel Representation decides the sign: bits above
/// the precision are sign-extended or cleared by it, which also mends codestreams with the wrong sign.
pub(super) fn from_codestream(
    samples: impl ExactSizeIterator<Item = i32>,
    precision: u32,
    signed: bool,
    format: &FrameFormat,
    photometric: &str,
) -> Result<StoredFrame, CodecError> {
    let count = samples.len();
    if count != format.sample_count() {
        return Err(CodecError::new(format!("{count} samples decoded, {} expected", format.sample_count())));
    }
    let width = precision.clamp(1, 32);
    let spare = 32 - width;
    let data = match (format.bits_allocated, format.signed) {
        (0..=8, false) => StoredData::U8(samples.map(|v| ((v as u32) << spare >> spare) as u8).collect()),
        (0..=8, true) => StoredData::I8(samples.map(|v| (v << spare >> spare) as i8).collect()),
        (9..=16, false) if signed => StoredData::U16(samples.map(|v| v as u16).collect()),
        (9..=16, false) => StoredData::U16(samples.map(|v| ((v as u32) << spare >> spare) as u16).collect()),
        (9..=16, true) => StoredData::I16(samples.map(|v| (v << spare >> spare) as i16).collect()),
        (_, false) => StoredData::U32(samples.map(|v| (v as u32) << spare >> spare).collect()),
        (_, true) => StoredData::I32(samples.map(|v| v << spare >> spare).collect()),
    };
    Ok(StoredFrame {
        rows: format.rows,
        columns: format.columns,
        samples: format.samples,
        data,
        photometric: photometric.to_owned(),
        incomplete: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::gray;
    use super::*;

    #[test]
    fn the_header_decides_the_sign() {
        let mut format = gray(1, 3, 12);
        format.signed = true;
        let frame = from_codestream([0, 2047, 4095].into_iter(), 12, false, &format, "MONOCHROME2").expect("three");
        assert_eq!(frame.data, StoredData::I16(vec![0, 2047, -1]));
        assert_eq!(frame.min_max(), Some((-1.0, 2047.0)));
        assert_eq!(frame.dtype(), "int16");
    }

    #[test]
    fn the_hash_is_of_little_endian_bytes() {
        let frame = from_codestream([1, 258].into_iter(), 16, false, &gray(1, 2, 16), "MONOCHROME2").expect("two");
        // printf '\x01\x00\x02\x01' | sha256sum
        assert_eq!(frame.sha256(), "d4744442255e7771a216170e3f705b6c9e519b7f05d6c0ce0eaf402e44a8c6a9");
    }
}
