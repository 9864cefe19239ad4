//! NIfTI label maps: the number of a label at each voxel, with a JSON file beside each map that says what the numbers mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array3;
use nifti::writer::WriterOptions;
use nifti::{IntoNdArray, NiftiHeader, NiftiObject, ReaderOptions};
use serde::{Deserialize, Serialize};

use super::import::{keep, label_for};
use super::outside::{Images, Outside};
use super::{AnnotatedFrame, Imported, Project, ProjectError, file_stem, replace};
use crate::annotation::{Edit, MaskKey};
use crate::dicom::pixels::FrameReader;
use crate::measure::Runs;
use crate::study::{CodedConcept, Frame, Instance, InstanceKey, PlaneGeometry, Series, SpacingKind, StudyIndex};
use crate::task::Task;
use crate::volume::{Grid, Lattice, Vector, cross, dot, minus};

/// Codes of coordinates that a scanner gave, and of others.
const SCANNER: i16 = 1;
const ALIGNED: i16 = 2;

/// `[row][column]` of a map from voxels (column, row, slice) to millimetres.
type Affine = [[f64; 4]; 4];

/// What stands beside a map.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sidecar {
    /// The series that the map lies on.
    #[serde(default)]
    series: String,
    /// The one image of a map that has no place among others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(default)]
    frame: usize,
    labels: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    value: u16,
    name: String,
    #[serde(default)]
    color: Option<[u8; 3]>,
    #[serde(default)]
    concept: Option<CodedConcept>,
}

/// Where a map lies.
struct Place {
    /// Columns, rows, slices.
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    /// To the patient, LPS. An image without place in the patient is laid at the origin, so that a map that another program has turned can be told
    /// from one that it has not.
    affine: Affine,
    /// How the affine is to be understood.
    code: i16,
}

/// A frame with its labels' pixels.
struct Member<'f, 'a> {
    frame: &'f AnnotatedFrame<'a>,
    /// In the reading order of its series.
    position: usize,
    regions: BTreeMap<String, Runs>,
}

/// Writes a label map of each stack of images into `folder`, `NNN-<modality>.nii.gz`, which covers all of its slices; images without place in a
/// stack have maps of their own. Where labels overlap, those above lie in further maps, `NNN-<modality>-2.nii.gz` and so on: nothing is lost.
/// Numbers are the same in all maps of a project. Returns how many maps, and what could not be written.
pub fn export_label_maps(
    project: &Project,
    frames: &[AnnotatedFrame<'_>],
    folder: &Path,
    task: &Task,
) -> Result<(usize, Vec<String>), ProjectError> {
    fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
    let mut writer = LabelMapWriter::new(project, folder, Outside::default());
    writer.add(frames, task)?;
    Ok(writer.finish())
}

/// Writes label maps series by series.
pub(super) struct LabelMapWriter<'p> {
    project: &'p Project,
    folder: PathBuf,
    outside: Outside,
    /// Labels by their number, less one: those of the project, then others as they are met.
    keys: Vec<String>,
    number: usize,
    written: usize,
    problems: Vec<String>,
}

impl<'p> LabelMapWriter<'p> {
    pub(super) fn new(project: &'p Project, folder: &Path, outside: Outside) -> Self {
        let keys = project.labels().labels.iter().map(|label| label.key.clone()).collect();
        let folder = folder.to_path_buf();
        Self { project, folder, outside, keys, number: 0, written: 0, problems: Vec::new() }
    }

