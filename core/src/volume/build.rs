//! A series to a volume: slices sorted by position, checked, decoded in parallel straight into place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::grid::{Grid, GridError};
use super::vector::{dot, length, minus};
use super::{Volume, Voxels};
use crate::dicom::pixels::FrameReader;
use crate::study::{
    DisplayAttributes, Frame, GrayPixels, ModalityTransform, Pixels, PlaneGeometry, Series, Source, SpacingKind,
};
use crate::task::{Cancelled, Task};
use crate::with_gray;

/// Why a series makes no volume.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// What speaks against it, in one sentence.
    #[error("{0}")]
    Unsuitable(String),
    /// The slices are no lattice.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// A slice could not be decoded; the message names its file.
    #[error("{0}")]
    Unreadable(String),
    /// It would take more memory than volumes may.
    #[error("the volume would take {} GiB of memory, more than the {} GiB that one may take", .0 >> 30, MOST_BYTES >> 30)]
    TooLarge(u64),
    /// Cancelled by the user.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Bytes that the voxels of a volume may take.
const MOST_BYTES: u64 = 16 << 30;
/// Cosine between directions of one orientation (about 0.8 degrees).
const SAME_DIRECTION: f64 = 0.9999;
/// Slices closer than this lie at the same place, mm.
const SAME_POSITION_MM: f64 = 0.01;

/// One frame of a series and where it lies.
#[derive(Debug, Clone)]
struct Slice {
    source: Source,
    /// The frame in its file, from 0.
    frame: usize,
    geometry: PlaneGeometry,
    /// Place in the reading order of the series.
    position: usize,
}

/// The slices of one stack, by position.
#[derive(Debug)]
struct Stack {
    slices: Vec<Slice>,
    shape: (usize, usize),
    /// Frames of the series that are left out, in words.
    left_out: Vec<String>,
}

impl Volume {
    /// Makes a volume of the stack of `series` that `position` (a place in its reading order, from 0) belongs to; phases and echoes
    /// at the same places are stacks of their own.
    ///
    /// Slices are decoded in parallel into their places, so that no more memory is taken than the volume's and that of the frames
    /// being decoded.
    ///
    /// # Errors
    /// Where the series is no stack of parallel slices with known positions, spacing and equal size, where it is in colour, a
    /// slice cannot be decoded, or the user has cancelled.
    pub fn build(series: &Series, position: usize, task: &Task) -> Result<Self, VolumeError> {
        let stack = stack_of(series, position, task)?;
        let middle = &stack.slices[stack.slices.len() / 2];
        let first = read(&middle.source, middle.frame)?;
        let grid = grid_of(&stack, &first)?;
        let [slices, rows, columns] = grid.shape();
        let count = (slices as u64).saturating_mul(rows as u64).saturating_mul(columns as u64);
        let stored = Storage::of(&first);
        let bytes = count.saturating_mul(stored.as_ref().map_or(4, |storage| storage.bytes));
        if bytes > MOST_BYTES {
            return Err(VolumeError::TooLarge(bytes));
        }
        let mut display = first.display.clone();
        let (voxels, rescale) = match stored.map(|storage| storage.fill(&stack, &first, task)) {
            Some(Ok(voxels)) => (voxels, linear(&first.display.modality).unwrap_or((1.0, 0.0))),
            Some(Err(Fill::Failed(error))) => return Err(error),
            // Slices are scaled one by one (PET), or their values are no 16-bit integers.
            Some(Err(Fill::Differs)) | None => match fill_values(&stack, &first, task) {
                Ok(voxels) => (voxels, (1.0, 0.0)),
                Err(Fill::Failed(error)) => return Err(error),
                Err(Fill::Differs) => {
                    return Err(VolumeError::Unsuitable("its slices differ in size, spacing or kind".to_owned()));
                }
            },
        };
        let places = stack.slices.iter().map(|slice| slice.position).collect();
        let mut notes = stack.left_out;
        notes.extend(grid_notes(&grid));
        // Warnings of one slice are the slice's; values are taken through the modality transform when they are sampled.
        display.warnings = notes.iter().filter(|note| note.contains("missing")).cloned().collect();
        display.modality = ModalityTransform::IDENTITY;
        display.padding = None;
        Ok(Self {
            grid,
            voxels,
            places,
            rescale,
            frame_of_reference: series.frame_of_reference.clone(),
            display,
            notes,
        })
    }
}

