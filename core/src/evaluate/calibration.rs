//! Calibration of logits on held-out patients.

use serde::{Deserialize, Serialize};

/// Probability = sigmoid(slope · logit + intercept).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Slope; positive where higher logits mean more positives.
    pub slope: f64,
    /// Intercept.
    pub intercept: f64,
}

impl Platt {
    /// The calibrated probability, 0 to 1.
    pub fn probability(&self, logit: f64) -> f64 {
        sigmoid(self.slope * logit + self.intercept)
    }
}

/// Fits slope and intercept by Newton's method with step halving on smoothed targets. `None` without both classes, with lengths
/// that differ, or with logits that are not finite. Source: Platt, 1999; Lin, Lin and Weng, Machine Learning 68, 2007.
pub fn fit_platt(logits: &[f64], labels: &[bool]) -> Option<Platt> {
    let targets = smoothed_targets(logits, labels)?;
    let loss = |fit: &Platt| -> f64 {
        logits.iter().zip(&targets).map(|(x, t)| cross_entropy(fit.slope * x + fit.intercept, *t)).sum()
    };
    let mean = targets.iter().sum::<f64>() / targets.len() as f64;
    let mut fit = Platt { slope: 0.0, intercept: (mean / (1.0 - mean)).ln() };
    let mut current = loss(&fit);
    for _ in 0..100 {
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 1e-10, 0.0, 1e-10);
        for (x, t) in logits.iter().zip(&targets) {
            let p = fit.probability(*x);
            let weight = p * (1.0 - p);
            ga += (p - t) * x;
            gb += p - t;
            haa += weight * x * x;
            hab += weight * x;
            hbb += weight;
        }
        if ga.abs() < 1e-7 && gb.abs() < 1e-7 {
            break;
        }
        let determinant = haa * hbb - hab * hab;
        let (da, db) = (-(hbb * ga - hab * gb) / determinant, -(haa * gb - hab * ga) / determinant);
        let mut step = 1.0;
        let improved = loop {
            let next = Platt { slope: fit.slope + step * da, intercept: fit.intercept + step * db };
            let value = loss(&next);
            if value < current {
                (fit, current) = (next, value);
                break true;
            }
            step /= 2.0;
            if step < 1e-10 {
                break false;
            }
        };
        if !improved {
            break;
        }
    }
    Some(fit)
}

/// Fits the temperature T of sigmoid(logit / T) by golden-section search over 1/50 to 50. `None` as in [`fit_platt`].
/// Source: Guo et al., ICML 2017.
pub fn fit_temperature(logits: &[f64], labels: &[bool]) -> Option<f64> {
    let targets = smoothed_targets(logits, labels)?;
    let loss =
        |log_t: f64| -> f64 { logits.iter().zip(&targets).map(|(x, t)| cross_entropy(x / log_t.exp(), *t)).sum() };
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-(50f64.ln()), 50f64.ln());
    while high - low > 1e-6 {
        let (a, b) = (high - ratio * (high - low), low + ratio * (high - low));
        if loss(a) < loss(b) {
            high = b;
        } else {
            low = a;
        }
    }
    Some(((low + high) / 2.0).exp())
}

/// Targets drawn in from 0 and 1, so that separable data have a finite fit (Platt, 1999).
fn smoothed_targets(logits: &[f64], labels: &[bool]) -> Option<Vec<f64>> {
    let positives = labels.iter().filter(|l| **l).count();
    let negatives = labels.len() - positives;
    if logits.len() != labels.len() || positives == 0 || negatives == 0 || !logits.iter().all(|x| x.is_finite()) {
        return None;
    }
    let high = (positives as f64 + 1.0) / (positives as f64 + 2.0);
    let low = 1.0 / (negatives as f64 + 2.0);
    Some(labels.iter().map(|label| if *label { high } else { low }).collect())
}

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// -t ln p - (1 - t) ln(1 - p) for p = sigmoid(z), without overflow.
fn cross_entropy(z: f64, t: f64) -> f64 {
    z.max(0.0) - z * t + (-z.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Labels drawn with the probability that the true fit gives.
    fn sample(slope: f64, intercept: f64) -> (Vec<f64>, Vec<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let truth = Platt { slope, intercept };
        (0..20_000)
            .map(|_| {
                let logit: f64 = rng.random_range(-6.0..6.0);
                (logit, rng.random::<f64>() < truth.probability(logit))
            })
            .unzip()
    }

    #[test]
    fn platt_finds_what_made_the_labels() {
        let (logits, labels) = sample(0.5, -0.7);
        let fit = fit_platt(&logits, &labels).expect("both classes");
        assert!((fit.slope - 0.5).abs() < 0.03 && (fit.intercept + 0.7).abs() < 0.06, "{fit:?}");
    }

    #[test]
    fn temperature_finds_what_made_the_labels() {
        let (logits, labels) = sample(0.5, 0.0);
        let t = fit_temperature(&logits, &labels).expect("both classes");
        assert!((t - 2.0).abs() < 0.1, "{t}");
    }

    #[test]
    fn edge_cases() {
        let separable = fit_platt(&[-9.0, -8.0, 8.0, 9.0], &[false, false, true, true]).expect("both classes");
        assert!(separable.slope > 0.0 && separable.slope.is_finite());
        assert!((separable.probability(9.0) - 0.75).abs() < 0.05, "smoothed: {}", separable.probability(9.0));
        assert_eq!(fit_platt(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(fit_platt(&[1.0], &[true, false]), None);
        assert_eq!(fit_platt(&[f64::INFINITY, 0.0], &[true, false]), None);
        let constant = fit_platt(&[3.0, 3.0, 3.0, 3.0], &[true, false, true, false]).expect("both classes");
        assert!((constant.probability(3.0) - 0.5).abs() < 1e-3);
        assert_eq!(Platt { slope: 1.0, intercept: 0.0 }.probability(-1e6), 0.0);
    }
}
