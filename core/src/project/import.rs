//! From other programs into a reader's sessions.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::frames::sessions_of;
use super::outside::Images;
use super::{Deed, Project, ProjectError, import_label_map, import_structure_set};
use crate::annotation::{Edit, Label, MaskKey, Shape, ShapeId, ShapeKind, Store};
use crate::dataset::{CocoDataset, Geometry};
use crate::dicom::pixels::FrameReader;
use crate::dicom::{DicomFile, is_structure_set, read_segmentation};
use crate::measure::Runs;
use crate::study::{CodedConcept, Instance, InstanceKey, Series, Source, StudyIndex};
use crate::task::Task;

/// What an import brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Frames that something was added to.
    pub frames: usize,
    /// Shapes and painted regions.
    pub annotations: usize,
    /// Labels that the project did not have.
    pub new_labels: Vec<String>,
    /// What has no place in the project, for people.
    pub problems: Vec<String>,
}

/// Brings what another program wrote into `reader`'s sessions: a DICOM segmentation or RT Structure Set, a COCO file, or a NIfTI label map (with
/// the JSON file beside it, where there is one), told apart by name and content.
///
/// # Errors
/// Where the file is none of them, or a session cannot be kept. What has no place in the project is a problem.
pub fn import_file(
    project: &mut Project,
    reader: &str,
    index: &StudyIndex,
    file: &Path,
    task: &Task,
) -> Result<Imported, ProjectError> {
    let name = file.to_string_lossy().to_ascii_lowercase();
    task.progress("Importing", 0, 0);
    let imported = if name.ends_with(".nii") || name.ends_with(".nii.gz") {
        import_label_map(project, reader, index, file, task)?
    } else if name.ends_with(".json") {
        import_coco(project, reader, index, file, task)?
    } else {
        let source = Source::file(file);
        match DicomFile::read_headers(&source).is_ok_and(|file| is_structure_set(&file)) {
            true => import_structure_set(project, reader, index, &source, task)?,
            false => import_segmentation(project, reader, index, &source, task)?,
        }
    };
    let annotations = imported.annotations;
    project.record(reader, &Deed::Imported { file: file.to_path_buf(), annotations })?;
    Ok(imported)
}

/// Paints the masks of the DICOM segmentation at `source` into `reader`'s sessions: probabilities from one half on. Each series is one step
/// of undo.
///
/// # Errors
/// Where the file is no segmentation, or a session cannot be kept. Masks of images that are not in the project are problems.
pub fn import_segmentation(
    project: &mut Project,
    reader: &str,
    index: &StudyIndex,
    source: &Source,
    task: &Task,
) -> Result<Imported, ProjectError> {
    let segmentation = read_segmentation(source).map_err(|error| ProjectError::content(&source.file, error))?;
    let mut imported = Imported::default();
    let mut keys = HashMap::new();
    for segment in &segmentation.segments {
        let key = label_for(project, &segment.label, Some(&segment.property), segment.color, &mut imported)?;
        keys.insert(segment.number, key);
    }
    let half = segmentation.kind.maximum().div_ceil(2);
    let images = Images::of(project, index);
    let mut painted = Painted::default();
    for (number, mask) in segmentation.masks.iter().enumerate() {
        task.check()?;
        task.progress("Importing", number as u64, segmentation.masks.len() as u64);
        let Some(origin) = &mask.source else {
            imported.problems.push(format!("a mask of segment {} names no image", mask.segment));
            continue;
        };
        let Some((series, instance)) = images.find(&origin.sop_instance_uid.0) else {
            imported.problems.push(format!("image {} is not in the project", origin.sop_instance_uid));
            continue;
        };
        if (instance.rows, instance.columns) != mask.values.dim() {
            imported.problems.push(format!("a mask of image {} has another size", origin.sop_instance_uid));
            continue;
        }
        let Some(label) = keys.get(&mask.segment) else { continue };
        let add = Runs::of_flags(mask.values.iter().map(|value| *value >= half));
        if add.is_empty() {
            continue;
        }
        painted.add(series, instance, origin.frame.unwrap_or(0), label.clone(), add);
    }
    painted.keep(project, reader, imported)
}

