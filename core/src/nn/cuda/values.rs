//! Activations and softmax.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, CustomOp2, D, DType, Layout, Result, Shape, Tensor, bail};

use super::{Arg, address, by_row, each, input, int, launch, named, not_here, output, tensor};

/// `relu(a + b)` of two tensors of the same shape.
pub(in super::super) fn add_relu(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    a.contiguous()?.apply_op2(&b.contiguous()?, AddRelu)
}

/// Gaussian error linear unit.
pub(in super::super) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Gelu)
}

/// Softmax over the last axis.
pub(in super::super) fn softmax(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Softmax)
}

/// `dy` where `y` is positive, and 0 elsewhere.
pub(super) fn relu_mask(y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    binary("relu_mask", y, dy)
}

/// A kernel from two tensors of the same size to one.
fn binary(kernel: &str, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (count, dims) = (a.elem_count(), a.dims());
    let (a, b) = (input(a, "a")?, input(b, "b")?);
    let (y, at) = output(&a.device, DType::F32, count)?;
    launch(&a.device, kernel, each(count), &[Arg::At(a.at), Arg::At(b.at), Arg::At(at), Arg::Count(count as u64)])?;
    Ok(tensor(y, dims))
}

struct AddRelu;

impl CustomOp2 for AddRelu {
    fn name(&self) -> &'static str {
        "add_relu"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here("add_relu")
    }

    fn cuda_fwd(&self, a: &CudaStorage, al: &Layout, b: &CudaStorage, bl: &Layout) -> Result<(CudaStorage, Shape)> {
        if al.shape() != bl.shape() || a.dtype() != b.dtype() {
            bail!("add_relu: {:?} {:?} and {:?} {:?} differ", al.shape(), a.dtype(), bl.shape(), b.dtype());
        }
        let (count, device) = (al.shape().elem_count(), a.device());
        let (y, at) = output(device, a.dtype(), count)?;
        let args = [
            Arg::At(address(a, al, "add_relu")?),
            Arg::At(address(b, bl, "add_relu")?),
            Arg::At(at),
            Arg::Count(count as u64),
        ];
        launch(device, &named("add_relu", a.dtype()), each(count), &args)?;
        Ok((y, al.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let masked = relu_mask(y, dy)?;
        Ok((Some(masked.clone()), Some(masked)))
    }
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here("gelu")
    }

    fn cuda_fwd(&self, x: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        let (count, device) = (l.shape().elem_count(), x.device());
        let (y, at) = output(device, x.dtype(), count)?;
        let args = [Arg::At(address(x, l, "gelu")?), Arg::At(at), Arg::Count(count as u64)];
        launch(device, &named("gelu", x.dtype()), each(count), &args)?;
        Ok((y, l.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(binary("gelu_backward", x, dy)?))
    }
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here("softmax")
    }

    fn cuda_fwd(&self, x: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        let (count, device) = (l.shape().elem_count(), x.device());
        let row = l.dims().last().copied().unwrap_or(1).max(1);
        let (y, at) = output(device, x.dtype(), count)?;
        let args = [Arg::At(address(x, l, "softmax")?), Arg::At(at), int(row)];
        launch(device, &named("softmax", x.dtype()), by_row(count / row, row), &args)?;
        Ok((y, l.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(softmax_gradient(y, dy)?))
    }
}

/// Gradient of softmax over rows, from its output: `y (dy - Σ y dy)`.
pub(super) fn softmax_gradient(y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let (count, dims, row) = (y.elem_count(), y.dims(), y.dim(D::Minus1)?.max(1));
    let (y, dy) = (input(y, "y")?, input(dy, "dy")?);
    let (dx, at) = output(&y.device, DType::F32, count)?;
    let args = [Arg::At(y.at), Arg::At(dy.at), Arg::At(at), int(row)];
    launch(&y.device, "softmax_backward", by_row(count / row, row), &args)?;
    Ok(tensor(dx, dims))
}
