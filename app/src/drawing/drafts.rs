//! From places that were clicked to shapes, and the texts and lengths that are typed with them.

use bifocal_core::annotation::{Edit, Shape, ShapeKind, drawn};
use bifocal_core::measure::{self, Pixel, PixelScale, ScaleKind, simplify};

use super::{Canvas, DrawTool, Drawing, Entry, Purpose, apart};
use crate::state::Tone;

impl Drawing {
    /// Closes the outline under way; one of too few points waits for more.
    pub(super) fn close(&mut self, on: &Canvas<'_>) -> Option<Edit> {
        let draft = self.draft.as_mut()?;
        match draft.tool {
            DrawTool::LiveWire => {}
            // The second press of a double click is no vertex of its own.
            DrawTool::Shape(ShapeKind::Polygon) => {
                let slack = draft.slack;
                draft.placed.dedup_by(|a, b| apart(*a, *b) <= slack);
            }
            _ => return None,
        }
        if draft.placed.len() < 3 {
            self.message = Some((Tone::Info, "An outline needs three points: click more, or Esc drops it.".to_owned()));
            return None;
        }
        if draft.is_wire() {
            draft.close_wire();
        }
        self.finish(on)
    }

    /// Makes a shape of what was drawn.
    pub(super) fn finish(&mut self, on: &Canvas<'_>) -> Option<Edit> {
        let draft = self.draft.take()?;
        let scale = on.scale();
        let entry = |purpose, at| {
            let (instance, frame) = (on.instance.clone(), on.frame_index);
            Some(Entry { purpose, text: String::new(), at, instance, frame, focused: false })
        };
        let kind = match (draft.tool, draft.placed.as_slice()) {
            (DrawTool::Calibrate, [from, to]) => {
                // Whether the line can calibrate at all is known before its length is.
                match measure::calibrate(&on.frame.display, *from, *to, 1.0) {
                    Ok(_) => self.entry = entry(Purpose::Calibrate(*from, *to), *to),
                    Err(error) => self.message = Some((Tone::Warning, format!("Not calibrated: {error}."))),
                }
                return None;
            }
            (DrawTool::Shape(ShapeKind::Text), [at]) => {
                self.entry = entry(Purpose::Text, *at);
                return None;
            }
            (DrawTool::Shape(kind), _) => kind,
            (DrawTool::LiveWire, _) => ShapeKind::Freehand,
            _ => return None,
        };
        let points = finished(kind, &draft.placed, draft.slack, scale);
        let mut shape = Shape::new(kind, on.instance.clone(), on.frame_index, &points, &on.frame.display);
        shape.label.clone_from(&self.label);
        if !shape.is_whole() || is_nothing(kind, &points) {
            return None;
        }
        let lengths = !matches!(kind, ShapeKind::Angle | ShapeKind::Cobb | ShapeKind::Point | ShapeKind::Arrow);
        if lengths && scale.kind == ScaleKind::Unknown {
            self.message = scale.explanation().map(|text| (Tone::Warning, text.to_owned()));
        }
        let id = on.session.free_shape_id();
        self.selected = Some(id);
        Some(Edit::SetShape { id, shape: Some(Box::new(shape)) })
    }

