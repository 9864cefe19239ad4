//! Resampling: bilinear for feature maps, bicubic as a matrix for position embeddings.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

#[cfg(feature = "cuda")]
use super::cuda;
use super::raw::{slice, with_values};

/// Bilinear resampling of `x` (batch, channel, height, width) to `rows` x `cols`, pixel centres at half-integers (PyTorch's
/// `align_corners=False`, no antialias). On Metal it runs on the CPU.
pub fn resize_bilinear(x: &Tensor, rows: usize, cols: usize) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    if (height, width) == (rows, cols) {
        return Ok(x.clone());
    }
    if rows == 0 || cols == 0 || height == 0 || width == 0 {
        bail!("resize_bilinear: from {height}x{width} to {rows}x{cols}");
    }
    let op = Bilinear { rows, cols };
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(op);
    }
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::resize_bilinear(x, op);
    }
    x.to_device(&Device::Cpu)?.contiguous()?.apply_op1(op)?.to_device(x.device())
}

pub(super) struct Bilinear {
    pub rows: usize,
    pub cols: usize,
}

/// For each output: the two inputs it lies between and the weight of the second.
pub(super) fn taps(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    let scale = from as f32 / to as f32;
    (0..to)
        .map(|out| {
            let at = ((out as f32 + 0.5) * scale - 0.5).clamp(0.0, (from - 1) as f32);
            let first = at as usize;
            (first, (first + 1).min(from - 1), at - first as f32)
        })
        .collect()
}

impl CustomOp1 for Bilinear {
    fn name(&self) -> &'static str {
        "resize_bilinear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let &[batch, channels, height, width] = l.dims() else {
            bail!("resize_bilinear takes (batch, channel, height, width)")
        };
        let x = slice(x, l, "resize_bilinear")?;
        let (by_row, by_col) = (taps(height, self.rows), taps(width, self.cols));
        let mut y = vec![0.0; batch * channels * self.rows * self.cols];
        y.par_chunks_exact_mut(self.rows * self.cols).zip(x.par_chunks_exact(height * width)).for_each_init(
            || vec![0.0; width],
            |line, (y, x)| {
                for (y, &(upper, lower, weight)) in y.chunks_exact_mut(self.cols).zip(&by_row) {
                    let (upper, lower) = (&x[upper * width..][..width], &x[lower * width..][..width]);
                    for ((line, a), b) in line.iter_mut().zip(upper).zip(lower) {
                        *line = a + weight * (b - a);
                    }
                    for (y, &(left, right, weight)) in y.iter_mut().zip(&by_col) {
                        *y = line[left] + weight * (line[right] - line[left]);
                    }
                }
            },
        );
        Ok((CpuStorage::F32(y), (batch, channels, self.rows, self.cols).into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, height, width) = x.dims4()?;
        let (by_row, by_col) = (taps(height, self.rows), taps(width, self.cols));
        let dx = with_values(dy, |dy| {
            let mut dx = vec![0.0; x.elem_count()];
            dx.par_chunks_exact_mut(height * width).zip(dy.par_chunks_exact(self.rows * self.cols)).for_each_init(
                || vec![0.0; width],
                |line, (dx, dy)| {
                    for (dy, &(upper, lower, weight)) in dy.chunks_exact(self.cols).zip(&by_row) {
                        line.fill(0.0);
                        for (dy, &(left, right, weight)) in dy.iter().zip(&by_col) {
                            line[left] += dy * (1.0 - weight);
                            line[right] += dy * weight;
                        }
                        for (col, value) in line.iter().enumerate() {
                            dx[upper * width + col] += value * (1.0 - weight);
                            dx[lower * width + col] += value * weight;
                        }
                    }
                },
            );
            dx
        })?;
        Ok(Some(Tensor::from_vec(dx, x.dims(), x.device())?))
    }
}

/// How a line of values is resampled to another length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Cubic kernel with a = -0.5, widened where it shrinks (Pillow's, and PyTorch's `bicubic, antialias=True`; timm).
    #[default]
    BicubicAntialias,
    /// Cubic kernel with a = -0.75 over four neighbours, the border repeated (PyTorch's `bicubic, align_corners=False`; Hugging Face).
    Bicubic,
    /// Between two neighbours, first and last values staying first and last (SciPy's `zoom` of order 1; TransUNet).
    Linear,
}

/// Keys' cubic convolution kernel.
fn cubic(t: f64, a: f64) -> f64 {
    let t = t.abs();
    if t < 1.0 {
        ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
    } else if t < 2.0 {
        (((t - 5.0) * t + 8.0) * t - 4.0) * a
    } else {
        0.0
    }
}