/// Fields by which Bifocal's own COCO files name the image that a picture was made from.
#[derive(Deserialize)]
struct Origins {
    images: Vec<Origin>,
}

#[derive(Deserialize)]
struct Origin {
    id: u64,
    file_name: String,
    instance: Option<String>,
    #[serde(default)]
    frame: usize,
}

/// Draws the annotations of a COCO file into `reader`'s sessions: boxes and polygons as shapes, run lengths as painted regions. Pictures are found by
/// `instance` and `frame` where the file has them, else by their file name without folder and extension.
///
/// # Errors
/// Where the file is not COCO, or a session cannot be kept. Annotations of pictures that are not in the project are problems.
pub fn import_coco(
    project: &mut Project,
    reader: &str,
    index: &StudyIndex,
    file: &Path,
    task: &Task,
) -> Result<Imported, ProjectError> {
    let dataset = CocoDataset::load(file).map_err(|error| ProjectError::content(file, error))?;
    let text = std::fs::read(file).map_err(ProjectError::file(file))?;
    let origins: Origins = serde_json::from_slice(&text).map_err(|error| ProjectError::content(file, error))?;
    let origins: HashMap<u64, Origin> = origins.images.into_iter().map(|origin| (origin.id, origin)).collect();
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut imported = Imported::default();
    let mut edits: BTreeMap<String, (&Series, Vec<Edit>)> = BTreeMap::new();
    let mut next: HashMap<String, u64> = HashMap::new();
    let images = Images::of(project, index);
    for (number, image) in dataset.images.iter().enumerate().filter(|(_, image)| !image.shapes.is_empty()) {
        task.check()?;
        task.progress("Importing", number as u64, dataset.images.len() as u64);
        let Some(origin) = origins.get(&image.id) else { continue };
        let found = match &origin.instance {
            Some(key) => images.find(key),
            None => {
                let name = stem(Path::new(&origin.file_name));
                let named =
                    |source: &Source| stem(&source.member.as_ref().map_or(source.file.clone(), Into::into)) == name;
                instances(index).find(|(_, instance)| named(&instance.source))
            }
        };
        let Some((series, instance)) = found else {
            imported.problems.push(format!("picture {} is not in the project", origin.file_name));
            continue;
        };
        if (instance.rows, instance.columns) != (image.height, image.width) {
            imported.problems.push(format!("picture {} has another size than its image", origin.file_name));
            continue;
        }
        let display = match FrameReader::open(&instance.source).and_then(|reader| reader.frame(origin.frame)) {
            Ok(frame) => frame.display,
            Err(error) => {
                imported.problems.push(error.to_string());
                continue;
            }
        };
        let series_key = series.reading_uid().0;
        let list = &mut edits.entry(series_key.clone()).or_insert_with(|| (series, Vec::new())).1;
        let mut id = match next.get(&series_key) {
            Some(id) => *id,
            None => first_free(project, reader, series)?,
        };
        for annotation in &image.shapes {
            let label = label_for(project, &annotation.category, None, None, &mut imported)?;
            let mut shape = |kind, points: &[(f64, f64)]| {
                let mut shape = Shape::new(kind, instance.key(), origin.frame, points, &display);
                shape.label = Some(label.clone());
                list.push(Edit::SetShape { id: ShapeId(id), shape: Some(Box::new(shape)) });
                id += 1;
            };
            // From the corner of the first pixel to its centre.
            let place = |x: f32, y: f32| (f64::from(y) - 0.5, f64::from(x) - 0.5);
            match &annotation.geometry {
                Geometry::Box { x, y, width, height } => {
                    let (left, top, right, bottom) = (*x, *y, x + width, y + height);
                    let corners = [place(left, top), place(right, top), place(right, bottom), place(left, bottom)];
                    shape(ShapeKind::Rectangle, &corners);
                    imported.annotations += 1;
                }
                Geometry::Polygon(polygons) => {
                    for polygon in polygons.iter().filter(|polygon| polygon.len() >= 3) {
                        let points: Vec<_> = polygon.iter().map(|(x, y)| place(*x, *y)).collect();
                        shape(ShapeKind::Polygon, &points);
                        imported.annotations += 1;
                    }
                }
                Geometry::Mask(rle) => {
                    let mask = MaskKey { instance: instance.key(), frame: origin.frame, label: label.clone() };
                    let add = Runs::of_flags(rle.to_mask().iter().map(|value| *value > 0));
                    list.push(Edit::Paint { mask, add, remove: Runs::default() });
                    imported.annotations += 1;
                }
            }
        }
        next.insert(series_key, id);
        imported.frames += 1;
    }
    keep(project, reader, edits)?;
    Ok(imported)
}

