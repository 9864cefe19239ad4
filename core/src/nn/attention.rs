//! Multi-head scaled dot-product attention (Vaswani et al., 2017).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::activation::{softmax, softmax_row, softmax_row_gradient};
#[cfg(feature = "cuda")]
use super::cuda;
use super::gemm::{Into, Mat, MatMut, multiply};
use super::raw::{on_cpu, slice, vectorised, with_values};

/// Self-attention from the joint projection `qkv` (batch, token, 3 dimension): queries, keys, values side by side, each cut into
/// `heads`. Returns (batch, token, dimension). Probabilities are not kept: the backward pass computes them again.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(qkv) {
        return cuda::attention(qkv, heads);
    }
    if on_cpu(qkv) {
        return qkv.contiguous()?.apply_op1(Attention { heads });
    }
    Ok(attention_with_probabilities(qkv, heads, None)?.0)
}

/// As [`attention`], and the probabilities (batch, head, token from, token to). `perturbation`, of the same shape, is added to the
/// probabilities: the gradient that reaches it is their gradient, which explanations need.
pub fn attention_with_probabilities(
    qkv: &Tensor,
    heads: usize,
    perturbation: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    let (batch, tokens, triple) = qkv.dims3()?;
    let sizes = Sizes::new(batch, tokens, triple, heads)?;
    let parts = qkv.reshape((batch, tokens, 3, heads, sizes.head))?.permute((2, 0, 3, 1, 4))?;
    let part = |index: usize| parts.get(index)?.contiguous();
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let scores = (q.matmul(&k.t()?.contiguous()?)? * f64::from(sizes.scale()))?;
    let probabilities = softmax(&scores)?;
    let used = match perturbation {
        Some(perturbation) => (&probabilities + perturbation)?,
        None => probabilities.clone(),
    };
    let y = used.matmul(&v)?.transpose(1, 2)?.contiguous()?.reshape((batch, tokens, triple / 3))?;
    Ok((y, probabilities))
}

#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    dimension: usize,
    heads: usize,
    head: usize,
}

impl Sizes {
    fn new(_batch: usize, tokens: usize, triple: usize, heads: usize) -> Result<Self> {
        if heads == 0 || !triple.is_multiple_of(3 * heads) {
            bail!("attention: {triple} values a token do not cut into three times {heads} heads");
        }
        let dimension = triple / 3;
        Ok(Self { tokens, dimension, heads, head: dimension / heads })
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head as f32).sqrt()
    }

    /// Query (0), key (1) or value (2) of a head: (token, head dimension).
    fn part<'a>(&self, qkv: &'a [f32], which: usize, head: usize) -> Mat<'a> {
        let offset = which * self.dimension + head * self.head;
        Mat::rows(&qkv[offset..], self.tokens, self.head, 3 * self.dimension)
    }

    fn probabilities(&self, qkv: &[f32], head: usize, p: &mut [f32]) {
        let (q, k) = (self.part(qkv, 0, head), self.part(qkv, 1, head));
        multiply(MatMut::rows(p, self.tokens, self.tokens, self.tokens), q, k.t(), self.scale(), Into::Set, false);
        p.chunks_exact_mut(self.tokens).for_each(|row| vectorised(|| softmax_row(row)));
    }
}

