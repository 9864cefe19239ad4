//! Losses with their gradients with respect to logits, by hand: targets are partial, and most of an image may be unknown.

use crate::nn::sigmoid;

/// How the loss of a map is put together.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapWeights {
    /// Of all of it.
    pub(super) weight: f32,
    /// Of Dice beside cross entropy.
    pub(super) dice: f32,
    /// Exponent of the focal loss; 0 for cross entropy.
    pub(super) focal: f32,
}

/// Smoothing of the Dice quotient, in pixels.
const DICE_SMOOTH: f32 = 1.0;

/// Cross entropy of a logit against a target 0 to 1.
fn cross_entropy(logit: f32, target: f32) -> f32 {
    logit.max(0.0) - logit * target + (-logit.abs()).exp().ln_1p()
}

/// Cross entropy times how far off the probability is, to the power of `focal` (quality focal loss; Li et al., 2020), and its derivative with
/// respect to the logit. For 0 it is cross entropy.
fn focal_entropy(logit: f32, probability: f32, target: f32, focal: f32) -> (f32, f32) {
    let (entropy, off) = (cross_entropy(logit, target), probability - target);
    if focal == 0.0 {
        return (entropy, off);
    }
    let factor = off.abs().powf(focal);
    // The derivative of |off|^focal has a pole at 0 for exponents below 1, where the entropy's own vanishing is no help for soft targets.
    let by_factor = focal * off.abs().max(1e-6).powf(focal - 1.0) * off.signum() * probability * (1.0 - probability);
    (factor * entropy, by_factor * entropy + factor * off)
}

/// Mean cross entropy (with a `focal` exponent above 0, focal loss) plus Dice loss (Milletari et al., 2016) of one map against `target` (coverage 0 to 1), over the pixels with `known`
/// 1 (all where `None`). Adds `weight` times its gradient to `gradient`; returns the weighted loss. Dice is left out where the
/// target is empty: it would say nothing but noise.
pub(super) fn map_loss(
    logits: &[f32],
    target: &[f32],
    known: Option<&[f32]>,
    MapWeights { weight, dice: dice_weight, focal }: MapWeights,
    gradient: &mut [f32],
) -> f32 {
    let known_at = |index: usize| known.map_or(1.0, |known| known[index]);
    let count: f32 = (0..logits.len()).map(known_at).sum::<f32>().max(1.0);
    let (mut entropy, mut product, mut predicted, mut wanted) = (0.0f32, 0.0f32, 0.0f32, 0.0f32);
    let probabilities: Vec<f32> = logits.iter().map(|z| sigmoid(*z)).collect();
    for (index, ((z, p), t)) in logits.iter().zip(&probabilities).zip(target).enumerate() {
        let k = known_at(index);
        entropy += k * focal_entropy(*z, *p, *t, focal).0;
        product += k * p * t;
        predicted += k * p;
        wanted += k * t;
    }
    let use_dice = wanted >= 1.0 && dice_weight > 0.0;
    let (numerator, denominator) = (2.0 * product + DICE_SMOOTH, predicted + wanted + DICE_SMOOTH);
    for (index, ((z, p), t)) in logits.iter().zip(&probabilities).zip(target).enumerate() {
        let k = known_at(index);
        let mut slope = focal_entropy(*z, *p, *t, focal).1 / count;
        if use_dice {
            let by_probability = -(2.0 * t * denominator - numerator) / (denominator * denominator);
            slope += dice_weight * by_probability * p * (1.0 - p);
        }
        gradient[index] += weight * k * slope;
    }
    let dice = if use_dice { dice_weight * (1.0 - numerator / denominator) } else { 0.0 };
    weight * (entropy / count + dice)
}

