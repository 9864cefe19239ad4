//! Packed matrices as memory holds them: in 32 bits, or in 16, which the first tile of a product widens on its way to the registers.
//!
//! Two values of 16 bits share a word: those of the same lane in the two vectors of a panel's row. Widening is exact, subnormal numbers included:
//! weights that were stored in 16 bits give the same bits either way.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use pulp::Simd;

use super::product::panel_width;

/// How the weights of products are held; sums have 32 bits always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightStorage {
    /// 32 bits.
    Single,
    /// 16 bits, 10 of them of mantissa.
    Half,
    /// 16 bits, 7 of them of mantissa, with the range of 32.
    BFloat,
}

/// A packed matrix.
#[derive(Debug, Clone)]
pub(super) enum PackedWeights {
    Single(Arc<[f32]>),
    Half(Arc<[u32]>),
    BFloat(Arc<[u32]>),
}

impl PackedWeights {
    /// `values`, packed as by [`super::product::pack`], as `storage` holds them: rounded to the nearest, but that what is beyond the range of
    /// [`WeightStorage::Half`] keeps its 32 bits.
    pub(super) fn new(values: Vec<f32>, storage: WeightStorage) -> Self {
        match storage {
            WeightStorage::Half if values.iter().all(|value| f16::from_f32(*value).is_finite()) => {
                Self::Half(words(panel_width(), &values, |value| f16::from_f32(value).to_bits()))
            }
            WeightStorage::BFloat => {
                Self::BFloat(words(panel_width(), &values, |value| bf16::from_f32(value).to_bits()))
            }
            _ => Self::Single(values.into()),
        }
    }

    pub(super) fn view(&self) -> Packed<'_> {
        match self {
            Self::Single(values) => Packed::Single(values),
            Self::Half(words) => Packed::Half(words),
            Self::BFloat(words) => Packed::BFloat(words),
        }
    }
}

/// Words of rows of `width` values: the first half of a row in the lower bits, the second in the upper.
pub(super) fn words(width: usize, values: &[f32], bits: impl Fn(f32) -> u16) -> Arc<[u32]> {
    let rows = values.chunks_exact(width).map(|row| row.split_at(width / 2));
    let word = |(low, high): (&f32, &f32)| u32::from(bits(*low)) | u32::from(bits(*high)) << 16;
    rows.flat_map(|(low, high)| low.iter().zip(high).map(word)).collect()
}

/// [`PackedWeights`], or a part of them.
#[derive(Clone, Copy)]
pub(super) enum Packed<'a> {
    Single(&'a [f32]),
    Half(&'a [u32]),
    BFloat(&'a [u32]),
}

impl<'p> Packed<'p> {
    /// Values.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Single(values) => values.len(),
            Self::Half(words) | Self::BFloat(words) => 2 * words.len(),
        }
    }

    /// Of `count` values, those for which there must be room when they are widened.
    pub(super) fn room(self, count: usize) -> usize {
        if matches!(self, Self::Single(_)) { 0 } else { count }
    }

    /// The steps of the panel that values `range` are; `room` holds them when its `first` tile has gone through them.
    #[inline(always)]
    pub(super) fn steps<'a, S: Simd>(self, range: Range<usize>, room: &'a mut [f32], first: bool) -> Steps<'a, S>
    where
        'p: 'a,
    {
        let words = |words: &'a [u32]| S::as_simd_u32s(&words[range.start / 2..range.end / 2]).0;
        match self {
            Self::Single(values) => Steps::Single(pairs::<S>(&values[range])),
            _ if !first => Steps::Single(pairs::<S>(&room[..range.len()])),
            Self::Half(halves) => Steps::Half(words(halves), pairs_mut::<S>(room)),
            Self::BFloat(halves) => Steps::BFloat(words(halves), pairs_mut::<S>(room)),
        }
    }
}

#[inline(always)]
fn pairs<S: Simd>(values: &[f32]) -> &[[S::f32s; 2]] {
    pulp::as_arrays(S::as_simd_f32s(values).0).0
}

#[inline(always)]
fn pairs_mut<S: Simd>(values: &mut [f32]) -> &mut [[S::f32s; 2]] {
    pulp::as_arrays_mut(S::as_mut_simd_f32s(values).0).0
}

/// Weights of a panel as a tile takes them: two vectors a step.
pub(super) enum Steps<'a, S: Simd> {
    Single(&'a [[S::f32s; 2]]),
    /// Words, and where they are left widened.
    Half(&'a [S::u32s], &'a mut [[S::f32s; 2]]),
    BFloat(&'a [S::u32s], &'a mut [[S::f32s; 2]]),
}

