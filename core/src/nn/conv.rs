//! Two-dimensional convolution: 1x1 without any copy, 3x3 of stride 1 by Winograd where it pays, all else by blocked im2col and
//! matrix product.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

#[cfg(feature = "cuda")]
use super::cuda;
use super::gemm::{Into, Mat, MatMut, multiply};
use super::raw::{on_cpu, slice, widened, with_scratch, with_values};
use super::winograd::Winograd;

/// Stride, padding, dilation and groups of a convolution; padding is of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Step between outputs, in both directions.
    pub stride: usize,
    /// Zeros around the input, in both directions.
    pub padding: usize,
    /// Distance of kernel taps.
    pub dilation: usize,
    /// Channel groups; input and output channels are multiples of it.
    pub groups: usize,
    /// Zeros behind the last row and column, beyond those of `padding` (TensorFlow's "SAME" pads unevenly).
    pub trailing: usize,
}

impl ConvShape {
    /// Kernel `size` with "same" padding at stride 1, or half of it at `stride`.
    pub fn same(size: usize, stride: usize) -> Self {
        Self { stride, padding: size / 2, dilation: 1, groups: 1, trailing: 0 }
    }

    /// Kernel `size` at `stride` with TensorFlow's "SAME" padding, for inputs whose height and width are multiples of the stride.
    pub fn tensorflow_same(size: usize, stride: usize) -> Self {
        let total = size.saturating_sub(stride);
        Self { stride, padding: total / 2, dilation: 1, groups: 1, trailing: total % 2 }
    }
}

/// Convolution of `x` (batch, in, height, width) with `weight` (out, in / groups, kernel height, kernel width) and `bias` (out).
///
/// Returns (batch, out, height', width') with height' = (height + 2 padding - dilation (kernel height - 1) - 1) / stride + 1.
/// Gradients flow to all three.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, shape: ConvShape) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if cuda::takes(x) {
        return cuda::conv2d(x, weight, bias, shape);
    }
    if !on_cpu(x) {
        let x = x.pad_with_zeros(2, 0, shape.trailing)?.pad_with_zeros(3, 0, shape.trailing)?;
        let y = x.conv2d(weight, shape.padding, shape.stride, shape.dilation, shape.groups)?;
        return match bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            None => Ok(y),
        };
    }
    let (x, weight) = (x.contiguous()?, widened(weight)?.contiguous()?);
    match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Conv { shape }),
        None => x.apply_op2(&weight, Conv { shape }),
    }
}

/// All sizes of one convolution.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Sizes {
    pub batch: usize,
    pub in_channels: usize,
    pub height: usize,
    pub width: usize,
    pub out_channels: usize,
    pub kernel_height: usize,
    pub kernel_width: usize,
    pub out_height: usize,
    pub out_width: usize,
    pub shape: ConvShape,
}

impl Sizes {
    pub(super) fn new(x: &[usize], w: &[usize], shape: ConvShape) -> Result<Self> {
        let (&[batch, in_channels, height, width], &[out_channels, group_in, kernel_height, kernel_width]) = (x, w)
        else {
            bail!(
                "conv2d takes (batch, channel, height, width) and (out, in, kernel height, kernel width), not {x:?} and {w:?}"
            );
        };
        let ConvShape { stride, padding, dilation, groups, trailing } = shape;
        if groups == 0 || stride == 0 || dilation == 0 || out_channels % groups != 0 || group_in * groups != in_channels
        {
            bail!(
                "conv2d: {in_channels} input and {out_channels} output channels do not fit {shape:?} and weights {w:?}"
            );
        }
        let out = |size: usize, kernel: usize| {
            (size + 2 * padding + trailing)
                .checked_sub(dilation * (kernel.max(1) - 1) + 1)
                .map(|rest| rest / stride + 1)
        };
        let (Some(out_height), Some(out_width)) = (out(height, kernel_height), out(width, kernel_width)) else {
            bail!("conv2d: an input of {height}x{width} is smaller than the kernel");
        };
        Ok(Self {
            batch,
            in_channels,
            height,
            width,
            out_channels,
            kernel_height,
            kernel_width,
            out_height,
            out_width,
            shape,
        })
    }

    pub(super) fn group_in(&self) -> usize {
        self.in_channels / self.shape.groups
    }

