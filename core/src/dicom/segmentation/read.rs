//! From file to masks.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::{LABEL_MAP, SEGMENTATION};
use crate::dicom::codec::StoredData;
use crate::dicom::geometry::FunctionalGroups;
use crate::dicom::pixels::PixelReader;
use crate::dicom::{DataSet, DicomError, DicomFile, tags};
use crate::study::{
    CodedConcept, InstanceUid, Segment, SegmentAlgorithm, SegmentMask, Segmentation, SegmentationKind, Source,
    SourceFrame,
};
use dicom_core::Tag;

/// Whether a SOP class is a segmentation that [`read_segmentation`] understands.
pub fn is_segmentation(sop_class_uid: &str) -> bool {
    [SEGMENTATION, LABEL_MAP].contains(&sop_class_uid)
}

/// Reads a segmentation. Planes on which a segment has no pixel are left out.
///
/// # Errors
/// Names file, attribute and cause where the file is no segmentation, or a part of it that masks depend on is missing.
pub fn read_segmentation(source: &Source) -> Result<Segmentation, DicomError> {
    let reader = PixelReader::open(source)?;
    let file = reader.file();
    let set = file.data_set();
    let class = set.line(tags::SOP_CLASS_UID);
    if !is_segmentation(&class) {
        return Err(file.attribute_error(tags::SOP_CLASS_UID, format!("{class} is no segmentation")));
    }
    let kind = kind(file, class == LABEL_MAP)?;
    let segments = segments(file)?;
    let groups = FunctionalGroups::of(set);
    let measures = groups.get(0, tags::PIXEL_MEASURES_SEQUENCE);
    let tiled_full = set.line(tags::DIMENSION_ORGANIZATION_TYPE) == "TILED_FULL";
    let mut masks = Vec::new();
    for frame in 0..reader.frames() {
        let values = stored_values(&reader, frame)?;
        let geometry = reader.display(frame).geometry;
        let origin = source_frame(&groups, frame);
        let mut keep = |segment: u16, values: Array2<u8>| {
            if values.iter().any(|v| *v > 0) {
                masks.push(SegmentMask { segment, source: origin.clone(), geometry, values });
            }
        };
        if kind == SegmentationKind::LabelMap {
            let mut by_label: BTreeMap<u16, Array2<u8>> = BTreeMap::new();
            for (at, label) in values.indexed_iter() {
                if segments.iter().any(|segment| segment.number == *label) {
                    by_label.entry(*label).or_insert_with(|| Array2::zeros(values.dim()))[at] = 1;
                }
            }
            by_label.into_iter().for_each(|(label, mask)| keep(label, mask));
        } else {
            let told = groups
                .get(frame, tags::SEGMENT_IDENTIFICATION_SEQUENCE)
                .and_then(|item| item.int(tags::REFERENCED_SEGMENT_NUMBER))
                .and_then(|number| u16::try_from(number).ok());
            // Full tiling leaves it to the order of frames: all tiles of the first segment, then those of the next (PS3.3 C.7.6.17.3).
            let by_order =
                || segments.get(frame / (reader.frames() / segments.len()).max(1)).map(|segment| segment.number);
            let number = told
                .or_else(|| if tiled_full { by_order() } else { None })
                .filter(|number| segments.iter().any(|segment| segment.number == *number))
                .ok_or_else(|| {
                    let cause = format!("frame {} names no segment of the Segment Sequence", frame + 1);
                    file.attribute_error(tags::REFERENCED_SEGMENT_NUMBER, cause)
                })?;
            let maximum = u16::from(kind.maximum());
            keep(number, values.mapv(|v| v.min(maximum) as u8));
        }
    }
    Ok(Segmentation {
        kind,
        label: set.string(tags::CONTENT_LABEL).unwrap_or_default(),
        spacing_mm: measures.and_then(|item| item.vector::<2>(tags::PIXEL_SPACING)),
        thickness_mm: measures.and_then(|item| item.float(tags::SLICE_THICKNESS)),
        frame_of_reference_uid: set.string(tags::FRAME_OF_REFERENCE_UID),
        segments,
        masks,
    })
}

fn kind(file: &DicomFile, label_map: bool) -> Result<SegmentationKind, DicomError> {
    let set = file.data_set();
    match set.line(tags::SEGMENTATION_TYPE).as_str() {
        _ if label_map => Ok(SegmentationKind::LabelMap),
        "LABELMAP" => Ok(SegmentationKind::LabelMap),
        "BINARY" => Ok(SegmentationKind::Binary),
        "FRACTIONAL" => {
            let maximum = set.int(tags::MAXIMUM_FRACTIONAL_VALUE).and_then(|v| u8::try_from(v).ok());
            let maximum = maximum.filter(|maximum| *maximum > 0).ok_or_else(|| {
                file.attribute_error(
                    tags::MAXIMUM_FRACTIONAL_VALUE,
                    "not a number from 1 to 255: fractions have no unit",
                )
            })?;
            let probability = set.line(tags::SEGMENTATION_FRACTIONAL_TYPE) != "OCCUPANCY";
            Ok(SegmentationKind::Fractional { maximum, probability })
        }
        other => Err(file
            .attribute_error(tags::SEGMENTATION_TYPE, format!("{other:?} is none of BINARY, FRACTIONAL and LABELMAP"))),
    }
}

