//! Masks that follow the tissue under a click, by the features of a network's local stages.
//!
//! Every place of the image has a vector of features of the ResNet's stages, standardised over the image. What lies close in angle
//! to the vectors around a click is tissue of its kind; a guided filter (He, Sun and Tang, 2013) brings that likeness onto the edges of the
//! intensities, and what is joined to the click is the mask. No head of the network is asked and no class is assumed.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis, Zip, s};
use rayon::prelude::*;

use super::{connected, fill_holes};
use crate::measure::{Pixel, Runs};
use crate::study::{Affine, warp};

/// Cells of the feature grid for each pixel of the network's input, to each side.
const CELLS: f32 = 0.5;
/// Weight of the stages, finest first; of more stages the last weight goes on. Tuned on training patients, see docs/annotation.md.
const STAGE_WEIGHTS: [f32; 3] = [0.5, 1.0, 2.0];
/// Radius of the disc around a click that its features are the mean of, cells; of a click that takes away, smaller.
const RADIUS: (f32, f32) = (6.0, 3.0);
/// So much more (cosine) must a place be like a positive stroke than like a negative one: of equals the negative one has its way.
const MARGIN: f32 = 0.03;
/// Radius (pixels of the network's input) and regularisation (intensities 0 to 1, squared) of the guided filter.
const GUIDED: (usize, f32) = (6, 1e-3);

/// Features of every place of one image.
#[derive(Debug, Clone)]
pub struct LocalFeatures {
    /// Unit vectors, `[channel, row, column]`, on a grid over the network's square input.
    vectors: Array3<f32>,
    /// Intensities of the input, 0 to 1.
    guide: Array2<f32>,
    input_from_image: Affine,
    shape: (usize, usize),
}

/// Places that a mask is made from: (row, column) on the image. Each stroke is a click, or the path of a scribble.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Strokes {
    /// On the tissue.
    pub positive: Vec<Vec<Pixel>>,
    /// On what is not meant.
    pub negative: Vec<Vec<Pixel>>,
}

impl LocalFeatures {
    /// From the maps of a network's local stages, `[channel, row, column]`, finest first, of the square input `guide` (intensities 0 to 1) that lies
    /// over an image of `shape` as `image_from_input` says. `None` where there is no stage, or the image is empty.
    pub fn new(
        stages: &[Array3<f32>],
        guide: Array2<f32>,
        image_from_input: &Affine,
        shape: (usize, usize),
    ) -> Option<Self> {
        let input_from_image = image_from_input.inverse()?;
        let size = (guide.nrows() as f32 * CELLS) as usize;
        let channels: usize = stages.iter().map(|stage| stage.len_of(Axis(0))).sum();
        if channels == 0 || size == 0 || shape.0 == 0 || shape.1 == 0 {
            return None;
        }
        // Statistics are those of the image alone: what lies beside it in the square is no tissue.
        let corner = |at: (f32, f32)| {
            let (row, column) = input_from_image.apply(at);
            (row * CELLS, column * CELLS)
        };
        let (first, last) = (corner((0.0, 0.0)), corner((shape.0 as f32 - 1.0, shape.1 as f32 - 1.0)));
        let range = |low: f32, high: f32| {
            let low = (low.max(0.0) as usize).min(size - 1);
            low..(high.max(0.0) as usize + 1).clamp(low + 1, size)
        };
        let (rows, columns) = (range(first.0, last.0), range(first.1, last.1));
        let mut vectors = Array3::zeros((channels, size, size));
        let mut next = 0;
        for (index, stage) in stages.iter().enumerate() {
            let (count, from_rows, _) = stage.dim();
            let weight = STAGE_WEIGHTS.get(index).or(STAGE_WEIGHTS.last()).copied().unwrap_or(1.0);
            let scale = from_rows as f32 / size as f32;
            let stage_from_grid = Affine { linear: [[scale, 0.0], [0.0, scale]], offset: [0.5 * scale - 0.5; 2] };
            let mut part = vectors.slice_mut(s![next..next + count, .., ..]);
            Zip::from(part.outer_iter_mut()).and(stage.outer_iter()).par_for_each(|mut to, from| {
                let fine = warp(from, &stage_from_grid, (size, size), 0.0);
                let inside = fine.slice(s![rows.clone(), columns.clone()]);
                let (mean, deviation) = (inside.mean().unwrap_or(0.0), inside.std(0.0));
                let factor = (weight / count as f32).sqrt() / (deviation + 1e-4);
                to.assign(&fine.mapv(|v| (v - mean) * factor));
            });
            next += count;
        }
        let lengths = vectors.map_axis(Axis(0), |vector| vector.dot(&vector).sqrt() + 1e-6);
        vectors.outer_iter_mut().into_par_iter().for_each(|mut channel| channel /= &lengths);
        Some(Self { vectors, guide, input_from_image, shape })
    }

