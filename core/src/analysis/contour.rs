//! Contours of a map at a level: marching squares (Lorensen and Cline, 1987, in two dimensions).

use std::collections::HashMap;

use ndarray::Array2;

/// Outer contours of the regions where `values` are at or above `level`.
///
/// `values` is `[row, column]`. Each contour is a closed line of (row, column) vertices, the last joined to the first, with
/// the centre of the first pixel at (0, 0); vertices lie between pixel centres by linear interpolation. Regions that touch
/// the edge close along the border of the pixels (half a pixel outside the centres). Holes are left out; islands inside
/// holes are not. Pixels that touch only by a corner are joined where the mean of the four says so. NaN counts as below.
pub fn contours(values: &Array2<f32>, level: f32) -> Vec<Vec<(f32, f32)>> {
    let (rows, columns) = values.dim();
    if rows == 0 || columns == 0 || level.is_nan() {
        return Vec::new();
    }
    let next = segments(values, level);
    let mut starts: Vec<Edge> = next.keys().copied().collect();
    starts.sort_unstable();
    let mut open = next;
    let mut found = Vec::new();
    for start in starts {
        let mut contour = Vec::new();
        let mut edge = start;
        while let Some(to) = open.remove(&edge) {
            contour.push(crossing(values, level, edge));
            edge = to;
        }
        // Regions lie to the right of their outline in (column, row): outlines have positive area, holes negative.
        if contour.len() >= 3 && signed_area(&contour) > 0.0 {
            found.push(contour);
        }
    }
    found
}

/// Area inside a contour, in pixels; negative where it runs counter-clockwise on the screen.
pub fn signed_area(contour: &[(f32, f32)]) -> f32 {
    let mut area = 0.0_f64;
    for (index, a) in contour.iter().enumerate() {
        let b = contour[(index + 1) % contour.len()];
        area += f64::from(a.1) * f64::from(b.0) - f64::from(b.1) * f64::from(a.0);
    }
    (area / 2.0) as f32
}

/// An edge between two neighbouring pixel centres, by its upper or left end: (row, column, runs down). Rows and columns
/// start at -1, outside the image.
type Edge = (i64, i64, bool);

fn value(values: &Array2<f32>, row: i64, column: i64) -> Option<f32> {
    let (Ok(row), Ok(column)) = (usize::try_from(row), usize::try_from(column)) else { return None };
    values.get((row, column)).copied()
}

fn is_inside(values: &Array2<f32>, level: f32, row: i64, column: i64) -> bool {
    value(values, row, column).is_some_and(|v| v >= level)
}

/// From each crossed edge to the next one along the outline, the region on the right hand.
fn segments(values: &Array2<f32>, level: f32) -> HashMap<Edge, Edge> {
    let (rows, columns) = (values.nrows() as i64, values.ncols() as i64);
    let mut next = HashMap::new();
    for row in -1..rows {
        let mut left = (is_inside(values, level, row, -1), is_inside(values, level, row + 1, -1));
        for column in -1..columns {
            let right = (is_inside(values, level, row, column + 1), is_inside(values, level, row + 1, column + 1));
            let corners = (left.0, right.0, right.1, left.1);
            left = right;
            let (top, bottom): (Edge, Edge) = ((row, column, false), (row + 1, column, false));
            let (west, east): (Edge, Edge) = ((row, column, true), (row, column + 1, true));
            // Clockwise around the region: (from, to) with the inside on the right when rows grow downwards.
            let mut join = |from: Edge, to: Edge| {
                next.insert(from, to);
            };
            match corners {
                (false, false, false, false) | (true, true, true, true) => {}
                (true, false, false, false) => join(top, west),
                (false, true, false, false) => join(east, top),
                (false, false, true, false) => join(bottom, east),
                (false, false, false, true) => join(west, bottom),
                (true, true, false, false) => join(east, west),
                (false, true, true, false) => join(bottom, top),
                (false, false, true, true) => join(west, east),
                (true, false, false, true) => join(top, bottom),
                (false, true, true, true) => join(west, top),
                (true, false, true, true) => join(top, east),
                (true, true, false, true) => join(east, bottom),
                (true, true, true, false) => join(bottom, west),
                (true, false, true, false) => {
                    if saddle_is_inside(values, level, row, column) {
                        join(top, east);
                        join(bottom, west);
                    } else {
                        join(top, west);
                        join(bottom, east);
                    }
                }
                (false, true, false, true) => {
                    if saddle_is_inside(values, level, row, column) {
                        join(west, top);
                        join(east, bottom);
                    } else {
                        join(east, top);
                        join(west, bottom);
                    }
                }
            }
        }
    }
    next
}

fn saddle_is_inside(values: &Array2<f32>, level: f32, row: i64, column: i64) -> bool {
    let corners = [(row, column), (row, column + 1), (row + 1, column), (row + 1, column + 1)];
    let mut sum = 0.0;
    for (r, c) in corners {
        match value(values, r, c) {
            Some(v) if !v.is_nan() => sum += v,
            _ => return false,
        }
    }
    sum / 4.0 >= level
}

