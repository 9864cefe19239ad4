//! What a report is made of, and what of it goes in.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::analysis::{Analysis, Explanations, Finding, ModelIdentity, VolumeExtent};
use crate::annotation::{Decision, Label, Review, Session};
use crate::render::{ViewTransform, Voi, date};
use crate::study::{Frame, InstanceKey, Patient, Series, SpacingKind, Study};

/// Said on every page and in every file.
pub const RESEARCH_USE_ONLY: &str = "Research use only, not a medical device";

/// Everything that a report may be made of.
#[derive(Debug, Clone)]
pub struct ReportInput<'a> {
    /// The study.
    pub study: &'a Study,
    /// The series that was read.
    pub series: &'a Series,
    /// Frames that were analysed or picked, in reading order.
    pub images: Vec<ReportImage<'a>>,
    /// What the reader added.
    pub session: &'a Session,
    /// What the labels of shapes and painted regions mean; may be empty.
    pub labels: &'a [Label],
    /// What the bundle says about itself; `None` where nothing was analysed.
    pub model: Option<ModelNotes>,
    /// When the report was made.
    pub created: SystemTime,
}

/// One frame of a report.
#[derive(Debug, Clone)]
pub struct ReportImage<'a> {
    /// The instance it is in.
    pub instance: &'a InstanceKey,
    /// Frame within the instance, from 0: what reviews and key images refer to.
    pub frame_index: usize,
    /// Scroll position within the series, from 0: what people call it by.
    pub position: usize,
    /// Its pixels.
    pub frame: &'a Frame,
    /// Window that it is shown in.
    pub voi: Voi,
    /// Turns and flips that it is shown with; zoom and pan are not used.
    pub view: ViewTransform,
    /// The network's answer.
    pub analysis: Option<&'a Analysis>,
    /// What was asked for after it: class activation maps, and how faithful the maps are.
    pub explanations: Option<&'a Explanations>,
}

impl<'a> ReportImage<'a> {
    /// The frame in its own window, upright.
    pub fn new(
        instance: &'a InstanceKey,
        frame_index: usize,
        position: usize,
        frame: &'a Frame,
        analysis: Option<&'a Analysis>,
    ) -> Self {
        let (voi, view) = (Voi::of_frame(frame), ViewTransform::default());
        Self { instance, frame_index, position, frame, voi, view, analysis, explanations: None }
    }
}

/// What a bundle says about itself, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelNotes {
    /// What it is for.
    pub intended_use: String,
    /// What it cannot do and was not tested on.
    pub limits: Vec<String>,
    /// How well it did on its validation patients, with intervals.
    pub performance: Vec<String>,
    /// Data and licences.
    pub data: String,
}

/// A measured number with its 95 % interval, for people: `Dice, left lung: 0.92 (95 % interval 0.89 to 0.95, 10 images)`.
///
/// `key` is a metric's name in a bundle or in `metrics.json`: what was measured, on what, and where it is not all of the
/// images, on which (`dice.left_lung`, `auroc.lung_opacity.nih`).
pub fn performance_line(key: &str, value: f64, (low, high): (f64, f64), images: usize) -> String {
    let mut parts = key.split('.');
    let metric = parts.next().unwrap_or_default();
    let name = METRICS
        .iter()
        .find(|(known, _)| *known == metric)
        .map_or_else(|| readable_name(metric), |(_, name)| (*name).into());
    let on = parts.next().map(|on| format!(", {}", on.replace('_', " "))).unwrap_or_default();
    let of: String = parts.map(|part| format!(", {} images only", part.replace('_', " "))).collect();
    let noun = if images == 1 { "image" } else { "images" };
    format!("{name}{on}{of}: {value:.2} (95 % interval {low:.2} to {high:.2}, {images} {noun})")
}

/// Place of a metric among others in a report: segmentation, then detection, then calibration.
pub fn performance_rank(key: &str) -> usize {
    let metric = key.split('.').next().unwrap_or_default();
    METRICS.iter().position(|(known, _)| *known == metric).unwrap_or(METRICS.len())
}

/// Metrics in the order of a report, with their words.
const METRICS: [(&str, &str); 8] = [
    ("dice", "Dice"),
    ("auroc", "Area under the ROC curve"),
    ("sensitivity_at_90_specificity", "Sensitivity at 90 % specificity"),
    ("average_precision", "Average precision"),
    ("pointing", "Heat map's peak inside a marked lesion"),
    ("froc", "Mean sensitivity over the FROC curve"),
    ("ece", "Expected calibration error"),
    ("brier", "Brier score"),
];

