//! RT Structure Sets (PS3.3 C.8.8.5 and C.8.8.6): regions drawn as contours in the patient.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::data_set::DataSet;
use super::file::{DicomError, DicomFile};
use crate::study::{InstanceUid, Source};

/// A structure set.
#[derive(Debug, Clone, PartialEq)]
pub struct StructureSet {
    /// Structure Set Label, may be empty.
    pub label: String,
    /// Frame of reference of the contours.
    pub frame_of_reference_uid: Option<String>,
    /// Regions, by number.
    pub regions: Vec<RegionOfInterest>,
    /// What could not be used, for people.
    pub problems: Vec<String>,
}

/// A region of interest.
#[derive(Debug, Clone, PartialEq)]
pub struct RegionOfInterest {
    /// ROI Number.
    pub number: i64,
    /// ROI Name.
    pub name: String,
    /// RT ROI Interpreted Type (`ORGAN`, `GTV`, `EXTERNAL`, ...), may be empty.
    pub interpreted_type: String,
    /// Display colour.
    pub color: Option<[u8; 3]>,
    /// Its contours.
    pub contours: Vec<Contour>,
}

/// A contour.
#[derive(Debug, Clone, PartialEq)]
pub struct Contour {
    /// The image that it was drawn on, where the file names it.
    pub image: Option<InstanceUid>,
    /// Its frame, from 0, where the file names one.
    pub frame: Option<usize>,
    /// How the points are joined.
    pub kind: ContourKind,
    /// Points in the patient (LPS), mm.
    pub points: Vec<[f64; 3]>,
}

/// Contour Geometric Type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContourKind {
    /// A closed line in one plane.
    ClosedPlanar,
    /// A point.
    Point,
    /// An open line.
    Open,
}

/// What a SOP Class UID of a structure set is.
pub const RT_STRUCTURE_SET: &str = "1.2.840.10008.5.1.4.1.1.481.3";

/// Whether a file is a structure set.
pub fn is_structure_set(file: &DicomFile) -> bool {
    file.data_set().line(tags::SOP_CLASS_UID) == RT_STRUCTURE_SET
}

/// Reads a structure set.
///
/// # Errors
/// Where the file cannot be read, is no structure set, or has no region.
pub fn read_structure_set(source: &Source) -> Result<StructureSet, DicomError> {
    let file = DicomFile::read(source)?;
    if !is_structure_set(&file) {
        return Err(file.attribute_error(tags::SOP_CLASS_UID, "not an RT Structure Set"));
    }
    let set = file.data_set();
    let mut problems = Vec::new();
    let mut regions: Vec<RegionOfInterest> = set
        .items(tags::STRUCTURE_SET_ROI_SEQUENCE)
        .filter_map(|item| {
            let number = item.int(tags::ROI_NUMBER)?;
            let name = item.line(tags::ROI_NAME);
            let name = if name.is_empty() { format!("ROI {number}") } else { name };
            Some(RegionOfInterest { number, name, interpreted_type: String::new(), color: None, contours: Vec::new() })
        })
        .collect();
    if regions.is_empty() {
        return Err(file.attribute_error(tags::STRUCTURE_SET_ROI_SEQUENCE, "absent or empty: no region"));
    }
    for item in set.items(tags::RTROI_OBSERVATIONS_SEQUENCE) {
        let number = item.int(tags::REFERENCED_ROI_NUMBER);
        if let Some(region) = regions.iter_mut().find(|region| Some(region.number) == number) {
            region.interpreted_type = item.line(tags::RTROI_INTERPRETED_TYPE);
        }
    }
    for item in set.items(tags::ROI_CONTOUR_SEQUENCE) {
        let number = item.int(tags::REFERENCED_ROI_NUMBER);
        let Some(region) = regions.iter_mut().find(|region| Some(region.number) == number) else {
            let named = number.map_or_else(|| "without number".to_owned(), |number| number.to_string());
            problems.push(format!("contours of a region {named} that is not in the list of regions"));
            continue;
        };
        if let [r, g, b] = item.ints(tags::ROI_DISPLAY_COLOR)[..] {
            region.color = Some([r, g, b].map(|value| value.clamp(0, 255) as u8));
        }
        for (index, contour) in item.items(tags::CONTOUR_SEQUENCE).enumerate() {
            match read_contour(contour) {
                Ok(contour) => region.contours.push(contour),
                Err(cause) => problems.push(format!("{}, contour {}: {cause}", region.name, index + 1)),
            }
        }
    }
    let reference = set.item(tags::REFERENCED_FRAME_OF_REFERENCE_SEQUENCE);
    let reference = reference.and_then(|item| item.string(tags::FRAME_OF_REFERENCE_UID));
    Ok(StructureSet {
        label: set.line(tags::STRUCTURE_SET_LABEL),
        frame_of_reference_uid: reference.or_else(|| set.string(tags::FRAME_OF_REFERENCE_UID)),
        regions,
        problems,
    })
}

