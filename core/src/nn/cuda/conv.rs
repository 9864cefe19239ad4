//! Convolution: by cuDNN, or where it is missing by columns and cuBLAS.

use std::ffi::c_void;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::cublas::{result, sys};
use candle_core::{
    CpuStorage, CudaDevice, CudaStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail,
};

use super::super::conv::{ConvShape, Sizes};
use super::values::relu_mask;
use super::{Arg, address, by_row, cudnn, each, input, int, launch, named, not_here, output, tensor};

/// As `nn::conv2d`.
pub(in super::super) fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, shape: ConvShape) -> Result<Tensor> {
    let dims = weight.dims4()?.into();
    let parameters = match bias {
        Some(bias) if bias.elem_count() == weight.dim(0)? => {
            Tensor::cat(&[weight.flatten_all()?, bias.flatten_all()?], 0)?
        }
        Some(bias) => bail!("conv2d: a bias of {} values for weights {:?}", bias.elem_count(), weight.dims()),
        None => weight.contiguous()?,
    };
    let (x, shape) = padded(x, shape)?;
    x.apply_op2(&parameters, Conv { dims, shape, bias: bias.is_some(), relu: false })
}

/// As `nn::conv_bias`, from weights of `dims` and bias in one tensor.
pub(in super::super) fn conv_bias(
    x: &Tensor,
    (parameters, dims): (&Tensor, [usize; 4]),
    shape: ConvShape,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    let (x, shape) = padded(x, shape)?;
    let op = Conv { dims, shape, bias: true, relu };
    match residual {
        Some(residual) => x.apply_op3(&residual.contiguous()?, parameters, op),
        None => x.apply_op2(parameters, op),
    }
}

/// Rows and columns of zeros that `shape` puts behind the input alone are put there: cuDNN pads evenly.
fn padded(x: &Tensor, shape: ConvShape) -> Result<(Tensor, ConvShape)> {
    let x = match shape.trailing {
        0 => x.clone(),
        trailing => x.pad_with_zeros(2, 0, trailing)?.pad_with_zeros(3, 0, trailing)?,
    };
    Ok((x.contiguous()?, ConvShape { trailing: 0, ..shape }))
}

/// Convolution, plus bias, plus residual, then ReLU; weights and bias are one tensor.
struct Conv {
    dims: [usize; 4],
    shape: ConvShape,
    bias: bool,
    relu: bool,
}

/// Which of a convolution's three tensors is computed from the other two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    Forward,
    InputGradient,
    WeightGradient,
}

/// Where input, weights and output, or their gradients, are.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub x: u64,
    pub w: u64,
    pub y: u64,
}

impl Conv {
    fn run(
        &self,
        x: (&CudaStorage, &Layout),
        residual: Option<(&CudaStorage, &Layout)>,
        parameters: (&CudaStorage, &Layout),
    ) -> Result<(CudaStorage, Shape)> {
        let sizes = Sizes::new(x.1.dims(), &self.dims, self.shape)?;
        let (device, dtype) = (x.0.device(), x.0.dtype());
        let weights: usize = self.dims.iter().product();
        let dims = sizes.out_dims();
        let count = dims.0 * dims.1 * sizes.out_plane();
        let residual_fits = residual.is_none_or(|(r, l)| r.dtype() == dtype && l.shape().elem_count() == count);
        let expected = weights + if self.bias { dims.1 } else { 0 };
        if parameters.1.shape().elem_count() != expected || parameters.0.dtype() != dtype || !residual_fits {
            bail!("conv2d: weights, bias or residual have not the size and type of the input {:?}", x.1.dims());
        }
        let (y, y_at) = output(device, dtype, count)?;
        let w_at = address(parameters.0, parameters.1, "conv2d")?;
        let places = Places { x: address(x.0, x.1, "conv2d")?, w: w_at, y: y_at };
        convolve(device, Pass::Forward, &sizes, dtype, places)?;
        if self.bias || self.relu || residual.is_some() {
            let residual = residual.map_or(Ok(0), |(storage, layout)| address(storage, layout, "conv2d"))?;
            let bias = if self.bias { w_at + (weights * dtype.size_in_bytes()) as u64 } else { 0 };
            let args = [
                Arg::At(y_at),
                Arg::At(bias),
                Arg::At(residual),
                Arg::Count(count as u64),
                int(sizes.out_plane()),
                int(dims.1),
                Arg::Int(self.relu.into()),
            ];
            launch(device, &named("finish", dtype), each(count), &args)?;
        }
        Ok((y, dims.into()))
    }

