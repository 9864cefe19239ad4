//! Training data for networks of slabs: slices of simulated CTs with their neighbours, as a COCO data set.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use ndarray::{Array2, Array3, s};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::{ORGANS, Options, simulate_ct_alone};
use crate::dataset::Rle;
use crate::task::{Cancelled, Task};

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlabSet {
    /// Seed of the first patient; the others follow.
    pub seed: u64,
    /// Patients.
    pub patients: u64,
    /// Rows and columns of a slice.
    pub size: usize,
    /// Distance of the slices and of the neighbours in a slab, mm.
    pub spacing_mm: f32,
    /// Every so many slices one slab.
    pub every: usize,
    /// HU that become 0 and 255.
    pub window: [f32; 2],
    /// Nodules a patient besides the usual four.
    pub extra_nodules: usize,
}

/// Why a set could not be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SlabError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("{path}: {cause}")]
    Write { path: PathBuf, cause: String },
}

/// Classes of the lesions, after the organs.
const LESIONS: [&str; 2] = ["nodule", "opacity"];

/// Writes `images/*.png`, whose red, green and blue are the slice below, the slice itself and the one above through the window, and
/// `coco.json` with the masks of the middle slice: organs, `nodule`, `opacity`. Returns the number of images.
pub fn write_slab_set(set: &SlabSet, folder: &Path, task: &Task) -> Result<usize, SlabError> {
    let pictures = folder.join("images");
    fs::create_dir_all(&pictures).map_err(|error| failed(&pictures, error))?;
    let names: Vec<&str> = ORGANS.iter().chain(&LESIONS).copied().collect();
    let done = AtomicU64::new(0);
    let patient = |patient: u64| {
        task.check()?;
        let slabs = slabs_of(set, set.seed + patient, &pictures, task);
        task.progress("Simulating patients", done.fetch_add(1, Ordering::Relaxed) + 1, set.patients);
        slabs
    };
    let slabs: Vec<Vec<Slab>> = (0..set.patients).into_par_iter().map(patient).collect::<Result<_, _>>()?;
    let (mut images, mut annotations): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for mut slab in slabs.into_iter().flatten() {
        slab.image["id"] = (images.len() + 1).into();
        images.push(slab.image);
        for mut annotation in slab.annotations {
            annotation["id"] = (annotations.len() + 1).into();
            annotation["image_id"] = images.len().into();
            annotations.push(annotation);
        }
    }
    let categories: Vec<Value> =
        names.iter().enumerate().map(|(index, name)| json!({ "id": index + 1, "name": name })).collect();
    let count = images.len();
    let info = json!({ "description": "Simulated CT slabs", "seed": set.seed, "patients": set.patients,
        "window": set.window, "spacing_mm": set.spacing_mm, "extra_nodules": set.extra_nodules });
    let file = json!({ "info": info, "images": images, "annotations": annotations, "categories": categories });
    let path = folder.join("coco.json");
    fs::write(&path, file.to_string()).map_err(|error| failed(&path, error))?;
    Ok(count)
}

/// A slab's image and its annotations, not yet numbered.
struct Slab {
    image: Value,
    annotations: Vec<Value>,
}

/// Simulates the patient of `seed` and writes the pictures.
fn slabs_of(set: &SlabSet, seed: u64, pictures: &Path, task: &Task) -> Result<Vec<Slab>, SlabError> {
    let options = Options {
        ct_size: set.size,
        ct_slice_mm: set.spacing_mm,
        extra_nodules: set.extra_nodules,
        ..Options::new(seed)
    };
    let (lesions, ct) = simulate_ct_alone(options, &task.quietly())?;
    let (slices, rows, columns) = ct.hu.dim();
    let is_nodule = |id: u8| lesions.iter().any(|lesion| lesion.id == id && lesion.kind.is_nodule());
    let mut slabs = Vec::new();
    for slice in (1..slices.saturating_sub(1)).step_by(set.every.max(1)) {
        let name = format!("{seed}-{slice:03}.png");
        write_slab(&ct.hu.slice(s![slice - 1..slice + 2, .., ..]).to_owned(), set.window, &pictures.join(&name))?;
        let image = json!({
            "file_name": format!("images/{name}"), "width": columns, "height": rows,
            "patient_id": format!("phantom-{seed}"), "source": "simulated",
        });
        let organs = ct.organs.slice(s![slice, .., ..]);
        let labels = ct.lesions.slice(s![slice, .., ..]);
        let mut annotations = Vec::new();
        for index in 0..ORGANS.len() + LESIONS.len() {
            // Each lesion is an annotation of its own; an organ is one.
            let numbers: Vec<u8> = match index.checked_sub(ORGANS.len()) {
                None => vec![index as u8 + 1],
                Some(class) => lesions.iter().map(|l| l.id).filter(|id| is_nodule(*id) == (class == 0)).collect(),
            };
            let of = if index < ORGANS.len() { organs } else { labels };
            let masks = numbers.into_iter().map(|number| of.mapv(|v| u8::from(v == number)));
            annotations
                .extend(masks.filter(|mask| mask.iter().any(|v| *v > 0)).map(|mask| annotation(index + 1, &mask)));
        }
        slabs.push(Slab { image, annotations });
    }
    Ok(slabs)
}