/// What goes into a report. Everything by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportOptions {
    /// Names, numbers, dates, institution, descriptions and file names. Without them UIDs are replaced too.
    pub identifiers: bool,
    /// Patient and study block.
    pub patient: bool,
    /// Warnings about the input and the answer.
    pub flags: bool,
    /// The reader's impression.
    pub impression: bool,
    /// Image-level classes.
    pub predictions: bool,
    /// Table of findings.
    pub findings: bool,
    /// Findings that the reader rejected (struck through).
    pub rejected: bool,
    /// What the reader measured, annotated and painted.
    pub measurements: bool,
    /// Key images without overlay.
    pub key_images: bool,
    /// Key images with overlays.
    pub overlays: bool,
    /// Attention maps and the organ table.
    pub attention: bool,
    /// Intended use, limits, performance.
    pub limits: bool,
}

impl Default for ReportOptions {
    fn default() -> Self {
        Self {
            identifiers: true,
            patient: true,
            flags: true,
            impression: true,
            predictions: true,
            findings: true,
            rejected: true,
            measurements: true,
            key_images: true,
            overlays: true,
            attention: true,
            limits: true,
        }
    }
}

impl ReportInput<'_> {
    /// The network, where anything was analysed.
    pub(super) fn model_identity(&self) -> Option<&ModelIdentity> {
        self.images.iter().find_map(|image| image.analysis).map(|analysis| &analysis.model)
    }

    /// Whether the reader picked this image.
    pub(super) fn is_key(&self, image: &ReportImage<'_>) -> bool {
        self.session.key_images.contains(&(image.instance.clone(), image.frame_index))
    }

    /// Images to show: those the reader picked; without any, those with findings; without any, the first that was
    /// analysed, else the first.
    pub(super) fn shown_images(&self) -> Vec<&ReportImage<'_>> {
        let pick = |wanted: &dyn Fn(&ReportImage<'_>) -> bool| -> Vec<&ReportImage<'_>> {
            self.images.iter().filter(|image| wanted(image)).collect()
        };
        let picked = pick(&|image| self.is_key(image));
        if !picked.is_empty() {
            return picked;
        }
        let with_findings =
            pick(&|image| image.analysis.is_some_and(|analysis| analysis.own_findings().next().is_some()));
        if !with_findings.is_empty() {
            return with_findings;
        }
        let first = self.images.iter().find(|image| image.analysis.is_some()).or(self.images.first());
        first.into_iter().collect()
    }

    /// Findings with the image they are on and their review, most probable first within an image.
    pub(super) fn findings(&self, options: &ReportOptions) -> Vec<(&ReportImage<'_>, &Finding, Review)> {
        let mut all = Vec::new();
        for image in &self.images {
            for finding in image.analysis.iter().flat_map(|analysis| analysis.own_findings()) {
                let review = self.session.review(image.instance, image.frame_index, finding.id);
                if options.rejected || review.decision != Decision::Rejected {
                    all.push((image, finding, review));
                }
            }
        }
        all
    }
}

