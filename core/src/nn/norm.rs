//! Group normalisation (Wu and He, 2018) and layer normalisation (Ba et al., 2016).

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda;
use super::raw::{on_cpu, slice, vectorised, with_values};

/// Group normalisation of `x` (batch, channel, ...) over `groups` of channels and all following axes, scaled by `gamma` and shifted
/// by `beta` (channel), followed by ReLU where `relu` is set.
pub fn group_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, groups: usize, eps: f64, relu: bool) -> Result<Tensor> {
    let dims = x.dims().to_vec();
    let (&[batch, channels, ..], true) = (dims.as_slice(), dims.len() >= 2) else {
        bail!("group_norm takes (batch, channel, ...), not {dims:?}");
    };
    if groups == 0 || channels % groups != 0 || gamma.elem_count() != channels || beta.elem_count() != channels {
        bail!("group_norm: {channels} channels do not fit {groups} groups or their weights");
    }
    let plane: usize = dims[2..].iter().product();
    let op = Norm { rows_per_item: groups, affine_repeat: plane, eps: eps as f32, relu };
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::normalise(x, gamma, beta, op);
    }
    if on_cpu(x) {
        return x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op);
    }
    let rows = x.reshape((batch, groups, ()))?;
    let centred = rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    let normal = centred.broadcast_div(&deviation)?.reshape((batch, channels, plane))?;
    let y = normal.broadcast_mul(&gamma.reshape((1, channels, 1))?)?.broadcast_add(&beta.reshape((1, channels, 1))?)?;
    let y = y.reshape(dims)?;
    if relu { y.relu() } else { Ok(y) }
}

/// Layer normalisation of `x` (..., dimension) over its last axis, scaled by `gamma` and shifted by `beta` (dimension).
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let dimension = x.dim(D::Minus1)?;
    if gamma.elem_count() != dimension || beta.elem_count() != dimension {
        bail!("layer_norm: weights do not fit the last axis of {:?}", x.dims());
    }
    let op = Norm { rows_per_item: 1, affine_repeat: 1, eps: eps as f32, relu: false };
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::normalise(x, gamma, beta, op);
    }
    if on_cpu(x) {
        return x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op);
    }
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(gamma)?.broadcast_add(beta)
}

/// Both norms: rows of neighbouring values are normalised; each affine weight serves `affine_repeat` neighbours, and
/// `rows_per_item` rows in a row use all weights once.
pub(super) struct Norm {
    pub rows_per_item: usize,
    pub affine_repeat: usize,
    pub eps: f32,
    pub relu: bool,
}

