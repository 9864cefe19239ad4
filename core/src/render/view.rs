//! Where an image lies on the screen: zoom, pan, quarter turns and flips, and what follows from them.

use serde::{Deserialize, Serialize};

use crate::study::{DisplayAttributes, PlaneGeometry};

/// How the reader has moved an image, apart from where and how large the viewport is.
///
/// Turns and flips act on what is on the screen, in the order they are made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ViewTransform {
    /// Magnification beside the one that fits the image into the viewport; positive.
    pub zoom: f64,
    /// Shift of the image's centre from the viewport's centre, in shares of the viewport's shorter side (right, down).
    pub pan: [f64; 2],
    /// Quarter turns, clockwise, after the mirror; 0 to 3.
    pub quarter_turns: u8,
    /// Mirrored left to right, before the turns.
    pub mirrored: bool,
}

impl Default for ViewTransform {
    fn default() -> Self {
        Self { zoom: 1.0, pan: [0.0, 0.0], quarter_turns: 0, mirrored: false }
    }
}

/// Smallest and largest zoom.
pub const ZOOM_RANGE: (f64, f64) = (0.1, 64.0);

impl ViewTransform {
    /// Turns what is on the screen by 90° clockwise.
    pub fn rotate_clockwise(&mut self) {
        self.quarter_turns = (self.quarter_turns + 1) % 4;
        let [x, y] = self.pan;
        self.pan = [-y, x];
    }

    /// Turns what is on the screen by 90° counter-clockwise.
    pub fn rotate_counter_clockwise(&mut self) {
        self.quarter_turns = (self.quarter_turns + 3) % 4;
        let [x, y] = self.pan;
        self.pan = [y, -x];
    }

    /// Exchanges left and right of what is on the screen.
    pub fn flip_horizontal(&mut self) {
        self.quarter_turns = (4 - self.quarter_turns % 4) % 4;
        self.mirrored = !self.mirrored;
        self.pan[0] = -self.pan[0];
    }

    /// Exchanges top and bottom of what is on the screen.
    pub fn flip_vertical(&mut self) {
        self.quarter_turns = (6 - self.quarter_turns % 4) % 4;
        self.mirrored = !self.mirrored;
        self.pan[1] = -self.pan[1];
    }

    /// Screen directions (right, down) of the image's directions: `[x of a row, x of a column; y of a row, y of a column]`,
    /// where "a row" runs along growing columns and "a column" along growing rows. Each entry is -1, 0 or 1.
    fn directions(&self) -> [[f64; 2]; 2] {
        let mirror = if self.mirrored { -1.0 } else { 1.0 };
        match self.quarter_turns % 4 {
            0 => [[mirror, 0.0], [0.0, 1.0]],
            1 => [[0.0, -1.0], [mirror, 0.0]],
            2 => [[-mirror, 0.0], [0.0, -1.0]],
            _ => [[0.0, 1.0], [-mirror, 0.0]],
        }
    }
}

/// An image placed in a viewport: maps between image (row, column) and screen (x, y).
///
/// Image coordinates: the centre of the first pixel is (0, 0), so that the image spans -0.5 to `rows - 0.5`. Screen
/// coordinates: points from the viewport's top left corner, x to the right, y down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// Screen x and y of image (0, 0).
    origin: [f64; 2],
    /// Screen step of one row.
    per_row: [f64; 2],
    /// Screen step of one column.
    per_column: [f64; 2],
    /// Screen points for one unit of the pixel size (mm, or columns where it is unknown).
    scale: f64,
    /// Size of the viewport.
    viewport: [f64; 2],
}

impl Placement {
    /// Places an image of `shape` (rows, columns) in a viewport of `viewport` (width, height) points.
    ///
    /// `pixel_size` is the height and width of a pixel, in mm or any other unit; only their ratio matters for the
    /// placement. Sizes that are not positive count as 1.
    pub fn new(view: &ViewTransform, shape: (usize, usize), pixel_size: (f64, f64), viewport: (f64, f64)) -> Self {
        let sane = |v: f64| if v.is_finite() && v > 0.0 { v } else { 1.0 };
        let (row_size, column_size) = (sane(pixel_size.0), sane(pixel_size.1));
        let (width, height) = (sane(viewport.0), sane(viewport.1));
        let image_height = shape.0.max(1) as f64 * row_size;
        let image_width = shape.1.max(1) as f64 * column_size;
        let (turned_width, turned_height) = if view.quarter_turns.is_multiple_of(2) {
            (image_width, image_height)
        } else {
            (image_height, image_width)
        };
        let zoom = if view.zoom.is_finite() { view.zoom.clamp(ZOOM_RANGE.0, ZOOM_RANGE.1) } else { 1.0 };
        let scale = (width / turned_width).min(height / turned_height) * zoom;
        let [[x_row, x_column], [y_row, y_column]] = view.directions();
        // Named for what they step over: one column moves along a row.
        let per_column = [x_row * column_size * scale, y_row * column_size * scale];
        let per_row = [x_column * row_size * scale, y_column * row_size * scale];
        let side = width.min(height);
        let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
        let center = [width / 2.0 + finite(view.pan[0]) * side, height / 2.0 + finite(view.pan[1]) * side];
        let middle = (shape.0.max(1) as f64 / 2.0 - 0.5, shape.1.max(1) as f64 / 2.0 - 0.5);
        let origin = [
            center[0] - per_row[0] * middle.0 - per_column[0] * middle.1,
            center[1] - per_row[1] * middle.0 - per_column[1] * middle.1,
        ];
        Self { origin, per_row, per_column, scale, viewport: [width, height] }
    }

