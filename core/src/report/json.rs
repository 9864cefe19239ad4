//! The report for programs. Keys are always there; what was left out by choice is `null`.

use serde_json::{Value, json};

use super::content::{RESEARCH_USE_ONLY, ReportImage, ReportInput, ReportOptions, hashed_uid};
use super::layout::highest_predictions;
use super::measurements::{painted_json, shapes_json};
use super::time::Civil;
use crate::analysis::Analysis;
use crate::annotation::{Decision, Review};
use crate::render::pixel_size_mm;
use crate::study::Source;

/// Name of the schema; the number grows when a key changes its meaning or goes.
pub const REPORT_SCHEMA: &str = "bifocal.report/1";

/// The report as JSON.
///
/// Without identifiers there is no name, number, date, institution, description or file name: sources are numbers, UIDs are
/// replaced by hashed ones. The reader's own texts (impression, comments) go in as they were written.
pub fn report_json(input: &ReportInput<'_>, options: &ReportOptions) -> Value {
    let writer = Writer { input, options };
    let keep = |wanted: bool, value: Value| if wanted { value } else { Value::Null };
    json!({
        "schema": REPORT_SCHEMA,
        "notice": RESEARCH_USE_ONLY,
        "created": Civil::from_system(input.created).iso(),
        "software": { "name": "Bifocal", "version": env!("CARGO_PKG_VERSION") },
        "identifiers": options.identifiers,
        "patient": keep(options.patient, writer.patient()),
        "study": writer.study(),
        "series": writer.series(),
        "sources": writer.sources(),
        "model": writer.model(),
        "impression": keep(options.impression, json!(input.session.impression)),
        "predictions": keep(options.predictions, json!(highest_predictions(input))),
        "images": input.images.iter().map(|image| writer.image(image)).collect::<Vec<_>>(),
    })
}

struct Writer<'a> {
    input: &'a ReportInput<'a>,
    options: &'a ReportOptions,
}