    /// Writes the maps of whole series.
    pub(super) fn add(&mut self, frames: &[AnnotatedFrame<'_>], task: &Task) -> Result<(), ProjectError> {
        let mut by_series: Vec<Vec<Member<'_, '_>>> = Vec::new();
        for frame in frames {
            let regions = frame.regions();
            if regions.is_empty() {
                continue;
            }
            let new: Vec<String> = regions.keys().filter(|key| !self.keys.contains(key)).cloned().collect();
            self.keys.extend(new);
            let Some(position) = position_of(frame) else { continue };
            let member = Member { frame, position, regions };
            let uid = frame.series.reading_uid();
            match by_series.iter_mut().find(|all| all.first().is_some_and(|m| m.frame.series.reading_uid() == uid)) {
                Some(all) => all.push(member),
                None => by_series.push(vec![member]),
            }
        }
        for mut left in by_series {
            while !left.is_empty() {
                task.check()?;
                self.number += 1;
                let (place, members, remark) = stack(&mut left, task);
                self.problems.extend(remark);
                let Some((head, _)) = members.first() else { continue };
                let modality = file_stem(&head.frame.series.modality).to_ascii_lowercase();
                let stem = self.folder.join(format!("{:03}-{modality}", self.number));
                self.written += write(self.project, &self.outside, &self.keys, &place, &members, &stem)?;
            }
        }
        Ok(())
    }

    /// How many were written, and what could not be.
    pub(super) fn finish(mut self) -> (usize, Vec<String>) {
        // What is wrong with a series is said once.
        self.problems.dedup();
        (self.written, self.problems)
    }
}

/// The frame's place in the reading order of its series.
fn position_of(frame: &AnnotatedFrame<'_>) -> Option<usize> {
    let key = frame.instance.key();
    (0..frame.series.frame_count()).find(|position| {
        frame.series.frame_at(*position).is_some_and(|(instance, at)| at == frame.frame && instance.key() == key)
    })
}

type Slices<'f, 'a> = Vec<(Member<'f, 'a>, usize)>;

/// Takes the frames of the first one's stack out of `left`, which holds some, with their slices; the first alone where it is in none. And a remark where that is not what
/// one would expect.
fn stack<'f, 'a>(left: &mut Vec<Member<'f, 'a>>, task: &Task) -> (Place, Slices<'f, 'a>, Option<String>) {
    let first = left.remove(0);
    let series = first.frame.series;
    let mut remark = None;
    if let Ok(lattice) = Lattice::of(series, first.position, task) {
        let slice = |member: &Member<'_, '_>| {
            let own = (&member.frame.instance.source, member.frame.frame);
            lattice.slices.iter().position(|(source, frame)| (source, *frame) == own)
        };
        if lattice.grid.uneven().is_some() || lattice.grid.holes() > 0 {
            remark = Some(format!(
                "series {}: slices are missing or unevenly spaced, which a NIfTI map cannot tell: each image has a map of its own",
                series.reading_uid()
            ));
        } else if let Some(at) = slice(&first) {
            let (mut taken, mut kept) = (vec![(first, at)], Vec::new());
            for member in std::mem::take(left) {
                match slice(&member) {
                    Some(slice) => taken.push((member, slice)),
                    None => kept.push(member),
                }
            }
            *left = kept;
            return (Place::of_grid(&lattice.grid), taken, None);
        }
    }
    (Place::of_frame(&first.frame.image), vec![(first, 0)], remark)
}

impl Place {
    fn of_grid(grid: &Grid) -> Self {
        let [slices, rows, columns] = grid.shape();
        let [row_mm, column_mm, slice_mm] = grid.spacing();
        let origin = grid.patient_from_voxel([0.0; 3]);
        let step = |voxel: Vector| {
            let point = grid.patient_from_voxel(voxel);
            [0, 1, 2].map(|axis| point[axis] - origin[axis])
        };
        let steps = [step([0.0, 0.0, 1.0]), step([0.0, 1.0, 0.0]), step([1.0, 0.0, 0.0])];
        Self {
            shape: [columns, rows, slices],
            spacing_mm: [column_mm, row_mm, slice_mm],
            affine: affine(steps, origin),
            code: SCANNER,
        }
    }

    fn of_frame(frame: &Frame) -> Self {
        let (rows, columns) = frame.shape();
        let display = &frame.display;
        let spacing = display.spacing.filter(|spacing| spacing.kind == SpacingKind::Patient);
        let thickness = display.slice_thickness_mm.filter(|mm| mm.is_finite() && *mm > 0.0).unwrap_or(1.0);
        let spacing_mm = spacing.map_or([1.0; 3], |s| [s.column_mm, s.row_mm, thickness]);
        let plane = display.geometry.filter(|_| spacing.is_some());
        let code = if plane.is_some() { SCANNER } else { ALIGNED };
        let plane = plane.unwrap_or(PlaneGeometry {
            position: [0.0; 3],
            row_direction: [1.0, 0.0, 0.0],
            column_direction: [0.0, 1.0, 0.0],
        });
        let normal = cross(plane.row_direction, plane.column_direction);
        let directions = [plane.row_direction, plane.column_direction, normal];
        let steps = [0, 1, 2].map(|axis| directions[axis].map(|x| x * spacing_mm[axis]));
        Self { shape: [columns, rows, 1], spacing_mm, affine: affine(steps, plane.position), code }
    }