/// The same for the union of two maps, `1 - (1 - a)(1 - b)`: one mask for both lungs. Gradients are added for both.
pub(super) fn union_loss(a: &[f32], b: &[f32], target: &[f32], weight: f32, da: &mut [f32], db: &mut [f32]) -> f32 {
    let count = target.len().max(1) as f32;
    let pairs: Vec<(f32, f32)> = a.iter().zip(b).map(|(a, b)| (sigmoid(*a), sigmoid(*b))).collect();
    let union: Vec<f32> = pairs.iter().map(|(a, b)| 1.0 - (1.0 - a) * (1.0 - b)).collect();
    let product: f32 = union.iter().zip(target).map(|(u, t)| u * t).sum();
    let (predicted, wanted): (f32, f32) = (union.iter().sum(), target.iter().sum());
    let (numerator, denominator) = (2.0 * product + DICE_SMOOTH, predicted + wanted + DICE_SMOOTH);
    let mut entropy = 0.0;
    for (index, ((u, t), (pa, pb))) in union.iter().zip(target).zip(&pairs).enumerate() {
        let safe = u.clamp(1e-6, 1.0 - 1e-6);
        entropy -= t * safe.ln() + (1.0 - t) * (1.0 - safe).ln();
        let dice = -(2.0 * t * denominator - numerator) / (denominator * denominator);
        // d loss / d u, times d u / d logit = (1 - pb) pa (1 - pa); 1 - u = (1 - pa)(1 - pb) cancels against the entropy's pole.
        let by_a = ((u - t) * pa / safe / count) + dice * (1.0 - pb) * pa * (1.0 - pa);
        let by_b = ((u - t) * pb / safe / count) + dice * (1.0 - pa) * pb * (1.0 - pb);
        da[index] += weight * by_a;
        db[index] += weight * by_b;
    }
    weight * (entropy / count + 1.0 - numerator / denominator)
}

/// Cross entropy of an image-level logit; returns (loss, gradient), weighted.
pub(super) fn class_loss(logit: f32, target: f32, weight: f32) -> (f32, f32) {
    (weight * cross_entropy(logit, target), weight * (sigmoid(logit) - target))
}

#[cfg(test)]
mod tests {
    use super::{MapWeights, class_loss, focal_entropy, map_loss, union_loss};

    #[test]
    fn what_is_nearly_right_counts_less() {
        let near = focal_entropy(2.9, 0.95, 1.0, 2.0).0 / focal_entropy(2.9, 0.95, 1.0, 0.0).0;
        let far = focal_entropy(-2.9, 0.05, 1.0, 2.0).0 / focal_entropy(-2.9, 0.05, 1.0, 0.0).0;
        assert!(near < 0.01 && far > 0.8, "{near} {far}");
    }

    /// Central difference of `f` at each value.
    fn numeric(values: &[f32], f: impl Fn(&[f32]) -> f32) -> Vec<f32> {
        let at = |index: usize, delta: f32| {
            let mut moved = values.to_vec();
            moved[index] += delta;
            f(&moved)
        };
        (0..values.len()).map(|index| (at(index, 1e-2) - at(index, -1e-2)) / 2e-2).collect()
    }

    fn assert_close(a: &[f32], b: &[f32]) {
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 2e-3, "{a} {b}");
        }
    }

    const Z: [f32; 6] = [-2.0, -0.3, 0.1, 0.8, 1.5, 3.0];
    const T: [f32; 6] = [0.0, 1.0, 0.25, 0.0, 1.0, 1.0];

    #[test]
    fn map_gradient_equals_finite_differences() {
        for known in [None, Some([1.0, 1.0, 0.0, 1.0, 1.0, 0.0])] {
            let known = known.as_ref().map(|k| &k[..]);
            for focal in [0.0, 1.0, 2.0] {
                let weights = MapWeights { weight: 0.7, dice: 0.5, focal };
                let loss = |z: &[f32]| map_loss(z, &T, known, weights, &mut [0.0; 6]);
                let mut gradient = [0.0; 6];
                map_loss(&Z, &T, known, weights, &mut gradient);
                assert_close(&gradient, &numeric(&Z, loss));
            }
        }
    }

    #[test]
    fn union_gradient_equals_finite_differences() {
        let b = [0.5, -1.0, 0.3, -2.0, -0.5, 0.2];
        let (mut da, mut db) = ([0.0; 6], [0.0; 6]);
        union_loss(&Z, &b, &T, 0.9, &mut da, &mut db);
        assert_close(&da, &numeric(&Z, |z| union_loss(z, &b, &T, 0.9, &mut [0.0; 6], &mut [0.0; 6])));
        assert_close(&db, &numeric(&b, |z| union_loss(&Z, z, &T, 0.9, &mut [0.0; 6], &mut [0.0; 6])));
    }

    #[test]
    fn class_gradient_equals_finite_differences() {
        for (z, t) in [(-2.0, 1.0), (0.4, 0.1)] {
            assert_close(&[class_loss(z, t, 0.5).1], &numeric(&[z], |z| class_loss(z[0], t, 0.5).0));
        }
    }
}