    /// Gradients of input, parameters, and of what was added to the output.
    fn gradients(&self, x: &Tensor, p: &Tensor, y: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let sizes = Sizes::new(x.dims(), &self.dims, self.shape)?;
        let through = if self.relu { relu_mask(y, dy)? } else { dy.contiguous()? };
        let (input_x, input_p, input_dy) = (input(x, "x")?, input(p, "weights")?, input(&through, "dy")?);
        let device = &input_x.device;
        let dx = if x.track_op() {
            let (dx, at) = output(device, DType::F32, x.elem_count())?;
            let places = Places { x: at, w: input_p.at, y: input_dy.at };
            convolve(device, Pass::InputGradient, &sizes, DType::F32, places)?;
            Some(tensor(dx, x.dims()))
        } else {
            None
        };
        // Folded weights are constants: only inputs have gradients then.
        let dp = if p.track_op() {
            let (dp, at) = output(device, DType::F32, p.elem_count())?;
            let places = Places { x: input_x.at, w: at, y: input_dy.at };
            convolve(device, Pass::WeightGradient, &sizes, DType::F32, places)?;
            if self.bias {
                let weights: usize = self.dims.iter().product();
                let args = [
                    Arg::At(input_dy.at),
                    Arg::At(at + (weights * size_of::<f32>()) as u64),
                    int(sizes.batch),
                    int(sizes.out_channels),
                    int(sizes.out_plane()),
                ];
                launch(device, "channel_sums", by_row(sizes.out_channels, sizes.out_plane()), &args)?;
            }
            Some(tensor(dp, p.dims()))
        } else {
            None
        };
        Ok([dx, dp, Some(through)])
    }
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here("conv2d")
    }

    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, p: &CudaStorage, pl: &Layout) -> Result<(CudaStorage, Shape)> {
        self.run((x, xl), None, (p, pl))
    }

    fn bwd(&self, x: &Tensor, p: &Tensor, y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dp, _] = self.gradients(x, p, y, dy)?;
        Ok((dx, dp))
    }
}

impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
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
        not_here("conv2d")
    }

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        r: &CudaStorage,
        rl: &Layout,
        p: &CudaStorage,
        pl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.run((x, xl), Some((r, rl)), (p, pl))
    }

    fn bwd(
        &self,
        x: &Tensor,
        _: &Tensor,
        p: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, dp, dr] = self.gradients(x, p, y, dy)?;
        Ok((dx, dr, dp))
    }
}

/// Computes what `pass` names.
fn convolve(device: &CudaDevice, pass: Pass, sizes: &Sizes, dtype: DType, places: Places) -> Result<()> {
    if cudnn::convolve(device, pass, sizes, dtype, places)? {
        return Ok(());
    }
    by_columns(device, pass, sizes, dtype, places)
}

