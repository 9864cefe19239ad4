//! A bundle of slabs, measured on simulated scans whose truth is known in three dimensions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::bootstrap::{Interval, bootstrap_by_patient};
use super::metrics::{Candidate, FrocImage, froc_score};
use super::run::EvaluateOptions;
use crate::analysis::{AnalysisError, VolumeAnalysis, analyze_volume};
use crate::model::Bundle;
use crate::phantom::{Ct, Lesion, ORGANS, Options, simulate_ct_alone};
use crate::study::{DisplayAttributes, Instance, InstanceUid, Series, SeriesUid, Source};
use crate::task::Task;
use crate::volume::{Grid, PlaneKind, Slab, Vector, Volume, Voxels, length, minus};

/// Which scans.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhantomScans {
    /// Seed of the first; the others follow. None of them may be one that the bundle was trained on.
    pub seed: u64,
    /// How many.
    pub count: u64,
    /// Rows and columns of a slice.
    pub size: usize,
    /// Distance of slices, mm.
    pub slice_mm: f32,
    /// Nodules besides the usual four.
    pub extra_nodules: usize,
    /// Planes that the network sees.
    pub plane: PlaneKind,
}

/// What was measured. Intervals are bootstrapped by scan.
#[derive(Debug, Clone, Serialize)]
pub struct VolumeEvaluation {
    /// `dice.<organ>` in three dimensions; `froc.<lesion>` by LUNA16's definition, where a candidate hits whose peak lies within the lesion's
    /// radius; `sensitivity.<lesion>` and `false_positives.<lesion>` (a scan) of the findings; `volume_ratio.<lesion>` and
    /// `diameter_error_mm.<lesion>`: medians over found lesions, found against true.
    pub metrics: BTreeMap<String, Measured>,
    /// By scan: seed, true and found lesions.
    pub scans: Vec<ScanRow>,
}

/// A metric with its interval and what it was counted on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct Measured {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub n: usize,
}

/// One scan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScanRow {
    /// Its seed.
    pub seed: u64,
    /// By class: true lesions, findings, findings that hit none.
    pub counts: Vec<(String, usize, usize, usize)>,
    /// Seconds that the analysis took.
    pub seconds: f64,
    /// Codes of the warnings.
    pub flags: Vec<String>,
}

/// A true lesion on the scan's own voxels.
struct Truth {
    centre: Vector,
    radius: f64,
    volume_mm3: f64,
    longest_mm: f64,
}

/// What one scan gives.
struct Scan {
    /// Of each organ of the bundle: voxels of the truth, of the answer, of both; every second one along each axis.
    organs: Vec<Option<[usize; 3]>>,
    /// Of each lesion class.
    lesions: Vec<Found>,
    row: ScanRow,
}

#[derive(Default)]
struct Found {
    froc: FrocImage,
    hits: usize,
    false_positives: usize,
    /// Volume ratio and difference of diameters of the lesions that were found.
    sizes: Vec<(f64, f64)>,
}

