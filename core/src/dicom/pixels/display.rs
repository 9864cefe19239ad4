//! How a frame is shown: modality transform, windows, spacing, geometry, from the top of the data set or from the
//! functional groups of an enhanced multi-frame object (PS3.3 C.7.6.16).

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};

use super::super::DataSet;
use super::super::geometry::offset_plane;
use super::{DicomFile, FrameFormat, lut, suv};
use crate::study::{
    DisplayAttributes, LookupTable, ModalityTransform, PixelSpacing, PlaneGeometry, SpacingKind, VoiFunction, Window,
};

/// Modalities whose images are projections: without calibration a spacing there is the detector's.
const PROJECTIONS: [&str; 9] = ["CR", "DX", "MG", "RG", "XA", "RF", "PX", "IO", "RTIMAGE"];

/// The attributes of one frame: its own functional groups, then the shared ones, then the top of the data set.
struct FrameAttributes<'a> {
    top: DataSet<'a>,
    shared: Option<DataSet<'a>>,
    own: Option<DataSet<'a>>,
}

impl<'a> FrameAttributes<'a> {
    fn new(top: DataSet<'a>, frame: usize) -> Self {
        Self {
            top,
            shared: top.item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE),
            own: top.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE).nth(frame),
        }
    }

    /// The data sets that may hold an attribute of the functional group `group`, best first.
    fn places(&self, group: Tag) -> impl Iterator<Item = DataSet<'a>> {
        let in_groups = [self.own, self.shared].into_iter().flatten().filter_map(move |set| set.item(group));
        in_groups.chain([self.top])
    }
}

/// How to show frame `frame` (from 0).
pub(super) fn attributes(file: &DicomFile, format: &FrameFormat, frame: usize) -> DisplayAttributes {
    let top = file.data_set();
    let frame_attributes = FrameAttributes::new(top, frame);
    let (modality, units) = modality(&frame_attributes, format);
    let (windows, voi_lut) = voi(&frame_attributes, format, &modality);
    let suv = suv::of(top);
    let shape = top.string(tags::PRESENTATION_LUT_SHAPE).unwrap_or_default();
    let geometry = geometry(&frame_attributes, frame);
    DisplayAttributes {
        modality,
        units,
        suv,
        windows,
        voi_lut,
        inverted: format.samples == 1 && (format.photometric == "MONOCHROME1" || shape == "INVERSE"),
        padding: padding(top, format),
        spacing: spacing(&frame_attributes),
        geometry,
        patient_orientation: <[String; 2]>::try_from(top.strings(tags::PATIENT_ORIENTATION))
            .ok()
            .filter(|pair| pair.iter().all(|letters| !letters.is_empty())),
        slice_thickness_mm: frame_attributes
            .places(tags::PIXEL_MEASURES_SEQUENCE)
            .find_map(|set| set.float(tags::SLICE_THICKNESS))
            .filter(|&mm| mm > 0.0),
        lossy: lossy(top, &file.transfer_syntax),
        bits_stored: format.bits_stored,
        warnings: Vec::new(),
    }
}

fn modality(frame: &FrameAttributes<'_>, format: &FrameFormat) -> (ModalityTransform, String) {
    let table = frame.top.item(tags::MODALITY_LUT_SEQUENCE);
    if let Some(item) = table
        && let Some(table) = lut::read(item, format.signed)
    {
        let kind = item.string(tags::MODALITY_LUT_TYPE).unwrap_or_default();
        return (ModalityTransform::Table(table), unit_name(kind));
    }
    for set in frame.places(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE) {
        let (slope, intercept) = (set.float(tags::RESCALE_SLOPE), set.float(tags::RESCALE_INTERCEPT));
        if slope.is_none() && intercept.is_none() {
            continue;
        }
        // A slope of zero would make every pixel the same: no modality means that.
        let slope = slope.filter(|&slope| slope != 0.0).unwrap_or(1.0);
        let kind = set.string(tags::RESCALE_TYPE).or_else(|| frame.top.string(tags::UNITS)).unwrap_or_default();
        let mut units = unit_name(kind.clone());
        // Old CT objects leave the type out; their rescaled values are HU (C.8.2.1), unless the file says otherwise.
        if kind.is_empty() && frame.top.string(tags::MODALITY).as_deref() == Some("CT") {
            units = "HU".into();
        }
        return (ModalityTransform::Rescale { slope, intercept: intercept.unwrap_or(0.0) }, units);
    }
    let dose = frame.top.float(tags::DOSE_GRID_SCALING).filter(|&scale| scale > 0.0);
    if let Some(slope) = dose {
        let gray = frame.top.string(tags::DOSE_UNITS).as_deref() == Some("GY");
        let units = if gray { "Gy".into() } else { String::new() };
        return (ModalityTransform::Rescale { slope, intercept: 0.0 }, units);
    }
    (ModalityTransform::IDENTITY, String::new())
}

