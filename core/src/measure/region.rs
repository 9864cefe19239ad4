//! Which pixels a closed line holds. Pixel coordinates: the centre of the first pixel is (0, 0).

use super::Runs;

/// A place on a frame: (row, column), fractional.
pub type Pixel = (f64, f64);

/// Most columns that a row of a frame can have here: pixels are numbered in 32 bits.
fn clipped_run(row: usize, from: f64, to: f64, columns: usize) -> Option<(u32, u32)> {
    let first = from.ceil().max(0.0);
    let last = to.floor().min(columns as f64 - 1.0);
    if first > last {
        return None;
    }
    let start = u32::try_from(row * columns + first as usize).ok()?;
    Some((start, (last - first) as u32 + 1))
}

fn row_range(low: f64, high: f64, rows: usize) -> std::ops::Range<usize> {
    if !low.is_finite() || !high.is_finite() || high < 0.0 {
        return 0..0;
    }
    low.ceil().max(0.0) as usize..((high.floor() + 1.0) as usize).min(rows)
}

/// Pixels whose centres lie inside a closed line, by the even-odd rule.
pub fn polygon(vertices: &[Pixel], (rows, columns): (usize, usize)) -> Runs {
    let low = vertices.iter().map(|v| v.0).fold(f64::INFINITY, f64::min);
    let high = vertices.iter().map(|v| v.0).fold(f64::NEG_INFINITY, f64::max);
    let mut runs = Vec::new();
    for row in row_range(low, high, rows) {
        let y = row as f64;
        let mut crossings: Vec<f64> = Vec::new();
        for (index, a) in vertices.iter().enumerate() {
            let Some(b) = vertices.get(index + 1).or(vertices.first()) else { continue };
            // Half open, so that a vertex on the row counts once.
            if (a.0 > y) != (b.0 > y) {
                crossings.push((b.1 - a.1) * (y - a.0) / (b.0 - a.0) + a.1);
            }
        }
        crossings.sort_by(f64::total_cmp);
        runs.extend(crossings.chunks_exact(2).filter_map(|pair| clipped_run(row, pair[0], pair[1], columns)));
    }
    Runs::new(runs)
}

/// Pixels whose centres lie inside the ellipse of two conjugate diameters, given by their ends. Conjugate, since axes of an
/// ellipse in millimetres are just that in pixels that are not square.
pub fn ellipse(ends: [Pixel; 4], (rows, columns): (usize, usize)) -> Runs {
    let half = |a: Pixel, b: Pixel| ((b.0 - a.0) / 2.0, (b.1 - a.1) / 2.0);
    let (u, v) = (half(ends[0], ends[1]), half(ends[2], ends[3]));
    let middle = (ends.iter().map(|e| e.0).sum::<f64>() / 4.0, ends.iter().map(|e| e.1).sum::<f64>() / 4.0);
    let determinant = u.0 * v.1 - u.1 * v.0;
    if determinant.abs() < 1e-12 || !determinant.is_finite() {
        return Runs::default();
    }
    let reach = u.0.hypot(v.0);
    let mut runs = Vec::new();
    for row in row_range(middle.0 - reach, middle.0 + reach, rows) {
        let y = row as f64 - middle.0;
        // (x, y) = s u + t v with s² + t² <= 1 is a quadratic in x.
        let (s0, s1) = (y * v.1 / determinant, -v.0 / determinant);
        let (t0, t1) = (-y * u.1 / determinant, u.0 / determinant);
        let (a, b, c) = (s1 * s1 + t1 * t1, s0 * s1 + t0 * t1, s0 * s0 + t0 * t0 - 1.0);
        let root = b * b - a * c;
        if root < 0.0 || a <= 0.0 {
            continue;
        }
        let (low, high) = ((-b - root.sqrt()) / a, (-b + root.sqrt()) / a);
        runs.extend(clipped_run(row, middle.1 + low, middle.1 + high, columns));
    }
    Runs::new(runs)
}

