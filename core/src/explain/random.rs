//! Random maps as smooth as a given one: what an explanation must beat.

use ndarray::{Array2, ArrayView2};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Widths of the blur, cells, that random maps are made with. Maps of nearly equal smoothness share their random maps.
const WIDTHS: [f32; 7] = [0.0, 0.6, 0.9, 1.3, 1.9, 2.8, 4.0];

/// Correlation of neighbouring cells of white noise that was blurred by a Gaussian of that width.
fn correlation_of(width: f32) -> f32 {
    if width > 0.0 { (-0.25 / (width * width)).exp() } else { 0.0 }
}

/// Ranks of the values, 0 for the lowest; equal values share their mean rank.
pub(super) fn ranks(values: &[f32]) -> Vec<f32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        group.iter().for_each(|at| ranks[*at] = before as f32 + (group.len() - 1) as f32 / 2.0);
        before += group.len();
    }
    ranks
}

/// Correlation of two samples (Pearson); 0 where one of them is constant.
pub(super) fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
    let (ma, mb) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (f64::from(x - ma), f64::from(y - mb));
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    if aa > 0.0 && bb > 0.0 { (ab / (aa * bb).sqrt()) as f32 } else { 0.0 }
}

/// Index of the width of blur whose random maps are as smooth as `map`: correlation of the ranks of neighbouring cells.
pub(super) fn smoothness(map: ArrayView2<'_, f32>) -> usize {
    let (rows, columns) = map.dim();
    let flat: Vec<f32> = map.iter().copied().collect();
    let ranks = ranks(&flat);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for row in 0..rows {
        for column in 0..columns {
            let at = row * columns + column;
            if column + 1 < columns {
                first.push(ranks[at]);
                second.push(ranks[at + 1]);
            }
            if row + 1 < rows {
                first.push(ranks[at]);
                second.push(ranks[at + columns]);
            }
        }
    }
    let found = correlation(&first, &second);
    let distance = |width: &f32| (correlation_of(*width) - found).abs();
    let nearest = WIDTHS.iter().enumerate().min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
    nearest.map_or(0, |(index, _)| index)
}

/// Random map number `index` of `shape`: normal noise, blurred. A map and its negative are equally likely.
pub(super) fn random_map(shape: (usize, usize), smoothness: usize, index: usize) -> Array2<f32> {
    let width = WIDTHS.get(smoothness).copied().unwrap_or(0.0);
    let mut random = ChaCha8Rng::seed_from_u64((smoothness as u64) << 32 | index as u64);
    let mut normal = || {
        let u = random.random::<f32>().max(1e-7);
        (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * random.random::<f32>()).cos()
    };
    // Noise reaches beyond the map, so that the blur knows no edge.
    let margin = (3.0 * width).ceil() as usize;
    let noise = Array2::from_shape_simple_fn((shape.0 + 2 * margin, shape.1 + 2 * margin), &mut normal);
    blur(&noise, width).slice(ndarray::s![margin..margin + shape.0, margin..margin + shape.1]).to_owned()
}

/// Gaussian blur of `width` (standard deviation, cells), edges extended.
pub(super) fn blur(image: &Array2<f32>, width: f32) -> Array2<f32> {
    if width <= 0.0 || image.is_empty() {
        return image.clone();
    }
    let reach = (3.0 * width).ceil() as i64;
    let mut kernel: Vec<f32> = (-reach..=reach).map(|x| (-0.5 * (x as f32 / width).powi(2)).exp()).collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|v| *v /= sum);
    let along_rows = |image: &Array2<f32>| {
        let mut out = Array2::zeros(image.dim());
        let last = image.ncols() as i64 - 1;
        for (mut to, from) in out.rows_mut().into_iter().zip(image.rows()) {
            for (x, value) in to.iter_mut().enumerate() {
                let tap =
                    |(k, weight): (usize, &f32)| weight * from[(x as i64 + k as i64 - reach).clamp(0, last) as usize];
                *value = kernel.iter().enumerate().map(tap).sum::<f32>();
            }
        }
        out
    };
    let rows = along_rows(image);
    let columns = along_rows(&rows.t().as_standard_layout().to_owned());
    columns.t().as_standard_layout().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_maps_are_as_smooth_as_asked_and_repeat() {
        for wanted in 0..WIDTHS.len() - 1 {
            // The mean over several: one map of 16 x 16 cells alone says little.
            let found: f32 =
                (0..24).map(|index| smoothness(random_map((16, 16), wanted, index).view()) as f32).sum::<f32>() / 24.0;
            assert!((found - wanted as f32).abs() < 0.8, "{wanted}: {found}");
        }
        assert_eq!(random_map((4, 5), 2, 7), random_map((4, 5), 2, 7));
        assert_ne!(random_map((4, 5), 2, 7), random_map((4, 5), 2, 8));
    }

    #[test]
    fn ranks_share_ties_and_correlation_has_its_ends() {
        assert_eq!(ranks(&[3.0, 1.0, 1.0, 7.0]), [2.0, 0.5, 0.5, 3.0]);
        assert!((correlation(&[1.0, 2.0, 4.0], &[2.0, 4.0, 8.0]) - 1.0).abs() < 1e-6);
        assert!((correlation(&[1.0, 2.0], &[2.0, 1.0]) + 1.0).abs() < 1e-6);
        assert_eq!(correlation(&[1.0, 1.0], &[2.0, 1.0]), 0.0);
    }

    #[test]
    fn blur_keeps_the_mean_of_an_even_image() {
        let even = Array2::from_elem((5, 9), 2.5);
        assert!(blur(&even, 1.7).iter().all(|v| (v - 2.5).abs() < 1e-5));
        let mut point = Array2::zeros((21, 21));
        point[[10, 10]] = 1.0;
        let blurred = blur(&point, 2.0);
        assert!((blurred.sum() - 1.0).abs() < 1e-3 && blurred[[10, 10]] < 0.05);
        assert!((blurred[[10, 14]] - blurred[[14, 10]]).abs() < 1e-6);
    }
}