/// Rescale Type or Units as people write it; `US` means unspecified.
fn unit_name(kind: String) -> String {
    match kind.as_str() {
        "US" | "NONE" => String::new(),
        "BQML" => "Bq/mL".into(),
        "GML" => "g/mL".into(),
        "CNTS" => "counts".into(),
        _ => kind,
    }
}

fn voi(
    frame: &FrameAttributes<'_>,
    format: &FrameFormat,
    modality: &ModalityTransform,
) -> (Vec<Window>, Option<LookupTable>) {
    let mut windows = Vec::new();
    for set in frame.places(tags::FRAME_VOILUT_SEQUENCE) {
        let function = match set.string(tags::VOILUT_FUNCTION).as_deref() {
            Some("LINEAR_EXACT") => VoiFunction::LinearExact,
            Some("SIGMOID") => VoiFunction::Sigmoid,
            _ => VoiFunction::Linear,
        };
        let names = set.strings(tags::WINDOW_CENTER_WIDTH_EXPLANATION);
        let (centers, widths) = (set.floats(tags::WINDOW_CENTER), set.floats(tags::WINDOW_WIDTH));
        for (index, (center, width)) in centers.into_iter().zip(widths).enumerate() {
            if !center.is_finite() || !width.is_finite() || width <= 0.0 {
                continue;
            }
            // Below 1 the linear formula is not defined; such widths stand for values that are no whole numbers.
            let function =
                if function == VoiFunction::Linear && width < 1.0 { VoiFunction::LinearExact } else { function };
            windows.push(Window { center, width, function, name: names.get(index).cloned().unwrap_or_default() });
        }
        if !windows.is_empty() {
            break;
        }
    }
    // The input of the table is what the modality transform gives, and so is its sign (C.11.2.1.1).
    let signed = match modality {
        ModalityTransform::Rescale { intercept, .. } => format.signed || *intercept < 0.0,
        ModalityTransform::Table(_) => false,
    };
    let table = frame
        .places(tags::FRAME_VOILUT_SEQUENCE)
        .find_map(|set| set.item(tags::VOILUT_SEQUENCE))
        .and_then(|item| lut::read(item, signed));
    (windows, table)
}

pub(super) fn padding(top: DataSet<'_>, format: &FrameFormat) -> Option<(f64, f64)> {
    let value = |tag: Tag| -> Option<f64> {
        let element = top.get(tag)?;
        let numbers = if format.signed { element.signed_ints() } else { element.ints() };
        numbers.first().map(|&number| number as f64)
    };
    let (first, last) = if format.float {
        let value = |tag| top.float(tag);
        (
            value(tags::FLOAT_PIXEL_PADDING_VALUE).or(value(tags::DOUBLE_FLOAT_PIXEL_PADDING_VALUE))?,
            value(tags::FLOAT_PIXEL_PADDING_RANGE_LIMIT).or(value(tags::DOUBLE_FLOAT_PIXEL_PADDING_RANGE_LIMIT)),
        )
    } else {
        (value(tags::PIXEL_PADDING_VALUE)?, value(tags::PIXEL_PADDING_RANGE_LIMIT))
    };
    let last = last.unwrap_or(first);
    Some((first.min(last), first.max(last)))
}

fn spacing(frame: &FrameAttributes<'_>) -> Option<PixelSpacing> {
    let positive = |set: DataSet<'_>, tag| set.vector::<2>(tag).filter(|pair| pair.iter().all(|&mm| mm > 0.0));
    let make = |[row_mm, column_mm]: [f64; 2], kind| Some(PixelSpacing { row_mm, column_mm, kind });
    let imager = positive(frame.top, tags::IMAGER_PIXEL_SPACING);
    let in_groups =
        [frame.own, frame.shared].into_iter().flatten().filter_map(|set| set.item(tags::PIXEL_MEASURES_SEQUENCE));
    if let Some(pair) = in_groups.into_iter().find_map(|set| positive(set, tags::PIXEL_SPACING)) {
        return make(pair, SpacingKind::Patient);
    }
    if let Some(pair) = positive(frame.top, tags::PIXEL_SPACING) {
        let modality = frame.top.string(tags::MODALITY).unwrap_or_default();
        // PS3.3 10.7.1.3: equal to the imager's spacing means not calibrated; differing means calibrated.
        let detector = match imager {
            Some(imager) => imager == pair,
            None => PROJECTIONS.contains(&modality.as_str()) && !frame.top.has(tags::PIXEL_SPACING_CALIBRATION_TYPE),
        };
        return make(pair, if detector { SpacingKind::Detector } else { SpacingKind::Patient });
    }
    if let Some(pair) = imager.or_else(|| positive(frame.top, tags::NOMINAL_SCANNED_PIXEL_SPACING)) {
        return make(pair, SpacingKind::Detector);
    }
    make(ultrasound_spacing(frame.top)?, SpacingKind::Patient)
}

