//! Random smooth fields and blurs, shared by augmentation and simulation.

use ndarray::Array2;
use rand::{Rng, RngExt};

/// A normal deviate of mean 0 and standard deviation 1 (Box and Muller, 1958).
pub(super) fn normal(rng: &mut impl Rng) -> f32 {
    let u: f32 = rng.random_range(f32::MIN_POSITIVE..1.0);
    let v: f32 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

/// Uniform within the range, also where it is empty or turned round.
pub(super) fn uniform(rng: &mut impl Rng, from: f32, to: f32) -> f32 {
    from + (to - from) * rng.random::<f32>()
}

/// Uniform in the logarithm; both ends must be positive, else `from`.
pub(super) fn log_uniform(rng: &mut impl Rng, from: f32, to: f32) -> f32 {
    if from > 0.0 && to > 0.0 { uniform(rng, from.ln(), to.ln()).exp() } else { from }
}

/// True with probability `p`, which is clamped to 0 to 1.
pub(super) fn chance(rng: &mut impl Rng, p: f32) -> bool {
    rng.random::<f32>() < p
}

/// Value noise: normal deviates `cell` pixels apart, interpolated smoothly; about mean 0, standard deviation 0.5 to 1.
pub(super) fn value_noise(rows: usize, columns: usize, cell: f32, rng: &mut impl Rng) -> Array2<f32> {
    let cell = cell.max(1.0);
    let (grid_rows, grid_columns) = ((rows as f32 / cell) as usize + 2, (columns as f32 / cell) as usize + 2);
    let knots = Array2::from_shape_simple_fn((grid_rows, grid_columns), || normal(rng));
    let smooth = |f: f32| f * f * (3.0 - 2.0 * f);
    let at: Vec<(usize, f32)> = (0..columns)
        .map(|column| {
            let position = column as f32 / cell;
            let first = (position as usize).min(grid_columns - 2);
            (first, smooth(position - first as f32))
        })
        .collect();
    let mut field = Array2::zeros((rows, columns));
    let mut line = vec![0.0f32; grid_columns];
    for (row, mut out) in field.rows_mut().into_iter().enumerate() {
        let position = row as f32 / cell;
        let first = (position as usize).min(grid_rows - 2);
        let f = smooth(position - first as f32);
        for (column, value) in line.iter_mut().enumerate() {
            *value = knots[[first, column]] + f * (knots[[first + 1, column]] - knots[[first, column]]);
        }
        for (value, (knot, f)) in out.iter_mut().zip(&at) {
            *value = line[*knot] + f * (line[knot + 1] - line[*knot]);
        }
    }
    field
}

/// Octaves of [`value_noise`], each half as wide and half as strong.
pub(super) fn fractal_noise(rows: usize, columns: usize, cell: f32, octaves: usize, rng: &mut impl Rng) -> Array2<f32> {
    let mut field = Array2::zeros((rows, columns));
    let (mut cell, mut weight) = (cell, 1.0f32);
    for _ in 0..octaves {
        field.scaled_add(weight, &value_noise(rows, columns, cell, rng));
        (cell, weight) = (cell / 2.0, weight / 2.0);
    }
    field
}

/// Gaussian blur of standard deviation `sigma` pixels, by two passes of a sampled kernel; borders repeat.
pub(super) fn blur(image: &Array2<f32>, sigma: f32) -> Array2<f32> {
    if sigma.is_nan() || sigma <= 0.05 || image.is_empty() {
        return image.clone();
    }
    let radius = ((sigma * 2.5).ceil() as usize).clamp(1, 64);
    let half: Vec<f32> = (0..=radius).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let total = half[0] + 2.0 * half[1..].iter().sum::<f32>();
    let kernel: Vec<f32> = half[1..].iter().rev().chain(&half).map(|weight| weight / total).collect();
    let (rows, columns) = image.dim();
    let mut across = Array2::<f32>::zeros((rows, columns));
    let mut padded = vec![0.0f32; columns + 2 * radius];
    for (input, mut output) in image.rows().into_iter().zip(across.rows_mut()) {
        for (index, value) in padded.iter_mut().enumerate() {
            *value = input[index.saturating_sub(radius).min(columns - 1)];
        }
        for (offset, weight) in kernel.iter().enumerate() {
            for (value, source) in output.iter_mut().zip(&padded[offset..]) {
                *value += weight * source;
            }
        }
    }
    let mut down = Array2::<f32>::zeros((rows, columns));
    for (row, mut output) in down.rows_mut().into_iter().enumerate() {
        for (offset, weight) in kernel.iter().enumerate() {
            let source = (row + offset).saturating_sub(radius).min(rows - 1);
            output.scaled_add(*weight, &across.row(source));
        }
    }
    down
}

/// The value below which the share `q` (0 to 1) of `values` lies; `None` where there are none. Sorts a copy.
pub(super) fn quantile(values: impl Iterator<Item = f32>, q: f32) -> Option<f32> {
    let mut values: Vec<f32> = values.collect();
    let index = ((values.len() as f32 * q) as usize).min(values.len().checked_sub(1)?);
    let (_, value, _) = values.select_nth_unstable_by(index, f32::total_cmp);
    Some(*value)
}

/// 0 below `from`, 1 above `to`, smooth between.
pub(super) fn smoothstep(from: f32, to: f32, value: f32) -> f32 {
    let f = ((value - from) / (to - from).max(1e-6)).clamp(0.0, 1.0);
    f * f * (3.0 - 2.0 * f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn blur_keeps_the_mean_and_spreads_as_asked() {
        let mut image = Array2::<f32>::zeros((41, 41));
        image[[20, 20]] = 1.0;
        let blurred = blur(&image, 2.0);
        assert!((blurred.sum() - 1.0).abs() < 1e-4);
        let variance: f32 = blurred.indexed_iter().map(|((r, _), v)| v * (r as f32 - 20.0).powi(2)).sum();
        assert!((variance - 4.0).abs() < 0.4, "{variance}");
        assert_eq!(blur(&image, 0.0), image);
        let flat = Array2::from_elem((3, 90), 0.5f32);
        assert!(blur(&flat, 9.0).iter().all(|v| (v - 0.5).abs() < 1e-5));
    }

    #[test]
    fn noise_has_no_drift_and_no_jumps() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let field = value_noise(200, 300, 10.0, &mut rng);
        assert!(field.mean().expect("not empty").abs() < 0.15);
        let jump = field
            .rows()
            .into_iter()
            .flat_map(|row| row.windows(2).into_iter().map(|w| (w[1] - w[0]).abs()).collect::<Vec<_>>())
            .fold(0.0f32, f32::max);
        assert!(jump < 1.0, "{jump}");
    }

    #[test]
    fn quantiles() {
        assert_eq!(quantile([3.0, 1.0, 2.0, 4.0].into_iter(), 0.5), Some(3.0));
        assert_eq!(quantile([3.0, 1.0].into_iter(), 1.0), Some(3.0));
        assert_eq!(quantile(std::iter::empty(), 0.5), None);
    }
}
