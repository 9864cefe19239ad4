//! Convolution, bias, residual and ReLU as one operation: what is left of a block once its batch normalisation is folded in.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::activation::CHUNK;
use super::conv::{ConvShape, Sizes, bias_gradient, conv2d, forward, input_gradient, weight_gradient};
#[cfg(feature = "cuda")]
use super::cuda;
use super::raw::{on_cpu, slice, vectorised, with_values};

/// A convolution's weights (out, in / groups, kernel, kernel) and bias (out), kept as one tensor, since a custom operation takes three
/// tensors at most.
#[derive(Debug, Clone)]
pub struct ConvBias {
    parameters: Tensor,
    /// Views of the parameters.
    weight: Tensor,
    bias: Tensor,
    dims: [usize; 4],
}

impl ConvBias {
    /// Joins `weight` and `bias`; gradients flow to both.
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let (out, inputs, height, width) = weight.dims4()?;
        if bias.elem_count() != out {
            bail!("conv_bias: the bias does not have {out} values");
        }
        let parameters = Tensor::cat(&[&weight.flatten_all()?, &bias.flatten_all()?], 0)?;
        let count = out * inputs * height * width;
        let weight = parameters.narrow(0, 0, count)?.reshape((out, inputs, height, width))?;
        let bias = parameters.narrow(0, count, out)?;
        Ok(Self { parameters, weight, bias, dims: [out, inputs, height, width] })
    }

    /// Weights (out, in, kernel, kernel) and bias (out).
    pub fn parts(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }
}

/// Convolution of `x` (batch, in, height, width), plus bias, plus `residual` (of the output's shape), then ReLU where `relu` is set.
/// Gradients flow to all.
pub fn conv_bias(
    x: &Tensor,
    conv: &ConvBias,
    shape: ConvShape,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::conv_bias(x, (&conv.parameters, conv.dims), shape, residual, relu);
    }
    if !on_cpu(x) {
        let mut y = conv2d(x, &conv.weight, Some(&conv.bias), shape)?;
        if let Some(residual) = residual {
            y = (y + residual)?;
        }
        return if relu { y.relu() } else { Ok(y) };
    }
    let op = Op { dims: conv.dims, shape, relu };
    let x = x.contiguous()?;
    match residual {
        Some(residual) => x.apply_op3(&residual.contiguous()?, &conv.parameters, op),
        None => x.apply_op2(&conv.parameters, op),
    }
}

struct Op {
    dims: [usize; 4],
    shape: ConvShape,
    relu: bool,
}

impl Op {
    fn run(
        &self,
        x: (&CpuStorage, &Layout),
        residual: Option<(&CpuStorage, &Layout)>,
        parameters: (&CpuStorage, &Layout),
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::new(x.1.dims(), &self.dims, self.shape)?;
        let parameters = slice(parameters.0, parameters.1, "conv_bias")?;
        let (weight, bias) = parameters.split_at(self.dims.iter().product());
        let mut y = forward(&sizes, slice(x.0, x.1, "conv_bias")?, weight, Some(bias));
        let floor = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        match residual {
            Some((storage, layout)) => {
                let residual = slice(storage, layout, "conv_bias")?;
                if residual.len() != y.len() {
                    bail!("conv_bias: the residual {:?} has not the size of the output", layout.dims());
                }
                y.par_chunks_mut(CHUNK).zip(residual.par_chunks(CHUNK)).for_each(|(y, r)| {
                    vectorised(|| y.iter_mut().zip(r).for_each(|(y, r)| *y = (*y + r).max(floor)));
                });
            }
            None if self.relu => y.par_chunks_mut(CHUNK).for_each(|y| {
                vectorised(|| y.iter_mut().for_each(|y| *y = y.max(0.0)));
            }),
            None => {}
        }
        Ok((CpuStorage::F32(y), sizes.out_dims().into()))
    }

