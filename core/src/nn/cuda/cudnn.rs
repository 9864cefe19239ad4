//! Convolutions by cuDNN, which is loaded when it is first needed and may be missing. Algorithms are chosen once a shape; the workspace is one
//! buffer that grows.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use candle_core::cuda_backend::DeviceId;
use candle_core::cuda_backend::cudarc::cudnn::{CudnnError, result, sys};
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::{CudaDevice, DType, Result};

use super::super::conv::Sizes;
use super::conv::{Pass, Places};

/// Largest workspace that an algorithm may take.
const MOST_WORKSPACE: usize = 1 << 30;

/// Who asks for rounded products now: a run that ends must not end it for another.
static REDUCED: Mutex<usize> = Mutex::new(0);

/// Lets products of `f32` be rounded to TF32 (10 bits of mantissa) on tensor cores: several times faster, and precise enough to train with.
pub(crate) fn allow_reduced_precision(allow: bool) {
    let mut asking = REDUCED.lock().unwrap_or_else(PoisonError::into_inner);
    *asking = if allow { *asking + 1 } else { asking.saturating_sub(1) };
    candle_core::cuda::set_gemm_reduced_precision_f32(*asking > 0);
}

pub(super) fn reduced_precision() -> bool {
    *REDUCED.lock().unwrap_or_else(PoisonError::into_inner) > 0
}

/// One convolution, prepared. Descriptors are small and kept as long as the program runs.
struct Plan {
    x: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
    algorithm: Algorithm,
    workspace: usize,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    InputGradient(sys::cudnnConvolutionBwdDataAlgo_t),
    WeightGradient(sys::cudnnConvolutionBwdFilterAlgo_t),
}

struct Library {
    handle: sys::cudnnHandle_t,
    plans: HashMap<(Pass, Sizes, DType, bool), Plan>,
    workspace: Option<CudaSlice<u8>>,
}

// SAFETY: cuDNN allows a handle to be used from any thread, one at a time; a mutex sees to that.
unsafe impl Send for Library {}

/// By device; none where it could not be loaded.
static LIBRARIES: Mutex<Option<HashMap<DeviceId, Option<Library>>>> = Mutex::new(None);

/// Computes what `pass` names; false where cuDNN is missing.
pub(super) fn convolve(device: &CudaDevice, pass: Pass, sizes: &Sizes, dtype: DType, places: Places) -> Result<bool> {
    let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
    let library = libraries.get_or_insert_default().entry(device.id()).or_insert_with(|| Library::load(device));
    let Some(library) = library else { return Ok(false) };
    library.run(device, pass, sizes, dtype, places).map_err(candle_core::Error::wrap)?;
    Ok(true)
}

impl Library {
    fn load(device: &CudaDevice) -> Option<Self> {
        // SAFETY: asks the loader only.
        if !unsafe { sys::is_culib_present() } {
            return None;
        }
        let stream = device.cuda_stream();
        stream.context().bind_to_thread().ok()?;
        let handle = result::create_handle().ok()?;
        // SAFETY: the handle is new, and the stream lives as long as its device.
        unsafe { result::set_stream(handle, stream.cu_stream() as *mut _) }.ok()?;
        Some(Self { handle, plans: HashMap::new(), workspace: None })
    }

    fn run(
        &mut self,
        device: &CudaDevice,
        pass: Pass,
        sizes: &Sizes,
        dtype: DType,
        at: Places,
    ) -> std::result::Result<(), CudnnError> {
        let key = (pass, *sizes, dtype, reduced_precision());
        let handle = self.handle;
        let plan = match self.plans.entry(key) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Plan::new(handle, pass, sizes, dtype)?),
        };
        if plan.workspace > self.workspace.as_ref().map_or(0, CudaSlice::len) {
            self.workspace = None;
            // SAFETY: an algorithm writes its workspace before it reads it.
            self.workspace = unsafe { device.cuda_stream().alloc::<u8>(plan.workspace) }.ok();
        }
        let stream = device.cuda_stream();
        let (workspace, size) = match &self.workspace {
            Some(buffer) => (buffer.device_ptr(&stream).0 as *mut c_void, buffer.len()),
            None => (std::ptr::null_mut(), 0),
        };
        let (one, zero) = (1.0f32, 0.0f32);
        let (one, zero) = ((&raw const one).cast::<c_void>(), (&raw const zero).cast::<c_void>());
        let (x, w, y) = (at.x as *mut c_void, at.w as *mut c_void, at.y as *mut c_void);
        // SAFETY: buffers have the sizes of the descriptors, which are those of `sizes`.
        unsafe {
            match plan.algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle, one, plan.x, x, plan.w, w, plan.conv, algorithm, workspace, size, zero, plan.y, y,
                ),
                Algorithm::InputGradient(algorithm) => result::convolution_backward_data(
                    handle, one, plan.w, w, plan.y, y, plan.conv, algorithm, workspace, size, zero, plan.x, x,
                ),
                Algorithm::WeightGradient(algorithm) => result::convolution_backward_filter(
                    handle, one, plan.x, x, plan.y, y, plan.conv, algorithm, workspace, size, zero, plan.w, w,
                ),
            }
        }
    }
}

