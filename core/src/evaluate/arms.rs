//! Several kinds of network, each trained from several seeds, on the same images: which differences are more than chance.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::bootstrap::percentile_interval;
use super::predictor::{Classes, Predictor};
use super::run::{
    EvaluateError, EvaluateOptions, LESION_METRICS, LesionMetric, LesionRecord, Measured, measure, organ_targets,
    pointing,
};
use crate::dataset::CocoDataset;
use crate::task::Task;

/// A value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Estimate {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// One metric of all arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArmsRow {
    /// `auroc.<lesion>`, `pointing.<lesion>`, `froc.<lesion>` or `dice.<organ>`.
    pub metric: String,
    /// Images that count for it.
    pub images: usize,
    /// Of each arm: the mean over its seeds, and each seed's value.
    pub arms: Vec<(Estimate, Vec<f64>)>,
    /// Of each arm less each baseline: (arm, baseline, difference of the means).
    pub differences: Vec<(usize, usize, Estimate)>,
}

/// What was measured of one run.
struct Run {
    lesions: Vec<Vec<Measured<LesionRecord>>>,
    organs: Vec<Vec<Measured<f64>>>,
}

/// Measures all `arms` (each a list of runs that differ by their seeds) on the images of `indices` and compares the others with the `baselines`.
/// Intervals are of a bootstrap over patients and seeds: each draw takes the same patients for all arms, and of each arm as many seeds as it has,
/// both with replacement, so that neither a hard patient nor a lucky seed makes a difference.
pub fn compare_arms(
    dataset: &CocoDataset,
    indices: &[usize],
    classes: &Classes,
    arms: &[Vec<&dyn Predictor>],
    baselines: &[usize],
    options: &EvaluateOptions,
    task: &Task,
) -> Result<Vec<ArmsRow>, EvaluateError> {
    let mut measured: Vec<Vec<Run>> = Vec::new();
    let total = arms.iter().map(Vec::len).sum::<usize>() as u64;
    let mut done = 0;
    for arm in arms {
        let mut runs = Vec::new();
        for predictor in arm {
            task.progress("Measuring runs", done, total);
            done += 1;
            let found = measure(dataset, indices, classes, *predictor, "Measuring", &task.quietly())?;
            runs.push(Run { lesions: found.lesions, organs: found.organs });
        }
        measured.push(runs);
    }
    let mut rows = Vec::new();
    for (index, class) in classes.lesions.iter().enumerate() {
        let wanted = ["auroc", "froc"];
        let every = LESION_METRICS.into_iter().filter(|(name, _)| wanted.contains(name));
        for (name, metric) in every.chain([("pointing", pointing as LesionMetric)]) {
            task.check()?;
            let values: Vec<Vec<&[Measured<LesionRecord>]>> =
                measured.iter().map(|runs| runs.iter().map(|run| run.lesions[index].as_slice()).collect()).collect();
            let key = format!("{name}.{}", class.class);
            rows.extend(row(key, dataset, &values, baselines, options, &|records| metric(records)));
        }
    }
    for (index, target) in organ_targets(classes).iter().enumerate() {
        task.check()?;
        let values: Vec<Vec<&[Measured<f64>]>> =
            measured.iter().map(|runs| runs.iter().map(|run| run.organs[index].as_slice()).collect()).collect();
        let mean = |records: &[&f64]| {
            (!records.is_empty()).then(|| records.iter().copied().sum::<f64>() / records.len() as f64)
        };
        rows.extend(row(format!("dice.{}", target.map.class), dataset, &values, baselines, options, &mean));
    }
    Ok(rows)
}

