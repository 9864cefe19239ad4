//! YOLO: images as PNG, a text file of boxes beside each, and `data.yaml`.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::coco::write_picture;
use super::{AnnotatedFrame, Project, ProjectError};

/// Writes `images/*.png`, `labels/*.txt` (class, centre x, centre y, width, height as shares of the image) and `data.yaml` into `folder`; returns how
/// many images and boxes there are. A box encloses a shape; of what was painted, all pixels of a label.
pub fn export_yolo(
    project: &Project,
    frames: &[AnnotatedFrame<'_>],
    folder: &Path,
) -> Result<(usize, usize), ProjectError> {
    let (pictures, texts) = (folder.join("images"), folder.join("labels"));
    for folder in [&pictures, &texts] {
        fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
    }
    let labels = &project.labels().labels;
    let mut boxes = 0;
    for (index, frame) in frames.iter().enumerate() {
        let name = write_picture(&pictures, index, frame)?;
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
            boxes += 1;
        }
        let file = texts.join(Path::new(&name).with_extension("txt"));
        fs::write(&file, text).map_err(ProjectError::file(&file))?;
    }
    let mut yaml = "path: .\ntrain: images\nval: images\nnames:\n".to_owned();
    for (index, label) in labels.iter().enumerate() {
        let _ = writeln!(yaml, "  {index}: {}", label.key);
    }
    let file = folder.join("data.yaml");
    fs::write(&file, yaml).map_err(ProjectError::file(&file))?;
    Ok((frames.len(), boxes))
}
