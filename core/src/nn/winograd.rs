//! Winograd's minimal filtering F(4x4, 3x3) (Lavin and Gray, 2016): a 3x3 convolution of stride 1 with 36 products for 16 outputs
//! instead of 144, as 36 matrix products over channels.
//!
//! A tile is 4x4 outputs and the 6x6 inputs that they see. With `V = Bᵀ d B` of the inputs, `U = G g Gᵀ` of the weights and `M = U · V`
//! over channels, the outputs are `Y = Aᵀ M A`. The gradient of the weights runs through the same transforms backwards: `Gᵀ (A dY Aᵀ · Vᵀ) G`;
//! that of the input is the convolution of `dY` with the weights turned by half a turn.
//!
//! Transformed maps are laid out (channel, 36, tile), so that a channel is one contiguous piece: pieces are filled and read
//! by different threads without sharing. Errors are those of the plain sum times about five.

use rayon::prelude::*;

use super::gemm::{Into, Mat, MatMut, multiply};
use super::raw::{vectorised, with_scratch};

/// Outputs of a tile along one axis, inputs, and products.
pub(super) const OUT: usize = 4;
pub(super) const IN: usize = 6;
pub(super) const POINTS: usize = IN * IN;
/// Tiles transformed at once: a vector register's width.
const LANES: usize = 8;
/// Pairs of channels whose weights a thread transforms at once.
const PAIRS: usize = 1024;

/// Sizes of one convolution: square kernel 3, stride 1, one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Winograd {
    pub in_channels: usize,
    pub out_channels: usize,
    pub height: usize,
    pub width: usize,
    pub padding: usize,
}

/// Calls `f` with each piece of `len` values and its index, on this thread or on all.
fn each(values: &mut [f32], len: usize, parallel: bool, f: impl Fn((usize, &mut [f32])) + Send + Sync) {
    if parallel {
        values.par_chunks_exact_mut(len).enumerate().for_each(f);
    } else {
        values.chunks_exact_mut(len).enumerate().for_each(f);
    }
}

/// One block of work: tile rows `rows` of `images` images.
#[derive(Clone, Copy)]
struct Block {
    images: usize,
    first_row: usize,
    rows: usize,
    tiles: usize,
}

impl Winograd {
    fn out_height(&self) -> usize {
        self.height + 2 * self.padding - 2
    }

    fn out_width(&self) -> usize {
        self.width + 2 * self.padding - 2
    }

    fn tile_rows(&self) -> usize {
        self.out_height().div_ceil(OUT)
    }

    fn tile_columns(&self) -> usize {
        self.out_width().div_ceil(OUT)
    }

    fn in_image(&self) -> usize {
        self.in_channels * self.height * self.width
    }

    fn out_image(&self) -> usize {
        self.out_channels * self.out_height() * self.out_width()
    }

    /// Whether it pays: few channels leave the products too small, few outputs leave the transformed weights too large.
    pub(super) fn pays(&self, batch: usize) -> bool {
        self.in_channels >= 16
            && self.out_channels >= 16
            && self.height >= OUT
            && self.width >= OUT
            && batch * self.tile_rows() * self.tile_columns() >= 16
    }

    /// The convolution whose forward pass is the gradient with respect to the input.
    fn reversed(&self) -> Self {
        Self {
            in_channels: self.out_channels,
            out_channels: self.in_channels,
            height: self.out_height(),
            width: self.out_width(),
            padding: 2 - self.padding,
        }
    }

    /// Images that share a block, and tile rows of one: transformed inputs of about a second-level cache, but at least enough columns
    /// for a matrix product.
    fn block(&self, batch: usize) -> (usize, usize) {
        const VALUES: usize = 96 * 1024;
        let tiles = (VALUES / (POINTS * self.in_channels.max(self.out_channels))).max(64);
        let rows = (tiles / self.tile_columns()).clamp(1, self.tile_rows());
        let images = if rows < self.tile_rows() { 1 } else { tiles / (self.tile_rows() * self.tile_columns()).max(1) };
        (images.clamp(1, batch.max(1)), rows)
    }

