//! Access to the numbers behind a tensor, and scratch memory.

use std::cell::RefCell;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, bail};

/// The `f32` values of a contiguous storage.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout, op: &'static str) -> Result<&'a [f32]> {
    let CpuStorage::F32(values) = storage else {
        bail!("{op} takes f32 tensors");
    };
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("{op} takes contiguous tensors"),
    }
}

/// Calls `f` with the `f32` values of `tensor` in row-major order.
pub(super) fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(slice(storage, layout, "kernel")?)),
        _ => bail!("kernel takes CPU tensors"),
    }
}

/// Whether the kernels of this room apply; elsewhere the same function is composed from candle's operations.
pub(super) fn on_cpu(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// `weight` in 32 bits: a network that does not learn may hold it in 16.
pub(super) fn widened(weight: &Tensor) -> Result<Tensor> {
    weight.to_dtype(DType::F32)
}

/// Runs an element-wise loop with the widest vectors that the processor has.
pub(super) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `f` with a scratch buffer of `len` values, left as the thread's last call of that depth left them. Buffers are kept: a nested call on
/// the same thread has one of its own.
pub(super) fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = f(&mut buffer[..len]);
    SCRATCH.with_borrow_mut(|buffers| buffers.push(buffer));
    result
}
