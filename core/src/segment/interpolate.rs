//! Shape-based interpolation between slices: the mean of signed distances (Raya and Udupa, 1990; Herman, Zheng and Bucholtz, 1992).

use ndarray::{Array2, Zip};

use super::signed_distance;
use crate::measure::Runs;

/// Two regions of one frame size, ready to be blended.
///
/// Where they share no pixel the second is laid over the first, centre on centre, and the blend moves from the one centre to the
/// other: the mean of the distances alone would be empty between them.
#[derive(Debug, Clone)]
pub struct Blend {
    from: Array2<f64>,
    to: Array2<f64>,
    /// Row and column of the first pixel of both maps on the frame; may lie outside.
    origin: (isize, isize),
    /// How far the second region lies from where its map puts it.
    drift: (isize, isize),
    shape: (usize, usize),
}

impl Blend {
    /// Of two regions on frames of `shape`, with pixels of that height and width; `None` where one is empty.
    pub fn new(from: &Runs, to: &Runs, shape: (usize, usize), pixel: (f64, f64)) -> Option<Self> {
        let columns = shape.1;
        let bounds = |runs: &Runs| Some(runs.bounds(columns)?.map(|v| v as isize));
        let ([a_top, a_left, a_bottom, a_right], [b_top, b_left, b_bottom, b_right]) = (bounds(from)?, bounds(to)?);
        let drift = if from.intersection(to).is_empty() {
            let (a, b) = (centre(from, columns), centre(to, columns));
            ((b.0 - a.0).round() as isize, (b.1 - a.1).round() as isize)
        } else {
            (0, 0)
        };
        // One pixel more on all sides: there is an outside everywhere.
        let origin = (a_top.min(b_top - drift.0) - 1, a_left.min(b_left - drift.1) - 1);
        let end = (a_bottom.max(b_bottom - drift.0) + 2, a_right.max(b_right - drift.1) + 2);
        let size = ((end.0 - origin.0) as usize, (end.1 - origin.1) as usize);
        let map = |runs: &Runs, drift: (isize, isize)| {
            let mut mask = Array2::zeros(size);
            for pixel in runs.pixels() {
                let (row, column) = (pixel as usize / columns, pixel as usize % columns);
                let at = (row as isize - drift.0 - origin.0, column as isize - drift.1 - origin.1);
                if let Some(cell) = mask.get_mut((at.0 as usize, at.1 as usize)) {
                    *cell = 1;
                }
            }
            signed_distance(mask.view(), pixel)
        };
        Some(Self { from: map(from, (0, 0)), to: map(to, drift), origin, drift, shape })
    }

    /// The region a share of the way from the first (0) to the second (1).
    pub fn at(&self, share: f64) -> Runs {
        let mut mean = self.from.clone();
        Zip::from(&mut mean).and(&self.to).for_each(|a, b| *a += share * (b - *a));
        let moved = |drift: isize, origin: isize| origin + (share * drift as f64).round() as isize;
        let (top, left) = (moved(self.drift.0, self.origin.0), moved(self.drift.1, self.origin.1));
        let (rows, columns) = self.shape;
        let place = |(row, column): (usize, usize)| {
            let row = usize::try_from(top + row as isize).ok().filter(|row| *row < rows)?;
            let column = usize::try_from(left + column as isize).ok().filter(|column| *column < columns)?;
            Some(((row * columns + column) as u32, 1))
        };
        Runs::new(
            mean.indexed_iter().filter(|(_, distance)| **distance < 0.0).filter_map(|(at, _)| place(at)).collect(),
        )
    }
}

/// Middle of a region: (row, column).
fn centre(runs: &Runs, columns: usize) -> (f64, f64) {
    let count = runs.count().max(1) as f64;
    let sum = runs.pixels().fold((0.0, 0.0), |(row, column), pixel| {
        (row + (pixel as usize / columns) as f64, column + (pixel as usize % columns) as f64)
    });
    (sum.0 / count, sum.1 / count)
}