    fn blocks(&self, images: usize, rows: usize) -> impl Iterator<Item = Block> + use<> {
        let (total, columns) = (self.tile_rows(), self.tile_columns());
        (0..total).step_by(rows).map(move |first_row| {
            let rows = rows.min(total - first_row);
            Block { images, first_row, rows, tiles: images * rows * columns }
        })
    }

    /// `y` (batch, out, height', width') of `x` (batch, in, height, width), weights (out, in, 3, 3) and bias.
    pub(super) fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let u = self.transform_weights(w, false);
        self.convolve(x, &u, bias, y);
    }

    /// Gradient with respect to the input.
    pub(super) fn input_gradient(&self, w: &[f32], dy: &[f32], dx: &mut [f32]) {
        let reversed = self.reversed();
        let u = reversed.transform_weights(w, true);
        reversed.convolve(dy, &u, None, dx);
    }

    fn convolve(&self, x: &[f32], u: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let threads = rayon::current_num_threads();
        let batch = x.len() / self.in_image().max(1);
        if batch >= threads {
            let (images, rows) = self.block(batch.div_ceil(threads));
            y.par_chunks_mut(images * self.out_image()).zip(x.par_chunks(images * self.in_image())).for_each(
                |(y, x)| {
                    for block in self.blocks(x.len() / self.in_image(), rows) {
                        self.block_forward(block, x, u, bias, y, false);
                    }
                },
            );
        } else {
            for (y, x) in y.chunks_exact_mut(self.out_image()).zip(x.chunks_exact(self.in_image())) {
                for block in self.blocks(1, self.tile_rows()) {
                    self.block_forward(block, x, u, bias, y, true);
                }
            }
        }
    }

    fn block_forward(&self, block: Block, x: &[f32], u: &[f32], bias: Option<&[f32]>, y: &mut [f32], parallel: bool) {
        let piece = POINTS * block.tiles;
        with_scratch((self.in_channels + self.out_channels) * piece, |scratch| {
            let (v, m) = scratch.split_at_mut(self.in_channels * piece);
            let fill = |(channel, v): (usize, &mut [f32])| self.transform_input(block, x, channel, v);
            each(v, piece, parallel, fill);
            let v = &*v;
            let product = |first: usize, m: &mut [f32]| {
                let count = m.len() / piece;
                for point in 0..POINTS {
                    let at = (point * self.out_channels + first) * self.in_channels;
                    let u = Mat::rows(&u[at..], count, self.in_channels, self.in_channels);
                    let v = Mat::rows(&v[point * block.tiles..], self.in_channels, block.tiles, piece);
                    let dst = MatMut::rows(&mut m[point * block.tiles..], count, block.tiles, piece);
                    multiply(dst, u, v, 1.0, Into::Set, false);
                }
            };
            if parallel {
                let band = self.out_channels.div_ceil(2 * rayon::current_num_threads()).next_multiple_of(8);
                m.par_chunks_mut(band * piece).enumerate().for_each(|(index, m)| product(index * band, m));
            } else {
                product(0, m);
            }
            let plane = self.out_height() * self.out_width();
            let out = |(channel, y): (usize, &mut [f32])| {
                let (image, channel) = (channel / self.out_channels, channel % self.out_channels);
                let m = &m[channel * piece..(channel + 1) * piece];
                let bias = bias.and_then(|bias| bias.get(channel)).copied().unwrap_or(0.0);
                self.transform_output(block, image, m, bias, y);
            };
            each(y, plane, parallel, out);
        });
    }

    /// Values of the transformed weights.
    pub(super) fn points(&self) -> usize {
        POINTS * self.out_channels * self.in_channels
    }

    /// Adds the gradient with respect to the transformed weights to `du` (36, out, in); with `parallel`, channels and points are shared out.
    pub(super) fn add_point_gradient(&self, x: &[f32], dy: &[f32], du: &mut [f32], parallel: bool) {
        let batch = x.len() / self.in_image().max(1);
        let (images, rows) = self.block(batch);
        for (x, dy) in x.chunks(images * self.in_image()).zip(dy.chunks(images * self.out_image())) {
            for block in self.blocks(x.len() / self.in_image(), rows) {
                let piece = POINTS * block.tiles;
                with_scratch((self.in_channels + self.out_channels) * piece, |scratch| {
                    let (v, dm) = scratch.split_at_mut(self.in_channels * piece);
                    each(v, piece, parallel, |(channel, v)| self.transform_input(block, x, channel, v));
                    each(dm, piece, parallel, |(channel, dm)| self.transform_gradient(block, dy, channel, dm));
                    let (v, dm) = (&*v, &*dm);
                    each(du, self.out_channels * self.in_channels, parallel, |(point, du)| {
                        let dm = Mat::rows(&dm[point * block.tiles..], self.out_channels, block.tiles, piece);
                        let v = Mat::rows(&v[point * block.tiles..], self.in_channels, block.tiles, piece).t();
                        let du = MatMut::rows(du, self.out_channels, self.in_channels, self.in_channels);
                        multiply(du, dm, v, 1.0, Into::Add, false);
                    });
                });
            }
        }
    }

    /// The gradient with respect to the weights (out, in, 3, 3) of that with respect to the transformed ones: `Gᵀ dU G`.
    pub(super) fn weight_gradient(&self, du: &[f32]) -> Vec<f32> {
        let pairs = self.out_channels * self.in_channels;
        let mut dw = vec![0.0; pairs * 9];
        dw.par_chunks_mut(9 * LANES).enumerate().for_each(|(index, dw)| {
            let (first, count) = (index * LANES, dw.len() / 9);
            let mut half = [[[0.0f32; LANES]; 3]; IN];
            for (row, half) in half.iter_mut().enumerate() {
                for (k, g) in G.iter().enumerate() {
                    let mut values = [0.0; LANES];
                    let at = (row * IN + k) * pairs + first;
                    load(&du[at..at + count], &mut values);
                    for (half, g) in half.iter_mut().zip(g) {
                        half.iter_mut().zip(&values).for_each(|(half, value)| *half += g * value);
                    }
                }
            }
            for (pair, dw) in dw.chunks_exact_mut(9).enumerate() {
                for (tap, dw) in dw.iter_mut().enumerate() {
                    *dw = G.iter().zip(&half).map(|(g, half)| g[tap / 3] * half[tap % 3][pair]).sum();
                }
            }
        });
        dw
    }

    /// `G g Gᵀ`, laid out (36, out, in). With `turned`, weights are (in, out, 3, 3) of the forward convolution, turned by half a turn.
    pub(super) fn transform_weights(&self, w: &[f32], turned: bool) -> Vec<f32> {
        let pairs = self.out_channels * self.in_channels;
        let mut u = vec![0.0; POINTS * pairs];
        // A thread's pairs, of every point.
        let mut pieces: Vec<Vec<&mut [f32]>> = (0..pairs.div_ceil(PAIRS)).map(|_| Vec::with_capacity(POINTS)).collect();
        for point in u.chunks_exact_mut(pairs.max(1)) {
            pieces.iter_mut().zip(point.chunks_mut(PAIRS)).for_each(|(piece, part)| piece.push(part));
        }
        pieces.into_par_iter().enumerate().for_each(|(index, mut piece)| {
            vectorised(
                #[inline(always)]
                || self.transform_pairs(w, turned, index * PAIRS, &mut piece),
            );
        });
        u
    }

    /// `G g Gᵀ` of the pairs from `first` on, by point.
    #[inline(always)]
    fn transform_pairs(&self, w: &[f32], turned: bool, first: usize, u: &mut [&mut [f32]]) {
        let pairs = u.first().map_or(0, |u| u.len());
        for start in (0..pairs).step_by(LANES) {
            let count = LANES.min(pairs - start);
            let mut taps = [[0.0f32; LANES]; 9];
            for (lane, pair) in (first + start..first + start + count).enumerate() {
                let (out, input) = (pair / self.in_channels, pair % self.in_channels);
                let source = if turned { input * self.out_channels + out } else { pair };
                for (tap, w) in w[source * 9..source * 9 + 9].iter().enumerate() {
                    taps[if turned { 8 - tap } else { tap }][lane] = *w;
                }
            }
            for (row, by_row) in G.iter().enumerate() {
                let half: [[f32; LANES]; 3] = std::array::from_fn(|column| {
                    std::array::from_fn(|l| {
                        by_row[0] * taps[column][l] + by_row[1] * taps[3 + column][l] + by_row[2] * taps[6 + column][l]
                    })
                });
                for (column, g) in G.iter().enumerate() {
                    let values: [f32; LANES] =
                        std::array::from_fn(|l| half[0][l] * g[0] + half[1][l] * g[1] + half[2][l] * g[2]);
                    store(&mut u[row * IN + column][start..start + count], &values);
                }
            }
        }
    }

    /// `Bᵀ d B` of all tiles of one channel: (36, tile).
    fn transform_input(&self, block: Block, x: &[f32], channel: usize, v: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || {
                let columns = self.tile_columns();
                // Six rows after the vertical step, with the padding around them and room for whole registers behind.
                let width = columns.next_multiple_of(LANES) * OUT + IN;
                let mut lines = vec![0.0f32; IN * width];
                for image in 0..block.images {
                    let plane = (image * self.in_channels + channel) * self.height * self.width;
                    let plane = &x[plane..plane + self.height * self.width];
                    for row in 0..block.rows {
                        let top = (block.first_row + row) * OUT;
                        self.vertical_input(plane, top, width, &mut lines);
                        let first = (image * block.rows + row) * columns;
                        for (i, line) in lines.chunks_exact(width).enumerate() {
                            for start in (0..columns).step_by(LANES) {
                                let count = LANES.min(columns - start);
                                let line = &line[start * OUT..start * OUT + LANES * OUT + IN];
                                let mut d = [[0.0f32; LANES]; IN];
                                for (k, d) in d.iter_mut().enumerate() {
                                    for (lane, d) in d.iter_mut().enumerate() {
                                        *d = line[lane * OUT + k];
                                    }
                                }
                                let transformed = input_step(&d);
                                for (j, values) in transformed.iter().enumerate() {
                                    let at = (i * IN + j) * block.tiles + first + start;
                                    store(&mut v[at..at + count], values);
                                }
                            }
                        }
                    }
                }
            },
        );
    }

    /// The vertical step over six input rows from `top - padding`: row i of `lines` holds `Σ Bᵀ[i][k] row_k`, shifted by the padding.
    #[inline(always)]
    fn vertical_input(&self, plane: &[f32], top: usize, width: usize, lines: &mut [f32]) {
        const ZERO: [f32; 0] = [];
        let rows: [&[f32]; IN] = std::array::from_fn(|k| {
            let row = (top + k).wrapping_sub(self.padding);
            if row < self.height { &plane[row * self.width..(row + 1) * self.width] } else { &ZERO[..] }
        });
        lines.fill(0.0);
        for start in (0..self.width).step_by(LANES) {
            let count = LANES.min(self.width - start);
            let mut d = [[0.0f32; LANES]; IN];
            for (d, row) in d.iter_mut().zip(&rows) {
                if let Some(row) = row.get(start..start + count) {
                    load(row, d);
                }
            }
            let transformed = input_step(&d);
            for (values, line) in transformed.iter().zip(lines.chunks_exact_mut(width)) {
                let at = start + self.padding;
                if let Some(line) = line.get_mut(at..at + count) {
                    store(line, values);
                }
            }
        }
    }

    /// `A dY Aᵀ` of all tiles of one output channel: (36, tile).
    fn transform_gradient(&self, block: Block, dy: &[f32], channel: usize, dm: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || {
                let (height, width) = (self.out_height(), self.out_width());
                let columns = self.tile_columns();
                for image in 0..block.images {
                    let plane = (image * self.out_channels + channel) * height * width;
                    let plane = &dy[plane..plane + height * width];
                    for row in 0..block.rows {
                        let top = (block.first_row + row) * OUT;
                        let first = (image * block.rows + row) * columns;
                        for start in (0..columns).step_by(LANES) {
                            let count = LANES.min(columns - start);
                            // Four rows of up to 64 values, as columns of tiles.
                            let mut d = [[[0.0f32; LANES]; OUT]; OUT];
                            for (r, d) in d.iter_mut().enumerate().take(height - top.min(height)) {
                                let line = &plane[(top + r) * width..(top + r + 1) * width];
                                let line = &line[start * OUT..(start * OUT + LANES * OUT).min(width)];
                                let mut padded = [0.0f32; LANES * OUT];
                                load(line, &mut padded);
                                for (q, d) in d.iter_mut().enumerate() {
                                    for (lane, d) in d.iter_mut().enumerate() {
                                        *d = padded[lane * OUT + q];
                                    }
                                }
                            }
                            // First over the rows of each tile, then over its columns.
                            let vertical: [[[f32; LANES]; IN]; OUT] =
                                std::array::from_fn(|q| gradient_step(&std::array::from_fn(|r| d[r][q])));
                            let across = (0..IN).map(|i| gradient_step(&std::array::from_fn(|q| vertical[q][i])));
                            for (i, across) in across.enumerate() {
                                for (j, values) in across.iter().enumerate() {
                                    let at = (i * IN + j) * block.tiles + first + start;
                                    store(&mut dm[at..at + count], values);
                                }
                            }
                        }
                    }
                }
            },
        );
    }

    /// `Aᵀ M A` of the tiles of one image and output channel, plus `bias`, into the rows of `y` that the block covers.
    fn transform_output(&self, block: Block, image: usize, m: &[f32], bias: f32, y: &mut [f32]) {
        vectorised(
            #[inline(always)]
            || {
                let (height, width) = (self.out_height(), self.out_width());
                let columns = self.tile_columns();
                for row in 0..block.rows {
                    let top = (block.first_row + row) * OUT;
                    let first = (image * block.rows + row) * columns;
                    for start in (0..columns).step_by(LANES) {
                        let count = LANES.min(columns - start);
                        // Over the rows of each tile first: four rows of six columns.
                        let mut vertical = [[[0.0f32; LANES]; IN]; OUT];
                        for j in 0..IN {
                            let mut column = [[0.0f32; LANES]; IN];
                            for (i, column) in column.iter_mut().enumerate() {
                                let at = (i * IN + j) * block.tiles + first + start;
                                load(&m[at..at + count], column);
                            }
                            let stepped = output_step(&column);
                            for (vertical, stepped) in vertical.iter_mut().zip(&stepped) {
                                vertical[j] = *stepped;
                            }
                        }
                        for (r, vertical) in vertical.iter().enumerate().take(height - top.min(height)) {
                            let across = output_step(vertical);
                            let mut line = [0.0f32; LANES * OUT];
                            for (q, values) in across.iter().enumerate() {
                                for (lane, value) in values.iter().enumerate() {
                                    line[lane * OUT + q] = value + bias;
                                }
                            }
                            let dst = &mut y[(top + r) * width..(top + r + 1) * width];
                            let dst = &mut dst[start * OUT..(start * OUT + count * OUT).min(width)];
                            store(dst, &line);
                        }
                    }
                }
            },
        );
    }
}

