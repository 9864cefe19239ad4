//! What the reader measured, annotated and painted: a table for people, the same as JSON.

use serde_json::{Value, json};

use super::content::{ReportImage, ReportInput};
use super::flow::{BODY, Cell, Column, Flow, GRAY, MARGIN, RULE, SMALL, WIDTH};
use crate::annotation::{Label, Measured, Shape, ShapeId, Values};
use crate::measure::{PixelScale, Runs, Unit};

impl ReportInput<'_> {
    fn label(&self, key: &str) -> Option<&Label> {
        self.labels.iter().find(|label| label.key == key)
    }

    fn label_name(&self, key: &str) -> String {
        self.label(key).map_or_else(|| key.to_owned(), |label| label.name.clone())
    }

    /// Shapes of an image that are not hidden, with what they measure.
    fn shapes(&self, image: &ReportImage<'_>) -> Vec<(ShapeId, &Shape, Measured)> {
        let by_hand = self.session.calibrations.get(image.instance).copied();
        let unit = Unit::usual(image.frame);
        let mut all = Vec::new();
        for (id, shape) in &self.session.shapes {
            if shape.instance == *image.instance && shape.frame == image.frame_index && !shape.hidden {
                all.push((*id, shape, Measured::of(shape, image.frame, by_hand, unit)));
            }
        }
        all
    }

    /// Painted regions of an image: label, pixels, scale.
    fn painted(&self, image: &ReportImage<'_>) -> Vec<(&str, &Runs, PixelScale)> {
        let by_hand = self.session.calibrations.get(image.instance).copied();
        let scale = PixelScale::of(&image.frame.display, by_hand);
        let here = self
            .session
            .masks
            .iter()
            .filter(|(key, _)| key.instance == *image.instance && key.frame == image.frame_index);
        here.map(|(key, pixels)| (key.label.as_str(), pixels, scale)).collect()
    }
}

/// The table of measurements; nothing where there are none.
pub(super) fn table(flow: &mut Flow, input: &ReportInput<'_>) {
    let mut rows: Vec<Vec<Cell>> = Vec::new();
    let mut explained: Vec<&'static str> = Vec::new();
    for image in &input.images {
        let number = || Cell::bold((image.position + 1).to_string());
        for (_, shape, measured) in input.shapes(image) {
            let label = shape.label.as_deref().map(|key| input.label_name(key)).unwrap_or_default();
            let swatch = shape.label.as_deref().and_then(|key| input.label(key)).map(Label::rgb);
            let mut remarks: Vec<String> = measured.caveat().map(str::to_owned).into_iter().collect();
            let words = [shape.certainty.word(), shape.text.trim()];
            remarks.extend(words.into_iter().filter(|word| !word.is_empty()).map(str::to_owned));
            if let Some(origin) = &shape.origin {
                remarks.push(format!("taken over from finding {} of the model", origin.finding.0));
            }
            if let Some(kind) = measured.scale
                && let Some(text) = (PixelScale { row: 1.0, column: 1.0, kind }).explanation()
                && !explained.contains(&text)
            {
                explained.push(text);
            }
            rows.push(vec![
                number(),
                Cell::bold(shape.title()),
                Cell { swatch, ..Cell::new(label) },
                Cell::new(measured.in_words().join("; ")),
                Cell::new(remarks.join("; ")),
            ]);
        }
        for (label, pixels, scale) in input.painted(image) {
            let area = if scale.is_known() {
                let square = pixels.count() as f64 * scale.row * scale.column;
                format!("area {square:.1} mm²")
            } else {
                format!("{} pixels", pixels.count())
            };
            rows.push(vec![
                number(),
                Cell::bold("Painted"),
                Cell { swatch: input.label(label).map(Label::rgb), ..Cell::new(input.label_name(label)) },
                Cell::new(area),
                Cell::new(scale.caveat().unwrap_or_default()),
            ]);
        }
    }
    if rows.is_empty() {
        return;
    }
    flow.heading("Measurements and annotations", None, 46.0);
    let columns = [
        Column { title: "Image", share: 0.07 },
        Column { title: "What", share: 0.16 },
        Column { title: "Label", share: 0.17 },
        Column { title: "Value", share: 0.36 },
        Column { title: "Remark", share: 0.24 },
    ];
    flow.table(&columns, &rows, RULE);
    for text in explained {
        flow.paragraph(MARGIN, WIDTH, SMALL, GRAY, text);
    }
    flow.space(BODY / 2.0);
}

/// All shapes of an image.
pub(super) fn shapes_json(input: &ReportInput<'_>, image: &ReportImage<'_>) -> Value {
    let describe = |(id, shape, measured): (ShapeId, &Shape, Measured)| {
        let label = shape.label.as_deref();
        let values = match &measured.values {
            Some(Ok(Values::Region(statistics))) => json!(statistics),
            Some(Ok(Values::Point(value))) => json!(value),
            // The line itself says where it was read; a thousand numbers would hide the rest.
            Some(Ok(Values::Line(_))) | None => Value::Null,
            Some(Err(reason)) => json!({ "refused": reason }),
        };
        json!({
            "id": id,
            "kind": shape.kind,
            "name": shape.title(),
            "label": label,
            "label_name": label.map(|key| input.label_name(key)),
            "concept": label.and_then(|key| input.label(key)).and_then(|label| label.concept.clone()),
            "certainty": shape.certainty,
            "text": shape.text,
            "points": shape.points,
            "points_px": shape.pixels(&image.frame.display),
            "sizes": measured.sizes,
            "scale": measured.scale,
            "values": values,
            "origin": shape.origin,
        })
    };
    input.shapes(image).into_iter().map(describe).collect()
}

/// All painted regions of an image: pixels are numbered row by row from 0; first pixel and number of pixels of each run.
pub(super) fn painted_json(input: &ReportInput<'_>, image: &ReportImage<'_>) -> Value {
    let describe = |(label, pixels, scale): (&str, &Runs, PixelScale)| {
        let area = scale.is_known().then(|| pixels.count() as f64 * scale.row * scale.column);
        json!({
            "label": label,
            "label_name": input.label_name(label),
            "concept": input.label(label).and_then(|label| label.concept.clone()),
            "pixels": pixels.count(),
            "area_mm2": area,
            "scale": scale.kind,
            "runs": pixels,
        })
    };
    input.painted(image).into_iter().map(describe).collect()
}
