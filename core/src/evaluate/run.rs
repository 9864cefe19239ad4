//! Runs a predictor over a data set and measures it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ndarray::{Array2, Axis};

use super::bootstrap::{Interval, bootstrap_by_patient, percentile_interval, resample};
use super::lesions::{TrueLesion, true_lesions};
use super::metrics::{
    Candidate, FrocImage, ReliabilityBin, auroc, average_precision, binary, box_average_precision, brier, dice,
    expected_calibration_error, froc_curve, froc_score, heat_map_peak, interpolate_curve, reliability_bins, roc_curve,
    sensitivity_at_specificity,
};
use super::picture::{Prediction, side_by_side};
use super::predictor::{Classes, ImagePrediction, LesionPrediction, Predictor};
use crate::dataset::{ClassMap, CocoDataset, ImageRecord, ImageStore};
use crate::nn::BoundingBox;
use crate::study::{DisplayAttributes, Frame, GrayPixels, Pixels};
use crate::task::{Cancelled, Task};

/// How to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluateOptions {
    /// Draws of the bootstrap.
    pub resamples: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Cases to show of each class.
    pub worst_cases: usize,
}

impl Default for EvaluateOptions {
    fn default() -> Self {
        Self { resamples: 1000, seed: 20_240_607, worst_cases: 10 }
    }
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// Cancelled by the user.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// No image could be analysed.
    #[error("none of {images} images could be analysed; the first: {first}")]
    NothingMeasured {
        /// Images tried.
        images: usize,
        /// Why the first one failed.
        first: String,
    },
    /// The answer cannot be written.
    #[error("{path}: {message}")]
    Write {
        /// File or folder.
        path: PathBuf,
        /// Cause.
        message: String,
    },
}

/// An image that could not be analysed; it counts nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Id in the data set.
    pub image_id: u64,
    /// Cause.
    pub message: String,
}

/// Curves of one lesion class.
#[derive(Debug, Clone, PartialEq)]
pub struct LesionCurves {
    /// The class.
    pub class: String,
    /// Images with and without it.
    pub positives_negatives: (usize, usize),
    /// ROC: (false positive rate, sensitivity).
    pub roc: Vec<(f64, f64)>,
    /// 95 % band: false positive rate, low and high sensitivity.
    pub roc_band: Vec<(f64, f64, f64)>,
    /// FROC: (false positives an image, sensitivity).
    pub froc: Vec<(f64, f64)>,
    /// 95 % band: false positives an image, low and high sensitivity.
    pub froc_band: Vec<(f64, f64, f64)>,
    /// FROC of boxes, where there are any: of the detector, and around the findings of the map.
    pub box_froc: Option<Vec<(f64, f64)>>,
    /// See [`Self::box_froc`].
    pub map_box_froc: Vec<(f64, f64)>,
    /// Reliability in ten bins.
    pub reliability: Vec<ReliabilityBin>,
}

/// Dice of one organ on every image where it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganScores {
    /// The organ.
    pub organ: String,
    /// Dice coefficients, ascending.
    pub dice: Vec<f64>,
}

/// One of the worst cases of a class.
#[derive(Debug, Clone, PartialEq)]
pub struct WorstCase {
    /// Lesion class or organ.
    pub class: String,
    /// Id in the data set.
    pub image_id: u64,
    /// Source in the data set.
    pub source: String,
    /// What is wrong, for people: `Dice 0.412`, `positive, probability 0.03`.
    pub summary: String,
    /// JPEG: the image with the truth beside the image with the answer.
    pub picture: Vec<u8>,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Metric by key: `dice.<organ>`, `auroc.<lesion>`, `pointing.<lesion>`, `froc.<lesion>`, `average_precision.<lesion>`,
    /// `brier.<lesion>`, `ece.<lesion>`, `sensitivity_at_90_specificity.<lesion>`; of boxes, `froc_map_boxes.<lesion>`,
    /// `ap50_map_boxes.<lesion>` and, for a detector, `froc_boxes.<lesion>`, `ap50_boxes.<lesion>`; those that are defined within one source of
    /// several also as `<key>.<source>`.
    pub metrics: BTreeMap<String, Interval>,
    /// Images analysed.
    pub images: usize,
    /// Their patients.
    pub patients: usize,
    /// Curves by lesion class.
    pub lesions: Vec<LesionCurves>,
    /// Dice by organ.
    pub organs: Vec<OrganScores>,
    /// Worst cases of each class, worst first.
    pub worst: Vec<WorstCase>,
    /// Images that failed.
    pub failures: Vec<Failure>,
}