    /// The placement for a frame: the shape of its pixels follows its spacing.
    pub fn of_frame(
        view: &ViewTransform,
        shape: (usize, usize),
        display: &DisplayAttributes,
        viewport: (f64, f64),
    ) -> Self {
        Self::new(view, shape, pixel_size(display), viewport)
    }

    /// Screen (x, y) of image (`row`, `column`).
    pub fn screen_from_image(&self, row: f64, column: f64) -> (f64, f64) {
        (
            self.origin[0] + self.per_row[0] * row + self.per_column[0] * column,
            self.origin[1] + self.per_row[1] * row + self.per_column[1] * column,
        )
    }

    /// Image (row, column), fractional and perhaps outside, of screen (`x`, `y`).
    pub fn image_from_screen(&self, x: f64, y: f64) -> (f64, f64) {
        let (dx, dy) = (x - self.origin[0], y - self.origin[1]);
        let determinant = self.per_row[0] * self.per_column[1] - self.per_row[1] * self.per_column[0];
        (
            (dx * self.per_column[1] - dy * self.per_column[0]) / determinant,
            (dy * self.per_row[0] - dx * self.per_row[1]) / determinant,
        )
    }

    /// Screen points for one mm (or for one column where the pixel size is unknown).
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Screen points for one pixel along a row.
    pub fn points_per_column(&self) -> f64 {
        self.per_column[0].hypot(self.per_column[1])
    }

    /// Screen corners of the whole image: top left, top right, bottom right and bottom left of the stored image.
    pub fn corners(&self, shape: (usize, usize)) -> [(f64, f64); 4] {
        let (bottom, right) = (shape.0 as f64 - 0.5, shape.1 as f64 - 0.5);
        [(-0.5, -0.5), (-0.5, right), (bottom, right), (bottom, -0.5)].map(|(r, c)| self.screen_from_image(r, c))
    }
}

impl ViewTransform {
    /// Zooms by `factor` while the image point under screen (`x`, `y`) stays where it is.
    pub fn zoom_about(&mut self, factor: f64, x: f64, y: f64, viewport: (f64, f64)) {
        let before = self.zoom;
        let wanted = before * factor;
        if !wanted.is_finite() || viewport.0 <= 0.0 || viewport.1 <= 0.0 {
            return;
        }
        self.zoom = wanted.clamp(ZOOM_RANGE.0, ZOOM_RANGE.1);
        let ratio = self.zoom / before;
        let side = viewport.0.min(viewport.1);
        for (pan, (at, size)) in self.pan.iter_mut().zip([(x, viewport.0), (y, viewport.1)]) {
            let from_center = (at - size / 2.0) / side;
            *pan = from_center - (from_center - *pan) * ratio;
        }
    }

    /// Shifts by screen points.
    pub fn pan_by(&mut self, dx: f64, dy: f64, viewport: (f64, f64)) {
        let side = viewport.0.min(viewport.1);
        if side > 0.0 {
            self.pan[0] += dx / side;
            self.pan[1] += dy / side;
        }
    }
}

/// Height and width of a pixel, mm; `None` where the spacing is unknown or makes no sense (not positive, or pixels more
/// than twenty times longer than wide).
pub fn pixel_size_mm(display: &DisplayAttributes) -> Option<(f64, f64)> {
    let spacing = display.spacing?;
    let (row, column) = (spacing.row_mm, spacing.column_mm);
    let sane = row.is_finite() && column.is_finite() && row > 0.0 && (0.05..=20.0).contains(&(row / column));
    sane.then_some((row, column))
}

