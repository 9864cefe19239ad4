//! The room's operations on NVIDIA GPUs: kernels of our own (`kernels.cu`), matrix products by cuBLAS, convolutions by cuDNN where it is
//! installed.
//!
//! Forward passes take `f32` and `bf16`, sums being `f32` in both; gradients are for `f32`. Every sum runs in one order, so that a training
//! run repeats itself bit for bit. All work goes to one stream (see `model::open_device`): buffers need no events, and what is freed is
//! freed after its last use.
//!
//! Pointers of the device are plain numbers in here. What makes them valid: they come from contiguous tensors that live until the launch
//! is queued, and sizes are checked before.
#![allow(unsafe_code)] // a launch is unsafe by nature

mod attention;
mod conv;
mod cudnn;
mod maps;
mod norm;
mod optimizer;
#[cfg(test)]
mod tests;
mod values;

use std::sync::{Mutex, PoisonError};

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, LaunchConfig, PushKernelArg};
use candle_core::op::BackpropOp;
use candle_core::{CudaDevice, CudaStorage, DType, Device, Layout, Result, Shape, Storage, Tensor, bail};

pub(super) use attention::attention;
pub(crate) use cudnn::allow_reduced_precision;
pub(crate) use optimizer::{follow, sum_of_squares};

pub(super) use conv::{conv_bias, conv2d};
pub(super) use maps::{max_pool2d, resize_bilinear, roi_align};
pub(super) use norm::normalise;
pub(super) use values::{add_relu, gelu, softmax};

/// The kernels as PTX, which the driver compiles for the GPU at hand when they are first asked for.
const KERNELS: &str = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));

/// The first NVIDIA GPU, opened once and shared: its kernels, cuDNN's plans and workspace are not made again for the next network. Where there
/// is none, why.
///
/// Everything runs on one stream, which any thread may use, so that the events by which streams wait for each other are switched off.
pub fn open_cuda() -> std::result::Result<Device, String> {
    static OPEN: Mutex<Option<Device>> = Mutex::new(None);
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(device) = &*open {
        return Ok(device.clone());
    }
    let device = open_first()?;
    *open = Some(device.clone());
    Ok(device)
}

fn open_first() -> std::result::Result<Device, String> {
    #[cfg(feature = "cuda-loading")]
    {
        use candle_core::cuda_backend::cudarc::{cublas, curand, driver};
        // Asked first: what is missing panics where it is called.
        // SAFETY: asks the loader only.
        let found = unsafe {
            [
                (driver::sys::is_culib_present(), "an NVIDIA driver"),
                (cublas::sys::is_culib_present(), "the CUDA library cuBLAS"),
                (curand::sys::is_culib_present(), "the CUDA library cuRAND"),
            ]
        };
        if let Some((_, name)) = found.iter().find(|(found, _)| !found) {
            return Err(format!("{name} was not found"));
        }
    }
    let device = Device::new_cuda_with_stream(0).map_err(|error| error.to_string())?;
    if let Device::Cuda(device) = &device {
        // SAFETY: there is one stream.
        unsafe { device.disable_event_tracking() };
    }
    Ok(device)
}

/// Whether the kernels take `tensor`.
pub(super) fn takes(tensor: &Tensor) -> bool {
    tensor.device().is_cuda() && matches!(tensor.dtype(), DType::F32 | DType::BF16)
}

/// An argument of a kernel.
enum Arg {
    /// Address on the device; 0 for none.
    At(u64),
    Int(i32),
    Float(f32),
    Count(u64),
}

fn int(value: usize) -> Arg {
    Arg::Int(value as i32)
}

/// Threads of kernels that go element by element.
const THREADS: u32 = 256;

/// A launch over `n` elements.
fn each(n: usize) -> LaunchConfig {
    let blocks = n.div_ceil(THREADS as usize).clamp(1, 1 << 16) as u32;
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
}

/// A launch of one block for each of `rows` rows of `len` values.
fn by_row(rows: usize, len: usize) -> LaunchConfig {
    let threads = (len / 4).next_power_of_two().clamp(32, 1024) as u32;
    LaunchConfig { grid_dim: (rows as u32, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

/// Queues the kernel `name`.
fn launch(device: &CudaDevice, name: &str, config: LaunchConfig, args: &[Arg]) -> Result<()> {
    if config.grid_dim.0 == 0 || config.grid_dim.1 == 0 {
        return Ok(()); // nothing to compute
    }
    let function = device.get_or_load_custom_func(name, "bifocal", KERNELS)?;
    let mut builder = function.builder();
    for arg in args {
        match arg {
            Arg::At(value) | Arg::Count(value) => builder.arg(value),
            Arg::Int(value) => builder.arg(value),
            Arg::Float(value) => builder.arg(value),
        };
    }
    // SAFETY: arguments are those of the kernel in `kernels.cu`, and buffers have the sizes that it is told.
    unsafe { builder.launch(config) }.map_err(candle_core::Error::wrap)?;
    Ok(())
}

/// The name of a kernel for values of `dtype`.
fn named(name: &str, dtype: DType) -> String {
    format!("{name}_{}", dtype.as_str())
}

/// Where the values of a contiguous tensor are.
fn address(storage: &CudaStorage, layout: &Layout, op: &'static str) -> Result<u64> {
    let Some((start, _)) = layout.contiguous_offsets() else { bail!("{op} takes contiguous tensors") };
    let stream = storage.device().cuda_stream();
    let base = match storage.dtype() {
        DType::F32 => storage.as_cuda_slice::<f32>()?.device_ptr(&stream).0,
        DType::BF16 => storage.as_cuda_slice::<half::bf16>()?.device_ptr(&stream).0,
        other => bail!("{op} takes f32 and bf16, not {other:?}"),
    };
    Ok(base + (start * storage.dtype().size_in_bytes()) as u64)
}

/// A tensor on the device whose values lie in a row.
struct Input {
    at: u64,
    device: CudaDevice,
    /// Keeps the values.
    _tensor: Tensor,
}

/// `tensor`, contiguous.
fn input(tensor: &Tensor, op: &'static str) -> Result<Input> {
    let tensor = tensor.contiguous()?;
    let (at, device) = {
        let (storage, layout) = tensor.storage_and_layout();
        let Storage::Cuda(storage) = &*storage else { bail!("{op} takes tensors of a CUDA device") };
        (address(storage, layout, op)?, storage.device().clone())
    };
    Ok(Input { at, device, _tensor: tensor })
}

/// A new buffer that a kernel will fill, and where it is.
fn output(device: &CudaDevice, dtype: DType, len: usize) -> Result<(CudaStorage, u64)> {
    // SAFETY: the caller's kernel writes every value.
    let storage = unsafe {
        match dtype {
            DType::F32 => CudaStorage::wrap_cuda_slice(device.alloc::<f32>(len.max(1))?, device.clone()),
            DType::BF16 => CudaStorage::wrap_cuda_slice(device.alloc::<half::bf16>(len.max(1))?, device.clone()),
            other => bail!("kernels take f32 and bf16, not {other:?}"),
        }
    };
    let at = address(&storage, &Layout::contiguous(len), "output")?;
    Ok((storage, at))
}

/// A tensor without history over a filled buffer.
fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// What the forward pass of an operation on the CPU says, which is never asked for.
fn not_here<T>(op: &'static str) -> Result<T> {
    bail!("{op}: this is the operation of CUDA devices")
}