fn failed(path: &Path, cause: impl std::fmt::Display) -> SlabError {
    SlabError::Write { path: path.to_path_buf(), cause: cause.to_string() }
}

fn write_slab(slices: &Array3<i16>, [low, high]: [f32; 2], path: &Path) -> Result<(), SlabError> {
    let (_, rows, columns) = slices.dim();
    let share = |hu: i16| ((f32::from(hu) - low) / (high - low) * 255.0).clamp(0.0, 255.0).round() as u8;
    let picture = image::RgbImage::from_fn(columns as u32, rows as u32, |x, y| {
        image::Rgb([0, 1, 2].map(|k| share(slices[[k, y as usize, x as usize]])))
    });
    picture.save(path).map_err(|error| failed(path, error))
}

fn annotation(category: usize, mask: &Array2<u8>) -> Value {
    let (rows, columns) = mask.dim();
    let set: Vec<(usize, usize)> = mask.indexed_iter().filter(|(_, v)| **v > 0).map(|(at, _)| at).collect();
    let range = |of: fn(&(usize, usize)) -> usize| {
        let values = set.iter().map(of);
        (values.clone().min().unwrap_or(0), values.max().unwrap_or(0))
    };
    let ((top, bottom), (left, right)) = (range(|at| at.0), range(|at| at.1));
    let counts = Rle::from_mask(mask.view()).map(|rle| rle.compress()).unwrap_or_default();
    json!({
        "category_id": category, "kind": "mask", "iscrowd": 0, "area": set.len(),
        "bbox": [left, top, right + 1 - left, bottom + 1 - top],
        "segmentation": { "size": [rows, columns], "counts": counts },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{CocoDataset, ImageStore};
    use crate::phantom::LesionKind;

    #[test]
    fn a_set_is_read_back_with_its_neighbours_and_masks() {
        let folder = tempfile::tempdir().expect("a folder");
        let set = SlabSet {
            seed: 5,
            patients: 1,
            size: 48,
            spacing_mm: 10.0,
            every: 4,
            window: [-1000.0, 400.0],
            extra_nodules: 3,
        };
        let count = write_slab_set(&set, folder.path(), &Task::new()).expect("made");
        let dataset = CocoDataset::load(&folder.path().join("coco.json")).expect("a data set");
        assert_eq!((dataset.images.len(), dataset.categories.len()), (count, 5));
        let drawn = |name: &str| dataset.images.iter().flat_map(|i| &i.shapes).filter(|s| s.category == name).count();
        assert!(drawn("left_lung") > count / 2 && drawn("nodule") > 0, "{count}");
        let slab = ImageStore::new(0).colours(&dataset.images[count / 2]).expect("read");
        // Lung and soft tissue in all three, and neighbours that differ.
        assert!(slab.iter().any(|v| *v < 60) && slab.iter().any(|v| *v > 180));
        assert!(slab.outer_iter().flatten().count() == 48 * 48 * 3);
        assert_ne!(slab.slice(s![.., .., 0]), slab.slice(s![.., .., 2]));
        let options = Options { ct_size: 48, ct_slice_mm: 10.0, extra_nodules: 3, ..Options::new(5) };
        let (lesions, _) = simulate_ct_alone(options, &Task::new()).expect("made");
        let usual = simulate_ct_alone(Options { extra_nodules: 0, ..options }, &Task::new()).expect("made").0;
        assert_eq!(lesions[..usual.len()], usual[..], "the usual lesions stay as they are");
        assert!(lesions.len() > usual.len() && lesions.iter().any(|l| l.kind == LesionKind::SolidNodule));
    }
}
