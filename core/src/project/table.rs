//! Measurements as a table: CSV, one line a number (RFC 4180).

use std::fs;
use std::path::{Path, PathBuf};

use super::outside::Outside;
use super::{AnnotatedFrame, Project, ProjectError};
use crate::annotation::{Measure, Measured, Values};
use crate::measure::{ScaleKind, Unit};

const HEAD: &str = "patient,study,series,instance,frame,shape,kind,label,certainty,quantity,value,unit,spacing,text\n";

/// Writes `measurements.csv` into `folder`; returns how many lines of numbers there are. Patients have pseudonyms. `spacing` is `patient`, `detector`
/// (projected and magnified), `by hand`, or `unknown`, where lengths are in pixels.
pub fn export_table(project: &Project, frames: &[AnnotatedFrame<'_>], folder: &Path) -> Result<usize, ProjectError> {
    fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
    let mut writer = TableWriter::new(project, folder, Outside::default());
    frames.iter().for_each(|frame| writer.add(frame));
    writer.finish()
}

/// Gathers lines frame by frame.
pub(super) struct TableWriter<'p> {
    project: &'p Project,
    folder: PathBuf,
    outside: Outside,
    text: String,
    lines: usize,
}

impl<'p> TableWriter<'p> {
    pub(super) fn new(project: &'p Project, folder: &Path, outside: Outside) -> Self {
        Self { project, folder: folder.to_path_buf(), outside, text: HEAD.to_owned(), lines: 0 }
    }

    pub(super) fn add(&mut self, frame: &AnnotatedFrame<'_>) {
        for (number, shape) in frame.shapes.iter().enumerate() {
            let measured = Measured::of(shape, &frame.image, frame.calibration, Unit::usual(&frame.image));
            let mut numbers: Vec<(String, f64, String)> =
                measured.sizes.iter().map(|m| (m.quantity.to_owned(), m.value, m.unit.clone())).collect();
            match &measured.values {
                Some(Ok(Values::Region(s))) => {
                    let named = [("mean", s.mean), ("sd", s.sd), ("min", s.min), ("median", s.median), ("max", s.max)];
                    numbers.extend(named.map(|(name, value)| (name.to_owned(), value, s.units.clone())));
                    numbers.push(("pixels".to_owned(), s.count as f64, String::new()));
                }
                Some(Ok(Values::Point(Measure { quantity, value, unit }))) => {
                    numbers.push(((*quantity).to_owned(), *value, unit.clone()));
                }
                _ => {}
            }
            if numbers.is_empty() {
                numbers.push((String::new(), f64::NAN, String::new()));
            }
            let spacing = match measured.scale {
                None => "",
                Some(ScaleKind::Patient) => "patient",
                Some(ScaleKind::Unknown) => "unknown",
                Some(ScaleKind::Calibrated) => "by hand",
                Some(ScaleKind::Projected) => "detector",
            };
            for (quantity, value, unit) in numbers {
                let value = if value.is_finite() { value.to_string() } else { String::new() };
                let cells = [
                    self.project.patient(frame.study),
                    self.outside.uid(&frame.study.uid.0),
                    self.outside.uid(&frame.series.uid.0),
                    self.outside.uid(&frame.instance.key().0),
                    (frame.frame + 1).to_string(),
                    (number + 1).to_string(),
                    shape.title().to_owned(),
                    shape.label.clone().unwrap_or_default(),
                    shape.certainty.word().to_owned(),
                    quantity,
                    value,
                    unit,
                    spacing.to_owned(),
                    if self.outside.is_deidentified() { String::new() } else { shape.text.clone() },
                ];
                self.text += &cells.map(|cell| quoted(&cell)).join(",");
                self.text.push('\n');
                self.lines += 1;
            }
        }
    }

    /// Writes `measurements.csv`; returns how many lines of numbers there are.
    pub(super) fn finish(self) -> Result<usize, ProjectError> {
        let file = self.folder.join("measurements.csv");
        fs::write(&file, self.text).map_err(ProjectError::file(&file))?;
        Ok(self.lines)
    }
}

/// A cell, in quotes where it needs them; one that a spreadsheet would take for a formula gets an apostrophe.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '@']) || (cell.starts_with('-') && cell.parse::<f64>().is_err());
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}