pub(super) fn instances(index: &StudyIndex) -> impl Iterator<Item = (&Series, &Instance)> {
    let series = index.studies.iter().flat_map(|study| &study.series);
    series.flat_map(|series| series.instances.iter().map(move |instance| (series, instance)))
}

/// Number of the first shape that a session does not have.
fn first_free(project: &Project, reader: &str, series: &Series) -> Result<u64, ProjectError> {
    let store = latest(project, reader, series)?;
    Ok(store.session().shapes.keys().next_back().map_or(1, |id| id.0 + 1))
}

/// The reader's latest session of a series; one that belongs to no bundle where there is none.
fn latest(project: &Project, reader: &str, series: &Series) -> Result<Store, ProjectError> {
    let folder = project.readings(reader)?;
    let (sessions, _) = sessions_of(&folder)?;
    let weights = sessions.get(&series.reading_uid()).map_or("", |session| session.weights_sha256.as_str());
    Ok(Store::open(&folder, &series.reading_uid(), weights)?)
}

/// Regions to paint, by series.
#[derive(Default)]
pub(super) struct Painted<'i> {
    edits: BTreeMap<String, (&'i Series, Vec<Edit>)>,
    frames: BTreeSet<(InstanceKey, usize)>,
}

impl<'i> Painted<'i> {
    pub(super) fn add(&mut self, series: &'i Series, instance: &Instance, frame: usize, label: String, add: Runs) {
        self.frames.insert((instance.key(), frame));
        let mask = MaskKey { instance: instance.key(), frame, label };
        let edit = Edit::Paint { mask, add, remove: Runs::default() };
        self.edits.entry(series.reading_uid().0).or_insert_with(|| (series, Vec::new())).1.push(edit);
    }

    /// Keeps them in `reader`'s sessions and counts them. Problems, of which many masks share one, are said once.
    pub(super) fn keep(
        self,
        project: &Project,
        reader: &str,
        mut imported: Imported,
    ) -> Result<Imported, ProjectError> {
        imported.frames = self.frames.len();
        imported.annotations = self.edits.values().map(|(_, edits)| edits.len()).sum();
        keep(project, reader, self.edits)?;
        imported.problems.sort();
        imported.problems.dedup();
        Ok(imported)
    }
}

/// Each series is one step of undo.
pub(super) fn keep(
    project: &Project,
    reader: &str,
    edits: BTreeMap<String, (&Series, Vec<Edit>)>,
) -> Result<(), ProjectError> {
    for (series, edits) in edits.into_values() {
        let mut store = latest(project, reader, series)?;
        store.apply(Edit::All { edits })?;
    }
    Ok(())
}

/// Key of the project's label by name, key or concept; a new label where there is none.
pub(super) fn label_for(
    project: &mut Project,
    name: &str,
    concept: Option<&CodedConcept>,
    color: Option<[u8; 3]>,
    imported: &mut Imported,
) -> Result<String, ProjectError> {
    let same = |label: &&Label| label.key == name || label.name.eq_ignore_ascii_case(name);
    if let Some(label) = project.labels().labels.iter().find(same) {
        return Ok(label.key.clone());
    }
    let mut labels = project.labels().clone();
    let mut label = Label { concept: concept.cloned(), ..labels.new_label(name) };
    if let Some([r, g, b]) = color {
        label.color = format!("#{r:02x}{g:02x}{b:02x}");
    }
    let key = label.key.clone();
    labels.labels.push(label);
    project.set_labels(labels)?;
    imported.new_labels.push(key.clone());
    Ok(key)
}
