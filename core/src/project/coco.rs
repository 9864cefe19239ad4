//! COCO: images as PNG, polygons for what was drawn, run lengths for what was painted.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{AnnotatedFrame, Project, ProjectError, file_stem};
use crate::annotation::{Shape, ShapeKind};
use crate::dataset::Rle;
use crate::measure::Runs;
use crate::render::{Voi, gray_image};

/// Vertices of the polygon that stands for an ellipse.
const ELLIPSE_VERTICES: usize = 72;

/// Writes `coco.json` and `images/*.png` into `folder`; returns how many images and annotations there are. The file has the fields that Bifocal's
/// own training reads beside standard COCO: `patient_id` (a pseudonym), `annotated_category_ids` (all where the reader is done, else those
/// that are there), and of each image the instance and frame it was made from, by which it is imported again.
pub fn export_coco(
    project: &Project,
    frames: &[AnnotatedFrame<'_>],
    folder: &Path,
) -> Result<(usize, usize), ProjectError> {
    let pictures = folder.join("images");
    fs::create_dir_all(&pictures).map_err(ProjectError::file(&pictures))?;
    let labels = &project.labels().labels;
    let categories: Vec<Value> = labels
        .iter()
        .enumerate()
        .map(|(index, label)| json!({ "id": index + 1, "name": label.key, "supercategory": "" }))
        .collect();
    let id_of = |key: &str| labels.iter().position(|label| label.key == key).map(|index| index + 1);
    let (mut images, mut annotations) = (Vec::new(), Vec::<Value>::new());
    for (index, frame) in frames.iter().enumerate() {
        let name = write_picture(&pictures, index, frame)?;
        let (rows, columns) = frame.image.shape();
        let image_id = index + 1;
        let mut here: Vec<(usize, Value)> = Vec::new();
        for shape in frame.shapes.iter().filter(|shape| shape.is_whole()) {
            let Some(category) = shape.label.as_deref().and_then(id_of) else { continue };
            if let Some(annotation) = drawn(shape, frame) {
                here.push((category, annotation));
            }
        }
        for (label, runs) in &frame.painted {
            let Some(category) = id_of(label) else { continue };
            here.extend(painted(runs, rows, columns).map(|annotation| (category, annotation)));
        }
        let annotated: Vec<usize> = if frame.complete {
            (1..=labels.len()).collect()
        } else {
            let mut ids: Vec<usize> = here.iter().map(|(category, _)| *category).collect();
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        for (category, mut annotation) in here {
            annotation["id"] = json!(annotations.len() + 1);
            annotation["image_id"] = json!(image_id);
            annotation["category_id"] = json!(category);
            annotation["iscrowd"] = json!(0);
            annotations.push(annotation);
        }
        images.push(json!({
            "id": image_id,
            "file_name": format!("images/{name}"),
            "width": columns,
            "height": rows,
            "patient_id": project.pseudonym(&frame.study.patient.id),
            "source": frame.series.modality,
            "view": Some(&frame.series.view_position).filter(|view| !view.is_empty()),
            "annotated_category_ids": annotated,
            "instance": frame.instance.key(),
            "frame": frame.frame,
        }));
    }
    let counts = (images.len(), annotations.len());
    let file = folder.join("coco.json");
    let all = json!({ "info": { "description": project.name() }, "images": images, "annotations": annotations, "categories": categories });
    let text = serde_json::to_string_pretty(&all).map_err(|error| ProjectError::content(&file, error))?;
    fs::write(&file, text + "\n").map_err(ProjectError::file(&file))?;
    Ok(counts)
}

/// The frame through its own window, as PNG; returns its name.
pub(super) fn write_picture(folder: &Path, index: usize, frame: &AnnotatedFrame<'_>) -> Result<String, ProjectError> {
    let name = format!("{:06}-{}.png", index + 1, file_stem(&frame.series.modality).to_ascii_lowercase());
    let file = folder.join(&name);
    let picture = gray_image(&frame.image, &Voi::of_frame(&frame.image));
    let png = picture.to_png().map_err(|error| ProjectError::content(&file, error))?;
    fs::write(&file, png).map_err(ProjectError::file(&file))?;
    Ok(name)
}

/// A region as polygon, a box as box; other shapes have no place in COCO.
fn drawn(shape: &Shape, frame: &AnnotatedFrame<'_>) -> Option<Value> {
    let pixels = shape.pixels(&frame.image.display);
    let vertices: Vec<(f64, f64)> = match shape.kind {
        ShapeKind::Ellipse => {
            let [a, b, c, d] = <[(f64, f64); 4]>::try_from(pixels).ok()?;
            let centre = ((a.0 + b.0) / 2.0, (a.1 + b.1) / 2.0);
            let (u, v) = (((b.0 - a.0) / 2.0, (b.1 - a.1) / 2.0), ((d.0 - c.0) / 2.0, (d.1 - c.1) / 2.0));
            (0..ELLIPSE_VERTICES)
                .map(|step| (step as f64 / ELLIPSE_VERTICES as f64 * std::f64::consts::TAU).sin_cos())
                .map(|(sin, cos)| (centre.0 + cos * u.0 + sin * v.0, centre.1 + cos * u.1 + sin * v.1))
                .collect()
        }
        kind if kind.is_region() => pixels,
        _ => return None,
    };
    // COCO counts from the corner of the first pixel, shapes from its centre.
    let (rows, columns) = frame.image.shape();
    let place =
        |(row, column): &(f64, f64)| ((column + 0.5).clamp(0.0, columns as f64), (row + 0.5).clamp(0.0, rows as f64));
    let points: Vec<(f64, f64)> = vertices.iter().map(place).collect();
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = points.iter().map(of);
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((left, right), (top, bottom)) = (range(|p| p.0), range(|p| p.1));
    if right <= left || bottom <= top {
        return None;
    }
    let area: f64 = (0..points.len())
        .map(|index| (points[index], points[(index + 1) % points.len()]))
        .map(|((x0, y0), (x1, y1))| x0 * y1 - x1 * y0)
        .sum::<f64>()
        .abs()
        / 2.0;
    let flat: Vec<f64> = points.iter().flat_map(|(x, y)| [rounded(*x), rounded(*y)]).collect();
    Some(json!({
        "kind": if shape.kind == ShapeKind::Rectangle { "box" } else { "mask" },
        "bbox": [rounded(left), rounded(top), rounded(right - left), rounded(bottom - top)],
        "area": rounded(area),
        "segmentation": [flat],
    }))
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn painted(runs: &Runs, rows: usize, columns: usize) -> Option<Value> {
    let [top, left, bottom, right] = runs.bounds(columns)?;
    let rle = Rle::from_mask(mask_of(runs, rows, columns).view()).ok()?;
    Some(json!({
        "kind": "mask",
        "bbox": [left, top, right - left + 1, bottom - top + 1],
        "area": rle.area(),
        "segmentation": { "size": [rows, columns], "counts": rle.compress() },
    }))
}

/// A set of pixels as an image of 0 and 1, `[row, column]`.
pub(super) fn mask_of(runs: &Runs, rows: usize, columns: usize) -> ndarray::Array2<u8> {
    let mut mask = ndarray::Array2::zeros((rows, columns));
    for pixel in runs.pixels() {
        let at = pixel as usize;
        if let Some(value) = mask.get_mut((at / columns.max(1), at % columns.max(1))) {
            *value = 1;
        }
    }
    mask
}
