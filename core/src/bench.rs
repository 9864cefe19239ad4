//! How long a network takes, measured on a fixed pattern.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use candle_core::{DType, Device, Result, Tensor};

use crate::model::{Bundle, ModelConfig, Network, SlabInput};
use crate::nn::{ReducedPrecision, WeightStorage};
use crate::task::{Task, inside_pool};
use crate::train::TrainingStep;

/// A network that is measured.
pub struct Subject {
    /// The bundle's id, or the preset's name.
    pub id: String,
    /// The network.
    pub network: Network,
    /// Where it runs.
    pub device: Device,
    /// Name of the device, for people.
    pub device_name: String,
    /// How numbers are stored and multiplied.
    pub precision: Precision,
}

/// How a network's numbers are stored and multiplied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// Weights as they were loaded, 32 bits for everything else.
    #[default]
    AsLoaded,
    /// 32 bits.
    F32,
    /// Weights of 16 bits, 32 for everything else; inference on the CPU.
    F16,
    /// As `F16`, with the range of 32 bits; on CUDA everything but sums has 16.
    Bf16,
    /// 32 bits, products of 10 bits of mantissa on tensor cores; on CUDA.
    Tf32,
}

impl Precision {
    fn weights(self) -> Option<WeightStorage> {
        match self {
            Self::F32 => Some(WeightStorage::Single),
            Self::F16 => Some(WeightStorage::Half),
            Self::Bf16 => Some(WeightStorage::BFloat),
            Self::AsLoaded | Self::Tf32 => None,
        }
    }

    fn weights_dtype(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
            _ => DType::F32,
        }
    }

    /// Of inputs on `device`.
    fn input_dtype(self, device: &Device) -> DType {
        if device.is_cpu() { DType::F32 } else { self.weights_dtype() }
    }
}

impl Subject {
    /// The network of the preset `name` with random weights.
    ///
    /// # Errors
    /// Where there is no such preset, the weights do not fit into memory, or the device has not this precision.
    pub fn preset(name: &str, device: Device, device_name: String, precision: Precision) -> Result<Self> {
        let Some(config) = ModelConfig::preset(name) else { candle_core::bail!("no preset is named {name:?}") };
        let network = Network::random_as(&config, 0, &device, precision.weights_dtype())?;
        Self { id: name.to_owned(), network, device, device_name, precision: Precision::AsLoaded }.with(precision)
    }

    /// A bundle's network.
    ///
    /// # Errors
    /// Where the bundle's device has not this precision.
    pub fn bundle(bundle: Bundle, precision: Precision) -> Result<Self> {
        let Bundle { metadata, network, device, device_name } = bundle;
        if precision == Precision::Bf16 && !device.is_cpu() {
            candle_core::bail!("bundles have no bf16 on {device_name}");
        }
        Self { id: metadata.id, network, device, device_name, precision: Precision::AsLoaded }.with(precision)
    }

    fn with(mut self, precision: Precision) -> Result<Self> {
        if precision == Precision::F16 && !self.device.is_cpu() {
            candle_core::bail!("there is no f16 on {}", self.device_name);
        }
        if let Some(storage) = precision.weights() {
            self.network.hold_weights_as(storage);
        }
        Ok(Self { precision, ..self })
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A forward pass without features, on the network's device.
    Inference,
    /// Forward and backward pass, AdamW and moving average, on the network's device.
    TrainingStep {
        /// Values are computed again on the way back.
        recompute: bool,
    },
}

/// Runs that are not timed: memory is taken and caches are filled.
const WARM_UP: usize = 2;

/// Milliseconds of `runs` runs of `subject` with `batch` images of `side` pixels at once, in the order of the runs. Networks run at sides that
/// they were not made for: their position embeddings are resampled.
///
/// # Errors
/// Where the network cannot run, or the task is cancelled.
pub fn measure(
    subject: &Subject,
    work: Work,
    (batch, side): (usize, usize),
    runs: usize,
    task: &Task,
) -> Result<Vec<f64>> {
    let network = &subject.network;
    let input = pattern(network.config(), batch.max(1), side)?;
    let _tf32 = (subject.precision == Precision::Tf32).then(ReducedPrecision::begin);
    let mut step: Box<dyn FnMut() -> Result<()> + '_> = match work {
        Work::Inference => {
            let input = input.to_device(&subject.device)?.to_dtype(subject.precision.input_dtype(&subject.device))?;
            // Reading a number waits for the device.
            Box::new(move || {
                let logits = network.predict(&input)?;
                let all = [logits.lesion_logits, logits.organ_logits, logits.class_logits];
                let mut there = all.iter().filter(|logits| logits.elem_count() > 0);
                there.try_for_each(|logits| logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>().map(drop))
            })
        }
        Work::TrainingStep { recompute } => {
            let mut step = TrainingStep::new(network.config(), &subject.device, recompute)?;
            let input = input.to_device(&subject.device)?;
            Box::new(move || inside_pool(|| step.run(&input, 1e-3)).map(drop))
        }
    };
    let mut milliseconds = Vec::with_capacity(runs);
    for run in 0..runs + WARM_UP {
        task.check().map_err(candle_core::Error::wrap)?;
        task.progress("Measuring", run as u64, (runs + WARM_UP) as u64);
        let start = Instant::now();
        step()?;
        if run >= WARM_UP {
            milliseconds.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(milliseconds)
}

/// Writes the pattern and the outputs for it (`input`, and of `lesion_logits`, `organ_logits`, `class_logits` what the network has) as
/// safetensors, to be compared with another implementation.
///
/// # Errors
/// Where the network cannot run or the file cannot be written.
pub fn dump(subject: &Subject, batch: usize, file: &Path) -> Result<()> {
    let network = &subject.network;
    let input = pattern(network.config(), batch.max(1), network.config().input_size)?.to_device(&subject.device)?;
    let output = network.predict(&input)?;
    let tensors = [
        ("input", input),
        ("lesion_logits", output.lesion_logits),
        ("organ_logits", output.organ_logits),
        ("class_logits", output.class_logits),
    ];
    let on_cpu = |tensor: Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous();
    let tensors = tensors.into_iter().filter(|(_, tensor)| tensor.elem_count() > 0);
    let tensors: HashMap<&str, Tensor> =
        tensors.map(|(name, tensor)| Ok((name, on_cpu(tensor)?))).collect::<Result<_>>()?;
    candle_core::safetensors::save(&tensors, file)
}

/// A smooth picture (batch, 1, side, side) of -2 to 2, another one for each image; for a network of slabs the same in all slices.
fn pattern(config: &ModelConfig, batch: usize, side: usize) -> Result<Tensor> {
    let value = |index: usize| {
        let (image, row, column) = (index / (side * side), index / side % side, index % side);
        let (row, column) = (row as f32 / side as f32, column as f32 / side as f32);
        ((7.0 + image as f32) * row).sin() + (11.0 * column * (0.5 + row)).cos()
    };
    let picture =
        Tensor::from_vec((0..batch * side * side).map(value).collect(), (batch, 1, side, side), &Device::Cpu)?;
    if config.slab.is_some() { picture.repeat((1, SlabInput::SLICES, 1, 1)) } else { Ok(picture) }
}
