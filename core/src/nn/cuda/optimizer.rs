//! The optimiser's arithmetic, in place on the device.

use candle_core::{DType, Result, Tensor};

use super::super::AdamW;
use super::{Arg, Input, THREADS, each, input, launch, output};

/// Blocks that share out one tensor.
const BLOCKS: usize = 64;

/// Sum of the squares of all values of `tensors`.
pub(crate) fn sum_of_squares<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> Result<f64> {
    let inputs: Vec<(Input, usize)> =
        tensors.map(|t| Ok((input(t, "squares")?, t.elem_count()))).collect::<Result<_>>()?;
    let Some((first, _)) = inputs.first() else { return Ok(0.0) };
    let device = first.device.clone();
    let (sums, at) = output(&device, DType::F32, inputs.len() * BLOCKS)?;
    for (index, (values, count)) in inputs.iter().enumerate() {
        let config = candle_core::cuda_backend::cudarc::driver::LaunchConfig {
            grid_dim: (BLOCKS as u32, 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let to = at + (index * BLOCKS * size_of::<f32>()) as u64;
        launch(&device, "squares", config, &[Arg::At(values.at), Arg::At(to), Arg::Count(*count as u64)])?;
    }
    let sums = super::tensor(sums, inputs.len() * BLOCKS).to_vec1::<f32>()?;
    Ok(sums.iter().map(|sum| f64::from(*sum)).sum())
}

impl AdamW {
    /// As [`AdamW::run`], on tensors of the device, in place.
    pub(crate) fn run_on_device(
        &self,
        value: &Tensor,
        gradient: &Tensor,
        momentum: &Tensor,
        variance: &Tensor,
    ) -> Result<()> {
        let count = value.elem_count();
        let gradient = input(gradient, "adamw")?;
        let [value, momentum, variance] = [in_place(value)?, in_place(momentum)?, in_place(variance)?];
        let args = [
            Arg::At(value.at),
            Arg::At(gradient.at),
            Arg::At(momentum.at),
            Arg::At(variance.at),
            Arg::Count(count as u64),
            Arg::Float(self.clip),
            Arg::Float(self.beta1),
            Arg::Float(self.beta2),
            Arg::Float(self.step),
            Arg::Float(self.variance_scale),
            Arg::Float(self.decay),
            Arg::Float(self.eps),
        ];
        launch(&value.device, "adamw", each(count), &args)
    }
}

/// Moves `average` to `decay * average + (1 - decay) * value`.
pub(crate) fn follow(average: &Tensor, value: &Tensor, decay: f32) -> Result<()> {
    let count = value.elem_count();
    let (average, value) = (in_place(average)?, input(value, "follow")?);
    let args = [Arg::At(average.at), Arg::At(value.at), Arg::Count(count as u64), Arg::Float(decay)];
    launch(&value.device, "follow", each(count), &args)
}

/// A tensor whose own values will be changed: a copy of it would be changed in vain.
fn in_place(tensor: &Tensor) -> Result<Input> {
    if !tensor.is_contiguous() {
        candle_core::bail!("the optimiser takes contiguous tensors");
    }
    input(tensor, "optimiser")
}
