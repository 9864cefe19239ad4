//! From a volume to probabilities and findings.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Tensor};
use ndarray::{Array2, Array3, Axis};

use super::pieces::{Piece, pieces, voxel_mm3};
use super::{OrganVolume, ProbabilityVolume, VolumeAnalysis};
use crate::analysis::infer::{familiarity_features, mirror_image};
use crate::analysis::run::{AnalysisError, flag, input_flags, lesion_layer, lesion_method, prediction};
use crate::analysis::types::{Calibration, Finding, FindingId, Flag, ModelIdentity, Prediction, VolumeExtent, Zone};
use crate::model::{Bundle, NetworkImage, Request, SlabInput};
use crate::nn::sigmoid;
use crate::study::{DisplayAttributes, Series, letterbox};
use crate::task::Task;
use crate::volume::{Grid, Plane, PlaneKind, Slab, Vector, Volume, Voxels, along, dot, minus, reach, unit};

/// Planes that go through the network at once.
const BATCH: usize = 8;
/// The lattice of probabilities has so many cells for a pixel of the input, along each side.
const LATTICE: usize = 2;
/// Pieces of fewer voxels, or of less, are noise: thin slices have small voxels. A ball of 40 mm³ is 4 mm across.
const LEAST_VOXELS: usize = 3;
const LEAST_MM3: f64 = 40.0;
/// Findings of one class.
const MOST_FINDINGS: usize = 60;
/// An organ of less than this was not found, mm³.
const LEAST_ORGAN_MM3: f64 = 20_000.0;
/// Planes by whose features the volume is compared with those of training.
const FAMILIAR_PLANES: usize = 9;

/// The slab around `plane`, as a network of slabs is shown it: the plane between its neighbours, the one towards the feet, the back or the right
/// first. Where the volume ends, its last plane stands for what would lie beyond it.
pub fn slab_image(volume: &Volume, plane: &Plane, slab: &SlabInput) -> NetworkImage {
    let normal = unit(plane.orientation.normal()).unwrap_or([0.0, 0.0, 1.0]);
    // Up, to the front or to the left counts as forward, whichever is most along the normal.
    let most = (0..3).max_by(|a, b| normal[*a].abs().total_cmp(&normal[*b].abs())).unwrap_or(2);
    let forward = if most == 1 { -normal[1] } else { normal[most] }.signum();
    let [low, high] = reach(&volume.grid, normal);
    let here = dot(plane.origin, normal);
    let mut slices = Array3::zeros((SlabInput::SLICES, plane.rows, plane.columns));
    for (index, mut target) in slices.outer_iter_mut().enumerate() {
        let wanted = (index as f64 - 1.0) * forward * f64::from(slab.spacing_mm);
        // Voxels reach half a slice beyond their centres.
        let edge = 0.5 * volume.grid.step_mm(normal);
        let mm = wanted.clamp((low + edge - here).min(0.0), (high - edge - here).max(0.0));
        target.assign(&volume.sample(&plane.moved(mm), Slab::default()));
    }
    NetworkImage::slab(slices, slab.window)
}

/// Analyses `volume`, which is of `series`, in planes of `kind`. Takes 15 to 30 ms a plane on two cores; the memory it takes grows by 16 KiB a
/// plane and class.
///
/// # Errors
/// Where the bundle is not one of slabs, the volume misses the plane, the network fails, or the user has cancelled.
pub fn analyze_volume(
    bundle: &Bundle,
    volume: Arc<Volume>,
    series: &Series,
    kind: PlaneKind,
    task: &Task,
) -> Result<VolumeAnalysis, AnalysisError> {
    let start = Instant::now();
    let metadata = &bundle.metadata;
    let Some(slab) = metadata.config.slab else {
        return Err(AnalysisError::Unknown(format!("way to show {} a volume: it reads single images", metadata.id)));
    };
    let planes = planes(&volume, kind, slab);
    if planes.len() < 3 {
        return Err(AnalysisError::Unknown(format!("three {} planes in the volume", kind.name())));
    }
    let lattice = lattice(&planes, metadata.config.input_size)?;
    let mut answers = Answers::new(bundle, &lattice);
    for (number, batch) in planes.chunks(BATCH).enumerate() {
        task.check()?;
        task.progress("Reading slices", (number * BATCH) as u64, planes.len() as u64);
        answers.take(bundle, batch.iter().map(|plane| slab_image(&volume, plane, &slab)))?;
    }
    task.progress("Merging", planes.len() as u64, planes.len() as u64);
    let mut flags = input_flags(bundle, series);
    flags.extend(volume.notes.iter().map(|note| flag("doubtful_volume", note.clone())));
    flags.extend(unfamiliar(bundle, &volume, &planes, &slab)?);
    let mut analysis = merge(bundle, volume, series, kind, &lattice, answers, task)?;
    flags.append(&mut analysis.flags);
    analysis.flags = flags;
    analysis.seconds = start.elapsed().as_secs_f64();
    Ok(analysis)
}

