//! AdamW (Loshchilov and Hutter, 2019) over named parameters, with a moving average of the weights.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var, backprop::GradStore};
use rayon::prelude::*;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.98;
const EPS: f32 = 1e-8;

/// One parameter with its moments and moving average.
pub(super) struct Parameter {
    pub(super) var: Var,
    pub(super) momentum: Vec<f32>,
    pub(super) variance: Vec<f32>,
    pub(super) average: Vec<f32>,
    /// Steps in which it had a gradient: a parameter that joins late is corrected for its own age.
    pub(super) steps: u64,
}

/// All parameters, by name.
pub(super) struct Optimizer {
    pub(super) parameters: BTreeMap<String, Parameter>,
}

/// Rates of one step.
pub(super) struct StepRates<'a> {
    /// Learning rate of a parameter, by its name; 0 leaves it as it is.
    pub(super) rate: &'a (dyn Fn(&str) -> f64 + Sync),
    pub(super) weight_decay: f64,
    pub(super) clip_norm: f64,
    pub(super) ema_decay: f64,
}

/// Gradients by parameter, of one batch or of several.
#[derive(Default)]
pub(super) struct Gathered(BTreeMap<String, Vec<f32>>);

impl Optimizer {
    pub(super) fn new(vars: impl IntoIterator<Item = (String, Var)>) -> Result<Self> {
        let mut parameters = BTreeMap::new();
        for (name, var) in vars {
            let average = var.flatten_all()?.to_vec1::<f32>()?;
            let zeros = vec![0.0; average.len()];
            parameters.insert(name, Parameter { var, momentum: zeros.clone(), variance: zeros, average, steps: 0 });
        }
        Ok(Self { parameters })
    }