impl Writer<'_> {
    fn uid(&self, uid: &str) -> String {
        if self.options.identifiers || uid.is_empty() { uid.to_owned() } else { hashed_uid(uid) }
    }

    fn identifier(&self, value: &str) -> Value {
        if self.options.identifiers { json!(value) } else { Value::Null }
    }

    fn patient(&self) -> Value {
        let patient = &self.input.study.patient;
        let age = if self.options.identifiers { patient.age.clone() } else { super::content::coarse_age(patient) };
        json!({
            "name": self.identifier(&patient.name),
            "id": self.identifier(&patient.id),
            "birth_date": self.identifier(&patient.birth_date),
            "sex": patient.sex,
            "age": age,
        })
    }

    fn study(&self) -> Value {
        let study = self.input.study;
        json!({
            "uid": self.uid(&study.uid.0),
            "date": self.identifier(&study.date),
            "time": self.identifier(&study.time),
            "description": self.identifier(&study.description),
            "accession_number": self.identifier(&study.accession_number),
        })
    }

    fn series(&self) -> Value {
        let series = self.input.series;
        json!({
            "uid": self.uid(&series.uid.0),
            "modality": series.modality,
            "number": series.number,
            "description": self.identifier(&series.description),
            "body_part": series.body_part,
            "view_position": series.view_position,
            "laterality": series.laterality,
            "manufacturer": series.manufacturer,
            "institution": self.identifier(&series.institution),
            "images": series.frame_count(),
            "notes": series.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }

    /// All files that the images were read from, each once.
    fn all_sources(&self) -> Vec<&Source> {
        let mut all: Vec<&Source> = Vec::new();
        for image in &self.input.images {
            for source in self.image_sources(image) {
                if !all.contains(&source) {
                    all.push(source);
                }
            }
        }
        all
    }

    fn image_sources(&self, image: &ReportImage<'_>) -> Vec<&Source> {
        if let Some(analysis) =
            self.input.images.iter().find(|other| other.instance == image.instance).and_then(|i| i.analysis)
            && !analysis.target.sources.is_empty()
        {
            return analysis.target.sources.iter().collect();
        }
        let instances = self.input.series.instances.iter();
        instances.filter(|instance| instance.key() == *image.instance).map(|instance| &instance.source).collect()
    }

    /// SOP Instance UID as the file says it.
    fn instance_uid(&self, image: &ReportImage<'_>) -> String {
        let mut instances = self.input.series.instances.iter();
        let found = instances.find(|instance| instance.key() == *image.instance);
        found.map_or_else(|| image.instance.0.clone(), |instance| instance.uid.0.clone())
    }

    fn sources(&self) -> Value {
        let describe = |(index, source): (usize, &Source)| {
            json!({
                "index": index,
                "file": self.identifier(&source.file.display().to_string()),
                "member": source.member.as_deref().map_or(Value::Null, |member| self.identifier(member)),
            })
        };
        self.all_sources().into_iter().enumerate().map(describe).collect()
    }

    fn model(&self) -> Value {
        let Some(identity) = self.input.model_identity() else { return Value::Null };
        let notes = if self.options.limits { json!(self.input.model) } else { Value::Null };
        json!({
            "id": identity.id,
            "version": identity.version,
            "weights_sha256": identity.weights_sha256,
            "device": identity.device,
            "notes": notes,
        })
    }

    fn image(&self, image: &ReportImage<'_>) -> Value {
        let all = self.all_sources();
        let sources: Vec<usize> = self
            .image_sources(image)
            .iter()
            .filter_map(|source| all.iter().position(|other| other == source))
            .collect();
        let (rows, columns) = image.frame.shape();
        let spacing = pixel_size_mm(&image.frame.display);
        let part = |wanted: bool, value: &dyn Fn(&Analysis) -> Value| match image.analysis {
            Some(analysis) if wanted => value(analysis),
            _ => Value::Null,
        };
        json!({
            "instance_uid": self.uid(&self.instance_uid(image)),
            "frame": image.frame_index,
            "position": image.position,
            "rows": rows,
            "columns": columns,
            "pixel_spacing_mm": spacing.map(|(row, column)| [row, column]),
            "sources": sources,
            "key_image": self.input.is_key(image),
            "window": image.voi.describe(),
            "analysis_seconds": image.analysis.map(|analysis| analysis.seconds),
            "predictions": part(self.options.predictions, &|analysis| json!(analysis.predictions)),
            "findings": part(self.options.findings, &|analysis| self.findings(image, analysis)),
            "measurements": if self.options.measurements { shapes_json(self.input, image) } else { Value::Null },
            "painted": if self.options.measurements { painted_json(self.input, image) } else { Value::Null },
            "heat_maps": part(self.options.overlays, &heat_maps),
            "organs": part(self.options.attention, &organs),
            "attention": part(self.options.attention, &attention),
            "explanations": part(self.options.overlays, &|_| explanations(image)),
            "flags": part(self.options.flags, &|analysis| json!(analysis.flags)),
        })
    }

    fn findings(&self, image: &ReportImage<'_>, analysis: &Analysis) -> Value {
        let mut rows = Vec::new();
        for finding in analysis.own_findings() {
            let review: Review = self.input.session.review(image.instance, image.frame_index, finding.id);
            if review.decision == Decision::Rejected && !self.options.rejected {
                continue;
            }
            let mut row = json!(finding);
            if let Some(row) = row.as_object_mut() {
                row.insert("review".to_owned(), json!(review));
            }
            rows.push(row);
        }
        Value::Array(rows)
    }
}

fn heat_maps(analysis: &Analysis) -> Value {
    let describe = |map: &crate::analysis::HeatMap| {
        let peak = map.values.iter().copied().filter(|v| !v.is_nan()).fold(0.0_f32, f32::max);
        json!({
            "label": map.label, "method": map.method, "layer": map.layer, "threshold": map.threshold, "highest": peak,
        })
    };
    analysis.heat_maps.iter().map(describe).collect()
}

fn organs(analysis: &Analysis) -> Value {
    let describe = |map: &crate::analysis::OrganMap| {
        let area = map.values.iter().filter(|v| **v >= 0.5).count();
        let share = area as f64 / map.values.len().max(1) as f64;
        json!({ "organ": map.organ, "area_px": area, "area_share": share })
    };
    analysis.organ_maps.iter().map(describe).collect()
}

fn attention(analysis: &Analysis) -> Value {
    let describe = |map: &crate::analysis::AttentionMap| json!({ "method": map.method, "label": map.label, "layer": map.layer, "organs": map.organs });
    analysis.attention_maps.iter().map(describe).collect()
}

/// Class activation maps and the faithfulness of all maps; `null` where they were not asked for.
fn explanations(image: &ReportImage<'_>) -> Value {
    let Some(explanations) = image.explanations else { return Value::Null };
    let cam = |map: &crate::analysis::CamMap| json!({ "id": map.id, "method": map.heat.method, "layer": map.heat.layer, "highest_logit": map.highest });
    json!({
        "class_activation_maps": explanations.cams.iter().map(cam).collect::<Vec<_>>(),
        "faithfulness": explanations.faithfulness,
    })
}
