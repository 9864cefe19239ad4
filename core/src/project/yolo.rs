//! YOLO: images as PNG, a text file of boxes beside each, and `data.yaml`.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::coco::write_picture;
use super::export::Side;
use super::{AnnotatedFrame, Project, ProjectError};

/// Writes `images/*.png`, `labels/*.txt` (class, centre x, centre y, width, height as shares of the image) and `data.yaml` into `folder`; returns how
/// many images and boxes there are. A box encloses a shape; of what was painted, all pixels of a label.
pub fn export_yolo(
    project: &Project,
    frames: &[AnnotatedFrame<'_>],
    folder: &Path,
) -> Result<(usize, usize), ProjectError> {
    let mut writer = YoloWriter::new(project, folder)?;
    frames.iter().try_for_each(|frame| writer.add(frame))?;
    writer.finish()
}

/// Writes a data set frame by frame.
pub(super) struct YoloWriter<'p> {
    project: &'p Project,
    folder: PathBuf,
    images: usize,
    boxes: usize,
}

impl<'p> YoloWriter<'p> {
    pub(super) fn new(project: &'p Project, folder: &Path) -> Result<Self, ProjectError> {
        for folder in [folder.join("images"), folder.join("labels")] {
            fs::create_dir_all(&folder).map_err(ProjectError::file(&folder))?;
        }
        Ok(Self { project, folder: folder.to_path_buf(), images: 0, boxes: 0 })
    }

    pub(super) fn add(&mut self, frame: &AnnotatedFrame<'_>) -> Result<(), ProjectError> {
        let labels = &self.project.labels().labels;
        let name = write_picture(&self.folder.join("images"), self.images, frame)?;
        let (rows, columns) = frame.image.shape();
        let shapes = frame.shapes.iter().filter(|shape| shape.kind.is_region()).filter_map(|shape| {
            let region = shape.region(&frame.image.display, (rows, columns));
            Some((shape.label.clone()?, region))
        });
        let painted = frame.painted.iter().map(|(label, runs)| (label.clone(), runs.clone()));
        let mut text = String::new();
        for (label, runs) in shapes.chain(painted) {
            let Some(class) = labels.iter().position(|other| other.key == label) else { continue };
            let Some([top, left, bottom, right]) = runs.bounds(columns) else { continue };
            let (height, width) = ((bottom - top + 1) as f64, (right - left + 1) as f64);
            let x = (left as f64 + width / 2.0) / columns as f64;
            let y = (top as f64 + height / 2.0) / rows as f64;
            let _ = writeln!(text, "{class} {x:.6} {y:.6} {:.6} {:.6}", width / columns as f64, height / rows as f64);
            self.boxes += 1;
        }
        let file = self.folder.join("labels").join(Path::new(&name).with_extension("txt"));
        fs::write(&file, text).map_err(ProjectError::file(&file))?;
        self.images += 1;
        Ok(())
    }

    /// Writes `data.yaml`; returns how many images and boxes there are.
    pub(super) fn finish(self) -> Result<(usize, usize), ProjectError> {
        write_data_file(self.project, &self.folder, &[])?;
        Ok((self.images, self.boxes))
    }
}

/// Writes `data.yaml`, where the sides of a split lie in folders of their names; without sides all images serve for everything. Programs want
/// images to validate on: without a side for that they are given the training images.
pub(super) fn write_data_file(project: &Project, folder: &Path, sides: &[Side]) -> Result<(), ProjectError> {
    let place = |side: Side| match sides {
        [] => Some("images".to_owned()),
        sides => sides.contains(&side).then(|| format!("{}/images", side.name())),
    };
    let train = place(Side::Train).unwrap_or_default();
    let validation = place(Side::Validation).unwrap_or_else(|| train.clone());
    let mut yaml = format!("path: .\ntrain: {train}\nval: {validation}\n");
    if let Some(test) = place(Side::Test).filter(|_| !sides.is_empty()) {
        let _ = writeln!(yaml, "test: {test}");
    }
    yaml += "names:\n";
    for (index, label) in project.labels().labels.iter().enumerate() {
        let _ = writeln!(yaml, "  {index}: {}", label.key);
    }
    let file = folder.join("data.yaml");
    fs::write(&file, yaml).map_err(ProjectError::file(&file))
}