/// The first values of `values` into all of `to`; in registers where it is full.
#[inline(always)]
pub(super) fn store<const N: usize>(to: &mut [f32], values: &[f32; N]) {
    if let Ok(to) = <&mut [f32; N]>::try_from(&mut *to) {
        *to = *values;
    } else {
        to.iter_mut().zip(values).for_each(|(to, value)| *to = *value);
    }
}

/// All of `from` into the first values of `values`; in registers where it is full.
#[inline(always)]
pub(super) fn load<const N: usize>(from: &[f32], values: &mut [f32; N]) {
    if let Ok(from) = <&[f32; N]>::try_from(from) {
        *values = *from;
    } else {
        values.iter_mut().zip(from).for_each(|(value, from)| *value = *from);
    }
}

/// Polynomials are interpolated at 0, ±P, ±Q and infinity. The usual ±1, ±2 lose twice as many digits on the average and five times as
/// many at worst (Barabasz et al., 2020, on such points); these and all their products are exact in binary.
const P: f32 = 0.625;
/// See [`P`].
const Q: f32 = 1.5;
const P2: f32 = P * P;
const Q2: f32 = Q * Q;

/// 1 over the product of the differences of P (of Q) from the other points.
const AT_P: f32 = 1.0 / (2.0 * P2 * (P2 - Q2));
const AT_Q: f32 = 1.0 / (2.0 * Q2 * (Q2 - P2));

