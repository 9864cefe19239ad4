//! From coefficients to samples: dequantization, inverse DCT, upsampling of subsampled components.
//!
//! The inverse DCT is that of Loeffler, Ligtenberg and Moschytz, "Practical fast 1-D DCT algorithms with 11
//! multiplications" (ICASSP 1989), in 13-bit fixed point with the rounding that the Independent JPEG Group uses, so
//! that values equal those of the decoders in use.

use super::upsample::upsample;
use super::{CodecError, Component, FrameHeader};

const FRACTION: u32 = 13;
const F_0_298: i32 = 2446;
const F_0_390: i32 = 3196;
const F_0_541: i32 = 4433;
const F_0_765: i32 = 6270;
const F_0_899: i32 = 7373;
const F_1_175: i32 = 9633;
const F_1_501: i32 = 12_299;
const F_1_847: i32 = 15_137;
const F_1_961: i32 = 16_069;
const F_2_053: i32 = 16_819;
const F_2_562: i32 = 20_995;
const F_3_072: i32 = 25_172;

/// Samples of one component, `width * height`.
pub(super) struct Plane {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) samples: Vec<u16>,
}

/// All samples of the frame, by pixel.
pub(super) fn reconstruct(frame: &mut FrameHeader) -> Result<Vec<u16>, CodecError> {
    let (width, height, count) = (frame.width, frame.height, frame.components.len());
    let mut out = Vec::new();
    for index in 0..count {
        let (h_max, v_max, precision) = (frame.h_max, frame.v_max, frame.precision);
        let component = &mut frame.components[index];
        if component.coefficients.is_empty() {
            return Err(CodecError::new(format!("no scan holds JPEG component {}", component.id)));
        }
        let table = component
            .table
            .ok_or_else(|| CodecError::new(format!("JPEG component {} has no quantization table", component.id)))?;
        let mut plane = inverse(component, &table, precision);
        component.coefficients = Vec::new();
        if h_max % component.h != 0 || v_max % component.v != 0 {
            return Err(CodecError::new("JPEG sampling factors that do not divide each other are not decoded here"));
        }
        let (across, down) = (h_max / component.h, v_max / component.v);
        plane = upsample(plane, across, down, width, height);
        if count == 1 {
            return Ok(plane.samples);
        }
        if out.is_empty() {
            out = vec![0; width * height * count];
        }
        for (pixel, value) in out.iter_mut().skip(index).step_by(count).zip(plane.samples) {
            *pixel = value;
        }
    }
    Ok(out)
}

fn inverse(component: &Component, table: &[u16; 64], precision: u32) -> Plane {
    let (width, height) = (component.width, component.height);
    let mut samples = vec![0; width * height];
    for (index, block) in component.coefficients.as_chunks::<64>().0.iter().enumerate() {
        let (top, left) = (index / component.blocks_across * 8, index % component.blocks_across * 8);
        if top >= height || left >= width {
            continue;
        }
        let values = inverse_block(block, table, precision);
        let columns = (width - left).min(8);
        for (row, line) in values.as_chunks::<8>().0.iter().enumerate().take(height - top) {
            let at = (top + row) * width + left;
            samples[at..at + columns].copy_from_slice(&line[..columns]);
        }
    }
    Plane { width, height, samples }
}

/// One 8 x 8 block, coefficients and table in natural order.
fn inverse_block(block: &[i16; 64], table: &[u16; 64], precision: u32) -> [u16; 64] {
    // Bits kept between the passes: 12-bit samples have one less to spare.
    let kept = if precision > 8 { 1 } else { 2 };
    let center = 1i32 << (precision - 1);
    let top = (1i32 << precision) - 1;
    let mut work = [0i32; 64];
    for column in 0..8 {
        let mut line = [0; 8];
        for (row, value) in line.iter_mut().enumerate() {
            let at = row * 8 + column;
            *value = i32::from(block[at]).wrapping_mul(i32::from(table[at]));
        }
        let result = if line[1..].iter().all(|&v| v == 0) {
            [line[0].wrapping_shl(kept); 8]
        } else {
            transform(line, FRACTION - kept)
        };
        for (row, value) in result.into_iter().enumerate() {
            work[row * 8 + column] = value;
        }
    }
    let mut out = [0; 64];
    for (line, target) in work.as_chunks::<8>().0.iter().zip(out.as_chunks_mut::<8>().0) {
        for (value, sample) in transform(*line, FRACTION + kept + 3).into_iter().zip(target) {
            *sample = value.saturating_add(center).clamp(0, top) as u16;
        }
    }
    out
}

/// One-dimensional inverse DCT of eight values, scaled by 2^13 / 2^shift. Wraps on values no encoder makes.
fn transform(v: [i32; 8], shift: u32) -> [i32; 8] {
    let mul = i32::wrapping_mul;
    let sum = i32::wrapping_add;
    let sub = i32::wrapping_sub;
    // Even part.
    let z1 = mul(sum(v[2], v[6]), F_0_541);
    let t2 = sub(z1, mul(v[6], F_1_847));
    let t3 = sum(z1, mul(v[2], F_0_765));
    let t0 = sum(v[0], v[4]).wrapping_shl(FRACTION);
    let t1 = sub(v[0], v[4]).wrapping_shl(FRACTION);
    let even = [sum(t0, t3), sum(t1, t2), sub(t1, t2), sub(t0, t3)];
    // Odd part.
    let (a, b, c, d) = (v[7], v[5], v[3], v[1]);
    let z5 = mul(sum(sum(a, c), sum(b, d)), F_1_175);
    let z1 = mul(sum(a, d), -F_0_899);
    let z2 = mul(sum(b, c), -F_2_562);
    let z3 = sum(mul(sum(a, c), -F_1_961), z5);
    let z4 = sum(mul(sum(b, d), -F_0_390), z5);
    let odd = [
        sum(mul(d, F_1_501), sum(z1, z4)),
        sum(mul(c, F_3_072), sum(z2, z3)),
        sum(mul(b, F_2_053), sum(z2, z4)),
        sum(mul(a, F_0_298), sum(z1, z3)),
    ];
    let round = |x: i32| sum(x, 1 << (shift - 1)) >> shift;
    let mut out = [0; 8];
    for k in 0..4 {
        out[k] = round(sum(even[k], odd[k]));
        out[7 - k] = round(sub(even[k], odd[k]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fixed_point_transform_follows_the_formula() {
        let mut block = [0i16; 64];
        for (index, value) in block.iter_mut().enumerate() {
            *value = ((index as i32 * 7919 % 61) - 30) as i16;
        }
        let values = inverse_block(&block, &[1; 64], 12);
        for y in 0..8 {
            for x in 0..8 {
                let mut sum = 0.0;
                for v in 0..8 {
                    for u in 0..8 {
                        let scale = |k: usize| if k == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
                        let wave =
                            |x: usize, u: usize| ((2 * x + 1) as f64 * u as f64 * std::f64::consts::PI / 16.0).cos();
                        sum += scale(u) * scale(v) / 4.0 * f64::from(block[v * 8 + u]) * wave(x, u) * wave(y, v);
                    }
                }
                let error = f64::from(values[y * 8 + x]) - (sum + 2048.0);
                assert!(error.abs() < 1.0, "{y} {x}: {error}");
            }
        }
    }
}
