//! AdamW (Loshchilov and Hutter, 2019) over named parameters, with a moving average of the weights.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var, backprop::GradStore};
use rayon::prelude::*;

use crate::nn::AdamW;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.98;
const EPS: f32 = 1e-8;

/// One parameter with its moments and moving average.
pub(super) struct Parameter {
    pub(super) var: Var,
    moments: Moments,
    /// Steps in which it had a gradient: a parameter that joins late is corrected for its own age.
    pub(super) steps: u64,
}

/// What the optimiser keeps of a parameter.
enum Moments {
    Host {
        momentum: Vec<f32>,
        variance: Vec<f32>,
        average: Vec<f32>,
    },
    /// On the device of the variable, changed in place.
    #[cfg(feature = "cuda")]
    Device {
        momentum: Tensor,
        variance: Tensor,
        average: Tensor,
    },
}

impl Parameter {
    fn new(var: Var) -> Result<Self> {
        let average = values(&var)?;
        let mut parameter = Self {
            var,
            moments: Moments::Host { momentum: Vec::new(), variance: Vec::new(), average: Vec::new() },
            steps: 0,
        };
        let zeros = vec![0.0; average.len()];
        parameter.set_state([zeros.clone(), zeros, average])?;
        Ok(parameter)
    }

    /// Copies of momentum, variance and average, each of the variable's shape and on its device.
    pub(super) fn state(&self) -> Result<[Tensor; 3]> {
        match &self.moments {
            Moments::Host { momentum, variance, average } => {
                let tensor = |values: &[f32]| Tensor::from_slice(values, self.var.dims(), self.var.device());
                Ok([tensor(momentum)?, tensor(variance)?, tensor(average)?])
            }
            #[cfg(feature = "cuda")]
            Moments::Device { momentum, variance, average } => {
                Ok([momentum.copy()?, variance.copy()?, average.copy()?])
            }
        }
    }

    /// Sets momentum, variance and average, in the order of the variable's values.
    pub(super) fn set_state(&mut self, [momentum, variance, average]: [Vec<f32>; 3]) -> Result<()> {
        let count = self.var.elem_count();
        if [&momentum, &variance, &average].iter().any(|values| values.len() != count) {
            candle_core::bail!("the optimiser's state has not {count} values");
        }
        #[cfg(feature = "cuda")]
        if self.var.device().is_cuda() {
            let tensor = |values: Vec<f32>| Tensor::from_vec(values, self.var.dims(), self.var.device());
            let (momentum, variance, average) = (tensor(momentum)?, tensor(variance)?, tensor(average)?);
            self.moments = Moments::Device { momentum, variance, average };
            return Ok(());
        }
        self.moments = Moments::Host { momentum, variance, average };
        Ok(())
    }
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
pub(super) struct Gathered(BTreeMap<String, Tensor>);

impl Optimizer {
    pub(super) fn new(vars: impl IntoIterator<Item = (String, Var)>) -> Result<Self> {
        let parameters = vars.into_iter().map(|(name, var)| Ok((name, Parameter::new(var)?))).collect::<Result<_>>()?;
        Ok(Self { parameters })
    }

    /// Adds the gradients of a batch, times `share`, to what was gathered of others.
    pub(super) fn gather(&self, gradients: &GradStore, share: f32, into: &mut Gathered) -> Result<()> {
        for (name, parameter) in &self.parameters {
            let Some(gradient) = gradients.get(&parameter.var) else { continue };
            let scaled = if share == 1.0 { gradient.detach() } else { (gradient.detach() * f64::from(share))? };
            let sum = match into.0.remove(name) {
                Some(sum) => (sum + scaled)?,
                None => scaled,
            };
            into.0.insert(name.clone(), sum);
        }
        Ok(())
    }

    /// One step along what was gathered; returns the norm of the whole gradient before clipping. A gradient that is not finite changes
    /// nothing and returns infinity.
    pub(super) fn step(&mut self, gathered: &Gathered, rates: &StepRates<'_>) -> Result<f64> {
        let found = &gathered.0;
        let on_host = |(name, gradient): (_, &Tensor)| Ok((name, values(gradient)?));
        let host: BTreeMap<&String, Vec<f32>> = found
            .par_iter()
            .filter(|(_, gradient)| !gradient.device().is_cuda())
            .map(on_host)
            .collect::<Result<_>>()?;
        // Summed in the order of the names, whichever thread is done first.
        let squares: Vec<f64> = host.par_iter().map(|(_, gradient)| sum_of_squares(gradient)).collect();
        let mut norm = squares.into_iter().sum::<f64>();
        #[cfg(feature = "cuda")]
        if host.is_empty() {
            norm = crate::nn::sum_of_squares(found.values())?;
        }
        norm = norm.sqrt();
        if !norm.is_finite() {
            return Ok(f64::INFINITY);
        }
        let clip = (rates.clip_norm / norm.max(1e-12)).min(1.0) as f32;
        self.parameters.par_iter_mut().try_for_each(|(name, p)| -> Result<()> {
            let rate = (rates.rate)(name);
            let moves = found.contains_key(name) && rate > 0.0;
            p.steps += u64::from(moves);
            let age = i32::try_from(p.steps).unwrap_or(i32::MAX);
            let step = AdamW {
                clip,
                beta1: BETA1,
                beta2: BETA2,
                step: (rate / (1.0 - f64::from(BETA1).powi(age))) as f32,
                variance_scale: (1.0 / (1.0 - f64::from(BETA2).powi(age))) as f32,
                decay: if p.var.rank() >= 2 { 1.0 - (rate * rates.weight_decay) as f32 } else { 1.0 },
                eps: EPS,
            };
            // A young average follows closely (Tarvainen and Valpola, 2017), so that the start is soon forgotten.
            let decay = rates.ema_decay.min((1.0 + p.steps as f64) / (10.0 + p.steps as f64)) as f32;
            match &mut p.moments {
                Moments::Host { momentum, variance, average } => {
                    let mut values = values(&p.var)?;
                    if let Some(gradient) = host.get(name).filter(|_| moves) {
                        step.run(&mut values, gradient, momentum, variance);
                        p.var.set(&Tensor::from_slice(&values, p.var.dims(), p.var.device())?)?;
                    }
                    average.iter_mut().zip(&values).for_each(|(a, v)| *a = decay * *a + (1.0 - decay) * v);
                }
                #[cfg(feature = "cuda")]
                Moments::Device { momentum, variance, average } => {
                    if let Some(gradient) = found.get(name).filter(|_| moves) {
                        step.run_on_device(&p.var, gradient, momentum, variance)?;
                    }
                    crate::nn::follow(average, &p.var, decay)?;
                }
            }
            Ok(())
        })?;
        Ok(norm)
    }

    /// The moving averages, as tensors by name.
    pub(super) fn averages(&self) -> Result<std::collections::HashMap<String, Tensor>> {
        self.parameters
            .iter()
            .map(|(name, p)| {
                let [_, _, average] = p.state()?;
                Ok((name.clone(), average))
            })
            .collect()
    }
}

/// In several sums at once, for the processor's vectors.
fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = [0.0f64; 16];
    for values in values.chunks(sums.len()) {
        sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += f64::from(*value).powi(2));
    }
    sums.iter().sum()
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1::<f32>()
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