    /// Voxel (slice, row, column) of a point of the patient; `None` where the voxels span no volume.
    fn voxel_from_patient(&self) -> Option<impl Fn(Vector) -> Vector + use<>> {
        let column = |index: usize| [0, 1, 2].map(|axis| self.affine[axis][index]);
        let [along, down, deep, origin] = [column(0), column(1), column(2), column(3)];
        let determinant = dot(along, cross(down, deep));
        let rows = [cross(along, down), cross(deep, along), cross(down, deep)];
        let sound = determinant.is_finite() && determinant != 0.0;
        sound.then_some(move |point: Vector| rows.map(|row| dot(row, minus(point, origin)) / determinant))
    }

    /// NIfTI counts to the right, to the front and up (RAS); DICOM to the left, to the back and up.
    fn header(&self) -> NiftiHeader {
        let mut header = NiftiHeader { xyzt_units: 2, qform_code: 0, ..NiftiHeader::default() };
        // By the affine alone: a tilted stack is sheared, which the quaternion cannot tell, and where it can the affine says the same.
        let row = |axis: usize, sign: f64| self.affine[axis].map(|v| (sign * v) as f32);
        header.sform_code = self.code;
        (header.srow_x, header.srow_y, header.srow_z) = (row(0, -1.0), row(1, -1.0), row(2, 1.0));
        let [x, y, z] = self.spacing_mm.map(|mm| mm as f32);
        header.pixdim[1..4].copy_from_slice(&[x, y, z]);
        header
    }
}

/// To the patient, LPS, by the affine or else by the quaternion (NIfTI-1, methods 3 and 2).
fn lps_affine(header: &NiftiHeader) -> Affine {
    let ras = if header.sform_code > 0 {
        [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from))
    } else {
        let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
        let a = (1.0 - (b * b + c * c + d * d)).max(0.0).sqrt();
        let [left_handed, x, y, z] = [0, 1, 2, 3].map(|at| f64::from(header.pixdim[at]));
        let z = if left_handed < 0.0 { -z } else { z };
        let [tx, ty, tz] = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
        [
            [(a * a + b * b - c * c - d * d) * x, 2.0 * (b * c - a * d) * y, 2.0 * (b * d + a * c) * z, tx],
            [2.0 * (b * c + a * d) * x, (a * a + c * c - b * b - d * d) * y, 2.0 * (c * d - a * b) * z, ty],
            [2.0 * (b * d - a * c) * x, 2.0 * (c * d + a * b) * y, (a * a + d * d - c * c - b * b) * z, tz],
        ]
    };
    let [x, y, z] = ras;
    [x.map(|v| -v), y.map(|v| -v), z, [0.0, 0.0, 0.0, 1.0]]
}

fn affine(steps: [Vector; 3], origin: Vector) -> Affine {
    let row = |axis: usize| [steps[0][axis], steps[1][axis], steps[2][axis], origin[axis]];
    [row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]
}