    /// The mask of some strokes: what is more like a positive stroke than `likeness` (cosine, -1 to 1) and than any negative one, and joined to a
    /// positive stroke. Empty where no stroke lies on the image.
    pub fn mask(&self, strokes: &Strokes, likeness: f32) -> Runs {
        let nearest = |strokes: &[Vec<Pixel>], radius: f32| -> Option<Array2<f32>> {
            let all = strokes.iter().filter_map(|stroke| self.likeness(stroke, radius));
            all.reduce(|mut best, other| {
                best.zip_mut_with(&other, |a, b| *a = a.max(*b));
                best
            })
        };
        let Some(mut score) = nearest(&strokes.positive, RADIUS.0) else { return Runs::default() };
        match nearest(&strokes.negative, RADIUS.1) {
            Some(other) => score.zip_mut_with(&other, |a, b| *a = (*a - likeness).min(*a - *b - MARGIN)),
            None => score -= likeness,
        }
        let side = self.guide.dim();
        let grid_from_input = Affine { linear: [[CELLS, 0.0], [0.0, CELLS]], offset: [0.5 * CELLS - 0.5; 2] };
        let fine = warp(score.view(), &grid_from_input, side, -1.0);
        let fine = guided(self.guide.view(), fine.view(), GUIDED.0, GUIDED.1);
        let image = warp(fine.view(), &self.input_from_image, self.shape, -1.0);
        let mut mask = Runs::default();
        for at in strokes.positive.iter().flatten() {
            let Some(seed) = pixel(*at, self.shape) else { continue };
            if !mask.contains((seed.0 * self.shape.1 + seed.1) as u32) {
                mask = mask.union(&connected(seed, self.shape, |row, column| image[[row, column]] >= 0.0));
            }
        }
        // With a stroke against something, a hole may be what was asked for.
        if strokes.negative.is_empty() { fill_holes(&mask, self.shape) } else { mask }
    }

    /// Cosine of every vector with the mean of those around a stroke; `None` where it lies outside the image.
    fn likeness(&self, stroke: &[Pixel], radius: f32) -> Option<Array2<f32>> {
        let (channels, rows, columns) = self.vectors.dim();
        let mut prototype = vec![0.0_f32; channels];
        let mut seen = Array2::from_elem((rows, columns), false);
        for at in stroke.iter().filter(|at| pixel(**at, self.shape).is_some()) {
            let (row, column) = self.input_from_image.apply((at.0 as f32, at.1 as f32));
            let (row, column) = (row * CELLS, column * CELLS);
            let range = |middle: f32, count: usize| {
                let low = (middle - radius).max(0.0) as usize;
                low..((middle + radius).max(0.0) as usize + 1).min(count)
            };
            for r in range(row, rows) {
                for c in range(column, columns) {
                    if (r as f32 - row).hypot(c as f32 - column) <= radius {
                        seen[[r, c]] = true;
                    }
                }
            }
        }
        let cells: Vec<(usize, usize)> = seen.indexed_iter().filter(|(_, seen)| **seen).map(|(at, _)| at).collect();
        if cells.is_empty() {
            return None;
        }
        for (sum, channel) in prototype.iter_mut().zip(self.vectors.outer_iter()) {
            *sum = cells.iter().map(|at| channel[*at]).sum();
        }
        let length = prototype.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
        Some(weighted_sum(self.vectors.view(), &prototype) / length)
    }
}

/// The pixel at a place, where the image has one.
fn pixel((row, column): Pixel, (rows, columns): (usize, usize)) -> Option<(usize, usize)> {
    let (row, column) = (row.round(), column.round());
    let inside = row >= 0.0 && column >= 0.0 && row < rows as f64 && column < columns as f64;
    inside.then_some((row as usize, column as usize))
}

fn weighted_sum(maps: ArrayView3<'_, f32>, weights: &[f32]) -> Array2<f32> {
    let mut sum = Array2::zeros((maps.len_of(Axis(1)), maps.len_of(Axis(2))));
    for (map, weight) in maps.outer_iter().zip(weights) {
        sum.scaled_add(*weight, &map);
    }
    sum
}

/// Guided filter: `values` as a locally linear function of `guide`, so that their edges fall on its edges.
fn guided(guide: ArrayView2<'_, f32>, values: ArrayView2<'_, f32>, radius: usize, regularisation: f32) -> Array2<f32> {
    let mean = |image: &Array2<f32>| box_mean(image.view(), radius);
    let (mean_guide, mean_values) = (box_mean(guide, radius), box_mean(values, radius));
    let (product, square) = (mean(&(&guide * &values)), mean(&(&guide * &guide)));
    let mut slope = product - &mean_guide * &mean_values;
    Zip::from(&mut slope)
        .and(&square)
        .and(&mean_guide)
        .for_each(|slope, square, mean| *slope /= (square - mean * mean).max(0.0) + regularisation);
    let offset = mean_values - &slope * &mean_guide;
    mean(&slope) * guide + mean(&offset)
}

