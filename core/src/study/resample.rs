//! Resampling of images: affine maps, letterboxing and a bilinear warp that does not alias.
//!
//! Coordinates are (row, column) with pixel centres at integers: an image of `n` rows reaches from -0.5 to `n - 0.5`.
//! Training, validation and inference share this geometry.

use ndarray::{Array2, ArrayView2};

/// An affine map of (row, column) points: `out = linear · in + offset`, pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Linear part: `[[row from row, row from column], [column from row, column from column]]`.
    pub linear: [[f32; 2]; 2],
    /// Offset: `[row, column]`.
    pub offset: [f32; 2],
}

impl Affine {
    /// The map that changes nothing.
    pub const IDENTITY: Self = Self { linear: [[1.0, 0.0], [0.0, 1.0]], offset: [0.0, 0.0] };

    /// A shift by (`row`, `column`) pixels.
    pub fn translation(row: f32, column: f32) -> Self {
        Self { offset: [row, column], ..Self::IDENTITY }
    }

    /// A scaling of rows by `row` and of columns by `column`, about the origin.
    pub fn scaling(row: f32, column: f32) -> Self {
        Self { linear: [[row, 0.0], [0.0, column]], offset: [0.0, 0.0] }
    }

    /// A rotation about the origin by `degrees`, clockwise as seen on a screen with rows growing downwards.
    pub fn rotation(degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self { linear: [[cos, sin], [-sin, cos]], offset: [0.0, 0.0] }
    }

    /// Where (`row`, `column`) goes.
    pub fn apply(&self, (row, column): (f32, f32)) -> (f32, f32) {
        let [[rr, rc], [cr, cc]] = self.linear;
        (rr * row + rc * column + self.offset[0], cr * row + cc * column + self.offset[1])
    }

    /// The map that applies `self` first and `outer` to the result.
    pub fn then(&self, outer: &Affine) -> Self {
        let (a, b) = (&outer.linear, &self.linear);
        let mut linear = [[0.0; 2]; 2];
        for (r, row) in linear.iter_mut().enumerate() {
            for (c, value) in row.iter_mut().enumerate() {
                *value = a[r][0] * b[0][c] + a[r][1] * b[1][c];
            }
        }
        let (row, column) = outer.apply((self.offset[0], self.offset[1]));
        Self { linear, offset: [row, column] }
    }

    /// The same map about the point (`row`, `column`) in place of the origin.
    pub fn about(&self, (row, column): (f32, f32)) -> Self {
        Self::translation(-row, -column).then(self).then(&Self::translation(row, column))
    }

    /// The inverse map; `None` where the map flattens the plane.
    pub fn inverse(&self) -> Option<Self> {
        let [[a, b], [c, d]] = self.linear.map(|row| row.map(f64::from));
        let determinant = a * d - b * c;
        if !determinant.is_finite() || determinant.abs() < 1e-12 {
            return None;
        }
        let inverse = [[d / determinant, -b / determinant], [-c / determinant, a / determinant]];
        let [row, column] = self.offset.map(f64::from);
        Some(Self {
            linear: inverse.map(|row| row.map(|v| v as f32)),
            offset: inverse.map(|m| -(m[0] * row + m[1] * column) as f32),
        })
    }

    /// Factor by which areas grow.
    pub fn area_factor(&self) -> f32 {
        let [[a, b], [c, d]] = self.linear;
        (a * d - b * c).abs()
    }
}

/// Input from output coordinates for an image of `rows` × `columns` shown whole, centred, with its aspect kept, in a square
/// of `size` pixels a side. Invert it to bring a map of the square back to the image.
pub fn letterbox(rows: usize, columns: usize, size: usize) -> Affine {
    let scale = rows.max(columns).max(1) as f32 / size.max(1) as f32;
    let centre = (size as f32 - 1.0) / 2.0;
    Affine {
        linear: [[scale, 0.0], [0.0, scale]],
        offset: [(rows as f32 - 1.0) / 2.0 - scale * centre, (columns as f32 - 1.0) / 2.0 - scale * centre],
    }
}