    pub(super) fn group_out(&self) -> usize {
        self.out_channels / self.shape.groups
    }

    /// Values of a filter.
    pub(super) fn taps(&self) -> usize {
        self.group_in() * self.kernel_height * self.kernel_width
    }

    pub(super) fn in_plane(&self) -> usize {
        self.height * self.width
    }

    /// (batch, out, height', width').
    pub(super) fn out_dims(&self) -> (usize, usize, usize, usize) {
        (self.batch, self.out_channels, self.out_height, self.out_width)
    }

    pub(super) fn out_plane(&self) -> usize {
        self.out_height * self.out_width
    }

    /// A 1x1 kernel at stride 1: the input already is the column matrix.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel_height == 1
            && self.kernel_width == 1
            && self.shape.stride == 1
            && self.shape.padding == 0
            && self.shape.trailing == 0
    }

    /// Winograd's form, where it applies and pays.
    fn winograd(&self) -> Option<Winograd> {
        let ConvShape { stride, padding, dilation, groups, trailing } = self.shape;
        let applies =
            (self.kernel_height, self.kernel_width) == (3, 3) && (stride, dilation, groups, trailing) == (1, 1, 1, 0);
        let winograd = Winograd {
            in_channels: self.in_channels,
            out_channels: self.out_channels,
            height: self.height,
            width: self.width,
            padding,
        };
        (applies && padding <= 2 && winograd.pays(self.batch)).then_some(winograd)
    }

    /// Output rows whose columns fill about half of a second-level cache.
    fn block_rows(&self) -> usize {
        const COLUMN_VALUES: usize = 160 * 1024;
        (COLUMN_VALUES / (self.taps() * self.out_width).max(1)).clamp(1, self.out_height.max(1))
    }

    /// Whether threads share the work on an image, since there are fewer images than threads. Sums have one order either way.
    fn shares_images(&self) -> bool {
        self.batch < rayon::current_num_threads()
    }

    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rows, total) = (self.block_rows(), self.out_height);
        (0..total).step_by(rows).map(move |start| (start, (start + rows).min(total)))
    }
}

/// Output columns `start..end` whose input column `out * stride + offset - padding` lies inside the image.
fn inside(out: usize, size: usize, offset: usize, stride: usize, padding: usize) -> (usize, usize) {
    let start = padding.saturating_sub(offset).div_ceil(stride).min(out);
    let end = (size + padding).saturating_sub(offset).div_ceil(stride).min(out);
    (start, end.max(start))
}

/// Fills one row of the column matrix: the input values that kernel tap `tap` meets over output rows `rows`.
fn gather_tap(sizes: &Sizes, plane: &[f32], kh: usize, kw: usize, rows: (usize, usize), dst: &mut [f32]) {
    let ConvShape { stride, padding, dilation, .. } = sizes.shape;
    let (start, end) = inside(sizes.out_width, sizes.width, kw * dilation, stride, padding);
    for (out_row, dst) in (rows.0..rows.1).zip(dst.chunks_exact_mut(sizes.out_width)) {
        let row = (out_row * stride + kh * dilation).wrapping_sub(padding);
        if row >= sizes.height || start == end {
            dst.fill(0.0);
            continue;
        }
        let src = &plane[row * sizes.width..(row + 1) * sizes.width];
        let first = start * stride + kw * dilation - padding;
        dst[..start].fill(0.0);
        dst[end..].fill(0.0);
        if stride == 1 {
            dst[start..end].copy_from_slice(&src[first..first + end - start]);
        } else {
            for (d, s) in dst[start..end].iter_mut().zip(src[first..].iter().step_by(stride)) {
                *d = *s;
            }
        }
    }
}

/// The column matrix (taps, output pixels of `rows`) of one group of one image.
fn im2col(sizes: &Sizes, image: &[f32], rows: (usize, usize), columns: &mut [f32], parallel: bool) {
    let pixels = (rows.1 - rows.0) * sizes.out_width;
    let kernel = sizes.kernel_height * sizes.kernel_width;
    let fill = |(tap, dst): (usize, &mut [f32])| {
        let (channel, offset) = (tap / kernel, tap % kernel);
        let plane = &image[channel * sizes.in_plane()..(channel + 1) * sizes.in_plane()];
        gather_tap(sizes, plane, offset / sizes.kernel_width, offset % sizes.kernel_width, rows, dst);
    };
    if parallel {
        columns.par_chunks_exact_mut(pixels).enumerate().with_min_len(32).for_each(fill);
    } else {
        columns.chunks_exact_mut(pixels).enumerate().for_each(fill);
    }
}