/// Regions for the empty slices between painted ones: index of the slice and its region. `slices` lie in order, each at its depth,
/// painted or not, on frames of `shape` with pixels of that height and width.
pub fn interpolate(slices: &[(f64, Option<&Runs>)], shape: (usize, usize), pixel: (f64, f64)) -> Vec<(usize, Runs)> {
    let painted: Vec<(usize, f64, &Runs)> = (slices.iter().enumerate())
        .filter_map(|(index, (depth, runs))| Some((index, *depth, runs.filter(|runs| !runs.is_empty())?)))
        .collect();
    let mut made = Vec::new();
    for pair in painted.windows(2) {
        let ((below, from, a), (above, to, b)) = (pair[0], pair[1]);
        if above - below < 2 {
            continue;
        }
        let Some(blend) = Blend::new(a, b, shape, pixel) else { continue };
        for (index, (depth, _)) in slices.iter().enumerate().take(above).skip(below + 1) {
            let share = if to == from { 0.5 } else { ((depth - from) / (to - from)).clamp(0.0, 1.0) };
            made.push((index, blend.at(share)));
        }
    }
    made.retain(|(_, runs)| !runs.is_empty());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: (usize, usize) = (80, 100);

    /// A disc in millimetres of pixels that are 2 mm high and 1 mm wide.
    fn disc(row: f64, column: f64, radius: f64) -> Runs {
        Runs::of_flags((0..SHAPE.0 * SHAPE.1).map(|pixel| {
            let (y, x) = ((pixel / SHAPE.1) as f64 - row, (pixel % SHAPE.1) as f64 - column);
            (2.0 * y).hypot(x) <= radius
        }))
    }

    fn dice(a: &Runs, b: &Runs) -> f64 {
        2.0 * a.intersection(b).count() as f64 / (a.count() + b.count()) as f64
    }

    #[test]
    fn a_cone_is_cut_into_discs() {
        let (small, large) = (disc(40.0, 50.0, 10.0), disc(40.0, 50.0, 30.0));
        let slices = [(0.0, Some(&small)), (1.0, None), (4.0, None), (5.0, Some(&large))];
        let made = interpolate(&slices, SHAPE, (2.0, 1.0));
        assert_eq!(made.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2]);
        // By depth, not by number: a fifth and four fifths of the way.
        for ((_, region), radius) in made.iter().zip([14.0, 26.0]) {
            assert!(dice(region, &disc(40.0, 50.0, radius)) > 0.97, "{radius}");
        }
        let blend = Blend::new(&small, &large, SHAPE, (2.0, 1.0)).expect("both are painted");
        assert_eq!((blend.at(0.0), blend.at(1.0)), (small, large));
    }

    #[test]
    fn regions_apart_move_from_one_to_the_other() {
        let (here, there) = (disc(15.0, 20.0, 8.0), disc(60.0, 80.0, 8.0));
        assert!(here.intersection(&there).is_empty());
        let middle = Blend::new(&here, &there, SHAPE, (2.0, 1.0)).expect("both are painted").at(0.5);
        assert!(dice(&middle, &disc(37.5, 50.0, 8.0)) > 0.85, "{}", dice(&middle, &disc(37.5, 50.0, 8.0)));
    }

    #[test]
    fn nothing_is_made_beyond_or_beside_what_is_painted() {
        let region = disc(40.0, 50.0, 10.0);
        let rim = disc(0.0, 0.0, 10.0);
        assert!(interpolate(&[(0.0, None), (1.0, Some(&region)), (2.0, None)], SHAPE, (2.0, 1.0)).is_empty());
        assert!(interpolate(&[(0.0, Some(&region)), (1.0, Some(&region))], SHAPE, (2.0, 1.0)).is_empty());
        let made = interpolate(&[(0.0, Some(&rim)), (1.0, None), (2.0, Some(&rim))], SHAPE, (2.0, 1.0));
        assert_eq!(made, [(1, rim)], "at the rim of the frame too");
    }
}