/// Height and width of a pixel in one unit: mm where that is known, else 1 and 1.
pub fn pixel_size(display: &DisplayAttributes) -> (f64, f64) {
    pixel_size_mm(display).unwrap_or((1.0, 1.0))
}

/// Letters at the viewport's edges: top, right, bottom, left, each naming the patient's direction there. `None` where
/// the file does not tell.
pub fn edge_letters(display: &DisplayAttributes, view: &ViewTransform) -> Option<[String; 4]> {
    let (along_row, along_column) = match (&display.geometry, &display.patient_orientation) {
        (Some(geometry), _) => {
            let letters = |v: [f64; 3]| {
                (PlaneGeometry::direction_letters(v), PlaneGeometry::direction_letters(v.map(|component| -component)))
            };
            (letters(geometry.row_direction), letters(geometry.column_direction))
        }
        (None, Some([row, column])) if !row.is_empty() && !column.is_empty() => {
            ((row.clone(), opposite(row)), (column.clone(), opposite(column)))
        }
        _ => return None,
    };
    let [[x_row, x_column], [y_row, y_column]] = view.directions();
    // Which way the screen direction runs in the image: the transpose, since the matrix is orthogonal.
    let towards = |along_row_sign: f64, along_column_sign: f64| {
        let (pair, sign) =
            if along_row_sign != 0.0 { (&along_row, along_row_sign) } else { (&along_column, along_column_sign) };
        if sign > 0.0 { pair.0.clone() } else { pair.1.clone() }
    };
    Some([towards(-y_row, -y_column), towards(x_row, x_column), towards(y_row, y_column), towards(-x_row, -x_column)])
}

/// Letters of the opposite direction; letters of other anatomies (veterinary, limbs) stay as they are.
fn opposite(letters: &str) -> String {
    let flip = |c| match c {
        'L' => 'R',
        'R' => 'L',
        'A' => 'P',
        'P' => 'A',
        'H' => 'F',
        'F' => 'H',
        other => other,
    };
    letters.chars().map(flip).collect()
}