/// Writes the maps of one stack, as many as overlapping labels need; returns how many.
fn write(
    project: &Project,
    outside: &Outside,
    keys: &[String],
    place: &Place,
    members: &Slices<'_, '_>,
    stem: &Path,
) -> Result<usize, ProjectError> {
    let [columns, rows, slices] = place.shape;
    let mut layers: Vec<Array3<u16>> = Vec::new();
    let used: BTreeSet<&String> = members.iter().flat_map(|(member, _)| member.regions.keys()).collect();
    for key in used {
        let Some(value) = keys.iter().position(|other| other == key).and_then(|at| u16::try_from(at + 1).ok()) else {
            continue;
        };
        let pixels: Vec<[usize; 3]> = members
            .iter()
            .filter_map(|(member, slice)| Some((member.regions.get(key)?, *slice)))
            .flat_map(|(runs, slice)| {
                let mask = runs.to_mask((rows, columns));
                let inside: Vec<[usize; 3]> =
                    mask.indexed_iter().filter(|(_, v)| **v > 0).map(|((r, c), _)| [c, r, slice]).collect();
                inside
            })
            .collect();
        let free = layers.iter().position(|layer| pixels.iter().all(|at| layer[*at] == 0));
        let layer = free.unwrap_or_else(|| {
            layers.push(Array3::zeros((columns, rows, slices)));
            layers.len() - 1
        });
        pixels.iter().for_each(|at| layers[layer][*at] = value);
    }
    let Some((head, _)) = members.first() else { return Ok(0) };
    for (number, layer) in (1..).zip(&layers) {
        let name = stem.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = if number == 1 { name } else { format!("{name}-{number}") };
        let file = stem.with_file_name(format!("{name}.nii.gz"));
        let header = place.header();
        WriterOptions::new(&file)
            .reference_header(&header)
            .write_nifti(layer)
            .map_err(|error| ProjectError::content(&file, error))?;
        let values: BTreeSet<u16> = layer.iter().copied().filter(|value| *value > 0).collect();
        let entry = |value: u16| {
            let key = &keys[usize::from(value) - 1];
            let label = project.labels().label(key);
            Entry {
                value,
                name: label.map_or_else(|| key.clone(), |label| label.name.clone()),
                color: label.map(crate::annotation::Label::rgb),
                concept: label.and_then(|label| label.concept.clone()),
            }
        };
        let alone = slices == 1;
        let sidecar = Sidecar {
            series: outside.uid(&head.frame.series.reading_uid().0),
            instance: alone.then(|| outside.uid(&head.frame.instance.key().0)),
            frame: if alone { head.frame.frame } else { 0 },
            labels: values.into_iter().map(entry).collect(),
        };
        replace(&beside(&file), &sidecar)?;
    }
    Ok(layers.len())
}

/// `x.json` of `x.nii` and `x.nii.gz`.
fn beside(file: &Path) -> PathBuf {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    let stem = if lower.ends_with(".nii.gz") { name.len() - 7 } else { name.len().saturating_sub(4) };
    file.with_file_name(format!("{}.json", &name[..stem]))
}

/// Paints the NIfTI label map `file` into `reader`'s sessions, one step of undo. It must lie on the very voxels of a series, in whatever order of its axes:
/// of that which the JSON file beside it names, else of the only one that it fits. Numbers without a name become labels of their own.
///
/// # Errors
/// Where the file is no label map, fits no series or several, or a session cannot be kept.
pub fn import_label_map(
    project: &mut Project,
    reader: &str,
    index: &StudyIndex,
    file: &Path,
    task: &Task,
) -> Result<Imported, ProjectError> {
    let wrong = |cause: String| ProjectError::content(file, cause);
    let object = ReaderOptions::new().read_file(file).map_err(|error| wrong(error.to_string()))?;
    let header = object.header().clone();
    let volume = object.into_volume().into_ndarray::<f32>().map_err(|error| wrong(error.to_string()))?;
    let mut shape: Vec<usize> = volume.shape().to_vec();
    while shape.len() > 3 && shape.last() == Some(&1) {
        shape.pop();
    }
    shape.resize(shape.len().max(3), 1);
    let [columns, rows, slices] = shape[..] else {
        return Err(wrong(format!("a label map has three axes, not {}", shape.len())));
    };
    let values = volume
        .into_shape_with_order(((columns, rows, slices), ndarray::Order::ColumnMajor))
        .map_err(|error| wrong(error.to_string()))?;
    let largest = f32::from(u16::MAX);
    if values.iter().any(|value| !(0.0..=largest).contains(value) || value.fract() != 0.0) {
        return Err(wrong("values of a label map are whole numbers from 0 on".to_owned()));
    }
    let sidecar = read_sidecar(&beside(file))?;
    let placed = header.sform_code > 0 || header.qform_code > 0;
    let target = find(project, index, &values, placed.then(|| lps_affine(&header)), &sidecar, task);
    task.check()?;
    let target = target.map_err(wrong)?;

    let mut imported = Imported::default();
    let mut numbers: Vec<u16> = values.iter().map(|value| *value as u16).filter(|value| *value > 0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut edits = Vec::new();
    let mut frames = BTreeSet::new();
    for number in numbers {
        let entry = sidecar.labels.iter().find(|entry| entry.value == number);
        let name = entry.map_or_else(|| format!("Label {number}"), |entry| entry.name.clone());
        let concept = entry.and_then(|entry| entry.concept.as_ref());
        let label = label_for(project, &name, concept, entry.and_then(|entry| entry.color), &mut imported)?;
        for (slice, (key, frame)) in target.slices.iter().enumerate() {
            let (rows, columns) = target.shape;
            let at = |index: usize| target.voxel(slice, index / columns, index % columns);
            let add = Runs::of_flags((0..rows * columns).map(|index| values[at(index)] == f32::from(number)));
            if add.is_empty() {
                continue;
            }
            frames.insert((key.clone(), *frame));
            let mask = MaskKey { instance: key.clone(), frame: *frame, label: label.clone() };
            edits.push(Edit::Paint { mask, add, remove: Runs::default() });
            imported.annotations += 1;
        }
    }
    imported.frames = frames.len();
    if !edits.is_empty() {
        keep(project, reader, BTreeMap::from([(target.series.reading_uid().0, (target.series, edits))]))?;
    }
    Ok(imported)
}

/// An absent file says nothing; a damaged one is an error.
fn read_sidecar(file: &Path) -> Result<Sidecar, ProjectError> {
    match fs::read_to_string(file) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| ProjectError::content(file, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Sidecar::default()),
        Err(error) => Err(ProjectError::file(file)(error)),
    }
}

