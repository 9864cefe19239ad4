//! Weights to start from.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::init::{FanInOut, Init};
use candle_nn::var_builder::SimpleBackend;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Variables by name, made on demand with values that depend on the seed and the name alone.
#[derive(Clone)]
pub struct SeededVars {
    seed: u64,
    vars: Arc<Mutex<BTreeMap<String, Var>>>,
}

impl SeededVars {
    /// No variables yet.
    pub fn new(seed: u64) -> Self {
        Self { seed, vars: Arc::default() }
    }

    /// All that were asked for.
    pub fn into_vars(self) -> BTreeMap<String, Var> {
        self.vars.lock().map(|vars| vars.clone()).unwrap_or_default()
    }
}

/// A normal deviate (Box and Muller, 1958).
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let u: f32 = rng.random_range(f32::MIN_POSITIVE..1.0);
    let v: f32 = rng.random();
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}

impl SimpleBackend for SeededVars {
    fn get(&self, shape: Shape, name: &str, init: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let mut vars = self.vars.lock().map_err(|_| candle_core::Error::msg("weights are in use"))?;
        if let Some(var) = vars.get(name) {
            return Ok(var.as_tensor().clone());
        }
        let mut hasher = DefaultHasher::new();
        (self.seed, name).hash(&mut hasher);
        let mut rng = ChaCha8Rng::seed_from_u64(hasher.finish());
        let count = shape.elem_count();
        let values: Vec<f32> = match init {
            Init::Const(value) => vec![value as f32; count],
            Init::Randn { mean, stdev } => (0..count).map(|_| mean as f32 + stdev as f32 * normal(&mut rng)).collect(),
            Init::Uniform { lo, up } => (0..count).map(|_| rng.random_range(lo as f32..=up as f32)).collect(),
            Init::Kaiming { .. } => {
                let fan = FanInOut::FanIn.for_shape(&shape).max(1);
                let deviation = (2.0 / fan as f32).sqrt();
                (0..count).map(|_| deviation * normal(&mut rng)).collect()
            }
        };
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?)?;
        vars.insert(name.to_owned(), var.clone());
        Ok(var.as_tensor().clone())
    }

    fn get_unchecked(&self, name: &str, _dtype: DType, _device: &Device) -> Result<Tensor> {
        candle_core::bail!("{name}: the shape is needed")
    }

    fn contains_tensor(&self, _name: &str) -> bool {
        true
    }
}