#[derive(Clone)]
pub(super) struct LesionRecord {
    score: f64,
    label: bool,
    /// For positives: whether the heat map's peak is inside a lesion.
    pointed: Option<bool>,
    froc: FrocImage,
    map_boxes: BoxRecord,
    /// A detector's.
    boxes: Option<BoxRecord>,
}

/// Boxes of one image against the truth.
#[derive(Clone)]
pub(super) struct BoxRecord {
    /// A box hits the lesion that holds its centre.
    by_centre: FrocImage,
    /// A box hits the free lesion whose box it overlaps most, by half of their union or more.
    pub(super) by_overlap: FrocImage,
}

/// A value measured on one image.
pub(super) struct Measured<T> {
    pub(super) index: usize,
    pub(super) value: T,
}

/// Measures `predictor` on the images of `dataset` named by `indices`. An image that fails is named in
/// [`Evaluation::failures`] and counts nowhere. Organs are measured where they are drawn.
pub fn evaluate(
    dataset: &CocoDataset,
    indices: &[usize],
    classes: &Classes,
    predictor: &dyn Predictor,
    options: &EvaluateOptions,
    task: &Task,
) -> Result<Evaluation, EvaluateError> {
    let targets = organ_targets(classes);
    let Measurements { lesions, organs, failures, analysed } =
        measure(dataset, indices, classes, predictor, "Analysing images", task)?;

    let mut metrics = BTreeMap::new();
    let mut curves = Vec::new();
    for (class, records) in classes.lesions.iter().zip(&lesions) {
        task.check()?;
        task.progress("Computing intervals", curves.len() as u64, classes.lesions.len() as u64);
        lesion_metrics(&mut metrics, &class.class, dataset, records, options);
        curves.push(lesion_curves(&class.class, dataset, records, options));
    }
    let mut organ_scores = Vec::new();
    for (target, scores) in targets.iter().zip(&organs) {
        task.check()?;
        with_sources(&mut metrics, "dice", &target.map.class, dataset, scores, options, &|values| {
            (!values.is_empty()).then(|| values.iter().copied().sum::<f64>() / values.len() as f64)
        });
        let mut values: Vec<f64> = scores.iter().map(|s| s.value).collect();
        values.sort_by(f64::total_cmp);
        organ_scores.push(OrganScores { organ: target.map.class.clone(), dice: values });
    }
    let worst = worst_cases(dataset, classes, &targets, &lesions, &organs, predictor, options, task)?;
    let patients: BTreeSet<&str> = analysed.iter().map(|index| dataset.images[*index].patient_id.as_str()).collect();
    Ok(Evaluation {
        metrics,
        images: analysed.len(),
        patients: patients.len(),
        lesions: curves,
        organs: organ_scores,
        worst,
        failures,
    })
}

/// What a predictor said, image by image: a list for each lesion class and for each organ target.
pub(super) struct Measurements {
    pub(super) lesions: Vec<Vec<Measured<LesionRecord>>>,
    pub(super) organs: Vec<Vec<Measured<f64>>>,
    pub(super) failures: Vec<Failure>,
    pub(super) analysed: BTreeSet<usize>,
}

/// Asks `predictor` about every image.
///
/// # Errors
/// Where it is cancelled, or no image could be analysed.
pub(super) fn measure(
    dataset: &CocoDataset,
    indices: &[usize],
    classes: &Classes,
    predictor: &dyn Predictor,
    stage: &str,
    task: &Task,
) -> Result<Measurements, EvaluateError> {
    let mut lesions: Vec<Vec<Measured<LesionRecord>>> = classes.lesions.iter().map(|_| Vec::new()).collect();
    let targets = organ_targets(classes);
    let mut organs: Vec<Vec<Measured<f64>>> = targets.iter().map(|_| Vec::new()).collect();
    let mut failures = Vec::new();
    let mut analysed = BTreeSet::new();
    for (done, index) in indices.iter().enumerate() {
        task.check()?;
        task.progress(stage, done as u64, indices.len() as u64);
        let Some(record) = dataset.images.get(*index) else { continue };
        let prediction = match predict(record, predictor) {
            Ok((_, prediction)) => prediction,
            Err(message) => {
                failures.push(Failure { image_id: record.id, message });
                continue;
            }
        };
        analysed.insert(*index);
        for (class, records) in classes.lesions.iter().zip(&mut lesions) {
            let (Some(label), Some(answer)) = (class.label(record), lesion_answer(&prediction, class)) else {
                continue;
            };
            records
                .push(Measured { index: *index, value: measure_lesion(label, answer, &true_lesions(class, record)) });
        }
        for (target, scores) in targets.iter().zip(&mut organs) {
            if let Some(score) = target.dice(record, &prediction) {
                scores.push(Measured { index: *index, value: score });
            }
        }
    }
    task.progress(stage, indices.len() as u64, indices.len() as u64);
    if analysed.is_empty() {
        let first = failures.first().map_or_else(|| "there are no images".to_owned(), |f: &Failure| f.message.clone());
        return Err(EvaluateError::NothingMeasured { images: indices.len(), first });
    }
    Ok(Measurements { lesions, organs, failures, analysed })
}

