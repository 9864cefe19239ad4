//! What happens to an attribute.

use dicom_core::{Tag, VR};

use super::Retain;
use crate::dicom::tags;

/// What happens to an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// It stays as it is; sequences are followed.
    Keep,
    /// It goes.
    Remove,
    /// It stays without a value (type 2).
    Empty,
    /// Its identifiers are replaced.
    Uid,
    /// It is shifted, replaced or removed, as the options and the object want it.
    Date,
    /// A device's number: a dummy where the object wants one.
    Serial,
}

/// Text that describes the image or a code, not a person or a place. Everything else that is text goes.
const TEXT: &[Tag] = &[
    tags::SPECIFIC_CHARACTER_SET,
    tags::MANUFACTURER,
    tags::MANUFACTURER_MODEL_NAME,
    tags::SOFTWARE_VERSIONS,
    tags::CODE_VALUE,
    tags::LONG_CODE_VALUE,
    tags::CODING_SCHEME_DESIGNATOR,
    tags::CODING_SCHEME_VERSION,
    tags::CODE_MEANING,
    tags::CONVOLUTION_KERNEL,
    tags::FILTER_TYPE,
    tags::SEQUENCE_NAME,
    tags::PULSE_SEQUENCE_NAME,
    tags::RECEIVE_COIL_NAME,
    tags::MULTI_COIL_ELEMENT_NAME,
    tags::TRANSMIT_COIL_NAME,
    tags::RADIOPHARMACEUTICAL,
    tags::ATTENUATION_CORRECTION_METHOD,
    tags::RECONSTRUCTION_METHOD,
    tags::DIMENSION_DESCRIPTION_LABEL,
    tags::FRAME_LABEL,
    tags::STACK_ID,
    tags::RESCALE_TYPE,
    tags::WINDOW_CENTER_WIDTH_EXPLANATION,
    tags::LUT_EXPLANATION,
    tags::LUT_LABEL,
    tags::MODALITY_LUT_TYPE,
    tags::SEGMENT_LABEL,
    tags::SEGMENT_ALGORITHM_NAME,
    tags::ALGORITHM_NAME,
    tags::ALGORITHM_VERSION,
    tags::LOSSY_IMAGE_COMPRESSION_METHOD,
    tags::PIXEL_SPACING_CALIBRATION_DESCRIPTION,
];

/// Attributes that must stay, empty, since they are of type 2 in every image or in many.
const EMPTY: &[Tag] = &[
    tags::ACCESSION_NUMBER,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::STUDY_ID,
    tags::PATIENT_BIRTH_DATE,
    tags::PATIENT_SEX,
    tags::CONTRAST_BOLUS_AGENT,
    tags::CONTENT_CREATOR_NAME,
    tags::ACQUISITION_CONTEXT_SEQUENCE,
    tags::CONTENT_DESCRIPTION,
    tags::RECEIVE_COIL_MANUFACTURER_NAME,
    tags::TRANSMIT_COIL_MANUFACTURER_NAME,
    tags::POSITION_REFERENCE_INDICATOR,
];

/// Dates and times of type 2, which stay without a value where they do not keep one.
const DATES: &[Tag] = &[tags::STUDY_DATE, tags::STUDY_TIME, tags::CONTENT_DATE, tags::CONTENT_TIME];

/// Pixel data and the tables without which they cannot be shown.
const BINARY: &[Tag] = &[
    tags::PIXEL_DATA,
    tags::FLOAT_PIXEL_DATA,
    tags::DOUBLE_FLOAT_PIXEL_DATA,
    tags::EXTENDED_OFFSET_TABLE,
    tags::EXTENDED_OFFSET_TABLE_LENGTHS,
    tags::LUT_DATA,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::ICC_PROFILE,
];

/// Sequences of group 0040 that say what values and places mean; the others tell of orders, procedures and specimens.
const MEANINGS: &[Tag] = &[
    tags::REAL_WORLD_VALUE_MAPPING_SEQUENCE,
    tags::MEASUREMENT_UNITS_CODE_SEQUENCE,
    tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE,
    tags::CONCEPT_NAME_CODE_SEQUENCE,
    tags::CONCEPT_CODE_SEQUENCE,
    tags::QUANTITY_DEFINITION_SEQUENCE,
];

