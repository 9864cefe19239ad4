//! What a pixel measures, and how far that can be trusted (PS3.3 10.7.1.3).

use serde::{Deserialize, Serialize};

use crate::study::{DisplayAttributes, SpacingKind};

/// Distance of neighbouring pixel centres that the reader has set, mm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spacing {
    /// Between rows (down a column).
    pub row_mm: f64,
    /// Between columns (along a row).
    pub column_mm: f64,
}

/// What lengths on an image are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleKind {
    /// Millimetres in the patient, from the file.
    Patient,
    /// Millimetres on the detector: a projected size, larger than the object.
    Projected,
    /// Millimetres by the reader's calibration.
    Calibrated,
    /// The file gives no spacing: lengths are in pixels only.
    Unknown,
}

/// Height and width of a pixel, mm; 1 and 1 where unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelScale {
    /// Between rows (down a column).
    pub row: f64,
    /// Between columns (along a row).
    pub column: f64,
    /// What the two are worth.
    pub kind: ScaleKind,
}

impl PixelScale {
    /// The scale of a frame, by hand where the reader has calibrated it.
    pub fn of(display: &DisplayAttributes, by_hand: Option<Spacing>) -> Self {
        let sane = |row: f64, column: f64| row.is_finite() && column.is_finite() && row > 0.0 && column > 0.0;
        if let Some(spacing) = by_hand.filter(|spacing| sane(spacing.row_mm, spacing.column_mm)) {
            return Self { row: spacing.row_mm, column: spacing.column_mm, kind: ScaleKind::Calibrated };
        }
        match display.spacing.filter(|spacing| sane(spacing.row_mm, spacing.column_mm)) {
            Some(spacing) => {
                let kind = match spacing.kind {
                    SpacingKind::Patient => ScaleKind::Patient,
                    SpacingKind::Detector => ScaleKind::Projected,
                };
                Self { row: spacing.row_mm, column: spacing.column_mm, kind }
            }
            None => Self { row: 1.0, column: 1.0, kind: ScaleKind::Unknown },
        }
    }

    /// Whether lengths may be given in millimetres.
    pub fn is_known(&self) -> bool {
        self.kind != ScaleKind::Unknown
    }

    /// What must be said beside every length, for people; `None` where it was measured in the patient.
    pub fn caveat(&self) -> Option<&'static str> {
        match self.kind {
            ScaleKind::Patient => None,
            ScaleKind::Projected => Some("at detector"),
            ScaleKind::Calibrated => Some("calibrated by hand"),
            ScaleKind::Unknown => Some("no pixel spacing"),
        }
    }

    /// The caveat as a sentence that says what follows and what to do.
    pub fn explanation(&self) -> Option<&'static str> {
        match self.kind {
            ScaleKind::Patient => None,
            ScaleKind::Projected => Some(
                "Imager spacing: sizes on the detector, larger than in the patient. Calibrate by a line of known length.",
            ),
            ScaleKind::Calibrated => Some("Sizes follow the calibration by hand; they hold at the depth of the line."),
            ScaleKind::Unknown => {
                Some("No length or area: the file gives no pixel spacing. Calibrate by a line of known length.")
            }
        }
    }

    /// A point of the image (row, column) in the plane of the image, mm.
    pub fn in_plane(&self, (row, column): (f64, f64)) -> [f64; 3] {
        [column * self.column, row * self.row, 0.0]
    }
}

/// Why a line cannot calibrate an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// Spacing in the patient needs none.
    #[error("the file says what a pixel measures in the patient; a calibration would only make that wrong")]
    Known,
    /// The line is a point.
    #[error("the line has no length")]
    NoLength,
    /// The length is not one.
    #[error("the length must be a number of millimetres above zero")]
    BadLength,
}

/// Spacing after which the line between two (row, column) points is `length_mm` long. The ratio of row to column spacing stays
/// the file's; pixels count as square where the file gives none.
///
/// # Errors
/// Where the file already knows, or line or length are none.
pub fn calibrate(
    display: &DisplayAttributes,
    from: (f64, f64),
    to: (f64, f64),
    length_mm: f64,
) -> Result<Spacing, CalibrationError> {
    let scale = PixelScale::of(display, None);
    if scale.kind == ScaleKind::Patient {
        return Err(CalibrationError::Known);
    }
    if !(length_mm.is_finite() && length_mm > 0.0) {
        return Err(CalibrationError::BadLength);
    }
    let drawn = super::distance(scale.in_plane(from), scale.in_plane(to));
    if !(drawn.is_finite() && drawn > 1e-6) {
        return Err(CalibrationError::NoLength);
    }
    let factor = length_mm / drawn;
    // To a picometre, so that a session file reads back the very same number.
    let kept = |mm: f64| (mm * 1e9).round() / 1e9;
    Ok(Spacing { row_mm: kept(scale.row * factor), column_mm: kept(scale.column * factor) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::PixelSpacing;

    fn display(kind: Option<SpacingKind>) -> DisplayAttributes {
        let spacing = kind.map(|kind| PixelSpacing { row_mm: 0.5, column_mm: 0.25, kind });
        DisplayAttributes { spacing, ..DisplayAttributes::default() }
    }

    #[test]
    fn the_source_of_a_scale_is_said() {
        let of = |kind| PixelScale::of(&display(kind), None);
        assert_eq!(
            (of(Some(SpacingKind::Patient)).kind, of(Some(SpacingKind::Patient)).caveat()),
            (ScaleKind::Patient, None)
        );
        assert_eq!(of(Some(SpacingKind::Detector)).caveat(), Some("at detector"));
        assert_eq!((of(None).is_known(), of(None).row), (false, 1.0));
        let nonsense = PixelSpacing { row_mm: f64::NAN, column_mm: 1.0, kind: SpacingKind::Patient };
        let bad = DisplayAttributes { spacing: Some(nonsense), ..DisplayAttributes::default() };
        assert_eq!(PixelScale::of(&bad, None).kind, ScaleKind::Unknown);
        let hand = Spacing { row_mm: 2.0, column_mm: 2.0 };
        assert_eq!(PixelScale::of(&display(None), Some(hand)).kind, ScaleKind::Calibrated);
    }

    #[test]
    fn a_line_of_known_length_calibrates() {
        // 30 rows of 0.5 and 80 columns of 0.25 mm: 15 by 20, 25 mm at the detector.
        let spacing =
            calibrate(&display(Some(SpacingKind::Detector)), (10.0, 10.0), (40.0, 90.0), 20.0).expect("calibrates");
        assert!((spacing.row_mm - 0.4).abs() < 1e-12 && (spacing.column_mm - 0.2).abs() < 1e-12, "{spacing:?}");
        let square = calibrate(&display(None), (0.0, 0.0), (30.0, 40.0), 10.0).expect("calibrates");
        assert_eq!((square.row_mm, square.column_mm), (0.2, 0.2));
        let of = |kind, to, mm| calibrate(&display(kind), (0.0, 0.0), to, mm).expect_err("refused");
        assert_eq!(of(Some(SpacingKind::Patient), (9.0, 9.0), 5.0), CalibrationError::Known);
        assert_eq!(of(None, (0.0, 0.0), 5.0), CalibrationError::NoLength);
        assert_eq!(of(None, (9.0, 0.0), -1.0), CalibrationError::BadLength);
        assert_eq!(of(None, (9.0, 0.0), f64::NAN), CalibrationError::BadLength);
    }
}
