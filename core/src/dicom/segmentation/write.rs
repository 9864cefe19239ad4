//! From masks to a file.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array2;

use super::{LABEL_MAP, SEGMENTATION};
use crate::dicom::write::{Code, DataSetBuilder, WriteError, uid_from_name};
use crate::dicom::{DicomFile, tags};
use crate::study::{
    CodedConcept, PlaneGeometry, Segment, SegmentAlgorithm, SegmentMask, Segmentation, SegmentationKind, SourceFrame,
};

/// What a segmentation says of itself beside its masks. Dates are `YYYYMMDD`, times `HHMMSS`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct SegmentationContext {
    pub series_uid: String,
    pub sop_instance_uid: String,
    pub series_number: u32,
    pub series_description: String,
    /// Content Label (0070,0080): at most 16 upper-case letters, digits, blanks and underscores.
    pub content_label: String,
    /// Who made it: `Family^Given`; may be empty.
    pub creator: String,
    pub date: String,
    pub time: String,
    pub software_version: String,
    /// Version of the algorithms, for segments that no person drew.
    pub algorithm_version: String,
}

/// Writes `segmentation` as a Segmentation or, for [`SegmentationKind::LabelMap`], a Label Map Segmentation. `source` is an image of the series
/// that it was drawn on: patient, study, frame of reference and series come from there.
///
/// # Errors
/// Names the file and the cause: masks of other sizes or of unknown segments, overlaps in a label map, several planes without a place.
pub fn write_segmentation(
    path: &Path,
    segmentation: &Segmentation,
    source: &DicomFile,
    context: &SegmentationContext,
) -> Result<(), WriteError> {
    let plan = Plan::new(segmentation).map_err(|cause| WriteError::new(path, cause))?;
    let label_map = segmentation.kind == SegmentationKind::LabelMap;
    let mut d = DataSetBuilder::new(if label_map { LABEL_MAP } else { SEGMENTATION }, &context.sop_instance_uid);
    copy_from(&mut d, source);
    series_and_equipment(&mut d, context);
    if !plan.placed {
        let directions = source.data_set().strings(tags::PATIENT_ORIENTATION);
        d.texts(tags::PATIENT_ORIENTATION, &directions.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let size = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let (rows, columns) = plan.shape;
    let bits = match segmentation.kind {
        SegmentationKind::Binary => 1,
        SegmentationKind::LabelMap if plan.highest > 255 => 16,
        SegmentationKind::Fractional { .. } | SegmentationKind::LabelMap => 8,
    };
    d.texts(tags::IMAGE_TYPE, &["DERIVED", "PRIMARY"])
        .integers(tags::INSTANCE_NUMBER, &[1])
        .text(tags::CONTENT_LABEL, &context.content_label)
        .text(tags::CONTENT_DESCRIPTION, &segmentation.label)
        .text(tags::CONTENT_CREATOR_NAME, &context.creator)
        .unsigned(tags::SAMPLES_PER_PIXEL, &[1])
        .text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
        .integers(tags::NUMBER_OF_FRAMES, &[plan.frames.len() as i64])
        .unsigned(tags::ROWS, &[size(rows)])
        .unsigned(tags::COLUMNS, &[size(columns)])
        .unsigned(tags::BITS_ALLOCATED, &[bits])
        .unsigned(tags::BITS_STORED, &[bits])
        .unsigned(tags::HIGH_BIT, &[bits - 1])
        .unsigned(tags::PIXEL_REPRESENTATION, &[0])
        .text(tags::LOSSY_IMAGE_COMPRESSION, "00")
        .text(tags::SEGMENTS_OVERLAP, if plan.overlap { "YES" } else { "NO" });
    match segmentation.kind {
        SegmentationKind::Binary => d.text(tags::SEGMENTATION_TYPE, "BINARY"),
        SegmentationKind::LabelMap => {
            d.text(tags::SEGMENTATION_TYPE, "LABELMAP").unsigned(tags::PIXEL_PADDING_VALUE, &[0])
        }
        SegmentationKind::Fractional { maximum, probability } => d
            .text(tags::SEGMENTATION_TYPE, "FRACTIONAL")
            .text(tags::SEGMENTATION_FRACTIONAL_TYPE, if probability { "PROBABILITY" } else { "OCCUPANCY" })
            .unsigned(tags::MAXIMUM_FRACTIONAL_VALUE, &[u16::from(maximum)]),
    };
    let items = segmentation.segments.iter().map(|segment| segment_item(segment, context)).collect();
    d.sequence(tags::SEGMENT_SEQUENCE, items);
    references(&mut d, segmentation, source);
    dimensions(&mut d, &plan, label_map, context);
    functional_groups(&mut d, segmentation, &plan, label_map);
    match bits {
        1 => d.pixels8(packed_bits(&plan.frames)),
        8 => d.pixels8(plan.frames.iter().flat_map(|frame| frame.pixels.iter().map(|v| *v as u8)).collect()),
        _ => d.pixels16(plan.frames.iter().flat_map(|frame| frame.pixels.iter().copied()).collect()),
    };
    d.save(path)
}

/// One frame of the object.
struct PlannedFrame<'a> {
    /// The segment's number; `None` in a label map.
    segment: Option<u16>,
    source: Option<&'a SourceFrame>,
    geometry: Option<PlaneGeometry>,
    /// Rank of the plane along the normal, from 1.
    plane: u32,
    pixels: Array2<u16>,
}

struct Plan<'a> {
    shape: (usize, usize),
    frames: Vec<PlannedFrame<'a>>,
    overlap: bool,
    highest: u16,
    placed: bool,
}

