//! Losses of the detector: which anchors and regions of an image teach what, and the gradients by hand, as for the other heads.

use candle_core::{Device, Result, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::data::Targets;
use crate::dataset::image_rng;
use crate::model::{Detector, Dropout, Features};
use crate::nn::{BoundingBox, Roi, sigmoid};

/// Anchors that overlap a lesion's box by at least the first show it, those below the second show nothing (Ren et al., 2015).
const ANCHOR_OVERLAP: (f32, f32) = (0.7, 0.3);
/// Regions that overlap a lesion's box by at least this show it, others show nothing (Girshick, 2015).
const REGION_OVERLAP: f32 = 0.5;
/// What overlaps a lesion that is only partly in sight by at least this teaches nothing.
const DOUBTFUL_OVERLAP: f32 = 0.3;
/// Anchors drawn of an image, and the largest share of them that show a lesion.
const ANCHORS: (usize, f32) = (64, 0.5);
/// The same of regions.
const REGIONS: (usize, f32) = (64, 0.25);
/// Where smooth L1 turns from square to linear: torchvision's values.
const ANCHOR_BETA: f32 = 1.0 / 9.0;
const REGION_BETA: f32 = 1.0 / 9.0;

/// A lesion's box in the network's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BoxTarget {
    pub(super) bounds: BoundingBox,
    pub(super) class: usize,
    /// Most of it is in sight; otherwise it is neither a lesion nor none.
    pub(super) visible: bool,
}

/// What is known of the boxes of an image.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct BoxTargets {
    pub(super) boxes: Vec<BoxTarget>,
    /// By class: whether the image is annotated for it, so that what has no box shows none.
    pub(super) annotated: Vec<bool>,
    /// Weight of the image.
    pub(super) weight: f32,
}

impl BoxTargets {
    fn lesions(&self) -> Vec<BoxTarget> {
        self.boxes.iter().copied().filter(|target| target.visible && self.annotated[target.class]).collect()
    }

    fn is_doubtful(&self, bounds: &BoundingBox) -> bool {
        self.boxes.iter().any(|target| !target.visible && target.bounds.iou(bounds) >= DOUBTFUL_OVERLAP)
    }
}

/// Losses of a batch, and a scalar whose gradient is theirs.
pub(super) struct DetectionLoss {
    /// Objectness and boxes of the anchors.
    pub(super) proposal: f32,
    /// Classes and boxes of the regions.
    pub(super) region: f32,
    pub(super) scalar: Tensor,
}

/// The detector's losses on a batch of images that gave `features`, averaged over the batch; `None` where no image is annotated. The same
/// `draw` (seed, step) draws the same anchors and regions.
pub(super) fn detection_loss(
    detector: &Detector,
    features: &Features,
    targets: &[Targets],
    dropout: Option<Dropout>,
    draw: (u64, u64),
) -> Result<Option<DetectionLoss>> {
    let annotated = |targets: &&BoxTargets| targets.weight > 0.0 && targets.annotated.contains(&true);
    let of = |image: usize| targets[image].boxes.as_ref().filter(annotated);
    if (0..targets.len()).all(|image| of(image).is_none()) {
        return Ok(None);
    }
    let scale = 1.0 / targets.len() as f32;
    let pyramid = detector.pyramid(features)?;
    let (logits, deltas) = (flat(&pyramid.objectness)?, flat(&pyramid.deltas)?);
    let count = pyramid.anchors.len();
    let (mut by_logit, mut by_delta) = (vec![0.0; logits.len()], vec![0.0; deltas.len()]);
    let proposals = detector.propose(&pyramid)?;
    let (mut proposal, mut regions) = (0.0, Vec::new());
    for (image, proposals) in proposals.iter().enumerate() {
        let Some(targets) = of(image) else { continue };
        let mut rng = image_rng(draw.0, draw.1, u64::MAX - 1 - image as u64);
        let (at, weight) = (image * count, targets.weight * scale);
        let (logits, deltas) = (&logits[at..at + count], &deltas[4 * at..4 * (at + count)]);
        let gradients = (&mut by_logit[at..at + count], &mut by_delta[4 * at..4 * (at + count)]);
        proposal += anchor_loss((logits, deltas), &pyramid.anchors, targets, weight, gradients, &mut rng);
        regions.extend(sample_regions(image, proposals, targets, weight, &mut rng));
    }
    let like = |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.dims(), like.device());
    let mut scalar = ((&pyramid.objectness * like(by_logit, &pyramid.objectness)?)?.sum_all()?
        + (&pyramid.deltas * like(by_delta, &pyramid.deltas)?)?.sum_all()?)?;
    let mut region = 0.0;
    if !regions.is_empty() {
        let rois: Vec<Roi> = regions.iter().map(|region| region.roi).collect();
        let (logits, deltas) = detector.classify(&pyramid, &rois, dropout)?;
        let annotated = |image: usize| of(image).map_or(&[][..], |targets| targets.annotated.as_slice());
        let (loss, by_logit, by_delta) = region_loss(&regions, &flat(&logits)?, &flat(&deltas)?, annotated);
        region = loss;
        scalar = ((scalar + (&logits * like(by_logit, &logits)?)?.sum_all()?)?
            + (&deltas * like(by_delta, &deltas)?)?.sum_all()?)?;
    }
    Ok(Some(DetectionLoss { proposal, region, scalar }))
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()
}