/// The same without cuDNN: image by image, the input as a matrix of columns.
pub(super) fn by_columns(
    device: &CudaDevice,
    pass: Pass,
    sizes: &Sizes,
    dtype: DType,
    Places { x, w, y }: Places,
) -> Result<()> {
    let bytes = dtype.size_in_bytes() as u64;
    let (taps, group_out, plane, groups) = (sizes.taps(), sizes.group_out(), sizes.out_plane(), sizes.shape.groups);
    let (in_image, out_image) = (sizes.in_channels * sizes.in_plane(), sizes.out_channels * plane);
    let pointwise = sizes.is_pointwise();
    let count = groups * taps * plane;
    let (columns, columns_at) = output(device, dtype, if pointwise { 1 } else { count })?;
    let geometry = [
        sizes.height,
        sizes.width,
        sizes.kernel_height,
        sizes.kernel_width,
        sizes.out_height,
        sizes.out_width,
        sizes.shape.stride,
        sizes.shape.padding,
        sizes.shape.dilation,
    ];
    for image in 0..sizes.batch {
        let (x, y) = (x + (image * in_image) as u64 * bytes, y + (image * out_image) as u64 * bytes);
        let at = if pointwise { x } else { columns_at };
        if pass != Pass::InputGradient && !pointwise {
            let mut args = vec![Arg::At(x), Arg::At(at), Arg::Count(count as u64)];
            args.extend(geometry.map(int));
            launch(device, &named("im2col", dtype), each(count), &args)?;
        }
        let weights = Matrix { at: w, transposed: false, line: taps, step: group_out * taps };
        let patches = Matrix { at, transposed: false, line: plane, step: taps * plane };
        let outputs = Matrix { at: y, transposed: false, line: plane, step: group_out * plane };
        match pass {
            Pass::Forward => multiply(device, dtype, (group_out, plane, taps), weights, patches, outputs, 0.0, groups)?,
            Pass::InputGradient => {
                multiply(device, dtype, (taps, plane, group_out), weights.t(), outputs, patches, 0.0, groups)?;
                if !pointwise {
                    let mut args = vec![Arg::At(at), Arg::At(x), Arg::Count(in_image as u64)];
                    args.extend(geometry.map(int));
                    launch(device, "col2im", each(in_image), &args)?;
                }
            }
            Pass::WeightGradient => {
                let onto = if image == 0 { 0.0 } else { 1.0 };
                multiply(device, dtype, (group_out, taps, plane), outputs, patches.t(), weights, onto, groups)?;
            }
        }
    }
    drop(columns);
    Ok(())
}

/// Matrices of a batch, row by row.
#[derive(Clone, Copy)]
struct Matrix {
    at: u64,
    transposed: bool,
    /// Values from one stored row to the next.
    line: usize,
    /// Values from one matrix of the batch to the next.
    step: usize,
}

impl Matrix {
    fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
}

/// `c = a · b + onto · c` for `batch` matrices (m, k), (k, n), (m, n).
#[allow(clippy::too_many_arguments)]
fn multiply(
    device: &CudaDevice,
    dtype: DType,
    (m, n, k): (usize, usize, usize),
    a: Matrix,
    b: Matrix,
    c: Matrix,
    onto: f32,
    batch: usize,
) -> Result<()> {
    let one = 1.0f32;
    let kind = match dtype {
        DType::BF16 => sys::cudaDataType_t::CUDA_R_16BF,
        _ => sys::cudaDataType_t::CUDA_R_32F,
    };
    let compute = if dtype == DType::F32 && cudnn::reduced_precision() {
        sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32
    } else {
        sys::cublasComputeType_t::CUBLAS_COMPUTE_32F
    };
    let op = |matrix: &Matrix| match matrix.transposed {
        true => sys::cublasOperation_t::CUBLAS_OP_T,
        false => sys::cublasOperation_t::CUBLAS_OP_N,
    };
    let blas = device.cublas_handle();
    // cuBLAS counts by columns: the product of the transposed matrices, in exchanged order, is the same in memory.
    // SAFETY: the matrices lie inside buffers whose sizes `Sizes` gave.
    unsafe {
        result::gemm_strided_batched_ex(
            *blas.handle(),
            op(&b),
            op(&a),
            n as i32,
            m as i32,
            k as i32,
            (&raw const one).cast(),
            b.at as *const c_void,
            kind,
            b.line as i32,
            b.step as i64,
            a.at as *const c_void,
            kind,
            a.line as i32,
            a.step as i64,
            (&raw const onto).cast(),
            c.at as *mut c_void,
            kind,
            c.line as i32,
            c.step as i64,
            batch as i32,
            compute,
            sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
        )
    }
    .map_err(candle_core::Error::wrap)
}