/// The image of a record, as a frame; gray where its colours are.
pub(crate) fn frame_of(record: &ImageRecord) -> Result<Frame, String> {
    let store = ImageStore::new(0);
    let colours = store.colours(record).map_err(|error| error.to_string())?;
    let is_gray = colours.lanes(Axis(2)).into_iter().all(|pixel| pixel.iter().all(|v| *v == pixel[0]));
    let pixels = match is_gray {
        true => Pixels::Gray(GrayPixels::U8(store.get(record).map_err(|error| error.to_string())?.as_ref().clone())),
        false => Pixels::Rgb(colours),
    };
    Ok(Frame { pixels, display: DisplayAttributes::default() })
}

fn predict(record: &ImageRecord, predictor: &dyn Predictor) -> Result<(Array2<u8>, ImagePrediction), String> {
    let frame = frame_of(record)?;
    let prediction = predictor.predict(&frame)?;
    let size = (record.height, record.width);
    let maps =
        prediction.lesions.iter().map(|l| (&l.label, &l.heat_map)).chain(prediction.organs.iter().map(|(o, m)| (o, m)));
    for (name, map) in maps {
        if map.dim() != size {
            return Err(format!("the map of {name} is {:?}, the image {size:?} (rows, columns)", map.dim()));
        }
    }
    if let Some(lesion) = prediction.lesions.iter().find(|l| !(0.0..=1.0).contains(&l.probability)) {
        return Err(format!("the probability of {} is {}", lesion.label, lesion.probability));
    }
    // Of a slab, the slice in the middle.
    let image = match frame.pixels {
        Pixels::Gray(GrayPixels::U8(image)) => image,
        Pixels::Rgb(colours) => colours.index_axis(Axis(2), 1).to_owned(),
        Pixels::Gray(_) => return Err("not an 8-bit image".into()),
    };
    Ok((image, prediction))
}

fn lesion_answer<'a>(prediction: &'a ImagePrediction, class: &ClassMap) -> Option<&'a LesionPrediction> {
    prediction.lesions.iter().find(|lesion| lesion.label == class.class)
}

fn measure_lesion(label: bool, answer: &LesionPrediction, truth: &[TrueLesion]) -> LesionRecord {
    let peak = heat_map_peak(answer.heat_map.view());
    let pointed = peak.is_some_and(|(r, c)| truth.iter().any(|lesion| lesion.contains(r as f32, c as f32)));
    let candidates =
        answer.findings.iter().map(|(row, column, score)| candidate((*row, *column), *score, truth)).collect();
    LesionRecord {
        score: f64::from(answer.probability),
        label,
        pointed: (!truth.is_empty()).then_some(pointed),
        froc: FrocImage { lesions: truth.len(), candidates },
        map_boxes: measure_boxes(&answer.map_boxes, truth),
        boxes: answer.boxes.as_ref().map(|boxes| measure_boxes(boxes, truth)),
    }
}

/// A suspected lesion at a point (row, column).
fn candidate((row, column): (f32, f32), score: f32, truth: &[TrueLesion]) -> Candidate {
    // Of nested lesions the smallest is meant.
    let hit = truth.iter().enumerate().filter(|(_, l)| l.contains(row, column)).min_by_key(|(_, l)| l.area);
    Candidate { score: f64::from(score), lesion: hit.map(|(index, _)| index) }
}

/// Overlap (intersection over union) from which a box hits.
const HIT_OVERLAP: f32 = 0.5;

