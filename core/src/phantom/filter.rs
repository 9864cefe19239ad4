//! Blurring of images, for detector, scatter and noise.

use ndarray::{Array2, Axis, Zip};
use rayon::prelude::*;

/// Gaussian blur with deviation `sigma` pixels; edges repeat. Wide kernels are three box filters in a row.
pub(super) fn gaussian(image: &Array2<f32>, sigma: f32) -> Array2<f32> {
    if sigma < 0.05 {
        return image.clone();
    }
    let rows = along_rows(image, sigma);
    let turned = along_rows(&rows.t().as_standard_layout().to_owned(), sigma);
    turned.t().as_standard_layout().to_owned()
}

fn along_rows(image: &Array2<f32>, sigma: f32) -> Array2<f32> {
    let mut out = image.clone();
    let kernel: Vec<f32> = {
        let radius = (3.0 * sigma).ceil() as i32;
        let k: Vec<f32> = (-radius..=radius).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
        let sum: f32 = k.iter().sum();
        k.into_iter().map(|w| w / sum).collect()
    };
    out.axis_iter_mut(Axis(0)).into_par_iter().for_each(|mut row| {
        let Some(line) = row.as_slice_mut() else { return };
        if sigma < 4.0 {
            convolve(line, &kernel);
        } else {
            // Three boxes, some one step wider, with together the Gaussian's variance.
            let half = (((4.0 * sigma * sigma + 1.0).sqrt() - 1.0) * 0.5).floor().max(1.0);
            let variance = |h: f32| ((2.0 * h + 1.0).powi(2) - 1.0) / 12.0;
            let missing = sigma * sigma - 3.0 * variance(half);
            let wider = (missing / (variance(half + 1.0) - variance(half))).round() as usize;
            for pass in 0..3 {
                boxed(line, half as usize + usize::from(pass < wider));
            }
        }
    });
    out
}

fn convolve(line: &mut [f32], kernel: &[f32]) {
    let source = line.to_vec();
    let last = source.len() as i32 - 1;
    let radius = (kernel.len() / 2) as i32;
    for (i, target) in line.iter_mut().enumerate() {
        let i = i as i32;
        *target = if i >= radius && i + radius <= last {
            let start = (i - radius) as usize;
            kernel.iter().zip(&source[start..]).map(|(k, s)| k * s).sum()
        } else {
            kernel.iter().zip(i - radius..).map(|(k, at)| k * source[at.clamp(0, last) as usize]).sum()
        };
    }
}

fn boxed(line: &mut [f32], half: usize) {
    let source = line.to_vec();
    let last = source.len() as i64 - 1;
    let half = half as i64;
    let at = |i: i64| f64::from(source[i.clamp(0, last) as usize]);
    let mut sum: f64 = (-half..=half).map(at).sum();
    let weight = 1.0 / (2 * half + 1) as f64;
    for (i, target) in line.iter_mut().enumerate() {
        *target = (sum * weight) as f32;
        let i = i as i64;
        sum += at(i + half + 1) - at(i - half);
    }
}

/// `a + k * (a - b)`: what `b` blurred away, strengthened.
pub(super) fn sharpen(a: &mut Array2<f32>, detail_of: &Array2<f32>, blurred: &Array2<f32>, k: f32) {
    Zip::from(a).and(detail_of).and(blurred).for_each(|a, d, b| *a += k * (d - b));
}

/// The value below which the share `q` of `values` lies; 0 where there are none.
pub(super) fn quantile(values: &mut [f32], q: f32) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let k = ((values.len() - 1) as f32 * q) as usize;
    *values.select_nth_unstable_by(k, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blur_keeps_the_sum_and_has_its_deviation() {
        for sigma in [1.0_f32, 6.0] {
            let mut image = Array2::zeros((101, 101));
            image[[50, 50]] = 1.0;
            let blurred = gaussian(&image, sigma);
            let sum: f32 = blurred.sum();
            assert!((sum - 1.0).abs() < 1e-3, "{sum}");
            let variance: f32 = blurred.indexed_iter().map(|((r, _), w)| w * (r as f32 - 50.0).powi(2)).sum();
            assert!((variance.sqrt() / sigma - 1.0).abs() < 0.03, "{variance} for {sigma}");
        }
    }
}
