//! Uncompressed pixel data (PS3.5 8.1.1, 8.2, PS3.3 C.7.6.3.1).

use std::borrow::Cow;

use super::{CodecError, FrameFormat, Incomplete, StoredData, StoredFrame};

/// Reads one frame; `first_bit` is where it begins in the first byte (frames of one bit a pixel are not aligned). Where the
/// bytes are too few, the whole pixels that they hold are read and the frame is [`Incomplete`].
pub(super) fn decode(
    bytes: &[u8],
    first_bit: usize,
    big_endian: bool,
    format: &FrameFormat,
) -> Result<StoredFrame, CodecError> {
    let count = format.sample_count();
    let subsampled = format.is_subsampled() && format.samples == 3 && format.bits_allocated == 8;
    let needed = (format.native_bits().saturating_add(first_bit)).div_ceil(8);
    let mut incomplete = None;
    let bytes = match bytes.get(..needed) {
        Some(whole) => Cow::Borrowed(whole),
        None => {
            let cause = format!("the frame holds {} of {needed} bytes", bytes.len());
            let from_pixel = whole_pixels(bytes.len(), first_bit, format);
            // A few bytes are no image, and must not ask for the memory of one.
            if from_pixel == 0 || from_pixel.saturating_mul(64) < format.pixels() {
                return Err(CodecError { truncated: true, ..CodecError::new(cause) });
            }
            incomplete = Some(Incomplete { from_pixel, cause });
            let mut padded = bytes.to_vec();
            padded.resize(needed, 0);
            Cow::Owned(padded)
        }
    };
    let bytes = &*bytes;
    let mut photometric = format.photometric.as_str();
    let data = if format.float {
        floats(bytes, big_endian, format)
    } else {
        match format.bits_allocated {
            1 => StoredData::U8((first_bit..first_bit + count).map(|bit| bytes[bit / 8] >> (bit % 8) & 1).collect()),
            8 => {
                let values = if subsampled {
                    photometric = if photometric == "YBR_PARTIAL_422" { "YBR_PARTIAL" } else { "YBR_FULL" };
                    expand_422(bytes, format)
                } else {
                    bytes.to_vec()
                };
                integers(values.into_iter().map(u32::from), 8, format)
            }
            16 => integers(
                bytes
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|&b| u32::from(if big_endian { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) })),
                16,
                format,
            ),
            _ => integers(
                bytes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&b| if big_endian { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }),
                32,
                format,
            ),
        }
    };
    let data = if format.planar && format.samples == 3 && !subsampled { by_pixel(data) } else { data };
    Ok(StoredFrame {
        rows: format.rows,
        columns: format.columns,
        samples: format.samples,
        data,
        photometric: photometric.to_owned(),
        incomplete,
    })
}

/// Pixels of which all samples are within the first `length` bytes.
fn whole_pixels(length: usize, first_bit: usize, format: &FrameFormat) -> usize {
    let bits = length.saturating_mul(8).saturating_sub(first_bit);
    let allocated = usize::from(format.bits_allocated).max(1);
    if format.is_subsampled() && format.samples == 3 && format.bits_allocated == 8 {
        return length / (format.columns.div_ceil(2) * 4).max(1) * format.columns;
    }
    if format.planar && format.samples == 3 {
        // A pixel is whole once its sample of the last plane is there.
        return (bits / allocated).saturating_sub(2 * format.pixels());
    }
    bits / (allocated * format.samples.max(1))
}

fn floats(bytes: &[u8], big_endian: bool, format: &FrameFormat) -> StoredData {
    if format.bits_allocated == 64 {
        let (chunks, _) = bytes.as_chunks::<8>();
        StoredData::F64(
            chunks.iter().map(|&b| if big_endian { f64::from_be_bytes(b) } else { f64::from_le_bytes(b) }).collect(),
        )
    } else {
        let (chunks, _) = bytes.as_chunks::<4>();
        StoredData::F32(
            chunks.iter().map(|&b| if big_endian { f32::from_be_bytes(b) } else { f32::from_le_bytes(b) }).collect(),
        )
    }
}

/// Brings Bits Stored to the low end, clears or sign-extends the rest.
pub(super) fn integers(values: impl Iterator<Item = u32>, container: u32, format: &FrameFormat) -> StoredData {
    let stored = u32::from(format.bits_stored).clamp(1, container);
    let top = u32::from(format.high_bit) + 1;
    let low = if top > stored && top <= container { top - stored } else { 0 };
    let spare = 32 - stored;
    let unsigned = values.map(move |v| (v >> low) << spare);
    match (container, format.signed) {
        (8, false) => StoredData::U8(unsigned.map(|v| (v >> spare) as u8).collect()),
        (8, true) => StoredData::I8(unsigned.map(|v| (v as i32 >> spare) as i8).collect()),
        (16, false) => StoredData::U16(unsigned.map(|v| (v >> spare) as u16).collect()),
        (16, true) => StoredData::I16(unsigned.map(|v| (v as i32 >> spare) as i16).collect()),
        (_, false) => StoredData::U32(unsigned.map(|v| v >> spare).collect()),
        (_, true) => StoredData::I32(unsigned.map(|v| v as i32 >> spare).collect()),
    }
}