/// Where the voxels of a map lie among the frames of a series.
struct Target<'a> {
    series: &'a Series,
    slices: Vec<(InstanceKey, usize)>,
    /// Rows and columns.
    shape: (usize, usize),
    /// Voxel of slice, row, column 0, and the steps to the next slice, row and column: in voxels of the map.
    origin: [i64; 3],
    steps: [[i64; 3]; 3],
}

impl Target<'_> {
    /// Checked to lie inside when the target was made.
    fn voxel(&self, slice: usize, row: usize, column: usize) -> [usize; 3] {
        let place = [slice, row, column].map(|at| at as i64);
        let along = |axis: usize| (0..3).map(|by| place[by] * self.steps[by][axis]).sum::<i64>();
        [0, 1, 2].map(|axis| (self.origin[axis] + along(axis)).max(0) as usize)
    }
}

/// The frames that the map lies on, or why there are none.
fn find<'a>(
    project: &Project,
    index: &'a StudyIndex,
    values: &Array3<f32>,
    affine: Option<Affine>,
    sidecar: &Sidecar,
    task: &Task,
) -> Result<Target<'a>, String> {
    let Some(affine) = affine else {
        return Err("it does not say where it lies (no qform, no sform)".to_owned());
    };
    if let Some(wanted) = &sidecar.instance {
        let (series, instance) =
            Images::of(project, index).find(wanted).ok_or_else(|| format!("image {wanted} is not in the project"))?;
        let frame = FrameReader::open(&instance.source).and_then(|reader| reader.frame(sidecar.frame));
        let place = Place::of_frame(&frame.map_err(|error| error.to_string())?);
        let [columns, rows, slices] = place.shape;
        let laid =
            place.voxel_from_patient().and_then(|voxel| fit(&voxel, [slices, rows, columns], values.dim(), affine));
        let (origin, steps) =
            laid.ok_or_else(|| format!("it does not lie on the pixels of image {wanted}: resample it to the image"))?;
        let slices = vec![(instance.key(), sidecar.frame)];
        return Ok(Target { series, slices, shape: (rows, columns), origin, steps });
    }
    let all = index.studies.iter().flat_map(|study| &study.series);
    let outside = Outside::new(project, true);
    let is_named = |uid: &str| sidecar.series == uid || sidecar.series == outside.uid(uid);
    let named: Vec<&Series> =
        all.filter(|series| sidecar.series.is_empty() || is_named(&series.reading_uid().0)).collect();
    if named.is_empty() {
        return Err(format!("series {} is not in the project", sidecar.series));
    }
    let mut found = Vec::new();
    for series in named {
        let mut covered: BTreeSet<(crate::study::Source, usize)> = BTreeSet::new();
        for position in 0..series.frame_count() {
            task.check().map_err(|error| error.to_string())?;
            let Some((instance, frame)) = series.frame_at(position) else { continue };
            if covered.contains(&(instance.source.clone(), frame)) {
                continue;
            }
            let Ok(lattice) = Lattice::of(series, position, task) else { break };
            covered.insert((instance.source.clone(), frame));
            covered.extend(lattice.slices.iter().cloned());
            found.extend(fit_stack(series, &lattice, values.dim(), affine));
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(
            "it lies on the voxels of no series of the project with three slices or more: resample it to the images; \
                  a map of one image needs the JSON file that names it"
                .to_owned(),
        ),
        several => Err(format!("it fits {several} stacks of images: name the series in a JSON file beside it")),
    }
}

