//! Weights of a network that does not learn, in the bits that they were stored in.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Shape, Tensor, bail};
use candle_nn::VarBuilder;
use candle_nn::init::Init;
use candle_nn::var_builder::SimpleBackend;

/// Tensors by name. Those that most of the memory goes to, matrices and filters, stay as they are; all others come in the precision that is asked
/// for. Kernels on the CPU widen the former when they need them, so that sums have 32 bits.
struct StoredWeights(HashMap<String, Tensor>);

/// Whether the tensor `name` is a matrix or a filter.
pub(super) fn is_matrix(name: &str, tensor: &Tensor) -> bool {
    name.ends_with("weight") && tensor.rank() > 1
}

/// A builder over `weights`, for the CPU.
pub(super) fn as_stored(weights: HashMap<String, Tensor>) -> VarBuilder<'static> {
    VarBuilder::from_backend(Box::new(StoredWeights(weights)), DType::F32, Device::Cpu)
}

impl SimpleBackend for StoredWeights {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let tensor = self.get_unchecked(name, dtype, device)?;
        if *tensor.shape() != shape {
            bail!("{name}: {:?}, not {:?}", tensor.dims(), shape.dims());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, _: &Device) -> Result<Tensor> {
        let Some(tensor) = self.0.get(name) else { bail!("cannot find tensor {name}") };
        match tensor.dtype() {
            DType::F16 | DType::BF16 if is_matrix(name, tensor) => Ok(tensor.clone()),
            _ => tensor.to_dtype(dtype),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}