/// A line with fewer vertices, none of the old ones further than `tolerance` from it (Douglas and Peucker, 1973). A closed line
/// keeps its first vertex.
pub fn simplify(vertices: &[Pixel], tolerance: f64) -> Vec<Pixel> {
    let mut keep = vec![false; vertices.len()];
    let last = vertices.len().saturating_sub(1);
    for end in [0, last] {
        if let Some(flag) = keep.get_mut(end) {
            *flag = true;
        }
    }
    let mut spans = vec![(0, last)];
    while let Some((from, to)) = spans.pop() {
        let (Some(a), Some(b)) = (vertices.get(from), vertices.get(to)) else { continue };
        let between = vertices.iter().enumerate().take(to).skip(from + 1);
        let worst = between.map(|(i, p)| (i, off(*p, *a, *b))).max_by(|x, y| x.1.total_cmp(&y.1));
        if let Some((index, distance)) = worst
            && distance > tolerance
        {
            keep[index] = true;
            spans.extend([(from, index), (index, to)]);
        }
    }
    vertices.iter().zip(keep).filter(|(_, keep)| *keep).map(|(vertex, _)| *vertex).collect()
}

/// Distance of a point from the line between two others.
fn off(p: Pixel, a: Pixel, b: Pixel) -> f64 {
    let (dy, dx) = (b.0 - a.0, b.1 - a.1);
    let length = dy * dy + dx * dx;
    let along = if length > 0.0 { (((p.0 - a.0) * dy + (p.1 - a.1) * dx) / length).clamp(0.0, 1.0) } else { 0.0 };
    (p.0 - a.0 - along * dy).hypot(p.1 - a.1 - along * dx)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_square_holds_its_pixels() {
        let runs = polygon(&[(1.5, 2.5), (1.5, 5.5), (4.5, 5.5), (4.5, 2.5)], (10, 10));
        assert_eq!(runs.as_slice(), [(23, 3), (33, 3), (43, 3)]);
        assert!(polygon(&[], (10, 10)).is_empty());
        assert!(polygon(&[(f64::NAN, 0.0), (3.0, 3.0), (0.0, 3.0)], (10, 10)).count() < 100);
    }

    #[test]
    fn a_region_is_cut_at_the_frame() {
        let runs = polygon(&[(-5.0, -5.0), (-5.0, 50.0), (50.0, 50.0), (50.0, -5.0)], (4, 6));
        assert_eq!(runs.as_slice(), [(0, 24)]);
        assert_eq!(ellipse([(-9.0, 2.0), (20.0, 2.0), (5.0, -40.0), (5.0, 40.0)], (4, 6)).count(), 24);
    }

    proptest! {
        #[test]
        fn an_ellipse_holds_what_its_equation_says(
            row in 2.0..18.0_f64, column in 2.0..18.0_f64, a in 0.5..9.0_f64, b in 0.5..9.0_f64, turn in 0.0..3.1_f64,
        ) {
            let (sin, cos) = turn.sin_cos();
            let at = |x: f64, y: f64| (row + x * sin + y * cos, column + x * cos - y * sin);
            let runs = ellipse([at(-a, 0.0), at(a, 0.0), at(0.0, -b), at(0.0, b)], (20, 20));
            for pixel in 0..400_u32 {
                let (dy, dx) = (f64::from(pixel / 20) - row, f64::from(pixel % 20) - column);
                let (x, y) = (dx * cos + dy * sin, -dx * sin + dy * cos);
                let value = (x / a).powi(2) + (y / b).powi(2);
                prop_assume!((value - 1.0).abs() > 1e-9);
                prop_assert_eq!(runs.contains(pixel), value < 1.0);
            }
        }

        #[test]
        fn a_simpler_line_stays_close(points in proptest::collection::vec((0.0..50.0_f64, 0.0..50.0_f64), 2..60)) {
            let simple = simplify(&points, 2.0);
            prop_assert!(simple.len() <= points.len());
            for point in &points {
                let nearest = simple.windows(2).map(|w| off(*point, w[0], w[1])).fold(f64::INFINITY, f64::min);
                prop_assert!(nearest <= 2.0 + 1e-9 || simple.len() < 2);
            }
        }
    }
}
