//! Writing CT slices and projection radiographs: the modules that images share, and the two objects.

use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use ndarray::ArrayView2;

use crate::study::{PlaneGeometry, Window};

use super::write::{Code, DataSetBuilder, WriteError};

/// Patient, study, series and equipment of an image to be written. Dates are `YYYYMMDD`, times `HHMMSS`.
#[derive(Debug, Clone, Default, PartialEq)]
#[allow(missing_docs)]
pub struct ImageContext {
    pub patient_name: String,
    pub patient_id: String,
    pub patient_sex: String,
    /// `045Y`.
    pub patient_age: String,
    pub study_uid: String,
    pub study_id: String,
    pub study_description: String,
    pub accession_number: String,
    pub series_uid: String,
    pub series_number: u32,
    pub series_description: String,
    pub date: String,
    pub time: String,
    pub body_part: String,
    pub manufacturer: String,
    pub model_name: String,
    pub software_version: String,
    /// Image Comments (0020,4000).
    pub comments: String,
    /// The image shows a phantom, not a person (0028,0300).
    pub phantom: bool,
}

impl ImageContext {
    pub(super) fn data_set(&self, sop_class: &str, sop_instance: &str, modality: &str, number: u32) -> DataSetBuilder {
        let mut d = DataSetBuilder::new(sop_class, sop_instance);
        for (tag, value) in [
            (tags::PATIENT_NAME, &self.patient_name),
            (tags::PATIENT_ID, &self.patient_id),
            (tags::PATIENT_SEX, &self.patient_sex),
            (tags::PATIENT_AGE, &self.patient_age),
            (tags::STUDY_INSTANCE_UID, &self.study_uid),
            (tags::STUDY_ID, &self.study_id),
            (tags::STUDY_DESCRIPTION, &self.study_description),
            (tags::ACCESSION_NUMBER, &self.accession_number),
            (tags::SERIES_INSTANCE_UID, &self.series_uid),
            (tags::SERIES_DESCRIPTION, &self.series_description),
            (tags::BODY_PART_EXAMINED, &self.body_part),
            (tags::MANUFACTURER, &self.manufacturer),
            (tags::MANUFACTURER_MODEL_NAME, &self.model_name),
            (tags::SOFTWARE_VERSIONS, &self.software_version),
            (tags::IMAGE_COMMENTS, &self.comments),
        ] {
            d.text(tag, value);
        }
        for tag in [tags::STUDY_DATE, tags::SERIES_DATE, tags::ACQUISITION_DATE, tags::CONTENT_DATE] {
            d.text(tag, &self.date);
        }
        for tag in [tags::STUDY_TIME, tags::SERIES_TIME, tags::ACQUISITION_TIME, tags::CONTENT_TIME] {
            d.text(tag, &self.time);
        }
        d.empty(tags::PATIENT_BIRTH_DATE)
            .empty(tags::REFERRING_PHYSICIAN_NAME)
            .text(tags::MODALITY, modality)
            .integers(tags::SERIES_NUMBER, &[i64::from(self.series_number)])
            .integers(tags::INSTANCE_NUMBER, &[i64::from(number)])
            .integers(tags::ACQUISITION_NUMBER, &[1])
            .text(tags::QUALITY_CONTROL_IMAGE, if self.phantom { "YES" } else { "NO" })
            .text(tags::BURNED_IN_ANNOTATION, "NO")
            .text(tags::LOSSY_IMAGE_COMPRESSION, "00");
        d
    }
}

/// Image Pixel module of a grayscale image of rows and columns with 16 bits allocated, unsigned.
pub(super) fn pixels(
    d: &mut DataSetBuilder,
    pixels: Vec<u16>,
    (rows, columns): (usize, usize),
    bits_stored: u16,
) -> Result<(), String> {
    let size = |n: usize| u16::try_from(n).map_err(|_| format!("{n} rows or columns are more than DICOM allows"));
    d.unsigned(tags::SAMPLES_PER_PIXEL, &[1])
        .text(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2")
        .unsigned(tags::ROWS, &[size(rows)?])
        .unsigned(tags::COLUMNS, &[size(columns)?])
        .unsigned(tags::BITS_ALLOCATED, &[16])
        .unsigned(tags::BITS_STORED, &[bits_stored])
        .unsigned(tags::HIGH_BIT, &[bits_stored - 1])
        .unsigned(tags::PIXEL_REPRESENTATION, &[0])
        .pixels16(pixels);
    Ok(())
}

fn windows(d: &mut DataSetBuilder, windows: &[Window]) {
    if windows.is_empty() {
        return;
    }
    let pick = |f: fn(&Window) -> f64| windows.iter().map(f).collect::<Vec<_>>();
    let names: Vec<&str> = windows.iter().map(|w| w.name.as_str()).collect();
    d.decimals(tags::WINDOW_CENTER, &pick(|w| w.center))
        .decimals(tags::WINDOW_WIDTH, &pick(|w| w.width))
        .texts(tags::WINDOW_CENTER_WIDTH_EXPLANATION, &names);
}

/// One CT slice to be written.
#[derive(Debug, Clone)]
pub struct CtSlice<'a> {
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// Instance Number.
    pub number: u32,
    /// HU, `[row, column]`, -1024 to 3071; values outside are limited to that.
    pub hu: ArrayView2<'a, i16>,
    /// Where it lies in the patient.
    pub geometry: PlaneGeometry,
    /// Distance of rows and of columns, mm.
    pub spacing_mm: [f64; 2],
    /// Slice thickness, mm.
    pub thickness_mm: f64,
    /// Diameter of the reconstruction, mm.
    pub field_mm: f64,
    /// Frame of Reference UID.
    pub frame_of_reference_uid: String,
    /// Tube voltage, kV.
    pub kvp: f64,
    /// Patient Position: `HFS`, ...
    pub patient_position: String,
    /// Contrast medium; empty where none was given.
    pub contrast: String,
    /// Windows offered to the reader.
    pub windows: Vec<Window>,
}

