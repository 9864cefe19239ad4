//! From averaged weights to a bundle: calibration, thresholds, familiarity, metrics.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::config::TrainConfig;
use super::run::{TrainError, network_of};
use crate::analysis::{Cut, familiarity_features, infer, largest_region, network_image};
use crate::dataset::CocoDataset;
use crate::evaluate::{Classes, EvaluateOptions, evaluate, fit_platt, frame_of};
use crate::model::{
    Bundle, ClassCalibration, Familiarity, LesionClass, Metadata, MetricValue, OrganClass, WeightPrecision,
    device_name, write_bundle,
};
use crate::task::Task;

/// Training images whose features make the bundle's idea of a familiar image.
const FAMILIAR_IMAGES: usize = 400;

/// What the network says of one validation image.
struct Answer {
    label: Vec<Option<bool>>,
    logits: Vec<f32>,
    /// Largest map threshold at which the image still has a finding, by class.
    finding_threshold: Vec<f32>,
    /// Highest score of a detector's box, by class; 0 without any.
    box_score: Option<Vec<f32>>,
    features: Vec<f32>,
}

/// Makes the bundle of `weights` in `folder`, all numbers measured on the validation patients with the weights as they are stored, on `device`.
pub fn finish(
    config: &TrainConfig,
    weights: &HashMap<String, Tensor>,
    folder: &Path,
    device: &Device,
    created: &str,
    task: &Task,
) -> Result<Metadata, TrainError> {
    config.validate().map_err(TrainError::Config)?;
    let dataset = CocoDataset::load(&config.data.coco)?;
    let split = config.data.split(&dataset);
    let mut bundle = Bundle {
        metadata: plain_metadata(config, created)?,
        network: network_of(&config.model, as_stored(weights)?, device)?,
        device: device.clone(),
        device_name: device_name(device),
    };

    let answers = ask(&bundle, &dataset, &split.validation, config, "Calibrating", task)?;
    for (class, lesion) in bundle.metadata.lesions.iter_mut().enumerate() {
        calibrate(lesion, class, &answers, config.bundle.false_positive_rate);
    }
    let step = split.train.len().div_ceil(FAMILIAR_IMAGES).max(1);
    let known: Vec<usize> = split.train.iter().copied().step_by(step).collect();
    let seen = ask(&bundle, &dataset, &known, config, "Learning what is familiar", task)?;
    bundle.metadata.familiarity = familiarity(&seen, &answers);

    let classes = Classes {
        lesions: config.data.lesions.clone(),
        organs: config.data.organs.clone(),
        unions: Classes::by_name(&dataset, &config.model.lesions, &config.model.organs).unions,
    };
    let evaluation = evaluate(&dataset, &split.validation, &classes, &bundle, &EvaluateOptions::default(), task)
        .map_err(|error| TrainError::Other(error.to_string()))?;
    bundle.metadata.metrics = evaluation
        .metrics
        .iter()
        .map(|(key, m)| (key.clone(), MetricValue { value: m.value, low: m.low, high: m.high, n: m.n }))
        .collect::<BTreeMap<_, _>>();
    write_bundle(folder, &mut bundle.metadata, weights, WeightPrecision::Half)
        .map_err(|error| TrainError::Other(error.to_string()))?;
    Ok(bundle.metadata)
}

/// Images of a class that shows it, and that does not, from which its calibration is fitted anew.
const LEAST_TO_CALIBRATE: usize = 10;
/// Training images by which the idea of a familiar image is moved.
const MOVED_BY: usize = 60;

