//! Seeded randomness: streams for choices, lattice noise for textures. The same seed gives the same values on every run
//! and with any number of threads.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::geometry::Vec3;

/// A stream of random choices for one purpose; streams of different names are independent.
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a keeps the streams apart.
        let hash =
            name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        Self(ChaCha8Rng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash))
    }

    /// Uniform in `low .. high`.
    pub fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.random::<f32>()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.0.random::<f32>() < p
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f32 {
        let u = self.0.random::<f32>().max(1e-7);
        (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * self.0.random::<f32>()).cos()
    }
}

/// A well-mixed hash of lattice coordinates, 0 to 1.
pub(super) fn hash01(x: i32, y: i32, z: i32, seed: u32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x8da6_b343)
        ^ (y as u32).wrapping_mul(0xd816_3841)
        ^ (z as u32).wrapping_mul(0xcb1a_b31f)
        ^ seed.wrapping_mul(0x9e37_79b9);
    h = (h ^ (h >> 16)).wrapping_mul(0x7feb_352d);
    h = (h ^ (h >> 15)).wrapping_mul(0x846c_a68b);
    h ^= h >> 16;
    (h >> 8) as f32 / 16_777_216.0
}

/// Smooth lattice noise with cells of `cell_mm`, -1 to 1.
pub(super) fn noise(p: Vec3, cell_mm: f32, seed: u32) -> f32 {
    let (x, y, z) = (p.x / cell_mm, p.y / cell_mm, p.z / cell_mm);
    let (fx, fy, fz) = (x.floor(), y.floor(), z.floor());
    let fade = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, w, s) = (fade(x - fx), fade(y - fy), fade(z - fz));
    let (i, j, k) = (fx as i32, fy as i32, fz as i32);
    let lerp = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let row = |dj: i32, dk: i32| lerp(hash01(i, j + dj, k + dk, seed), hash01(i + 1, j + dj, k + dk, seed), u);
    2.0 * lerp(lerp(row(0, 0), row(1, 0), w), lerp(row(0, 1), row(1, 1), w), s) - 1.0
}

/// `octaves` of [`noise`], each half as coarse and half as strong, about -1 to 1.
pub(super) fn fractal(p: Vec3, cell_mm: f32, octaves: u32, seed: u32) -> f32 {
    let mut sum = 0.0;
    let mut weight = 0.5;
    for octave in 0..octaves {
        sum += weight * noise(p, cell_mm / (1 << octave) as f32, seed.wrapping_add(octave));
        weight *= 0.5;
    }
    sum * 1.4
}
