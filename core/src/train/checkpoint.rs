//! Checkpoints: weights, moments, averages and the step, replaced as a whole.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use candle_core::{Device, Result, Tensor};

use super::optimizer::Optimizer;

/// Writes the optimiser's state at `step` into `file`.
pub(super) fn save(file: &Path, optimizer: &Optimizer, step: u64) -> Result<()> {
    let mut tensors = HashMap::new();
    let device = Device::Cpu;
    for (name, p) in &optimizer.parameters {
        let [momentum, variance, average] = p.state()?;
        tensors.insert(format!("weight/{name}"), p.var.as_tensor().clone());
        tensors.insert(format!("momentum/{name}"), momentum);
        tensors.insert(format!("variance/{name}"), variance);
        tensors.insert(format!("average/{name}"), average);
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
        p.set_state([values("momentum")?, values("variance")?, values("average")?])?;
        p.var.set(&get("weight", name)?.to_device(p.var.device())?)?;
        p.steps = get("steps", name)?.to_vec1::<i64>()?.first().copied().unwrap_or(0) as u64;
    }
    let step = tensors.get("step").ok_or_else(|| candle_core::Error::msg("no step"))?.to_vec1::<i64>()?;
    Ok(step.first().copied().unwrap_or(0) as u64)
}