/// Adds the column matrix back onto the image it was gathered from.
fn col2im(sizes: &Sizes, columns: &[f32], rows: (usize, usize), image: &mut [f32], parallel: bool) {
    let pixels = (rows.1 - rows.0) * sizes.out_width;
    let kernel = sizes.kernel_height * sizes.kernel_width;
    let add = |(plane, columns): (&mut [f32], &[f32])| {
        for (offset, src) in columns.chunks_exact(pixels).enumerate() {
            add_tap(sizes, src, offset / sizes.kernel_width, offset % sizes.kernel_width, rows, plane);
        }
    };
    if parallel {
        let planes = image.par_chunks_exact_mut(sizes.in_plane()).zip(columns.par_chunks_exact(kernel * pixels));
        planes.with_min_len(4).for_each(add);
    } else {
        image.chunks_exact_mut(sizes.in_plane()).zip(columns.chunks_exact(kernel * pixels)).for_each(add);
    }
}

/// Adds one row of the column matrix to the plane that [`gather_tap`] took it from.
fn add_tap(sizes: &Sizes, src: &[f32], kh: usize, kw: usize, rows: (usize, usize), plane: &mut [f32]) {
    let ConvShape { stride, padding, dilation, .. } = sizes.shape;
    let (start, end) = inside(sizes.out_width, sizes.width, kw * dilation, stride, padding);
    for (out_row, src) in (rows.0..rows.1).zip(src.chunks_exact(sizes.out_width)) {
        let row = (out_row * stride + kh * dilation).wrapping_sub(padding);
        if row >= sizes.height || start == end {
            continue;
        }
        let first = row * sizes.width + start * stride + kw * dilation - padding;
        let dst = &mut plane[first..];
        if stride == 1 {
            for (d, s) in dst.iter_mut().zip(&src[start..end]) {
                *d += *s;
            }
        } else {
            for (d, s) in dst.iter_mut().step_by(stride).zip(&src[start..end]) {
                *d += *s;
            }
        }
    }
}

/// Forward pass of one image.
fn forward_image(sizes: &Sizes, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32], parallel: bool) {
    let (plane, taps) = (sizes.out_plane(), sizes.taps());
    let into = if let Some(bias) = bias {
        for (y, b) in y.chunks_exact_mut(plane).zip(bias) {
            y.fill(*b);
        }
        Into::Add
    } else {
        Into::Set
    };
    let group_in = sizes.group_in() * sizes.in_plane();
    let group_w = sizes.group_out() * taps;
    for ((x, w), y) in
        x.chunks_exact(group_in).zip(w.chunks_exact(group_w)).zip(y.chunks_exact_mut(sizes.group_out() * plane))
    {
        let w = Mat::rows(w, sizes.group_out(), taps, taps);
        if sizes.is_pointwise() {
            let columns = Mat::rows(x, taps, plane, plane);
            multiply(MatMut::rows(y, sizes.group_out(), plane, plane), w, columns, 1.0, into, parallel);
            continue;
        }
        for rows in sizes.blocks() {
            let pixels = (rows.1 - rows.0) * sizes.out_width;
            with_scratch(taps * pixels, |columns| {
                im2col(sizes, x, rows, columns, parallel);
                let dst = MatMut::rows(&mut y[rows.0 * sizes.out_width..], sizes.group_out(), pixels, plane);
                multiply(dst, w, Mat::rows(columns, taps, pixels, pixels), 1.0, into, parallel);
            });
        }
    }
}

