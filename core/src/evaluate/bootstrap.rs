//! Intervals by bootstrap over patients.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A metric with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The metric on all data.
    pub value: f64,
    /// 2.5th percentile of the resamples.
    pub low: f64,
    /// 97.5th percentile of the resamples.
    pub high: f64,
    /// Images (for FROC and pointing: images too) that it was measured on.
    pub n: usize,
}

/// `metric` on all values, with the percentile interval over `resamples` draws of whole patients with replacement (Efron and
/// Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; LUNA16 uses 1,000).
///
/// `patients` holds the values of each patient. `None` where the metric is not defined on all data; resamples for which it is
/// not defined are left out. The same seed gives the same interval on every platform and with any number of threads.
pub fn bootstrap_by_patient<T: Sync>(
    patients: &[Vec<T>],
    resamples: usize,
    seed: u64,
    metric: impl Fn(&[&T]) -> Option<f64> + Sync,
) -> Option<Interval> {
    let all: Vec<&T> = patients.iter().flatten().collect();
    let value = metric(&all)?;
    let values: Vec<f64> = (0..resamples)
        .into_par_iter()
        .filter_map(|index| metric(&resample(patients, seed, index)).filter(|v| v.is_finite()))
        .collect();
    let (low, high) = percentile_interval(values).unwrap_or((value, value));
    Some(Interval { value, low, high, n: all.len() })
}

/// Values of as many patients as there are, drawn with replacement.
pub(super) fn resample<T>(patients: &[Vec<T>], seed: u64, index: usize) -> Vec<&T> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index as u64);
    (0..patients.len()).flat_map(|_| &patients[rng.random_range(0..patients.len())]).collect()
}

/// 2.5th and 97.5th percentile, linear between order statistics; `None` where there are no values.
pub fn percentile_interval(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let position = share * values.len().checked_sub(1)? as f64;
        let (below, above) = (values.get(position.floor() as usize)?, values.get(position.ceil() as usize)?);
        Some(below + (position - position.floor()) * (above - below))
    };
    Some((at(0.025)?, at(0.975)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[&f64]) -> Option<f64> {
        (!values.is_empty()).then(|| values.iter().copied().sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn the_interval_of_a_mean_is_about_two_standard_errors() {
        let patients: Vec<Vec<f64>> = (0..400).map(|i| vec![f64::from(i % 2)]).collect();
        let interval = bootstrap_by_patient(&patients, 1000, 3, mean).expect("defined");
        assert_eq!((interval.value, interval.n), (0.5, 400));
        let expected = 1.96 * 0.5 / 20.0;
        assert!((interval.high - 0.5 - expected).abs() < 0.008, "{interval:?}");
        assert!((0.5 - interval.low - expected).abs() < 0.008, "{interval:?}");
        assert_eq!(Some(interval), bootstrap_by_patient(&patients, 1000, 3, mean));
    }

    #[test]
    fn images_of_one_patient_do_not_narrow_the_interval() {
        let single: Vec<Vec<f64>> = (0..50).map(|i| vec![f64::from(i % 2)]).collect();
        let tenfold: Vec<Vec<f64>> = (0..50).map(|i| vec![f64::from(i % 2); 10]).collect();
        let a = bootstrap_by_patient(&single, 500, 1, mean).expect("defined");
        let b = bootstrap_by_patient(&tenfold, 500, 1, mean).expect("defined");
        assert_eq!((a.low, a.high), (b.low, b.high));
        assert_eq!(b.n, 500);
    }

    #[test]
    fn edge_cases() {
        assert_eq!(bootstrap_by_patient(&[], 100, 0, mean), None);
        let one = bootstrap_by_patient(&[vec![2.0]], 100, 0, mean).expect("defined");
        assert_eq!((one.low, one.value, one.high), (2.0, 2.0, 2.0));
        let none = bootstrap_by_patient(&[vec![2.0]], 0, 0, mean).expect("defined");
        assert_eq!((none.low, none.high), (2.0, 2.0));
        assert_eq!(percentile_interval((0..=40).map(f64::from).collect()), Some((1.0, 39.0)));
    }
}