/// Findings and organs out of the answers for all planes.
pub(super) fn merge(
    bundle: &Bundle,
    volume: Arc<Volume>,
    series: &Series,
    kind: PlaneKind,
    lattice: &Grid,
    answers: Answers,
    task: &Task,
) -> Result<VolumeAnalysis, AnalysisError> {
    let metadata = &bundle.metadata;
    let mut flags = Vec::new();
    let coarsest = volume.grid.spacing().into_iter().fold(0.0, f64::max);
    if let Some(slab) = metadata.config.slab.as_ref().filter(|slab| coarsest > 2.0 * f64::from(slab.spacing_mm)) {
        let message = format!(
            "Voxels of {coarsest:.1} mm: the model learned from slices {:.1} mm apart, and reads coarser ones badly",
            slab.spacing_mm
        );
        flags.push(flag("coarse_voxels", message));
    }
    let shape = lattice.shape();
    let sizes = voxel_mm3(lattice);
    let of = |values: Vec<u8>| {
        Arc::new(Volume {
            grid: lattice.clone(),
            voxels: Voxels::U8(values),
            places: Vec::new(),
            rescale: (1.0 / 255.0, 0.0),
            frame_of_reference: volume.frame_of_reference.clone(),
            display: DisplayAttributes::default(),
            notes: Vec::new(),
        })
    };
    let mut organs = Vec::new();
    for (class, mut values) in metadata.organs.iter().zip(answers.organs) {
        task.check()?;
        let volume_mm3 = keep_largest(&mut values, shape, &sizes);
        organs.push(OrganVolume { organ: class.name.clone(), values: of(values), volume_mm3 });
    }
    let missing: Vec<&str> = metadata
        .organs
        .iter()
        .zip(&organs)
        .filter(|(_, organ)| organ.volume_mm3 < LEAST_ORGAN_MM3)
        .map(|(class, _)| class.display.as_str())
        .collect();
    if !missing.is_empty() {
        let message = format!("{} hardly found: is this a scan of the chest?", missing.join(", "));
        flags.push(flag("organs_not_found", message));
    }
    let mut lesions = Vec::new();
    let mut found: Vec<(Finding, Vec<Vector>)> = Vec::new();
    for (class, values) in metadata.lesions.iter().zip(answers.lesions) {
        task.check()?;
        let threshold = (class.map_threshold * 255.0).ceil() as u8;
        let mut own: Vec<Piece> = pieces(&values, shape, threshold);
        own.retain(|piece| piece.voxels.len() >= LEAST_VOXELS && piece.mm3(&sizes) >= LEAST_MM3);
        own.sort_by_key(|piece| std::cmp::Reverse((piece.peak.1, piece.voxels.len())));
        own.truncate(MOST_FINDINGS);
        let lesion =
            ProbabilityVolume { label: class.name.clone(), values: of(values), threshold: class.map_threshold };
        for piece in &own {
            let track = piece.track(lattice);
            found.extend(finding(piece, &lesion, &sizes, &organs, &volume, series).map(|finding| (finding, track)));
        }
        lesions.push(lesion);
    }
    found.sort_by(|(a, _), (b, _)| b.probability.total_cmp(&a.probability));
    for (index, (finding, _)) in found.iter_mut().enumerate() {
        finding.id = FindingId(u32::try_from(index + 1).unwrap_or(u32::MAX));
    }
    let (findings, tracks) = found.into_iter().unzip();
    let predictions: Vec<Prediction> = metadata
        .lesions
        .iter()
        .zip(&answers.logits)
        .map(|(class, logit)| Prediction { calibration: Calibration::Uncalibrated, ..prediction(class, *logit) })
        .collect();
    let mut analysis = VolumeAnalysis {
        model: ModelIdentity {
            id: metadata.id.clone(),
            version: metadata.version.clone(),
            weights_sha256: metadata.weights_sha256.clone(),
            device: bundle.device_name.clone(),
        },
        series_uid: series.uid.clone(),
        plane: kind,
        planes: shape[0],
        predictions,
        findings,
        lesions,
        organs,
        flags,
        seconds: 0.0,
        lesion_words: (lesion_method(bundle), lesion_layer(bundle)),
        tracks,
        volume,
    };
    analysis.place_findings();
    Ok(analysis)
}

