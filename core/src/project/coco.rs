//! COCO: images as PNG, polygons for what was drawn, run lengths for what was painted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3, ArrayView2};
use serde_json::{Value, json};

use super::outside::Outside;
use super::{AnnotatedFrame, Project, ProjectError, file_stem};
use crate::annotation::{Shape, ShapeKind};
use crate::dataset::Rle;
use crate::measure::Runs;
use crate::render::{Voi, gray_image};
use crate::study::{Affine, warp};

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
    let mut writer = CocoWriter::new(project, folder)?;
    for frame in frames {
        writer.add(frame)?;
    }
    writer.finish()
}

/// Writes a COCO file frame by frame, so that only one of them need be in memory.
pub struct CocoWriter<'p> {
    project: &'p Project,
    folder: PathBuf,
    outside: Outside,
    images: Vec<Value>,
    annotations: Vec<Value>,
}

impl<'p> CocoWriter<'p> {
    /// Begins a data set in `folder`, which is made where it is missing.
    pub fn new(project: &'p Project, folder: &Path) -> Result<Self, ProjectError> {
        let images = folder.join("images");
        fs::create_dir_all(&images).map_err(ProjectError::file(&images))?;
        let folder = folder.to_path_buf();
        let outside = Outside::default();
        Ok(Self { project, folder, outside, images: Vec::new(), annotations: Vec::new() })
    }

    /// Calls images by these names.
    pub(super) fn outside(self, outside: Outside) -> Self {
        Self { outside, ..self }
    }

    /// Writes the picture of a frame, full-sized through its own window, and takes in what is drawn on it.
    pub fn add(&mut self, frame: &AnnotatedFrame<'_>) -> Result<(), ProjectError> {
        let name = write_picture(&self.folder.join("images"), self.images.len(), frame)?;
        self.take_in(frame, name, frame.image.shape());
        Ok(())
    }

    /// Writes a picture as a network wants it, one channel or three, `[channel, row, column]` in the size of the frame, and takes in what is drawn on the
    /// frame. Where the longest side is longer than `longest_side` the picture is made smaller, and annotations with it.
    pub fn add_picture(
        &mut self,
        frame: &AnnotatedFrame<'_>,
        picture: &Array3<u8>,
        longest_side: usize,
    ) -> Result<(), ProjectError> {
        let (rows, columns) = frame.image.shape();
        let share = (longest_side.max(1) as f64 / rows.max(columns).max(1) as f64).min(1.0);
        let shrunk = |side: usize| ((side as f64 * share).round() as usize).max(1);
        let size = (shrunk(rows), shrunk(columns));
        let name = picture_name(self.images.len(), frame);
        write_channels(&self.folder.join("images").join(&name), picture, size)?;
        self.take_in(frame, name, size);
        Ok(())
    }

    fn take_in(&mut self, frame: &AnnotatedFrame<'_>, name: String, size: (usize, usize)) {
        let labels = &self.project.labels().labels;
        let id_of = |key: &str| labels.iter().position(|label| label.key == key).map(|index| index + 1);
        let (rows, columns) = frame.image.shape();
        let image_id = self.images.len() + 1;
        let mut here: Vec<(usize, Value)> = Vec::new();
        // A labelled point or length says that it is there, but not where it ends: the image counts neither way.
        let mut unplaced = BTreeSet::new();
        for shape in frame.shapes.iter().filter(|shape| shape.is_whole()) {
            let Some(category) = shape.label.as_deref().and_then(id_of) else { continue };
            match drawn(shape, frame, size) {
                Some(annotation) => here.push((category, annotation)),
                None => _ = unplaced.insert(category),
            }
        }
        for (label, runs) in &frame.painted {
            let Some(category) = id_of(label) else { continue };
            here.extend(painted(runs, (rows, columns), size).map(|annotation| (category, annotation)));
        }
        let shown: BTreeSet<usize> = here.iter().map(|(category, _)| *category).collect();
        let annotated: Vec<usize> =
            (1..=labels.len()).filter(|id| shown.contains(id) || (frame.complete && !unplaced.contains(id))).collect();
        for (category, mut annotation) in here {
            annotation["id"] = json!(self.annotations.len() + 1);
            annotation["image_id"] = json!(image_id);
            annotation["category_id"] = json!(category);
            annotation["iscrowd"] = json!(0);
            self.annotations.push(annotation);
        }
        let mut image = json!({
            "id": image_id,
            "file_name": format!("images/{name}"),
            "width": size.1,
            "height": size.0,
            "patient_id": self.project.patient(frame.study),
            "source": frame.series.modality,
            "view": Some(&frame.series.view_position).filter(|view| !view.is_empty()),
            "annotated_category_ids": annotated,
        });
        if size == (rows, columns) {
            image["instance"] = json!(self.outside.uid(&frame.instance.key().0));
            image["frame"] = json!(frame.frame);
        }
        self.images.push(image);
    }