/// A ruler of a round length (1, 2 or 5 times a power of ten mm): its length in mm and in screen points, the longest
/// that is not longer than `most_points`. `None` where nothing round fits.
pub fn ruler_mm(points_per_mm: f64, most_points: f64) -> Option<(f64, f64)> {
    let most_mm = most_points / points_per_mm;
    if !most_mm.is_finite() || most_mm <= 0.0 || points_per_mm <= 0.0 {
        return None;
    }
    let power = 10_f64.powi(most_mm.log10().floor() as i32);
    let step = [5.0, 2.0, 1.0].into_iter().find(|step| step * power <= most_mm * (1.0 + 1e-9))?;
    let mm = step * power;
    mm.is_finite().then_some((mm, mm * points_per_mm))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::study::{PixelSpacing, SpacingKind};

    fn close(a: (f64, f64), b: (f64, f64)) -> bool {
        (a.0 - b.0).abs() < 1e-6 && (a.1 - b.1).abs() < 1e-6
    }

    #[test]
    fn an_image_fits_and_keeps_its_aspect() {
        let placement = Placement::new(&ViewTransform::default(), (100, 200), (2.0, 1.0), (400.0, 300.0));
        // 200 mm by 200 mm into 400 x 300: scale 1.5, 300 x 300 in the middle.
        assert_eq!(placement.scale(), 1.5);
        let corners = placement.corners((100, 200));
        assert!(close(corners[0], (50.0, 0.0)) && close(corners[2], (350.0, 300.0)), "{corners:?}");
        assert_eq!(placement.points_per_column(), 1.5);
    }

    #[test]
    fn quarter_turns_go_clockwise() {
        let mut view = ViewTransform::default();
        view.rotate_clockwise();
        let placement = Placement::new(&view, (100, 200), (1.0, 1.0), (100.0, 200.0));
        // The stored top left corner is now at the top right.
        assert!(close(placement.corners((100, 200))[0], (100.0, 0.0)));
        assert!(close(placement.corners((100, 200))[1], (100.0, 200.0)));
    }

    #[test]
    fn flips_act_on_the_screen() {
        let at = |view: &ViewTransform, row, column| {
            Placement::new(view, (50, 80), (1.0, 1.0), (300.0, 200.0)).screen_from_image(row, column)
        };
        for turns in 0..4 {
            let mut view = ViewTransform { pan: [0.1, -0.2], ..ViewTransform::default() };
            for _ in 0..turns {
                view.rotate_clockwise();
            }
            let before = at(&view, 7.0, 11.0);
            let mut flipped = view;
            flipped.flip_horizontal();
            assert!(close(at(&flipped, 7.0, 11.0), (300.0 - before.0, before.1)), "{turns} turns");
            let mut flipped = view;
            flipped.flip_vertical();
            assert!(close(at(&flipped, 7.0, 11.0), (before.0, 200.0 - before.1)), "{turns} turns");
        }
    }

    fn display(row: [f64; 3], column: [f64; 3]) -> DisplayAttributes {
        DisplayAttributes {
            geometry: Some(PlaneGeometry { position: [0.0; 3], row_direction: row, column_direction: column }),
            ..DisplayAttributes::default()
        }
    }

    #[test]
    fn letters_follow_the_patient_through_turns_and_flips() {
        // Axial: along a row to the patient's left, down a column to the back.
        let axial = display([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]);
        let mut view = ViewTransform::default();
        assert_eq!(edge_letters(&axial, &view).expect("known"), ["A", "L", "P", "R"]);
        view.rotate_clockwise();
        assert_eq!(edge_letters(&axial, &view).expect("known"), ["R", "A", "L", "P"]);
        view.flip_horizontal();
        assert_eq!(edge_letters(&axial, &view).expect("known"), ["R", "P", "L", "A"]);
        let coronal = display([1.0, 0.0, 0.0], [0.0, 0.0, -1.0]);
        assert_eq!(edge_letters(&coronal, &ViewTransform::default()).expect("known"), ["H", "L", "F", "R"]);
        let radiograph = DisplayAttributes {
            patient_orientation: Some(["L".to_owned(), "FP".to_owned()]),
            ..DisplayAttributes::default()
        };
        assert_eq!(edge_letters(&radiograph, &ViewTransform::default()).expect("known"), ["HA", "L", "FP", "R"]);
        assert_eq!(edge_letters(&DisplayAttributes::default(), &ViewTransform::default()), None);
    }

    #[test]
    fn rulers_are_round_and_fit() {
        assert_eq!(ruler_mm(2.0, 250.0), Some((100.0, 200.0)));
        assert_eq!(ruler_mm(2.0, 100.0), Some((50.0, 100.0)));
        assert_eq!(ruler_mm(30.0, 100.0), Some((2.0, 60.0)));
        assert_eq!(ruler_mm(0.0, 100.0), None);
        assert_eq!(ruler_mm(f64::NAN, 100.0), None);
    }

    #[test]
    fn pixel_size_comes_from_the_spacing() {
        let spacing = PixelSpacing { row_mm: 0.5, column_mm: 0.25, kind: SpacingKind::Detector };
        let display = DisplayAttributes { spacing: Some(spacing), ..DisplayAttributes::default() };
        assert_eq!(pixel_size(&display), (0.5, 0.25));
        assert_eq!(pixel_size(&DisplayAttributes::default()), (1.0, 1.0));
    }

    prop_compose! {
        fn any_view()(zoom in 0.2..20.0, x in -1.0..1.0, y in -1.0..1.0, turns in 0_u8..4, mirrored: bool) -> ViewTransform {
            ViewTransform { zoom, pan: [x, y], quarter_turns: turns, mirrored }
        }
    }

    proptest! {
        #[test]
        fn screen_and_image_are_inverse(view in any_view(), row in -10.0..600.0, column in -10.0..600.0, aspect in 0.2..5.0) {
            let placement = Placement::new(&view, (512, 400), (aspect, 1.0), (800.0, 600.0));
            let (x, y) = placement.screen_from_image(row, column);
            let back = placement.image_from_screen(x, y);
            prop_assert!((back.0 - row).abs() < 1e-6 && (back.1 - column).abs() < 1e-6);
        }

        #[test]
        fn the_point_under_the_cursor_stays(view in any_view(), x in 0.0..800.0, y in 0.0..600.0, factor in 0.5..2.0) {
            let viewport = (800.0, 600.0);
            let before = Placement::new(&view, (512, 400), (1.0, 1.0), viewport).image_from_screen(x, y);
            let mut zoomed = view;
            zoomed.zoom_about(factor, x, y, viewport);
            let after = Placement::new(&zoomed, (512, 400), (1.0, 1.0), viewport).image_from_screen(x, y);
            prop_assert!((before.0 - after.0).abs() < 1e-6 && (before.1 - after.1).abs() < 1e-6);
        }

        #[test]
        fn four_turns_and_two_flips_are_nothing(view in any_view()) {
            let mut turned = view;
            for _ in 0..4 { turned.rotate_clockwise(); }
            turned.flip_horizontal();
            turned.flip_horizontal();
            turned.flip_vertical();
            turned.flip_vertical();
            turned.rotate_clockwise();
            turned.rotate_counter_clockwise();
            prop_assert_eq!(turned, view);
        }
    }
}
