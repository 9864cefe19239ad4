//! Self-attention, channels-last.
//!
//! Keys and values are packed once a head; bands of queries then go over all of them. Memory grows with the tokens, not with their square,
//! but where the probabilities are asked for.

use rayon::prelude::*;

use super::super::activation::{exp, softmax_row};
use super::super::packed::Packed;
use super::super::product::{Dense, End, Right, Threads, multiply, pack, pack_rows, packed_len};
use super::super::raw::{vectorised, with_scratch};
use super::Size;
use super::runner::{Io, Kernel};

/// Queries of a band at most.
const BAND: usize = 70;

/// Sizes of the heads.
#[derive(Clone, Copy)]
struct Heads {
    batch: usize,
    tokens: usize,
    heads: usize,
    /// Values of a head.
    width: usize,
}

impl Heads {
    fn new(qkv: Size, heads: usize) -> Self {
        Self { batch: qkv.batch, tokens: qkv.pixels(), heads, width: qkv.channels / 3 / heads }
    }

    fn dimension(&self) -> usize {
        self.heads * self.width
    }

    /// Values from token to token of the joint projection.
    fn stride(&self) -> usize {
        3 * self.dimension()
    }

    /// Queries in a band: bands are of even size, and threads have equally many.
    fn band(&self) -> usize {
        let threads = rayon::current_num_threads();
        let wanted = self.batch * self.tokens.div_ceil(BAND);
        let bands = wanted.next_multiple_of(threads).div_ceil(self.batch);
        self.tokens.div_ceil(bands).max(1)
    }
}

/// Softmax attention (Vaswani et al., 2017).
pub(super) struct Attention(Heads);

impl Attention {
    pub(super) fn new(qkv: Size, heads: usize) -> Self {
        Self(Heads::new(qkv, heads))
    }

    fn key_len(&self) -> usize {
        packed_len(self.0.tokens, self.0.width)
    }

    fn value_len(&self) -> usize {
        packed_len(self.0.width, self.0.tokens)
    }

    /// Probabilities (query, token) of queries `from..` of a head, whose joint projection begins at `qkv`.
    fn probabilities(&self, qkv: &[f32], from: usize, keys: &[f32], p: &mut [f32]) {
        let Heads { tokens, width, .. } = self.0;
        let queries = Dense { values: &qkv[from * self.0.stride()..], stride: self.0.stride() };
        let keys = Right { values: Packed::Single(keys), outputs: tokens, depth: width };
        multiply(&queries, p.len() / tokens, keys, End::default(), (p, tokens), Threads::One);
        vectorised(|| p.chunks_exact_mut(tokens).for_each(softmax_row));
    }
}

impl Kernel for Attention {
    fn scratch(&self) -> usize {
        self.0.batch * self.0.heads * (self.key_len() + self.value_len())
    }

