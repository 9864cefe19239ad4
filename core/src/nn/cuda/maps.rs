//! Pooling, resampling and regions of interest.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DevicePtr, LaunchConfig};
use candle_core::{CpuStorage, CudaDevice, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use super::super::pool::MaxPool;
use super::super::resize::Bilinear;
use super::super::roi_align::{Roi, RoiGrid, cells_of};
use super::{Arg, THREADS, address, each, input, int, launch, named, not_here, output, tensor};

/// As `nn::max_pool2d`.
pub(in super::super) fn max_pool2d(x: &Tensor, pool: MaxPool) -> Result<Tensor> {
    x.contiguous()?.apply_op1(CudaMaxPool(pool))
}

/// As `nn::resize_bilinear`.
pub(in super::super) fn resize_bilinear(x: &Tensor, to: Bilinear) -> Result<Tensor> {
    x.contiguous()?.apply_op1(CudaBilinear(to))
}

/// As `nn::roi_align`.
pub(in super::super) fn roi_align(x: &Tensor, rois: &[Roi], grid: RoiGrid) -> Result<Tensor> {
    if x.dtype() != DType::F32 {
        bail!("roi_align takes f32");
    }
    let cells: Vec<_> = rois.iter().map(|roi| (roi.image, cells_of(roi, &grid))).collect();
    let bounds = cells.iter().flat_map(|(image, [y, x])| [*image as f32, y.start, y.size, x.start, x.size]).collect();
    let samples = cells.iter().flat_map(|(_, [y, x])| [y.samples as i32, x.samples as i32]).collect();
    x.contiguous()?.apply_op1(CudaRoiAlign { regions: rois.len(), bounds, samples, grid })
}

struct CudaMaxPool(MaxPool);

impl CustomOp1 for CudaMaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here("max_pool2d")
    }

    fn cuda_fwd(&self, x: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        let &[batch, channels, height, width] = l.dims() else {
            bail!("max_pool2d takes (batch, channel, height, width)")
        };
        let (rows, cols) = (self.0.out_size(height)?, self.0.out_size(width)?);
        let (count, device) = (batch * channels * rows * cols, x.device());
        let (y, at) = output(device, x.dtype(), count)?;
        let MaxPool { kernel, stride, padding } = self.0;
        let from = address(x, l, "max_pool2d")?;
        let mut args = vec![Arg::At(from), Arg::At(at), Arg::Count(count as u64)];
        args.extend([height, width, rows, cols, kernel, stride, padding.0].map(int));
        launch(device, &named("max_pool", x.dtype()), each(count), &args)?;
        Ok((y, (batch, channels, rows, cols).into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, height, width) = x.dims4()?;
        let (_, _, rows, cols) = y.dims4()?;
        let (count, dims) = (x.elem_count(), x.dims());
        let (x, dy) = (input(x, "x")?, input(dy, "dy")?);
        let (dx, at) = output(&x.device, DType::F32, count)?;
        let MaxPool { kernel, stride, padding } = self.0;
        let mut args = vec![Arg::At(x.at), Arg::At(dy.at), Arg::At(at), Arg::Count(count as u64)];
        args.extend([height, width, rows, cols, kernel, stride, padding.0].map(int));
        launch(&x.device, "max_pool_backward", each(count), &args)?;
        Ok(Some(tensor(dx, dims)))
    }
}

struct CudaBilinear(Bilinear);

impl CustomOp1 for CudaBilinear {
    fn name(&self) -> &'static str {
        "resize_bilinear"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here("resize_bilinear")
    }

    fn cuda_fwd(&self, x: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        let &[batch, channels, height, width] = l.dims() else {
            bail!("resize_bilinear takes (batch, channel, height, width)")
        };
        let Bilinear { rows, cols } = self.0;
        let (count, device) = (batch * channels * rows * cols, x.device());
        let (y, at) = output(device, x.dtype(), count)?;
        let mut args = vec![Arg::At(address(x, l, "resize_bilinear")?), Arg::At(at), Arg::Count(count as u64)];
        args.extend([height, width, rows, cols].map(int));
        launch(device, &named("bilinear", x.dtype()), each(count), &args)?;
        Ok((y, (batch, channels, rows, cols).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, height, width) = x.dims4()?;
        let dy = input(dy, "dy")?;
        let (dx, at) = output(&dy.device, DType::F32, x.elem_count())?;
        let mut args = vec![Arg::At(dy.at), Arg::At(at), Arg::Count(x.elem_count() as u64)];
        args.extend([height, width, self.0.rows, self.0.cols].map(int));
        launch(&dy.device, "bilinear_backward", each(x.elem_count()), &args)?;
        Ok(Some(tensor(dx, x.dims())))
    }
}

struct CudaRoiAlign {
    regions: usize,
    /// Of each region: image, start and size of a cell along y, and along x, in pixels of the map.
    bounds: Vec<f32>,
    /// Samples of a cell along y and x.
    samples: Vec<i32>,
    grid: RoiGrid,
}

impl CudaRoiAlign {
    /// Calls `work` with the regions' addresses on `device`.
    fn with_regions<R>(&self, device: &CudaDevice, work: impl FnOnce(Arg, Arg) -> Result<R>) -> Result<R> {
        let (bounds, samples) = (device.clone_htod(&self.bounds)?, device.clone_htod(&self.samples)?);
        let stream = device.cuda_stream();
        let result = work(Arg::At(bounds.device_ptr(&stream).0), Arg::At(samples.device_ptr(&stream).0));
        drop((bounds, samples));
        result
    }
}

impl CustomOp1 for CudaRoiAlign {
    fn name(&self) -> &'static str {
        "roi_align"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        not_here("roi_align")
    }

    fn cuda_fwd(&self, x: &CudaStorage, l: &Layout) -> Result<(CudaStorage, Shape)> {
        let &[_, channels, height, width] = l.dims() else { bail!("roi_align takes (batch, channel, height, width)") };
        let RoiGrid { rows, columns, .. } = self.grid;
        let (count, device) = (self.regions * channels * rows * columns, x.device());
        let (y, at) = output(device, x.dtype(), count)?;
        let from = address(x, l, "roi_align")?;
        self.with_regions(device, |bounds, samples| {
            let mut args = vec![Arg::At(from), bounds, samples, Arg::At(at), Arg::Count(count as u64)];
            args.extend([channels, height, width, rows, columns].map(int));
            launch(device, "roi_align", each(count), &args)
        })?;
        Ok((y, (self.regions, channels, rows, columns).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (batch, channels, height, width) = x.dims4()?;
        let dy = input(dy, "dy")?;
        let (dx, at) = output(&dy.device, DType::F32, x.elem_count())?;
        let config = LaunchConfig {
            grid_dim: ((batch * height * width) as u32, 1, 1),
            block_dim: ((channels as u32).next_multiple_of(32).min(THREADS), 1, 1),
            shared_mem_bytes: 0,
        };
        self.with_regions(&dy.device, |bounds, samples| {
            let mut args = vec![Arg::At(dy.at), bounds, samples, Arg::At(at), int(self.regions)];
            args.extend([channels, height, width, self.grid.rows, self.grid.columns].map(int));
            launch(&dy.device, "roi_align_backward", config, &args)
        })?;
        Ok(Some(tensor(dx, x.dims())))
    }
}