struct Attention {
    heads: usize,
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let &[batch, tokens, triple] = l.dims() else {
            bail!("attention takes (batch, token, 3 dimension), not {:?}", l.dims());
        };
        let sizes = Sizes::new(batch, tokens, triple, self.heads)?;
        let qkv = slice(qkv, l, "attention")?;
        // Head-major, so that every task writes a block of its own; then to (token, dimension).
        let mut by_head = vec![0.0; batch * sizes.heads * tokens * sizes.head];
        by_head.par_chunks_exact_mut((tokens * sizes.head).max(1)).enumerate().for_each_init(
            || vec![0.0; tokens * tokens],
            |p, (index, y)| {
                let (image, head) = (index / sizes.heads, index % sizes.heads);
                let qkv = &qkv[image * tokens * triple..(image + 1) * tokens * triple];
                sizes.probabilities(qkv, head, p);
                let dst = MatMut::rows(y, tokens, sizes.head, sizes.head);
                multiply(dst, Mat::rows(p, tokens, tokens, tokens), sizes.part(qkv, 2, head), 1.0, Into::Set, false);
            },
        );
        let mut y = vec![0.0; batch * tokens * sizes.dimension];
        for (index, block) in by_head.chunks_exact((tokens * sizes.head).max(1)).enumerate() {
            let (image, head) = (index / sizes.heads, index % sizes.heads);
            let y = &mut y[image * tokens * sizes.dimension..];
            for (token, values) in block.chunks_exact(sizes.head).enumerate() {
                let start = token * sizes.dimension + head * sizes.head;
                y[start..start + sizes.head].copy_from_slice(values);
            }
        }
        Ok((CpuStorage::F32(y), (batch, tokens, sizes.dimension).into()))
    }

    fn bwd(&self, qkv: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (batch, tokens, triple) = qkv.dims3()?;
        let sizes = Sizes::new(batch, tokens, triple, self.heads)?;
        let image_len = tokens * triple;
        let gradient = with_values(qkv, |qkv| {
            with_values(dy, |dy| {
                let mut dqkv = vec![0.0; qkv.len()];
                let images = dqkv.par_chunks_exact_mut(image_len.max(1)).zip(qkv.par_chunks_exact(image_len.max(1)));
                let images = images.zip(dy.par_chunks_exact((tokens * sizes.dimension).max(1)));
                images.for_each_init(
                    || (vec![0.0; tokens * tokens], vec![0.0; tokens * tokens]),
                    |(p, ds), ((dqkv, qkv), dy)| {
                        for head in 0..sizes.heads {
                            sizes.probabilities(qkv, head, p);
                            backward_head(&sizes, head, qkv, dy, p, ds, dqkv);
                        }
                    },
                );
                dqkv
            })
        })??;
        Ok(Some(Tensor::from_vec(gradient, qkv.dims(), qkv.device())?))
    }
}

/// Gradient of one head of one image, from its probabilities `p`; `ds` is scratch of the same size.
fn backward_head(sizes: &Sizes, head: usize, qkv: &[f32], dy: &[f32], p: &[f32], ds: &mut [f32], dqkv: &mut [f32]) {
    let (tokens, stride) = (sizes.tokens, 3 * sizes.dimension);
    let dy = Mat::rows(&dy[head * sizes.head..], tokens, sizes.head, sizes.dimension);
    let probabilities = Mat::rows(p, tokens, tokens, tokens);
    let offset = |which: usize| which * sizes.dimension + head * sizes.head;
    let dv = MatMut::rows(&mut dqkv[offset(2)..], tokens, sizes.head, stride);
    multiply(dv, probabilities.t(), dy, 1.0, Into::Set, false);
    multiply(MatMut::rows(ds, tokens, tokens, tokens), dy, sizes.part(qkv, 2, head).t(), 1.0, Into::Set, false);
    for (p, ds) in p.chunks_exact(tokens).zip(ds.chunks_exact_mut(tokens)) {
        vectorised(|| softmax_row_gradient(p, ds));
    }
    let scores = Mat::rows(ds, tokens, tokens, tokens);
    let dq = MatMut::rows(&mut dqkv[offset(0)..], tokens, sizes.head, stride);
    multiply(dq, scores, sizes.part(qkv, 1, head), sizes.scale(), Into::Set, false);
    let dk = MatMut::rows(&mut dqkv[offset(1)..], tokens, sizes.head, stride);
    multiply(dk, scores.t(), sizes.part(qkv, 0, head), sizes.scale(), Into::Set, false);
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random};
    use super::{attention, attention_with_probabilities};

    #[test]
    fn gradients_equal_finite_differences() {
        check(&[(random(&[2, 5, 24], 1) * 2.0).unwrap()], |t| attention(&t[0], 2));
        check(&[random(&[1, 19, 6], 2)], |t| attention(&t[0], 1));
    }

    #[test]
    fn fused_and_explicit_attention_agree() {
        let qkv = (random(&[2, 33, 48], 3) * 3.0).unwrap();
        let fused = attention(&qkv, 4).unwrap();
        let (explicit, probabilities) = attention_with_probabilities(&qkv, 4, None).unwrap();
        let difference = (fused - explicit).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(difference < 1e-5, "{difference}");
        assert_eq!(probabilities.dims(), [2, 4, 33, 33]);
        let sums = probabilities.sum(3).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    }

    #[test]
    fn a_perturbation_receives_the_gradient_of_the_probabilities() {
        let qkv = random(&[1, 4, 12], 5);
        check(&[qkv, (random(&[1, 2, 4, 4], 6) * 0.1).unwrap()], |t| {
            Ok(attention_with_probabilities(&t[0], 2, Some(&t[1]))?.0)
        });
    }

    #[test]
    fn heads_must_divide_the_dimension() {
        assert!(attention(&random(&[1, 4, 12], 5), 3).is_err());
    }
}