/// Where the outline crosses an edge.
fn crossing(values: &Array2<f32>, level: f32, (row, column, down): Edge) -> (f32, f32) {
    let (to_row, to_column) = if down { (row + 1, column) } else { (row, column + 1) };
    let (a, b) = (value(values, row, column), value(values, to_row, to_column));
    let t = match (a, b) {
        (Some(a), Some(b)) if a.is_finite() && b.is_finite() && a != b => ((level - a) / (b - a)).clamp(0.0, 1.0),
        _ => 0.5,
    };
    (row as f32 + if down { t } else { 0.0 }, column as f32 + if down { 0.0 } else { t })
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_disc_has_its_area_and_radius() {
        let radius = 20.0;
        let disc = Array2::from_shape_fn((64, 80), |(r, c)| {
            radius - ((r as f32 - 30.0).powi(2) + (c as f32 - 40.0).powi(2)).sqrt()
        });
        let found = contours(&disc, 0.0);
        assert_eq!(found.len(), 1);
        for (r, c) in &found[0] {
            let distance = ((r - 30.0).powi(2) + (c - 40.0).powi(2)).sqrt();
            assert!((distance - radius).abs() < 0.05, "{distance}");
        }
        assert!((signed_area(&found[0]) - std::f32::consts::PI * radius * radius).abs() < 2.0);
    }

    #[test]
    fn a_full_image_closes_along_its_border() {
        let found = contours(&Array2::ones((3, 5)), 0.5);
        assert_eq!(found.len(), 1);
        let rows: Vec<f32> = found[0].iter().map(|p| p.0).collect();
        let columns: Vec<f32> = found[0].iter().map(|p| p.1).collect();
        assert_eq!(rows.iter().copied().fold(f32::MAX, f32::min), -0.5);
        assert_eq!(columns.iter().copied().fold(f32::MIN, f32::max), 4.5);
    }

    #[test]
    fn holes_are_left_out_and_islands_are_not() {
        let mut ring = Array2::<f32>::zeros((15, 15));
        for r in 1..14 {
            for c in 1..14 {
                let depth = [r - 1, c - 1, 13 - r, 13 - c].into_iter().min().unwrap_or(0);
                ring[[r, c]] = if (2..=4).contains(&depth) { 0.0 } else { 1.0 };
            }
        }
        let found = contours(&ring, 0.5);
        assert_eq!(found.len(), 2, "the ring and the island, not the hole");
        assert!(found.iter().all(|c| signed_area(c) > 0.0));
    }

    #[test]
    fn one_pixel_and_saddles() {
        let found = contours(&array![[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], 0.5);
        assert_eq!(found, [[(0.5, 1.0), (1.0, 1.5), (1.5, 1.0), (1.0, 0.5)]].map(|c| rotate(&c, &found[0])));
        // Corner neighbours: apart at 0.6 (mean 0.5), together at 0.4.
        let diagonal = array![[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]];
        assert_eq!(contours(&diagonal, 0.6).len(), 2);
        assert_eq!(contours(&diagonal, 0.4).len(), 1);
    }

    /// The same closed line, started where `like` starts.
    fn rotate(contour: &[(f32, f32)], like: &[(f32, f32)]) -> Vec<(f32, f32)> {
        let start = contour.iter().position(|p| Some(p) == like.first()).unwrap_or(0);
        contour.iter().cycle().skip(start).take(contour.len()).copied().collect()
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(contours(&Array2::zeros((0, 4)), 0.5).is_empty());
        assert!(contours(&Array2::zeros((4, 4)), 0.5).is_empty());
        assert!(contours(&Array2::from_elem((4, 4), f32::NAN), 0.5).is_empty());
        assert!(contours(&Array2::ones((4, 4)), f32::NAN).is_empty());
    }

    proptest! {
        /// Every pixel centre is inside some outline (counted with holes filled) where the value is at or above the level.
        #[test]
        fn outlines_enclose_what_is_above(bits in proptest::collection::vec(any::<bool>(), 56)) {
            let map = Array2::from_shape_fn((7, 8), |(r, c)| if bits[r * 8 + c] { 1.0 } else { 0.0 });
            let found = contours(&map, 0.5);
            for ((r, c), v) in map.indexed_iter() {
                if *v > 0.5 {
                    let enclosed = found.iter().any(|line| winds_around(line, r as f32, c as f32));
                    prop_assert!(enclosed, "({}, {})", r, c);
                }
            }
            prop_assert!(found.iter().all(|line| signed_area(line) > 0.0));
        }
    }

    fn winds_around(line: &[(f32, f32)], row: f32, column: f32) -> bool {
        let mut inside = false;
        for (i, a) in line.iter().enumerate() {
            let b = line[(i + 1) % line.len()];
            if (a.0 > row) != (b.0 > row) && column < (b.1 - a.1) * (row - a.0) / (b.0 - a.0) + a.1 {
                inside = !inside;
            }
        }
        inside
    }
}
