//! RT Structure Sets into a reader's sessions: contours become painted regions of the images they were drawn on.

use std::collections::{BTreeMap, HashMap};

use super::import::{Imported, Painted, instances, label_for};
use super::outside::Images;
use super::{Project, ProjectError};
use crate::dicom::pixels::FrameReader;
use crate::dicom::{Contour, ContourKind, read_structure_set};
use crate::measure::{Runs, polygon};
use crate::study::{Instance, PixelSpacing, PlaneGeometry, Series, Source, StudyIndex};
use crate::task::Task;

/// A contour that lies further from its image than this is none of it, mm.
const FURTHEST_MM: f64 = 0.5;

/// Where an image lies.
#[derive(Clone, Copy)]
struct Place {
    geometry: PlaneGeometry,
    spacing: PixelSpacing,
    size: (usize, usize),
}

/// Paints the closed contours of the structure set at `source` into `reader`'s sessions. Of several contours of one region on one image, what
/// lies inside an odd number of them is painted: holes are drawn as contours inside (PS3.3 C.8.8.6.3). Each series is one step of undo.
///
/// # Errors
/// Where the file is no structure set, or a session cannot be kept. Points, open lines, and contours of images that are not in the project
/// are problems.
pub fn import_structure_set(
    project: &mut Project,
    reader: &str,
    index: &StudyIndex,
    source: &Source,
    task: &Task,
) -> Result<Imported, ProjectError> {
    let set = read_structure_set(source).map_err(|error| ProjectError::content(&source.file, error))?;
    let mut imported = Imported { problems: set.problems, ..Imported::default() };
    let mut places: HashMap<(String, usize), Option<Place>> = HashMap::new();
    let mut painted = Painted::default();
    let images = Images::of(project, index);
    for (number, region) in set.regions.iter().enumerate() {
        task.check()?;
        task.progress("Importing", number as u64, set.regions.len() as u64);
        let mut drawings: BTreeMap<(String, usize), (&Series, &Instance, Runs)> = BTreeMap::new();
        for contour in &region.contours {
            if contour.kind != ContourKind::ClosedPlanar {
                imported.problems.push(format!("{}: points and open lines enclose nothing", region.name));
                continue;
            }
            let found = match find(&images, index, contour) {
                Ok(found) => found,
                Err(cause) => {
                    imported.problems.push(format!("{}: {cause}", region.name));
                    continue;
                }
            };
            let (series, instance, frame) = found;
            let key = (instance.key().0, frame);
            let place = places.entry(key.clone()).or_insert_with(|| place_of(instance, frame));
            let Some(place) = place else {
                let cause = format!("{}: image {} has no place or spacing in the patient", region.name, instance.uid);
                imported.problems.push(cause);
                continue;
            };
            match drawn(contour, place) {
                Ok(runs) => {
                    let entry = drawings.entry(key).or_insert_with(|| (series, instance, Runs::default()));
                    let both = entry.2.intersection(&runs);
                    entry.2 = entry.2.union(&runs).difference(&both);
                }
                Err(mm) => imported.problems.push(format!(
                    "{}: a contour lies {mm:.1} mm beside the image {} that it names",
                    region.name, instance.uid
                )),
            }
        }
        drawings.retain(|_, (.., runs)| !runs.is_empty());
        if drawings.is_empty() {
            continue;
        }
        let label = label_for(project, &region.name, None, region.color, &mut imported)?;
        for ((_, frame), (series, instance, add)) in drawings {
            painted.add(series, instance, frame, label.clone(), add);
        }
    }
    painted.keep(project, reader, imported)
}

/// The image that a contour names; without a name, the one that it lies on.
fn find<'i>(
    images: &Images<'i>,
    index: &'i StudyIndex,
    contour: &Contour,
) -> Result<(&'i Series, &'i Instance, usize), String> {
    if let Some(uid) = &contour.image {
        let found = images.find(&uid.0).filter(|(_, instance)| instance.frames > 0);
        let (series, instance) = found.ok_or_else(|| format!("image {uid} is not in the project"))?;
        return Ok((series, instance, contour.frame.unwrap_or(0)));
    }
    let lies_on = |(_, instance): &(&Series, &Instance)| {
        instance.frames == 1
            && instance.geometry.is_some_and(|geometry| {
                let normal = geometry.normal();
                let height = |p: &[f64; 3]| (0..3).map(|axis| (p[axis] - geometry.position[axis]) * normal[axis]).sum();
                contour.points.iter().map(height).all(|mm: f64| mm.abs() <= FURTHEST_MM)
            })
    };
    let found = instances(index).find(lies_on);
    let (series, instance) =
        found.ok_or_else(|| "a contour names no image, and none lies where it was drawn".to_owned())?;
    Ok((series, instance, 0))
}

fn place_of(instance: &Instance, frame: usize) -> Option<Place> {
    let display = FrameReader::open(&instance.source).and_then(|reader| reader.frame(frame)).ok()?.display;
    Some(Place { geometry: display.geometry?, spacing: display.spacing?, size: (instance.rows, instance.columns) })
}

/// Pixels inside a contour; how far it lies beside the image, mm, where that is too far.
fn drawn(contour: &Contour, place: &Place) -> Result<Runs, f64> {
    let mut vertices = Vec::with_capacity(contour.points.len());
    let mut furthest = 0.0_f64;
    for point in &contour.points {
        let (row, column, away) = place.geometry.pixel_from_patient(*point, place.spacing);
        furthest = furthest.max(away.abs());
        vertices.push((row, column));
    }
    if furthest > FURTHEST_MM { Err(furthest) } else { Ok(polygon(&vertices, place.size)) }
}