/// `Y1 Y2 Cb Cr` for two pixels to three samples a pixel; an odd last column has a pair of its own.
fn expand_422(bytes: &[u8], format: &FrameFormat) -> Vec<u8> {
    let mut out = Vec::with_capacity(format.sample_count());
    let row_bytes = format.columns.div_ceil(2) * 4;
    for row in bytes.chunks_exact(row_bytes) {
        let end = out.len() + format.columns * 3;
        for &[y0, y1, cb, cr] in row.as_chunks::<4>().0 {
            out.extend_from_slice(&[y0, cb, cr, y1, cb, cr]);
        }
        out.truncate(end);
    }
    out
}

/// Planes (Planar Configuration 1) to colour by pixel.
pub(super) fn by_pixel(data: StoredData) -> StoredData {
    fn interleave<T: Copy>(planes: Vec<T>) -> Vec<T> {
        let pixels = planes.len() / 3;
        (0..pixels).flat_map(|p| [planes[p], planes[pixels + p], planes[2 * pixels + p]]).collect()
    }
    match data {
        StoredData::U8(v) => StoredData::U8(interleave(v)),
        StoredData::I8(v) => StoredData::I8(interleave(v)),
        StoredData::U16(v) => StoredData::U16(interleave(v)),
        StoredData::I16(v) => StoredData::I16(interleave(v)),
        StoredData::U32(v) => StoredData::U32(interleave(v)),
        StoredData::I32(v) => StoredData::I32(interleave(v)),
        StoredData::F32(v) => StoredData::F32(interleave(v)),
        StoredData::F64(v) => StoredData::F64(interleave(v)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::gray;
    use super::*;

    #[test]
    fn bits_start_inside_a_byte() {
        let mut format = gray(1, 9, 1);
        format.bits_allocated = 1;
        let frame = decode(&[0b1110_1000, 0b0000_0101], 3, false, &format).expect("two bytes are enough");
        assert_eq!(frame.data, StoredData::U8(vec![1, 0, 1, 1, 1, 1, 0, 1, 0]));
        let part = decode(&[0xFF], 3, false, &format).expect("five pixels are there");
        assert_eq!(part.incomplete.map(|incomplete| incomplete.from_pixel), Some(5));
        assert!(decode(&[], 0, false, &format).is_err());
    }

    #[test]
    fn high_bits_are_cleared_shifted_and_extended() {
        let mut format = gray(1, 2, 12);
        let bytes = [0xFF, 0xF7, 0x01, 0x80];
        assert_eq!(decode(&bytes, 0, false, &format).expect("fits").data, StoredData::U16(vec![0x7FF, 1]));
        assert_eq!(decode(&bytes, 0, true, &format).expect("fits").data, StoredData::U16(vec![0xFF7, 0x180]));
        format.signed = true;
        format.high_bit = 15;
        assert_eq!(decode(&bytes, 0, false, &format).expect("fits").data, StoredData::I16(vec![-129, -2048]));
    }

    #[test]
    fn chroma_is_repeated_and_an_odd_column_dropped() {
        let mut format = gray(1, 3, 8);
        format.samples = 3;
        format.photometric = "YBR_FULL_422".into();
        let frame = decode(&[1, 2, 10, 20, 3, 99, 30, 40], 0, false, &format).expect("fits");
        assert_eq!(frame.data, StoredData::U8(vec![1, 10, 20, 2, 10, 20, 3, 30, 40]));
        assert_eq!(frame.photometric, "YBR_FULL");
    }

    #[test]
    fn what_is_there_of_a_cut_frame_is_read() {
        let bytes: Vec<u8> = (1..=12).collect();
        let mut format = gray(2, 2, 8);
        format.samples = 3;
        let from = |format: &FrameFormat, length: usize| {
            let frame = decode(&bytes[..length], 0, false, format).ok()?;
            Some(frame.incomplete.map_or(4, |incomplete| incomplete.from_pixel))
        };
        assert_eq!(
            [12, 11, 9, 5, 3, 2].map(|length| from(&format, length)),
            [4, 3, 3, 1, 1, 0].map(|n| Some(n).filter(|n| *n > 0))
        );
        format.planar = true;
        assert_eq!([12, 11, 9, 8].map(|length| from(&format, length)), [Some(4), Some(3), Some(1), None]);
        format.planar = false;
        format.photometric = "YBR_FULL_422".into();
        assert_eq!([8, 7, 4, 3].map(|length| from(&format, length)), [Some(4), Some(2), Some(2), None]);
    }

    #[test]
    fn planes_become_pixels() {
        let mut format = gray(1, 2, 8);
        format.samples = 3;
        format.planar = true;
        format.photometric = "RGB".into();
        let frame = decode(&[1, 2, 3, 4, 5, 6], 0, false, &format).expect("fits");
        assert_eq!(frame.data, StoredData::U8(vec![1, 3, 5, 2, 4, 6]));
    }
}