/// Where the frames of a stack lie, without their values.
#[derive(Debug, Clone)]
pub struct Lattice {
    /// The voxels that they would make.
    pub grid: Grid,
    /// File and frame of each slice, in the order of the grid.
    pub slices: Vec<(Source, usize)>,
}

impl Lattice {
    /// Of the stack of `series` that `position` belongs to, as [`Volume::build`] takes it; one frame is decoded for its spacing.
    ///
    /// # Errors
    /// Where [`Volume::build`] would give none, but for slices that cannot be decoded or differ in kind.
    pub fn of(series: &Series, position: usize, task: &Task) -> Result<Self, VolumeError> {
        let stack = stack_of(series, position, task)?;
        let middle = &stack.slices[stack.slices.len() / 2];
        let grid = grid_of(&stack, &read(&middle.source, middle.frame)?)?;
        Ok(Self { grid, slices: stack.slices.into_iter().map(|slice| (slice.source, slice.frame)).collect() })
    }
}

fn grid_notes(grid: &Grid) -> Vec<String> {
    let mut notes = Vec::new();
    let tilt = grid.tilt_degrees();
    if tilt > 0.5 {
        notes.push(format!("gantry tilt {tilt:.1}° corrected"));
    }
    match (grid.holes(), grid.uneven()) {
        (0, Some((low, high))) => notes.push(format!("slices {low:.1} to {high:.1} mm apart")),
        (0, None) => {}
        (1, _) => notes.push("slices are missing in one place, which is left black".to_owned()),
        (holes, _) => notes.push(format!("slices are missing in {holes} places, which are left black")),
    }
    notes
}

fn unsuitable<T>(why: impl Into<String>) -> Result<T, VolumeError> {
    Err(VolumeError::Unsuitable(why.into()))
}

/// The largest group of parallel frames of one size, in reading order, and how many frames are in none or in others.
fn main_group(series: &Series, task: &Task) -> Result<(Vec<Slice>, usize), VolumeError> {
    let mut groups: Vec<((usize, usize), Vec<Slice>)> = Vec::new();
    let (mut without, mut position, mut all) = (0_usize, 0, 0);
    for instance in &series.instances {
        task.check()?;
        let shape = (instance.rows, instance.columns);
        let planes: Vec<(usize, Option<PlaneGeometry>)> = match instance.frames {
            0 => continue,
            1 => vec![(0, instance.geometry)],
            frames => {
                let reader =
                    FrameReader::open(&instance.source).map_err(|error| VolumeError::Unreadable(error.to_string()))?;
                let order = |place: usize| instance.frame_order.get(place).copied().unwrap_or(place);
                (0..frames).map(order).map(|frame| (frame, reader.geometry(frame))).collect()
            }
        };
        for (frame, geometry) in planes {
            all += 1;
            match geometry {
                None => without += 1,
                Some(geometry) => {
                    let slice = Slice { source: instance.source.clone(), frame, geometry, position };
                    let same = |(size, slices): &&mut ((usize, usize), Vec<Slice>)| {
                        *size == shape && slices.first().is_some_and(|first| parallel(&first.geometry, &geometry))
                    };
                    match groups.iter_mut().find(same) {
                        Some((_, slices)) => slices.push(slice),
                        None => groups.push((shape, vec![slice])),
                    }
                }
            }
            position += 1;
        }
    }
    if all == 0 {
        return unsuitable("it holds no image");
    }
    if without == all {
        return unsuitable("its images have no position in the patient (Image Position and Orientation)");
    }
    let main = groups.into_iter().map(|(_, slices)| slices).max_by_key(Vec::len).unwrap_or_default();
    let others = all - main.len();
    Ok((main, others))
}

