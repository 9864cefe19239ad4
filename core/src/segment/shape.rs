//! Changes of a region by its shape alone.

use ndarray::{Array2, Zip};

use super::connected;
use crate::measure::Runs;

/// The region with its holes: what is not joined to the rim of the frame, over sides, belongs to it.
pub fn fill_holes(region: &Runs, shape: (usize, usize)) -> Runs {
    let (rows, columns) = shape;
    let Some([top, left, bottom, right]) = region.bounds(columns).filter(|_| rows > 0) else { return Runs::default() };
    // A frame of one pixel around the region joins everything outside of it.
    let mask = region.to_mask(shape);
    let size = (bottom - top + 3, right - left + 3);
    let inside = |row: usize, column: usize| {
        let at = ((top + row).checked_sub(1), (left + column).checked_sub(1));
        matches!(at, (Some(r), Some(c)) if mask.get((r, c)).is_some_and(|v| *v == 1))
    };
    let outside = connected((0, 0), size, |row, column| !inside(row, column)).to_mask(size);
    Runs::new(
        (1..size.0 - 1)
            .flat_map(|row| (1..size.1 - 1).map(move |column| (row, column)))
            .filter(|at| outside[*at] == 0)
            .map(|(row, column)| (((top + row - 1) * columns + left + column - 1) as u32, 1))
            .collect(),
    )
}

/// The region with a smoother rim: where a Gaussian of `radius` (standard deviation; rows and columns, pixels) over it exceeds one
/// half. Keeps straight rims where they are; spurs and notches narrower than the radius go.
pub fn smooth(region: &Runs, shape: (usize, usize), radius: (f64, f64)) -> Runs {
    let (rows, columns) = shape;
    let Some([top, left, bottom, right]) = region.bounds(columns).filter(|_| rows > 0) else { return Runs::default() };
    let reach = |radius: f64| (3.0 * radius).ceil().max(1.0) as usize;
    let (down, across) = (reach(radius.0), reach(radius.1));
    let (top, left) = (top.saturating_sub(down), left.saturating_sub(across));
    let (bottom, right) = ((bottom + down).min(rows - 1), (right + across).min(columns - 1));
    let mask = region.to_mask(shape);
    let part = mask.slice(ndarray::s![top..=bottom, left..=right]).mapv(f32::from);
    let along_rows = blurred(&part, radius.1);
    let both = blurred(&along_rows.reversed_axes(), radius.0).reversed_axes();
    let kept = both.indexed_iter().filter(|(_, share)| **share > 0.5);
    Runs::new(kept.map(|((row, column), _)| (((top + row) * columns + left + column) as u32, 1)).collect())
}

/// A Gaussian along each row; beyond the rim the image goes on as it ends.
fn blurred(image: &Array2<f32>, radius: f64) -> Array2<f32> {
    let reach = (3.0 * radius).ceil().max(0.0) as isize;
    let weight = |step: isize| (-0.5 * (step as f64 / radius.max(1e-6)).powi(2)).exp() as f32;
    let weights: Vec<f32> = (-reach..=reach).map(weight).collect();
    let total: f32 = weights.iter().sum();
    let mut result = Array2::zeros(image.dim());
    Zip::from(result.rows_mut()).and(image.rows()).par_for_each(|mut to, from| {
        let last = from.len() as isize - 1;
        for (column, value) in to.iter_mut().enumerate() {
            let taps = weights.iter().zip(-reach..);
            let sum = taps.map(|(w, step)| w * from[(column as isize + step).clamp(0, last) as usize]).sum::<f32>();
            *value = sum / total;
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(outer: i32, inner: i32) -> Runs {
        Runs::of_flags((0..40 * 50).map(|pixel| {
            let (y, x) = (pixel / 50 - 20, pixel % 50 - 25);
            (inner * inner..=outer * outer).contains(&(y * y + x * x))
        }))
    }

    #[test]
    fn holes_are_filled_and_bays_are_not() {
        assert_eq!(fill_holes(&ring(12, 6), (40, 50)), ring(12, 0));
        let cut = ring(12, 6).filtered(|pixel| !(pixel / 50 == 20 && pixel % 50 > 25));
        assert_eq!(fill_holes(&cut, (40, 50)), cut, "open to one side, it is no hole");
        assert!(fill_holes(&Runs::default(), (40, 50)).is_empty());
        let all = Runs::new(vec![(0, 2000)]);
        assert_eq!(fill_holes(&all, (40, 50)), all);
    }

    #[test]
    fn smoothing_takes_spurs_and_keeps_straight_rims() {
        let half = Runs::of_flags((0..2000).map(|pixel| pixel % 50 < 25));
        assert_eq!(smooth(&half, (40, 50), (1.5, 1.5)), half);
        let disc = ring(12, 0);
        let spur = disc.union(&Runs::new((0..6).map(|row| (row * 50 + 25, 1)).collect()));
        let smooth_disc = smooth(&spur, (40, 50), (1.5, 1.5));
        assert!(!smooth_disc.contains(25) && !smooth_disc.contains(3 * 50 + 25));
        let common = smooth_disc.intersection(&disc).count() as f64;
        assert!(2.0 * common / (smooth_disc.count() + disc.count()) as f64 > 0.97);
        assert!(smooth(&Runs::new(vec![(1020, 1)]), (40, 50), (1.5, 1.5)).is_empty());
    }
}
