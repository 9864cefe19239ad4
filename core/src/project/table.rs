//! Measurements as a table: CSV, one line a number (RFC 4180).

use std::fs;
use std::path::Path;

use super::{AnnotatedFrame, Project, ProjectError};
use crate::annotation::{Measure, Measured, Values};
use crate::measure::{ScaleKind, Unit};

const HEAD: &str = "patient,study,series,instance,frame,shape,kind,label,certainty,quantity,value,unit,spacing,text\n";

/// Writes `measurements.csv` into `folder`; returns how many lines of numbers there are. Patients have pseudonyms. `spacing` is `patient`, `detector`
/// (projected and magnified), `by hand`, or `unknown`, where lengths are in pixels.
pub fn export_table(project: &Project, frames: &[AnnotatedFrame<'_>], folder: &Path) -> Result<usize, ProjectError> {
    fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
    let mut text = HEAD.to_owned();
    let mut lines = 0;
    for frame in frames {
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
                    project.pseudonym(&frame.study.patient.id),
                    frame.study.uid.to_string(),
                    frame.series.uid.to_string(),
                    frame.instance.key().to_string(),
                    (frame.frame + 1).to_string(),
                    (number + 1).to_string(),
                    shape.title().to_owned(),
                    shape.label.clone().unwrap_or_default(),
                    shape.certainty.word().to_owned(),
                    quantity,
                    value,
                    unit,
                    spacing.to_owned(),
                    shape.text.clone(),
                ];
                text += &cells.map(|cell| quoted(&cell)).join(",");
                text.push('\n');
                lines += 1;
            }
        }
    }
    let file = folder.join("measurements.csv");
    fs::write(&file, text).map_err(ProjectError::file(&file))?;
    Ok(lines)
}

/// A cell, in quotes where it needs them; one that a spreadsheet would take for a formula gets an apostrophe.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '@']) || (cell.starts_with('-') && cell.parse::<f64>().is_err());
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}