fn read_contour(item: DataSet<'_>) -> Result<Contour, String> {
    let kind = match item.line(tags::CONTOUR_GEOMETRIC_TYPE).as_str() {
        "CLOSED_PLANAR" | "CLOSEDPLANAR_XOR" => ContourKind::ClosedPlanar,
        "POINT" => ContourKind::Point,
        "OPEN_PLANAR" | "OPEN_NONPLANAR" => ContourKind::Open,
        other => return Err(format!("{} {other:?} is unknown", named(tags::CONTOUR_GEOMETRIC_TYPE))),
    };
    let values = item.floats(tags::CONTOUR_DATA);
    let (points, rest) = values.as_chunks::<3>();
    if !rest.is_empty() || points.is_empty() {
        return Err(format!("{}: {} values are no points", named(tags::CONTOUR_DATA), values.len()));
    }
    if points.iter().flatten().any(|value| !value.is_finite()) {
        return Err(format!("{}: not all values are numbers", named(tags::CONTOUR_DATA)));
    }
    let image = item.item(tags::CONTOUR_IMAGE_SEQUENCE);
    Ok(Contour {
        image: image.and_then(|image| image.string(tags::REFERENCED_SOP_INSTANCE_UID)).map(InstanceUid),
        frame: image
            .and_then(|image| image.int(tags::REFERENCED_FRAME_NUMBER))
            .and_then(|number| usize::try_from(number - 1).ok()),
        kind,
        points: points.to_vec(),
    })
}

fn named(tag: Tag) -> String {
    super::data_set::tag_name(tag)
}

#[cfg(test)]
pub(crate) mod tests {
    //! A structure set to read.

    use std::path::Path;

    use super::*;
    use crate::dicom::DataSetBuilder;

    /// A structure set with one region, `Lung`, whose contours are `(image, points)`.
    pub(crate) fn write(path: &Path, contours: &[(&str, &[f64])]) {
        let mut file = DataSetBuilder::new(RT_STRUCTURE_SET, "1.2.9");
        file.text(tags::STRUCTURE_SET_LABEL, "Plan");
        let mut region = DataSetBuilder::item();
        region.integers(tags::ROI_NUMBER, &[3]).text(tags::ROI_NAME, "Lung");
        region.text(tags::REFERENCED_FRAME_OF_REFERENCE_UID, "1.2.7");
        file.sequence(tags::STRUCTURE_SET_ROI_SEQUENCE, vec![region]);
        let contour = |(image, points): &(&str, &[f64])| {
            let mut item = DataSetBuilder::item();
            let mut reference = DataSetBuilder::item();
            reference.text(tags::REFERENCED_SOP_INSTANCE_UID, image);
            item.sequence(tags::CONTOUR_IMAGE_SEQUENCE, vec![reference]);
            item.text(tags::CONTOUR_GEOMETRIC_TYPE, "CLOSED_PLANAR");
            item.integers(tags::NUMBER_OF_CONTOUR_POINTS, &[points.len() as i64 / 3]);
            item.decimals(tags::CONTOUR_DATA, points);
            item
        };
        let mut drawn = DataSetBuilder::item();
        drawn.integers(tags::ROI_DISPLAY_COLOR, &[255, 128, 0]);
        drawn.sequence(tags::CONTOUR_SEQUENCE, contours.iter().map(contour).collect());
        drawn.integers(tags::REFERENCED_ROI_NUMBER, &[3]);
        file.sequence(tags::ROI_CONTOUR_SEQUENCE, vec![drawn]);
        let mut observed = DataSetBuilder::item();
        observed.integers(tags::REFERENCED_ROI_NUMBER, &[3]).text(tags::RTROI_INTERPRETED_TYPE, "ORGAN");
        file.sequence(tags::RTROI_OBSERVATIONS_SEQUENCE, vec![observed]);
        file.save(path).expect("written");
    }

    #[test]
    fn regions_are_read_with_colour_type_and_contours() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("rt.dcm");
        write(&path, &[("1.2.3", &[0.0, 0.0, 5.0, 10.0, 0.0, 5.0, 10.0, 8.5, 5.0]), ("1.2.4", &[1.0, 2.0])]);
        let set = read_structure_set(&Source::file(&path)).expect("read");
        assert_eq!((set.label.as_str(), set.regions.len()), ("Plan", 1));
        let region = &set.regions[0];
        assert_eq!((region.name.as_str(), region.interpreted_type.as_str()), ("Lung", "ORGAN"));
        assert_eq!((region.color, region.contours.len()), (Some([255, 128, 0]), 1));
        assert_eq!(region.contours[0].points[2], [10.0, 8.5, 5.0]);
        assert_eq!(region.contours[0].image, Some(InstanceUid("1.2.3".into())));
        assert_eq!(set.problems.len(), 1);
        assert!(set.problems[0].contains("Lung, contour 2") && set.problems[0].contains("2 values"), "{set:?}");
    }

    #[test]
    fn other_objects_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ct.dcm");
        DataSetBuilder::new("1.2.840.10008.5.1.4.1.1.2", "1.2.3").save(&path).expect("written");
        let error = read_structure_set(&Source::file(&path)).expect_err("no structure set").to_string();
        assert!(error.contains("ct.dcm") && error.contains("SOPClassUID"), "{error}");
    }
}
