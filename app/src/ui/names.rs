//! Names of classes, places and sizes, as people read them.

use bifocal_core::analysis::{Analysis, AttentionMap, AttentionMethod, Calibration, Finding, Zone};
use bifocal_core::study::SpacingKind;

use super::text;
use crate::state::State;

/// `lung_opacity` as `Lung opacity`.
fn spelled_out(name: &str) -> String {
    text::sentence(&name.replace('_', " "))
}

/// A lesion class, in the bundle's words.
pub fn lesion(state: &State, name: &str) -> String {
    let class = state.network.metadata.as_ref().and_then(|m| m.lesions.iter().find(|class| class.name == name));
    class.map_or_else(|| spelled_out(name), |class| class.display.clone())
}

/// An organ, in the bundle's words.
pub fn organ(state: &State, name: &str) -> String {
    let class = state.network.metadata.as_ref().and_then(|m| m.organs.iter().find(|class| class.name == name));
    class.map_or_else(|| spelled_out(name), |class| class.display.clone())
}

/// Organ and zone of a finding.
pub fn place(state: &State, finding: &Finding) -> String {
    let Some(name) = &finding.organ else { return "outside the organs".to_owned() };
    let zone = finding.zone.map(|zone| match zone {
        Zone::Upper => "upper zone",
        Zone::Middle => "middle zone",
        Zone::Lower => "lower zone",
    });
    let organ = organ(state, name);
    zone.map_or_else(|| organ.clone(), |zone| format!("{organ}, {zone}"))
}

/// Size of a finding: millimetres where the spacing is known, else its box in pixels.
pub fn size(finding: &Finding) -> String {
    match finding.size_mm {
        Some(size) => {
            let kind = if size.kind == SpacingKind::Detector { " at detector" } else { "" };
            format!("{:.0} × {:.0} mm{kind}", size.longest_mm, size.perpendicular_mm)
        }
        None => {
            let [top, left, bottom, right] = finding.bounding_box;
            let (rows, columns) = (bottom.saturating_sub(top) + 1, right.saturating_sub(left) + 1);
            format!("{rows} × {columns} px (no spacing)")
        }
    }
}

/// What a finding is in its volume, where it is in one.
pub fn in_volume(finding: &Finding) -> Option<String> {
    finding.extent.as_ref().map(bifocal_core::report::in_volume)
}

/// State of a probability.
pub fn calibration(calibration: Calibration) -> &'static str {
    match calibration {
        Calibration::Calibrated => "calibrated",
        Calibration::Uncalibrated => "uncalibrated",
    }
}

/// What a flag says that takes an image out of the population on which probabilities were calibrated.
const OUTSIDE: [&str; 6] = [
    "modality_not_intended",
    "body_part_not_intended",
    "view_not_intended",
    "one_of_many",
    "unlike_training",
    "organs_not_found",
];

/// State of a probability of an analysis: calibration on chest radiographs says nothing about other images.
pub fn calibration_of(analysis: &Analysis, state: Calibration) -> &'static str {
    let outside = analysis.flags.iter().any(|flag| OUTSIDE.contains(&flag.code.as_str()));
    if outside && state == Calibration::Calibrated { "calibration void" } else { calibration(state) }
}

/// Method of an attention map, with the class it explains.
pub fn attention(state: &State, map: &AttentionMap) -> String {
    let label = map.label.as_ref().map(|label| lesion(state, label)).unwrap_or_default();
    match map.method {
        AttentionMethod::AttentionRollout => "Attention rollout".to_owned(),
        AttentionMethod::GradientRelevance => text::join(["Gradient relevance".to_owned(), label]),
    }
}