/// Sequences that name persons, places, orders or earlier versions of the file.
const PRIVATE_SEQUENCES: &[Tag] = &[
    tags::ICON_IMAGE_SEQUENCE,
    tags::ORIGINAL_ATTRIBUTES_SEQUENCE,
    tags::MODIFIED_ATTRIBUTES_SEQUENCE,
    tags::REFERENCED_PATIENT_SEQUENCE,
    tags::REFERENCED_STUDY_SEQUENCE,
    tags::REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE,
    tags::CONTRIBUTING_EQUIPMENT_SEQUENCE,
    tags::INSTITUTION_CODE_SEQUENCE,
    // Local codes: their values are free text often enough.
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::DIGITAL_SIGNATURES_SEQUENCE,
    tags::MAC_PARAMETERS_SEQUENCE,
    tags::ENCRYPTED_ATTRIBUTES_SEQUENCE,
];

pub(super) fn rule(tag: Tag, vr: VR, sequence: bool, retain: Retain) -> Rule {
    let Tag(group, element) = tag;
    let characteristics =
        [tags::PATIENT_SEX, tags::PATIENT_AGE, tags::PATIENT_SIZE, tags::PATIENT_WEIGHT].contains(&tag);
    if characteristics && retain.patient_characteristics {
        return Rule::Keep;
    }
    // Private attributes, group lengths, curves (50xx) and overlays (60xx), which hold text often enough.
    if group % 2 == 1 || element == 0 || (0x5000..0x5100).contains(&group) || (0x6000..0x6100).contains(&group) {
        return Rule::Remove;
    }
    if EMPTY.contains(&tag) {
        return Rule::Empty;
    }
    // Of no use without the Tracking ID, which is free text.
    if tag == tags::TRACKING_UID {
        return Rule::Remove;
    }
    if tag == tags::DEVICE_SERIAL_NUMBER {
        return Rule::Serial;
    }
    // Patient, clinical trial, visit, study orders, and storage media.
    if [0x0010, 0x0012, 0x0032, 0x0038, 0x0088, 0x0400, 0xFFFA].contains(&group) {
        return Rule::Remove;
    }
    if group == 0x0040 && !MEANINGS.contains(&tag) && !(sequence_free_number(vr) && element >= 0x9000) {
        return Rule::Remove;
    }
    if sequence {
        return if PRIVATE_SEQUENCES.contains(&tag) { Rule::Remove } else { Rule::Keep };
    }
    match vr {
        VR::UI => Rule::Uid,
        VR::DA | VR::TM | VR::DT => Rule::Date,
        VR::PN => Rule::Remove,
        VR::AT | VR::DS | VR::IS | VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD => Rule::Keep,
        VR::CS => Rule::Keep,
        VR::OB | VR::OW | VR::OD | VR::OF | VR::OL | VR::OV if BINARY.contains(&tag) => Rule::Keep,
        _ if TEXT.contains(&tag) || BINARY.contains(&tag) => Rule::Keep,
        _ => Rule::Remove,
    }
}

/// Real world values (0040,9xxx) are numbers.
fn sequence_free_number(vr: VR) -> bool {
    matches!(vr, VR::US | VR::SS | VR::FD | VR::FL | VR::DS | VR::IS | VR::SH | VR::LO)
}

/// Whether a date stays, without a value, where it may not keep one.
pub(super) fn wants_date(tag: Tag) -> bool {
    DATES.contains(&tag)
}

/// A DA or DT value moved back by `days`; `None` where it is no date. The time of a DT stays.
pub(super) fn shifted(text: &str, days: i64) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != '.' || text.len() > 10).collect();
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<i64>().ok();
    let (year, month, day) = (number(0..4)?, number(4..6)?, number(6..8)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from civil and back, by 400-year cycles that begin in March.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let of_era = shifted_year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let count = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - days;
    let era = count.div_euclid(146_097);
    let in_era = count.rem_euclid(146_097);
    let of_era = (in_era - in_era / 1460 + in_era / 36_524 - in_era / 146_096) / 365;
    let of_year = in_era - (365 * of_era + of_era / 4 - of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = of_era + era * 400 + i64::from(month <= 2);
    Some(format!("{year:04}{month:02}{day:02}{}", digits.get(8..).unwrap_or("")))
}
