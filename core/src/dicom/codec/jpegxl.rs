//! JPEG XL (ISO/IEC 18181) by `jxl-oxide`.

use jxl_oxide::{AllocTracker, JxlImage};

use super::stored::from_codestream;
use super::{CodecError, FrameFormat, StoredFrame};

/// Memory the decoder may take, bytes.
const MAX_MEMORY: usize = 768 << 20;

/// Decodes one frame.
pub(super) fn decode(bytes: &[u8], format: &FrameFormat) -> Result<StoredFrame, CodecError> {
    let damaged = |error: Box<dyn std::error::Error + Send + Sync>| {
        CodecError::new(format!("the JPEG XL codestream is damaged: {error}"))
    };
    let image = JxlImage::builder().alloc_tracker(AllocTracker::with_limit(MAX_MEMORY)).read(bytes).map_err(damaged)?;
    let metadata = &image.image_header().metadata;
    let precision = metadata.bit_depth.bits_per_sample();
    let components = if image.pixel_format().is_grayscale() { 1 } else { 3 };
    format.check_codestream(image.height() as usize, image.width() as usize, components, precision)?;
    if precision > 16 {
        return Err(CodecError::new(format!("JPEG XL with {precision} bits a sample is not decoded here")));
    }
    let converted = metadata.xyb_encoded || image.frame_header(0).is_some_and(|header| header.do_ycbcr);
    let photometric = if components == 3 && converted { "RGB" } else { format.photometric.as_str() };
    let render = image.render_frame(0).map_err(damaged)?;
    let mut stream = render.stream_no_alpha();
    let channels = stream.channels() as usize;
    let mut values = vec![0f32; format.pixels().saturating_mul(channels)];
    if channels < components || stream.write_to_buffer(&mut values) < values.len() {
        return Err(CodecError::truncated("JPEG XL"));
    }
    // Integers of up to 16 bits survive the way through the unit interval in single precision.
    let scale = ((1u32 << precision) - 1) as f32;
    let count = format.sample_count();
    let samples = (0..count).map(|at| {
        let value = values[at / components * channels + at % components];
        (value * scale).round().clamp(0.0, scale) as i32
    });
    from_codestream(samples, precision, false, format, photometric)
}

#[cfg(test)]
mod tests {
    use super::super::tests::gray;
    use super::*;

    #[test]
    fn garbage_and_truncation_are_errors() {
        assert!(decode(&[], &gray(4, 4, 8)).is_err());
        // A valid signature and size header, then nothing.
        for length in 2..8 {
            assert!(decode(&[0xFF, 0x0A, 0x18, 0x01, 0x00, 0x40, 0x55, 0xAA][..length], &gray(4, 4, 8)).is_err());
        }
    }
}
