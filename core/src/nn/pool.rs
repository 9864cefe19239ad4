//! Pooling.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda;
use super::raw::{slice, with_values};

/// Maximum over windows of `kernel`² at `stride`, the border padded by `padding` pixels (before, after) that never win; for `x` (batch,
/// channel, height, width). Any kernel and stride (candle's has no gradient where they differ). On Metal it runs on the CPU.
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: (usize, usize)) -> Result<Tensor> {
    let op = MaxPool { kernel, stride, padding };
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(op);
    }
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::max_pool2d(x, op);
    }
    x.to_device(&candle_core::Device::Cpu)?.contiguous()?.apply_op1(op)?.to_device(x.device())
}

pub(super) struct MaxPool {
    pub kernel: usize,
    pub stride: usize,
    pub padding: (usize, usize),
}

impl MaxPool {
    pub(super) fn out_size(&self, size: usize) -> Result<usize> {
        let (before, after) = self.padding;
        if self.kernel == 0
            || self.stride == 0
            || before.max(after) >= self.kernel
            || size + before + after < self.kernel
        {
            bail!(
                "max_pool2d: kernel {}, stride {}, padding {:?} do not fit {size} pixels",
                self.kernel,
                self.stride,
                self.padding
            );
        }
        Ok((size + before + after - self.kernel) / self.stride + 1)
    }

    /// Input range that output `out` sees.
    fn window(&self, out: usize, size: usize) -> std::ops::Range<usize> {
        let start = out * self.stride;
        start.saturating_sub(self.padding.0)..(start + self.kernel).saturating_sub(self.padding.0).min(size)
    }

    /// Index of the largest value in a window; the first of equals, as PyTorch.
    fn winner(&self, plane: &[f32], width: usize, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> usize {
        let mut best = rows.start * width + cols.start;
        for row in rows {
            for index in row * width + cols.start..row * width + cols.end {
                if plane[index] > plane[best] {
                    best = index;
                }
            }
        }
        best
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let &[batch, channels, height, width] = l.dims() else {
            bail!("max_pool2d takes (batch, channel, height, width)")
        };
        let (out_height, out_width) = (self.out_size(height)?, self.out_size(width)?);
        let x = slice(x, l, "max_pool2d")?;
        let mut y = vec![0.0; batch * channels * out_height * out_width];
        y.par_chunks_exact_mut(out_height * out_width).zip(x.par_chunks_exact(height * width)).for_each(|(y, x)| {
            for (row, y) in y.chunks_exact_mut(out_width).enumerate() {
                for (col, y) in y.iter_mut().enumerate() {
                    *y = x[self.winner(x, width, self.window(row, height), self.window(col, width))];
                }
            }
        });
        Ok((CpuStorage::F32(y), (batch, channels, out_height, out_width).into()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, height, width) = x.dims4()?;
        let (_, _, out_height, out_width) = y.dims4()?;
        let dx = with_values(x, |x| {
            with_values(dy, |dy| {
                let mut dx = vec![0.0; x.len()];
                let planes = dx.par_chunks_exact_mut(height * width).zip(x.par_chunks_exact(height * width));
                planes.zip(dy.par_chunks_exact(out_height * out_width)).for_each(|((dx, x), dy)| {
                    for (row, dy) in dy.chunks_exact(out_width).enumerate() {
                        for (col, dy) in dy.iter().enumerate() {
                            dx[self.winner(x, width, self.window(row, height), self.window(col, width))] += dy;
                        }
                    }
                });
                dx
            })
        })??;
        Ok(Some(Tensor::from_vec(dx, x.dims(), x.device())?))
    }
}

/// Mean over a grid of `rows` x `cols` nearly equal cells (PyTorch's bounds: start rounded down, end up), for `x` (batch, channel,
/// height, width). Returns `x` itself where it has that size already.
pub fn adaptive_avg_pool2d(x: &Tensor, rows: usize, cols: usize) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    if (height, width) == (rows, cols) {
        return Ok(x.clone());
    }
    let matrix = |from: usize, to: usize| -> Result<Tensor> {
        let mut values = vec![0.0f32; to * from];
        for (cell, weights) in values.chunks_exact_mut(from).enumerate() {
            let (start, end) = (cell * from / to, ((cell + 1) * from).div_ceil(to));
            weights[start..end].fill(1.0 / (end - start) as f32);
        }
        Tensor::from_vec(values, (to, from), x.device())
    };
    // Averages are separable: one small matrix a direction.
    let by_width = x.reshape((batch * channels * height, width))?.matmul(&matrix(width, cols)?.t()?)?;
    let columns_first = by_width.reshape((batch * channels, height, cols))?.transpose(1, 2)?.contiguous()?;
    let by_height = columns_first.reshape((batch * channels * cols, height))?.matmul(&matrix(height, rows)?.t()?)?;
    by_height
        .reshape((batch * channels, cols, rows))?
        .transpose(1, 2)?
        .contiguous()?
        .reshape((batch, channels, rows, cols))
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random};
    use super::{adaptive_avg_pool2d, max_pool2d};

    #[test]
    fn max_pool_takes_the_largest_and_sends_its_gradient_back() {
        // Values far apart: a finite difference must not change the winner.
        let values: Vec<f32> = (0..2 * 7 * 9).map(|i| ((i * 37) % 126) as f32 / 10.0).collect();
        let x = candle_core::Tensor::from_vec(values, (1, 2, 7, 9), &candle_core::Device::Cpu).unwrap();
        for (kernel, stride, padding) in
            [(3, 2, (1, 1)), (2, 2, (0, 0)), (3, 1, (1, 1)), (2, 3, (0, 0)), (3, 2, (0, 1))]
        {
            check(std::slice::from_ref(&x), |t| max_pool2d(&t[0], kernel, stride, padding));
        }
        assert_eq!(max_pool2d(&x, 3, 2, (1, 1)).unwrap().dims(), [1, 2, 4, 5]);
        assert!(max_pool2d(&x, 3, 0, (1, 1)).is_err());
    }

    #[test]
    fn adaptive_pool_averages_cells() {
        let x = random(&[2, 3, 5, 7], 1);
        check(std::slice::from_ref(&x), |t| adaptive_avg_pool2d(&t[0], 2, 3));
        let all = adaptive_avg_pool2d(&x, 1, 1).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mean = x.mean((2, 3)).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(all.iter().zip(mean).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
