//! Self-attention in memory linear in the tokens.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::LaunchConfig;
use candle_core::{CpuStorage, CudaStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};

use super::super::attention::attention_with_probabilities;
use super::values::softmax_gradient;
use super::{Arg, address, int, launch, named, not_here, output};

/// As `nn::attention`. Heads of other widths than the kernel's go through the explicit product.
pub(in super::super) fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let width = qkv.dim(D::Minus1)? / (3 * heads.max(1));
    if matches!(width, 16 | 32 | 48 | 64) {
        return qkv.contiguous()?.apply_op1(Attention { heads, width });
    }
    Ok(attention_with_probabilities(qkv, heads, None)?.0)
}

struct Attention {
    heads: usize,
    /// Values of a head.
    width: usize,
}

/// Queries of a block.
const QUERIES: usize = 64;

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here("attention")
    }

    fn cuda_fwd(&self, qkv: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        let &[batch, tokens, triple] = l.dims() else { bail!("attention takes (batch, token, 3 dimension)") };
        if triple != 3 * self.heads * self.width {
            bail!("attention: {triple} values a token do not cut into three times {} heads", self.heads);
        }
        let device = qkv.device();
        let (y, at) = output(device, qkv.dtype(), batch * tokens * triple / 3)?;
        let args = [
            Arg::At(address(qkv, l, "attention")?),
            Arg::At(at),
            int(tokens),
            int(self.heads),
            Arg::Float((self.width as f32).powf(-0.5)),
        ];
        let config = LaunchConfig {
            grid_dim: (tokens.div_ceil(QUERIES) as u32, (batch * self.heads) as u32, 1),
            block_dim: (if qkv.dtype() == DType::F32 { 256 } else { 128 }, 1, 1),
            shared_mem_bytes: 0,
        };
        launch(device, &format!("{}_{}", named("attention", qkv.dtype()), self.width), config, &args)?;
        Ok((y, (batch, tokens, triple / 3).into()))
    }

    /// Probabilities are computed again, as a matrix.
    fn bwd(&self, qkv: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (batch, tokens, triple) = qkv.dims3()?;
        let parts = qkv.detach().reshape((batch, tokens, 3, self.heads, self.width))?.permute((2, 0, 3, 1, 4))?;
        let part = |index: usize| parts.get(index)?.contiguous();
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scale = (self.width as f64).powf(-0.5);
        let p = super::softmax(&(q.matmul(&k.t()?)? * scale)?)?;
        let dy = dy.reshape((batch, tokens, self.heads, self.width))?.transpose(1, 2)?.contiguous()?;
        let dv = p.t()?.matmul(&dy)?;
        let ds = (softmax_gradient(&p, &dy.matmul(&v.t()?)?)? * scale)?;
        let (dq, dk) = (ds.matmul(&k)?, ds.t()?.matmul(&q)?);
        // (part, batch, head, token, width) to (batch, token, part, head, width).
        let joined = Tensor::stack(&[dq, dk, dv], 0)?.permute((1, 3, 0, 2, 4))?.contiguous()?;
        Ok(Some(joined.reshape((batch, tokens, triple))?))
    }
}