/// Smooth displacements over the whole output: knots spread evenly from corner to corner, interpolated smoothly.
#[derive(Debug, Clone, PartialEq)]
pub struct Displacement {
    /// (row, column) displacement at each knot, in output pixels; at least 2 × 2 knots.
    pub knots: Array2<(f32, f32)>,
}

/// Samples `image` at `input_from_output` of every output pixel: bilinear, with a box prefilter along each axis where the
/// input is reduced by more than 1.5, so that fine detail does not alias. `size` is (rows, columns) of the output;
/// `fill` is what lies outside the image. An empty image or a map that is not finite gives `fill` everywhere.
pub fn warp<T: Copy + Into<f32>>(
    image: ArrayView2<'_, T>,
    input_from_output: &Affine,
    size: (usize, usize),
    fill: f32,
) -> Array2<f32> {
    warp_displaced(image, input_from_output, None, size, fill)
}

/// [`warp`], with output coordinates displaced before they are mapped.
pub fn warp_displaced<T: Copy + Into<f32>>(
    image: ArrayView2<'_, T>,
    input_from_output: &Affine,
    displacement: Option<&Displacement>,
    size: (usize, usize),
    fill: f32,
) -> Array2<f32> {
    let finite = input_from_output.linear.iter().flatten().chain(&input_from_output.offset).all(|v| v.is_finite());
    if image.is_empty() || !finite {
        return Array2::from_elem(size, fill);
    }
    let reduction = |axis: usize| -> usize {
        let [a, b] = input_from_output.linear[axis];
        let length = a.hypot(b);
        let most = image.len_of(ndarray::Axis(axis)).max(1);
        if length > 1.5 { (length.round() as usize).clamp(1, most) } else { 1 }
    };
    let (by_row, by_column) = (reduction(0), reduction(1));
    let reduced = reduce(image, by_row, by_column);
    // Centre of the first reduced pixel is (k - 1) / 2 in the input's coordinates.
    let reduced_from_input = Affine {
        linear: [[1.0 / by_row as f32, 0.0], [0.0, 1.0 / by_column as f32]],
        offset: [(1.0 - by_row as f32) / 2.0 / by_row as f32, (1.0 - by_column as f32) / 2.0 / by_column as f32],
    };
    sample(&reduced, &input_from_output.then(&reduced_from_input), displacement, size, fill)
}

/// Means over blocks of `by_row` × `by_column` pixels; blocks at the end may be smaller.
fn reduce<T: Copy + Into<f32>>(image: ArrayView2<'_, T>, by_row: usize, by_column: usize) -> Array2<f32> {
    if by_row == 1 && by_column == 1 {
        // In row order, whatever the order of the view: it is sampled as one slice.
        return image.as_standard_layout().mapv(Into::into);
    }
    let (rows, columns) = image.dim();
    let mut reduced = Array2::<f32>::zeros((rows.div_ceil(by_row), columns.div_ceil(by_column)));
    let mut sums = vec![0.0f32; columns];
    for (index, mut out) in reduced.rows_mut().into_iter().enumerate() {
        let first = index * by_row;
        let last = (first + by_row).min(rows);
        sums.fill(0.0);
        for row in first..last {
            for (sum, value) in sums.iter_mut().zip(image.row(row)) {
                *sum += (*value).into();
            }
        }
        for (value, block) in out.iter_mut().zip(sums.chunks(by_column)) {
            *value = block.iter().sum::<f32>() / (block.len() * (last - first)) as f32;
        }
    }
    reduced
}

