//! How faithful the maps are over a data set, and what is left of them where the network's layers are shuffled.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Interval, bootstrap_by_patient};
use super::lesions::true_lesions;
use super::metrics::heat_map_peak;
use super::predictor::Classes;
use super::run::{EvaluateError, EvaluateOptions, frame_of};
use crate::analysis::{
    Analysis, AnalysisError, Explainer, Explanations, MapFaithfulness, MapId, MapKind, Target, analyze, network_image,
    stage_count,
};
use crate::dataset::{CocoDataset, ImageRecord};
use crate::explain::{CELLS, CamMethod, Verdict, coverage, rank_correlation};
use crate::model::{Bundle, layers_from_top};
use crate::study::{InstanceKey, Series, SeriesUid};
use crate::task::Task;

/// What was measured of one kind of map, over the images that show the class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapScores {
    /// Lesion class.
    pub class: String,
    /// Kind of map: `layer-cam-2`.
    pub map: String,
    /// Images tested.
    pub images: usize,
    /// Images whose answer changes where they are blurred; the others say nothing about maps, and count in `pointing` alone.
    pub measurable: usize,
    /// Area under the deletion curve.
    pub deletion: Option<Interval>,
    /// Area under the insertion curve.
    pub insertion: Option<Interval>,
    /// Insertion less deletion: 0 is what random maps have.
    pub gap: Option<Interval>,
    /// Mean area of random maps as smooth as these.
    pub random: f64,
    /// Images on which the map is better than all random maps by deletion and insertion, by one, by none.
    pub verdicts: [usize; 3],
    /// Share of the map inside the lungs.
    pub inside_lungs: Option<Interval>,
    /// Rank correlation with the evidence of the other branch.
    pub agreement: Option<Interval>,
    /// Images on which the highest value lies inside a true lesion.
    pub pointing: Option<Interval>,
}

/// One step of cascading randomisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SanityStep {
    /// The layer that was shuffled in this step; all above it are shuffled too.
    pub layer: String,
    /// By kind of map: rank correlation with the map of the real network, mean over images.
    pub similarity: BTreeMap<String, Interval>,
}

/// All kinds of map that a bundle offers.
fn kinds(bundle: &Bundle) -> Vec<MapKind> {
    let mut kinds = vec![MapKind::LesionHead];
    for stage in 1..=stage_count(bundle) {
        kinds.extend(CamMethod::ALL.map(|method| MapKind::Cam { method, stage }));
    }
    kinds.extend([MapKind::AttentionRollout, MapKind::GradientRelevance]);
    kinds
}

/// One analysed image with all its maps.
struct Case {
    explainer: Explainer,
    explanations: Explanations,
}

impl Case {
    fn new(bundle: &Arc<Bundle>, record: &ImageRecord, label: &str, task: &Task) -> Result<Self, String> {
        let frame = frame_of(record)?;
        let image = network_image(&bundle.metadata.config, &frame);
        let text = |error: AnalysisError| error.to_string();
        let series = Series { uid: SeriesUid(record.id.to_string()), ..Series::default() };
        let target = Target {
            series_uid: series.uid.clone(),
            instance_uid: InstanceKey(record.id.to_string()),
            frame: 0,
            sources: Vec::new(),
            rows: record.height,
            columns: record.width,
        };
        let analysis: Analysis = analyze(bundle, &image, &frame, &series, target, task).map_err(text)?;
        let explainer = Explainer::new(Arc::clone(bundle), Arc::new(analysis), &image).map_err(text)?;
        let mut explanations = Explanations::default();
        for kind in kinds(bundle).into_iter().filter(|kind| matches!(kind, MapKind::Cam { .. })) {
            explanations.cams.push(explainer.cam(&MapId::of(kind, label), task).map_err(text)?);
        }
        Ok(Self { explainer, explanations })
    }

    fn values(&self, kind: MapKind, label: &str) -> Option<Arc<Array2<f32>>> {
        self.explainer.values(&MapId::of(kind, label), &self.explanations)
    }
}

/// Images of `indices` that show a class, with the class.
fn positives<'a>(
    dataset: &'a CocoDataset,
    indices: &[usize],
    classes: &'a Classes,
) -> Vec<(&'a crate::dataset::ClassMap, &'a ImageRecord)> {
    let records = || indices.iter().filter_map(|index| dataset.images.get(*index));
    let of = |class: &'a crate::dataset::ClassMap| {
        records().filter(move |record| class.label(record) == Some(true)).map(move |record| (class, record))
    };
    classes.lesions.iter().flat_map(of).collect()
}