impl<'a> Plan<'a> {
    fn new(segmentation: &'a Segmentation) -> Result<Self, String> {
        let Some(first) = segmentation.masks.first() else { return Err("there is no mask to write".into()) };
        let shape = first.values.dim();
        if shape.0 == 0 || shape.1 == 0 || shape.0 > 65535 || shape.1 > 65535 {
            return Err(format!("masks of {} × {} pixels are no image", shape.0, shape.1));
        }
        for mask in &segmentation.masks {
            if mask.values.dim() != shape {
                return Err("its masks have different sizes".into());
            }
            if mask.segment == 0 || segmentation.segment(mask.segment).is_none() {
                return Err(format!("a mask names segment {}, which is not described", mask.segment));
            }
        }
        let placed = segmentation.frame_of_reference_uid.is_some()
            && segmentation.masks.iter().all(|mask| mask.geometry.is_some());
        let mut planes: BTreeMap<PlaneOrder, Vec<&SegmentMask>> = BTreeMap::new();
        for mask in &segmentation.masks {
            planes.entry(PlaneOrder::of(mask)).or_default().push(mask);
        }
        if !placed && planes.len() > 1 {
            return Err("several planes without a place in the patient: write one segmentation an image".into());
        }
        let mut frames = Vec::new();
        let mut overlap = false;
        for (rank, masks) in planes.values_mut().enumerate() {
            let plane = rank as u32 + 1;
            masks.sort_by_key(|mask| mask.segment);
            let mut labels = Array2::<u16>::zeros(shape);
            for mask in masks.iter() {
                for (label, value) in labels.iter_mut().zip(&mask.values) {
                    if *value > 0 {
                        overlap |= *label != 0;
                        *label = mask.segment;
                    }
                }
            }
            let frame = |segment, mask: &'a SegmentMask, pixels| PlannedFrame {
                segment,
                source: mask.source.as_ref(),
                geometry: mask.geometry,
                plane,
                pixels,
            };
            if segmentation.kind == SegmentationKind::LabelMap {
                let Some(first) = masks.first() else { continue };
                frames.push(frame(None, first, labels));
            } else {
                let maximum = segmentation.kind.maximum();
                frames.extend(masks.iter().map(|mask| {
                    frame(Some(mask.segment), mask, mask.values.mapv(|value| u16::from(value.min(maximum))))
                }));
            }
        }
        if overlap && segmentation.kind == SegmentationKind::LabelMap {
            return Err("its segments overlap: a label map cannot hold them, a binary segmentation can".into());
        }
        // By segment, then along the normal: what readers of binary segmentations expect.
        frames.sort_by_key(|frame| (frame.segment, frame.plane));
        let highest = segmentation.segments.iter().map(|segment| segment.number).max().unwrap_or(1);
        Ok(Self { shape, frames, overlap, highest, placed })
    }
}

/// Planes in the order of their place, then of their source.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct PlaneOrder {
    micrometres: i64,
    key: String,
}

