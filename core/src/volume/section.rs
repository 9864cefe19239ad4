//! Where a plane cuts a line or an area that was drawn on another.

use super::vector::{Vector, along, dot, minus};

/// What a plane shows of a line.
#[derive(Debug, Clone, PartialEq)]
pub enum Section {
    /// Nothing.
    Missed,
    /// The whole line lies in it.
    Whole,
    /// It goes through the inside of a closed line: from one place to the other, each.
    Across(Vec<[Vector; 2]>),
    /// It crosses an open line at these places.
    Through(Vec<Vector>),
}

/// What the plane through `through` with the unit vector `normal` shows of a line; what lies within `reach_mm` of it lies in it.
pub fn section(line: &[Vector], closed: bool, through: Vector, normal: Vector, reach_mm: f64) -> Section {
    let height = |point: &Vector| dot(minus(*point, through), normal);
    if line.is_empty() {
        return Section::Missed;
    }
    if line.iter().all(|point| height(point).abs() <= reach_mm) {
        return Section::Whole;
    }
    let edges = if closed { line.len() } else { line.len() - 1 };
    let crossing = |index: usize| {
        let (a, b) = (line[index], line[(index + 1) % line.len()]);
        let (from, to) = (height(&a), height(&b));
        ((from < 0.0) != (to < 0.0)).then(|| along(a, minus(b, a), from / (from - to)))
    };
    let mut crossings: Vec<Vector> = (0..edges).filter_map(crossing).collect();
    let Some(first) = crossings.first().copied() else { return Section::Missed };
    if !closed {
        return Section::Through(crossings);
    }
    // A closed line is crossed an even number of times, all on one straight line: in and out by turns.
    let furthest =
        crossings.iter().map(|point| minus(*point, first)).max_by(|a, b| dot(*a, *a).total_cmp(&dot(*b, *b)));
    let direction = furthest.unwrap_or_default();
    crossings.sort_by(|a, b| dot(*a, direction).total_cmp(&dot(*b, direction)));
    Section::Across(crossings.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::{length, unit};

    const UP: Vector = [0.0, 0.0, 1.0];

    #[test]
    fn a_contour_of_a_slice_is_cut_where_the_plane_goes_through() {
        // A circle of 10 mm around (3, 4, 50), drawn on an axial slice.
        let circle: Vec<Vector> = (0..3600)
            .map(|n| f64::from(n) * std::f64::consts::TAU / 3600.0)
            .map(|t| [3.0 + 10.0 * t.cos(), 4.0 + 10.0 * t.sin(), 50.0])
            .collect();
        // The coronal plane 6 mm behind its middle: a chord of 16 mm.
        let Section::Across(cuts) = section(&circle, true, [0.0, 10.0, 0.0], [0.0, 1.0, 0.0], 0.5) else { panic!() };
        let [[a, b]] = cuts[..] else { panic!("{cuts:?}") };
        assert!((length(minus(a, b)) - 16.0).abs() < 1e-4 && (a[1] - 10.0).abs() < 1e-9 && a[2] == 50.0, "{a:?} {b:?}");
        // An oblique plane through the middle: a diameter along the line that both planes share.
        let normal = unit([0.6, 0.8, 1.3]).expect("a direction");
        let Section::Across(cuts) = section(&circle, true, [3.0, 4.0, 50.0], normal, 0.5) else { panic!() };
        let [a, b] = cuts[0];
        assert!((length(minus(a, b)) - 20.0).abs() < 1e-4);
        assert!(dot(minus(a, b), [0.6, 0.8, 0.0]).abs() < 1e-4, "{a:?} {b:?}");
        // On its own slice it is whole, a slice away there is nothing.
        assert_eq!(section(&circle, true, [0.0, 0.0, 50.4], UP, 0.5), Section::Whole);
        assert_eq!(section(&circle, true, [0.0, 0.0, 51.0], UP, 0.5), Section::Missed);
    }

    #[test]
    fn a_hollow_contour_is_cut_twice_and_a_length_once() {
        // A U, open to the front: two legs of 2 mm, 6 mm apart.
        let u = [[0.0, 0.0], [2.0, 0.0], [2.0, 8.0], [8.0, 8.0], [8.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]];
        let u = u.map(|[x, y]| [x, y, 7.0]);
        let Section::Across(cuts) = section(&u, true, [0.0, 4.0, 0.0], [0.0, 1.0, 0.0], 0.25) else { panic!() };
        let mut ends: Vec<[f64; 2]> = cuts.iter().map(|[a, b]| [a[0].min(b[0]), a[0].max(b[0])]).collect();
        ends.sort_by(|a, b| a[0].total_cmp(&b[0]));
        assert_eq!(ends, [[0.0, 2.0], [8.0, 10.0]]);
        let length = [[-4.0, 1.0, 7.0], [12.0, 5.0, 7.0]];
        let Section::Through(places) = section(&length, false, [0.0; 3], [1.0, 0.0, 0.0], 0.25) else { panic!() };
        assert_eq!(places, [[0.0, 2.0, 7.0]]);
        assert_eq!(section(&[[1.0, 1.0, 9.0]], false, [0.0; 3], UP, 0.5), Section::Missed);
        assert_eq!(section(&[], true, [0.0; 3], UP, 0.5), Section::Missed);
    }
}
