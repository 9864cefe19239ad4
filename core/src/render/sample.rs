//! Images and maps drawn through a [`Placement`]: the viewport without a window.

use ndarray::Array2;
use rayon::prelude::*;

use super::{Placement, Rgba};

/// Samples along each axis for one screen pixel: 1 when enlarging, more when many image pixels fall on one.
fn samples_per_axis(placement: &Placement) -> usize {
    let (a, b) = (placement.image_from_screen(0.0, 0.0), placement.image_from_screen(1.0, 1.0));
    let step = (a.0 - b.0).abs().max((a.1 - b.1).abs());
    if step.is_finite() { (step.ceil() as usize).clamp(1, 16) } else { 1 }
}

/// Bilinear weights of the neighbours of a coordinate; `None` outside the pixels (beyond half a pixel).
fn neighbours(at: f64, count: usize) -> Option<(usize, usize, f32)> {
    if count == 0 || !(at >= -0.5 && at <= count as f64 - 0.5) {
        return None;
    }
    let at = at.clamp(0.0, (count - 1) as f64);
    let low = at.floor() as usize;
    Some((low, (low + 1).min(count - 1), (at - low as f64) as f32))
}

/// Draws `image` as `placement` says on black, `width` by `height` pixels: bilinear when enlarging, the mean of what falls
/// on a pixel when reducing.
pub fn place_image(image: &Rgba, placement: &Placement, width: usize, height: usize) -> Rgba {
    let n = samples_per_axis(placement);
    let mut out = Rgba::new(width, height, [0, 0, 0, 255]);
    out.pixels.par_chunks_mut(width.max(1)).enumerate().for_each(|(y, line)| {
        for (x, pixel) in line.iter_mut().enumerate() {
            let mut sum = [0.0_f32; 3];
            for sy in 0..n {
                for sx in 0..n {
                    let (screen_x, screen_y) =
                        (x as f64 + (sx as f64 + 0.5) / n as f64, y as f64 + (sy as f64 + 0.5) / n as f64);
                    let (row, column) = placement.image_from_screen(screen_x, screen_y);
                    let (Some((r0, r1, fr)), Some((c0, c1, fc))) =
                        (neighbours(row, image.height), neighbours(column, image.width))
                    else {
                        continue;
                    };
                    let at = |r: usize, c: usize| image.pixels.get(r * image.width + c).copied().unwrap_or([0; 4]);
                    let (a, b, c, d) = (at(r0, c0), at(r0, c1), at(r1, c0), at(r1, c1));
                    for (k, sum) in sum.iter_mut().enumerate() {
                        let top = f32::from(a[k]) * (1.0 - fc) + f32::from(b[k]) * fc;
                        let bottom = f32::from(c[k]) * (1.0 - fc) + f32::from(d[k]) * fc;
                        *sum += top * (1.0 - fr) + bottom * fr;
                    }
                }
            }
            let level = |s: f32| (s / (n * n) as f32).round().clamp(0.0, 255.0) as u8;
            *pixel = [level(sum[0]), level(sum[1]), level(sum[2]), 255];
        }
    });
    out
}

/// Values of a map `[row, column]` at the pixels of a screen of `width` by `height`, bilinear; NaN outside the map.
pub fn place_values(values: &Array2<f32>, placement: &Placement, width: usize, height: usize) -> Array2<f32> {
    let (rows, columns) = values.dim();
    let mut out = Array2::from_elem((height, width), f32::NAN);
    let at = |r: usize, c: usize| values.get((r, c)).copied().unwrap_or(f32::NAN);
    out.indexed_iter_mut().for_each(|((y, x), value)| {
        let (row, column) = placement.image_from_screen(x as f64 + 0.5, y as f64 + 0.5);
        if let (Some((r0, r1, fr)), Some((c0, c1, fc))) = (neighbours(row, rows), neighbours(column, columns)) {
            let top = at(r0, c0) * (1.0 - fc) + at(r0, c1) * fc;
            let bottom = at(r1, c0) * (1.0 - fc) + at(r1, c1) * fc;
            *value = top * (1.0 - fr) + bottom * fr;
        }
    });
    out
}

/// Contour vertices (row, column) as screen points (x, y).
pub fn place_contour(contour: &[(f32, f32)], placement: &Placement) -> Vec<(f32, f32)> {
    contour
        .iter()
        .map(|(row, column)| {
            let (x, y) = placement.screen_from_image(f64::from(*row), f64::from(*column));
            (x as f32, y as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::ViewTransform;

    fn gradient(width: usize, height: usize) -> Rgba {
        let pixels = (0..width * height).map(|i| [(i % width * 10) as u8, (i / width * 10) as u8, 0, 255]).collect();
        Rgba { width, height, pixels }
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        let image = gradient(20, 10);
        let placement = Placement::new(&ViewTransform::default(), (10, 20), (1.0, 1.0), (20.0, 10.0));
        assert_eq!(place_image(&image, &placement, 20, 10), image);
    }

    #[test]
    fn the_rest_of_the_screen_is_black() {
        let image = Rgba::new(10, 10, [200, 200, 200, 255]);
        let placement = Placement::new(&ViewTransform::default(), (10, 10), (1.0, 1.0), (40.0, 20.0));
        let out = place_image(&image, &placement, 40, 20);
        assert_eq!(out.get(9, 10), Some([0, 0, 0, 255]));
        assert_eq!(out.get(10, 10), Some([200, 200, 200, 255]));
        assert_eq!(out.get(29, 0), Some([200, 200, 200, 255]));
        assert_eq!(out.get(30, 0), Some([0, 0, 0, 255]));
    }

    #[test]
    fn reducing_takes_the_mean() {
        // A chessboard reduced to a quarter is gray, not black or white.
        let pixels = (0..64 * 64).map(|i| if (i % 64 + i / 64) % 2 == 0 { [255; 4] } else { [0, 0, 0, 255] }).collect();
        let image = Rgba { width: 64, height: 64, pixels };
        let placement = Placement::new(&ViewTransform::default(), (64, 64), (1.0, 1.0), (16.0, 16.0));
        let out = place_image(&image, &placement, 16, 16);
        assert!(out.pixels.iter().all(|p| (110..=145).contains(&p[0])), "{:?}", out.get(8, 8));
    }

    #[test]
    fn maps_and_contours_land_on_the_same_place() {
        let mut values = Array2::zeros((20, 30));
        values[[4, 21]] = 1.0;
        let mut view = ViewTransform::default();
        view.rotate_clockwise();
        let placement = Placement::new(&view, (20, 30), (1.0, 1.0), (200.0, 300.0));
        let out = place_values(&values, &placement, 200, 300);
        let (peak, _) =
            out.indexed_iter().fold(((0, 0), f32::MIN), |best, (at, v)| if *v > best.1 { (at, *v) } else { best });
        let expected = place_contour(&[(4.0, 21.0)], &placement)[0];
        assert!((peak.1 as f32 + 0.5 - expected.0).abs() <= 1.0 && (peak.0 as f32 + 0.5 - expected.1).abs() <= 1.0);
        let outside = Placement::new(&ViewTransform::default(), (20, 30), (1.0, 1.0), (300.0, 300.0));
        assert!(place_values(&values, &outside, 300, 300)[[0, 150]].is_nan());
    }
}