/// A row; `None` where the metric is not defined for all runs.
fn row<T: Sync>(
    metric: String,
    dataset: &CocoDataset,
    arms: &[Vec<&[Measured<T>]>],
    baselines: &[usize],
    options: &EvaluateOptions,
    of: &(dyn Fn(&[&T]) -> Option<f64> + Sync),
) -> Option<ArmsRow> {
    // Only images that all runs could analyse.
    let by_image: Vec<Vec<BTreeMap<usize, &T>>> = arms
        .iter()
        .map(|runs| runs.iter().map(|run| run.iter().map(|m| (m.index, &m.value)).collect()).collect())
        .collect();
    let first = by_image.first()?.first()?;
    let in_all = |index: &&usize| by_image.iter().flatten().all(|run| run.contains_key(*index));
    let images: Vec<usize> = first.keys().filter(in_all).copied().collect();
    let mut patients: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for index in &images {
        patients.entry(&dataset.images.get(*index)?.patient_id).or_default().push(*index);
    }
    let patients: Vec<Vec<usize>> = patients.into_values().collect();
    let value = |run: &BTreeMap<usize, &T>, images: &[usize]| {
        of(&images.iter().filter_map(|index| run.get(index).copied()).collect::<Vec<_>>())
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let seeds: Vec<Vec<f64>> = by_image
        .iter()
        .map(|runs| runs.iter().map(|run| value(run, &images)).collect::<Option<Vec<f64>>>())
        .collect::<Option<_>>()?;
    let mut draws: Vec<Vec<f64>> = Vec::with_capacity(options.resamples);
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    for _ in 0..options.resamples {
        let drawn: Vec<usize> =
            (0..patients.len()).flat_map(|_| patients[rng.random_range(0..patients.len())].iter().copied()).collect();
        let arm = |runs: &Vec<BTreeMap<usize, &T>>, rng: &mut ChaCha8Rng| {
            let picks: Vec<usize> = (0..runs.len()).map(|_| rng.random_range(0..runs.len())).collect();
            let mut known: BTreeMap<usize, f64> = BTreeMap::new();
            let mut sum = 0.0;
            for pick in &picks {
                let value = match known.get(pick) {
                    Some(value) => *value,
                    None => {
                        let value = value(&runs[*pick], &drawn)?;
                        known.insert(*pick, value);
                        value
                    }
                };
                sum += value;
            }
            Some(sum / picks.len() as f64)
        };
        // A draw without positives has no AUROC: it says nothing.
        if let Some(values) = by_image.iter().map(|runs| arm(runs, &mut rng)).collect::<Option<Vec<f64>>>() {
            draws.push(values);
        }
    }
    let estimate = |value: f64, of: &dyn Fn(&Vec<f64>) -> f64| {
        let (low, high) = percentile_interval(draws.iter().map(of).collect())?;
        Some(Estimate { value, low, high })
    };
    let means: Vec<f64> = seeds.iter().map(|values| mean(values)).collect();
    let arms_row = (0..arms.len())
        .map(|arm| Some((estimate(means[arm], &|draw| draw[arm])?, seeds[arm].clone())))
        .collect::<Option<Vec<_>>>()?;
    let mut differences = Vec::new();
    for baseline in baselines.iter().copied() {
        for arm in (0..arms.len()).filter(|arm| !baselines.contains(arm)) {
            let difference = estimate(means[arm] - means[baseline], &|draw| draw[arm] - draw[baseline])?;
            differences.push((arm, baseline, difference));
        }
    }
    Some(ArmsRow { metric, images: images.len(), arms: arms_row, differences })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::ImageRecord;

    fn dataset(images: usize) -> CocoDataset {
        let image = |index: usize| ImageRecord {
            id: index as u64,
            file: format!("{index}.png").into(),
            width: 8,
            height: 8,
            patient_id: format!("p{}", index / 2),
            source: String::new(),
            view: None,
            radiologist_read: None,
            annotated: Default::default(),
            shapes: Vec::new(),
        };
        CocoDataset { categories: Vec::new(), images: (0..images).map(image).collect() }
    }

    /// Runs whose values on an image are a base, what the image adds, and what the seed adds.
    fn runs(base: f64, seeds: &[f64], images: usize) -> Vec<Vec<Measured<f64>>> {
        let value = |seed: f64, index: usize| base + seed + 0.2 * ((index * 7 % 10) as f64 / 10.0 - 0.45);
        seeds.iter().map(|s| (0..images).map(|index| Measured { index, value: value(*s, index) }).collect()).collect()
    }

    fn difference(first: &[Vec<Measured<f64>>], second: &[Vec<Measured<f64>>], images: usize) -> ArmsRow {
        let arms: Vec<Vec<&[Measured<f64>]>> =
            [first, second].iter().map(|runs| runs.iter().map(Vec::as_slice).collect()).collect();
        let mean = |records: &[&f64]| Some(records.iter().copied().sum::<f64>() / records.len() as f64);
        let options = EvaluateOptions { resamples: 400, ..EvaluateOptions::default() };
        row("dice.x".into(), &dataset(images), &arms, &[0], &options, &mean).expect("defined")
    }

    #[test]
    fn what_images_share_cancels_and_what_seeds_add_does_not() {
        let steady = [-0.001, 0.0, 0.001];
        let row = difference(&runs(0.80, &steady, 60), &runs(0.82, &steady, 60), 60);
        let [(1, 0, found)] = row.differences[..] else { panic!("{row:?}") };
        assert!((found.value - 0.02).abs() < 1e-9);
        // Images differ by 0.06, arms by 0.02 on each: pairing shows it.
        assert!(found.low > 0.017 && found.high < 0.023, "{found:?}");
        assert!(row.arms[0].0.high - row.arms[0].0.low > 0.01, "unpaired, patients count");
        // The same difference with seeds that scatter by more than it is undecided.
        let lucky = [-0.05, 0.0, 0.05];
        let row = difference(&runs(0.80, &lucky, 60), &runs(0.82, &lucky, 60), 60);
        let found = row.differences[0].2;
        assert!(found.low < 0.0 && found.high > 0.0, "{found:?}");
    }

    #[test]
    fn images_that_a_run_lacks_count_for_none() {
        let first = runs(0.5, &[0.0, 0.0], 20);
        let mut second = runs(0.5, &[0.0, 0.0], 20);
        second[1].truncate(12);
        assert_eq!(difference(&first, &second, 20).images, 12);
    }
}