/// The network of `weights`, fine-tuned from `parent`, as a bundle with the parent's metadata. Its idea of a familiar image moves with the features
/// of the training images; calibration and thresholds are fitted anew for classes with ten validation images of each kind, else they
/// stay the parent's, since fewer would make them worse. Returns the classes that were fitted, too.
pub fn tuned(
    config: &TrainConfig,
    weights: &HashMap<String, Tensor>,
    parent: &Bundle,
    task: &Task,
) -> Result<(Bundle, Vec<String>), TrainError> {
    let dataset = CocoDataset::load(&config.data.coco)?;
    let split = config.data.split(&dataset);
    let mut bundle = Bundle {
        metadata: parent.metadata.clone(),
        network: network_of(&config.model, as_stored(weights)?, &parent.device)?,
        device: parent.device.clone(),
        device_name: parent.device_name.clone(),
    };
    let answers = ask(&bundle, &dataset, &split.validation, config, "Calibrating", task)?;
    let mut fitted = Vec::new();
    for (class, lesion) in bundle.metadata.lesions.iter_mut().enumerate() {
        let count = |label| answers.iter().filter(|a| a.label.get(class) == Some(&Some(label))).count();
        if count(true) >= LEAST_TO_CALIBRATE && count(false) >= LEAST_TO_CALIBRATE {
            calibrate(lesion, class, &answers, config.bundle.false_positive_rate);
            fitted.push(lesion.name.clone());
        }
    }
    let step = split.train.len().div_ceil(MOVED_BY).max(1);
    let known: Vec<usize> = split.train.iter().copied().step_by(step).collect();
    let before = ask(parent, &dataset, &known, config, "Learning what is familiar", task)?;
    let after = ask(&bundle, &dataset, &known, config, "Learning what is familiar", task)?;
    move_familiarity(&mut bundle.metadata.familiarity, &before, &after);
    Ok((bundle, fitted))
}

/// Moves the mean as the features of the same images have moved, and takes in those images, which are familiar now.
fn move_familiarity(familiarity: &mut Familiarity, before: &[Answer], after: &[Answer]) {
    if after.first().is_none_or(|answer| answer.features.len() != familiarity.mean.len()) {
        return;
    }
    let mean = |answers: &[Answer], i: usize| answers.iter().map(|a| a.features[i]).sum::<f32>() / answers.len() as f32;
    for (i, value) in familiarity.mean.iter_mut().enumerate() {
        *value += mean(after, i) - mean(before, i);
    }
    let furthest = after.iter().map(|answer| familiarity.distance(&answer.features)).fold(0.0f32, f32::max);
    familiarity.limit = familiarity.limit.max(furthest);
}

/// Weights as a bundle stores them.
fn as_stored(weights: &HashMap<String, Tensor>) -> candle_core::Result<HashMap<String, Tensor>> {
    weights
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), tensor.to_dtype(DType::F16)?.to_dtype(DType::F32)?)))
        .collect()
}

fn plain_metadata(config: &TrainConfig, created: &str) -> Result<Metadata, TrainError> {
    let text = &config.bundle;
    let (lesions, organs) = text.display.split_at(config.model.lesions.len());
    let lesions = config.model.lesions.iter().zip(lesions).map(|(name, display)| LesionClass {
        name: name.clone(),
        display: display.clone(),
        threshold: 0.5,
        map_threshold: 0.5,
        box_threshold: None,
        calibration: None,
        concept: text.concepts.get(name).cloned(),
    });
    let organs = config.model.organs.iter().zip(organs);
    Ok(Metadata {
        id: text.id.clone(),
        name: text.name.clone(),
        version: text.version.clone(),
        created: created.to_owned(),
        intended_use: text.intended_use.clone(),
        lesions: lesions.collect(),
        organs: organs
            .map(|(name, display)| OrganClass {
                name: name.clone(),
                display: display.clone(),
                concept: text.concepts.get(name).cloned(),
            })
            .collect(),
        average_mirror_image: config.augmentation.mirror > 0.0,
        config: config.model.clone(),
        familiarity: Familiarity::default(),
        data: text.data.clone(),
        licence: text.licence.clone(),
        recipe: toml::to_string(config).map_err(|error| TrainError::Config(error.to_string()))?,
        seed: config.seed,
        validation: (config.data.validation_fraction, config.data.split_seed),
        metrics: BTreeMap::new(),
        weights_sha256: String::new(),
        fine_tuning: None,
    })
}

