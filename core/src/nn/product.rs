//! Matrix product with a packed right side: weights are packed once, where they stand still.
//!
//! `y = rows · right`: rows are pixels or tokens, columns output features. The inner tile keeps up to 14 rows by two vectors of columns in
//! registers (Goto and van de Geijn, 2008, with the roles of BLIS for long vectors): each step loads two vectors of packed weights and
//! broadcasts one value of each row. The first tile of a task that meets weights of 16 bits
//! leaves them widened for the others. Rows come from a [`Rows`], which copies them into a panel of fixed stride in the second-level cache: it may
//! transpose on the way.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::activation::gelu_value;
use super::packed::{Packed, Steps, kept, widen_bfloat, widen_half};
use super::raw::{vectorised, with_scratch};

/// Most depth that is worked on at once, and values from row to row of a panel: not a power of two, so that rows share no cache set.
const DEPTH: usize = 384;
const STRIDE: usize = DEPTH + 16;

/// Depth of one pass: passes are of even depth.
fn pass(depth: usize) -> usize {
    depth.div_ceil(depth.div_ceil(DEPTH).max(1))
}

/// Rows of a tile where there are 32 vector registers, and where there are 16.
const TILE: usize = 14;
const SMALL_TILE: usize = 6;
/// Rows of a panel.
const PANEL: usize = 12 * TILE;

/// Where rows of the left side come from.
pub(super) trait Rows: Sync {
    /// Writes values `from..from + to.len()` of row `row`.
    fn fill(&self, row: usize, from: usize, to: &mut [f32]);
}

/// Columns of a panel of packed weights: two of this processor's vectors.
pub(super) fn panel_width() -> usize {
    struct Width;
    impl WithSimd for Width {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            2 * S::F32_LANES
        }
    }
    Arch::new().dispatch(Width)
}

/// Values that a packed matrix of `outputs` columns takes.
pub(super) fn packed_len(outputs: usize, depth: usize) -> usize {
    outputs.next_multiple_of(panel_width()) * depth
}

/// Packs the matrix whose element of column `output` and depth `k` is `at(output, k)`: blocks of one pass, in them panels of
/// [`panel_width`] columns, in them rows of a panel; filled up with zeros.
pub(super) fn pack(outputs: usize, depth: usize, at: impl Fn(usize, usize) -> f32, to: &mut [f32]) {
    pack_panels(panel_width(), outputs, depth, at, to);
}

fn pack_panels(width: usize, outputs: usize, depth: usize, at: impl Fn(usize, usize) -> f32, to: &mut [f32]) {
    let padded = outputs.next_multiple_of(width);
    for first in (0..depth).step_by(pass(depth).max(1)) {
        let count = pass(depth).min(depth - first);
        let block = &mut to[first * padded..(first + count) * padded];
        for (panel, to) in block.chunks_exact_mut(count * width).enumerate() {
            for (k, to) in to.chunks_exact_mut(width).enumerate() {
                for (lane, to) in to.iter_mut().enumerate() {
                    let output = panel * width + lane;
                    *to = if output < outputs { at(output, first + k) } else { 0.0 };
                }
            }
        }
    }
}

/// As [`pack`], for a matrix whose values of depth `k` are the slice `row(k)`.
pub(super) fn pack_rows<'a>(outputs: usize, depth: usize, row: impl Fn(usize) -> &'a [f32], to: &mut [f32]) {
    let width = panel_width();
    let padded = outputs.next_multiple_of(width);
    for first in (0..depth).step_by(pass(depth).max(1)) {
        let count = pass(depth).min(depth - first);
        let block = &mut to[first * padded..(first + count) * padded];
        for k in 0..count {
            for (panel, values) in row(first + k).chunks(width).enumerate() {
                let to = &mut block[(panel * count + k) * width..][..width];
                to[..values.len()].copy_from_slice(values);
                to[values.len()..].fill(0.0);
            }
        }
    }
}

/// A packed right side.
#[derive(Clone, Copy)]
pub(super) struct Right<'a> {
    pub(super) values: Packed<'a>,
    pub(super) outputs: usize,
    pub(super) depth: usize,
}

/// What becomes of the sums.
#[derive(Clone, Copy, Default)]
pub(super) struct End<'a> {
    /// Added to each row.
    pub(super) bias: Option<&'a [f32]>,
    /// Added to what stands at the same place; laid out as the destination.
    pub(super) residual: Option<&'a [f32]>,
    /// The residual stands in the destination.
    pub(super) add: bool,
    /// What is then applied.
    pub(super) activation: Activation,
}

/// A function of each value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Activation {
    /// The value itself.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `x Φ(x)`.
    Gelu,
}

/// Whether the caller's thread does all of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    One,
    All,
}

