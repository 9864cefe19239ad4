//! Convolution, group normalisation, residual and ReLU as one operation.
//!
//! Fused for the backward pass above all: every tensor between operations costs candle a zeroed sum of gradients and an addition over
//! the whole map.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::activation::{CHUNK, add_relu};
use super::conv::{ConvShape, Sizes, conv2d, forward, input_gradient, weight_gradient};
use super::norm::{Norm, group_norm};
use super::raw::{on_cpu, slice, vectorised, widened, with_values};

/// How a [`conv_norm`] ends.
#[derive(Debug, Clone, Copy)]
pub struct NormEnd<'a> {
    /// Groups of channels that are normalised together; divides the output channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
    /// Added after the normalisation: a tensor of the output's shape.
    pub residual: Option<&'a Tensor>,
    /// ReLU at the end.
    pub relu: bool,
}

/// Convolution of `x` (batch, in, height, width) with `weight` (out, in / groups, kernel, kernel), group normalisation scaled by `gamma`
/// and shifted by `beta` (out), plus residual, then ReLU. Gradients flow to all.
pub fn conv_norm(
    x: &Tensor,
    weight: &Tensor,
    (gamma, beta): (&Tensor, &Tensor),
    shape: ConvShape,
    end: NormEnd<'_>,
) -> Result<Tensor> {
    let channels = weight.dim(0)?;
    if end.groups == 0 || channels % end.groups != 0 || gamma.elem_count() != channels || beta.elem_count() != channels
    {
        bail!("conv_norm: {channels} channels do not fit {} groups or their weights", end.groups);
    }
    if !on_cpu(x) {
        let y = conv2d(x, weight, None, shape)?;
        let y = group_norm(&y, gamma, beta, end.groups, end.eps, end.relu && end.residual.is_none())?;
        return match end.residual {
            Some(residual) if end.relu => add_relu(&y, residual),
            Some(residual) => y + residual,
            None => Ok(y),
        };
    }
    // One tensor of parameters, since a custom operation takes three at most.
    let parameters = Tensor::cat(&[&widened(weight)?.flatten_all()?, gamma, beta], 0)?;
    let op = ConvNorm {
        weight: weight.dims().to_vec(),
        shape,
        groups: end.groups,
        eps: end.eps as f32,
        relu: end.relu,
        keep: x.track_op() || parameters.track_op(),
        convolved: OnceLock::new(),
    };
    let x = x.contiguous()?;
    match end.residual {
        Some(residual) => x.apply_op3(&residual.contiguous()?, &parameters, op),
        None => x.apply_op2(&parameters, op),
    }
}

struct ConvNorm {
    weight: Vec<usize>,
    shape: ConvShape,
    groups: usize,
    eps: f32,
    relu: bool,
    /// Whether a backward pass may follow.
    keep: bool,
    /// The convolution's output, which the backward pass needs.
    convolved: OnceLock<Vec<f32>>,
}

/// Gradients of input, residual and parameters.
struct Gradients {
    x: Option<Tensor>,
    residual: Option<Tensor>,
    parameters: Tensor,
}

impl ConvNorm {
    /// Weights, gamma and beta out of the one tensor of parameters.
    fn parts<'a>(&self, parameters: &'a [f32]) -> (&'a [f32], &'a [f32], &'a [f32]) {
        let (weight, affine) = parameters.split_at(self.weight.iter().product());
        let (gamma, beta) = affine.split_at(affine.len() / 2);
        (weight, gamma, beta)
    }

    fn norm(&self, sizes: &Sizes, relu: bool) -> Norm {
        Norm { rows_per_item: self.groups, affine_repeat: sizes.out_plane(), eps: self.eps, relu }
    }

    fn run(
        &self,
        x: (&CpuStorage, &Layout),
        residual: Option<(&CpuStorage, &Layout)>,
        parameters: (&CpuStorage, &Layout),
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::new(x.1.dims(), &self.weight, self.shape)?;
        let (weight, gamma, beta) = self.parts(slice(parameters.0, parameters.1, "conv_norm")?);
        let convolved = forward(&sizes, slice(x.0, x.1, "conv_norm")?, weight, None);
        let norm = self.norm(&sizes, self.relu && residual.is_none());
        let mut y = norm.forward(&convolved, gamma, beta);
        if let Some((storage, layout)) = residual {
            let residual = slice(storage, layout, "conv_norm")?;
            if residual.len() != y.len() {
                bail!("conv_norm: the residual {:?} has not the size of the output", layout.dims());
            }
            let floor = if self.relu { 0.0 } else { f32::NEG_INFINITY };
            y.par_chunks_mut(CHUNK).zip(residual.par_chunks(CHUNK)).for_each(|(y, r)| {
                vectorised(|| y.iter_mut().zip(r).for_each(|(y, r)| *y = (*y + r).max(floor)));
            });
        }
        if self.keep {
            self.convolved.get_or_init(|| convolved);
        }
        Ok((CpuStorage::F32(y), sizes.out_dims().into()))
    }

    fn gradients(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        parameters: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<Gradients> {
        let sizes = Sizes::new(x.dims(), &self.weight, self.shape)?;
        let Some(convolved) = self.convolved.get() else { bail!("conv_norm: a backward pass without a forward pass") };
        let masked = |dy: &[f32], y: &[f32]| {
            let mut masked = dy.to_vec();
            masked.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(dy, y)| {
                vectorised(|| dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = if *y > 0.0 { *dy } else { 0.0 }));
            });
            masked
        };
        let (dx, dp, d_residual) = with_values(parameters, |parameters| -> Result<_> {
            let (weight, gamma, _) = self.parts(parameters);
            let (dz, dgamma, dbeta, d_residual) = with_values(y, |y| {
                with_values(dy, |dy| {
                    // With a residual, ReLU comes after the sum: its mask holds for both branches.
                    let through = (residual.is_some() && self.relu).then(|| masked(dy, y));
                    let norm = self.norm(&sizes, self.relu && residual.is_none());
                    let (dz, dgamma, dbeta) = norm.backward(convolved, gamma, y, through.as_deref().unwrap_or(dy));
                    (dz, dgamma, dbeta, through)
                })
            })??;
            let dx = x.track_op().then(|| input_gradient(&sizes, weight, &dz));
            let mut dp = with_values(x, |x| weight_gradient(&sizes, x, &dz))?;
            dp.extend(dgamma);
            dp.extend(dbeta);
            Ok((dx, dp, d_residual))
        })??;
        let tensor = |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.dims(), like.device());
        let residual = match (residual, d_residual) {
            (Some(residual), Some(values)) => Some(tensor(values, residual)?),
            (Some(_), None) => Some(dy.clone()),
            (None, _) => None,
        };
        Ok(Gradients { x: dx.map(|dx| tensor(dx, x)).transpose()?, residual, parameters: tensor(dp, parameters)? })
    }
}