/// Slices of a group by position along its normal, those at one place together in reading order.
fn places(group: &[Slice]) -> Vec<Vec<Slice>> {
    let Some(first) = group.first() else { return Vec::new() };
    let normal = first.geometry.normal();
    let mut sorted: Vec<Slice> = group.to_vec();
    let height = |slice: &Slice| dot(normal, slice.geometry.position);
    sorted.sort_by(|a, b| height(a).total_cmp(&height(b)).then(a.position.cmp(&b.position)));
    let mut places: Vec<Vec<Slice>> = Vec::new();
    for slice in sorted {
        match places.last_mut() {
            Some(place) if place.first().is_some_and(|f| height(&slice) - height(f) < SAME_POSITION_MM) => {
                place.push(slice);
            }
            _ => places.push(vec![slice]),
        }
    }
    for place in &mut places {
        place.sort_by_key(|slice| slice.position);
    }
    places
}

fn stack_of(series: &Series, position: usize, task: &Task) -> Result<Stack, VolumeError> {
    let (main, others) = main_group(series, task)?;
    let mut left_out = Vec::new();
    if others > 0 {
        let (s, have) = if others == 1 { ("", "has") } else { ("s", "have") };
        left_out.push(format!("{others} image{s} left out that {have} another direction or size"));
    }
    let places = places(&main);
    if places.len() < 3 {
        return match (main.len(), others) {
            (0 | 1, 1..) => unsuitable("its images lie in different directions, as those of a localizer do"),
            (1, _) => unsuitable("it is a single image"),
            (n, _) if n > places.len() && places.len() == 1 => unsuitable("all its images lie in one place"),
            _ => Err(GridError::TooFew(places.len()).into()),
        };
    }
    let times = places.iter().map(Vec::len).max().unwrap_or(1);
    // The stack that the image in view is of: its rank among those at its place.
    let rank = |place: &Vec<Slice>| place.iter().position(|slice| slice.position == position);
    let stack = places.iter().find_map(rank).unwrap_or(0);
    if times > 1 {
        left_out.push(format!("stack {} of {times} at the same places", stack + 1));
    }
    let shape = series
        .instances
        .iter()
        .find(|instance| main.first().is_some_and(|slice| slice.source == instance.source))
        .map_or((0, 0), |instance| (instance.rows, instance.columns));
    let slices = places.into_iter().filter_map(|place| place.get(stack).or(place.last()).cloned()).collect();
    Ok(Stack { slices, shape, left_out })
}

fn parallel(a: &PlaneGeometry, b: &PlaneGeometry) -> bool {
    dot(a.row_direction, b.row_direction) > SAME_DIRECTION
        && dot(a.column_direction, b.column_direction) > SAME_DIRECTION
}

fn read(source: &Source, frame: usize) -> Result<Frame, VolumeError> {
    let unreadable = |error: crate::dicom::DicomError| VolumeError::Unreadable(error.to_string());
    FrameReader::open(source).and_then(|reader| reader.frame(frame)).map_err(unreadable)
}

/// The lattice of a stack, with the spacing of `first`.
fn grid_of(stack: &Stack, first: &Frame) -> Result<Grid, VolumeError> {
    if matches!(first.pixels, Pixels::Rgb(_)) {
        return unsuitable("its images are in colour");
    }
    let Some(spacing) = first.display.spacing.filter(|spacing| spacing.kind == SpacingKind::Patient) else {
        return unsuitable("the spacing of its pixels is unknown");
    };
    let sane = |mm: f64| mm.is_finite() && mm > 0.0;
    if !sane(spacing.row_mm) || !sane(spacing.column_mm) {
        return unsuitable("the spacing of its pixels is no positive number");
    }
    let geometry = stack.slices[0].geometry;
    let positions: Vec<_> = stack.slices.iter().map(|slice| slice.geometry.position).collect();
    let row_step = geometry.column_direction.map(|x| x * spacing.row_mm);
    let column_step = geometry.row_direction.map(|x| x * spacing.column_mm);
    Ok(Grid::new(&positions, stack.shape, row_step, column_step)?)
}

/// Slope and intercept, where the transform is linear.
fn linear(modality: &ModalityTransform) -> Option<(f64, f64)> {
    match modality {
        ModalityTransform::Rescale { slope, intercept } => Some((*slope, *intercept)),
        ModalityTransform::Table(_) => None,
    }
}