    /// Gradients of input, residual and parameters.
    fn gradients(
        &self,
        x: &Tensor,
        p: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Tensor, Option<Tensor>)> {
        let sizes = Sizes::new(x.dims(), &self.dims, self.shape)?;
        let mut through = with_values(dy, <[f32]>::to_vec)?;
        if self.relu {
            with_values(y, |y| {
                through.par_chunks_mut(CHUNK).zip(y.par_chunks(CHUNK)).for_each(|(dy, y)| {
                    vectorised(|| dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = if *y > 0.0 { *dy } else { 0.0 }));
                });
            })?;
        }
        let weights = self.dims.iter().product();
        let dx = x
            .track_op()
            .then(|| with_values(p, |p| input_gradient(&sizes, &p[..weights], &through)))
            .transpose()?
            .map(|dx| Tensor::from_vec(dx, x.dims(), x.device()))
            .transpose()?;
        // Folded weights are constants: only inputs have gradients then.
        let dp = if p.track_op() {
            let mut dp = with_values(x, |x| weight_gradient(&sizes, x, &through))?;
            dp.extend(bias_gradient(&sizes, &through));
            Some(Tensor::from_vec(dp, p.dims(), p.device())?)
        } else {
            None
        };
        Ok((dx, Tensor::from_vec(through, y.dims(), y.device())?, dp))
    }
}

impl CustomOp2 for Op {
    fn name(&self) -> &'static str {
        "conv_bias"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, p: &CpuStorage, pl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((x, xl), None, (p, pl))
    }

    fn bwd(&self, x: &Tensor, p: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, _, dp) = self.gradients(x, p, y, dy)?;
        Ok((dx, dp))
    }
}

impl CustomOp3 for Op {
    fn name(&self) -> &'static str {
        "conv_bias"
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
        _r: &Tensor,
        p: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dr, dp) = self.gradients(x, p, y, dy)?;
        Ok((dx, Some(dr), dp))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Var;

    use super::super::gradient_check::{check, random};
    use super::super::{ConvShape, add_relu, conv2d};
    use super::{ConvBias, conv_bias};

    #[test]
    fn gradients_equal_finite_differences() {
        let inputs = [random(&[2, 3, 5, 4], 1), random(&[4, 3, 3, 3], 2), random(&[4], 3), random(&[2, 4, 5, 4], 4)];
        check(&inputs[..3], |t| conv_bias(&t[0], &ConvBias::new(&t[1], &t[2])?, ConvShape::same(3, 1), None, false));
        check(&inputs, |t| conv_bias(&t[0], &ConvBias::new(&t[1], &t[2])?, ConvShape::same(3, 1), Some(&t[3]), false));
    }

    /// With ReLU, whose corner finite differences would trip over: equal to its parts, which are checked.
    #[test]
    fn it_equals_its_parts() {
        for (x, w, stride) in
            [([2, 3, 7, 5], [4, 3, 3, 3], 1), ([3, 4, 9, 6], [6, 4, 3, 3], 2), ([1, 5, 6, 4], [8, 5, 1, 1], 1)]
        {
            let shape = ConvShape::same(w[2], stride);
            let out = conv2d(&random(&x, 1), &random(&w, 2), None, shape).unwrap();
            for with_residual in [false, true] {
                let inputs = [random(&x, 1), random(&w, 2), random(&w[..1], 3), random(out.dims(), 4)];
                let vars = inputs.each_ref().map(|t| Var::from_tensor(t).unwrap());
                let [x, w, b, r] = vars.each_ref().map(|var| var.as_tensor().clone());
                let residual = with_residual.then_some(&r);
                let fused = conv_bias(&x, &ConvBias::new(&w, &b).unwrap(), shape, residual, true).unwrap();
                let plain = conv2d(&x, &w, Some(&b), shape).unwrap();
                let plain = residual.map_or_else(|| plain.relu().unwrap(), |r| add_relu(&plain, r).unwrap());
                let weights = random(out.dims(), 6);
                let all = |y: &candle_core::Tensor| {
                    let gradients = (y * &weights).unwrap().sum_all().unwrap().backward().unwrap();
                    let mut values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    for var in &vars[..if with_residual { 4 } else { 3 }] {
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
}