fn sample(
    image: &Array2<f32>,
    input_from_output: &Affine,
    displacement: Option<&Displacement>,
    size: (usize, usize),
    fill: f32,
) -> Array2<f32> {
    let (rows, columns) = image.dim();
    let mut output = Array2::from_elem(size, fill);
    let Some(pixels) = image.as_slice() else { return output };
    let [[rr, rc], [cr, cc]] = input_from_output.linear;
    let [row_offset, column_offset] = input_from_output.offset;
    let (last_row, last_column) = ((rows - 1) as f32, (columns - 1) as f32);
    let at = |row: f32, column: f32| -> Option<f32> {
        // A slack of a thousandth keeps rounding from opening a seam along the border.
        let inside = row >= -0.501 && row <= last_row + 0.501 && column >= -0.501 && column <= last_column + 0.501;
        if !inside {
            return None;
        }
        let (row, column) = (row.clamp(0.0, last_row), column.clamp(0.0, last_column));
        let (r0, c0) = (row as usize, column as usize);
        let (r1, c1) = ((r0 + 1).min(rows - 1), (c0 + 1).min(columns - 1));
        let (fr, fc) = (row - r0 as f32, column - c0 as f32);
        let (above, below) = (r0 * columns, r1 * columns);
        let top = pixels[above + c0] + fc * (pixels[above + c1] - pixels[above + c0]);
        let bottom = pixels[below + c0] + fc * (pixels[below + c1] - pixels[below + c0]);
        Some(top + fr * (bottom - top))
    };
    match displacement {
        None => {
            for (r, mut line) in output.rows_mut().into_iter().enumerate() {
                let (row_start, column_start) = (rr * r as f32 + row_offset, cr * r as f32 + column_offset);
                for (c, value) in line.iter_mut().enumerate() {
                    if let Some(v) = at(row_start + rc * c as f32, column_start + cc * c as f32) {
                        *value = v;
                    }
                }
            }
        }
        Some(displacement) => {
            let columns_at = displacement.columns_at(size.1);
            for (r, mut line) in output.rows_mut().into_iter().enumerate() {
                let knots = displacement.row(r, size.0);
                for (c, (value, (knot, f))) in line.iter_mut().zip(&columns_at).enumerate() {
                    let (dr, dc) = mix(knots[*knot], knots[knot + 1], *f);
                    let (row, column) = input_from_output.apply((r as f32 + dr, c as f32 + dc));
                    if let Some(v) = at(row, column) {
                        *value = v;
                    }
                }
            }
        }
    }
    output
}

impl Displacement {
    /// Displacements along output row `row` of `rows`, one a column of knots (at least two).
    fn row(&self, row: usize, rows: usize) -> Vec<(f32, f32)> {
        let (knot_rows, knot_columns) = self.knots.dim();
        if knot_rows < 2 || knot_columns < 2 {
            return vec![(0.0, 0.0); knot_columns.max(2)];
        }
        let (knot, f) = place(row, rows, knot_rows);
        self.knots.row(knot).iter().zip(self.knots.row(knot + 1)).map(|(a, b)| mix(*a, *b, f)).collect()
    }

    /// First knot and weight of the next for each of `columns` output columns.
    fn columns_at(&self, columns: usize) -> Vec<(usize, f32)> {
        (0..columns).map(|column| place(column, columns, self.knots.ncols().max(2))).collect()
    }
}

/// First knot and weight of the next one, smoothed so that the field has no creases at the knots.
fn place(index: usize, length: usize, knots: usize) -> (usize, f32) {
    let position = index as f32 / length.saturating_sub(1).max(1) as f32 * (knots - 1) as f32;
    let first = (position as usize).min(knots - 2);
    let f = position - first as f32;
    (first, f * f * (3.0 - 2.0 * f))
}