    /// The text on the image is typed.
    pub fn entry_done(&mut self, on: &Canvas<'_>) -> Option<Edit> {
        let entry = self.entry.take()?;
        if entry.instance != *on.instance || entry.frame != on.frame_index {
            return None;
        }
        match entry.purpose {
            Purpose::Text => {
                let text = entry.text.trim();
                if text.is_empty() {
                    return None;
                }
                let mut shape =
                    Shape::new(ShapeKind::Text, entry.instance, entry.frame, &[entry.at], &on.frame.display);
                shape.text = text.to_owned();
                shape.label.clone_from(&self.label);
                let id = on.session.free_shape_id();
                self.selected = Some(id);
                Some(Edit::SetShape { id, shape: Some(Box::new(shape)) })
            }
            Purpose::Calibrate(from, to) => {
                let Some(length) = millimetres(&entry.text) else {
                    self.message =
                        Some((Tone::Warning, "Not calibrated: type a length, as 25 mm or 2.5 cm.".to_owned()));
                    return None;
                };
                match measure::calibrate(&on.frame.display, from, to, length) {
                    Ok(spacing) => {
                        let text = format!(
                            "Calibrated: a pixel is {:.4} × {:.4} mm. All sizes on this image follow.",
                            spacing.row_mm, spacing.column_mm
                        );
                        self.message = Some((Tone::Info, text));
                        Some(Edit::Calibrate { instance: entry.instance, spacing: Some(spacing) })
                    }
                    Err(error) => {
                        self.message = Some((Tone::Warning, format!("Not calibrated: {error}.")));
                        None
                    }
                }
            }
        }
    }

    /// The shape being drawn, as it would be if the pointer were let go here; not whole yet where points are missing.
    pub fn preview(&self, on: &Canvas<'_>) -> Option<Shape> {
        let draft = self.draft.as_ref()?;
        if draft.instance != *on.instance || draft.frame != on.frame_index {
            return None;
        }
        let kind = match draft.tool {
            DrawTool::Shape(kind) => kind,
            DrawTool::LiveWire => ShapeKind::Freehand,
            _ => ShapeKind::Length,
        };
        let mut placed = draft.placed.clone();
        if draft.is_wire() {
            placed.extend(&draft.wire.trail);
            placed = simplify(&placed, draft.slack / 4.0);
        }
        let more = draft.tool.places().is_none_or(|places| placed.len() < places);
        if more && !draft.is_wire() && draft.tool != DrawTool::Shape(ShapeKind::Freehand) {
            placed.push(draft.cursor);
        }
        let points = match (kind, placed.as_slice()) {
            (ShapeKind::Rectangle | ShapeKind::Ellipse | ShapeKind::Bidirectional, [from, to]) => {
                drawn(kind, *from, *to, on.scale())
            }
            _ => placed,
        };
        let mut shape = Shape::new(kind, on.instance.clone(), on.frame_index, &points, &on.frame.display);
        shape.label.clone_from(&self.label);
        Some(shape)
    }
}

/// The points of a whole shape from the places that were clicked.
fn finished(kind: ShapeKind, placed: &[Pixel], slack: f64, scale: PixelScale) -> Vec<Pixel> {
    match (kind, placed) {
        (ShapeKind::Rectangle | ShapeKind::Ellipse | ShapeKind::Bidirectional, [from, to]) => {
            drawn(kind, *from, *to, scale)
        }
        // Vertices few enough to take hold of, none of the line off by more than a point of the screen.
        (ShapeKind::Freehand, _) => simplify(placed, slack / 4.0),
        _ => placed.to_vec(),
    }
}

/// Whether a shape has no size: a press that was not meant.
fn is_nothing(kind: ShapeKind, points: &[Pixel]) -> bool {
    let extent = |axis: fn(&Pixel) -> f64| {
        let values = points.iter().map(axis);
        values.clone().fold(f64::NEG_INFINITY, f64::max) - values.fold(f64::INFINITY, f64::min)
    };
    let (height, width) = (extent(|p| p.0), extent(|p| p.1));
    match kind {
        ShapeKind::Point | ShapeKind::Text => false,
        kind if kind.is_region() => height <= 0.0 || width <= 0.0,
        _ => height <= 0.0 && width <= 0.0,
    }
}

/// A typed length in millimetres: `25`, `25 mm`, `2,5 cm`.
pub(super) fn millimetres(text: &str) -> Option<f64> {
    let text = text.trim().to_lowercase().replace(',', ".");
    let (number, factor) = match text.strip_suffix("cm") {
        Some(number) => (number, 10.0),
        None => (text.strip_suffix("mm").unwrap_or(&text), 1.0),
    };
    number.trim().parse::<f64>().ok().map(|value| value * factor).filter(|mm| mm.is_finite() && *mm > 0.0)
}
