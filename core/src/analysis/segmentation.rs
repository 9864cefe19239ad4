//! An analysis as masks: what a DICOM segmentation of it holds.

use ndarray::Array2;

use super::Analysis;
use crate::model::Metadata;
use crate::study::{
    CodedConcept, DisplayAttributes, Segment, SegmentAlgorithm, SegmentMask, Segmentation, SegmentationKind,
    SourceFrame,
};

/// The most a fraction is counted to.
const MAXIMUM: u8 = 255;
/// Colours of lesions, then of organs.
const LESION_COLOR: [u8; 3] = [235, 130, 40];
const ORGAN_COLORS: [[u8; 3]; 4] = [[70, 150, 220], [80, 190, 130], [170, 130, 220], [120, 180, 190]];

/// Organs and lesions of `analysis` as segments, organs first, in the order of the bundle. Binary: organs from a probability of one half, lesions
/// from the threshold of their map. Fractional: the probabilities. `display` tells where the frame lies; classes without a coded concept are
/// called unknown, since the standard wants a code.
pub fn segmentation(
    analysis: &Analysis,
    metadata: &Metadata,
    kind: SegmentationKind,
    source: &SourceFrame,
    display: &DisplayAttributes,
    frame_of_reference_uid: Option<String>,
) -> Segmentation {
    let coded = |value: &str, meaning: &str| CodedConcept::new(value, "SCT", meaning);
    let unknown = || coded("261665006", "Unknown");
    let algorithm = || SegmentAlgorithm::Automatic(format!("Bifocal {}", metadata.id));
    let organs = analysis.organ_maps.iter().enumerate().map(|(index, map)| {
        let class = metadata.organs.iter().find(|class| class.name == map.organ);
        let segment = Segment {
            number: 0,
            label: class.map_or_else(|| map.organ.clone(), |class| class.display.clone()),
            category: coded("123037004", "Body structure"),
            property: class.and_then(|class| class.concept.clone()).unwrap_or_else(unknown),
            region: None,
            algorithm: algorithm(),
            color: ORGAN_COLORS.get(index % ORGAN_COLORS.len()).copied(),
        };
        (segment, &map.values, 0.5)
    });
    let lesions = analysis.heat_maps.iter().map(|map| {
        let class = metadata.lesions.iter().find(|class| class.name == map.label);
        let segment = Segment {
            number: 0,
            label: class.map_or_else(|| map.label.clone(), |class| class.display.clone()),
            category: coded("49755003", "Morphologically abnormal structure"),
            property: class.and_then(|class| class.concept.clone()).unwrap_or_else(unknown),
            region: None,
            algorithm: algorithm(),
            color: Some(LESION_COLOR),
        };
        (segment, &map.values, map.threshold)
    });
    let (mut segments, mut masks) = (Vec::new(), Vec::new());
    for (number, (segment, values, threshold)) in (1u16..).zip(organs.chain(lesions)) {
        let values: Array2<u8> = match kind {
            SegmentationKind::Fractional { maximum, .. } => {
                values.mapv(|p| (p.clamp(0.0, 1.0) * f32::from(maximum)).round() as u8)
            }
            SegmentationKind::Binary | SegmentationKind::LabelMap => values.mapv(|p| u8::from(p >= threshold)),
        };
        segments.push(Segment { number, ..segment });
        masks.push(SegmentMask { segment: number, source: Some(source.clone()), geometry: display.geometry, values });
    }
    Segmentation {
        kind,
        label: format!("{}, research use only", metadata.name),
        // Spacing on the detector is no spacing in the patient.
        spacing_mm: display.spacing.filter(|_| display.geometry.is_some()).map(|s| [s.row_mm, s.column_mm]),
        thickness_mm: display.slice_thickness_mm,
        frame_of_reference_uid: frame_of_reference_uid.filter(|_| display.geometry.is_some()),
        segments,
        masks,
    }
}

/// Probabilities in 255 steps.
pub const PROBABILITIES: SegmentationKind = SegmentationKind::Fractional { maximum: MAXIMUM, probability: true };