fn mix(a: (f32, f32), b: (f32, f32), f: f32) -> (f32, f32) {
    (a.0 + f * (b.0 - a.0), a.1 + f * (b.1 - a.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn close(a: (f32, f32), b: (f32, f32)) -> bool {
        (a.0 - b.0).abs() < 1e-4 && (a.1 - b.1).abs() < 1e-4
    }

    #[test]
    fn a_view_in_another_order_is_warped_like_its_copy() {
        let image = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
        let turned = image.t();
        let copy = turned.as_standard_layout().into_owned();
        let shift = Affine::translation(0.5, 0.0);
        assert_eq!(warp(turned, &shift, (3, 2), -1.0), warp(copy.view(), &shift, (3, 2), -1.0));
    }

    #[test]
    fn identity_warp_changes_nothing() {
        let image = Array2::from_shape_fn((7, 5), |(r, c)| (r * 10 + c) as f32);
        assert_eq!(warp(image.view(), &Affine::IDENTITY, (7, 5), -1.0), image);
    }

    #[test]
    fn shifts_by_whole_pixels_and_fills() {
        let image = array![[1u8, 2], [3, 4]];
        let shifted = warp(image.view(), &Affine::translation(0.0, 1.0), (2, 2), 9.0);
        assert_eq!(shifted, array![[2.0, 9.0], [4.0, 9.0]]);
    }

    #[test]
    fn halving_averages_blocks() {
        let image = Array2::from_shape_fn((4, 4), |(r, c)| (r * 4 + c) as f32);
        let half = warp(image.view(), &letterbox(4, 4, 2), (2, 2), 0.0);
        assert_eq!(half, array![[2.5, 4.5], [10.5, 12.5]]);
    }

    #[test]
    fn reduction_does_not_alias() {
        let stripes = Array2::from_shape_fn((64, 64), |(_, c)| if c % 2 == 0 { 0.0f32 } else { 1.0 });
        let reduced = warp(stripes.view(), &letterbox(64, 64, 16), (16, 16), 0.0);
        assert!(reduced.iter().all(|v| (v - 0.5).abs() < 1e-5));
    }

    #[test]
    fn letterbox_centres_and_inverts() {
        let affine = letterbox(100, 200, 50);
        assert!(close(affine.apply((24.5, 24.5)), (49.5, 99.5)));
        assert!(close(affine.apply((0.0, -0.5)), (-48.5, -0.5)));
        let back = affine.inverse().expect("a letterbox is invertible");
        assert!(close(back.apply(affine.apply((3.0, 7.0))), (3.0, 7.0)));
    }

    #[test]
    fn composition_applies_in_order() {
        let a = Affine::rotation(30.0).about((3.0, 4.0));
        let b = Affine::scaling(2.0, 3.0);
        let point = (1.5, -2.0);
        assert!(close(a.then(&b).apply(point), b.apply(a.apply(point))));
        assert!(close(a.apply((3.0, 4.0)), (3.0, 4.0)));
        assert!(Affine::scaling(0.0, 1.0).inverse().is_none());
    }

    #[test]
    fn hostile_input_gives_fill() {
        let empty = Array2::<u8>::zeros((0, 5));
        assert!(warp(empty.view(), &Affine::IDENTITY, (2, 2), 7.0).iter().all(|v| *v == 7.0));
        let image = array![[1u8]];
        let bad = Affine { linear: [[f32::NAN, 0.0], [0.0, 1.0]], offset: [0.0, 0.0] };
        assert!(warp(image.view(), &bad, (2, 2), 7.0).iter().all(|v| *v == 7.0));
        let huge = Affine::scaling(1e30, 1e30);
        assert_eq!(warp(image.view(), &huge, (1, 2), 7.0), array![[1.0, 7.0]]);
    }

    #[test]
    fn displacement_moves_the_whole_image_where_knots_agree() {
        let image = Array2::from_shape_fn((6, 6), |(r, c)| (r * 6 + c) as f32);
        let displacement = Displacement { knots: Array2::from_elem((3, 3), (1.0, 0.0)) };
        let moved = warp_displaced(image.view(), &Affine::IDENTITY, Some(&displacement), (6, 6), -1.0);
        assert_eq!(moved.row(0), image.row(1));
        assert!(moved.row(5).iter().all(|v| *v == -1.0));
    }
}