impl CustomOp2 for ConvNorm {
    fn name(&self) -> &'static str {
        "conv_norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, p: &CpuStorage, pl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((x, xl), None, (p, pl))
    }

    fn bwd(&self, x: &Tensor, p: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradients = self.gradients(x, None, p, y, dy)?;
        Ok((gradients.x, Some(gradients.parameters)))
    }
}

impl CustomOp3 for ConvNorm {
    fn name(&self) -> &'static str {
        "conv_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        r: &CpuStorage,
        rl: &Layout,
        p: &CpuStorage,
        pl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, xl), Some((r, rl)), (p, pl))
    }

    fn bwd(
        &self,
        x: &Tensor,
        r: &Tensor,
        p: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradients = self.gradients(x, Some(r), p, y, dy)?;
        Ok((gradients.x, gradients.residual, Some(gradients.parameters)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Tensor, Var};

    use super::super::gradient_check::random;
    use super::super::{ConvShape, add_relu, conv2d, group_norm};
    use super::{NormEnd, conv_norm};

    /// Output and all gradients of the fused operation are those of its parts, which are checked by finite differences.
    #[test]
    fn it_equals_its_parts() {
        for (x_dims, w_dims, stride, groups) in [
            ([2, 3, 7, 5], [4, 3, 3, 3], 1, 2),
            ([3, 4, 9, 6], [6, 4, 3, 3], 2, 3),
            ([2, 16, 9, 10], [16, 16, 3, 3], 1, 8),
            ([1, 5, 6, 4], [8, 5, 1, 1], 1, 4),
        ] {
            let shape = ConvShape::same(w_dims[2], stride);
            let out = conv2d(&random(&x_dims, 1), &random(&w_dims, 2), None, shape).unwrap();
            for (with_residual, relu) in [(false, false), (false, true), (true, false), (true, true)] {
                let inputs = [
                    random(&x_dims, 1),
                    random(&w_dims, 2),
                    random(&w_dims[..1], 3),
                    random(&w_dims[..1], 4),
                    random(out.dims(), 5),
                ];
                let vars = inputs.each_ref().map(|t| Var::from_tensor(t).unwrap());
                let [x, w, gamma, beta, residual] = vars.each_ref().map(|var| var.as_tensor().clone());
                let residual = with_residual.then_some(&residual);
                let end = NormEnd { groups, eps: 1e-5, residual, relu };
                let fused = conv_norm(&x, &w, (&gamma, &beta), shape, end).unwrap();
                let plain = conv2d(&x, &w, None, shape).unwrap();
                let plain = group_norm(&plain, &gamma, &beta, groups, 1e-5, relu && !with_residual).unwrap();
                let plain = match residual {
                    Some(residual) if relu => add_relu(&plain, residual).unwrap(),
                    Some(residual) => (plain + residual).unwrap(),
                    None => plain,
                };
                let weights = random(out.dims(), 6);
                let all = |y: &Tensor| {
                    let gradients = (y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
                    let mut values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    for var in &vars[..if with_residual { 5 } else { 4 }] {
                        values.extend(gradients.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
                    }
                    values
                };
                for (fused, plain) in all(&fused).into_iter().zip(all(&plain)) {
                    assert!((fused - plain).abs() < 1e-4 * plain.abs().max(1.0), "{fused} {plain}");
                }
            }
        }
    }

    #[test]
    fn weights_that_do_not_fit_are_errors() {
        let (x, w, affine) = (random(&[1, 3, 4, 4], 1), random(&[4, 3, 3, 3], 2), random(&[4], 3));
        let end = NormEnd { groups: 3, eps: 1e-5, residual: None, relu: true };
        assert!(conv_norm(&x, &w, (&affine, &affine), ConvShape::same(3, 1), end).is_err());
        let small = random(&[1, 4, 2, 2], 4);
        let end = NormEnd { groups: 2, residual: Some(&small), ..end };
        assert!(conv_norm(&x, &w, (&affine, &affine), ConvShape::same(3, 1), end).is_err());
    }
}
