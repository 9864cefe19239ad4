//! One forward pass over an image, with maps in the size of the image.

use candle_core::{Device, Result, Tensor};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::findings::regions;
use crate::model::{Bundle, Detection, ModelInput, NetworkImage, Output, Request};
use crate::nn::{BoundingBox, sigmoid};
use crate::study::Affine;

/// What the network says of one image.
pub struct Inference {
    /// The input, and how it lies over the image.
    pub input: ModelInput,
    /// The same as a tensor, (1, channel, side, side).
    pub tensor: Tensor,
    /// Raw output.
    pub output: Output,
    /// Probability of each lesion class, `[row, column]` of the image.
    pub lesion_maps: Vec<Array2<f32>>,
    /// Probability of each organ, `[row, column]` of the image.
    pub organ_maps: Vec<Array2<f32>>,
    /// Image-level logit of each lesion class.
    pub class_logits: Vec<f32>,
    /// Boxes that the detector has found, highest score first, in pixels of the image; `None` where there is no detector.
    pub boxes: Option<Vec<Detection>>,
}

/// Runs `bundle` on `image`, and on its mirror image where the bundle says so; a detector sees the
/// image as it is.
pub fn infer(bundle: &Bundle, image: &NetworkImage, attention: bool) -> Result<Inference> {
    let size = bundle.metadata.config.input_size;
    let input = image.input(size);
    let tensor = input.tensor(&bundle.device)?;
    let output = bundle.network.forward(&tensor, &Request { attention, ..Request::default() })?;
    let mut lesions = grids(&output.lesion_logits)?;
    let mut organs = grids(&output.organ_logits)?;
    let mut class_logits = output.class_logits.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    if bundle.metadata.average_mirror_image {
        let mirror = mirror_image(&tensor)?;
        let mirrored = bundle.network.predict(&mirror)?;
        average_with_mirror(&mut lesions, &grids(&mirrored.lesion_logits)?);
        let logits = mirrored.class_logits.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        class_logits.iter_mut().zip(logits).for_each(|(a, b)| *a = (*a + b) / 2.0);
    }
    let boxes = match bundle.network.detector() {
        Some(detector) => {
            let found = detector.detect(&output.features)?.into_iter().next().unwrap_or_default();
            Some(found.iter().filter_map(|d| box_on_image(d, &input.image_from_input, image.dim())).collect())
        }
        None => None,
    };
    organs.iter_mut().for_each(keep_largest_region);
    let on_image = |grids: Vec<Array2<f32>>| {
        let map = |grid: Array2<f32>| to_image(grid.view(), &input.image_from_input, size, image.dim()).mapv(sigmoid);
        grids.into_iter().map(map).collect()
    };
    let (lesion_maps, organ_maps) = (on_image(lesions), on_image(organs));
    Ok(Inference { input, tensor, output, lesion_maps, organ_maps, class_logits, boxes })
}

/// Columns the other way round.
pub(super) fn mirror_image(tensor: &Tensor) -> Result<Tensor> {
    let side: Vec<u32> = (0..tensor.dim(3)? as u32).rev().collect();
    tensor.index_select(&Tensor::new(side, tensor.device())?, 3)
}

/// A box of the letterboxed input on an image of (rows, columns); `None` where it is beside it.
fn box_on_image(found: &Detection, image_from_input: &Affine, (rows, columns): (usize, usize)) -> Option<Detection> {
    // Boxes count from pixel edges, maps from pixel centres.
    let corner = |x: f32, y: f32| {
        let (row, column) = image_from_input.apply((y - 0.5, x - 0.5));
        (column + 0.5, row + 0.5)
    };
    let BoundingBox { x1, y1, x2, y2 } = found.bounds;
    let ((x1, y1), (x2, y2)) = (corner(x1, y1), corner(x2, y2));
    let bounds = BoundingBox::new(x1, y1, x2, y2).clipped(columns as f32, rows as f32);
    (bounds.area() > 0.0).then_some(Detection { bounds, ..*found })
}

/// The maps of a (1, class, rows, columns) tensor.
fn grids(logits: &Tensor) -> Result<Vec<Array2<f32>>> {
    let (_, classes, rows, cols) = logits.dims4()?;
    let values = logits.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    values
        .chunks_exact(rows * cols)
        .take(classes)
        .map(|chunk| Array2::from_shape_vec((rows, cols), chunk.to_vec()).map_err(candle_core::Error::wrap))
        .collect()
}

/// Averages each map with the mirror image's map, turned back.
fn average_with_mirror(maps: &mut [Array2<f32>], mirrored: &[Array2<f32>]) {
    for (map, other) in maps.iter_mut().zip(mirrored) {
        map.zip_mut_with(&other.slice(ndarray::s![.., ..;-1]), |a, b| *a = (*a + b) / 2.0);
    }
}

/// An organ is one connected piece: logits of other pieces are mirrored below zero.
fn keep_largest_region(logits: &mut Array2<f32>) {
    let mut pieces = regions(logits, 0.0);
    pieces.sort_by_key(Vec::len);
    pieces.pop();
    for at in pieces.into_iter().flatten() {
        logits[at] = -logits[at].max(1e-3);
    }
}