/// Up to `count` of `positive` and `negative`, at most `share` of them positive; those that are taken, positives first.
fn balanced(
    mut positive: Vec<usize>,
    mut negative: Vec<usize>,
    (count, share): (usize, f32),
    rng: &mut ChaCha8Rng,
) -> (Vec<usize>, Vec<usize>) {
    let mut draw = |from: &mut Vec<usize>, count: usize| {
        let count = count.min(from.len());
        for index in 0..count {
            let other = rng.random_range(index..from.len());
            from.swap(index, other);
        }
        from.truncate(count);
    };
    draw(&mut positive, (count as f32 * share) as usize);
    let rest = count - positive.len();
    draw(&mut negative, rest);
    (positive, negative)
}

/// Loss and gradients of one image's anchors, whose `logits` and `deltas` are given.
fn anchor_loss(
    (logits, deltas): (&[f32], &[f32]),
    anchors: &[BoundingBox],
    targets: &BoxTargets,
    weight: f32,
    (by_logit, by_delta): (&mut [f32], &mut [f32]),
    rng: &mut ChaCha8Rng,
) -> f32 {
    let lesions = targets.lesions();
    let (high, low) = ANCHOR_OVERLAP;
    // By anchor: the lesion that it overlaps most, and how much. By lesion: the most that any anchor overlaps it.
    let mut most = vec![0.0f32; lesions.len()];
    let mut best: Vec<(usize, f32)> = vec![(0, 0.0); anchors.len()];
    for (anchor, best) in anchors.iter().zip(&mut best) {
        for (index, lesion) in lesions.iter().enumerate() {
            let overlap = anchor.iou(&lesion.bounds);
            most[index] = most[index].max(overlap);
            if overlap > best.1 {
                *best = (index, overlap);
            }
        }
    }
    let all_known = !targets.annotated.contains(&false);
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    for (index, (lesion, overlap)) in best.iter().enumerate() {
        // A lesion that no anchor fits well is shown by those that fit it best.
        if *overlap >= high || (*overlap > 0.0 && *overlap >= most[*lesion] - 1e-5) {
            positive.push(index);
        } else if *overlap < low && all_known && !targets.is_doubtful(&anchors[index]) {
            negative.push(index);
        }
    }
    let (positive, negative) = balanced(positive, negative, ANCHORS, rng);
    let weight = weight / (positive.len() + negative.len()).max(1) as f32;
    let mut loss = 0.0;
    for (index, target) in positive.iter().map(|i| (*i, 1.0)).chain(negative.iter().map(|i| (*i, 0.0))) {
        loss += weight * (logits[index].max(0.0) - logits[index] * target + (-logits[index].abs()).exp().ln_1p());
        by_logit[index] = weight * (sigmoid(logits[index]) - target);
    }
    for index in positive {
        let lesion = &lesions[best[index].0].bounds;
        let target = Detector::PROPOSAL_CODER.encode(&anchors[index], lesion);
        let at = 4 * index..4 * index + 4;
        loss += smooth_l1(&deltas[at.clone()], &target, ANCHOR_BETA, weight, &mut by_delta[at]);
    }
    loss
}