impl PlaneOrder {
    fn of(mask: &SegmentMask) -> Self {
        let source = mask.source.as_ref();
        let source = source.map(|source| (source.sop_instance_uid.0.clone(), source.frame));
        let distance = mask.geometry.map(|plane| plane.distance_along_normal());
        Self { micrometres: distance.map_or(0, |mm| (mm * 1000.0).round() as i64), key: format!("{source:?}") }
    }
}

/// Patient, study and frame of reference of the source.
fn copy_from(d: &mut DataSetBuilder, source: &DicomFile) {
    let set = source.data_set();
    let person = [tags::PATIENT_NAME, tags::PATIENT_ID, tags::PATIENT_BIRTH_DATE, tags::PATIENT_SEX];
    let study = [
        tags::STUDY_INSTANCE_UID,
        tags::STUDY_DATE,
        tags::STUDY_TIME,
        tags::STUDY_ID,
        tags::ACCESSION_NUMBER,
        tags::REFERRING_PHYSICIAN_NAME,
    ];
    for tag in person.into_iter().chain(study) {
        match set.string(tag) {
            Some(text) => d.text(tag, &text),
            None => d.empty(tag),
        };
    }
    let optional = [
        tags::STUDY_DESCRIPTION,
        tags::PATIENT_AGE,
        tags::PATIENT_SIZE,
        tags::PATIENT_WEIGHT,
        tags::PATIENT_IDENTITY_REMOVED,
        tags::FRAME_OF_REFERENCE_UID,
        tags::QUALITY_CONTROL_IMAGE,
    ];
    for tag in optional {
        if let Some(text) = set.string(tag) {
            d.text(tag, &text);
        }
    }
    let method = set.strings(tags::DEIDENTIFICATION_METHOD);
    if !method.is_empty() {
        d.texts(tags::DEIDENTIFICATION_METHOD, &method.iter().map(String::as_str).collect::<Vec<_>>());
    }
    if set.has(tags::FRAME_OF_REFERENCE_UID) {
        match set.string(tags::POSITION_REFERENCE_INDICATOR) {
            Some(text) => d.text(tags::POSITION_REFERENCE_INDICATOR, &text),
            None => d.empty(tags::POSITION_REFERENCE_INDICATOR),
        };
    }
}

fn series_and_equipment(d: &mut DataSetBuilder, context: &SegmentationContext) {
    d.text(tags::MODALITY, "SEG")
        .text(tags::SERIES_INSTANCE_UID, &context.series_uid)
        .integers(tags::SERIES_NUMBER, &[i64::from(context.series_number)])
        .text(tags::SERIES_DESCRIPTION, &context.series_description)
        .text(tags::SERIES_DATE, &context.date)
        .text(tags::SERIES_TIME, &context.time)
        .text(tags::CONTENT_DATE, &context.date)
        .text(tags::CONTENT_TIME, &context.time)
        .text(tags::MANUFACTURER, "Bifocal")
        .text(tags::MANUFACTURER_MODEL_NAME, "Bifocal")
        .text(tags::DEVICE_SERIAL_NUMBER, "0")
        .text(tags::SOFTWARE_VERSIONS, &context.software_version);
}

fn code<'a>(concept: &'a CodedConcept) -> Code<'a> {
    Code { value: &concept.value, scheme: &concept.scheme, meaning: &concept.meaning }
}

fn segment_item(segment: &Segment, context: &SegmentationContext) -> DataSetBuilder {
    let mut item = DataSetBuilder::item();
    item.unsigned(tags::SEGMENT_NUMBER, &[segment.number])
        .text(tags::SEGMENT_LABEL, &segment.label)
        .code(tags::SEGMENTED_PROPERTY_CATEGORY_CODE_SEQUENCE, code(&segment.category))
        .code(tags::SEGMENTED_PROPERTY_TYPE_CODE_SEQUENCE, code(&segment.property))
        .text(tags::TRACKING_ID, &segment.label)
        .text(tags::TRACKING_UID, &uid_from_name(&format!("{} segment {}", context.sop_instance_uid, segment.number)));
    if let Some(region) = &segment.region {
        item.code(tags::ANATOMIC_REGION_SEQUENCE, code(region));
    }
    if let Some(color) = segment.color {
        item.unsigned(tags::RECOMMENDED_DISPLAY_CIE_LAB_VALUE, &lab_from_rgb(color));
    }
    let (kind, name) = match &segment.algorithm {
        SegmentAlgorithm::Manual => ("MANUAL", None),
        SegmentAlgorithm::SemiAutomatic(name) => ("SEMIAUTOMATIC", Some(name)),
        SegmentAlgorithm::Automatic(name) => ("AUTOMATIC", Some(name)),
    };
    item.text(tags::SEGMENT_ALGORITHM_TYPE, kind);
    if let Some(name) = name {
        item.text(tags::SEGMENT_ALGORITHM_NAME, name);
        let mut algorithm = DataSetBuilder::item();
        algorithm
            .code(
                tags::ALGORITHM_FAMILY_CODE_SEQUENCE,
                Code { value: "123110", scheme: "DCM", meaning: "Artificial Intelligence" },
            )
            .text(tags::ALGORITHM_NAME, name)
            .text(tags::ALGORITHM_VERSION, &context.algorithm_version);
        item.sequence(tags::SEGMENTATION_ALGORITHM_IDENTIFICATION_SEQUENCE, vec![algorithm]);
    }
    item
}

