//! Element-wise activations, and softmax over the last axis.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda;
use super::raw::{on_cpu, slice, vectorised, with_values};

/// Values worked on by one task.
pub(super) const CHUNK: usize = 16 * 1024;

/// `e^x`, within 2 units in the last place over the range of `f32`; written without branches so that it runs in vectors.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to a whole number in the low bits
    let x = x.clamp(-87.0, 88.0);
    let t = x * std::f32::consts::LOG2_E + MAGIC;
    let n = t - MAGIC;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r * r + r + 1.0;
    p * f32::from_bits(t.to_bits().wrapping_add(127) << 23)
}

/// The error function, within 2e-7 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let p = ((((1.061_405_4 * t - 1.453_152_1) * t + 1.421_413_8) * t - 0.284_496_72) * t + 0.254_829_6) * t;
    (1.0 - p * exp(-a * a)).copysign(x)
}

/// Logistic function.
#[inline(always)]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `relu(a + b)` of two tensors of the same shape.
pub fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(a) {
        return cuda::add_relu(a, b);
    }
    if !on_cpu(a) {
        return (a + b)?.relu();
    }
    a.contiguous()?.apply_op2(&b.contiguous()?, AddRelu)
}

struct AddRelu;

impl CustomOp2 for AddRelu {
    fn name(&self) -> &'static str {
        "add_relu"
    }

    fn cpu_fwd(&self, a: &CpuStorage, al: &Layout, b: &CpuStorage, bl: &Layout) -> Result<(CpuStorage, Shape)> {
        if al.shape() != bl.shape() {
            candle_core::bail!("add_relu: shapes {:?} and {:?} differ", al.shape(), bl.shape());
        }
        let (a, b) = (slice(a, al, "add_relu")?, slice(b, bl, "add_relu")?);
        let mut y = vec![0.0; a.len()];
        y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK))).for_each(|(y, (a, b))| {
            y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = (a + b).max(0.0));
        });
        Ok((CpuStorage::F32(y), al.shape().clone()))
    }

    fn bwd(&self, _a: &Tensor, _b: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let masked = map2(y, dy, |y, dy| if y > 0.0 { dy } else { 0.0 })?;
        Ok((Some(masked.clone()), Some(masked)))
    }
}

/// A new tensor from two of the same shape, value by value.
fn map2(a: &Tensor, b: &Tensor, f: impl Fn(f32, f32) -> f32 + Sync) -> Result<Tensor> {
    let values = with_values(a, |a| {
        with_values(b, |b| {
            let mut y = vec![0.0; a.len()];
            y.par_chunks_mut(CHUNK).zip(a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK))).for_each(|(y, (a, b))| {
                vectorised(|| y.iter_mut().zip(a).zip(b).for_each(|((y, a), b)| *y = f(*a, *b)));
            });
            y
        })
    })??;
    Tensor::from_vec(values, a.dims(), a.device())
}

/// `x Φ(x)`.
#[inline(always)]
pub(super) fn gelu_value(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Gaussian error linear unit (Hendrycks and Gimpel, 2016), with the error function.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::gelu(x);
    }
    if on_cpu(x) { x.contiguous()?.apply_op1(Gelu) } else { x.gelu_erf() }
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, l, "gelu")?;
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
            vectorised(|| {
                y.iter_mut().zip(x).for_each(|(y, x)| *y = gelu_value(*x));
            });
        });
        Ok((CpuStorage::F32(y), l.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        const FRAC_1_SQRT_2PI: f32 = 0.398_942_3;
        let dx = map2(x, dy, |x, dy| {
            let cumulative = 0.5 * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
            dy * (cumulative + x * FRAC_1_SQRT_2PI * exp(-0.5 * x * x))
        })?;
        Ok(Some(dx))
    }
}

/// Softmax over the last axis; gradients flow (candle's fused `softmax_last_dim` cuts them).
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::softmax(x);
    }
    if on_cpu(x) { x.contiguous()?.apply_op1(Softmax) } else { candle_nn::ops::softmax(x, D::Minus1) }
}

/// Softmax of one row in place.
#[inline(always)]
pub(super) fn softmax_row(row: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = row.chunks_exact(16);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b));
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = lane.max(*v);
        }
    }
    let max = lanes.iter().fold(rest, |a, b| a.max(*b));
    row.iter_mut().for_each(|v| *v = exp(*v - max));
    let mut sums = [0.0f32; 16];
    let chunks = row.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (sum, v) in sums.iter_mut().zip(chunk) {
            *sum += v;
        }
    }
    let scale = 1.0 / (sums.iter().sum::<f32>() + rest);
    row.iter_mut().for_each(|v| *v *= scale);
}

/// Gradient of softmax, row by row: `dx = y (dy - Σ y dy)`, written over `dy`.
#[inline(always)]
pub(super) fn softmax_row_gradient(y: &[f32], dy: &mut [f32]) {
    let mut sums = [0.0f32; 16];
    let (y_chunks, dy_chunks) = (y.chunks_exact(16), dy.chunks_exact(16));
    let rest: f32 = y_chunks.remainder().iter().zip(dy_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (y, dy) in y_chunks.zip(dy_chunks) {
        for lane in 0..16 {
            sums[lane] += y[lane] * dy[lane];
        }
    }
    let dot = sums.iter().sum::<f32>() + rest;
    dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = y * (*dy - dot));
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut y = slice(x, l, "softmax")?.to_vec();
        let row = l.dims().last().copied().unwrap_or(1).max(1);
        y.par_chunks_exact_mut(row).with_min_len((CHUNK / row).max(1)).for_each(|row| vectorised(|| softmax_row(row)));
        Ok((CpuStorage::F32(y), l.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let row = x.dim(D::Minus1)?.max(1);
        let dx = with_values(y, |y| {
            with_values(dy, |dy| {
                let mut dx = dy.to_vec();
                let rows = dx.par_chunks_exact_mut(row).zip(y.par_chunks_exact(row)).with_min_len((CHUNK / row).max(1));
                rows.for_each(|(dx, y)| vectorised(|| softmax_row_gradient(y, dx)));
                dx
            })
        })??;
        Ok(Some(Tensor::from_vec(dx, x.dims(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random};
    use super::{add_relu, erf, exp, gelu, softmax};

    #[test]
    fn exp_and_erf_are_accurate() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let relative = (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs();
            assert!(relative < 1e-6, "exp({x}): {relative}");
        }
        for (x, expected) in [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (-2.0, -0.995_322_3)] {
            assert!((erf(x) - expected).abs() < 1e-6, "erf({x})");
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let x = (random(&[3, 37], 1) * 3.0).unwrap();
        check(std::slice::from_ref(&x), |t| gelu(&t[0]));
        check(&[x], |t| softmax(&t[0]));
    }

    #[test]
    fn add_relu_passes_gradients_where_it_is_open() {
        let vars = [random(&[2, 9], 1), random(&[2, 9], 2)].map(|t| candle_core::Var::from_tensor(&t).unwrap());
        let y = add_relu(&vars[0], &vars[1]).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let open = y.gt(0.0).unwrap().to_dtype(candle_core::DType::F32).unwrap().to_vec2::<f32>().unwrap();
        for var in &vars {
            assert_eq!(gradients.get(var).unwrap().to_vec2::<f32>().unwrap(), open);
        }
    }

    #[test]
    fn gelu_equals_candle() {
        let x = (random(&[5, 11], 4) * 4.0).unwrap();
        let difference = (gelu(&x).unwrap() - x.gelu_erf().unwrap()).unwrap().abs().unwrap();
        assert!(difference.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-5);
    }
}