/// Writes one slice as CT Image Storage (PS3.3 A.3), 12 bits with an intercept of -1024.
pub fn write_ct(path: &Path, context: &ImageContext, slice: &CtSlice<'_>) -> Result<(), WriteError> {
    let mut d = context.data_set(uids::CT_IMAGE_STORAGE, &slice.sop_instance_uid, "CT", slice.number);
    let g = &slice.geometry;
    let orientation: Vec<f64> = g.row_direction.iter().chain(&g.column_direction).copied().collect();
    d.texts(tags::IMAGE_TYPE, &["ORIGINAL", "PRIMARY", "AXIAL"])
        .text(tags::PATIENT_POSITION, &slice.patient_position)
        .text(tags::FRAME_OF_REFERENCE_UID, &slice.frame_of_reference_uid)
        .empty(tags::POSITION_REFERENCE_INDICATOR)
        .decimals(tags::IMAGE_POSITION_PATIENT, &g.position)
        .decimals(tags::IMAGE_ORIENTATION_PATIENT, &orientation)
        .decimals(tags::PIXEL_SPACING, &slice.spacing_mm)
        .decimals(tags::SLICE_THICKNESS, &[slice.thickness_mm])
        .decimals(tags::SLICE_LOCATION, &[g.distance_along_normal()])
        .decimals(tags::RECONSTRUCTION_DIAMETER, &[slice.field_mm])
        .decimals(tags::KVP, &[slice.kvp])
        .decimals(tags::RESCALE_INTERCEPT, &[-1024.0])
        .decimals(tags::RESCALE_SLOPE, &[1.0])
        .text(tags::RESCALE_TYPE, "HU");
    if !slice.contrast.is_empty() {
        d.text(tags::CONTRAST_BOLUS_AGENT, &slice.contrast);
    }
    windows(&mut d, &slice.windows);
    let words = slice.hu.iter().map(|hu| (i32::from(*hu) + 1024).clamp(0, 4095) as u16).collect();
    pixels(&mut d, words, slice.hu.dim(), 12).map_err(|e| WriteError::new(path, e))?;
    d.save(path)
}

/// One projection radiograph to be written.
#[derive(Debug, Clone)]
pub struct DxImage<'a> {
    /// SOP Instance UID.
    pub sop_instance_uid: String,
    /// Instance Number.
    pub number: u32,
    /// Values for presentation, `[row, column]`, 0 (black) to 4095.
    pub pixels: ArrayView2<'a, u16>,
    /// Distance of rows and of columns on the detector, mm.
    pub imager_spacing_mm: [f64; 2],
    /// Direction of rows and columns: `["L", "F"]`.
    pub patient_orientation: [String; 2],
    /// View Position: `PA`, `AP`, `LL`, ...
    pub view_position: String,
    /// Code of the view (CID 4010).
    pub view: Code<'a>,
    /// Code of the region (CID 4009).
    pub region: Code<'a>,
    /// Source to detector, mm.
    pub source_to_detector_mm: f64,
    /// Source to the middle of the patient, mm.
    pub source_to_patient_mm: f64,
    /// Tube voltage, kV.
    pub kvp: f64,
    /// Exposed rectangle: first and last row, first and last column, from 1.
    pub field: [usize; 4],
    /// Windows offered to the reader.
    pub windows: Vec<Window>,
}