/// A class or organ for people: `lung_opacity` becomes `Lung opacity`.
pub fn readable_name(name: &str) -> String {
    let spaced = name.replace('_', " ");
    let mut characters = spaced.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// Organ and zone of a finding: `Right lung, lower zone`.
pub fn location(finding: &Finding) -> String {
    use crate::analysis::Zone;
    let Some(organ) = &finding.organ else { return "Outside the organs".to_owned() };
    let zone = match finding.zone {
        Some(Zone::Upper) => ", upper zone",
        Some(Zone::Middle) => ", middle zone",
        Some(Zone::Lower) => ", lower zone",
        None => "",
    };
    format!("{}{zone}", readable_name(organ))
}

/// Size of a finding: `42 × 28 mm`, with what it was measured on; pixels where the spacing is unknown. Of a volume, with what it is there.
pub fn size(finding: &Finding) -> String {
    let whole = finding.extent.as_ref().map_or_else(String::new, |extent| format!("; {}", in_volume(extent)));
    match finding.size_mm {
        Some(size) => {
            let on = if size.kind == SpacingKind::Detector { " (on the detector)" } else { "" };
            format!("{:.0} × {:.0} mm{on}{whole}", size.longest_mm, size.perpendicular_mm)
        }
        None if finding.extent.is_some() => whole.trim_start_matches("; ").to_owned(),
        None => format!("{} px², spacing unknown", finding.area_px),
    }
}

/// What a finding is in its volume: `0.8 mL, 21 mm long, images 3 to 9`.
pub fn in_volume(extent: &VolumeExtent) -> String {
    let [first, last] = extent.images;
    let images =
        if first == last { format!("image {}", first + 1) } else { format!("images {} to {}", first + 1, last + 1) };
    let millilitres = extent.volume_mm3 / 1000.0;
    let volume = if millilitres < 10.0 { format!("{millilitres:.2} mL") } else { format!("{millilitres:.0} mL") };
    format!("{volume}, {:.0} mm long, {images}", extent.longest_mm)
}

/// A UID that stands for another without naming it: the same for the same UID, so that reports stay comparable. It is
/// made from a hash: whoever knows the original can check it, as with any unkeyed pseudonym.
pub fn hashed_uid(uid: &str) -> String {
    let hash = Sha256::new().chain_update(b"bifocal report uid\0").chain_update(uid.as_bytes()).finalize();
    let number = hash.iter().take(16).fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    format!("2.25.{number}")
}

/// Patient's age for a report without identifiers: ages over 89 are one group.
pub(super) fn coarse_age(patient: &Patient) -> String {
    let years = patient.age.strip_suffix('Y').and_then(|digits| digits.parse::<u32>().ok());
    match years {
        Some(years) if years > 89 => "over 89 years".to_owned(),
        _ => readable_age(&patient.age),
    }
}

/// A DICOM age for people: `045Y` becomes `45 years`.
pub(super) fn readable_age(age: &str) -> String {
    let unit = match age.chars().last() {
        Some('Y') => "years",
        Some('M') => "months",
        Some('W') => "weeks",
        Some('D') => "days",
        _ => return age.to_owned(),
    };
    match age.get(..age.len() - 1).and_then(|digits| digits.parse::<u32>().ok()) {
        Some(number) => format!("{number} {unit}"),
        None => age.to_owned(),
    }
}

/// Rows of the patient and study block; empty values are left out.
pub(super) fn patient_facts(input: &ReportInput<'_>, identifiers: bool) -> Vec<(&'static str, String)> {
    let (study, series) = (input.study, input.series);
    let patient = &study.patient;
    let series_name = [
        series.modality.clone(),
        readable_name(&series.body_part.to_lowercase()),
        series.view_position.clone(),
        series.laterality.clone(),
    ];
    let series_name = series_name.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let facts = if identifiers {
        vec![
            ("Patient", patient.name.clone()),
            ("Study date", [date(&study.date), clock(&study.time)].join(" ").trim().to_owned()),
            ("Patient ID", patient.id.clone()),
            ("Accession no.", study.accession_number.clone()),
            ("Born", date(&patient.birth_date)),
            ("Study", study.description.clone()),
            ("Sex, age", join(&patient.sex, &readable_age(&patient.age))),
            ("Series", [series_name, series.description.clone()].join(" ").trim().to_owned()),
            ("Institution", series.institution.clone()),
            ("Images", series.frame_count().to_string()),
        ]
    } else {
        vec![
            ("Patient", "Identifiers left out".to_owned()),
            ("Series", series_name),
            ("Sex, age", join(&patient.sex, &coarse_age(patient))),
            ("Images", series.frame_count().to_string()),
            ("Series key", hashed_uid(&series.uid.0)),
        ]
    };
    facts.into_iter().filter(|(_, value)| !value.trim().is_empty()).collect()
}

fn join(a: &str, b: &str) -> String {
    [a, b].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// A DICOM time as `17:05`.
fn clock(time: &str) -> String {
    match (time.get(0..2), time.get(2..4)) {
        (Some(hour), Some(minute)) => format!("{hour}:{minute}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_numbers_for_people() {
        let line = |key| performance_line(key, 0.921, (0.888, 0.95), 10);
        assert_eq!(line("dice.left_lung"), "Dice, left lung: 0.92 (95 % interval 0.89 to 0.95, 10 images)");
        assert_eq!(
            line("sensitivity_at_90_specificity.lung_opacity.nih"),
            "Sensitivity at 90 % specificity, lung opacity, nih images only: 0.92 (95 % interval 0.89 to 0.95, 10 images)"
        );
        assert!(line("new_metric").starts_with("New metric: "));
        assert!(performance_rank("dice.x") < performance_rank("auroc.x"));
        assert!(performance_rank("auroc.x") < performance_rank("unknown.x"));
    }

    #[test]
    fn names_and_ages_for_people() {
        assert_eq!(readable_name("lung_opacity"), "Lung opacity");
        assert_eq!(readable_name(""), "");
        assert_eq!(readable_age("045Y"), "45 years");
        assert_eq!(readable_age("003M"), "3 months");
        assert_eq!(readable_age("Ж"), "Ж");
        assert_eq!(readable_age(""), "");
        let old = Patient { age: "093Y".to_owned(), ..Patient::default() };
        assert_eq!(coarse_age(&old), "over 89 years");
    }

    #[test]
    fn hashed_uids_are_valid_and_repeat() {
        let one = hashed_uid("1.2.840.113619.2.1");
        assert_eq!(one, hashed_uid("1.2.840.113619.2.1"));
        assert_ne!(one, hashed_uid("1.2.840.113619.2.2"));
        assert!(one.starts_with("2.25.") && one.len() <= 64 && !one.contains("113619"));
        assert!(one["2.25.".len()..].bytes().all(|b| b.is_ascii_digit()));
    }
}
