//! Layers and kernels, each with its gradient.
//!
//! On the CPU every operation here is a kernel of our own, run as a candle custom op with a backward pass; candle's own
//! convolution copies its input per image, its backward convolves with a kernel as large as the image, and several of its
//! layers cut gradients silently (candle issues 3569, 1593, 3507). On CUDA they are kernels of our own beside cuBLAS and cuDNN (`cuda`); on
//! Metal the same functions are composed from candle's operations. Every gradient is checked in the tests, by finite differences
//! or, for fused operations, against their parts.
//!
//! Axis order is `(batch, channel, height, width)` for images and `(batch, token, dimension)` for tokens; `f32` throughout, but that
//! weights which do not learn may be held in 16 bits ([`WeightStorage`]); on CUDA also `bf16` for forward passes.

mod activation;
mod adamw;
mod attention;
mod batch_norm;
mod boxes;
mod conv;
mod conv_bias;
mod conv_norm;
#[cfg(feature = "cuda")]
mod cuda;
mod gemm;
#[cfg(test)]
mod gradient_check;
mod linear;
mod linear_attention;
mod norm;
mod packed;
mod plan;
mod pool;
mod product;
mod raw;
mod recompute;
mod resize;
mod roi_align;
mod winograd;

pub use activation::{add_relu, gelu, sigmoid, softmax};
pub use adamw::AdamW;
pub use attention::{attention, attention_with_probabilities};
pub use batch_norm::{BatchStatistics, batch_norm, fold_norm, standardise_weight};
pub use boxes::{BoundingBox, BoxCoder, nms};
pub use conv::{ConvShape, conv2d};
pub use conv_bias::{ConvBias, conv_bias};
pub use conv_norm::{NormEnd, conv_norm};
#[cfg(feature = "cuda")]
pub use cuda::open_cuda;
#[cfg(feature = "cuda")]
pub(crate) use cuda::{follow, sum_of_squares};
pub use linear::linear;
pub use linear_attention::{linear_attention, linear_attention_with_probabilities};
pub use norm::{group_norm, layer_norm};
pub use packed::WeightStorage;
pub use plan::{Activation, Finish, Plan, PreparedWeights, Runner, Size, StepTime, Value};
pub use pool::{adaptive_avg_pool2d, max_pool2d};
pub use recompute::Recompute;
pub use resize::{Interpolation, resize_bilinear, resize_matrix};
pub use roi_align::{Roi, RoiGrid, roi_align};

/// While it lives, products of `f32` on CUDA may be rounded to TF32 (10 bits of mantissa): several times faster on tensor cores, and precise
/// enough to train with. Elsewhere it does nothing.
pub struct ReducedPrecision(());

impl ReducedPrecision {
    /// From now on.
    pub fn begin() -> Self {
        #[cfg(feature = "cuda")]
        cuda::allow_reduced_precision(true);
        Self(())
    }
}

impl Drop for ReducedPrecision {
    fn drop(&mut self) {
        #[cfg(feature = "cuda")]
        cuda::allow_reduced_precision(false);
    }
}
