//! Fully connected layer.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::gemm::{Into, Mat, MatMut, multiply};
use super::raw::{on_cpu, slice, widened, with_values};

/// `x · weightᵀ + bias` for `x` (..., in), `weight` (out, in), `bias` (out); returns (..., out). Gradients flow to all three.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if on_cpu(x) {
        return x.contiguous()?.apply_op3(&widened(weight)?.contiguous()?, &bias.contiguous()?, Linear);
    }
    // As one matrix: a product broadcast over the batch would copy the weights for every image, and their gradient too.
    let (mut dims, inputs) = (x.dims().to_vec(), weight.dim(1)?);
    let y = x.reshape(((), inputs))?.matmul(&weight.t()?)?.broadcast_add(bias)?;
    if let Some(last) = dims.last_mut() {
        *last = weight.dim(0)?;
    }
    y.reshape(dims)
}

struct Linear;

/// Rows of x worked on by one task.
const ROWS: usize = 128;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (&[outputs, inputs], Some(&last)) = (wl.dims(), xl.dims().last()) else {
            bail!("linear takes weights (out, in), not {:?}", wl.dims());
        };
        let (x, w, b) = (slice(x, xl, "linear")?, slice(w, wl, "linear")?, slice(b, bl, "linear")?);
        if last != inputs || b.len() != outputs || inputs == 0 || outputs == 0 {
            bail!("linear: {:?} does not fit weights {:?} and bias {:?}", xl.dims(), wl.dims(), bl.dims());
        }
        let rows = x.len() / inputs;
        let mut y = vec![0.0; rows * outputs];
        y.par_chunks_mut(ROWS * outputs).zip(x.par_chunks(ROWS * inputs)).for_each(|(y, x)| {
            for row in y.chunks_exact_mut(outputs) {
                row.copy_from_slice(b);
            }
            let rows = x.len() / inputs;
            let dst = MatMut::rows(y, rows, outputs, outputs);
            let w = Mat::rows(w, outputs, inputs, inputs).t();
            multiply(dst, Mat::rows(x, rows, inputs, inputs), w, 1.0, Into::Add, false);
        });
        let mut dims = xl.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        Ok((CpuStorage::F32(y), dims.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (outputs, inputs) = w.dims2()?;
        let rows = x.elem_count() / inputs;
        let (dx, dw, db) = with_values(dy, |dy| -> Result<_> {
            let mut dx = vec![0.0; rows * inputs];
            with_values(w, |w| {
                dx.par_chunks_mut(ROWS * inputs).zip(dy.par_chunks(ROWS * outputs)).for_each(|(dx, dy)| {
                    let rows = dy.len() / outputs;
                    let dst = MatMut::rows(dx, rows, inputs, inputs);
                    let dy = Mat::rows(dy, rows, outputs, outputs);
                    multiply(dst, dy, Mat::rows(w, outputs, inputs, inputs), 1.0, Into::Set, false);
                });
            })?;
            let mut dw = vec![0.0; outputs * inputs];
            with_values(x, |x| {
                // Bands of outputs: each task writes rows of its own, so the sum over x's rows keeps one order.
                let band = outputs.div_ceil(4).max(8);
                dw.par_chunks_mut(band * inputs).enumerate().for_each(|(index, dw)| {
                    let count = dw.len() / inputs;
                    let dst = MatMut::rows(dw, count, inputs, inputs);
                    let dy = Mat::rows(&dy[index * band..], rows, count, outputs).t();
                    multiply(dst, dy, Mat::rows(x, rows, inputs, inputs), 1.0, Into::Set, false);
                });
            })?;
            let mut db = vec![0.0; outputs];
            for row in dy.chunks_exact(outputs) {
                db.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            Ok((dx, dw, db))
        })??;
        let tensor = |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.dims(), like.device());
        Ok((Some(tensor(dx, x)?), Some(tensor(dw, w)?), Some(tensor(db, b)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random};
    use super::linear;

    #[test]
    fn gradients_equal_finite_differences() {
        for (x, w) in [(vec![3, 5, 7], [4, 7]), (vec![130, 3], [9, 3]), (vec![1, 2], [1, 2])] {
            let inputs = [random(&x, 1), random(&w, 2), random(&w[..1], 3)];
            check(&inputs, |t| linear(&t[0], &t[1], &t[2]));
        }
    }

    #[test]
    fn equals_the_definition() {
        let (x, w, b) = (random(&[300, 5], 1), random(&[7, 5], 2), random(&[7], 3));
        let expected = x.matmul(&w.t().unwrap()).unwrap().broadcast_add(&b).unwrap();
        let difference = (linear(&x, &w, &b).unwrap() - expected).unwrap().abs().unwrap();
        assert!(difference.max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-5);
        assert!(linear(&x, &random(&[7, 6], 1), &b).is_err());
    }
}