/// Writes a radiograph as Digital X-Ray Image Storage - For Presentation (PS3.3 A.26), 12 bits.
pub fn write_dx(path: &Path, context: &ImageContext, image: &DxImage<'_>) -> Result<(), WriteError> {
    let class = uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION;
    let mut d = context.data_set(class, &image.sop_instance_uid, "DX", image.number);
    let [row, column] = &image.patient_orientation;
    let [top, bottom, left, right] = image.field.map(|v| v as i64);
    d.texts(tags::IMAGE_TYPE, &["ORIGINAL", "PRIMARY", ""])
        .text(tags::PRESENTATION_INTENT_TYPE, "FOR PRESENTATION")
        .texts(tags::PATIENT_ORIENTATION, &[row, column])
        .text(tags::VIEW_POSITION, &image.view_position)
        .code(tags::VIEW_CODE_SEQUENCE, image.view)
        .text(tags::IMAGE_LATERALITY, "U")
        .code(tags::ANATOMIC_REGION_SEQUENCE, image.region)
        .empty(tags::ACQUISITION_CONTEXT_SEQUENCE)
        .decimals(tags::IMAGER_PIXEL_SPACING, &image.imager_spacing_mm)
        .text(tags::DETECTOR_TYPE, "SCINTILLATOR")
        .empty(tags::DETECTOR_CONFIGURATION)
        .empty(tags::POSITIONER_TYPE)
        .decimals(tags::DISTANCE_SOURCE_TO_DETECTOR, &[image.source_to_detector_mm])
        .decimals(tags::DISTANCE_SOURCE_TO_PATIENT, &[image.source_to_patient_mm])
        .decimals(
            tags::ESTIMATED_RADIOGRAPHIC_MAGNIFICATION_FACTOR,
            &[image.source_to_detector_mm / image.source_to_patient_mm],
        )
        .decimals(tags::KVP, &[image.kvp])
        .text(tags::COLLIMATOR_SHAPE, "RECTANGULAR")
        .integers(tags::COLLIMATOR_UPPER_HORIZONTAL_EDGE, &[top])
        .integers(tags::COLLIMATOR_LOWER_HORIZONTAL_EDGE, &[bottom])
        .integers(tags::COLLIMATOR_LEFT_VERTICAL_EDGE, &[left])
        .integers(tags::COLLIMATOR_RIGHT_VERTICAL_EDGE, &[right])
        .text(tags::PIXEL_INTENSITY_RELATIONSHIP, "LOG")
        // Brighter is less radiation.
        .signed(tags::PIXEL_INTENSITY_RELATIONSHIP_SIGN, &[-1])
        .decimals(tags::RESCALE_INTERCEPT, &[0.0])
        .decimals(tags::RESCALE_SLOPE, &[1.0])
        .text(tags::RESCALE_TYPE, "US")
        .text(tags::PRESENTATION_LUT_SHAPE, "IDENTITY");
    windows(&mut d, &image.windows);
    let words = image.pixels.iter().map(|v| (*v).min(4095)).collect();
    pixels(&mut d, words, image.pixels.dim(), 12).map_err(|e| WriteError::new(path, e))?;
    d.save(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::{DicomFile, uid_from_name};
    use crate::study::Source;
    use ndarray::Array2;

    fn context() -> ImageContext {
        ImageContext {
            patient_name: "Test^Writer".into(),
            study_uid: uid_from_name("study"),
            series_uid: uid_from_name("series"),
            phantom: true,
            ..ImageContext::default()
        }
    }

    #[test]
    fn a_ct_slice_reads_back_with_its_values_and_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ct.dcm");
        let hu = Array2::from_shape_fn((5, 7), |(r, c)| (r * 700 + c * 10) as i16 - 1024);
        let slice = CtSlice {
            sop_instance_uid: uid_from_name("ct"),
            number: 4,
            hu: hu.view(),
            geometry: PlaneGeometry {
                position: [-100.5, -80.25, 33.0],
                row_direction: [1.0, 0.0, 0.0],
                column_direction: [0.0, 1.0, 0.0],
            },
            spacing_mm: [0.7, 0.8],
            thickness_mm: 2.5,
            field_mm: 350.0,
            frame_of_reference_uid: uid_from_name("frame"),
            kvp: 120.0,
            patient_position: "HFS".into(),
            contrast: String::new(),
            windows: vec![Window { name: "LUNG".into(), ..Window::linear(-600.0, 1500.0) }],
        };
        write_ct(&path, &context(), &slice).expect("it is written");
        let object = dicom_object::open_file(&path).expect("it opens");
        let number = |tag| object.element(tag).expect("present").to_multi_float64().expect("numbers");
        assert_eq!(number(tags::IMAGE_POSITION_PATIENT), [-100.5, -80.25, 33.0]);
        assert_eq!(number(tags::PIXEL_SPACING), [0.7, 0.8]);
        let intercept = number(tags::RESCALE_INTERCEPT)[0];
        let words = object.element(tags::PIXEL_DATA).expect("pixels").to_multi_int::<u16>().expect("words");
        assert!(words.iter().zip(&hu).all(|(w, h)| f64::from(*w) + intercept == f64::from(*h)));
        // Our own reader agrees.
        assert!(DicomFile::read(&Source::file(&path)).is_ok());
    }
}