/// Spacing of the two-dimensional regions of an ultrasound image (PS3.3 C.8.5.5), mm, where all of them have the same; with
/// several scales on one image a single one would be wrong somewhere.
fn ultrasound_spacing(top: DataSet<'_>) -> Option<[f64; 2]> {
    const CENTIMETRES: i64 = 3;
    const TWO_DIMENSIONAL: i64 = 1;
    let mut found: Option<[f64; 2]> = None;
    for region in top.items(tags::SEQUENCE_OF_ULTRASOUND_REGIONS) {
        if region.int(tags::REGION_SPATIAL_FORMAT) != Some(TWO_DIMENSIONAL) {
            continue;
        }
        let units = [tags::PHYSICAL_UNITS_X_DIRECTION, tags::PHYSICAL_UNITS_Y_DIRECTION];
        if units.iter().any(|tag| region.int(*tag) != Some(CENTIMETRES)) {
            return None;
        }
        let mm = |tag| region.float(tag).map(|cm: f64| cm.abs() * 10.0).filter(|mm| *mm > 0.0);
        let pair = [mm(tags::PHYSICAL_DELTA_Y)?, mm(tags::PHYSICAL_DELTA_X)?];
        let same = |other: [f64; 2]| pair.iter().zip(other).all(|(a, b)| (a - b).abs() <= 1e-4 * b);
        if found.is_some_and(|other| !same(other)) {
            return None;
        }
        found = Some(pair);
    }
    found
}

fn geometry(attributes: &FrameAttributes<'_>, frame: usize) -> Option<PlaneGeometry> {
    // Nuclear medicine keeps both in the first detector's item (PS3.3 C.8.4.11).
    let detector = attributes.top.item(tags::DETECTOR_INFORMATION_SEQUENCE);
    let position = attributes
        .places(tags::PLANE_POSITION_SEQUENCE)
        .chain(detector)
        .find_map(|set| set.vector::<3>(tags::IMAGE_POSITION_PATIENT))?;
    let [rx, ry, rz, cx, cy, cz] = attributes
        .places(tags::PLANE_ORIENTATION_SEQUENCE)
        .chain(detector)
        .find_map(|set| set.vector::<6>(tags::IMAGE_ORIENTATION_PATIENT))?;
    let (row_direction, column_direction) = (unit([rx, ry, rz])?, unit([cx, cy, cz])?);
    let dot: f64 = row_direction.iter().zip(column_direction).map(|(a, b)| a * b).sum();
    if dot.abs() > 0.05 {
        return None;
    }
    let geometry = PlaneGeometry { position, row_direction, column_direction };
    // Frames of a dose grid are offset along the normal (PS3.3 C.8.8.3.2).
    let offsets = attributes.top.floats(tags::GRID_FRAME_OFFSET_VECTOR);
    Some(offset_plane(geometry, &offsets, frame).unwrap_or(geometry))
}

fn unit(v: [f64; 3]) -> Option<[f64; 3]> {
    let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    (length > 1e-3 && length.is_finite()).then(|| v.map(|x| x / length))
}

fn lossy(top: DataSet<'_>, transfer_syntax: &str) -> Option<String> {
    let always = [
        uids::JPEG_BASELINE8_BIT,
        uids::JPEG_EXTENDED12_BIT,
        "1.2.840.10008.1.2.4.53",
        "1.2.840.10008.1.2.4.55",
        uids::JPEGLS_NEAR_LOSSLESS,
    ];
    let says = top.string(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01");
    (says || always.contains(&transfer_syntax))
        .then(|| top.string(tags::LOSSY_IMAGE_COMPRESSION_METHOD).unwrap_or_default())
}