/// Sum in eight lanes: keeps precision over long rows, and fits vector registers.
#[inline(always)]
fn lanes_sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().map(|v| f(*v)).sum();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += f(*v);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// Sum of products in lanes.
#[inline(always)]
fn lanes_dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..16 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn mean_and_rstd(row: &[f32], eps: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = lanes_sum(row, |v| v) / n;
    let variance = lanes_sum(row, |v| (v - mean) * (v - mean)) / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

impl Norm {
    /// Values of one normalised row, given the affine weights of one item.
    pub(super) fn row_len(&self, weights: usize) -> usize {
        weights * self.affine_repeat / self.rows_per_item
    }

    pub(super) fn forward(&self, x: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        self.forward_into(x, gamma, beta, &mut y);
        y
    }

    pub(super) fn forward_into(&self, x: &[f32], gamma: &[f32], beta: &[f32], y: &mut [f32]) {
        let row_len = self.row_len(gamma.len());
        let weights_per_row = gamma.len() / self.rows_per_item;
        let rows = y.par_chunks_exact_mut(row_len).zip(x.par_chunks_exact(row_len)).enumerate();
        rows.with_min_len((4096 / row_len).max(1)).for_each(|(index, (y, x))| {
            let first = index % self.rows_per_item * weights_per_row;
            let (gamma, beta) = (&gamma[first..first + weights_per_row], &beta[first..first + weights_per_row]);
            vectorised(|| self.forward_row(x, gamma, beta, y));
        });
    }

    #[inline(always)]
    fn forward_row(&self, x: &[f32], gamma: &[f32], beta: &[f32], y: &mut [f32]) {
        let (mean, rstd) = mean_and_rstd(x, self.eps);
        if self.affine_repeat == 1 {
            for (((y, x), g), b) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
                *y = (*x - mean) * rstd * g + b;
            }
            return;
        }
        let floor = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        let planes = y.chunks_exact_mut(self.affine_repeat).zip(x.chunks_exact(self.affine_repeat));
        for (((y, x), g), b) in planes.zip(gamma).zip(beta) {
            let (scale, shift) = (rstd * g, b - mean * rstd * g);
            for (y, x) in y.iter_mut().zip(x) {
                *y = (*x * scale + shift).max(floor);
            }
        }
    }

    /// Gradients of input, gamma and beta.
    pub(super) fn backward(&self, x: &[f32], gamma: &[f32], y: &[f32], dy: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let mut dx = vec![0.0; x.len()];
        let row_len = self.row_len(gamma.len());
        let weights_per_row = gamma.len() / self.rows_per_item;
        // Layers normalise thousands of short rows: sums of weights are taken over parts of fixed size, in order.
        let rows_per_part = (16384 / row_len).max(1);
        let part = row_len * rows_per_part;
        let rows = dx.par_chunks_mut(part).zip(x.par_chunks(part)).zip(y.par_chunks(part).zip(dy.par_chunks(part)));
        let sums: Vec<(Vec<f32>, Vec<f32>)> = rows
            .enumerate()
            .map(|(part, ((dx, x), (y, dy)))| {
                let (mut dgamma, mut dbeta) = (vec![0.0; gamma.len()], vec![0.0; gamma.len()]);
                let mut masked = vec![0.0; if self.relu { row_len } else { 0 }];
                let rows = dx.chunks_exact_mut(row_len).zip(x.chunks_exact(row_len));
                let rows = rows.zip(y.chunks_exact(row_len).zip(dy.chunks_exact(row_len)));
                for (index, ((dx, x), (y, dy))) in rows.enumerate() {
                    let first = (part * rows_per_part + index) % self.rows_per_item * weights_per_row;
                    let weights = first..first + weights_per_row;
                    vectorised(|| {
                        let dy = if self.relu {
                            for ((m, y), dy) in masked.iter_mut().zip(y).zip(dy) {
                                *m = if *y > 0.0 { *dy } else { 0.0 };
                            }
                            &masked[..]
                        } else {
                            dy
                        };
                        let (dgamma, dbeta) = (&mut dgamma[weights.clone()], &mut dbeta[weights.clone()]);
                        self.backward_row(x, &gamma[weights.clone()], dy, dx, dgamma, dbeta);
                    });
                }
                (dgamma, dbeta)
            })
            .collect();
        let (mut dgamma, mut dbeta) = (vec![0.0; gamma.len()], vec![0.0; gamma.len()]);
        for (part_gamma, part_beta) in sums {
            dgamma.iter_mut().zip(part_gamma).for_each(|(sum, value)| *sum += value);
            dbeta.iter_mut().zip(part_beta).for_each(|(sum, value)| *sum += value);
        }
        (dx, dgamma, dbeta)
    }

    #[inline(always)]
    fn backward_row(
        &self,
        x: &[f32],
        gamma: &[f32],
        dy: &[f32],
        dx: &mut [f32],
        dgamma: &mut [f32],
        dbeta: &mut [f32],
    ) {
        let n = x.len() as f32;
        let (mean, rstd) = mean_and_rstd(x, self.eps);
        // Sums of g dy and of g dy x̂ over the row, where x̂ = (x - mean) rstd.
        let (mut sum, mut sum_x) = (0.0f32, 0.0f32);
        if self.affine_repeat == 1 {
            for (i, ((x, dy), g)) in x.iter().zip(dy).zip(gamma).enumerate() {
                let normal = (x - mean) * rstd;
                dgamma[i] += dy * normal;
                dbeta[i] += dy;
                sum += dy * g;
                sum_x += dy * g * normal;
            }
            for (((dx, x), dy), g) in dx.iter_mut().zip(x).zip(dy).zip(gamma) {
                *dx = rstd * (g * dy - (sum + (x - mean) * rstd * sum_x) / n);
            }
            return;
        }
        let planes = x.chunks_exact(self.affine_repeat).zip(dy.chunks_exact(self.affine_repeat));
        for (i, (x, dy)) in planes.enumerate() {
            let plane_sum = lanes_sum(dy, |v| v);
            let plane_sum_x = (lanes_dot(x, dy) - mean * plane_sum) * rstd;
            dbeta[i] += plane_sum;
            dgamma[i] += plane_sum_x;
            sum += gamma[i] * plane_sum;
            sum_x += gamma[i] * plane_sum_x;
        }
        let planes = x.chunks_exact(self.affine_repeat).zip(dy.chunks_exact(self.affine_repeat));
        for ((dx, (x, dy)), g) in dx.chunks_exact_mut(self.affine_repeat).zip(planes).zip(gamma) {
            let (a, b) = (rstd * g, rstd * rstd * sum_x / n);
            let c = rstd * sum / n - mean * b;
            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                *dx = a * dy - b * x - c;
            }
        }
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        g: &CpuStorage,
        gl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = self.forward(slice(x, xl, "norm")?, slice(g, gl, "norm")?, slice(b, bl, "norm")?);
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        g: &Tensor,
        b: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dg, db) = with_values(x, |x| {
            with_values(g, |g| with_values(y, |y| with_values(dy, |dy| self.backward(x, g, y, dy))))
        })????;
        let tensor = |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.dims(), like.device());
        Ok((Some(tensor(dx, x)?), Some(tensor(dg, g)?), Some(tensor(db, b)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random};
    use super::{group_norm, layer_norm};

    #[test]
    fn group_norm_gradients_equal_finite_differences() {
        for (dims, groups) in [([2, 6, 3, 5], 3), ([1, 4, 7, 3], 1), ([3, 4, 4, 5], 4)] {
            let inputs = [random(&dims, 1), random(&[dims[1]], 2), random(&[dims[1]], 3)];
            check(&inputs, |t| group_norm(&t[0], &t[1], &t[2], groups, 1e-5, false));
        }
    }

    #[test]
    fn group_norm_with_relu_is_the_norm_then_relu() {
        let inputs = [random(&[2, 6, 5, 7], 1), random(&[6], 2), random(&[6], 3)];
        let vars = inputs.each_ref().map(|t| candle_core::Var::from_tensor(t).unwrap());
        let weights = random(&[2, 6, 5, 7], 4);
        let gradients = |fused: bool| {
            let y = group_norm(&vars[0], &vars[1], &vars[2], 2, 1e-5, fused).unwrap();
            let y = if fused { y } else { y.relu().unwrap() };
            let gradients = (y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
            let flat = |var| gradients.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            vars.iter().flat_map(|var| flat(var)).collect::<Vec<_>>()
        };
        for (fused, plain) in gradients(true).into_iter().zip(gradients(false)) {
            assert!((fused - plain).abs() < 1e-4, "{fused} {plain}");
        }
    }

    #[test]
    fn layer_norm_gradients_equal_finite_differences() {
        let inputs = [random(&[3, 5, 7], 1), random(&[7], 2), random(&[7], 3)];
        check(&inputs, |t| layer_norm(&t[0], &t[1], &t[2], 1e-6));
    }

    #[test]
    fn norms_have_mean_zero_and_variance_one() {
        let ones = candle_core::Tensor::ones(40, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        let zeros = ones.zeros_like().unwrap();
        let x = ((random(&[4, 40], 1) * 3.0).unwrap() + 5.0).unwrap();
        for row in layer_norm(&x, &ones, &zeros, 0.0).unwrap().to_vec2::<f32>().unwrap() {
            let mean = row.iter().sum::<f32>() / 40.0;
            let variance = row.iter().map(|v| v * v).sum::<f32>() / 40.0;
            assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4);
        }
    }
}