/// The map's voxels as those of `lattice`; `None` where they are others.
fn fit_stack<'a>(
    series: &'a Series,
    lattice: &Lattice,
    dims: (usize, usize, usize),
    affine: Affine,
) -> Option<Target<'a>> {
    if lattice.grid.uneven().is_some() {
        return None;
    }
    let shape = lattice.grid.shape();
    let (origin, steps) = fit(&|point| lattice.grid.voxel_from_patient(point), shape, dims, affine)?;
    let key = |source: &crate::study::Source| {
        series.instances.iter().find(|instance: &&Instance| instance.source == *source).map(Instance::key)
    };
    let slices: Option<Vec<_>> = lattice.slices.iter().map(|(source, frame)| Some((key(source)?, *frame))).collect();
    Some(Target { series, slices: slices?, shape: (shape[1], shape[2]), origin, steps })
}

/// Voxel of the map that is slice, row, column 0 of the images, and the steps to the next slice, row and column, by where both lie in the patient: the
/// axes may come in any order and direction. `None` where the voxels are others than the images' of `shape` (slices, rows, columns).
fn fit(
    voxel_from_patient: &dyn Fn(Vector) -> Vector,
    shape: [usize; 3],
    (columns, rows, slices): (usize, usize, usize),
    affine: Affine,
) -> Option<([i64; 3], [[i64; 3]; 3])> {
    let point = |voxel: [f64; 3]| {
        let along = |row: [f64; 4]| row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3];
        voxel_from_patient([along(affine[0]), along(affine[1]), along(affine[2])])
    };
    let whole = |v: Vector| {
        let rounded = v.map(f64::round);
        // A hundredth of a voxel over the whole stack: headers hold 32 bits.
        v.iter().zip(&rounded).all(|(v, r)| (v - r).abs() < 0.02).then(|| rounded.map(|x| x as i64))
    };
    let origin = whole(point([0.0; 3]))?;
    let far = |axis: usize, length: usize| {
        let mut voxel = [0.0; 3];
        voxel[axis] = (length.max(2) - 1) as f64;
        let steps = whole(point(voxel))?;
        let length = (length.max(2) - 1) as i64;
        let step = [0, 1, 2].map(|place| (steps[place] - origin[place]) / length);
        let exact = (0..3).all(|place| step[place] * length == steps[place] - origin[place]);
        (exact && step.iter().map(|x| x.abs()).sum::<i64>() == 1).then_some(step)
    };
    // For each axis of the map the step in (slice, row, column); then the other way round.
    let forward = [far(0, columns)?, far(1, rows)?, far(2, slices)?];
    let lengths = [columns, rows, slices];
    let mut steps = [[0; 3]; 3];
    let mut start = [0; 3];
    for (axis, step) in forward.iter().enumerate() {
        let place = step.iter().position(|x| *x != 0)?;
        if lengths[axis] != shape[place] || steps[place] != [0; 3] {
            return None;
        }
        steps[place][axis] = step[place];
        start[axis] = if step[place] > 0 { -origin[place] } else { origin[place] };
    }
    // Every slice, row and column must lie inside the map.
    let inside = (0..3).all(|axis| {
        let place = forward[axis].iter().position(|x| *x != 0).unwrap_or(0);
        let last = start[axis] + steps[place][axis] * (shape[place] as i64 - 1);
        let range = 0..lengths[axis] as i64;
        range.contains(&start[axis]) && range.contains(&last)
    });
    inside.then_some((start, steps))
}