struct Row {
    patient: String,
    result: MapFaithfulness,
    pointed: Option<bool>,
}

/// Tests every kind of map on the images of `indices` that show a class. An image that cannot be analysed counts nowhere.
pub fn explain(
    dataset: &CocoDataset,
    indices: &[usize],
    classes: &Classes,
    bundle: &Arc<Bundle>,
    options: &EvaluateOptions,
    task: &Task,
) -> Result<Vec<MapScores>, EvaluateError> {
    let cases = positives(dataset, indices, classes);
    let mut rows: BTreeMap<(String, usize), Vec<Row>> = BTreeMap::new();
    let kinds = kinds(bundle);
    let quiet = Task::new();
    for (done, (class, record)) in cases.iter().enumerate() {
        task.check()?;
        task.progress("Testing maps", done as u64, cases.len() as u64);
        let Ok(case) = Case::new(bundle, record, &class.class, &quiet) else { continue };
        let truth = true_lesions(class, record);
        for (index, kind) in kinds.iter().enumerate() {
            task.check()?;
            let Some(values) = case.values(*kind, &class.class) else { continue };
            let id = MapId::of(*kind, &class.class);
            let Ok(result) = case.explainer.faithfulness(&id, &values, &quiet) else { continue };
            let peak = heat_map_peak(values.view());
            let pointed = (!truth.is_empty()).then(|| {
                peak.is_some_and(|(row, column)| truth.iter().any(|lesion| lesion.contains(row as f32, column as f32)))
            });
            let row = Row { patient: record.patient_id.clone(), result, pointed };
            rows.entry((class.class.clone(), index)).or_default().push(row);
        }
    }
    task.progress("Testing maps", cases.len() as u64, cases.len() as u64);
    let named = |(class, index): (String, usize)| kinds.get(index).map(|kind| (class, kind.key()));
    Ok(rows.into_iter().filter_map(|(key, rows)| Some(scores(named(key)?, &rows, options))).collect())
}

fn scores((class, map): (String, String), rows: &[Row], options: &EvaluateOptions) -> MapScores {
    let measurable: Vec<&Row> = rows.iter().filter(|row| row.result.result.verdict != Verdict::NotMeasurable).collect();
    let over = |rows: &[&Row], value: &dyn Fn(&Row) -> Option<f64>| {
        let values = rows.iter().filter_map(|row| Some((row.patient.as_str(), value(row)?)));
        mean_by_patient(values, options)
    };
    let all: Vec<&Row> = rows.iter().collect();
    let count = |verdict| measurable.iter().filter(|row| row.result.result.verdict == verdict).count();
    let number = |value: f32| Some(f64::from(value));
    let random = |row: &Row| number(row.result.result.random.mean);
    MapScores {
        class,
        map,
        images: rows.len(),
        measurable: measurable.len(),
        deletion: over(&measurable, &|row| number(row.result.result.deletion)),
        insertion: over(&measurable, &|row| number(row.result.result.insertion)),
        gap: over(&measurable, &|row| number(row.result.result.insertion - row.result.result.deletion)),
        random: over(&measurable, &random).map_or(0.0, |interval| interval.value),
        verdicts: [count(Verdict::Faithful), count(Verdict::Partly), count(Verdict::NoBetterThanRandom)],
        inside_lungs: over(&all, &|row| row.result.result.inside_lungs.map(f64::from)),
        agreement: over(&all, &|row| row.result.result.agreement.map(f64::from)),
        pointing: over(&all, &|row| row.pointed.map(|pointed| f64::from(u8::from(pointed)))),
    }
}

fn mean_by_patient<'a>(values: impl Iterator<Item = (&'a str, f64)>, options: &EvaluateOptions) -> Option<Interval> {
    let mut patients: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (patient, value) in values {
        patients.entry(patient).or_default().push(value);
    }
    let patients: Vec<Vec<f64>> = patients.into_values().collect();
    bootstrap_by_patient(&patients, options.resamples, options.seed, |values| {
        (!values.is_empty()).then(|| values.iter().copied().sum::<f64>() / values.len() as f64)
    })
}