/// Common Instance Reference: every instance that a mask was drawn on.
fn references(d: &mut DataSetBuilder, segmentation: &Segmentation, source: &DicomFile) {
    let mut instances: Vec<&SourceFrame> = Vec::new();
    for frame in segmentation.masks.iter().filter_map(|mask| mask.source.as_ref()) {
        if instances.iter().all(|other| other.sop_instance_uid != frame.sop_instance_uid) {
            instances.push(frame);
        }
    }
    if instances.is_empty() {
        return;
    }
    let items = instances.iter().map(|frame| reference(frame)).collect();
    let mut series = DataSetBuilder::item();
    series
        .text(tags::SERIES_INSTANCE_UID, &source.data_set().line(tags::SERIES_INSTANCE_UID))
        .sequence(tags::REFERENCED_INSTANCE_SEQUENCE, items);
    d.sequence(tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
}

fn reference(frame: &SourceFrame) -> DataSetBuilder {
    let mut item = DataSetBuilder::item();
    item.text(tags::REFERENCED_SOP_CLASS_UID, &frame.sop_class_uid)
        .text(tags::REFERENCED_SOP_INSTANCE_UID, &frame.sop_instance_uid.0);
    item
}

/// Multi-frame Dimension: by segment, and along the normal where planes have a place.
fn dimensions(d: &mut DataSetBuilder, plan: &Plan<'_>, label_map: bool, context: &SegmentationContext) {
    let uid = uid_from_name(&format!("{} dimensions", context.sop_instance_uid));
    let mut organization = DataSetBuilder::item();
    organization.text(tags::DIMENSION_ORGANIZATION_UID, &uid);
    d.sequence(tags::DIMENSION_ORGANIZATION_SEQUENCE, vec![organization]);
    let index = |pointer, group, label: &str| {
        let mut item = DataSetBuilder::item();
        item.text(tags::DIMENSION_ORGANIZATION_UID, &uid)
            .tag(tags::DIMENSION_INDEX_POINTER, pointer)
            .tag(tags::FUNCTIONAL_GROUP_POINTER, group)
            .text(tags::DIMENSION_DESCRIPTION_LABEL, label);
        item
    };
    let mut indices = Vec::new();
    if !label_map {
        let group = tags::SEGMENT_IDENTIFICATION_SEQUENCE;
        indices.push(index(tags::REFERENCED_SEGMENT_NUMBER, group, "Segment Number"));
    }
    if plan.placed {
        indices.push(index(tags::IMAGE_POSITION_PATIENT, tags::PLANE_POSITION_SEQUENCE, "Image Position Patient"));
    } else if label_map {
        // A label map of one plane without a place still needs one dimension (PS3.3 C.7.6.17).
        indices.push(index(tags::FRAME_LABEL, tags::FRAME_CONTENT_SEQUENCE, "Frame Label"));
    }
    d.sequence(tags::DIMENSION_INDEX_SEQUENCE, indices);
}

fn functional_groups(d: &mut DataSetBuilder, segmentation: &Segmentation, plan: &Plan<'_>, label_map: bool) {
    let mut shared = DataSetBuilder::item();
    let orientation = plan.frames.first().and_then(|frame| frame.geometry).filter(|_| plan.placed);
    if let Some(plane) = orientation {
        let values: Vec<f64> = plane.row_direction.iter().chain(&plane.column_direction).copied().collect();
        let mut item = DataSetBuilder::item();
        item.decimals(tags::IMAGE_ORIENTATION_PATIENT, &values);
        shared.sequence(tags::PLANE_ORIENTATION_SEQUENCE, vec![item]);
        let mut measures = DataSetBuilder::item();
        if let Some(spacing) = segmentation.spacing_mm {
            measures.decimals(tags::PIXEL_SPACING, &spacing);
        }
        measures.decimals(tags::SLICE_THICKNESS, &[segmentation.thickness_mm.unwrap_or(1.0)]);
        shared.sequence(tags::PIXEL_MEASURES_SEQUENCE, vec![measures]);
    }
    d.sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
    let items = plan.frames.iter().map(|frame| {
        let mut item = DataSetBuilder::item();
        let mut content = DataSetBuilder::item();
        let mut indices = Vec::new();
        if let Some(number) = frame.segment {
            let rank = segmentation.segments.iter().position(|segment| segment.number == number).unwrap_or(0);
            indices.push(rank as u32 + 1);
            let mut identification = DataSetBuilder::item();
            identification.unsigned(tags::REFERENCED_SEGMENT_NUMBER, &[number]);
            item.sequence(tags::SEGMENT_IDENTIFICATION_SEQUENCE, vec![identification]);
        }
        if plan.placed {
            indices.push(frame.plane);
        } else if label_map {
            indices.push(1);
            content.text(tags::FRAME_LABEL, "1");
        }
        content.longs(tags::DIMENSION_INDEX_VALUES, &indices);
        item.sequence(tags::FRAME_CONTENT_SEQUENCE, vec![content]);
        if let Some(plane) = frame.geometry.filter(|_| plan.placed) {
            let mut position = DataSetBuilder::item();
            position.decimals(tags::IMAGE_POSITION_PATIENT, &plane.position);
            item.sequence(tags::PLANE_POSITION_SEQUENCE, vec![position]);
        }
        if let Some(source) = frame.source {
            item.sequence(tags::DERIVATION_IMAGE_SEQUENCE, vec![derivation(source)]);
        }
        item
    });
    d.sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, items.collect());
}