/// Mean over the square of `radius` pixels around each pixel, as much of it as lies on the image; by running sums.
fn box_mean(image: ArrayView2<'_, f32>, radius: usize) -> Array2<f32> {
    let along_rows = |image: ArrayView2<'_, f32>| {
        let mut result = Array2::zeros(image.dim());
        Zip::from(result.rows_mut()).and(image.rows()).for_each(|mut to, from| {
            let mut sums = Vec::with_capacity(from.len() + 1);
            sums.push(0.0_f64);
            for value in from {
                sums.push(sums.last().copied().unwrap_or(0.0) + f64::from(*value));
            }
            for (at, value) in to.iter_mut().enumerate() {
                let (low, high) = (at.saturating_sub(radius), (at + radius + 1).min(from.len()));
                *value = ((sums[high] - sums[low]) / (high - low) as f64) as f32;
            }
        });
        result
    };
    let rows = along_rows(image);
    along_rows(rows.t()).reversed_axes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::letterbox;

    /// Features of an image of 100 by 80 pixels whose left half is one tissue and whose right half another, told apart by one of three
    /// channels; intensities have the same edge, a little off the grid.
    fn halves() -> LocalFeatures {
        let shape = (100, 80);
        let image_from_input = letterbox(shape.0, shape.1, 64);
        let left = |row: usize, column: usize, scale: f32| {
            let place = |at: usize| (at as f32 + 0.5) * scale - 0.5;
            image_from_input.apply((place(row), place(column))).1 < 33.0
        };
        let stage =
            Array3::from_shape_fn((3, 16, 16), |(channel, row, column)| match (channel, left(row, column, 4.0)) {
                (0, true) | (1, false) => 1.0,
                (2, _) => ((row * 7 + column * 3) % 5) as f32 * 0.02,
                _ => 0.0,
            });
        let guide = Array2::from_shape_fn((64, 64), |(row, column)| f32::from(u8::from(left(row, column, 1.0))));
        LocalFeatures::new(&[stage], guide, &image_from_input, shape).expect("features")
    }

    fn click(at: Pixel) -> Vec<Vec<Pixel>> {
        vec![vec![at]]
    }

    #[test]
    fn a_click_takes_the_tissue_under_it_up_to_the_edge() {
        let features = halves();
        let strokes = Strokes { positive: click((50.0, 12.0)), negative: Vec::new() };
        let mask = features.mask(&strokes, 0.1);
        let expected = Runs::of_flags((0..8000).map(|pixel| pixel % 80 < 33));
        let common = mask.intersection(&expected).count();
        let dice = 2.0 * common as f64 / (mask.count() + expected.count()) as f64;
        assert!(dice > 0.95, "{dice}");
    }

    #[test]
    fn a_second_click_adds_and_a_negative_one_takes_away() {
        let features = halves();
        let both = Strokes { positive: vec![vec![(50.0, 12.0)], vec![(50.0, 70.0)]], negative: Vec::new() };
        assert!(features.mask(&both, 0.1).count() > 7800);
        let less = Strokes { positive: both.positive, negative: click((50.0, 70.0)) };
        let mask = features.mask(&less, 0.1);
        assert!(!mask.contains(50 * 80 + 75) && mask.contains(50 * 80 + 10), "{}", mask.count());
    }

    #[test]
    fn nothing_comes_of_nothing() {
        let features = halves();
        assert!(features.mask(&Strokes::default(), 0.1).is_empty());
        let outside = Strokes { positive: click((-20.0, 500.0)), negative: Vec::new() };
        assert!(features.mask(&outside, 0.1).is_empty());
        assert!(LocalFeatures::new(&[], Array2::zeros((8, 8)), &Affine::IDENTITY, (8, 8)).is_none());
    }

    #[test]
    fn the_filter_keeps_constants_and_follows_edges() {
        let guide = Array2::from_shape_fn((20, 20), |(_, column)| f32::from(u8::from(column >= 10)));
        let flat = guided(guide.view(), Array2::from_elem((20, 20), 0.3).view(), 3, 1e-3);
        assert!(flat.iter().all(|v| (v - 0.3).abs() < 1e-5));
        // A slope across the edge becomes a step at it.
        let slope = Array2::from_shape_fn((20, 20), |(_, column)| (column as f32 - 9.5) / 4.0);
        let step = guided(guide.view(), slope.view(), 3, 1e-3);
        assert!(step[[10, 9]] < -0.1 && step[[10, 10]] > 0.1, "{} {}", step[[10, 9]], step[[10, 10]]);
    }
}