/// Simulates scans, analyses each as a volume, and compares.
///
/// # Errors
/// As [`analyze_volume`]; where the user has cancelled.
pub fn evaluate_phantoms(
    bundle: &Bundle,
    scans: &PhantomScans,
    options: &EvaluateOptions,
    task: &Task,
) -> Result<VolumeEvaluation, AnalysisError> {
    let mut measured = Vec::new();
    for number in 0..scans.count {
        task.progress("Simulated scans", number, scans.count);
        measured.push(scan(bundle, scans, scans.seed + number, &task.quietly())?);
    }
    let mut metrics = BTreeMap::new();
    let patients: Vec<Vec<&Scan>> = measured.iter().map(|scan| vec![scan]).collect();
    let mut add = |key: String, n: usize, metric: &(dyn Fn(&[&&Scan]) -> Option<f64> + Sync)| {
        let interval = bootstrap_by_patient(&patients, options.resamples, options.seed, metric);
        if let Some(Interval { value, low, high, .. }) = interval {
            metrics.insert(key, Measured { value, low, high, n });
        }
    };
    for (index, organ) in bundle.metadata.organs.iter().enumerate() {
        add(format!("dice.{}", organ.name), measured.len(), &|scans| {
            let each = scans.iter().filter_map(|scan| scan.organs.get(index).copied().flatten());
            let dice: Vec<f64> = each.map(|[truth, found, both]| 2.0 * both as f64 / (truth + found) as f64).collect();
            (!dice.is_empty()).then(|| dice.iter().sum::<f64>() / dice.len() as f64)
        });
    }
    for (index, lesion) in bundle.metadata.lesions.iter().enumerate() {
        let of = |scan: &&&Scan| -> usize { scan.lesions[index].froc.lesions };
        let total: usize = measured.iter().map(|scan| scan.lesions[index].froc.lesions).sum();
        let name = &lesion.name;
        add(format!("froc.{name}"), total, &|scans| {
            froc_score(&scans.iter().map(|scan| &scan.lesions[index].froc).collect::<Vec<_>>())
        });
        add(format!("sensitivity.{name}"), total, &|scans| {
            let all: usize = scans.iter().map(of).sum();
            (all > 0).then(|| scans.iter().map(|scan| scan.lesions[index].hits).sum::<usize>() as f64 / all as f64)
        });
        add(format!("false_positives.{name}"), measured.len(), &|scans| {
            let all: usize = scans.iter().map(|scan| scan.lesions[index].false_positives).sum();
            Some(all as f64 / scans.len() as f64)
        });
        let found: usize = measured.iter().map(|scan| scan.lesions[index].sizes.len()).sum();
        add(format!("volume_ratio.{name}"), found, &|scans| {
            median(scans.iter().flat_map(|scan| scan.lesions[index].sizes.iter().map(|size| size.0)))
        });
        add(format!("diameter_error_mm.{name}"), found, &|scans| {
            median(scans.iter().flat_map(|scan| scan.lesions[index].sizes.iter().map(|size| size.1)))
        });
    }
    Ok(VolumeEvaluation { metrics, scans: measured.into_iter().map(|scan| scan.row).collect() })
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn scan(bundle: &Bundle, scans: &PhantomScans, seed: u64, task: &Task) -> Result<Scan, AnalysisError> {
    let options = Options {
        ct_size: scans.size,
        ct_slice_mm: scans.slice_mm,
        extra_nodules: scans.extra_nodules,
        ..Options::new(seed)
    };
    let (lesions, ct) = simulate_ct_alone(options, task)?;
    let (series, volume) = as_series(&ct);
    let found = analyze_volume(bundle, Arc::new(volume), &series, scans.plane, task)?;
    let organs = bundle.metadata.organs.iter().map(|organ| overlap(&organ.name, &ct, &found)).collect();
    let classes: Vec<Found> =
        bundle.metadata.lesions.iter().map(|class| compare(&class.name, &lesions, &ct, &found)).collect();
    let counts = bundle.metadata.lesions.iter().zip(&classes).map(|(class, found)| {
        let findings = found.hits + found.false_positives;
        (class.name.clone(), found.froc.lesions, findings, found.false_positives)
    });
    let row = ScanRow {
        seed,
        counts: counts.collect(),
        seconds: found.seconds,
        flags: found.flags.iter().map(|flag| flag.code.clone()).collect(),
    };
    Ok(Scan { organs, lesions: classes, row })
}

/// The scan as if it had been read from files, head first as scanners number it.
fn as_series(ct: &Ct) -> (Series, Volume) {
    let (slices, rows, columns) = ct.hu.dim();
    let [slice_mm, row_mm, column_mm] = ct.spacing_mm;
    let [x, y, z] = ct.origin_mm;
    let positions: Vec<Vector> = (0..slices).map(|k| [x, y, z + slice_mm * k as f64]).collect();
    let grid = Grid::new(&positions, (rows, columns), [0.0, row_mm, 0.0], [column_mm, 0.0, 0.0])
        .unwrap_or_else(|error| unreachable!("a simulated scan is a lattice: {error}"));
    let instance = |number: usize| Instance {
        uid: InstanceUid(number.to_string()),
        twin: None,
        sop_class: String::new(),
        source: Source::file(number.to_string()),
        number: None,
        transfer_syntax: String::new(),
        rows,
        columns,
        frames: 1,
        frame_order: Vec::new(),
        geometry: None,
    };
    let series = Series {
        uid: SeriesUid("simulated".into()),
        modality: "CT".into(),
        body_part: "CHEST".into(),
        instances: (0..slices).map(instance).collect(),
        ..Series::default()
    };
    let volume = Volume {
        grid,
        voxels: Voxels::I16(ct.hu.iter().copied().collect()),
        places: (0..slices).rev().collect(),
        rescale: (1.0, 0.0),
        frame_of_reference: None,
        display: DisplayAttributes::default(),
        notes: Vec::new(),
    };
    (series, volume)
}

/// Truth, answer and both, in voxels, every second one along each axis; `None` for organs that phantoms do not have.
fn overlap(organ: &str, ct: &Ct, found: &VolumeAnalysis) -> Option<[usize; 3]> {
    let label = ORGANS.iter().position(|name| *name == organ)? as u8 + 1;
    let answer = &found.organs.iter().find(|found| found.organ == organ)?.values;
    let mut counts = [0; 3];
    for slice in (0..ct.hu.dim().0).step_by(2) {
        let plane = crate::volume::Plane::of_slice(&found.volume.grid, slice);
        let map = answer.sample(&plane, Slab::default());
        for ((row, column), value) in map.indexed_iter().filter(|((r, c), _)| r % 2 == 0 && c % 2 == 0) {
            let (truth, answered) = (ct.organs[[slice, row, column]] == label, *value >= 0.5);
            counts[0] += usize::from(truth);
            counts[1] += usize::from(answered);
            counts[2] += usize::from(truth && answered);
        }
    }
    (counts[0] > 0).then_some(counts)
}

/// Lesions of a class, measured on the scan's voxels; those that have none on the scan are left out.
fn truths(class: &str, lesions: &[Lesion], ct: &Ct) -> Vec<Truth> {
    let voxel = ct.spacing_mm.iter().product::<f64>();
    let of_class = lesions.iter().filter(|lesion| lesion.kind.is_nodule() == (class == "nodule"));
    of_class
        .filter_map(|lesion| {
            let voxels = ct.lesions.iter().filter(|id| **id == lesion.id).count();
            let longest = lesion.axes_mm.iter().copied().fold(0.0, f32::max);
            (voxels > 0).then(|| Truth {
                centre: lesion.center_mm.map(f64::from),
                radius: f64::from(longest) / 2.0,
                volume_mm3: voxels as f64 * voxel,
                longest_mm: f64::from(longest),
            })
        })
        .collect()
}

fn compare(class: &str, lesions: &[Lesion], ct: &Ct, found: &VolumeAnalysis) -> Found {
    let truth = truths(class, lesions, ct);
    let hit = |point: Vector| {
        let away = truth.iter().map(|truth| (length(minus(point, truth.centre)), truth.radius));
        away.enumerate().filter(|(_, (mm, radius))| mm <= radius).min_by(|a, b| a.1.0.total_cmp(&b.1.0)).map(|(i, _)| i)
    };
    let candidates = found.candidates(class).into_iter();
    let mut result = Found {
        froc: FrocImage {
            lesions: truth.len(),
            candidates: candidates
                .map(|(point, score)| Candidate { score: f64::from(score), lesion: hit(point) })
                .collect(),
        },
        ..Found::default()
    };
    let mut reached = vec![false; truth.len()];
    for finding in found.findings.iter().filter(|finding| finding.label == class) {
        let Some(extent) = &finding.extent else { continue };
        match hit(extent.peak_mm) {
            None => result.false_positives += 1,
            Some(index) if reached[index] => {}
            Some(index) => {
                reached[index] = true;
                let Truth { volume_mm3, longest_mm, .. } = truth[index];
                let ratio = f64::from(extent.volume_mm3) / volume_mm3;
                result.sizes.push((ratio, f64::from(extent.longest_mm) - longest_mm));
            }
        }
    }
    result.hits = reached.iter().filter(|reached| **reached).count();
    result
}