/// Smooth L1 (Girshick, 2015) with its gradient.
fn smooth_l1(values: &[f32], target: &[f32; 4], beta: f32, weight: f32, gradient: &mut [f32]) -> f32 {
    let mut loss = 0.0;
    for ((value, target), gradient) in values.iter().zip(target).zip(gradient) {
        let error = value - target;
        if error.abs() < beta {
            loss += weight * 0.5 * error * error / beta;
            *gradient = weight * error / beta;
        } else {
            loss += weight * (error.abs() - 0.5 * beta);
            *gradient = weight * error.signum();
        }
    }
    loss
}

/// A region that was drawn.
struct Region {
    roi: Roi,
    /// The lesion it shows.
    lesion: Option<BoxTarget>,
    weight: f32,
}

/// Draws regions of an image from its `proposals` and from the lesions' boxes themselves, so that there are positives from the start.
fn sample_regions(
    image: usize,
    proposals: &[BoundingBox],
    targets: &BoxTargets,
    weight: f32,
    rng: &mut ChaCha8Rng,
) -> Vec<Region> {
    let lesions = targets.lesions();
    let candidates: Vec<BoundingBox> =
        proposals.iter().copied().chain(lesions.iter().map(|lesion| lesion.bounds)).collect();
    let shown = |bounds: &BoundingBox| {
        let overlaps = lesions.iter().map(|lesion| (*lesion, lesion.bounds.iou(bounds)));
        overlaps.filter(|(_, overlap)| *overlap >= REGION_OVERLAP).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(l, _)| l)
    };
    let shown: Vec<Option<BoxTarget>> = candidates.iter().map(shown).collect();
    let (mut positive, mut negative) = (Vec::new(), Vec::new());
    for (index, lesion) in shown.iter().enumerate() {
        if lesion.is_some() {
            positive.push(index);
        } else if !targets.is_doubtful(&candidates[index]) {
            negative.push(index);
        }
    }
    let (positive, negative) = balanced(positive, negative, REGIONS, rng);
    let weight = weight / (positive.len() + negative.len()).max(1) as f32;
    let region = |index: usize| Region { roi: Roi { image, bounds: candidates[index] }, lesion: shown[index], weight };
    positive.into_iter().chain(negative).map(region).collect()
}

/// Loss and gradients of `logits` (region, 1 + class) and `deltas` (region, class, 4). A region without a lesion shows background or, where the
/// image is not `annotated` for all classes, one of the others: their probabilities are added.
fn region_loss<'a>(
    regions: &[Region],
    logits: &[f32],
    deltas: &[f32],
    annotated: impl Fn(usize) -> &'a [bool],
) -> (f32, Vec<f32>, Vec<f32>) {
    let (mut by_logit, mut by_delta) = (vec![0.0; logits.len()], vec![0.0; deltas.len()]);
    let width = logits.len() / regions.len().max(1);
    let mut loss = 0.0;
    for (index, region) in regions.iter().enumerate() {
        let row = index * width..(index + 1) * width;
        let annotated = annotated(region.roi.image);
        let wanted = |place: usize| match &region.lesion {
            Some(lesion) => place == lesion.class + 1,
            None => place == 0 || !annotated.get(place - 1).copied().unwrap_or(false),
        };
        loss += class_loss(&logits[row.clone()], wanted, region.weight, &mut by_logit[row]);
        if let Some(lesion) = &region.lesion {
            let target = Detector::REGION_CODER.encode(&region.roi.bounds, &lesion.bounds);
            let start = (index * (width - 1) + lesion.class) * 4;
            let at = start..start + 4;
            loss += smooth_l1(&deltas[at.clone()], &target, REGION_BETA, region.weight, &mut by_delta[at]);
        }
    }
    (loss, by_logit, by_delta)
}

/// Minus the logarithm of the sum of the `wanted` probabilities under softmax, with its gradient.
fn class_loss(logits: &[f32], wanted: impl Fn(usize) -> bool, weight: f32, gradient: &mut [f32]) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let all: f32 = powers.iter().sum();
    let right: f32 = powers.iter().enumerate().filter(|(place, _)| wanted(*place)).map(|(_, p)| p).sum();
    let right = right.max(f32::MIN_POSITIVE);
    for (place, (power, gradient)) in powers.iter().zip(gradient).enumerate() {
        *gradient = weight * (power / all - if wanted(place) { power / right } else { 0.0 });
    }
    weight * (all.ln() - right.ln())
}

#[cfg(test)]
#[path = "detection_tests.rs"]
mod tests;
