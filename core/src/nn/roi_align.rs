//! Region-of-interest alignment.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::boxes::BoundingBox;
#[cfg(feature = "cuda")]
use super::cuda;
use super::raw::{slice, with_values};

/// A region of one image of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roi {
    /// Index of the image.
    pub image: usize,
    /// The region, in pixels of the network's input.
    pub bounds: BoundingBox,
}

/// How regions are sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RoiGrid {
    /// Rows of cells.
    pub rows: usize,
    /// Columns of cells.
    pub columns: usize,
    /// Map pixels per input pixel: 1/8 for a map of stride 8.
    pub scale: f32,
    /// Samples a cell in each direction; 0 takes one a map pixel.
    pub sampling: usize,
}

/// The mean of bilinear samples in each cell of a grid over each of `rois`, for `x` (batch, channel, height, width); returns (region,
/// channel, row, column). The gradient flows to `x`, not to the regions. On Metal it runs on the CPU.
///
/// RoIAlign (He et al., 2017) with half-pixel offset, as torchvision's `roi_align(aligned=True)`: samples outside the map by more than a pixel
/// count as 0.
pub fn roi_align(x: &Tensor, rois: &[Roi], grid: RoiGrid) -> Result<Tensor> {
    let (batch, channels, _, _) = x.dims4()?;
    if let Some(roi) = rois.iter().find(|roi| roi.image >= batch) {
        bail!("roi_align: image {} of a batch of {batch}", roi.image);
    }
    if grid.rows == 0 || grid.columns == 0 {
        bail!("roi_align: a grid of {} x {} cells", grid.rows, grid.columns);
    }
    if rois.is_empty() {
        return Tensor::zeros((0, channels, grid.rows, grid.columns), x.dtype(), x.device());
    }
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::roi_align(x, rois, grid);
    }
    let op = RoiAlign { rois: rois.to_vec(), grid };
    if x.device().is_cpu() {
        return x.contiguous()?.apply_op1(op);
    }
    x.to_device(&Device::Cpu)?.contiguous()?.apply_op1(op)?.to_device(x.device())
}

struct RoiAlign {
    rois: Vec<Roi>,
    grid: RoiGrid,
}

/// The map's lines that a row or column of cells reads, with weights: bilinear weights are products of one a direction, so that the mean over
/// a cell's samples is one too.
type Taps = Vec<(usize, f32)>;

/// More samples of a cell than any map has lines: a region may be absurdly large.
const MOST_SAMPLES: f32 = 4096.0;

/// The cells of a region along one direction, in pixels of the map.
pub(super) struct Cells {
    pub start: f32,
    pub size: f32,
    /// Samples of a cell.
    pub samples: usize,
}

impl Cells {
    /// `cells` of them from `start` to `end` (input pixels).
    fn new(start: f32, end: f32, cells: usize, grid: &RoiGrid) -> Self {
        let (start, end) = (start * grid.scale - 0.5, end * grid.scale - 0.5);
        let size = (end - start) / cells as f32;
        let samples = if grid.sampling > 0 { grid.sampling } else { size.ceil().clamp(0.0, MOST_SAMPLES) as usize };
        Self { start, size, samples }
    }
}

/// Cells of a region along y and x.
pub(super) fn cells_of(roi: &Roi, grid: &RoiGrid) -> [Cells; 2] {
    let BoundingBox { x1, y1, x2, y2 } = roi.bounds;
    [Cells::new(y1, y2, grid.rows, grid), Cells::new(x1, x2, grid.columns, grid)]
}

/// Taps of `cells` cells on a line of `length`.
fn taps(&Cells { start, size: cell, samples }: &Cells, cells: usize, length: usize) -> Vec<Taps> {
    let weight = 1.0 / samples.max(1) as f32;
    let last = length.saturating_sub(1);
    let taps_of = |index: usize| {
        let mut taps = Taps::new();
        let mut add = |line: usize, weight: f32| match taps.iter_mut().find(|(other, _)| *other == line) {
            Some((_, sum)) => *sum += weight,
            None => taps.push((line, weight)),
        };
        for sample in 0..samples {
            let at = start + index as f32 * cell + (sample as f32 + 0.5) * cell / samples as f32;
            if !(-1.0..=length as f32).contains(&at) {
                continue;
            }
            let at = at.clamp(0.0, last as f32);
            let (first, share) = (at as usize, at.fract());
            add(first, weight * (1.0 - share));
            if share > 0.0 {
                add((first + 1).min(last), weight * share);
            }
        }
        taps
    };
    (0..cells).map(taps_of).collect()
}

impl RoiAlign {
    /// Taps of the rows and of the columns of a region's cells.
    fn taps(&self, roi: &Roi, height: usize, width: usize) -> (Vec<Taps>, Vec<Taps>) {
        let [y, x] = cells_of(roi, &self.grid);
        (taps(&y, self.grid.rows, height), taps(&x, self.grid.columns, width))
    }
}

