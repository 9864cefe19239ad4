//! Two predictors on the same images: what one gains over the other, with intervals of the differences.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, bootstrap_by_patient};
use super::predictor::{Classes, Predictor};
use super::run::{
    EvaluateError, EvaluateOptions, Failure, LESION_METRICS, LesionRecord, Measured, by_patient, measure,
    organ_targets, pointing,
};
use crate::dataset::CocoDataset;
use crate::task::Task;

/// Below this many patients an interval by bootstrap says too little to be judged by.
pub const LEAST_PATIENTS: usize = 10;

/// What a difference means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The interval of the difference lies on the good side of 0.
    Better,
    /// It lies on the bad side.
    Worse,
    /// It holds 0: the data cannot tell.
    Undecided,
    /// Fewer than [`LEAST_PATIENTS`] patients.
    TooFew,
}

/// One metric of both predictors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonRow {
    /// Metric by key (`auroc`).
    pub metric: String,
    /// Lesion class or organ.
    pub class: String,
    /// Of the first.
    pub before: Interval,
    /// Of the second.
    pub after: Interval,
    /// Second minus first, both on the same draws of patients.
    pub difference: Interval,
    /// Patients that it was measured on.
    pub patients: usize,
    /// What that means.
    pub verdict: Verdict,
}

impl ComparisonRow {
    /// Whether smaller values are better.
    pub fn lower_is_better(&self) -> bool {
        matches!(self.metric.as_str(), "brier" | "ece")
    }
}

/// Two predictors on the same images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Images that both could analyse.
    pub images: usize,
    /// Their patients.
    pub patients: usize,
    /// Lesions first, then organs.
    pub rows: Vec<ComparisonRow>,
    /// Images that one of them could not analyse, with the cause; they count for neither.
    pub failures: Vec<(u64, String)>,
}

impl Comparison {
    /// What came of it, in a sentence or two.
    pub fn sentence(&self) -> String {
        let count = |verdict: Verdict| self.rows.iter().filter(|row| row.verdict == verdict).count();
        let (better, worse, few) = (count(Verdict::Better), count(Verdict::Worse), count(Verdict::TooFew));
        let rows = self.rows.len();
        if rows == 0 {
            return "Nothing could be compared: no metric is defined on these cases.".to_owned();
        }
        if few == rows {
            return format!(
                "{} held-out patients are too few to tell the two apart (at least {LEAST_PATIENTS} are needed): differences of this \
                 size come by chance.",
                self.patients
            );
        }
        if better + worse == 0 {
            return format!(
                "No difference is shown on {} held-out patients: every interval of a difference holds 0.",
                self.patients
            );
        }
        format!(
            "Of {rows} metrics on {} held-out patients the new bundle is better in {better} and worse in {worse}; of the others \
             the interval of the difference holds 0. Of twenty such intervals one misses by chance.",
            self.patients
        )
    }
}

/// Measures both `predictors` on the images named by `indices`. Differences are paired: each draw of the bootstrap takes the same patients
/// for both (Efron and Tibshirani, 1993), so that what is hard about a patient does not widen their interval.
pub fn compare(
    dataset: &CocoDataset,
    indices: &[usize],
    classes: &Classes,
    [before, after]: [&dyn Predictor; 2],
    options: &EvaluateOptions,
    task: &Task,
) -> Result<Comparison, EvaluateError> {
    let before = measure(dataset, indices, classes, before, "Asking the old bundle", task)?;
    let after = measure(dataset, indices, classes, after, "Asking the new bundle", task)?;
    let mut rows = Vec::new();
    for ((class, before), after) in classes.lesions.iter().zip(&before.lesions).zip(&after.lesions) {
        task.check()?;
        let pairs = paired(before, after);
        type Pair = [LesionRecord; 2];
        let every = LESION_METRICS.into_iter().chain([("pointing", pointing as super::run::LesionMetric)]);
        for (name, metric) in every {
            let side = |pairs: &[&Pair], side: usize| metric(&pairs.iter().map(|pair| &pair[side]).collect::<Vec<_>>());
            rows.extend(row(name, &class.class, dataset, &pairs, options, &side));
        }
    }
    for ((target, before), after) in organ_targets(classes).iter().zip(&before.organs).zip(&after.organs) {
        task.check()?;
        let side = |pairs: &[&[f64; 2]], side: usize| {
            (!pairs.is_empty()).then(|| pairs.iter().map(|pair| pair[side]).sum::<f64>() / pairs.len() as f64)
        };
        rows.extend(row("dice", &target.map.class, dataset, &paired(before, after), options, &side));
    }
    let both: Vec<usize> = before.analysed.intersection(&after.analysed).copied().collect();
    let patients: BTreeSet<&str> = both.iter().map(|index| dataset.images[*index].patient_id.as_str()).collect();
    let failures = before.failures.into_iter().chain(after.failures);
    let failures: BTreeMap<u64, String> = failures.map(|Failure { image_id, message }| (image_id, message)).collect();
    Ok(Comparison { images: both.len(), patients: patients.len(), rows, failures: failures.into_iter().collect() })
}

/// Values of both on the images that have both.
fn paired<T: Clone>(before: &[Measured<T>], after: &[Measured<T>]) -> Vec<Measured<[T; 2]>> {
    let after: BTreeMap<usize, &T> = after.iter().map(|measured| (measured.index, &measured.value)).collect();
    let pair = |measured: &Measured<T>| {
        let other = (*after.get(&measured.index)?).clone();
        Some(Measured { index: measured.index, value: [measured.value.clone(), other] })
    };
    before.iter().filter_map(pair).collect()
}

/// A metric of one side, 0 or 1, of pairs.
type Metric<'a, T> = dyn Fn(&[&[T; 2]], usize) -> Option<f64> + Sync + 'a;