const G: [[f32; 3]; IN] = [
    [1.0 / (P2 * Q2), 0.0, 0.0],
    [AT_P, AT_P * P, AT_P * P2],
    [AT_P, -AT_P * P, AT_P * P2],
    [AT_Q, AT_Q * Q, AT_Q * Q2],
    [AT_Q, -AT_Q * Q, AT_Q * Q2],
    [0.0, 0.0, 1.0],
];

/// `Bᵀ d` along one axis.
#[inline(always)]
pub(super) fn input_step<const LANES: usize>(d: &[[f32; LANES]; IN]) -> [[f32; LANES]; IN] {
    let mut t = [[0.0; LANES]; IN];
    for l in 0..LANES {
        let [d0, d1, d2, d3, d4, d5] = [d[0][l], d[1][l], d[2][l], d[3][l], d[4][l], d[5][l]];
        let (a, b) = (d4 - Q2 * d2, P * (d3 - Q2 * d1));
        let (c, e) = (d4 - P2 * d2, Q * (d3 - P2 * d1));
        t[0][l] = P2 * Q2 * d0 - (P2 + Q2) * d2 + d4;
        t[1][l] = a + b;
        t[2][l] = a - b;
        t[3][l] = c + e;
        t[4][l] = c - e;
        t[5][l] = P2 * Q2 * d1 - (P2 + Q2) * d3 + d5;
    }
    t
}

