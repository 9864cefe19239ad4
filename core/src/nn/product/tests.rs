//! Products against their definition, over odd sizes, ends and threads.

use std::marker::PhantomData;

use half::f16;
use pulp::Simd;

use super::super::packed::words;
use super::{
    Activation, Block, Dense, Destination, End, Packed, Right, Threads, multiply, pack, pack_panels, pack_rows,
    packed_len,
};

fn values(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
}

const SIZES: [(usize, usize, usize); 8] =
    [(1, 1, 1), (3, 5, 2), (14, 384, 32), (15, 385, 33), (50, 800, 70), (400, 20, 31), (29, 769, 160), (20, 300, 1500)];

/// One task on `simd`, whatever the processor's best is.
fn run<S: Simd>(
    simd: S,
    (x, values, bias): (&[f32], Packed<'_>, &[f32]),
    (count, depth, outputs): (usize, usize, usize),
) -> Vec<f32> {
    let mut y = vec![0.0; count * outputs];
    let to = Destination { start: y.as_mut_ptr(), stride: outputs, life: PhantomData };
    let end = End { bias: Some(bias), activation: Activation::Relu, ..End::default() };
    let (rows, right) = (Dense { values: x, stride: depth }, Right { values, outputs, depth });
    let panels = 0..outputs.div_ceil(2 * S::F32_LANES);
    simd.vectorize(Block { rows: &rows, rows_of: 0..count, panels, right, end, to: &to });
    y
}

fn narrower<S: Simd>(simd: S) {
    let width = 2 * S::F32_LANES;
    for (count, depth, outputs) in SIZES {
        let half = |value: f32| f16::from_f32(value).to_f32();
        let (x, bias) = (values(count * depth, 1), values(outputs, 3));
        let w: Vec<f32> = values(outputs * depth, 2).into_iter().map(half).collect();
        let mut packed = vec![0.0; outputs.next_multiple_of(width) * depth];
        pack_panels(width, outputs, depth, |output, k| w[output * depth + k], &mut packed);
        let y = run(simd, (&x, Packed::Single(&packed), &bias), (count, depth, outputs));
        for (index, value) in y.iter().enumerate() {
            let (row, column) = (index / outputs, index % outputs);
            let product = |k: usize| f64::from(x[row * depth + k]) * f64::from(w[column * depth + k]);
            let expected = ((0..depth).map(product).sum::<f64>() + f64::from(bias[column])).max(0.0);
            let close = (f64::from(*value) - expected).abs() < 1e-4 * expected.max(1.0);
            assert!(close, "{width}: {count} {depth} {outputs}: {value} {expected}");
        }
        let words = words(width, &packed, |value| f16::from_f32(value).to_bits());
        assert_eq!(run(simd, (&x, Packed::Half(&words), &bias), (count, depth, outputs)), y, "{width}: 16 bits");
    }
}

#[test]
fn processors_with_narrower_vectors_get_the_same() {
    narrower(pulp::Scalar::new());
    #[cfg(target_arch = "x86_64")]
    if let Some(simd) = pulp::x86::V3::try_new() {
        narrower(simd);
    }
}

/// Packed from either side, with every end, on one thread and several.
#[test]
fn it_equals_the_definition_at_odd_sizes() {
    for (count, depth, outputs) in SIZES {
        let stride = outputs + 3;
        let (x, w, bias) = (values(count * depth, 1), values(outputs * depth, 2), values(outputs, 3));
        let residual = values(count * stride, 4);
        let turned: Vec<f32> = (0..w.len()).map(|i| w[i % outputs * depth + i / outputs]).collect();
        for case in 0..12 {
            let mut packed = vec![f32::NAN; packed_len(outputs, depth)];
            if case % 2 == 0 {
                pack(outputs, depth, |output, k| w[output * depth + k], &mut packed);
            } else {
                pack_rows(outputs, depth, |k| &turned[k * outputs..(k + 1) * outputs], &mut packed);
            }
            let activation = [Activation::None, Activation::Relu, Activation::Gelu][case / 2 % 3];
            let (bias, residual) = if case < 6 { (None, None) } else { (Some(&bias[..]), Some(&residual[..])) };
            let threads = if case % 3 == 0 { Threads::One } else { Threads::All };
            let y = vec![7.0; count * stride];
            let right = Right { values: Packed::Single(&packed), outputs, depth };
            let rows = Dense { values: &x, stride: depth };
            // Every other case with a residual finds it in the destination.
            let add = residual.is_some() && case % 2 == 1;
            let mut y = match residual.filter(|_| add) {
                Some(residual) => {
                    let mut y = residual.to_vec();
                    y.chunks_mut(stride).for_each(|row| row[outputs..].fill(7.0));
                    y
                }
                None => y,
            };
            let end = End { bias, residual: residual.filter(|_| !add), add, activation };
            multiply(&rows, count, right, end, (&mut y, stride), threads);
            for (row, y) in y.chunks(stride).enumerate() {
                assert!(y[outputs..].iter().all(|v| *v == 7.0), "what lies between rows is left alone");
                for (column, value) in y[..outputs].iter().enumerate() {
                    let product = |k: usize| f64::from(x[row * depth + k]) * f64::from(w[column * depth + k]);
                    let sum: f64 = (0..depth).map(product).sum();
                    let sum = sum
                        + bias.map_or(0.0, |b| f64::from(b[column]))
                        + residual.map_or(0.0, |r| f64::from(r[row * stride + column]));
                    let expected = match activation {
                        Activation::None => sum,
                        Activation::Relu => sum.max(0.0),
                        Activation::Gelu => f64::from(super::gelu_value(sum as f32)),
                    };
                    let close = (f64::from(*value) - expected).abs() < 1e-4 * expected.abs().max(1.0);
                    assert!(close, "{count} {depth} {outputs} case {case}: {value} {expected}");
                }
            }
        }
    }
}