/// Cascading randomisation (Adebayo et al., 2018): layer after layer is shuffled from the answer down, and the maps of the images of
/// `indices` that show a class are compared with those of the real network. Of each class `most` images are taken.
pub fn sanity(
    dataset: &CocoDataset,
    indices: &[usize],
    classes: &Classes,
    (bundle, folder): (&Arc<Bundle>, &Path),
    most: usize,
    options: &EvaluateOptions,
    task: &Task,
) -> Result<Vec<SanityStep>, EvaluateError> {
    let mut cases = Vec::new();
    for class in &classes.lesions {
        let of_class = positives(dataset, indices, classes).into_iter().filter(|(other, _)| *other == class);
        cases.extend(of_class.take(most));
    }
    let quiet = Task::new();
    let kinds = kinds(bundle);
    let maps = |bundle: &Arc<Bundle>| -> Result<Vec<Option<Case>>, EvaluateError> {
        cases
            .iter()
            .map(|(class, record)| {
                task.check()?;
                Ok(Case::new(bundle, record, &class.class, &quiet).ok())
            })
            .collect()
    };
    let real = maps(bundle)?;
    let layers = layers_from_top(&bundle.metadata.config);
    let mut steps = Vec::new();
    for count in 1..=layers.len() {
        task.progress("Shuffling layers", count as u64 - 1, layers.len() as u64);
        let chosen = layers.get(..count).unwrap_or_default();
        let device = (bundle.device.clone(), bundle.device_name.clone());
        let shuffled = Bundle::load_shuffled(folder, device, chosen, options.seed)
            .map_err(|error| EvaluateError::Write { path: folder.to_path_buf(), message: error.to_string() })?;
        let other = maps(&Arc::new(shuffled))?;
        let mut similarity = BTreeMap::new();
        for kind in &kinds {
            let alike = cases.iter().zip(real.iter().zip(&other)).filter_map(|((class, record), (a, b))| {
                let cells = |case: &Option<Case>| {
                    let values = case.as_ref()?.values(*kind, &class.class)?;
                    Some(coverage(values.view(), (CELLS, CELLS)))
                };
                let (a, b) = (cells(a)?, cells(b)?);
                Some((record.patient_id.as_str(), f64::from(rank_correlation(a.view(), b.view()))))
            });
            if let Some(interval) = mean_by_patient(alike, options) {
                similarity.insert(kind.key(), interval);
            }
        }
        let layer = chosen.last().map(|(name, _)| name.clone()).unwrap_or_default();
        steps.push(SanityStep { layer, similarity });
    }
    task.progress("Shuffling layers", layers.len() as u64, layers.len() as u64);
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::{Faithfulness, RandomRange};

    fn row(patient: &str, verdict: Verdict, deletion: f32, pointed: Option<bool>) -> Row {
        let random = RandomRange { mean: 0.5, low: 0.4, high: 0.6, maps: 20 };
        let result = Faithfulness {
            probability: 0.9,
            blurred: 0.1,
            deletion,
            insertion: 0.7,
            random,
            hottest_masked: 0.5,
            random_masked: 0.8,
            inside_lungs: None,
            lungs_area: None,
            agreement: Some(0.25),
            verdict,
        };
        let id = MapId::of(MapKind::LesionHead, "a");
        let result = MapFaithfulness { id, result, warnings: Vec::new() };
        Row { patient: patient.to_owned(), result, pointed }
    }

    #[test]
    fn images_that_cannot_be_measured_count_for_pointing_alone() {
        let rows = [
            row("p", Verdict::Faithful, 0.2, Some(true)),
            row("p", Verdict::Partly, 0.4, None),
            row("q", Verdict::NoBetterThanRandom, 0.6, Some(false)),
            row("r", Verdict::NotMeasurable, 0.9, Some(true)),
        ];
        let found = scores(("a".to_owned(), "lesion-head".to_owned()), &rows, &EvaluateOptions::default());
        assert_eq!((found.images, found.measurable, found.verdicts), (4, 3, [1, 1, 1]));
        assert!((found.deletion.unwrap().value - 0.4).abs() < 1e-6 && (found.gap.unwrap().value - 0.3).abs() < 1e-6);
        let pointing = found.pointing.unwrap();
        assert!((pointing.value - 2.0 / 3.0).abs() < 1e-6 && pointing.n == 3);
        assert!(found.inside_lungs.is_none() && (found.random - 0.5).abs() < 1e-6);
    }
}