pub(super) fn forward(sizes: &Sizes, x: &[f32], w: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let mut y = vec![0.0; sizes.batch * sizes.out_channels * sizes.out_plane()];
    if let Some(winograd) = sizes.winograd() {
        winograd.forward(x, w, bias, &mut y);
        return y;
    }
    let in_image = (sizes.in_channels * sizes.in_plane()).max(1);
    let out_image = (sizes.out_channels * sizes.out_plane()).max(1);
    if !sizes.shares_images() {
        let images = y.par_chunks_exact_mut(out_image).zip(x.par_chunks_exact(in_image));
        images.for_each(|(y, x)| forward_image(sizes, x, w, bias, y, false));
    } else {
        for (y, x) in y.chunks_exact_mut(out_image).zip(x.chunks_exact(in_image)) {
            forward_image(sizes, x, w, bias, y, true);
        }
    }
    y
}

/// Gradient with respect to the input.
pub(super) fn input_gradient(sizes: &Sizes, w: &[f32], dy: &[f32]) -> Vec<f32> {
    let (plane, taps) = (sizes.out_plane(), sizes.taps());
    let in_image = sizes.in_channels * sizes.in_plane();
    let mut dx = vec![0.0; sizes.batch * in_image];
    if let Some(winograd) = sizes.winograd() {
        winograd.input_gradient(w, dy, &mut dx);
        return dx;
    }
    let group_dy = sizes.group_out() * plane;
    let parallel = sizes.shares_images();
    dx.par_chunks_exact_mut(in_image.max(1)).zip(dy.par_chunks_exact(sizes.out_channels * plane)).for_each(
        |(dx, dy)| {
            let groups = dx.chunks_exact_mut(sizes.group_in() * sizes.in_plane());
            for ((dx, dy), w) in groups.zip(dy.chunks_exact(group_dy)).zip(w.chunks_exact(sizes.group_out() * taps)) {
                let w_t = Mat::rows(w, sizes.group_out(), taps, taps).t();
                if sizes.is_pointwise() {
                    let dst = MatMut::rows(dx, taps, plane, plane);
                    multiply(dst, w_t, Mat::rows(dy, sizes.group_out(), plane, plane), 1.0, Into::Set, parallel);
                    continue;
                }
                for rows in sizes.blocks() {
                    let pixels = (rows.1 - rows.0) * sizes.out_width;
                    with_scratch(taps * pixels, |columns| {
                        let dy = Mat::rows(&dy[rows.0 * sizes.out_width..], sizes.group_out(), pixels, plane);
                        multiply(MatMut::rows(columns, taps, pixels, pixels), w_t, dy, 1.0, Into::Set, parallel);
                        col2im(sizes, columns, rows, dx, parallel);
                    });
                }
            }
        },
    );
    dx
}

/// Gradient with respect to the weights. The batch is cut into a fixed number of parts that are summed in order, so that the
/// result does not depend on the number of threads.
pub(super) fn weight_gradient(sizes: &Sizes, x: &[f32], dy: &[f32]) -> Vec<f32> {
    const PARTS: usize = 4;
    let (plane, taps) = (sizes.out_plane(), sizes.taps());
    let in_image = sizes.in_channels * sizes.in_plane();
    let out_image = sizes.out_channels * plane;
    let parallel = sizes.shares_images();
    let per_part = sizes.batch.div_ceil(PARTS).max(1);
    let parts = x.par_chunks(per_part * in_image).zip(dy.par_chunks(per_part * out_image));
    if let Some(winograd) = sizes.winograd() {
        let parts = parts.map(|(x, dy)| {
            let mut du = vec![0.0; winograd.points()];
            winograd.add_point_gradient(x, dy, &mut du, parallel);
            du
        });
        return winograd.weight_gradient(&sum_in_order(parts.collect()));
    }
    let parts = parts
        .map(|(x, dy)| {
            let mut dw = vec![0.0; sizes.out_channels * taps];
            for (x, dy) in x.chunks_exact(in_image).zip(dy.chunks_exact(out_image)) {
                let groups = x.chunks_exact(sizes.group_in() * sizes.in_plane());
                let groups = groups.zip(dy.chunks_exact(sizes.group_out() * plane));
                for ((x, dy), dw) in groups.zip(dw.chunks_exact_mut(sizes.group_out() * taps)) {
                    if sizes.is_pointwise() {
                        let dst = MatMut::rows(dw, sizes.group_out(), taps, taps);
                        let dy = Mat::rows(dy, sizes.group_out(), plane, plane);
                        multiply(dst, dy, Mat::rows(x, taps, plane, plane).t(), 1.0, Into::Add, parallel);
                        continue;
                    }
                    for rows in sizes.blocks() {
                        let pixels = (rows.1 - rows.0) * sizes.out_width;
                        with_scratch(taps * pixels, |columns| {
                            im2col(sizes, x, rows, columns, parallel);
                            let dst = MatMut::rows(dw, sizes.group_out(), taps, taps);
                            let dy = Mat::rows(&dy[rows.0 * sizes.out_width..], sizes.group_out(), pixels, plane);
                            multiply(dst, dy, Mat::rows(columns, taps, pixels, pixels).t(), 1.0, Into::Add, parallel);
                        });
                    }
                }
            }
            dw
        })
        .collect();
    sum_in_order(parts)
}