    /// Adds the gradients of a batch, times `share`, to what was gathered of others.
    pub(super) fn gather(&self, gradients: &GradStore, share: f32, into: &mut Gathered) -> Result<()> {
        for (name, parameter) in &self.parameters {
            let Some(gradient) = gradients.get(&parameter.var) else { continue };
            let values = gradient.flatten_all()?.to_vec1::<f32>()?;
            match into.0.get_mut(name) {
                Some(sum) => sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += share * value),
                None => {
                    let scaled = if share == 1.0 { values } else { values.iter().map(|v| share * v).collect() };
                    into.0.insert(name.clone(), scaled);
                }
            }
        }
        Ok(())
    }

    /// One step along what was gathered; returns the norm of the whole gradient before clipping. A gradient that is not finite changes
    /// nothing and returns infinity.
    pub(super) fn step(&mut self, gathered: &Gathered, rates: &StepRates<'_>) -> Result<f64> {
        let found = &gathered.0;
        let squares: f64 = found.values().map(|g| g.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>()).sum();
        let norm = squares.sqrt();
        if !norm.is_finite() {
            return Ok(f64::INFINITY);
        }
        let clip = (rates.clip_norm / norm.max(1e-12)).min(1.0) as f32;
        self.parameters.par_iter_mut().try_for_each(|(name, p)| -> Result<()> {
            let rate = (rates.rate)(name);
            let mut values = p.var.flatten_all()?.to_vec1::<f32>()?;
            if let Some(gradient) = found.get(name)
                && rate > 0.0
            {
                p.steps += 1;
                let age = i32::try_from(p.steps).unwrap_or(i32::MAX);
                let step = (rate / (1.0 - f64::from(BETA1).powi(age))) as f32;
                let variance_scale = (1.0 / (1.0 - f64::from(BETA2).powi(age))) as f32;
                let decay = if p.var.rank() >= 2 { 1.0 - (rate * rates.weight_decay) as f32 } else { 1.0 };
                let moments = p.momentum.iter_mut().zip(p.variance.iter_mut());
                for ((value, gradient), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
                    let gradient = gradient * clip;
                    *m = BETA1 * *m + (1.0 - BETA1) * gradient;
                    *v = BETA2 * *v + (1.0 - BETA2) * gradient * gradient;
                    *value = *value * decay - step * *m / ((*v * variance_scale).sqrt() + EPS);
                }
                p.var.set(&Tensor::from_slice(&values, p.var.dims(), p.var.device())?)?;
            }
            // A young average follows closely (Tarvainen and Valpola, 2017), so that the start is soon forgotten.
            let decay = rates.ema_decay.min((1.0 + p.steps as f64) / (10.0 + p.steps as f64)) as f32;
            p.average.iter_mut().zip(&values).for_each(|(a, v)| *a = decay * *a + (1.0 - decay) * v);
            Ok(())
        })?;
        Ok(norm)
    }

    /// The moving averages, as tensors by name.
    pub(super) fn averages(&self) -> Result<std::collections::HashMap<String, Tensor>> {
        let tensor = |p: &Parameter| Tensor::from_slice(&p.average, p.var.dims(), p.var.device());
        self.parameters.iter().map(|(name, p)| Ok((name.clone(), tensor(p)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::{Gathered, Optimizer, StepRates};

    fn step(optimizer: &mut Optimizer, loss: &Tensor, rates: &StepRates<'_>) -> f64 {
        let mut gathered = Gathered::default();
        optimizer.gather(&loss.backward().unwrap(), 1.0, &mut gathered).unwrap();
        optimizer.step(&gathered, rates).unwrap()
    }

    #[test]
    fn two_halves_make_one_step() {
        let run = |parts: usize| {
            let var = Var::from_tensor(&Tensor::new(&[5.0f32, -3.0], &Device::Cpu).unwrap()).unwrap();
            let target = Tensor::new(&[[1.0f32, 2.0], [0.5, -1.0]], &Device::Cpu).unwrap();
            let mut optimizer = Optimizer::new([("w".to_owned(), var.clone())]).unwrap();
            let rates = StepRates { rate: &|_| 0.05, weight_decay: 0.1, clip_norm: 1.0, ema_decay: 0.9 };
            for _ in 0..5 {
                let mut gathered = Gathered::default();
                for part in 0..parts {
                    let rows = target.narrow(0, part * 2 / parts, 2 / parts).unwrap();
                    let off = var.as_tensor().broadcast_sub(&rows).unwrap().sqr().unwrap();
                    let loss = (off.sum_all().unwrap() / (2 / parts) as f64).unwrap();
                    optimizer.gather(&loss.backward().unwrap(), 1.0 / parts as f32, &mut gathered).unwrap();
                }
                optimizer.step(&gathered, &rates).unwrap();
            }
            var.to_vec1::<f32>().unwrap()
        };
        let (whole, halves) = (run(1), run(2));
        assert!(whole.iter().zip(&halves).all(|(a, b)| (a - b).abs() < 1e-6), "{whole:?} {halves:?}");
    }

    #[test]
    fn it_finds_the_minimum_and_the_average_follows() {
        let var = Var::from_tensor(&Tensor::new(&[5.0f32, -3.0], &Device::Cpu).unwrap()).unwrap();
        let target = Tensor::new(&[1.0f32, 2.0], &Device::Cpu).unwrap();
        let mut optimizer = Optimizer::new([("w".to_owned(), var.clone())]).unwrap();
        let rates = StepRates { rate: &|_| 0.05, weight_decay: 0.0, clip_norm: 10.0, ema_decay: 0.9 };
        for _ in 0..600 {
            let loss = (var.as_tensor() - &target).unwrap().sqr().unwrap().sum_all().unwrap();
            step(&mut optimizer, &loss, &rates);
        }
        for values in [var.to_vec1::<f32>().unwrap(), optimizer.averages().unwrap()["w"].to_vec1::<f32>().unwrap()] {
            assert!((values[0] - 1.0).abs() < 0.05 && (values[1] - 2.0).abs() < 0.05, "{values:?}");
        }
    }

    #[test]
    fn a_broken_gradient_changes_nothing() {
        let var = Var::from_tensor(&Tensor::new(&[5.0f32], &Device::Cpu).unwrap()).unwrap();
        let mut optimizer = Optimizer::new([("w".to_owned(), var.clone())]).unwrap();
        let rates = StepRates { rate: &|_| 0.05, weight_decay: 0.1, clip_norm: 1.0, ema_decay: 0.9 };
        let loss = (var.as_tensor() * f64::NAN).unwrap().sum_all().unwrap();
        assert!(step(&mut optimizer, &loss, &rates).is_infinite());
        assert_eq!(var.to_vec1::<f32>().unwrap(), [5.0]);
    }
}