/// What `widen` makes of each of `words`, which stays in `room` too.
#[inline(always)]
pub(super) fn kept<W: Copy, V: Copy>(
    words: &[W],
    room: &mut [V],
    widen: impl Fn(W) -> V,
) -> impl ExactSizeIterator<Item = V> {
    words.iter().zip(room).map(move |(words, room)| {
        *room = widen(*words);
        *room
    })
}

/// The two vectors in a vector of words.
#[inline(always)]
pub(super) fn widen_bfloat<S: Simd>(simd: S, words: S::u32s) -> [S::f32s; 2] {
    let low = simd.wrapping_dyn_shl_u32s(words, simd.splat_u32s(16));
    let high = simd.and_u32s(words, simd.splat_u32s(0xffff_0000));
    [simd.transmute_f32s_u32s(low), simd.transmute_f32s_u32s(high)]
}

/// As [`widen_bfloat`], of finite halves.
#[inline(always)]
pub(super) fn widen_half<S: Simd>(simd: S, words: S::u32s) -> [S::f32s; 2] {
    let low = simd.wrapping_dyn_shl_u32s(words, simd.splat_u32s(16));
    [upper_half(simd, low), upper_half(simd, words)]
}

/// The half in the upper bits of each word: sign, exponent and fraction go to their places, and what lies between the exponents' biases is multiplied.
#[inline(always)]
fn upper_half<S: Simd>(simd: S, words: S::u32s) -> S::f32s {
    const SIGN: u32 = 1 << 31;
    const REST: u32 = 0x7fff << 13;
    const BIASES: f32 = f32::from_bits((127 + 127 - 15) << 23);
    let sign = simd.and_u32s(words, simd.splat_u32s(SIGN));
    let rest = simd.and_u32s(simd.wrapping_dyn_shr_u32s(words, simd.splat_u32s(3)), simd.splat_u32s(REST));
    simd.mul_f32s(simd.transmute_f32s_u32s(simd.or_u32s(sign, rest)), simd.splat_f32s(BIASES))
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use pulp::{Arch, Simd, WithSimd};

    use super::{Packed, PackedWeights, WeightStorage, panel_width, widen_bfloat, widen_half};

    /// All values of a packed matrix, widened.
    struct Widened<'a>(Packed<'a>);

    impl WithSimd for Widened<'_> {
        type Output = Vec<f32>;

        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let all = |words: &[u32], widen: fn(S, S::u32s) -> [S::f32s; 2]| {
                let (words, _) = S::as_simd_u32s(words);
                let pairs: Vec<[S::f32s; 2]> = words.iter().map(|words| widen(simd, *words)).collect();
                pulp::bytemuck::cast_slice(&pairs).to_vec()
            };
            match self.0 {
                Packed::Single(values) => values.to_vec(),
                Packed::Half(words) => all(words, widen_half),
                Packed::BFloat(words) => all(words, widen_bfloat),
            }
        }
    }

    fn held(values: &[f32], storage: WeightStorage) -> Vec<u32> {
        let packed = PackedWeights::new(values.to_vec(), storage);
        assert_eq!(packed.view().len(), values.len());
        Arch::new().dispatch(Widened(packed.view())).into_iter().map(f32::to_bits).collect()
    }

    fn bits(values: &[f32], round: impl Fn(f32) -> f32) -> Vec<u32> {
        values.iter().map(|value| round(*value).to_bits()).collect()
    }

    #[test]
    fn every_finite_number_of_16_bits_is_widened_exactly() {
        let finite = |values: &mut dyn Iterator<Item = f32>| -> Vec<f32> {
            let mut values: Vec<f32> = values.filter(|value| value.is_finite()).collect();
            values.resize(values.len().next_multiple_of(panel_width()), 0.0);
            values
        };
        let halves = finite(&mut (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32()));
        assert_eq!(held(&halves, WeightStorage::Half), bits(&halves, |value| value));
        let bfloats = finite(&mut (0..=u16::MAX).map(|bits| bf16::from_bits(bits).to_f32()));
        assert_eq!(held(&bfloats, WeightStorage::BFloat), bits(&bfloats, |value| value));
    }

    #[test]
    fn values_are_rounded_to_the_nearest_or_keep_their_bits() {
        let mut values: Vec<f32> = (0..4 * panel_width()).map(|i| (i as f32 * 0.37 - 9.0).powi(3) * 1e-3).collect();
        assert_eq!(held(&values, WeightStorage::Half), bits(&values, |value| f16::from_f32(value).to_f32()));
        assert_eq!(held(&values, WeightStorage::BFloat), bits(&values, |value| bf16::from_f32(value).to_f32()));
        values[5] = 7e4;
        assert_eq!(held(&values, WeightStorage::Half), bits(&values, |value| value));
    }
}
