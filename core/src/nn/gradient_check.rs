//! Finite-difference check of gradients, for the tests of every operation.

use candle_core::{Device, Result, Tensor, Var};
use rand::{RngExt, SeedableRng};

/// Values in -1 to 1, the same for the same seed.
pub(crate) fn random(dims: &[usize], seed: u64) -> Tensor {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..dims.iter().product::<usize>()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// Compares the gradient of a fixed random projection of `f` with central differences, for every value of every input.
pub(crate) fn check(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let vars: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let y = f(&tensors).unwrap();
    let projection = random(y.dims(), 99);
    let scalar = |y: &Tensor| (y * &projection).unwrap().sum_all().unwrap();
    let gradients = scalar(&y).backward().unwrap();
    for (index, var) in vars.iter().enumerate() {
        let analytic = gradients.get(var).expect("a gradient flows to every input").flatten_all().unwrap();
        let analytic = analytic.to_vec1::<f32>().unwrap();
        let values = inputs[index].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for position in 0..values.len() {
            let at = |delta: f32| {
                let mut moved = values.clone();
                moved[position] += delta;
                let mut all = inputs.to_vec();
                all[index] = Tensor::from_vec(moved, inputs[index].dims(), &Device::Cpu).unwrap();
                // In double precision, so that the difference of two nearby sums keeps its digits.
                let y = f(&all).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let p = projection.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                y.iter().zip(p).map(|(y, p)| f64::from(*y) * f64::from(p)).sum::<f64>()
            };
            let step = 1e-2;
            let numeric = ((at(step) - at(-step)) / (2.0 * f64::from(step))) as f32;
            let error = (numeric - analytic[position]).abs();
            assert!(
                error < 2e-2 * numeric.abs().max(1.0).max(analytic[position].abs()),
                "input {index}, value {position}: analytic {} but numeric {numeric}",
                analytic[position]
            );
        }
    }
}