/// The planes to be asked about, from the feet, the back or the right on, or as the slices are stacked. Slices that are much thinner than the
/// slab are not all asked about.
pub(super) fn planes(volume: &Volume, kind: PlaneKind, slab: SlabInput) -> Vec<Plane> {
    let grid = &volume.grid;
    let spacing = f64::from(slab.spacing_mm);
    if kind == PlaneKind::Acquired {
        let [slices, ..] = grid.shape();
        let step = grid.spacing()[2].max(1e-3);
        let every = ((0.5 * spacing / step).floor() as usize).clamp(1, (slices / 3).max(1));
        return (0..slices).step_by(every).map(|slice| Plane::of_slice(grid, slice)).collect();
    }
    let orientation = kind.orientation(grid);
    let normal = orientation.normal();
    let [low, high] = reach(grid, normal);
    let [[left, right], [top, bottom]] = [orientation.row, orientation.column].map(|direction| reach(grid, direction));
    let pixel = orientation.spacing_mm(grid);
    let count = |from: f64, to: f64| ((to - from) / pixel).floor().clamp(1.0, 4096.0) as usize;
    let planes = ((high - low) / spacing).floor().max(0.0) as usize;
    let first = (low + high - spacing * planes.saturating_sub(1) as f64) / 2.0;
    (0..planes)
        .map(|index| {
            let origin = along([0.0; 3], normal, first + spacing * index as f64);
            let origin = along(origin, orientation.row, left + pixel / 2.0);
            let origin = along(origin, orientation.column, top + pixel / 2.0);
            Plane { origin, orientation, spacing_mm: pixel, rows: count(top, bottom), columns: count(left, right) }
        })
        .collect()
}

/// Where the cells of the network's answers lie: [`LATTICE`] times coarser than its input.
pub(super) fn lattice(planes: &[Plane], size: usize) -> Result<Grid, AnalysisError> {
    let side = size / LATTICE;
    let cell = |plane: &Plane, row: usize, column: usize| {
        let image_from_input = letterbox(plane.rows, plane.columns, size);
        let at = |cell: usize| (cell as f32 + 0.5) * LATTICE as f32 - 0.5;
        let (row, column) = image_from_input.apply((at(row), at(column)));
        plane.patient_from_pixel(f64::from(row), f64::from(column))
    };
    let positions: Vec<Vector> = planes.iter().map(|plane| cell(plane, 0, 0)).collect();
    let first = &planes[0];
    let origin = cell(first, 0, 0);
    let (down, right) = (minus(cell(first, 1, 0), origin), minus(cell(first, 0, 1), origin));
    Grid::new(&positions, (side, side), down, right)
        .map_err(|error| AnalysisError::Unknown(format!("lattice of the planes: {error}")))
}

/// What the network has said of the planes so far.
pub(super) struct Answers {
    /// Probabilities in 255 steps, by class, plane by plane.
    pub(super) lesions: Vec<Vec<u8>>,
    pub(super) organs: Vec<Vec<u8>>,
    /// The highest image-level logit of each lesion class.
    pub(super) logits: Vec<f32>,
    pub(super) side: usize,
}

impl Answers {
    fn new(bundle: &Bundle, lattice: &Grid) -> Self {
        let [planes, side, _] = lattice.shape();
        let empty = |classes: usize| (0..classes).map(|_| Vec::with_capacity(planes * side * side)).collect();
        let (lesions, organs) = (bundle.metadata.lesions.len(), bundle.metadata.organs.len());
        Self { lesions: empty(lesions), organs: empty(organs), logits: vec![f32::NEG_INFINITY; lesions], side }
    }

