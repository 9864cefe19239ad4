//! Image Pixel module (PS3.3 C.7.6.3): what the header says of the samples.

use dicom_dictionary_std::tags;

use super::{DicomError, DicomFile, FrameFormat};

/// Reads the Image Pixel module; absent optional attributes take the values that writers mean by leaving them out.
pub(super) fn format(file: &DicomFile) -> Result<FrameFormat, DicomError> {
    let set = file.data_set();
    let size = |tag| match set.int(tag) {
        Some(value) => usize::try_from(value).map_err(|_| file.attribute_error(tag, format!("{value} is not a size"))),
        None => Err(file.attribute_error(tag, "absent or not a number: the object holds no image")),
    };
    // An object without pixel data has no use for the rest: say so first.
    file.pixel_data()?;
    let (rows, columns) = (size(tags::ROWS)?, size(tags::COLUMNS)?);
    let bits = |tag, default: Option<u16>| match set.int(tag) {
        Some(value) => {
            u16::try_from(value).map_err(|_| file.attribute_error(tag, format!("{value} is not a number of bits")))
        }
        None => default.ok_or_else(|| file.attribute_error(tag, "absent or not a number: the pixels cannot be read")),
    };
    let double = set.has(tags::DOUBLE_FLOAT_PIXEL_DATA);
    let float = !set.has(tags::PIXEL_DATA) && (double || set.has(tags::FLOAT_PIXEL_DATA));
    let samples = set.int(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
    let samples = usize::try_from(samples)
        .map_err(|_| file.attribute_error(tags::SAMPLES_PER_PIXEL, format!("{samples} samples a pixel")))?;
    let bits_allocated =
        if float { if set.has(tags::FLOAT_PIXEL_DATA) { 32 } else { 64 } } else { bits(tags::BITS_ALLOCATED, None)? };
    let bits_stored = if float { bits_allocated } else { bits(tags::BITS_STORED, Some(bits_allocated))? };
    let high_bit = bits(tags::HIGH_BIT, Some(bits_stored.saturating_sub(1)))?;
    let default = if samples == 3 { "RGB" } else { "MONOCHROME2" };
    Ok(FrameFormat {
        rows,
        columns,
        samples,
        bits_allocated,
        bits_stored,
        high_bit,
        signed: !float && set.int(tags::PIXEL_REPRESENTATION) == Some(1),
        planar: set.int(tags::PLANAR_CONFIGURATION) == Some(1),
        float,
        photometric: set.string(tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_else(|| default.into()),
    })
}

/// Number of Frames (0028,0008); 1 where absent or not positive.
pub(super) fn frames(file: &DicomFile) -> usize {
    file.data_set().int(tags::NUMBER_OF_FRAMES).and_then(|n| usize::try_from(n).ok()).unwrap_or(1).max(1)
}