pub(super) fn measure_boxes(boxes: &[(BoundingBox, f32)], truth: &[TrueLesion]) -> BoxRecord {
    let mut order: Vec<&(BoundingBox, f32)> = boxes.iter().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut free: Vec<Option<BoundingBox>> = truth.iter().map(|lesion| Some(lesion.bounds())).collect();
    let mut by_overlap = Vec::with_capacity(order.len());
    for (bounds, score) in &order {
        let overlaps =
            free.iter().enumerate().filter_map(|(index, lesion)| Some((index, lesion.as_ref()?.iou(bounds))));
        let best = overlaps.filter(|(_, overlap)| *overlap >= HIT_OVERLAP).max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((index, _)) = best {
            free[index] = None;
        }
        by_overlap.push(Candidate { score: f64::from(*score), lesion: best.map(|(index, _)| index) });
    }
    let by_centre = order.iter().map(|(bounds, score)| {
        let (x, y) = bounds.centre();
        candidate((y - 0.5, x - 0.5), *score, truth)
    });
    let image = |candidates| FrocImage { lesions: truth.len(), candidates };
    BoxRecord { by_centre: image(by_centre.collect()), by_overlap: image(by_overlap) }
}

/// An organ, or a union of organs, that is measured.
pub(super) struct OrganTarget<'a> {
    pub(super) map: &'a ClassMap,
    /// Classes of the model whose union it is.
    classes: Vec<&'a str>,
}

pub(super) fn organ_targets(classes: &Classes) -> Vec<OrganTarget<'_>> {
    let single = classes.organs.iter().map(|map| OrganTarget { map, classes: vec![map.class.as_str()] });
    let unions = classes
        .unions
        .iter()
        .map(|union| OrganTarget { map: &union.target, classes: union.classes.iter().map(String::as_str).collect() });
    single.chain(unions).collect()
}

impl OrganTarget<'_> {
    /// The truth, where the organ is drawn: every category of a group is annotated and has a shape. An organ that is annotated but
    /// not drawn could not be made out; there Dice would only say whether the network left it out too.
    fn truth(&self, image: &ImageRecord) -> Option<Array2<u8>> {
        let drawn = |name: &String| image.annotated.contains(name) && image.shapes.iter().any(|s| s.category == *name);
        let group = self.map.any_of.iter().find(|group| !group.is_empty() && group.iter().all(drawn))?;
        let mut mask = Array2::zeros((image.height, image.width));
        for shape in image.shapes.iter().filter(|shape| group.contains(&shape.category)) {
            shape.geometry.draw_on(&mut mask);
        }
        Some(mask)
    }

    /// Union of the maps; `None` where the network lacks one of them.
    fn answer(&self, prediction: &ImagePrediction) -> Option<Array2<f32>> {
        let mut union: Option<Array2<f32>> = None;
        for class in &self.classes {
            let (_, map) = prediction.organs.iter().find(|(organ, _)| organ == class)?;
            match &mut union {
                None => union = Some(map.clone()),
                Some(union) => union.zip_mut_with(map, |u, v| *u = u.max(*v)),
            }
        }
        union
    }

    fn dice(&self, image: &ImageRecord, prediction: &ImagePrediction) -> Option<f64> {
        dice(self.answer(prediction)?.view(), self.truth(image)?.view())
    }
}

pub(super) fn by_patient<'a, T: Clone + 'a>(
    dataset: &CocoDataset,
    records: impl Iterator<Item = &'a Measured<T>>,
) -> Vec<Vec<T>> {
    let mut groups: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for record in records {
        groups.entry(&dataset.images[record.index].patient_id).or_default().push(record.value.clone());
    }
    groups.into_values().collect()
}

/// Adds a metric over all records and, where there are several sources, within each.
fn with_sources<T: Clone + Sync>(
    metrics: &mut BTreeMap<String, Interval>,
    metric: &str,
    class: &str,
    dataset: &CocoDataset,
    records: &[Measured<T>],
    options: &EvaluateOptions,
    compute: &(dyn Fn(&[&T]) -> Option<f64> + Sync),
) {
    let mut add = |key: String, groups: Vec<Vec<T>>| {
        if let Some(interval) = bootstrap_by_patient(&groups, options.resamples, options.seed, compute) {
            metrics.insert(key, interval);
        }
    };
    add(format!("{metric}.{class}"), by_patient(dataset, records.iter()));
    let source = |record: &Measured<T>| dataset.images[record.index].source.as_str();
    let sources: BTreeSet<&str> = records.iter().map(source).collect();
    if sources.len() > 1 {
        for name in sources {
            let own = records.iter().filter(|record| source(record) == name);
            add(format!("{metric}.{class}.{name}"), by_patient(dataset, own));
        }
    }
}