    fn take(&mut self, bundle: &Bundle, images: impl Iterator<Item = NetworkImage>) -> candle_core::Result<()> {
        let size = bundle.metadata.config.input_size;
        let tensors: Vec<Tensor> =
            images.map(|image| image.input(size).tensor(&Device::Cpu)).collect::<candle_core::Result<_>>()?;
        let x = Tensor::cat(&tensors, 0)?.to_device(&bundle.device)?;
        let mut logits = bundle.network.predict(&x)?;
        if bundle.metadata.average_mirror_image {
            let mirrored = bundle.network.predict(&mirror_image(&x)?)?;
            let mean = |a: &Tensor, b: &Tensor| (a + b)? * 0.5;
            logits.lesion_logits = mean(&logits.lesion_logits, &mirror_image(&mirrored.lesion_logits)?)?;
            logits.class_logits = mean(&logits.class_logits, &mirrored.class_logits)?;
        }
        append(&mut self.lesions, &logits.lesion_logits, self.side)?;
        append(&mut self.organs, &logits.organ_logits, self.side)?;
        for plane in logits.class_logits.to_device(&Device::Cpu)?.to_vec2::<f32>()? {
            for (highest, logit) in self.logits.iter_mut().zip(plane) {
                *highest = highest.max(logit);
            }
        }
        Ok(())
    }
}

/// Appends (plane, class, rows, columns) of logits, laid on `side` x `side` cells, to each class.
fn append(classes: &mut [Vec<u8>], logits: &Tensor, side: usize) -> candle_core::Result<()> {
    let (planes, _, rows, columns) = logits.dims4()?;
    let values = logits.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    let maps: Vec<&[f32]> = values.chunks_exact((rows * columns).max(1)).collect();
    for plane in 0..planes {
        for class in 0..classes.len() {
            let map = maps.get(plane * classes.len() + class).copied().unwrap_or_default();
            let map = Array2::from_shape_vec((rows, columns), map.to_vec()).map_err(candle_core::Error::wrap)?;
            let cells = enlarged(&map, side);
            classes[class].extend(cells.iter().map(|logit| (sigmoid(*logit) * 255.0).round() as u8));
        }
    }
    Ok(())
}

/// A square map on `side` x `side` cells over the same area: bilinear between the centres of its own.
fn enlarged(map: &Array2<f32>, side: usize) -> Array2<f32> {
    let taps = |count: usize| -> Vec<(usize, usize, f32)> {
        (0..side)
            .map(|cell| {
                let at = ((cell as f32 + 0.5) * count as f32 / side as f32 - 0.5).clamp(0.0, (count - 1) as f32);
                (at as usize, (at as usize + 1).min(count - 1), at.fract())
            })
            .collect()
    };
    let (down, across) = (taps(map.nrows().max(1)), taps(map.ncols().max(1)));
    Array2::from_shape_fn((side, side), |(r, c)| {
        let ((r0, r1, fr), (c0, c1, fc)) = (down[r], across[c]);
        let row = |r: usize| map[[r, c0]] + fc * (map[[r, c1]] - map[[r, c0]]);
        row(r0) + fr * (row(r1) - row(r0))
    })
}

/// Empties an organ outside its largest piece; what it holds, mm³.
fn keep_largest(values: &mut [u8], shape: [usize; 3], sizes: &[f64]) -> f64 {
    let found = pieces(values, shape, 128);
    let Some(largest) = found.iter().max_by_key(|piece| piece.voxels.len()) else { return 0.0 };
    let [_, rows, columns] = shape;
    let index = |[k, r, c]: [usize; 3]| (k * rows + r) * columns + c;
    for piece in found.iter().filter(|piece| !std::ptr::eq(*piece, largest)) {
        for at in &piece.voxels {
            values[index(*at)] = 0;
        }
    }
    largest.mm3(sizes)
}

/// Whether the volume is unlike those of training, by planes spread over it.
fn unfamiliar(
    bundle: &Bundle,
    volume: &Volume,
    planes: &[Plane],
    slab: &SlabInput,
) -> Result<Option<Flag>, AnalysisError> {
    let familiarity = &bundle.metadata.familiarity;
    let step = planes.len().div_ceil(FAMILIAR_PLANES).max(1);
    let mut distances = Vec::new();
    for plane in planes.iter().skip(step / 2).step_by(step) {
        let input = slab_image(volume, plane, slab).input(bundle.metadata.config.input_size);
        let output = bundle.network.forward(&input.tensor(&bundle.device)?, &Request::default())?;
        distances.push(familiarity.distance(&familiarity_features(&output)?));
    }
    distances.sort_by(f32::total_cmp);
    let middle = distances.get(distances.len() / 2).copied().unwrap_or(0.0);
    Ok((familiarity.limit > 0.0 && middle > familiarity.limit).then(|| {
        let message = format!(
            "unlike the scans it was trained on (distance {middle:.1}, 99 % of their slices stay below {:.1}): do not rely on the answer",
            familiarity.limit
        );
        flag("unlike_training", message)
    }))
}