fn derivation(source: &SourceFrame) -> DataSetBuilder {
    let mut image = reference(source);
    if let Some(frame) = source.frame {
        image.integers(tags::REFERENCED_FRAME_NUMBER, &[frame as i64 + 1]);
    }
    image.text(tags::SPATIAL_LOCATIONS_PRESERVED, "YES").code(
        tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
        Code { value: "121322", scheme: "DCM", meaning: "Source image for image processing operation" },
    );
    let mut item = DataSetBuilder::item();
    item.sequence(tags::SOURCE_IMAGE_SEQUENCE, vec![image])
        .code(tags::DERIVATION_CODE_SEQUENCE, Code { value: "113076", scheme: "DCM", meaning: "Segmentation" });
    item
}

/// One bit a pixel, the first in the lowest bit; frames follow each other without a gap (PS3.5 8.1.1).
fn packed_bits(frames: &[PlannedFrame<'_>]) -> Vec<u8> {
    let count: usize = frames.iter().map(|frame| frame.pixels.len()).sum();
    let mut bytes = vec![0u8; count.div_ceil(8)];
    let bits = frames.iter().flat_map(|frame| frame.pixels.iter());
    for (at, _) in bits.enumerate().filter(|(_, value)| **value > 0) {
        bytes[at / 8] |= 1 << (at % 8);
    }
    bytes
}

/// The inverse of what reading does.
fn lab_from_rgb(color: [u8; 3]) -> [u16; 3] {
    let [r, g, b] = color.map(|v| {
        let v = f64::from(v) / 255.0;
        if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    });
    let [x, y, z] = [
        (0.4361 * r + 0.3851 * g + 0.1431 * b) / 0.9642,
        0.2225 * r + 0.7169 * g + 0.0606 * b,
        (0.0139 * r + 0.0971 * g + 0.7141 * b) / 0.8251,
    ]
    .map(|t| if t > (6.0f64 / 29.0).powi(3) { t.cbrt() } else { t / (3.0 * (6.0f64 / 29.0).powi(2)) + 4.0 / 29.0 });
    let (l, a, b) = (116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z));
    let encode = |share: f64| (share.clamp(0.0, 1.0) * 65535.0).round() as u16;
    [encode(l / 100.0), encode((a + 128.0) / 255.0), encode((b + 128.0) / 255.0)]
}
