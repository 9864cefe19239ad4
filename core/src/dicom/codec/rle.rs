//! RLE Lossless (PS3.5 annex G): one PackBits segment for each byte plane of each sample, high byte first.

use super::native::{by_pixel, integers};
use super::{CodecError, FrameFormat, Incomplete, StoredData, StoredFrame};

const HEADER: usize = 64;

/// Decodes one frame. Where segments are cut off, the pixels of which all bytes are there are read, and the frame is
/// [`Incomplete`].
pub(super) fn decode(bytes: &[u8], format: &FrameFormat) -> Result<StoredFrame, CodecError> {
    if format.float {
        return Err(CodecError::new("floating point pixel data cannot be RLE encoded"));
    }
    let header = bytes.get(..HEADER).ok_or_else(|| CodecError::truncated("RLE"))?;
    let words: Vec<usize> = header.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word) as usize).collect();
    let (segments, offsets) = (words[0], &words[1..]);
    let sample_bytes = usize::from(format.bits_allocated).div_ceil(8);
    let expected = format.samples * sample_bytes;
    if segments != expected {
        return Err(CodecError::new(format!(
            "the RLE header counts {segments} segments; {} samples of {} bits need {expected}",
            format.samples, format.bits_allocated
        )));
    }
    let pixels = format.pixels();
    let segment_len = if format.bits_allocated == 1 { pixels.div_ceil(8) } else { pixels };
    let mut planes = Vec::with_capacity(segments);
    let mut incomplete: Option<Incomplete> = None;
    for index in 0..segments {
        let start = offsets[index];
        let end = if index + 1 < segments { offsets[index + 1] } else { bytes.len() };
        // Segments beyond the end are cut off; the first one must hold enough for memory to be spent on it: the best code
        // is two bytes for 128.
        let hollow = index == 0 && bytes.len().saturating_mul(64) < segment_len;
        if start < HEADER || (start > end && start < bytes.len()) || hollow {
            return Err(CodecError::new(format!(
                "RLE segment {} lies at {start} to {end}, outside the frame",
                index + 1
            )));
        }
        let segment = bytes.get(start..end.min(bytes.len())).unwrap_or(&[]);
        let (plane, filled) = unpack(segment, segment_len);
        if filled < segment_len {
            let from_pixel = if format.bits_allocated == 1 { filled * 8 } else { filled };
            let cause = format!("RLE segment {} holds {filled} of {segment_len} bytes", index + 1);
            if from_pixel == 0 {
                return Err(CodecError { truncated: true, ..CodecError::new(cause) });
            }
            if incomplete.as_ref().is_none_or(|other| from_pixel < other.from_pixel) {
                incomplete = Some(Incomplete { from_pixel, cause });
            }
        }
        planes.push(plane);
    }
    let data = if format.bits_allocated == 1 {
        StoredData::U8((0..pixels).map(|bit| planes[0][bit / 8] >> (bit % 8) & 1).collect())
    } else {
        let planes = &planes;
        let values = (0..format.samples).flat_map(|sample| {
            let group = &planes[sample * sample_bytes..(sample + 1) * sample_bytes];
            (0..pixels).map(move |pixel| group.iter().fold(0u32, |value, plane| value << 8 | u32::from(plane[pixel])))
        });
        let data = integers(values, u32::from(format.bits_allocated), format);
        if format.samples == 3 { by_pixel(data) } else { data }
    };
    Ok(StoredFrame {
        rows: format.rows,
        columns: format.columns,
        samples: format.samples,
        data,
        photometric: format.photometric.clone(),
        incomplete,
    })
}

/// PackBits: `n` in 0..=127 copies n + 1 bytes, 129..=255 repeats the next byte 257 - n times, 128 does nothing. Gives `len`
/// bytes, and how many of them the segment holds.
fn unpack(mut bytes: &[u8], len: usize) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(len);
    while out.len() < len {
        let Some((&control, rest)) = bytes.split_first() else { break };
        bytes = match control {
            128 => rest,
            0..=127 => {
                let count = (usize::from(control) + 1).min(rest.len());
                out.extend_from_slice(&rest[..count]);
                &rest[count..]
            }
            129..=255 => {
                let Some((&value, rest)) = rest.split_first() else { break };
                out.resize(out.len() + 257 - usize::from(control), value);
                rest
            }
        };
    }
    let filled = out.len().min(len);
    out.resize(len, 0);
    (out, filled)
}

#[cfg(test)]
mod tests {
    use super::super::tests::gray;
    use super::*;

    fn frame(segments: &[&[u8]]) -> Vec<u8> {
        let mut offset = HEADER as u32;
        let mut bytes = (segments.len() as u32).to_le_bytes().to_vec();
        for segment in segments {
            bytes.extend(offset.to_le_bytes());
            offset += segment.len() as u32;
        }
        bytes.resize(HEADER, 0);
        bytes.extend(segments.concat());
        bytes
    }

    #[test]
    fn sixteen_bits_come_high_byte_first() {
        let bytes = frame(&[&[253, 1], &[3, 10, 20, 30, 40]]);
        let decoded = decode(&bytes, &gray(2, 2, 16)).expect("decodes");
        assert_eq!(decoded.data, StoredData::U16(vec![266, 276, 286, 296]));
    }

    #[test]
    fn a_cut_frame_gives_its_whole_pixels() {
        let bytes = frame(&[&[253, 1], &[3, 10, 20, 30, 40]]);
        for end in 0..bytes.len() {
            let result = decode(&bytes[..end], &gray(2, 2, 16));
            // The low bytes of the first pixels come last.
            match (bytes.len() - end).checked_sub(4) {
                Some(_) => assert!(result.is_err(), "{end}"),
                None => {
                    let left = 4 - (bytes.len() - end);
                    let part = result.expect("pixels are left");
                    assert_eq!(part.incomplete.map(|incomplete| incomplete.from_pixel), Some(left));
                    let StoredData::U16(values) = part.data else { panic!("16 bits") };
                    assert_eq!(values[..left], [266, 276, 286, 296][..left]);
                }
            }
        }
        let wrong = frame(&[&[3, 10, 20, 30, 40]]);
        assert!(decode(&wrong, &gray(2, 2, 16)).expect_err("one segment").cause.contains("need 2"));
    }
}