fn ask(
    bundle: &Bundle,
    dataset: &CocoDataset,
    indices: &[usize],
    config: &TrainConfig,
    stage: &str,
    task: &Task,
) -> Result<Vec<Answer>, TrainError> {
    let mut answers = Vec::with_capacity(indices.len());
    for (done, record) in indices.iter().filter_map(|index| dataset.images.get(*index)).enumerate() {
        task.check()?;
        task.progress(stage, done as u64, indices.len() as u64);
        let frame = frame_of(record).map_err(TrainError::Other)?;
        let inference = infer(bundle, &network_image(&config.model, &frame), false)?;
        let smallest = Cut::new(&config.model, 0.0).smallest_share;
        let highest = |map: &ndarray::Array2<f32>| {
            (1..20).rev().map(|step| step as f32 * 0.05).find(|t| largest_region(map.view(), *t) >= smallest)
        };
        answers.push(Answer {
            label: config.data.lesions.iter().map(|map| map.label(record)).collect(),
            finding_threshold: inference.lesion_maps.iter().map(|map| highest(map).unwrap_or(0.0)).collect(),
            box_score: inference.boxes.as_ref().map(|boxes| {
                let highest = |class| boxes.iter().filter(|b| b.class == class).map(|b| b.score).fold(0.0, f32::max);
                (0..bundle.metadata.lesions.len()).map(highest).collect()
            }),
            features: familiarity_features(&inference.output)?,
            logits: inference.class_logits,
        });
    }
    Ok(answers)
}

/// Platt scaling, and thresholds for a rate of false positives among the negatives: of the image's probability, of the map from
/// which a region is a finding, and of a detector's boxes.
fn calibrate(lesion: &mut LesionClass, class: usize, answers: &[Answer], false_positive_rate: f64) {
    let labelled: Vec<(&Answer, bool)> = answers.iter().filter_map(|a| Some((a, (*a.label.get(class)?)?))).collect();
    let logits: Vec<f64> = labelled.iter().map(|(a, _)| f64::from(a.logits[class])).collect();
    let labels: Vec<bool> = labelled.iter().map(|(_, label)| *label).collect();
    lesion.calibration = fit_platt(&logits, &labels)
        .map(|fit| ClassCalibration { slope: fit.slope as f32, intercept: fit.intercept as f32 });
    let negatives: Vec<&Answer> = labelled.iter().filter(|(_, label)| !label).map(|(a, _)| *a).collect();
    let exceeded_by = |mut values: Vec<f32>| {
        values.sort_by(f32::total_cmp);
        let index = ((1.0 - false_positive_rate) * values.len() as f64).floor() as usize;
        values.get(index.min(values.len().saturating_sub(1))).copied()
    };
    let probability = |a: &&Answer| crate::analysis::prediction(lesion, a.logits[class]).probability;
    if let Some(threshold) = exceeded_by(negatives.iter().map(probability).collect()) {
        lesion.threshold = threshold;
    }
    if let Some(threshold) = exceeded_by(negatives.iter().map(|a| a.finding_threshold[class]).collect()) {
        // The threshold is the outline too: below a half the map itself says no.
        lesion.map_threshold = (threshold + 0.05).clamp(0.5, 0.8);
    }
    let scores = negatives.iter().filter_map(|a| Some(a.box_score.as_ref()?[class])).collect();
    lesion.box_threshold = exceeded_by(scores);
}

fn familiarity(seen: &[Answer], others: &[Answer]) -> Familiarity {
    let count = seen.len().max(1) as f32;
    let features = seen.first().map_or(0, |answer| answer.features.len());
    let mean: Vec<f32> = (0..features).map(|i| seen.iter().map(|a| a.features[i]).sum::<f32>() / count).collect();
    let variance = |i: usize| seen.iter().map(|a| (a.features[i] - mean[i]).powi(2)).sum::<f32>() / count;
    let deviation = (0..features).map(|i| variance(i).sqrt()).collect();
    let mut familiarity = Familiarity { mean, deviation, limit: 0.0 };
    let mut distances: Vec<f32> = others.iter().map(|a| familiarity.distance(&a.features)).collect();
    distances.sort_by(f32::total_cmp);
    let index = (0.99 * distances.len() as f32) as usize;
    familiarity.limit = distances.get(index.min(distances.len().saturating_sub(1))).copied().unwrap_or(0.0);
    familiarity
}