fn pairs(records: &[&LesionRecord]) -> Vec<(f64, bool)> {
    records.iter().map(|record| (record.score, record.label)).collect()
}

fn froc_images<'a>(records: &[&'a LesionRecord]) -> Vec<&'a FrocImage> {
    records.iter().map(|record| &record.froc).collect()
}

fn lesion_metrics(
    metrics: &mut BTreeMap<String, Interval>,
    class: &str,
    dataset: &CocoDataset,
    records: &[Measured<LesionRecord>],
    options: &EvaluateOptions,
) {
    for (name, metric) in LESION_METRICS {
        with_sources(metrics, name, class, dataset, records, options, &metric);
    }
    let of_map: Vec<Measured<BoxRecord>> =
        records.iter().map(|r| Measured { index: r.index, value: r.value.map_boxes.clone() }).collect();
    let of_detector = records
        .iter()
        .filter_map(|r| Some(Measured { index: r.index, value: r.value.boxes.clone()? }))
        .collect::<Vec<_>>();
    for (kind, boxes) in [("map_boxes", of_map), ("boxes", of_detector)] {
        with_sources(metrics, &format!("froc_{kind}"), class, dataset, &boxes, options, &|records: &[&BoxRecord]| {
            froc_score(&records.iter().map(|record| &record.by_centre).collect::<Vec<_>>())
        });
        with_sources(metrics, &format!("ap50_{kind}"), class, dataset, &boxes, options, &|records: &[&BoxRecord]| {
            box_average_precision(&records.iter().map(|record| &record.by_overlap).collect::<Vec<_>>())
        });
    }
    let positives: Vec<Measured<LesionRecord>> = records
        .iter()
        .filter(|r| r.value.pointed.is_some())
        .map(|r| Measured { index: r.index, value: r.value.clone() })
        .collect();
    with_sources(metrics, "pointing", class, dataset, &positives, options, &pointing);
}

/// A metric over images.
pub(super) type LesionMetric = fn(&[&LesionRecord]) -> Option<f64>;

/// Metrics over all images that count for a class; [`pointing`] is one over those that show it.
pub(super) const LESION_METRICS: [(&str, LesionMetric); 6] = [
    ("auroc", |r| auroc(&pairs(r))),
    ("average_precision", |r| average_precision(&pairs(r))),
    ("brier", |r| brier(&pairs(r))),
    ("ece", |r| expected_calibration_error(&pairs(r))),
    ("sensitivity_at_90_specificity", |r| sensitivity_at_specificity(&pairs(r), 0.9)),
    ("froc", |r| froc_score(&froc_images(r))),
];

/// Share of images with a lesion whose heat map peaks in one.
pub(super) fn pointing(records: &[&LesionRecord]) -> Option<f64> {
    let hits: Vec<bool> = records.iter().filter_map(|record| record.pointed).collect();
    (!hits.is_empty()).then(|| hits.iter().filter(|hit| **hit).count() as f64 / hits.len() as f64)
}