/// Why a volume was not filled.
enum Fill {
    Failed(VolumeError),
    /// A slice is of another type or scale than the first.
    Differs,
}

impl<E: Into<VolumeError>> From<E> for Fill {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The integers that the stored values are kept in.
struct Storage {
    kind: Kind,
    bytes: u64,
}

enum Kind {
    U8,
    I16,
    U16,
}

impl Storage {
    /// For frames like `first`; `None` where values must be kept as floating point.
    fn of(first: &Frame) -> Option<Self> {
        linear(&first.display.modality)?;
        let Pixels::Gray(gray) = &first.pixels else { return None };
        let (kind, bytes) = match gray {
            GrayPixels::U8(_) => (Kind::U8, 1),
            GrayPixels::I8(_) | GrayPixels::I16(_) => (Kind::I16, 2),
            GrayPixels::U16(_) => (Kind::U16, 2),
            _ => return None,
        };
        Some(Self { kind, bytes })
    }

    fn fill(&self, stack: &Stack, first: &Frame, task: &Task) -> Result<Voxels, Fill> {
        let modality = &first.display.modality;
        Ok(match self.kind {
            Kind::U8 => Voxels::U8(fill(stack, first, task, |frame, out: &mut [u8]| match &frame.pixels {
                Pixels::Gray(GrayPixels::U8(a)) if frame.display.modality == *modality => copy(a.iter().copied(), out),
                _ => Err(Fill::Differs),
            })?),
            Kind::I16 => Voxels::I16(fill(stack, first, task, |frame, out: &mut [i16]| match &frame.pixels {
                Pixels::Gray(GrayPixels::I16(a)) if frame.display.modality == *modality => copy(a.iter().copied(), out),
                Pixels::Gray(GrayPixels::I8(a)) if frame.display.modality == *modality => {
                    copy(a.iter().map(|v| i16::from(*v)), out)
                }
                _ => Err(Fill::Differs),
            })?),
            Kind::U16 => Voxels::U16(fill(stack, first, task, |frame, out: &mut [u16]| match &frame.pixels {
                Pixels::Gray(GrayPixels::U16(a)) if frame.display.modality == *modality => copy(a.iter().copied(), out),
                _ => Err(Fill::Differs),
            })?),
        })
    }
}

fn copy<T>(values: impl Iterator<Item = T>, out: &mut [T]) -> Result<(), Fill> {
    for (to, from) in out.iter_mut().zip(values) {
        *to = from;
    }
    Ok(())
}

/// Values in the modality's units.
fn fill_values(stack: &Stack, first: &Frame, task: &Task) -> Result<Voxels, Fill> {
    let write = |frame: &Frame, out: &mut [f32]| match &frame.pixels {
        Pixels::Gray(gray) => {
            let display = &frame.display;
            with_gray!(gray, array => copy(array.iter().map(|v| display.modality.apply(f64::from(*v)) as f32), out))
        }
        Pixels::Rgb(_) => Err(Fill::Differs),
    };
    Ok(Voxels::F32(fill(stack, first, task, write)?))
}

/// A file and what reads its frames.
type OpenFile = (Source, Arc<FrameReader>);

/// The files of a stack. One that holds several of its slices is read once for all threads.
struct Files {
    /// Where files hold several slices: the one that was read last.
    last: Option<Mutex<Option<OpenFile>>>,
}

impl Files {
    fn of(stack: &Stack) -> Self {
        let several = stack.slices.windows(2).any(|pair| pair[0].source == pair[1].source);
        Self { last: several.then(Mutex::default) }
    }

    fn open(&self, source: &Source) -> Result<Arc<FrameReader>, VolumeError> {
        let read = || FrameReader::open(source).map(Arc::new).map_err(|e| VolumeError::Unreadable(e.to_string()));
        let Some(last) = &self.last else { return read() };
        // Held while the file is read: the other threads wait for the same one.
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, reader)) = last.as_ref().filter(|(other, _)| other == source) {
            return Ok(Arc::clone(reader));
        }
        // The one before makes room first.
        *last = None;
        let reader = read()?;
        *last = Some((source.clone(), Arc::clone(&reader)));
        Ok(reader)
    }
}

