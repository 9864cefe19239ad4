//! Group and layer normalisation.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::LaunchConfig;
use candle_core::{CpuStorage, CudaStorage, CustomOp3, DType, Layout, Result, Shape, Tensor};

use super::super::norm::Norm;
use super::{Arg, address, by_row, input, int, launch, named, not_here, output, tensor};

/// `norm` of `x`, scaled by `gamma` and shifted by `beta`.
pub(in super::super) fn normalise(x: &Tensor, gamma: &Tensor, beta: &Tensor, norm: Norm) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, Normalise(norm))
}

struct Normalise(Norm);

impl Normalise {
    /// What kernels are told of `weights` affine weights: length of a row, values a weight, rows an item.
    fn sizes(&self, weights: usize) -> (usize, [Arg; 3]) {
        let row = self.0.row_len(weights);
        (row, [int(row), int(self.0.affine_repeat), int(self.0.rows_per_item)])
    }
}

impl CustomOp3 for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        not_here("normalise")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        gamma: &CudaStorage,
        gl: &Layout,
        beta: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (count, device) = (xl.shape().elem_count(), x.device());
        let (row, [len, repeat, per_item]) = self.sizes(gl.shape().elem_count());
        let (y, at) = output(device, x.dtype(), count)?;
        let from = [(x, xl), (gamma, gl), (beta, bl)].map(|(storage, layout)| address(storage, layout, "normalise"));
        let [x_at, gamma_at, beta_at] = from;
        let args = [
            Arg::At(x_at?),
            Arg::At(gamma_at?),
            Arg::At(beta_at?),
            Arg::At(at),
            len,
            repeat,
            per_item,
            Arg::Float(self.0.eps),
            Arg::Int(self.0.relu.into()),
        ];
        launch(device, &named("norm", x.dtype()), by_row(count / row.max(1), row), &args)?;
        Ok((y, xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let weights = gamma.elem_count();
        let (row, [len, repeat, per_item]) = self.sizes(weights);
        let (count, relu) = (x.elem_count(), i32::from(self.0.relu));
        let rows = count / row.max(1);
        let (dims, gamma_dims, beta_dims) = (x.dims(), gamma.dims(), beta.dims());
        let [x, gamma, y, dy] = [input(x, "x")?, input(gamma, "gamma")?, input(y, "y")?, input(dy, "dy")?];
        let device = &x.device;
        let (dx, dx_at) = output(device, DType::F32, count)?;
        let (stats, stats_at) = output(device, DType::F32, 2 * rows)?;
        let (dgamma, dgamma_at) = output(device, DType::F32, weights)?;
        let (dbeta, dbeta_at) = output(device, DType::F32, weights)?;
        let args = [
            Arg::At(x.at),
            Arg::At(gamma.at),
            Arg::At(y.at),
            Arg::At(dy.at),
            Arg::At(dx_at),
            Arg::At(stats_at),
            len,
            repeat,
            per_item,
            Arg::Float(self.0.eps),
            Arg::Int(relu),
        ];
        launch(device, "norm_backward", by_row(rows, row), &args)?;
        let sums = [Arg::At(stats_at), Arg::At(dgamma_at), Arg::At(dbeta_at), int(rows), int(row)];
        if self.0.affine_repeat == 1 && self.0.rows_per_item == 1 && relu == 0 {
            let blocks = weights.div_ceil(32) as u32;
            let config = LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (32, 32, 1), shared_mem_bytes: 0 };
            let args: Vec<Arg> = [Arg::At(x.at), Arg::At(dy.at)].into_iter().chain(sums).collect();
            launch(device, "layer_affine", config, &args)?;
        } else {
            let rest = [int(self.0.affine_repeat), int(self.0.rows_per_item), Arg::Int(relu)];
            let args: Vec<Arg> =
                [Arg::At(x.at), Arg::At(y.at), Arg::At(dy.at)].into_iter().chain(sums).chain(rest).collect();
            launch(device, "norm_affine", by_row(weights, self.0.affine_repeat), &args)?;
        }
        drop(stats);
        Ok((Some(tensor(dx, dims)), Some(tensor(dgamma, gamma_dims)), Some(tensor(dbeta, beta_dims))))
    }
}