fn sum_in_order(parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut sum = parts.next().unwrap_or_default();
    for part in parts {
        for (s, p) in sum.iter_mut().zip(part) {
            *s += p;
        }
    }
    sum
}

/// Gradient with respect to the bias.
pub(super) fn bias_gradient(sizes: &Sizes, dy: &[f32]) -> Vec<f32> {
    let mut db = vec![0.0; sizes.out_channels];
    for image in dy.chunks_exact((sizes.out_channels * sizes.out_plane()).max(1)) {
        for (b, plane) in db.iter_mut().zip(image.chunks_exact(sizes.out_plane())) {
            *b += plane.iter().sum::<f32>();
        }
    }
    db
}

struct Conv {
    shape: ConvShape,
}

impl Conv {
    fn run(
        &self,
        x: (&CpuStorage, &Layout),
        w: (&CpuStorage, &Layout),
        b: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::new(x.1.dims(), w.1.dims(), self.shape)?;
        let bias = b.map(|(storage, layout)| slice(storage, layout, "conv2d")).transpose()?;
        if bias.is_some_and(|bias| bias.len() != sizes.out_channels) {
            bail!("conv2d: the bias does not have {} values", sizes.out_channels);
        }
        let y = forward(&sizes, slice(x.0, x.1, "conv2d")?, slice(w.0, w.1, "conv2d")?, bias);
        Ok((CpuStorage::F32(y), sizes.out_dims().into()))
    }

    fn gradients(&self, x: &Tensor, w: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::new(x.dims(), w.dims(), self.shape)?;
        let (dx, dw) = with_values(dy, |dy| -> Result<_> {
            // The first layer's input is data: its gradient would cost as much as its weights'.
            let dx = x.track_op().then(|| with_values(w, |w| input_gradient(&sizes, w, dy))).transpose()?;
            let dw = w.track_op().then(|| with_values(x, |x| weight_gradient(&sizes, x, dy))).transpose()?;
            Ok((dx, dw))
        })??;
        let tensor = |values: Option<Vec<f32>>, like: &Tensor| {
            values.map(|values| Tensor::from_vec(values, like.dims(), like.device())).transpose()
        };
        Ok((tensor(dx, x)?, tensor(dw, w)?))
    }
}

impl CustomOp2 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run((x, xl), (w, wl), None)
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.gradients(x, w, dy)
    }
}

impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, xl), (w, wl), Some((b, bl)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = self.gradients(x, w, dy)?;
        let sizes = Sizes::new(x.dims(), w.dims(), self.shape)?;
        let db = with_values(dy, |dy| bias_gradient(&sizes, dy))?;
        Ok((dx, dw, Some(Tensor::from_vec(db, b.dims(), b.device())?)))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super::gradient_check::{check, random};
    use super::{ConvShape, conv2d};

    const CASES: &[([usize; 4], [usize; 4], ConvShape)] = &[
        ([2, 3, 7, 5], [4, 3, 3, 3], ConvShape { stride: 1, padding: 1, dilation: 1, groups: 1, trailing: 0 }),
        ([3, 2, 9, 6], [3, 2, 3, 3], ConvShape { stride: 2, padding: 1, dilation: 1, groups: 1, trailing: 0 }),
        ([1, 1, 13, 11], [2, 1, 7, 7], ConvShape { stride: 2, padding: 3, dilation: 1, groups: 1, trailing: 0 }),
        ([2, 4, 5, 6], [6, 2, 3, 2], ConvShape { stride: 1, padding: 0, dilation: 1, groups: 2, trailing: 0 }),
        ([5, 3, 4, 5], [2, 3, 1, 1], ConvShape { stride: 1, padding: 0, dilation: 1, groups: 1, trailing: 0 }),
        ([2, 3, 6, 5], [2, 3, 1, 1], ConvShape { stride: 2, padding: 0, dilation: 1, groups: 1, trailing: 0 }),
        ([2, 3, 9, 8], [3, 1, 3, 3], ConvShape { stride: 1, padding: 2, dilation: 2, groups: 3, trailing: 0 }),
        ([2, 3, 8, 6], [2, 3, 7, 7], ConvShape { stride: 2, padding: 2, dilation: 1, groups: 1, trailing: 1 }),
        ([1, 2, 6, 4], [3, 2, 3, 3], ConvShape { stride: 2, padding: 0, dilation: 1, groups: 1, trailing: 1 }),
        ([1, 1, 2, 2], [1, 1, 5, 5], ConvShape { stride: 3, padding: 4, dilation: 1, groups: 1, trailing: 0 }),
        // By Winograd: tiles that end beyond the image, several images in a block, every padding.
        ([2, 16, 9, 14], [16, 16, 3, 3], ConvShape { stride: 1, padding: 1, dilation: 1, groups: 1, trailing: 0 }),
        ([1, 16, 17, 18], [17, 16, 3, 3], ConvShape { stride: 1, padding: 0, dilation: 1, groups: 1, trailing: 0 }),
        ([1, 17, 13, 14], [16, 17, 3, 3], ConvShape { stride: 1, padding: 2, dilation: 1, groups: 1, trailing: 0 }),
    ];

    #[test]
    fn forward_equals_the_definition() {
        for (x_dims, w_dims, shape) in CASES {
            let (x, w) = (random(x_dims, 1), random(w_dims, 2));
            let bias = random(&[w_dims[0]], 3);
            let ours = conv2d(&x, &w, Some(&bias), *shape).unwrap();
            let padded = x.pad_with_zeros(2, 0, shape.trailing).unwrap().pad_with_zeros(3, 0, shape.trailing).unwrap();
            let theirs = padded.conv2d(&w, shape.padding, shape.stride, shape.dilation, shape.groups).unwrap();
            let theirs = theirs.broadcast_add(&bias.reshape((1, (), 1, 1)).unwrap()).unwrap();
            assert_eq!(ours.dims(), theirs.dims());
            let difference = (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() < 1e-4, "{x_dims:?} {shape:?}");
        }
    }

    /// Winograd's form costs digits, more or less of them by its points (with ±1 and ±2 the error here is 5e-6).
    #[test]
    fn winograd_keeps_its_digits() {
        let (channels, side) = (256, 16);
        let x = random(&[1, channels, side, side], 1).relu().unwrap();
        let w = random(&[16, channels, 3, 3], 2);
        let y = conv2d(&x, &w, None, ConvShape::same(3, 1)).unwrap();
        let exact = x.to_dtype(candle_core::DType::F64).unwrap();
        let exact = exact.conv2d(&w.to_dtype(candle_core::DType::F64).unwrap(), 1, 1, 1, 1).unwrap();
        let largest = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        let error = largest(&(y.to_dtype(candle_core::DType::F64).unwrap() - &exact).unwrap()) / largest(&exact);
        assert!(error < 3e-6, "{error}");
    }

    #[test]
    fn gradients_equal_finite_differences() {
        for (x_dims, w_dims, shape) in CASES {
            let inputs = [random(x_dims, 1), random(w_dims, 2), random(&[w_dims[0]], 3)];
            check(&inputs, |t| conv2d(&t[0], &t[1], Some(&t[2]), *shape));
            check(&inputs[..2], |t| conv2d(&t[0], &t[1], None, *shape));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        let x = Tensor::zeros((1, 3, 4, 4), candle_core::DType::F32, &Device::Cpu).unwrap();
        let w = Tensor::zeros((2, 2, 3, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(conv2d(&x, &w, None, ConvShape::same(3, 1)).is_err());
        let w = Tensor::zeros((2, 3, 9, 9), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(
            conv2d(&x, &w, None, ConvShape { stride: 1, padding: 0, dilation: 1, groups: 1, trailing: 0 }).is_err()
        );
    }
}