/// Decodes all slices of a stack into one array.
fn fill<T: Copy + Default + Send + Padded>(
    stack: &Stack,
    first: &Frame,
    task: &Task,
    write: impl Fn(&Frame, &mut [T]) -> Result<(), Fill> + Sync,
) -> Result<Vec<T>, Fill> {
    const STAGE: &str = "Building the volume";
    let (rows, columns) = stack.shape;
    let mut voxels = vec![T::default(); stack.slices.len() * rows * columns];
    let done = AtomicU64::new(0);
    let total = stack.slices.len() as u64;
    task.progress(STAGE, 0, total);
    let files = Files::of(stack);
    let run = 16;
    let chunks = voxels.par_chunks_mut((rows * columns * run).max(1)).zip(stack.slices.par_chunks(run));
    chunks.try_for_each(|(out, slices)| {
        for (out, slice) in out.chunks_mut((rows * columns).max(1)).zip(slices) {
            task.check()?;
            let reader = files.open(&slice.source)?;
            let frame = reader.frame(slice.frame).map_err(|e| VolumeError::Unreadable(e.to_string()))?;
            fits(&frame, first, stack.shape, slice)?;
            write(&frame, out)?;
            clear_padding(&frame.display, out);
            task.progress(STAGE, done.fetch_add(1, Ordering::Relaxed) + 1, total);
        }
        Ok::<(), Fill>(())
    })?;
    Ok(voxels)
}

/// A slice must be like the others in everything but its place.
fn fits(frame: &Frame, first: &Frame, shape: (usize, usize), slice: &Slice) -> Result<(), VolumeError> {
    if frame.shape() != shape {
        return Err(VolumeError::Unreadable(format!(
            "{}: {} by {} pixels where the other slices have {} by {}",
            slice.source,
            frame.shape().0,
            frame.shape().1,
            shape.0,
            shape.1
        )));
    }
    let spacing = |display: &DisplayAttributes| display.spacing.map(|s| [s.row_mm, s.column_mm, 0.0]);
    let same = match (spacing(&frame.display), spacing(&first.display)) {
        (Some(a), Some(b)) => length(minus(a, b)) < 1e-3 * length(b),
        _ => false,
    };
    if same {
        return Ok(());
    }
    unsuitable(format!("{}: its pixel spacing differs from that of the other slices", slice.source))
}

/// Padding (outside the scanner's circle) becomes the lowest value that is measured in the slice, so that it is neither blended
/// into the image nor found by a minimum projection.
fn clear_padding<T: Copy + Padded>(display: &DisplayAttributes, out: &mut [T]) {
    let Some((low, high)) = display.padding else { return };
    let to_voxel = |stored: f64| T::voxel(stored, &display.modality);
    let (a, b) = (to_voxel(low), to_voxel(high));
    let padding = a.min(b)..=a.max(b);
    let is_padding = |v: &T| padding.contains(&v.number());
    let measured = out.iter().filter(|v| !is_padding(v)).copied();
    let Some(lowest) = measured.reduce(|a, b| if b.number() < a.number() { b } else { a }) else { return };
    for v in out.iter_mut().filter(|v| is_padding(v)) {
        *v = lowest;
    }
}

/// How a stored padding value compares with a voxel.
trait Padded {
    fn number(&self) -> f64;
    fn voxel(stored: f64, modality: &ModalityTransform) -> f64;
}

macro_rules! stored_as_is {
    ($($kind:ty),*) => {$(
        impl Padded for $kind {
            fn number(&self) -> f64 {
                f64::from(*self)
            }
            fn voxel(stored: f64, _: &ModalityTransform) -> f64 {
                stored
            }
        }
    )*};
}

stored_as_is!(u8, i16, u16);

impl Padded for f32 {
    fn number(&self) -> f64 {
        f64::from(*self)
    }

    fn voxel(stored: f64, modality: &ModalityTransform) -> f64 {
        f64::from(modality.apply(stored) as f32)
    }
}