/// A row; `None` where the metric is not defined.
fn row<T: Clone + Sync>(
    metric: &str,
    class: &str,
    dataset: &CocoDataset,
    pairs: &[Measured<[T; 2]>],
    options: &EvaluateOptions,
    side: &Metric<'_, T>,
) -> Option<ComparisonRow> {
    let groups = by_patient(dataset, pairs.iter());
    let interval = |of: &(dyn Fn(&[&[T; 2]]) -> Option<f64> + Sync)| {
        bootstrap_by_patient(&groups, options.resamples, options.seed, of)
    };
    let mut row = ComparisonRow {
        metric: metric.to_owned(),
        class: class.to_owned(),
        before: interval(&|pairs| side(pairs, 0))?,
        after: interval(&|pairs| side(pairs, 1))?,
        difference: interval(&|pairs| Some(side(pairs, 1)? - side(pairs, 0)?))?,
        patients: groups.len(),
        verdict: Verdict::Undecided,
    };
    row.verdict = verdict(&row);
    Some(row)
}

fn verdict(row: &ComparisonRow) -> Verdict {
    let (low, high) = (row.difference.low, row.difference.high);
    if row.patients < LEAST_PATIENTS {
        Verdict::TooFew
    } else if low <= 0.0 && high >= 0.0 {
        Verdict::Undecided
    } else if (low > 0.0) != row.lower_is_better() {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ndarray::Array2;

    use super::*;
    use crate::dataset::{ClassMap, Geometry, ImageRecord, Shape};
    use crate::evaluate::{ImagePrediction, LesionPrediction};
    use crate::study::Frame;

    /// `patients` images of 8 x 8, every second one with a spot; bright ones are those that show it.
    fn dataset(folder: &std::path::Path, patients: usize) -> CocoDataset {
        let images = (0..patients).map(|id| {
            let file: PathBuf = folder.join(format!("{id}.png"));
            let ill = id % 2 == 0;
            image::GrayImage::from_pixel(8, 8, image::Luma([if ill { 200 } else { 50 }])).save(&file).expect("saved");
            let spot =
                Shape { category: "spot".into(), geometry: Geometry::Box { x: 2.0, y: 2.0, width: 3.0, height: 3.0 } };
            ImageRecord {
                id: id as u64,
                file,
                width: 8,
                height: 8,
                patient_id: format!("p{id}"),
                source: "DX".into(),
                view: None,
                radiologist_read: None,
                annotated: BTreeSet::from(["spot".to_owned()]),
                shapes: ill.then_some(spot).into_iter().collect(),
            }
        });
        CocoDataset { categories: vec!["spot".into()], images: images.collect() }
    }

    /// Right, wrong, or silent where it has no opinion.
    struct Oracle(f32);

    impl Predictor for Oracle {
        fn predict(&self, frame: &Frame) -> Result<ImagePrediction, String> {
            let ill = frame.values()[[0, 0]] > 100.0;
            let probability = if ill { 0.5 + self.0 } else { 0.5 - self.0 };
            let mut heat_map = Array2::zeros((8, 8));
            heat_map[if self.0 > 0.0 { [3, 3] } else { [7, 7] }] = 1.0;
            let label = "spot".to_owned();
            Ok(ImagePrediction {
                lesions: vec![LesionPrediction {
                    label,
                    probability,
                    heat_map,
                    findings: Vec::new(),
                    map_boxes: Vec::new(),
                    boxes: None,
                }],
                organs: Vec::new(),
            })
        }
    }

    fn run(patients: usize, before: f32, after: f32) -> Comparison {
        let folder = tempfile::tempdir().expect("a folder");
        let data = dataset(folder.path(), patients);
        let classes = Classes { lesions: vec![ClassMap::same("spot")], ..Classes::default() };
        let indices: Vec<usize> = (0..patients).collect();
        let options = EvaluateOptions { resamples: 200, ..EvaluateOptions::default() };
        let predictors: [&dyn Predictor; 2] = [&Oracle(before), &Oracle(after)];
        compare(&data, &indices, &classes, predictors, &options, &Task::new()).expect("compared")
    }

    fn of<'a>(comparison: &'a Comparison, metric: &str) -> &'a ComparisonRow {
        comparison.rows.iter().find(|row| row.metric == metric).expect(metric)
    }

    #[test]
    fn what_is_better_is_called_so_on_either_scale() {
        let comparison = run(24, -0.3, 0.4);
        assert_eq!((comparison.images, comparison.patients), (24, 24));
        let auroc = of(&comparison, "auroc");
        assert_eq!((auroc.before.value, auroc.after.value, auroc.difference.value), (0.0, 1.0, 1.0));
        for metric in ["auroc", "brier", "pointing"] {
            assert_eq!(of(&comparison, metric).verdict, Verdict::Better, "{metric}");
        }
        let back = run(24, 0.4, -0.3);
        for metric in ["auroc", "brier", "pointing"] {
            assert_eq!(of(&back, metric).verdict, Verdict::Worse, "{metric}");
        }
        assert!(back.sentence().contains("worse in"), "{}", back.sentence());
    }

    #[test]
    fn equal_ones_and_few_patients_decide_nothing() {
        let same = run(24, 0.2, 0.2);
        assert!(same.rows.iter().all(|row| row.verdict == Verdict::Undecided && row.difference.value == 0.0));
        assert!(same.sentence().contains("holds 0"), "{}", same.sentence());
        let few = run(6, -0.3, 0.4);
        assert!(few.rows.iter().all(|row| row.verdict == Verdict::TooFew));
        assert!(few.sentence().contains("6 held-out patients are too few"), "{}", few.sentence());
    }
}
