//! One frame through a bundle.

use std::sync::Arc;
use std::time::Instant;

use ndarray::{Array2, Array3, s};

use super::findings::{Cut, Organs, Reduced, boxed_finding, findings, reduce, traced};
use super::infer::{Inference, familiarity_features, infer, to_image};
use super::types::{
    Analysis, AttentionMap, AttentionMethod, Calibration, Finding, FindingId, Flag, HeatMap, ModelIdentity,
    OrganAttention, OrganMap, Prediction, Target, TokenAttention,
};
use crate::explain::{attention_rollout, coverage, gradient_relevance, organ_attention};
use crate::model::{Bundle, LesionClass, ModelConfig, NetworkImage};
use crate::study::{Frame, PixelSpacing, Pixels, Series};
use crate::task::{Cancelled, Task};

/// Why a frame could not be analysed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AnalysisError {
    #[error("the image has no pixels")]
    Empty,
    #[error("there is no {0}")]
    Unknown(String),
    #[error("network: {0}")]
    Network(#[from] candle_core::Error),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

const STAGES: u64 = 5;

/// What the network of `config` is shown of a frame. For a network of slabs, the three channels of a colour picture are the slices, already
/// through its window, as data sets hold them; a single slice stands for its neighbours, too. Slabs of a volume are cut by
/// [`super::slab_image`].
pub fn network_image(config: &ModelConfig, frame: &Frame) -> NetworkImage {
    let Some(slab) = &config.slab else { return NetworkImage::gray(network_values(frame).view()) };
    match &frame.pixels {
        Pixels::Rgb(colour) => {
            let (rows, columns, _) = colour.dim();
            let channel = |(k, r, c): (usize, usize, usize)| f32::from(colour[[r, c, k]]) / 255.0;
            NetworkImage::slab(Array3::from_shape_fn((3, rows, columns), channel), [0.0, 1.0])
        }
        Pixels::Gray(_) => {
            let values = frame.values();
            let (rows, columns) = values.dim();
            NetworkImage::slab(Array3::from_shape_fn((3, rows, columns), |(_, r, c)| values[[r, c]]), slab.window)
        }
    }
}

/// Gray values of a frame as the network wants them: brighter is denser, padding is black (NaN). Projection radiographs go through
/// the file's own window, since what lies outside it was not meant to be seen.
pub fn network_values(frame: &Frame) -> Array2<f32> {
    let mut values = frame.values();
    if let (Some((low, high)), Pixels::Gray(gray)) = (frame.display.padding, &frame.pixels) {
        let mut stored = Vec::with_capacity(values.len());
        crate::with_gray!(gray, array => stored.extend(array.iter().map(|v| f64::from(*v))));
        for (value, stored) in values.iter_mut().zip(stored) {
            if (low..=high).contains(&stored) {
                *value = f32::NAN;
            }
        }
    }
    if let Some(window) = frame.display.windows.first().filter(|window| window.width > 1.0) {
        values.mapv_inplace(|v| if v.is_finite() { window.apply(f64::from(v)) } else { v });
    }
    if frame.display.inverted {
        values.mapv_inplace(|v| -v);
    }
    values
}

/// Analyses one frame of `series`, of which the network is shown `image`, in the size of the frame. Takes about a second on two cores for a radiograph.
pub fn analyze(
    bundle: &Bundle,
    image: &NetworkImage,
    frame: &Frame,
    series: &Series,
    target: Target,
    task: &Task,
) -> Result<Analysis, AnalysisError> {
    let start = Instant::now();
    if image.is_empty() {
        return Err(AnalysisError::Empty);
    }
    task.progress("Network", 0, STAGES);
    let inference = infer(bundle, image, true)?;
    task.check()?;
    let metadata = &bundle.metadata;
    let organ_names: Vec<String> = metadata.organs.iter().map(|organ| organ.name.clone()).collect();
    let organs_reduced: Vec<Reduced> = inference.organ_maps.iter().map(|map| reduce(map.view())).collect();

    task.progress("Findings", 1, STAGES);
    let found = all_findings(bundle, &inference, &organs_reduced, frame.display.spacing);
    let predictions: Vec<Prediction> =
        metadata.lesions.iter().zip(&inference.class_logits).map(|(class, logit)| prediction(class, *logit)).collect();
    task.check()?;

    task.progress("Attention", 2, STAGES);
    let attention = Attention::new(bundle, &inference, &organs_reduced, image.dim())?;
    let mut attention_maps =
        vec![attention.map(AttentionMethod::AttentionRollout, None, &attention.rollout, &organ_names)];
    for (index, class) in metadata.lesions.iter().enumerate() {
        task.check()?;
        task.progress("Relevance", 3, STAGES);
        let relevance = gradient_relevance(&bundle.network, &inference.tensor, index)?;
        let label = Some(class.name.clone());
        attention_maps.push(attention.map(AttentionMethod::GradientRelevance, label, &relevance, &organ_names));
    }

    task.progress("Contours", 4, STAGES);
    let mut flags = input_flags(bundle, series);
    flags.extend(frame.display.warnings.iter().map(|warning| flag("doubtful_image", warning.clone())));
    flags.extend(answer_flags(bundle, &inference, &organs_reduced, &found, &attention_maps)?);
    let heat_maps = metadata
        .lesions
        .iter()
        .zip(&inference.lesion_maps)
        .map(|(class, values)| HeatMap {
            label: class.name.clone(),
            values: Arc::new(values.clone()),
            threshold: class.map_threshold,
            method: lesion_method(bundle),
            layer: lesion_layer(bundle),
        })
        .collect();
    let organ_maps = organ_names
        .iter()
        .zip(&inference.organ_maps)
        .zip(&organs_reduced)
        .map(|((organ, values), reduced)| OrganMap {
            organ: organ.clone(),
            values: Arc::new(values.clone()),
            contours: traced(reduced, 0.5).into_iter().filter(|contour| contour.len() >= 8).collect(),
        })
        .collect();
    task.progress("Done", STAGES, STAGES);
    Ok(Analysis {
        model: ModelIdentity {
            id: metadata.id.clone(),
            version: metadata.version.clone(),
            weights_sha256: metadata.weights_sha256.clone(),
            device: bundle.device_name.clone(),
        },
        target,
        place: None,
        predictions,
        findings: found,
        heat_maps,
        organ_maps,
        attention_maps,
        token_attention: attention.tokens(),
        flags,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// How lesion maps are made, for people.
pub(super) fn lesion_method(bundle: &Bundle) -> String {
    match bundle.metadata.average_mirror_image {
        true => "lesion head, sigmoid, mean over the image and its mirror image".into(),
        false => "lesion head, sigmoid".into(),
    }
}

/// What lesion maps are read from, for people.
pub(super) fn lesion_layer(bundle: &Bundle) -> String {
    let config = &bundle.metadata.config;
    if !config.has_resnet() {
        return "tokens of the transformer".to_owned();
    }
    let (last, first) = (config.resnet.channels.len(), if config.fine_lesions { "stages 1 and 2" } else { "stage 2" });
    format!("ResNet {first}, with stage {last} and tokens as context")
}

/// Findings of all lesion classes, most probable first, numbered: boxes where the bundle has a detector, else regions of the maps.
fn all_findings(
    bundle: &Bundle,
    inference: &Inference,
    organs: &[Reduced],
    spacing: Option<PixelSpacing>,
) -> Vec<Finding> {
    let names: Vec<String> = bundle.metadata.organs.iter().map(|organ| organ.name.clone()).collect();
    let organs = Organs { names: &names, maps: organs };
    let mut found: Vec<Finding> = Vec::new();
    for (index, (class, map)) in bundle.metadata.lesions.iter().zip(&inference.lesion_maps).enumerate() {
        let heat = reduce(map.view());
        match (&inference.boxes, class.box_threshold) {
            (Some(boxes), Some(threshold)) => {
                let own = boxes.iter().filter(|found| found.class == index && found.score >= threshold);
                found.extend(own.map(|found| boxed_finding(&class.name, found, heat.step, &organs, spacing)));
            }
            _ => found.extend(findings(
                &class.name,
                &heat,
                Cut::new(&bundle.metadata.config, class.map_threshold),
                &organs,
                spacing,
            )),
        }
    }
    found.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    for (index, finding) in found.iter_mut().enumerate() {
        finding.id = FindingId(u32::try_from(index + 1).unwrap_or(u32::MAX));
    }
    found
}

/// The calibrated probability of an image-level logit; raw where the bundle has no calibration.
pub fn prediction(class: &LesionClass, logit: f32) -> Prediction {
    let (probability, calibration) = match class.calibration {
        Some(calibration) => (calibration.probability(logit), Calibration::Calibrated),
        None => (crate::nn::sigmoid(logit), Calibration::Uncalibrated),
    };
    Prediction { label: class.name.clone(), probability, calibration, threshold: class.threshold }
}

/// Everything attention maps share.
struct Attention<'a> {
    inference: &'a Inference,
    grid: (usize, usize),
    size: usize,
    shape: (usize, usize),
    depth: usize,
    rollout: Array2<f32>,
    coverages: Vec<Array2<f32>>,
}

impl<'a> Attention<'a> {
    fn new(
        bundle: &Bundle,
        inference: &'a Inference,
        organs: &[Reduced],
        shape: (usize, usize),
    ) -> candle_core::Result<Self> {
        let features = &inference.output.features;
        let size = bundle.metadata.config.input_size;
        let image_from_input = &inference.input.image_from_input;
        // Organs on the network's square: nothing outside the image is organ.
        let square = |organ: &Reduced| {
            Array2::from_shape_fn((size, size), |(row, col)| {
                let (row, col) = image_from_input.apply((row as f32, col as f32));
                let inside = row >= 0.0 && col >= 0.0 && row < shape.0 as f32 && col < shape.1 as f32;
                let at = [row.max(0.0) as usize / organ.step, col.max(0.0) as usize / organ.step];
                organ.values.get(at).filter(|_| inside).map_or(0.0, |v| f32::from(u8::from(*v >= 0.5)))
            })
        };
        Ok(Self {
            inference,
            grid: features.grid,
            size,
            shape,
            depth: bundle.network.hybrid().depth(),
            rollout: attention_rollout(&features.attention)?,
            coverages: organs.iter().map(|organ| coverage(square(organ).view(), features.grid)).collect(),
        })
    }

    /// The map of the CLS row of a (token, token) matrix.
    fn map(
        &self,
        method: AttentionMethod,
        label: Option<String>,
        matrix: &Array2<f32>,
        organs: &[String],
    ) -> AttentionMap {
        let row = matrix.slice(s![0, 1..]);
        let total = row.sum().max(f32::MIN_POSITIVE);
        let tokens = Array2::from_shape_fn(self.grid, |(r, c)| {
            row.get(r * self.grid.1 + c).map_or(0.0, |value| value.max(0.0) / total)
        });
        let mut values = to_image(tokens.view(), &self.inference.input.image_from_input, self.size, self.shape);
        let largest = values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        values.mapv_inplace(|v| v / largest);
        let organs = organs
            .iter()
            .zip(&self.coverages)
            .map(|(organ, coverage)| {
                let (share, enrichment) = organ_attention(tokens.view(), coverage.view());
                OrganAttention { organ: organ.clone(), share, enrichment }
            })
            .collect();
        let layer = format!("transformer layers 1 to {}", self.depth);
        AttentionMap { method, label, tokens: Arc::new(tokens), values: Arc::new(values), layer, organs }
    }

    /// Rollout from every token to every token, without CLS.
    fn tokens(&self) -> TokenAttention {
        let mut matrix = self.rollout.slice(s![1.., 1..]).to_owned();
        for mut row in matrix.rows_mut() {
            let sum = row.sum().max(f32::MIN_POSITIVE);
            row /= sum;
        }
        let count = self.grid.0 * self.grid.1;
        let mut organ_coverage = Array2::zeros((self.coverages.len(), count));
        for (mut row, coverage) in organ_coverage.rows_mut().into_iter().zip(&self.coverages) {
            row.iter_mut().zip(coverage).for_each(|(value, coverage)| *value = *coverage);
        }
        let corner = |at: f32| self.inference.input.image_from_input.apply((at, at));
        let (first, last) = (corner(-0.5), corner(self.size as f32 - 0.5));
        TokenAttention {
            grid: self.grid,
            matrix: Arc::new(matrix),
            organ_coverage: Arc::new(organ_coverage),
            field: [first.0, first.1, last.0 - first.0, last.1 - first.1],
        }
    }
}

pub(super) fn flag(code: &str, message: String) -> Flag {
    Flag { code: code.to_owned(), message }
}

/// What the header says against an answer, before the network is asked.
pub fn input_flags(bundle: &Bundle, series: &Series) -> Vec<Flag> {
    let intended = &bundle.metadata.intended_use;
    let name = &bundle.metadata.name;
    let known = |list: &[String], value: &str| {
        let value = value.trim().to_uppercase();
        list.is_empty() || value.is_empty() || list.contains(&value)
    };
    let mut flags = Vec::new();
    if !known(&intended.modalities, &series.modality) {
        let message = format!("{name} was made for {}, not for {}", intended.modalities.join(", "), series.modality);
        flags.push(flag("modality_not_intended", message));
    }
    if !known(&intended.body_parts, &series.body_part) {
        let message = format!("{name} was made for {}, not for {}", intended.body_parts.join(", "), series.body_part);
        flags.push(flag("body_part_not_intended", message));
    }
    if !known(&intended.views, &series.view_position) {
        let message =
            format!("{name} was made for {} views, not for {}", intended.views.join(", "), series.view_position);
        flags.push(flag("view_not_intended", message));
    }
    if series.frame_count() > 1 && bundle.metadata.config.slab.is_none() {
        let message = format!("{name} reads single images; it was given one of a series of {}", series.frame_count());
        flags.push(flag("one_of_many", message));
    }
    flags
}

/// What the network's own answer says against it.
fn answer_flags(
    bundle: &Bundle,
    inference: &Inference,
    organs: &[Reduced],
    found: &[Finding],
    attention: &[AttentionMap],
) -> candle_core::Result<Vec<Flag>> {
    let mut flags = Vec::new();
    let familiarity = &bundle.metadata.familiarity;
    let distance = familiarity.distance(&familiarity_features(&inference.output)?);
    if familiarity.limit > 0.0 && distance > familiarity.limit {
        let message = format!(
            "unlike the images it was trained on (distance {distance:.1}, 99 % of them stay below {:.1}): do not rely on the answer",
            familiarity.limit
        );
        flags.push(flag("unlike_training", message));
    }
    let names = &bundle.metadata.organs;
    let missing: Vec<&str> = names
        .iter()
        .zip(organs)
        .filter(|(_, map)| map.values.iter().filter(|v| **v >= 0.5).count() * 100 < map.values.len())
        .map(|(organ, _)| organ.display.as_str())
        .collect();
    // A slice of a volume need not meet every organ.
    if !missing.is_empty() && bundle.metadata.config.slab.is_none() {
        let message = format!("{} hardly found: is this a frontal view of the chest?", missing.join(", "));
        flags.push(flag("organs_not_found", message));
    }
    for (class, logit) in bundle.metadata.lesions.iter().zip(&inference.class_logits) {
        let positive = prediction(class, *logit).probability >= class.threshold;
        let any = found.iter().any(|finding| finding.label == class.name);
        if positive && !any {
            let message =
                format!("{}: the image as a whole is called positive, but no region stands out", class.display);
            flags.push(flag("branches_disagree", message));
        } else if any && !positive {
            let message =
                format!("{}: a region stands out, but the image as a whole is called negative", class.display);
            flags.push(flag("branches_disagree", message));
        }
        let relevance = attention.iter().find(|map| map.label.as_deref() == Some(&class.name));
        let first = found.iter().find(|finding| finding.label == class.name);
        if let (Some(map), Some(finding)) = (relevance, first)
            && let Some(value) = mean_inside(&map.values, finding)
            && value < map.values.mean().unwrap_or(0.0)
        {
            let message = format!(
                "{}: the transformer's relevance is lower inside finding {} than over the image on average",
                class.display, finding.id.0
            );
            flags.push(flag("relevance_elsewhere", message));
        }
    }
    Ok(flags)
}

/// Mean of a map over a finding's box.
fn mean_inside(map: &Array2<f32>, finding: &Finding) -> Option<f32> {
    let [top, left, bottom, right] = finding.bounding_box;
    let (rows, columns) = map.dim();
    let area = map.slice(s![top.min(rows)..(bottom + 1).min(rows), left.min(columns)..(right + 1).min(columns)]);
    area.mean()
}