fn lesion_curves(
    class: &str,
    dataset: &CocoDataset,
    records: &[Measured<LesionRecord>],
    options: &EvaluateOptions,
) -> LesionCurves {
    let patients = by_patient(dataset, records.iter());
    let all: Vec<&LesionRecord> = patients.iter().flatten().collect();
    let positives = all.iter().filter(|record| record.label).count();
    let roc_grid: Vec<f64> = (0..=100).map(|i| f64::from(i) / 100.0).collect();
    let froc_grid: Vec<f64> = (0..=48).map(|i| 2f64.powf(-4.0 + 7.0 * f64::from(i) / 48.0)).collect();
    type Curve<'a> = &'a dyn Fn(&[&LesionRecord]) -> Option<Vec<(f64, f64)>>;
    let band = |grid: &[f64], curve: Curve<'_>| {
        let mut columns: Vec<Vec<f64>> = vec![Vec::new(); grid.len()];
        for index in 0..options.resamples {
            if let Some(curve) = curve(&resample(&patients, options.seed, index)) {
                for (column, x) in columns.iter_mut().zip(grid) {
                    column.push(interpolate_curve(&curve, *x));
                }
            }
        }
        grid.iter()
            .zip(columns)
            .filter_map(|(x, values)| percentile_interval(values).map(|(low, high)| (*x, low, high)))
            .collect::<Vec<_>>()
    };
    LesionCurves {
        class: class.to_owned(),
        positives_negatives: (positives, all.len() - positives),
        roc: roc_curve(&pairs(&all)).unwrap_or_default(),
        roc_band: band(&roc_grid, &|records| roc_curve(&pairs(records))),
        froc: froc_curve(&froc_images(&all)).unwrap_or_default(),
        froc_band: band(&froc_grid, &|records| froc_curve(&froc_images(records))),
        box_froc: all
            .iter()
            .map(|record| record.boxes.as_ref().map(|boxes| &boxes.by_centre))
            .collect::<Option<Vec<_>>>()
            .and_then(|images| froc_curve(&images)),
        map_box_froc: froc_curve(&all.iter().map(|record| &record.map_boxes.by_centre).collect::<Vec<_>>())
            .unwrap_or_default(),
        reliability: reliability_bins(&pairs(&all), 10),
    }
}

/// Looks again at the worst images: keeping every map of every image would need gigabytes.
#[allow(clippy::too_many_arguments)]
fn worst_cases(
    dataset: &CocoDataset,
    classes: &Classes,
    targets: &[OrganTarget<'_>],
    lesions: &[Vec<Measured<LesionRecord>>],
    organs: &[Vec<Measured<f64>>],
    predictor: &dyn Predictor,
    options: &EvaluateOptions,
    task: &Task,
) -> Result<Vec<WorstCase>, EvaluateError> {
    enum Kind {
        Lesion(usize),
        Organ(usize),
    }
    let mut chosen: Vec<(Kind, usize, String)> = Vec::new();
    for (class, records) in lesions.iter().enumerate() {
        let error = |r: &Measured<LesionRecord>| (f64::from(u8::from(r.value.label)) - r.value.score).abs();
        let mut order: Vec<&Measured<LesionRecord>> = records.iter().collect();
        order.sort_by(|a, b| error(b).total_cmp(&error(a)));
        chosen.extend(order.iter().take(options.worst_cases).map(|r| {
            let truth = if r.value.label { "positive" } else { "negative" };
            (Kind::Lesion(class), r.index, format!("{truth}, probability {:.2}", r.value.score))
        }));
    }
    for (organ, scores) in organs.iter().enumerate() {
        let mut order: Vec<&Measured<f64>> = scores.iter().collect();
        order.sort_by(|a, b| a.value.total_cmp(&b.value));
        let worst = order.iter().take(options.worst_cases);
        chosen.extend(worst.map(|s| (Kind::Organ(organ), s.index, format!("Dice {:.3}", s.value))));
    }
    let mut cases = Vec::new();
    for (done, (kind, index, summary)) in chosen.iter().enumerate() {
        task.check()?;
        task.progress("Drawing the worst cases", done as u64, chosen.len() as u64);
        let record = &dataset.images[*index];
        let Ok((image, prediction)) = predict(record, predictor) else { continue };
        let picture = match kind {
            Kind::Lesion(class) => {
                let class = &classes.lesions[*class];
                let truth: Vec<Array2<u8>> = true_lesions(class, record).into_iter().map(|l| l.mask).collect();
                lesion_answer(&prediction, class)
                    .map(|answer| side_by_side(image.view(), &truth, &Prediction::Heat(answer.heat_map.view())))
            }
            Kind::Organ(organ) => {
                let target = &targets[*organ];
                let truth: Vec<Array2<u8>> = target.truth(record).into_iter().collect();
                target
                    .answer(&prediction)
                    .map(|answer| side_by_side(image.view(), &truth, &Prediction::Mask(binary(answer.view(), 0.5))))
            }
        };
        let class = match kind {
            Kind::Lesion(class) => &classes.lesions[*class].class,
            Kind::Organ(organ) => &targets[*organ].map.class,
        };
        cases.push(WorstCase {
            class: class.clone(),
            image_id: record.id,
            source: record.source.clone(),
            summary: summary.clone(),
            picture: picture.flatten().unwrap_or_default(),
        });
    }
    Ok(cases)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
