//! Checkpoints: weights, moments, averages and the step, replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::init::{FanInOut, Init};
use candle_nn::var_builder::SimpleBackend;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::optimizer::Optimizer;

/// Variables by name, made on demand with values that depend on the seed and the name alone.
#[derive(Clone)]
pub(super) struct SeededVars {
    seed: u64,
    vars: Arc<Mutex<BTreeMap<String, Var>>>,
}

impl SeededVars {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, vars: Arc::default() }
    }

    pub(super) fn into_vars(self) -> BTreeMap<String, Var> {
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

/// Writes the optimiser's state at `step` into `file`.
pub(super) fn save(file: &Path, optimizer: &Optimizer, step: u64) -> Result<()> {
    let mut tensors = HashMap::new();
    let device = Device::Cpu;
    for (name, p) in &optimizer.parameters {
        let like = |values: &[f32]| Tensor::from_slice(values, p.var.dims(), &device);
        tensors.insert(format!("weight/{name}"), p.var.as_tensor().clone());
        tensors.insert(format!("momentum/{name}"), like(&p.momentum)?);
        tensors.insert(format!("variance/{name}"), like(&p.variance)?);
        tensors.insert(format!("average/{name}"), like(&p.average)?);
        tensors.insert(format!("steps/{name}"), Tensor::new(&[p.steps as i64], &device)?);
    }
    tensors.insert("step".to_owned(), Tensor::new(&[step as i64], &device)?);
    let partial = file.with_extension("partial");
    candle_core::safetensors::save(&tensors, &partial)?;
    fs::rename(&partial, file)?;
    Ok(())
}

/// Name of the loss among the weights of a best file.
const LOSS: &str = "validation_loss";

/// Keeps `weights` in `file` if their `loss` is lower than that of what is there.
pub(super) fn keep_best(file: &Path, mut weights: HashMap<String, Tensor>, loss: f32) -> Result<()> {
    if file.is_file() {
        let kept = candle_core::safetensors::load(file, &Device::Cpu)?;
        let before = kept.get(LOSS).map(Tensor::to_vec1::<f32>).transpose()?.and_then(|loss| loss.first().copied());
        if before.is_some_and(|before| before <= loss) {
            return Ok(());
        }
    }
    weights.insert(LOSS.to_owned(), Tensor::new(&[loss], &Device::Cpu)?);
    let partial = file.with_extension("partial");
    candle_core::safetensors::save(&weights, &partial)?;
    fs::rename(&partial, file)?;
    Ok(())
}

/// The weights that [`keep_best`] kept.
pub(super) fn best(file: &Path) -> Result<Option<HashMap<String, Tensor>>> {
    if !file.is_file() {
        return Ok(None);
    }
    let mut weights = candle_core::safetensors::load(file, &Device::Cpu)?;
    weights.remove(LOSS);
    Ok(Some(weights))
}

/// Reads what [`save`] wrote into the optimiser and its variables; returns the step.
pub(super) fn load(file: &Path, optimizer: &mut Optimizer) -> Result<u64> {
    let tensors = candle_core::safetensors::load(file, &Device::Cpu)?;
    let get = |kind: &str, name: &str| {
        tensors.get(&format!("{kind}/{name}")).ok_or_else(|| candle_core::Error::msg(format!("no {kind} of {name}")))
    };
    for (name, p) in &mut optimizer.parameters {
        let values = |kind: &str| get(kind, name)?.flatten_all()?.to_vec1::<f32>();
        let (momentum, variance, average) = (values("momentum")?, values("variance")?, values("average")?);
        if average.len() != p.average.len() {
            candle_core::bail!("{name} has another shape");
        }
        p.var.set(get("weight", name)?)?;
        p.steps = get("steps", name)?.to_vec1::<i64>()?.first().copied().unwrap_or(0) as u64;
        (p.momentum, p.variance, p.average) = (momentum, variance, average);
    }
    let step = tensors.get("step").ok_or_else(|| candle_core::Error::msg("no step"))?.to_vec1::<i64>()?;
    Ok(step.first().copied().unwrap_or(0) as u64)
}