fn segments(file: &DicomFile) -> Result<Vec<Segment>, DicomError> {
    let mut segments: Vec<Segment> = Vec::new();
    for item in file.data_set().items(tags::SEGMENT_SEQUENCE) {
        let number = item.int(tags::SEGMENT_NUMBER).and_then(|number| u16::try_from(number).ok());
        let Some(number) = number.filter(|number| segments.iter().all(|segment| segment.number != *number)) else {
            let cause = format!("segment {} has no number of its own", segments.len() + 1);
            return Err(file.attribute_error(tags::SEGMENT_NUMBER, cause));
        };
        // The background of a label map may be described; it is no structure.
        if number == 0 {
            continue;
        }
        let name = item.string(tags::SEGMENT_ALGORITHM_NAME).unwrap_or_default();
        segments.push(Segment {
            number,
            label: item.string(tags::SEGMENT_LABEL).unwrap_or_else(|| format!("Segment {number}")),
            category: concept(item, tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE).unwrap_or_else(unknown),
            property: concept(item, tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE).unwrap_or_else(unknown),
            region: concept(item, tags::ANATOMIC_REGION_SEQUENCE),
            algorithm: match item.line(tags::SEGMENT_ALGORITHM_TYPE).as_str() {
                "AUTOMATIC" => SegmentAlgorithm::Automatic(name),
                "SEMIAUTOMATIC" => SegmentAlgorithm::SemiAutomatic(name),
                _ => SegmentAlgorithm::Manual,
            },
            color: item.words(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE).and_then(|lab| rgb_from_lab(&lab)),
        });
    }
    if segments.is_empty() {
        return Err(file.attribute_error(tags::SEGMENT_SEQUENCE, "empty: there is nothing that masks could mean"));
    }
    Ok(segments)
}

fn unknown() -> CodedConcept {
    CodedConcept::new("261665006", "SCT", "Unknown")
}

fn concept(set: DataSet<'_>, sequence: Tag) -> Option<CodedConcept> {
    let item = set.item(sequence)?;
    Some(CodedConcept {
        value: item.string(tags::CODE_VALUE)?,
        scheme: item.string(tags::CODING_SCHEME_DESIGNATOR).unwrap_or_default(),
        meaning: item.string(tags::CODE_MEANING).unwrap_or_default(),
    })
}

fn source_frame(groups: &FunctionalGroups<'_>, frame: usize) -> Option<SourceFrame> {
    let image = groups.get(frame, tags::DERIVATION_IMAGE_SEQUENCE)?.item(tags::SOURCE_IMAGE_SEQUENCE)?;
    Some(SourceFrame {
        sop_class_uid: image.line(tags::REFERENCED_SOP_CLASS_UID),
        sop_instance_uid: InstanceUid(image.string(tags::REFERENCED_SOP_INSTANCE_UID)?),
        frame: image.int(tags::REFERENCED_FRAME_NUMBER).and_then(|n| usize::try_from(n).ok()?.checked_sub(1)),
    })
}

fn stored_values(reader: &PixelReader, frame: usize) -> Result<Array2<u16>, DicomError> {
    let stored = reader.stored(frame)?;
    let wrong = |cause: &str| reader.file().attribute_error(tags::BITS_ALLOCATED, cause);
    let values: Vec<u16> = match stored.data {
        StoredData::U8(values) if stored.samples == 1 => values.into_iter().map(u16::from).collect(),
        StoredData::U16(values) if stored.samples == 1 => values,
        _ => return Err(wrong("masks are unsigned numbers of 1, 8 or 16 bits")),
    };
    Array2::from_shape_vec((stored.rows, stored.columns), values)
        .map_err(|_| wrong("the decoded frame has another size"))
}

/// PS3.3 C.10.7.1.1: L* from 0 to 100, a* and b* from -128 to 127, each over 0 to 65535; D50 as in ICC profiles.
pub(super) fn rgb_from_lab(lab: &[u16]) -> Option<[u8; 3]> {
    let [l, a, b] = <[u16; 3]>::try_from(lab).ok()?.map(|v| f64::from(v) / 65535.0);
    let (l, a, b) = (l * 100.0, a * 255.0 - 128.0, b * 255.0 - 128.0);
    let y = (l + 16.0) / 116.0;
    let back = |t: f64| if t > 6.0 / 29.0 { t.powi(3) } else { 3.0 * (6.0f64 / 29.0).powi(2) * (t - 4.0 / 29.0) };
    let [x, y, z] = [back(y + a / 500.0) * 0.9642, back(y), back(y - b / 200.0) * 0.8251];
    // D50 to linear sRGB, Bradford-adapted.
    let linear = [
        3.1339 * x - 1.6169 * y - 0.4906 * z,
        -0.9788 * x + 1.9161 * y + 0.0335 * z,
        0.0719 * x - 0.2290 * y + 1.4052 * z,
    ];
    let encode = |v: f64| if v <= 0.003_130_8 { 12.92 * v } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
    Some(linear.map(|v| (encode(v.clamp(0.0, 1.0)) * 255.0).round() as u8))
}
