//! Writing PET slices.

use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use ndarray::ArrayView2;

use crate::study::PlaneGeometry;

use super::write::{Code, DataSetBuilder, WriteError};
use super::write_image::{ImageContext, pixels};

/// One PET slice to be written: fluorodeoxyglucose, corrected for decay to the start of the series.
#[derive(Debug, Clone)]
pub struct PetSlice<'a> {
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// Instance Number, from 1.
    pub number: u16,
    /// Slices of the series.
    pub slices: u16,
    /// Activity concentration, Bq/mL, `[row, column]`, not negative.
    pub activity: ArrayView2<'a, f64>,
    /// Where it lies in the patient.
    pub geometry: PlaneGeometry,
    /// Distance of rows and of columns, mm.
    pub spacing_mm: [f64; 2],
    /// Slice thickness, mm.
    pub thickness_mm: f64,
    /// Frame of Reference UID.
    pub frame_of_reference_uid: String,
    /// Patient Position: `HFS`, ...
    pub patient_position: String,
    /// What was given, and to whom.
    pub injection: Injection,
}

/// An injection of fluorodeoxyglucose (18F).
#[derive(Debug, Clone, PartialEq)]
pub struct Injection {
    /// Weight of the patient, kg.
    pub weight_kg: f64,
    /// Activity when it was given, Bq.
    pub dose_bq: f64,
    /// Time of day, `HHMMSS`, on the day of the series.
    pub time: String,
}

impl Injection {
    /// Half-life of 18F, s.
    pub const HALF_LIFE_S: f64 = 6586.2;

    /// Activity concentration of an SUV by body weight of 1 g/mL, `seconds` after the injection, Bq/mL.
    pub fn activity_of_suv_1(&self, seconds: f64) -> f64 {
        self.dose_bq * 0.5_f64.powf(seconds / Self::HALF_LIFE_S) / (self.weight_kg * 1000.0)
    }
}

/// Writes one slice as Positron Emission Tomography Image Storage (PS3.3 A.21), 16 bits, each slice with a slope of its own as scanners do.
pub fn write_pet(path: &Path, context: &ImageContext, slice: &PetSlice<'_>) -> Result<(), WriteError> {
    let class = uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE;
    let mut d = context.data_set(class, &slice.sop_instance_uid, "PT", u32::from(slice.number));
    let g = &slice.geometry;
    let orientation: Vec<f64> = g.row_direction.iter().chain(&g.column_direction).copied().collect();
    let highest = slice.activity.iter().copied().fold(0.0, f64::max);
    let slope = if highest > 0.0 { highest / f64::from(u16::MAX) } else { 1.0 };
    let Injection { weight_kg, dose_bq, time } = &slice.injection;
    let mut drug = DataSetBuilder::item();
    drug.text(tags::RADIOPHARMACEUTICAL, "Fluorodeoxyglucose")
        .text(tags::RADIOPHARMACEUTICAL_START_TIME, time)
        .decimals(tags::RADIONUCLIDE_TOTAL_DOSE, &[*dose_bq])
        .decimals(tags::RADIONUCLIDE_HALF_LIFE, &[Injection::HALF_LIFE_S])
        .code(tags::RADIONUCLIDE_CODE_SEQUENCE, Code { value: "77004003", scheme: "SCT", meaning: "^18^Fluorine" })
        .code(
            tags::RADIOPHARMACEUTICAL_CODE_SEQUENCE,
            Code { value: "35321007", scheme: "SCT", meaning: "Fluorodeoxyglucose F^18^" },
        );
    d.texts(tags::IMAGE_TYPE, &["ORIGINAL", "PRIMARY"])
        .decimals(tags::PATIENT_WEIGHT, &[*weight_kg])
        .text(tags::PATIENT_POSITION, &slice.patient_position)
        .text(tags::FRAME_OF_REFERENCE_UID, &slice.frame_of_reference_uid)
        .empty(tags::POSITION_REFERENCE_INDICATOR)
        .text(tags::UNITS, "BQML")
        .text(tags::COUNTS_SOURCE, "EMISSION")
        .texts(tags::SERIES_TYPE, &["STATIC", "IMAGE"])
        .unsigned(tags::NUMBER_OF_SLICES, &[slice.slices])
        .texts(tags::CORRECTED_IMAGE, &["DECY", "ATTN"])
        .text(tags::DECAY_CORRECTION, "START")
        .text(tags::COLLIMATOR_TYPE, "NONE")
        .sequence(tags::RADIOPHARMACEUTICAL_INFORMATION_SEQUENCE, vec![drug])
        .empty(tags::PATIENT_ORIENTATION_CODE_SEQUENCE)
        .empty(tags::PATIENT_GANTRY_RELATIONSHIP_CODE_SEQUENCE)
        .decimals(tags::IMAGE_POSITION_PATIENT, &g.position)
        .decimals(tags::IMAGE_ORIENTATION_PATIENT, &orientation)
        .decimals(tags::PIXEL_SPACING, &slice.spacing_mm)
        .decimals(tags::SLICE_THICKNESS, &[slice.thickness_mm])
        .decimals(tags::SLICE_LOCATION, &[g.distance_along_normal()])
        .decimals(tags::FRAME_REFERENCE_TIME, &[0.0])
        .integers(tags::ACTUAL_FRAME_DURATION, &[120_000])
        .decimals(tags::DECAY_FACTOR, &[1.0])
        .unsigned(tags::IMAGE_INDEX, &[slice.number])
        .decimals(tags::RESCALE_INTERCEPT, &[0.0])
        .decimals(tags::RESCALE_SLOPE, &[slope]);
    let words = slice.activity.iter().map(|v| (v / slope).round().clamp(0.0, f64::from(u16::MAX)) as u16).collect();
    let (rows, columns) = slice.activity.dim();
    pixels(&mut d, words, (rows, columns), 16).map_err(|e| WriteError::new(path, e))?;
    d.save(path)
}
