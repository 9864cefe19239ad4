//! Values along a line.

use serde::Serialize;

use super::{Pixel, PixelScale, Unit, distance};
use crate::study::Frame;

/// Values along a line, in even steps of at most one pixel.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    /// Distance from the start, mm; pixels where the spacing is unknown.
    pub positions: Vec<f64>,
    /// Value there, between the four pixels around (bilinear); `None` outside the frame.
    pub values: Vec<Option<f64>>,
    /// Unit of the values, as shown to people; may be empty.
    pub units: String,
}

/// So many steps at most, whatever the line.
const MOST_STEPS: f64 = 4096.0;

/// The profile from one (row, column) to another; `None` for colour images and lines without length.
pub fn line_profile(frame: &Frame, from: Pixel, to: Pixel, scale: PixelScale, unit: Unit) -> Option<Profile> {
    let (factor, units) = unit.of(frame)?;
    frame.value_at(0, 0)?;
    let (rows, columns) = (to.0 - from.0, to.1 - from.1);
    let pixels = rows.hypot(columns);
    if !(pixels.is_finite() && pixels > 0.0) {
        return None;
    }
    let steps = pixels.ceil().clamp(1.0, MOST_STEPS);
    let whole = distance(scale.in_plane(from), scale.in_plane(to));
    let count = steps as usize + 1;
    let share = |n: usize| n as f64 / steps;
    Some(Profile {
        positions: (0..count).map(|n| whole * share(n)).collect(),
        values: (0..count)
            .map(|n| bilinear(frame, from.0 + rows * share(n), from.1 + columns * share(n)).map(|v| v * factor))
            .collect(),
        units,
    })
}

/// The value between pixels, in the modality's units; `None` outside the centres of the outermost pixels.
fn bilinear(frame: &Frame, row: f64, column: f64) -> Option<f64> {
    let (rows, columns) = frame.shape();
    if rows == 0 || columns == 0 || row < 0.0 || column < 0.0 {
        return None;
    }
    if row > (rows - 1) as f64 || column > (columns - 1) as f64 {
        return None;
    }
    let (r, c) = (row.floor() as usize, column.floor() as usize);
    let (down, right) = (row - r as f64, column - c as f64);
    let at = |r: usize, c: usize| frame.value_at(r.min(rows - 1), c.min(columns - 1));
    let top = at(r, c)? * (1.0 - right) + at(r, c + 1)? * right;
    let bottom = at(r + 1, c)? * (1.0 - right) + at(r + 1, c + 1)? * right;
    Some(top * (1.0 - down) + bottom * down)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::measure::ScaleKind;
    use crate::study::{DisplayAttributes, GrayPixels, Pixels};

    #[test]
    fn a_ramp_gives_a_straight_line() {
        let pixels = Pixels::Gray(GrayPixels::U16(Array2::from_shape_fn((8, 8), |(r, c)| (10 * r + c) as u16)));
        let frame = Frame { pixels, display: DisplayAttributes::default() };
        let scale = PixelScale { row: 2.0, column: 0.5, kind: ScaleKind::Patient };
        let profile = line_profile(&frame, (1.0, 1.0), (4.0, 5.0), scale, Unit::Modality).expect("a profile");
        assert_eq!(profile.positions.len(), 6);
        // 3 rows of 2 mm and 4 columns of 0.5 mm.
        assert!((profile.positions[5] - 40.0_f64.sqrt()).abs() < 1e-12);
        for (n, value) in profile.values.iter().enumerate() {
            let expected = 11.0 + 34.0 * n as f64 / 5.0;
            assert!(value.is_some_and(|value| (value - expected).abs() < 1e-9), "{value:?} {expected}");
        }
        let beyond = line_profile(&frame, (1.0, 1.0), (1.0, 11.0), scale, Unit::Modality).expect("a profile");
        assert_eq!((beyond.values[0], beyond.values[10]), (Some(11.0), None));
        assert_eq!(line_profile(&frame, (1.0, 1.0), (1.0, 1.0), scale, Unit::Modality), None);
        let rgb = Frame { pixels: Pixels::Rgb(ndarray::Array3::zeros((4, 4, 3))), ..frame };
        assert_eq!(line_profile(&rgb, (0.0, 0.0), (2.0, 2.0), scale, Unit::Modality), None);
    }
}
