//! RLE Lossless (PS3.5 annex G): one PackBits segment for each byte plane of each sample, high byte first.

use super::native::{by_pixel, integers};
use super::{CodecError, FrameFormat, StoredData, StoredFrame};

const HEADER: usize = 64;

/// Decodes one frame.
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
    for index in 0..segments {
        let start = offsets[index];
        let end = if index + 1 < segments { offsets[index + 1] } else { bytes.len() };
        if start < HEADER || start > end || end > bytes.len() {
            return Err(CodecError::new(format!(
                "RLE segment {} lies at {start} to {end}, outside the frame",
                index + 1
            )));
        }
        planes.push(unpack(&bytes[start..end], segment_len, index + 1)?);
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
    })
}

/// PackBits: `n` in 0..=127 copies n + 1 bytes, 129..=255 repeats the next byte 257 - n times, 128 does nothing.
fn unpack(mut bytes: &[u8], len: usize, segment: usize) -> Result<Vec<u8>, CodecError> {
    // The best code is two bytes for 128: a shorter segment cannot fill the plane, so nothing is allocated for it.
    if bytes.len().saturating_mul(64) < len {
        return Err(CodecError::truncated("RLE"));
    }
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
    if out.len() < len {
        return Err(CodecError::new(format!("RLE segment {segment} holds {} of {len} bytes", out.len())));
    }
    out.truncate(len);
    Ok(out)
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
    fn every_truncation_is_an_error() {
        let bytes = frame(&[&[253, 1], &[3, 10, 20, 30, 40]]);
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end], &gray(2, 2, 16)).is_err(), "{end}");
        }
        let wrong = frame(&[&[3, 10, 20, 30, 40]]);
        assert!(decode(&wrong, &gray(2, 2, 16)).expect_err("one segment").cause.contains("need 2"));
    }
}