/// Samples a `grid` that covers the square input of `size` pixels at every pixel of an image of `shape`: bilinear, edges extended.
pub fn to_image(
    grid: ArrayView2<'_, f32>,
    image_from_input: &Affine,
    size: usize,
    (rows, columns): (usize, usize),
) -> Array2<f32> {
    let (grid_rows, grid_cols) = grid.dim();
    let mut image = Array2::zeros((rows, columns));
    let Some(input_from_image) = image_from_input.inverse() else { return image };
    if grid.is_empty() || image.is_empty() {
        return image;
    }
    let (row_scale, col_scale) = (grid_rows as f32 / size as f32, grid_cols as f32 / size as f32);
    let tap = |at: f32, count: usize| {
        let at = at.clamp(0.0, (count - 1) as f32);
        let first = at as usize;
        (first, (first + 1).min(count - 1), at - first as f32)
    };
    image.outer_iter_mut().into_par_iter().enumerate().for_each(|(row, mut line)| {
        for (column, value) in line.iter_mut().enumerate() {
            let (input_row, input_col) = input_from_image.apply((row as f32, column as f32));
            let (r0, r1, fr) = tap((input_row + 0.5) * row_scale - 0.5, grid_rows);
            let (c0, c1, fc) = tap((input_col + 0.5) * col_scale - 0.5, grid_cols);
            let upper = grid[[r0, c0]] + fc * (grid[[r0, c1]] - grid[[r0, c0]]);
            let lower = grid[[r1, c0]] + fc * (grid[[r1, c1]] - grid[[r1, c0]]);
            *value = upper + fr * (lower - upper);
        }
    });
    image
}

/// Features by which an image is compared with those of training: the mean of every channel of every ResNet stage; of the tokens where there is
/// no ResNet.
pub fn familiarity_features(output: &Output) -> Result<Vec<f32>> {
    let mut features = Vec::new();
    for stage in &output.features.stages {
        features.extend(stage.to_device(&Device::Cpu)?.get(0)?.flatten_from(1)?.mean(1)?.to_vec1::<f32>()?);
    }
    if features.is_empty() {
        features = output.features.tokens.to_device(&Device::Cpu)?.get(0)?.mean(0)?.to_vec1::<f32>()?;
    }
    Ok(features)
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::{average_with_mirror, box_on_image, keep_largest_region, to_image};
    use crate::model::Detection;
    use crate::nn::BoundingBox;
    use crate::study::letterbox;

    #[test]
    fn boxes_lie_on_the_image_and_end_with_it() {
        // 100 x 200 in a square of 50: one input pixel is four of the image, and 12.5 rows above it are black.
        let map = letterbox(100, 200, 50);
        let on_image = |bounds| box_on_image(&Detection { bounds, class: 1, score: 0.5 }, &map, (100, 200));
        let found = on_image(BoundingBox::new(5.0, 10.0, 25.0, 20.0)).expect("on the image").bounds;
        for (value, expected) in [(found.x1, 20.0), (found.y1, 0.0), (found.x2, 100.0), (found.y2, 30.0)] {
            assert!((value - expected).abs() < 1e-3, "{found:?}");
        }
        assert_eq!(on_image(BoundingBox::new(5.0, 0.0, 25.0, 12.0)), None);
    }

    #[test]
    fn the_mirror_image_is_turned_back() {
        let mut maps = [ndarray::array![[4.0, 0.0, 2.0]]];
        average_with_mirror(&mut maps, &[ndarray::array![[0.0, 2.0, 2.0]]]);
        assert_eq!(maps, [ndarray::array![[3.0, 1.0, 1.0]]]);
    }

    #[test]
    fn an_organ_keeps_its_largest_piece() {
        let mut logits = ndarray::array![[2.0, 3.0, -1.0, 4.0], [1.0, -2.0, -3.0, -1.0]];
        keep_largest_region(&mut logits);
        assert_eq!(logits, ndarray::array![[2.0, 3.0, -1.0, -4.0], [1.0, -2.0, -3.0, -1.0]]);
    }

    #[test]
    fn a_grid_lies_over_the_image_as_the_input_does() {
        // 8x8 cells over a 64-pixel input of a 100x200 image: the left half of the grid is the left half of the image.
        let grid = Array2::from_shape_fn((8, 8), |(_, col)| if col < 4 { 1.0 } else { 0.0 });
        let image = to_image(grid.view(), &letterbox(100, 200, 64), 64, (100, 200));
        assert_eq!(image.dim(), (100, 200));
        assert!(image[[50, 20]] > 0.99 && image[[50, 180]] < 0.01);
        assert!((image[[50, 99]] + image[[50, 100]] - 1.0).abs() < 1e-3);
        assert!(to_image(grid.view(), &letterbox(0, 0, 64), 64, (0, 0)).is_empty());
    }
}