/// Matrix (to, from) that resamples a line of `from` values to `to`; rows sum to 1. A resize by a matrix is differentiable.
pub fn resize_matrix(from: usize, to: usize, how: Interpolation, device: &Device) -> Result<Tensor> {
    if from == 0 || to == 0 {
        bail!("resize_matrix: from {from} to {to}");
    }
    let scale = from as f64 / to as f64;
    let mut values = vec![0.0f32; to * from];
    for (out, row) in values.chunks_exact_mut(from).enumerate() {
        let mut weights = vec![0.0f64; from];
        let last = from as i64 - 1;
        match how {
            Interpolation::BicubicAntialias => {
                let (centre, stretch) = ((out as f64 + 0.5) * scale, scale.max(1.0));
                for (at, weight) in weights.iter_mut().enumerate() {
                    *weight = cubic((at as f64 + 0.5 - centre) / stretch, -0.5);
                }
            }
            Interpolation::Bicubic => {
                let centre = (out as f64 + 0.5) * scale - 0.5;
                let first = centre.floor() as i64 - 1;
                for at in first..first + 4 {
                    weights[at.clamp(0, last) as usize] += cubic(at as f64 - centre, -0.75);
                }
            }
            Interpolation::Linear => {
                let at = out as f64 * last as f64 / (to as f64 - 1.0).max(1.0);
                let first = at.floor() as usize;
                weights[first] += 1.0 - at.fract();
                weights[(first + 1).min(from - 1)] += at.fract();
            }
        }
        let sum: f64 = weights.iter().sum();
        row.iter_mut().zip(weights).for_each(|(value, weight)| *value = (weight / sum) as f32);
    }
    Tensor::from_vec(values, (to, from), device)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super::gradient_check::{check, random};
    use super::{Interpolation, resize_bilinear, resize_matrix};

    #[test]
    fn bilinear_gradients_equal_finite_differences() {
        let x = random(&[2, 2, 3, 5], 1);
        for (rows, cols) in [(6, 10), (7, 4), (2, 3), (1, 9)] {
            check(std::slice::from_ref(&x), |t| resize_bilinear(&t[0], rows, cols));
        }
    }

    #[test]
    fn bilinear_follows_half_pixel_centres() {
        let x = Tensor::new(&[[[[0.0f32, 4.0]]]], &Device::Cpu).unwrap();
        let y = resize_bilinear(&x, 1, 4).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(y, [0.0, 1.0, 3.0, 4.0]);
    }

    const ALL: [Interpolation; 3] = [Interpolation::BicubicAntialias, Interpolation::Bicubic, Interpolation::Linear];

    #[test]
    fn rows_sum_to_one_and_the_same_length_changes_nothing() {
        for how in ALL {
            for (from, to) in [(14, 7), (14, 16), (7, 7), (1, 5), (5, 1)] {
                let rows = resize_matrix(from, to, how, &Device::Cpu).unwrap().to_vec2::<f32>().unwrap();
                assert!(rows.iter().all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5), "{how:?} {from} {to}");
            }
            for (r, row) in resize_matrix(5, 5, how, &Device::Cpu).unwrap().to_vec2::<f32>().unwrap().iter().enumerate()
            {
                assert!(row.iter().enumerate().all(|(c, v)| (v - f32::from(u8::from(r == c))).abs() < 1e-6));
            }
            assert!(resize_matrix(0, 5, how, &Device::Cpu).is_err());
        }
    }

    /// Numbers of `core/tests/reference/resize.py`: PyTorch's interpolate, SciPy's zoom.
    #[test]
    fn a_resampled_line_equals_the_peers() {
        let line = [0.5f32, -1.25, 2.0, 0.75, -0.5];
        let x = Tensor::new(&line, &Device::Cpu).unwrap().reshape((5, 1)).unwrap();
        for (how, to, expected) in REFERENCE {
            let y = resize_matrix(5, to, how, &Device::Cpu).unwrap().matmul(&x).unwrap();
            let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(y.len(), expected.len());
            assert!(y.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{how:?} {to}: {y:?}, not {expected:?}");
        }
    }

    const REFERENCE: [(Interpolation, usize, &[f32]); 6] = [
        (Interpolation::BicubicAntialias, 3, &[-0.288_461_5, 1.039_534_8, 0.080_769_2]),
        (Interpolation::Bicubic, 3, &[-0.231_481_1, 2.0, -0.175_926_2]),
        (Interpolation::Linear, 3, &[0.5, 2.0, -0.5]),
        (
            Interpolation::BicubicAntialias,
            8,
            &[
                0.625_922_5,
                -0.354_521_1,
                -1.175_964_4,
                1.148_864_7,
                1.941_711_4,
                0.836_364_7,
                -0.069_442_8,
                -0.589_944_6,
            ],
        ),
        (
            Interpolation::Bicubic,
            8,
            &[0.662_460_3, -0.514_602_7, -1.157_196, 1.100_189_2, 2.057_525_6, 0.872_528_1, -0.063_674_9, -0.616_043_1],
        ),
        (
            Interpolation::Linear,
            8,
            &[0.5, -0.5, -0.785_714_3, 1.071_428_6, 1.642_857_1, 0.928_571_4, 0.214_285_7, -0.5],
        ),
    ];
}