    /// Writes `coco.json`; returns how many images and annotations there are.
    pub fn finish(self) -> Result<(usize, usize), ProjectError> {
        let labels = self.project.labels().labels.iter().enumerate();
        let categories: Vec<Value> =
            labels.map(|(index, label)| json!({ "id": index + 1, "name": label.key, "supercategory": "" })).collect();
        let counts = (self.images.len(), self.annotations.len());
        let file = self.folder.join("coco.json");
        let info = json!({ "description": self.project.name() });
        let all =
            json!({ "info": info, "images": self.images, "annotations": self.annotations, "categories": categories });
        let text = serde_json::to_string_pretty(&all).map_err(|error| ProjectError::content(&file, error))?;
        fs::write(&file, text + "\n").map_err(ProjectError::file(&file))?;
        Ok(counts)
    }
}

/// The frame through its own window, as PNG; returns its name.
pub(super) fn write_picture(folder: &Path, index: usize, frame: &AnnotatedFrame<'_>) -> Result<String, ProjectError> {
    let name = picture_name(index, frame);
    let file = folder.join(&name);
    let picture = gray_image(&frame.image, &Voi::of_frame(&frame.image));
    let png = picture.to_png().map_err(|error| ProjectError::content(&file, error))?;
    fs::write(&file, png).map_err(ProjectError::file(&file))?;
    Ok(name)
}

fn picture_name(index: usize, frame: &AnnotatedFrame<'_>) -> String {
    format!("{:06}-{}.png", index + 1, file_stem(&frame.series.modality).to_ascii_lowercase())
}

/// One channel or three in another size, as PNG.
fn write_channels(file: &Path, channels: &Array3<u8>, size: (usize, usize)) -> Result<(), ProjectError> {
    let sized = |channel: ArrayView2<'_, u8>| {
        if channel.dim() == size {
            return channel.to_owned();
        }
        let scale = [channel.nrows() as f32 / size.0 as f32, channel.ncols() as f32 / size.1 as f32];
        let linear = [[scale[0], 0.0], [0.0, scale[1]]];
        let offset = scale.map(|scale| (scale - 1.0) / 2.0);
        warp(channel, &Affine { linear, offset }, size, 0.0).mapv(|v| v.round() as u8)
    };
    let channels: Vec<Array2<u8>> = channels.outer_iter().map(sized).collect();
    let (width, height) = (size.1 as u32, size.0 as u32);
    let at = |channel: &Array2<u8>, x: u32, y: u32| channel[[y as usize, x as usize]];
    let saved = match &channels[..] {
        [gray] => image::GrayImage::from_fn(width, height, |x, y| image::Luma([at(gray, x, y)])).save(file),
        [a, b, c] => {
            image::RgbImage::from_fn(width, height, |x, y| image::Rgb([a, b, c].map(|c| at(c, x, y)))).save(file)
        }
        other => return Err(ProjectError::content(file, format!("a picture of {} channels", other.len()))),
    };
    saved.map_err(|error| ProjectError::content(file, error))
}

/// A region as polygon, a box as box, on an image of that size; other shapes have no place in COCO.
fn drawn(shape: &Shape, frame: &AnnotatedFrame<'_>, size: (usize, usize)) -> Option<Value> {
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
    let (down, across) = (size.0 as f64 / rows as f64, size.1 as f64 / columns as f64);
    let place = |(row, column): &(f64, f64)| {
        let (x, y) = ((column + 0.5).clamp(0.0, columns as f64), (row + 0.5).clamp(0.0, rows as f64));
        (x * across, y * down)
    };
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

/// Painted pixels of an image of `from` rows and columns, on one of `size`.
fn painted(runs: &Runs, from: (usize, usize), size: (usize, usize)) -> Option<Value> {
    let mut mask = runs.to_mask(from);
    if from != size {
        let nearest = |at: usize, from: usize, to: usize| ((2 * at + 1) * from / (2 * to)).min(from.saturating_sub(1));
        mask = Array2::from_shape_fn(size, |(r, c)| mask[[nearest(r, from.0, size.0), nearest(c, from.1, size.1)]]);
    }
    let inside = || mask.indexed_iter().filter(|(_, value)| **value != 0).map(|(at, _)| at);
    let (top, bottom) = (inside().map(|at| at.0).min()?, inside().map(|at| at.0).max()?);
    let (left, right) = (inside().map(|at| at.1).min()?, inside().map(|at| at.1).max()?);
    let rle = Rle::from_mask(mask.view()).ok()?;
    Some(json!({
        "kind": "mask",
        "bbox": [left, top, right - left + 1, bottom - top + 1],
        "area": rle.area(),
        "segmentation": { "size": [size.0, size.1], "counts": rle.compress() },
    }))
}