/// `y = activation(rows · right + bias + residual)` (with `y` itself added where `end` says so) over `count` rows; `y` has `stride` values from row to row.
///
/// # Panics
/// Where sizes do not fit: a defect of the calling kernel.
pub(super) fn multiply(
    rows: &impl Rows,
    count: usize,
    right: Right<'_>,
    end: End<'_>,
    (y, stride): (&mut [f32], usize),
    threads: Threads,
) {
    let Right { values, outputs, depth } = right;
    if count == 0 || outputs == 0 {
        return;
    }
    let size = (count - 1) * stride + outputs;
    assert!(stride >= outputs && y.len() >= size, "product destination");
    assert!(values.len() >= packed_len(outputs, depth) && depth > 0, "product weights");
    assert!(end.bias.is_none_or(|bias| bias.len() >= outputs), "product bias");
    assert!(end.residual.is_none_or(|residual| residual.len() >= size), "product residual");
    let to = Destination { start: y.as_mut_ptr(), stride, life: PhantomData };
    let panels = outputs.div_ceil(panel_width());
    let threads = if threads == Threads::All { rayon::current_num_threads() } else { 1 };
    // Bands of rows; where they are few, weights are shared out instead, so that each is read by one thread only.
    let bands = count.div_ceil(PANEL).next_multiple_of(if count >= threads * PANEL / 2 { threads } else { 1 });
    let parts = if bands >= threads { 1 } else { (2 * threads).div_ceil(bands).min(panels) };
    let band = count.div_ceil(bands).min(PANEL);
    let bands = count.div_ceil(band);
    let task = |task: usize| {
        let (index, part) = (task / parts, task % parts);
        let rows_of = index * band..count.min((index + 1) * band);
        let panels = part * panels / parts..(part + 1) * panels / parts;
        Arch::new().dispatch(Block { rows, rows_of, panels, right, end, to: &to });
    };
    if threads > 1 && bands * parts > 1 {
        (0..bands * parts).into_par_iter().with_max_len(1).for_each(task);
    } else {
        (0..bands * parts).for_each(task);
    }
}

/// Where tiles are written: by several threads, each to rows and columns of its own.
struct Destination<'a> {
    start: *mut f32,
    stride: usize,
    life: PhantomData<&'a mut [f32]>,
}

// SAFETY: tasks of one product write disjoint tiles; `multiply` holds the slice mutably until all are done.
#[allow(unsafe_code)]
unsafe impl Sync for Destination<'_> {}

impl Destination<'_> {
    /// Columns `column..column + count` of row `row`.
    ///
    /// # Safety
    /// They lie inside the slice, and nobody else holds them.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    #[inline(always)]
    unsafe fn row(&self, row: usize, column: usize, count: usize) -> &mut [f32] {
        // SAFETY: as the caller vouches.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(row * self.stride + column), count) }
    }
}

/// Rows and panels of one task.
struct Block<'a, R> {
    rows: &'a R,
    rows_of: Range<usize>,
    panels: Range<usize>,
    right: Right<'a>,
    end: End<'a>,
    to: &'a Destination<'a>,
}

impl<R: Rows> WithSimd for Block<'_, R> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { rows, rows_of, panels, right, end, to } = self;
        let width = 2 * S::F32_LANES;
        let count = rows_of.len();
        let tile = if S::REGISTER_COUNT >= 32 { TILE } else { SMALL_TILE };
        let tiles = count.div_ceil(tile);
        let padded = right.outputs.next_multiple_of(width);
        let pass = pass(right.depth);
        with_scratch(count * STRIDE + right.values.room(pass * width), |scratch| {
            let (panel, room) = scratch.split_at_mut(count * STRIDE);
            for first in (0..right.depth).step_by(pass) {
                let depth = pass.min(right.depth - first);
                let last = first + depth == right.depth;
                for (row, to) in rows_of.clone().zip(panel.chunks_exact_mut(STRIDE)) {
                    rows.fill(row, first, &mut to[..depth]);
                }
                for index in panels.clone() {
                    let at = first * padded + index * depth * width;
                    let at = at..at + depth * width;
                    let column = index * width;
                    for t in 0..tiles {
                        // Tiles of even height.
                        let (from, until) = (t * count / tiles, (t + 1) * count / tiles);
                        let tile = Tile {
                            simd,
                            rows: &panel[from * STRIDE..],
                            weights: right.values.steps::<S>(at.clone(), room, t == 0),
                            to,
                            row: rows_of.start + from,
                            column,
                            columns: width.min(right.outputs - column),
                            add: first > 0 || end.add,
                            bias: end.bias.filter(|_| first == 0),
                            residual: end.residual.filter(|_| last),
                            relu: last && end.activation == Activation::Relu,
                        };
                        tile.run(until - from);
                    }
                }
                if last && end.activation == Activation::Gelu {
                    let columns = panels.start * width..(panels.end * width).min(right.outputs);
                    for row in rows_of.clone() {
                        // SAFETY: these rows and columns are this task's alone, and lie inside the destination as for its tiles.
                        #[allow(unsafe_code)]
                        let values = unsafe { to.row(row, columns.start, columns.len()) };
                        vectorised(|| values.iter_mut().for_each(|value| *value = gelu_value(*value)));
                    }
                }
            }
        });
    }
}

