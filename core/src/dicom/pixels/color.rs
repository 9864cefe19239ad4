//! Colour for display: palettes (PS3.3 C.7.6.3.1.5 and C.7.9) and YBR (C.7.6.3.1.2) to 8-bit RGB.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::lut::Descriptor;
use super::{CodecError, DicomError, DicomFile, FrameFormat, StoredData, StoredFrame};

/// Three tables of 8-bit entries.
pub(super) struct Palette {
    first: i64,
    channels: [Vec<u8>; 3],
}

const CHANNELS: [(Tag, Tag, Tag); 3] = [
    (
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
    (
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
    (
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
];

impl Palette {
    pub(super) fn read(file: &DicomFile) -> Result<Self, DicomError> {
        let set = file.data_set();
        let mut first = 0;
        let mut wide: [Vec<u16>; 3] = Default::default();
        let mut bits = 16;
        for (channel, (descriptor_tag, data_tag, segmented_tag)) in wide.iter_mut().zip(CHANNELS) {
            let descriptor = Descriptor::read(set, descriptor_tag, false)
                .ok_or_else(|| file.attribute_error(descriptor_tag, "absent or without its three values"))?;
            (first, bits) = (descriptor.first, descriptor.bits);
            *channel = match (set.get(data_tag), set.get(segmented_tag)) {
                (Some(data), _) => descriptor.entries(data),
                (None, Some(data)) => expand_segments(&descriptor.segments(data), descriptor.count, descriptor.bits)
                    .ok_or_else(|| file.attribute_error(segmented_tag, "its segments contradict each other"))?,
                (None, None) => return Err(file.attribute_error(data_tag, "absent: the palette has no colours")),
            };
            if channel.is_empty() {
                return Err(file.attribute_error(data_tag, "the palette is empty"));
            }
        }
        // Tables of 16 bits that hold 8-bit values are met often enough; scaled down they would be black.
        let narrow = bits <= 8 || wide.iter().flatten().all(|&entry| entry < 256);
        let channels = wide.map(|channel| {
            channel.into_iter().map(|entry| if narrow { entry.min(255) as u8 } else { (entry >> 8) as u8 }).collect()
        });
        Ok(Self { first, channels })
    }

    /// `[row, column, channel]`.
    pub(super) fn apply(&self, stored: &StoredFrame) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(stored.rows * stored.columns * 3);
        let mut push = |value: i64| {
            let index = usize::try_from(value.saturating_sub(self.first)).unwrap_or(0);
            for channel in &self.channels {
                rgb.push(channel.get(index).or(channel.last()).copied().unwrap_or(0));
            }
        };
        match &stored.data {
            StoredData::U8(v) => v.iter().for_each(|&v| push(v.into())),
            StoredData::I8(v) => v.iter().for_each(|&v| push(v.into())),
            StoredData::U16(v) => v.iter().for_each(|&v| push(v.into())),
            StoredData::I16(v) => v.iter().for_each(|&v| push(v.into())),
            StoredData::U32(v) => v.iter().for_each(|&v| push(v.into())),
            StoredData::I32(v) => v.iter().for_each(|&v| push(v.into())),
            StoredData::F32(v) => v.iter().for_each(|&v| push(v as i64)),
            StoredData::F64(v) => v.iter().for_each(|&v| push(v as i64)),
        }
        rgb
    }
}

/// Segmented palettes (PS3.3 C.7.9.2): discrete, linear and indirect segments.
fn expand_segments(words: &[u16], count: usize, bits: u16) -> Option<Vec<u16>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < words.len() && out.len() < count {
        let used = expand_segment(words, at, count, &mut out)?;
        if used > 0 {
            at += used;
            continue;
        }
        // Indirect: repeat `length` segments that begin `offset` bytes (8 bit) or words from the start.
        let (length, low, high) = (*words.get(at + 1)?, *words.get(at + 2)?, *words.get(at + 3)?);
        let offset = if bits <= 8 {
            usize::from(low) | usize::from(high) << 8
        } else {
            usize::from(low) | usize::from(high) << 16
        };
        let mut source = offset;
        for _ in 0..length {
            let used = expand_segment(words, source, count, &mut out)?;
            // An indirect segment may not point to another: no loops.
            if used == 0 {
                return None;
            }
            source += used;
        }
        at += 4;
    }
    Some(out)
}

/// One discrete or linear segment; the words it took, 0 for an indirect one.
fn expand_segment(words: &[u16], at: usize, count: usize, out: &mut Vec<u16>) -> Option<usize> {
    let length = usize::from(*words.get(at + 1)?);
    if out.len() + length > count.max(1) + usize::from(u16::MAX) {
        return None;
    }
    match words.get(at)? {
        0 => {
            out.extend_from_slice(words.get(at + 2..at + 2 + length)?);
            Some(2 + length)
        }
        1 => {
            let (from, to) = (f64::from(*out.last()?), f64::from(*words.get(at + 2)?));
            out.extend((1..=length).map(|step| (from + (to - from) * step as f64 / length as f64).round() as u16));
            Some(3)
        }
        2 => Some(0),
        _ => None,
    }
}

/// Three samples a pixel to 8-bit RGB, `[row, column, channel]`.
pub(super) fn to_rgb(stored: &StoredFrame, format: &FrameFormat) -> Result<Vec<u8>, CodecError> {
    let shift = format.bits_stored.saturating_sub(8);
    let narrow: Vec<u8> = match &stored.data {
        StoredData::U8(v) => v.clone(),
        StoredData::I8(v) => v.iter().map(|&v| v as u8).collect(),
        StoredData::U16(v) => v.iter().map(|&v| (v >> shift) as u8).collect(),
        StoredData::I16(v) => v.iter().map(|&v| (v as u16 >> shift) as u8).collect(),
        StoredData::U32(v) => v.iter().map(|&v| (v >> shift) as u8).collect(),
        StoredData::I32(v) => v.iter().map(|&v| (v as u32 >> shift) as u8).collect(),
        StoredData::F32(_) | StoredData::F64(_) => {
            return Err(CodecError::new("colour in floating point is not defined in DICOM"));
        }
    };
    match stored.photometric.as_str() {
        "RGB" | "YBR_RCT" | "YBR_ICT" => Ok(narrow),
        "YBR_FULL" | "YBR_FULL_422" => Ok(convert(narrow, 0.0, 1.0, 1.0)),
        // Studio range: 16 to 235 and 16 to 240.
        "YBR_PARTIAL" | "YBR_PARTIAL_422" | "YBR_PARTIAL_420" => {
            Ok(convert(narrow, 16.0, 255.0 / 219.0, 255.0 / 224.0))
        }
        other => Err(CodecError::new(format!("{other} is not a colour space that is read here"))),
    }
}

/// Rec. 601 YCbCr to RGB.
fn convert(mut samples: Vec<u8>, black: f32, luma: f32, chroma: f32) -> Vec<u8> {
    for [r, g, b] in samples.as_chunks_mut::<3>().0 {
        let y = (f32::from(*r) - black) * luma;
        let (cb, cr) = ((f32::from(*g) - 128.0) * chroma, (f32::from(*b) - 128.0) * chroma);
        // A float that is cast to u8 saturates.
        *r = (y + 1.402 * cr).round() as u8;
        *g = (y - 0.344_136 * cb - 0.714_136 * cr).round() as u8;
        *b = (y + 1.772 * cb).round() as u8;
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_expand_and_loops_are_refused() {
        // Discrete 2: 5, 10; linear 4 to 50; indirect: the discrete segment again.
        let words = [0, 2, 5, 10, 1, 4, 50, 2, 1, 0, 0];
        assert_eq!(expand_segments(&words, 8, 16), Some(vec![5, 10, 20, 30, 40, 50, 5, 10]));
        assert_eq!(expand_segments(&[0, 1, 5, 2, 9, 3, 0], 100, 16), None);
        assert_eq!(expand_segments(&[1, 4, 50], 4, 16), None);
        assert_eq!(expand_segments(&[0, 9, 1], 9, 16), None);
    }

    #[test]
    fn full_range_ybr_of_the_primaries() {
        let rgb = convert(vec![76, 85, 255, 255, 128, 128, 0, 128, 128], 0.0, 1.0, 1.0);
        assert_eq!(rgb, [254, 0, 0, 255, 255, 255, 0, 0, 0]);
    }
}