    fn run(&self, io: Io<'_>) {
        let Io { reads: [qkv, _], gives: y, also: kept, scratch, .. } = io;
        let Heads { tokens, heads, width, .. } = self.0;
        let (dimension, stride) = (self.0.dimension(), self.0.stride());
        let (key_len, value_len) = (self.key_len(), self.value_len());
        let scale = 1.0 / (width as f32).sqrt();
        let of_image = |image: usize| &qkv[image * tokens * stride..(image + 1) * tokens * stride];
        scratch.par_chunks_exact_mut(key_len + value_len).enumerate().for_each(|(index, packed)| {
            let qkv = &of_image(index / heads)[index % heads * width..];
            let (keys, values) = packed.split_at_mut(key_len);
            pack(tokens, width, |token, k| qkv[token * stride + dimension + k] * scale, keys);
            pack_rows(width, tokens, |token| &qkv[token * stride + 2 * dimension..][..width], values);
        });
        let packed = |image: usize, head: usize| {
            scratch[(image * heads + head) * (key_len + value_len)..][..key_len + value_len].split_at(key_len)
        };
        if !kept.is_empty() {
            kept.par_chunks_exact_mut(tokens * tokens).enumerate().for_each(|(index, p)| {
                let (image, head) = (index / heads, index % heads);
                self.probabilities(&of_image(image)[head * width..], 0, packed(image, head).0, p);
            });
        }
        let kept = &*kept;
        let band = self.0.band();
        let bands = y.par_chunks_exact_mut(tokens * dimension).enumerate().flat_map(|(image, y)| {
            y.par_chunks_mut(band * dimension).enumerate().map(move |(index, y)| (image, index * band, y))
        });
        bands.for_each(|(image, from, y)| {
            let queries = y.len() / dimension;
            for head in 0..heads {
                let (keys, values) = packed(image, head);
                let values = Right { values: Packed::Single(values), outputs: width, depth: tokens };
                let to = (&mut y[head * width..], dimension);
                if kept.is_empty() {
                    with_scratch(queries * tokens, |p| {
                        self.probabilities(&of_image(image)[head * width..], from, keys, p);
                        let p = Dense { values: p, stride: tokens };
                        multiply(&p, queries, values, End::default(), to, Threads::One);
                    });
                } else {
                    let p = &kept[((image * heads + head) * tokens + from) * tokens..];
                    let p = Dense { values: p, stride: tokens };
                    multiply(&p, queries, values, End::default(), to, Threads::One);
                }
            }
        });
    }
}

/// Attention linear in the number of tokens (Katharopoulos et al., 2020).
pub(super) struct LinearAttention(Heads);

impl LinearAttention {
    pub(super) fn new(qkv: Size, heads: usize) -> Self {
        Self(Heads::new(qkv, heads))
    }
}

/// `elu(x) + 1`.
#[inline(always)]
fn feature(x: f32) -> f32 {
    x.max(0.0) + exp(x.min(0.0))
}

impl Kernel for LinearAttention {
    /// Of each head: features of keys times values, and the sum of the features.
    fn scratch(&self) -> usize {
        self.0.batch * self.0.heads * (self.0.width + 1) * self.0.width
    }

    fn run(&self, io: Io<'_>) {
        let Io { reads: [qkv, _], gives: y, scratch, .. } = io;
        let Heads { tokens, heads, width, .. } = self.0;
        let (dimension, stride) = (self.0.dimension(), self.0.stride());
        scratch.par_chunks_exact_mut((width + 1) * width).enumerate().for_each(|(index, summary)| {
            let qkv = &qkv[index / heads * tokens * stride + index % heads * width..];
            summary.fill(0.0);
            let (total, summary) = summary.split_at_mut(width);
            vectorised(|| {
                for token in 0..tokens {
                    let token = &qkv[token * stride..];
                    let (key, value) = (&token[dimension..][..width], &token[2 * dimension..][..width]);
                    for ((key, total), line) in key.iter().zip(&mut *total).zip(summary.chunks_exact_mut(width)) {
                        let key = feature(*key);
                        *total += key;
                        line.iter_mut().zip(value).for_each(|(sum, value)| *sum += key * value);
                    }
                }
            });
        });
        let scratch = &*scratch;
        y.par_chunks_exact_mut(dimension).zip(qkv.par_chunks_exact(stride)).enumerate().for_each(
            |(index, (y, qkv))| {
                for (head, y) in y.chunks_exact_mut(width).enumerate() {
                    let summary =
                        &scratch[(index / tokens * heads + head) * (width + 1) * width..][..(width + 1) * width];
                    let (total, summary) = summary.split_at(width);
                    let query = &qkv[head * width..][..width];
                    vectorised(|| {
                        y.fill(0.0);
                        let mut norm = 0.0;
                        for ((query, total), line) in query.iter().zip(total).zip(summary.chunks_exact(width)) {
                            let query = feature(*query);
                            norm += query * total;
                            y.iter_mut().zip(line).for_each(|(y, value)| *y += query * value);
                        }
                        y.iter_mut().for_each(|y| *y /= norm);
                    });
                }
            },
        );
    }
}