/// `Aᵀ m` along one axis.
#[inline(always)]
pub(super) fn output_step<const LANES: usize>(m: &[[f32; LANES]; IN]) -> [[f32; LANES]; OUT] {
    let mut y = [[0.0; LANES]; OUT];
    for l in 0..LANES {
        let [m0, m1, m2, m3, m4, m5] = [m[0][l], m[1][l], m[2][l], m[3][l], m[4][l], m[5][l]];
        let (a, b, c, d) = (m1 + m2, P * (m1 - m2), m3 + m4, Q * (m3 - m4));
        y[0][l] = m0 + a + c;
        y[1][l] = b + d;
        y[2][l] = P2 * a + Q2 * c;
        y[3][l] = P2 * b + Q2 * d + m5;
    }
    y
}

/// `A dy` along one axis.
#[inline(always)]
fn gradient_step(d: &[[f32; LANES]; OUT]) -> [[f32; LANES]; IN] {
    let mut m = [[0.0; LANES]; IN];
    for l in 0..LANES {
        let [d0, d1, d2, d3] = [d[0][l], d[1][l], d[2][l], d[3][l]];
        let (a, b) = (d0 + P2 * d2, P * (d1 + P2 * d3));
        let (c, e) = (d0 + Q2 * d2, Q * (d1 + Q2 * d3));
        m[0][l] = d0;
        m[1][l] = a + b;
        m[2][l] = a - b;
        m[3][l] = c + e;
        m[4][l] = c - e;
        m[5][l] = d3;
    }
    m
}
