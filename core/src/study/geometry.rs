//! Where a frame lies in the patient, and what a pixel measures.

use serde::{Deserialize, Serialize};

/// Plane of a frame in the patient coordinate system: LPS (x to the patient's left, y to the back, z to the head), mm.
/// Source: PS3.3 C.7.6.2.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PlaneGeometry {
    /// Image Position (Patient): centre of the first pixel, mm.
    pub position: [f64; 3],
    /// Image Orientation (Patient), first half: unit vector along a row (growing column index).
    pub row_direction: [f64; 3],
    /// Image Orientation (Patient), second half: unit vector along a column (growing row index).
    pub column_direction: [f64; 3],
}

impl PlaneGeometry {
    /// Unit normal: row direction × column direction.
    pub fn normal(&self) -> [f64; 3] {
        let [ax, ay, az] = self.row_direction;
        let [bx, by, bz] = self.column_direction;
        [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
    }

    /// Signed distance of the plane from the origin along its normal, mm: what slices are sorted by.
    pub fn distance_along_normal(&self) -> f64 {
        let n = self.normal();
        n[0] * self.position[0] + n[1] * self.position[1] + n[2] * self.position[2]
    }

    /// Patient position (LPS, mm) of a pixel at (`row`, `column`), which may be fractional.
    pub fn patient_from_pixel(&self, row: f64, column: f64, spacing: PixelSpacing) -> [f64; 3] {
        let mut position = self.position;
        for (axis, value) in position.iter_mut().enumerate() {
            *value += self.row_direction[axis] * column * spacing.column_mm
                + self.column_direction[axis] * row * spacing.row_mm;
        }
        position
    }

    /// The (row, column), fractional, under a patient position (LPS, mm), and how far above the plane along its normal it lies, mm.
    pub fn pixel_from_patient(&self, point: [f64; 3], spacing: PixelSpacing) -> (f64, f64, f64) {
        let dot = |direction: [f64; 3]| -> f64 {
            direction.iter().zip(point.iter().zip(self.position)).map(|(d, (p, origin))| d * (p - origin)).sum()
        };
        let (along_row, along_column) = (dot(self.row_direction), dot(self.column_direction));
        (along_column / spacing.row_mm, along_row / spacing.column_mm, dot(self.normal()))
    }

    /// Letters (`R`, `L`, `A`, `P`, `H`, `F`, at most two) naming the direction `v` points to.
    pub fn direction_letters(v: [f64; 3]) -> String {
        let mut parts = [
            (v[0].abs(), if v[0] > 0.0 { 'L' } else { 'R' }),
            (v[1].abs(), if v[1] > 0.0 { 'P' } else { 'A' }),
            (v[2].abs(), if v[2] > 0.0 { 'H' } else { 'F' }),
        ];
        parts.sort_by(|a, b| b.0.total_cmp(&a.0));
        // A second letter from about 18 degrees off the main axis.
        parts
            .iter()
            .enumerate()
            .filter(|(index, part)| part.0 > if *index == 0 { 1e-4 } else { 0.3 })
            .take(2)
            .map(|(_, part)| part.1)
            .collect()
    }
}

/// Distance of neighbouring pixel centres and what it is a distance of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PixelSpacing {
    /// Between rows (down a column), mm.
    pub row_mm: f64,
    /// Between columns (along a row), mm.
    pub column_mm: f64,
    /// What the distance is measured on.
    pub kind: SpacingKind,
}

/// What pixel spacing is measured on (PS3.3 10.7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpacingKind {
    /// In the patient: cross-sectional images, or calibrated projections.
    Patient,
    /// On the detector (Imager Pixel Spacing): a projected size, larger than the object.
    Detector,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_patient_positions_map_both_ways() {
        let plane = PlaneGeometry {
            position: [-120.5, 40.0, 900.0],
            row_direction: [0.6, 0.8, 0.0],
            column_direction: [-0.48, 0.36, 0.8],
        };
        let spacing = PixelSpacing { row_mm: 1.5, column_mm: 0.4, kind: SpacingKind::Patient };
        let at = plane.patient_from_pixel(17.25, 100.5, spacing);
        let (row, column, off) = plane.pixel_from_patient(at, spacing);
        assert!((row - 17.25).abs() < 1e-9 && (column - 100.5).abs() < 1e-9 && off.abs() < 1e-9);
        let n = plane.normal();
        let above = [at[0] + 3.0 * n[0], at[1] + 3.0 * n[1], at[2] + 3.0 * n[2]];
        assert!((plane.pixel_from_patient(above, spacing).2 - 3.0).abs() < 1e-9);
    }
}
