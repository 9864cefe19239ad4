//! Losses of a batch, image by image, and their gradients by hand: the graph begins at the logits.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::config::TrainConfig;
use super::data::Targets;
use super::loss::{MapWeights, class_loss, map_loss, union_loss};
use crate::model::Output;

/// Weight of Dice beside cross entropy.
const ORGAN_DICE: f32 = 1.0;
const LESION_DICE: f32 = 0.5;
/// Weights of the three kinds of loss.
const LESION_WEIGHT: f32 = 1.5;
const CLASS_WEIGHT: f32 = 0.5;

/// Losses of a batch and the gradients of its logits.
pub(super) struct BatchLoss {
    pub(super) organ: f32,
    pub(super) lesion: f32,
    pub(super) class: f32,
    pub(super) gradients: [Tensor; 3],
}

pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()
}

/// Losses and gradients of a batch, averaged over its images.
pub(super) fn batch_loss(output: &Output, targets: &[Targets], config: &TrainConfig) -> Result<BatchLoss> {
    let (_, _, rows, cols) = output.lesion_logits.dims4()?;
    let (_, _, organ_rows, organ_cols) = output.organ_logits.dims4()?;
    let planes = (rows * cols, organ_rows * organ_cols);
    let (lesion_logits, organ_logits) = (values(&output.lesion_logits)?, values(&output.organ_logits)?);
    let class_logits = values(&output.class_logits)?;
    let mut lesion_gradient = vec![0.0; lesion_logits.len()];
    let mut organ_gradient = vec![0.0; organ_logits.len()];
    let mut class_gradient = vec![0.0; class_logits.len()];
    let scale = 1.0 / targets.len().max(1) as f32;
    let of_image = |values: usize| values / targets.len().max(1);
    let [by_lesion, by_organ, by_class] =
        [of_image(lesion_logits.len()), of_image(organ_logits.len()), of_image(class_logits.len())];
    let lesion_parts = parts(&mut lesion_gradient, by_lesion, targets.len());
    let organ_parts = parts(&mut organ_gradient, by_organ, targets.len());
    let class_parts = parts(&mut class_gradient, by_class, targets.len());
    let each = targets.par_iter().enumerate().zip(lesion_parts).zip(organ_parts).zip(class_parts);
    let losses: Vec<[f32; 3]> = each
        .map(|((((image, targets), lesions), organs), classes)| {
            let logits = [
                &lesion_logits[image * by_lesion..][..by_lesion],
                &organ_logits[image * by_organ..][..by_organ],
                &class_logits[image * by_class..][..by_class],
            ];
            image_loss(logits, targets, config, scale, planes, [lesions, organs, classes])
        })
        .collect();
    let [organ, lesion, class] = losses.iter().fold([0.0; 3], |sum, part| [0, 1, 2].map(|kind| sum[kind] + part[kind]));
    let tensor = |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.dims(), like.device());
    let gradients = [
        tensor(lesion_gradient, &output.lesion_logits)?,
        tensor(organ_gradient, &output.organ_logits)?,
        tensor(class_gradient, &output.class_logits)?,
    ];
    Ok(BatchLoss { organ, lesion, class, gradients })
}

/// `values` cut into `count` parts of `len`, which may be empty.
fn parts(mut values: &mut [f32], len: usize, count: usize) -> Vec<&mut [f32]> {
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let (part, rest) = values.split_at_mut(len);
        parts.push(part);
        values = rest;
    }
    parts
}

/// Organ, lesion and class losses of one image, weighed by `scale`; its gradients are added to those given. Logits and gradients: lesion maps,
/// organ maps, classes; `planes` are the sizes of one map of either kind.
fn image_loss(
    [lesion_logits, organ_logits, class_logits]: [&[f32]; 3],
    targets: &Targets,
    config: &TrainConfig,
    scale: f32,
    (lesion_plane, organ_plane): (usize, usize),
    [lesion_gradient, organ_gradient, class_gradient]: [&mut [f32]; 3],
) -> [f32; 3] {
    let (mut organ, mut lesion, mut class) = (0.0, 0.0, 0.0);
    for (index, map) in targets.lesions.iter().enumerate() {
        let Some(map) = map else { continue };
        let at = index * lesion_plane..(index + 1) * lesion_plane;
        let weight = map.weight * scale * LESION_WEIGHT;
        let weights = MapWeights { weight, dice: LESION_DICE, focal: config.losses.focal };
        let gradient = &mut lesion_gradient[at.clone()];
        lesion += map_loss(&lesion_logits[at], &map.target, map.known.as_deref(), weights, gradient);
    }
    for (index, map) in targets.organs.iter().enumerate() {
        let Some(map) = map else { continue };
        let at = index * organ_plane..(index + 1) * organ_plane;
        let weights = MapWeights { weight: map.weight * scale, dice: ORGAN_DICE, focal: 0.0 };
        let gradient = &mut organ_gradient[at.clone()];
        organ += map_loss(&organ_logits[at], &map.target, map.known.as_deref(), weights, gradient);
    }
    for (union, map) in config.data.unions.iter().zip(&targets.unions) {
        let Some(map) = map else { continue };
        let position = |name: &String| config.model.organs.iter().position(|organ| organ == name);
        let (Some(a), Some(b)) = (union.classes.first().and_then(position), union.classes.get(1).and_then(position))
        else {
            continue;
        };
        let (mut da, mut db) = (vec![0.0; organ_plane], vec![0.0; organ_plane]);
        let logits = |index: usize| &organ_logits[index * organ_plane..][..organ_plane];
        organ += union_loss(logits(a), logits(b), &map.target, map.weight * scale, &mut da, &mut db);
        for (index, gradient) in [(a, da), (b, db)] {
            let sums = organ_gradient[index * organ_plane..][..organ_plane].iter_mut();
            sums.zip(gradient).for_each(|(sum, value)| *sum += value);
        }
    }
    for (index, target) in targets.classes.iter().enumerate() {
        let Some((target, weight)) = target else { continue };
        let (loss, gradient) = class_loss(class_logits[index], *target, weight * scale * CLASS_WEIGHT);
        class += loss;
        class_gradient[index] = gradient;
    }
    [organ, lesion, class]
}

/// A scalar whose gradient with respect to the logits (lesion maps, organ maps, classes) is the one that was computed by hand.
pub(super) fn scalar_of(output: &Output, gradients: &[Tensor; 3]) -> Result<Tensor> {
    let logits = [&output.lesion_logits, &output.organ_logits, &output.class_logits];
    let mut parts = logits.into_iter().zip(gradients).filter(|(logits, _)| logits.elem_count() > 0);
    let part = |(logits, gradient): (&Tensor, &Tensor)| (logits * gradient)?.sum_all();
    let Some(first) = parts.next() else { candle_core::bail!("the network has no heads") };
    parts.try_fold(part(first)?, |sum, next| sum + part(next)?)
}