impl CustomOp1 for RoiAlign {
    fn name(&self) -> &'static str {
        "roi_align"
    }

    fn cpu_fwd(&self, x: &CpuStorage, l: &Layout) -> Result<(CpuStorage, Shape)> {
        let &[_, channels, height, width] = l.dims() else { bail!("roi_align takes (batch, channel, height, width)") };
        let x = slice(x, l, "roi_align")?;
        let (plane, cells) = (height * width, self.grid.rows * self.grid.columns);
        let mut y = vec![0.0; self.rois.len() * channels * cells];
        y.par_chunks_exact_mut(channels * cells).zip(&self.rois).for_each(|(y, roi)| {
            let (rows, columns) = self.taps(roi, height, width);
            let x = &x[roi.image * channels * plane..][..channels * plane];
            for (y, x) in y.chunks_exact_mut(cells).zip(x.chunks_exact(plane)) {
                for (y, rows) in y.chunks_exact_mut(self.grid.columns).zip(&rows) {
                    for (y, columns) in y.iter_mut().zip(&columns) {
                        for (row, by_row) in rows {
                            let line = &x[row * width..][..width];
                            *y += by_row * columns.iter().map(|(column, weight)| weight * line[*column]).sum::<f32>();
                        }
                    }
                }
            }
        });
        Ok((CpuStorage::F32(y), (self.rois.len(), channels, self.grid.rows, self.grid.columns).into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, channels, height, width) = x.dims4()?;
        let cells = self.grid.rows * self.grid.columns;
        let all_taps: Vec<_> = self.rois.iter().map(|roi| self.taps(roi, height, width)).collect();
        let dx = with_values(dy, |dy| {
            let mut dx = vec![0.0; x.elem_count()];
            // A task a plane, which takes the regions of its image in order: the sum does not depend on threads.
            dx.par_chunks_exact_mut(height * width).enumerate().for_each(|(index, dx)| {
                let (image, channel) = (index / channels, index % channels);
                let regions = self.rois.iter().zip(&all_taps).enumerate().filter(|(_, (roi, _))| roi.image == image);
                for (region, (_, (rows, columns))) in regions {
                    let dy = &dy[(region * channels + channel) * cells..][..cells];
                    for (dy, rows) in dy.chunks_exact(self.grid.columns).zip(rows) {
                        for (dy, columns) in dy.iter().zip(columns) {
                            for (row, by_row) in rows {
                                for (column, by_column) in columns {
                                    dx[row * width + column] += dy * by_row * by_column;
                                }
                            }
                        }
                    }
                }
            });
            dx
        })?;
        Ok(Some(Tensor::from_vec(dx, x.dims(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::boxes::BoundingBox;
    use super::super::gradient_check::{check, random};
    use super::{Roi, RoiGrid, roi_align};

    const ROIS: [Roi; 4] = [
        Roi { image: 1, bounds: BoundingBox { x1: 2.3, y1: 1.1, x2: 17.9, y2: 13.7 } },
        Roi { image: 0, bounds: BoundingBox { x1: -9.0, y1: -7.0, x2: 6.0, y2: 40.0 } },
        Roi { image: 1, bounds: BoundingBox { x1: 5.0, y1: 5.0, x2: 5.5, y2: 5.2 } },
        Roi { image: 1, bounds: BoundingBox { x1: 0.0, y1: 0.0, x2: 24.0, y2: 20.0 } },
    ];

    #[test]
    fn gradients_equal_finite_differences() {
        let x = random(&[2, 2, 5, 6], 1);
        for (sampling, rows, columns) in [(2, 3, 2), (0, 2, 3), (1, 1, 1)] {
            let grid = RoiGrid { rows, columns, scale: 0.25, sampling };
            check(std::slice::from_ref(&x), |t| roi_align(&t[0], &ROIS, grid));
        }
    }

    #[test]
    fn a_ramp_is_read_where_the_cells_are() {
        let values: Vec<f32> = (0..64).map(|index| (index % 8) as f32).collect();
        let x = candle_core::Tensor::from_vec(values, (1, 1, 8, 8), &candle_core::Device::Cpu).unwrap();
        let grid = RoiGrid { rows: 1, columns: 2, scale: 0.5, sampling: 2 };
        let roi = Roi { image: 0, bounds: BoundingBox::new(4.0, 4.0, 12.0, 12.0) };
        let y = roi_align(&x, &[roi], grid).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // Columns 2 to 6 of the map, whose pixel centres are at halves: cells are centred at 3 and 5, values 2.5 and 4.5.
        assert!((y[0] - 2.5).abs() < 1e-5 && (y[1] - 4.5).abs() < 1e-5, "{y:?}");
    }

    #[test]
    fn odd_regions_do_not_panic() {
        let x = random(&[1, 2, 4, 4], 1);
        let grid = RoiGrid { rows: 2, columns: 2, scale: 0.25, sampling: 0 };
        assert_eq!(roi_align(&x, &[], grid).unwrap().dims(), [0, 2, 2, 2]);
        for bounds in [
            BoundingBox::new(9.0, 9.0, 3.0, 3.0),
            BoundingBox::new(f32::NAN, 0.0, 1.0, f32::INFINITY),
            BoundingBox::new(-1e30, -1e30, 1e30, 1e30),
        ] {
            assert_eq!(roi_align(&x, &[Roi { image: 0, bounds }], grid).unwrap().dims(), [1, 2, 2, 2]);
        }
        assert!(roi_align(&x, &[ROIS[0]], grid).is_err(), "there is no second image");
    }
}
