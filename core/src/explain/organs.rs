//! What share of an attention map falls on an organ.

use ndarray::{Array2, ArrayView2};

/// Mean of `mask` (0 to 1, `[row, column]` on the network's square input) over the cells of a `grid` of tokens: how much of each
/// token the organ covers.
pub fn coverage(mask: ArrayView2<'_, f32>, grid: (usize, usize)) -> Array2<f32> {
    let (rows, cols) = mask.dim();
    let mut sums = Array2::<f32>::zeros(grid);
    let mut counts = Array2::<f32>::zeros(grid);
    for ((row, col), value) in mask.indexed_iter() {
        let cell = [row * grid.0 / rows, col * grid.1 / cols];
        sums[cell] += value;
        counts[cell] += 1.0;
    }
    sums / counts.mapv(|count| count.max(1.0))
}

/// Share of `attention` on an organ, and its enrichment: with m the organ's coverage of each token and R the attention,
/// share = Σ m R / Σ R, enrichment = share / (Σ m / number of tokens). Both are 0 where they are undefined.
pub fn organ_attention(attention: ArrayView2<'_, f32>, coverage: ArrayView2<'_, f32>) -> (f32, f32) {
    let total = attention.sum();
    let area = coverage.sum() / coverage.len().max(1) as f32;
    if total <= 0.0 || area <= 0.0 {
        return (0.0, 0.0);
    }
    let share = attention.iter().zip(coverage).map(|(a, m)| a * m).sum::<f32>() / total;
    (share, share / area)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::{coverage, organ_attention};

    #[test]
    fn coverage_is_the_mean_of_cells() {
        let mask = Array2::from_shape_fn((8, 8), |(row, col)| f32::from(u8::from(row < 4 && col < 2)));
        assert_eq!(coverage(mask.view(), (2, 2)), array![[0.5, 0.0], [0.0, 0.0]]);
    }

    #[test]
    fn an_even_map_has_enrichment_one() {
        let organ = array![[1.0, 0.5], [0.0, 0.0]];
        let (share, enrichment) = organ_attention(array![[0.25, 0.25], [0.25, 0.25]].view(), organ.view());
        assert!((share - 0.375).abs() < 1e-6 && (enrichment - 1.0).abs() < 1e-6);
        let (share, enrichment) = organ_attention(array![[1.0, 0.0], [0.0, 0.0]].view(), organ.view());
        assert!((share - 1.0).abs() < 1e-6 && (enrichment - 8.0 / 3.0).abs() < 1e-5);
        assert_eq!(organ_attention(Array2::zeros((2, 2)).view(), organ.view()), (0.0, 0.0));
    }
}