/// A piece as a finding, without what is only on an image: [`VolumeAnalysis::place_findings`] fills that in. `None` where the series has no
/// image at its peak.
fn finding(
    piece: &Piece,
    lesion: &ProbabilityVolume,
    sizes: &[f64],
    organs: &[OrganVolume],
    volume: &Volume,
    series: &Series,
) -> Option<Finding> {
    let grid = &lesion.values.grid;
    let place = |at: [usize; 3]| grid.patient_from_voxel(at.map(|x| x as f64));
    let peak_mm = place(piece.peak.0);
    let slice_of = |point: Vector| {
        let slices = volume.grid.shape()[0];
        (volume.grid.voxel_from_patient(point)[0].round().max(0.0) as usize).min(slices.saturating_sub(1))
    };
    let image = *volume.places.get(slice_of(peak_mm))?;
    let (instance, frame) = series.frame_at(image)?;
    let reached = piece.voxels.iter().filter_map(|at| volume.places.get(slice_of(place(*at))));
    let images = reached.fold([image; 2], |[first, last], place| [first.min(*place), last.max(*place)]);
    let (organ, zone) = locate(piece, organs, peak_mm);
    Some(Finding {
        id: FindingId(0),
        label: lesion.label.clone(),
        probability: f32::from(piece.peak.1) / 255.0,
        calibration: Calibration::Uncalibrated,
        organ,
        zone,
        peak: (0.0, 0.0),
        centroid: (0.0, 0.0),
        bounding_box: [0; 4],
        area_px: 0,
        size_mm: None,
        contour: Vec::new(),
        extent: Some(VolumeExtent {
            volume_mm3: piece.mm3(sizes) as f32,
            longest_mm: piece.longest_mm(grid) as f32,
            peak_mm,
            images,
            image,
            instance: instance.key(),
            frame,
        }),
    })
}

/// The organ that covers most of a piece, if it covers a fifth of it, and the third of its height.
fn locate(piece: &Piece, organs: &[OrganVolume], at: Vector) -> (Option<String>, Option<Zone>) {
    let inside = |organ: &OrganVolume| {
        let Voxels::U8(values) = &organ.values.voxels else { return 0 };
        let [_, rows, columns] = organ.values.grid.shape();
        piece.voxels.iter().filter(|[k, r, c]| values[(k * rows + r) * columns + c] >= 128).count()
    };
    let best = organs.iter().map(|organ| (inside(organ), organ)).max_by_key(|(count, _)| *count);
    let Some((_, organ)) = best.filter(|(count, _)| *count > 0 && count * 5 >= piece.voxels.len()) else {
        return (None, None);
    };
    let zone = organ.organ.contains("lung").then(|| {
        let [foot, head] = heights(organ);
        let share = (at[2] - foot) / (head - foot).max(1e-6);
        if share > 2.0 / 3.0 {
            Zone::Upper
        } else if share > 1.0 / 3.0 {
            Zone::Middle
        } else {
            Zone::Lower
        }
    });
    (Some(organ.organ.clone()), zone)
}

/// Lowest and highest place of an organ along the patient, mm.
fn heights(organ: &OrganVolume) -> [f64; 2] {
    let Voxels::U8(values) = &organ.values.voxels else { return [0.0; 2] };
    let [_, rows, columns] = organ.values.grid.shape();
    let mut range = [f64::INFINITY, f64::NEG_INFINITY];
    // Every fourth cell along a row and along a column is enough for thirds.
    for (index, _) in values.iter().enumerate().filter(|(_, value)| **value >= 128) {
        let (k, r, c) = (index / (rows * columns), index / columns % rows, index % columns);
        if r % 4 == 0 && c % 4 == 0 {
            let z = organ.values.grid.patient_from_voxel([k as f64, r as f64, c as f64])[2];
            range = [range[0].min(z), range[1].max(z)];
        }
    }
    range
}

/// Probabilities of a volume on a plane; 0 outside.
pub(super) fn on_plane(values: &Volume, plane: &Plane) -> Array2<f32> {
    let mut map = values.sample(plane, Slab::default());
    map.mapv_inplace(|v| if v.is_finite() { v } else { 0.0 });
    debug_assert_eq!(map.len_of(Axis(0)), plane.rows);
    map
}