/// The first of what cuDNN recommends that repeats itself exactly and is modest.
macro_rules! choose {
    ($query:path, $kind:ty, $($argument:expr),*) => {{
        const MOST: usize = 16;
        let mut count = 0;
        let mut found: [$kind; MOST] = unsafe { std::mem::zeroed() };
        unsafe { $query($($argument),*, MOST as i32, &raw mut count, found.as_mut_ptr()) }?;
        let deterministic = sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC;
        let usable = found.iter().take(count.max(0) as usize).find(|f| {
            f.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS
                && f.determinism == deterministic
                && f.memory <= MOST_WORKSPACE
        });
        usable.ok_or(CudnnError(sys::cudnnStatus_t::CUDNN_STATUS_NOT_SUPPORTED))?.algo
    }};
}

impl Plan {
    fn new(
        handle: sys::cudnnHandle_t,
        pass: Pass,
        sizes: &Sizes,
        dtype: DType,
    ) -> std::result::Result<Self, CudnnError> {
        let (kind, math) = match dtype {
            DType::BF16 => (sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16, sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH),
            _ if reduced_precision() => {
                (sys::cudnnDataType_t::CUDNN_DATA_FLOAT, sys::cudnnMathType_t::CUDNN_DEFAULT_MATH)
            }
            _ => (sys::cudnnDataType_t::CUDNN_DATA_FLOAT, sys::cudnnMathType_t::CUDNN_FMA_MATH),
        };
        let nchw = sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW;
        let (x, w, y, conv) = (
            result::create_tensor_descriptor()?,
            result::create_filter_descriptor()?,
            result::create_tensor_descriptor()?,
            result::create_convolution_descriptor()?,
        );
        let (batch, out, out_height, out_width) = sizes.out_dims();
        let dims = |values: [usize; 4]| values.map(|value| value as i32);
        let (padding, stride, dilation) =
            (sizes.shape.padding as i32, sizes.shape.stride as i32, sizes.shape.dilation as i32);
        // SAFETY: the descriptors are new.
        unsafe {
            let input = dims([batch, sizes.in_channels, sizes.height, sizes.width]);
            result::set_tensor4d_descriptor(x, nchw, kind, input)?;
            let filter = dims([out, sizes.group_in(), sizes.kernel_height, sizes.kernel_width]);
            result::set_filter4d_descriptor(w, kind, nchw, filter)?;
            result::set_tensor4d_descriptor(y, nchw, kind, dims([batch, out, out_height, out_width]))?;
            result::set_convolution2d_descriptor(
                conv,
                padding,
                padding,
                stride,
                stride,
                dilation,
                dilation,
                sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION,
                sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
            )?;
            result::set_convolution_group_count(conv, sizes.shape.groups as i32)?;
            result::set_convolution_math_type(conv, math)?;
        }
        let (algorithm, workspace) = match pass {
            Pass::Forward => {
                let algorithm = choose!(
                    result::get_convolution_forward_algorithm,
                    sys::cudnnConvolutionFwdAlgoPerf_t,
                    handle,
                    x,
                    w,
                    conv,
                    y
                );
                // SAFETY: descriptors are set.
                let size = unsafe { result::get_convolution_forward_workspace_size(handle, x, w, conv, y, algorithm) }?;
                (Algorithm::Forward(algorithm), size)
            }
            Pass::InputGradient => {
                let algorithm = choose!(
                    result::get_convolution_backward_data_algorithm,
                    sys::cudnnConvolutionBwdDataAlgoPerf_t,
                    handle,
                    w,
                    y,
                    conv,
                    x
                );
                // SAFETY: descriptors are set.
                let size =
                    unsafe { result::get_convolution_backward_data_workspace_size(handle, w, y, conv, x, algorithm) }?;
                (Algorithm::InputGradient(algorithm), size)
            }
            Pass::WeightGradient => {
                let algorithm = choose!(
                    result::get_convolution_backward_filter_algorithm,
                    sys::cudnnConvolutionBwdFilterAlgoPerf_t,
                    handle,
                    x,
                    y,
                    conv,
                    w
                );
                // SAFETY: descriptors are set.
                let size = unsafe {
                    result::get_convolution_backward_filter_workspace_size(handle, x, y, conv, w, algorithm)
                }?;
                (Algorithm::WeightGradient(algorithm), size)
            }
        };
        Ok(Self { x, w, y, conv, algorithm, workspace })
    }
}