/// One tile of the product.
struct Tile<'a, S: Simd> {
    simd: S,
    /// Rows, [`STRIDE`] apart.
    rows: &'a [f32],
    weights: Steps<'a, S>,
    to: &'a Destination<'a>,
    row: usize,
    column: usize,
    /// Columns of the panel that exist.
    columns: usize,
    /// Add to what earlier passes have left, or to the residual.
    add: bool,
    /// At the first pass.
    bias: Option<&'a [f32]>,
    /// At the last pass.
    residual: Option<&'a [f32]>,
    /// At the last pass.
    relu: bool,
}

/// A tile with its height.
struct Sized<'a, S: Simd, const ROWS: usize>(Tile<'a, S>);

impl<S: Simd, const ROWS: usize> WithSimd for Sized<'_, S, ROWS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<T: Simd>(self, _: T) {
        self.0.sum::<ROWS>();
    }
}

impl<S: Simd> Tile<'_, S> {
    fn run(self, rows: usize) {
        let simd = self.simd;
        macro_rules! by_height {
            ($($height:literal)*) => {
                match rows {
                    $($height => simd.vectorize(Sized::<S, $height>(self)),)*
                    _ => unreachable!("tiles have 1 to {TILE} rows"),
                }
            };
        }
        by_height!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
    }

    #[inline(always)]
    fn sum<const ROWS: usize>(self) {
        let simd = self.simd;
        let sums = match self.weights {
            Steps::Single(steps) => sums::<S, ROWS>(simd, self.rows, steps.iter().copied()),
            Steps::Half(words, room) => sums(simd, self.rows, kept(words, room, |words| widen_half(simd, words))),
            Steps::BFloat(words, room) => sums(simd, self.rows, kept(words, room, |words| widen_bfloat(simd, words))),
        };
        let width = 2 * S::F32_LANES;
        let floor = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        let floors = simd.splat_f32s(floor);
        let mut edge = [0.0f32; MOST_COLUMNS];
        for (row, sums) in sums.iter().enumerate() {
            // SAFETY: `multiply` checked the destination's size, and no other task has these rows and columns.
            #[allow(unsafe_code)]
            let to = unsafe { self.to.row(self.row + row, self.column, self.columns) };
            let at = (self.row + row) * self.to.stride + self.column;
            let residual = self.residual.map(|residual| &residual[at..at + self.columns]);
            if self.columns == width {
                let (to, _) = S::as_mut_simd_f32s(to);
                for half in 0..2 {
                    let mut sum = sums[half];
                    if self.add {
                        sum = simd.add_f32s(sum, to[half]);
                    }
                    if let Some(bias) = self.bias {
                        sum = simd.add_f32s(sum, S::as_simd_f32s(&bias[self.column..]).0[half]);
                    }
                    if let Some(residual) = residual {
                        sum = simd.add_f32s(sum, S::as_simd_f32s(residual).0[half]);
                    }
                    to[half] = simd.max_f32s(sum, floors);
                }
            } else {
                let (halves, _) = S::as_mut_simd_f32s(&mut edge);
                halves[..2].copy_from_slice(sums);
                for (index, (to, sum)) in to.iter_mut().zip(&edge).enumerate() {
                    let before = if self.add { *to } else { 0.0 };
                    let bias = self.bias.map_or(0.0, |bias| bias[self.column + index]);
                    *to = (before + sum + bias + residual.map_or(0.0, |residual| residual[index])).max(floor);
                }
            }
        }
    }
}

/// The products of `ROWS` rows, [`STRIDE`] apart, with the weights of each step, summed.
#[inline(always)]
fn sums<S: Simd, const ROWS: usize>(
    simd: S,
    rows: &[f32],
    steps: impl ExactSizeIterator<Item = [S::f32s; 2]>,
) -> [[S::f32s; 2]; ROWS] {
    let mut sums = [[simd.splat_f32s(0.0); 2]; ROWS];
    let depth = steps.len();
    assert!(rows.len() >= (ROWS - 1) * STRIDE + depth, "tile rows");
    for (k, [left, right]) in (0..depth).zip(steps) {
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: the assertion above covers the last row's last value.
            #[allow(unsafe_code)]
            let value = simd.splat_f32s(unsafe { *rows.get_unchecked(row * STRIDE + k) });
            sums[0] = simd.mul_add_f32s(value, left, sums[0]);
            sums[1] = simd.mul_add_f32s(value, right, sums[1]);
        }
    }
    sums
}

/// Columns of the widest panel: two vectors of 16.
const MOST_COLUMNS: usize = 32;

/// Rows of a matrix that lie one behind another.
pub(super) struct Dense<'a> {
    pub(super) values: &'a [f32],
    /// Values from row to row.
    pub(super) stride: usize,
}

impl Rows for Dense<'_> {
    #[inline(always)]
    fn fill(&self, row: usize, from: usize, to: &mut [f32]) {
        let at = row * self.stride + from;
        to.copy_from_slice(&self.values[at..at + to.len()]);
    }
}

#[cfg(test)]
mod tests;
