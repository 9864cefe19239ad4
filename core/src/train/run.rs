//! The run: stages, steps, validation, checkpoints.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::auxiliary::{self, Auxiliary};
use super::batch_loss::{batch_loss, scalar_of, values};
use super::checkpoint;
use super::config::{StageConfig, TrainConfig};
use super::data::{Batch, Item, draw_batch, load_items, plain_batch, pools};
use super::detection::detection_loss;
use super::log::{Log, LogSplit, Report};
use super::optimizer::{Gathered, Optimizer, StepRates};
use crate::dataset::{CocoDataset, DatasetError};
use crate::model::{BundleError, Dropout, ModelConfig, Network, Request, SeededVars, bundle_weights, read_metadata};
use crate::nn::{Recompute, sigmoid};
use crate::task::{Cancelled, Task, inside_pool};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use ndarray::Array2;

/// File of the best averaged weights.
const BEST: &str = "best.safetensors";
/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TrainError {
    #[error("configuration: {0}")]
    Config(String),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error("network: {0}")]
    Network(#[from] candle_core::Error),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("{file}: {source}")]
    File { file: PathBuf, source: std::io::Error },
    #[error("{0}")]
    Other(String),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// A network over fixed weights, on `device`.
pub(super) fn network_of(
    config: &ModelConfig,
    weights: HashMap<String, Tensor>,
    device: &Device,
) -> candle_core::Result<Network> {
    Network::new(config, &VarBuilder::from_tensors(weights, DType::F32, device))
}

/// Learning rate of `step` (from 0) within a stage.
fn rate_at(stage: &StageConfig, step: usize) -> f64 {
    const LAST: f64 = 0.02;
    if step < stage.warmup {
        return stage.rate * (step + 1) as f64 / stage.warmup as f64;
    }
    let progress = (step - stage.warmup) as f64 / (stage.steps - stage.warmup.min(stage.steps)).max(1) as f64;
    stage.rate * (LAST + (1.0 - LAST) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()))
}

/// Runs all stages that are not done yet, into `folder`: `checkpoint.safetensors`, `best.safetensors`, `log.jsonl`, `curves.png`,
/// `config.toml`. A run that was stopped goes on from its last checkpoint; its result is the same as if it had not stopped. Returns
/// the averaged weights at the validation of the last stage whose loss was the lowest.
///
/// A run that was started on one device may go on on another; it then repeats no bits. On CUDA, products are rounded to TF32.
pub fn train(
    config: &TrainConfig,
    folder: &Path,
    device: &Device,
    task: &Task,
) -> Result<HashMap<String, Tensor>, TrainError> {
    train_watched(config, folder, device, task, &|_| {})
}

/// As [`train`]; each line of the log goes to `watch` too, those of an earlier start of the run first.
pub fn train_watched(
    config: &TrainConfig,
    folder: &Path,
    device: &Device,
    task: &Task,
    watch: &dyn Fn(&Report),
) -> Result<HashMap<String, Tensor>, TrainError> {
    config.validate().map_err(TrainError::Config)?;
    let _precision = crate::nn::ReducedPrecision::begin();
    fs::create_dir_all(folder).map_err(|source| TrainError::File { file: folder.to_path_buf(), source })?;
    remember_config(config, folder)?;
    let dataset = CocoDataset::load(&config.data.coco)?;
    let split = config.data.split(&dataset);
    let mut items = load_items(&dataset, &split.train, config, task)?;
    let validation = load_items(&dataset, &split.validation, config, task)?;

    let vars = SeededVars::new(config.seed);
    let vb = VarBuilder::from_backend(Box::new(vars.clone()), DType::F32, device.clone());
    let network = Network::new(&config.model, &vb)?;
    let auxiliary = match config.losses.deep_supervision {
        weight if weight > 0.0 => Some(Auxiliary::new(&config.model, weight, &vb)?),
        _ => None,
    };
    let learning = Learning { network: &network, auxiliary: auxiliary.as_ref(), config };
    let vars = vars.into_vars();
    if let Some(bundle) = &config.start_from {
        start_from(bundle, config, &vars)?;
    }
    let mut optimizer = Optimizer::new(vars)?;
    let file = folder.join("checkpoint.safetensors");
    let mut done = if file.is_file() { checkpoint::load(&file, &mut optimizer)? as usize } else { 0 };
    let mut log = Log::open(folder, done, watch)?;
    let best = folder.join(BEST);

    let total = config.total_steps();
    let mut start = 0;
    for (index, stage) in config.stages.iter().enumerate() {
        let end = start + stage.steps;
        if done >= end {
            start = end;
            continue;
        }
        if stage.pseudo_organ_weight > 0.0 {
            // The labels come from the weights at the start of the stage, also when it is resumed.
            let file = folder.join(format!("pseudo-{index}.safetensors"));
            if done == start {
                candle_core::safetensors::save(&optimizer.averages()?, &file)?;
            }
            let weights = candle_core::safetensors::load(&file, device)?;
            let bypass = index > 0 && config.stages[index - 1].bypass_transformer;
            label_organs(&network_of(&config.model, weights, device)?, &mut items, config, bypass, task)?;
        }
        let pools = pools(&items, &stage.sampling);
        if pools.is_empty() {
            return Err(TrainError::Config(format!(
                "stage {}: no image can teach what its sampling names",
                stage.name
            )));
        }
        let request = Request { bypass_transformer: stage.bypass_transformer, ..Request::default() };
        let is_last = index + 1 == config.stages.len();
        let check = |optimizer: &Optimizer, step: usize| -> Result<Report, TrainError> {
            let weights = optimizer.averages()?;
            let mut report =
                validate(&network_of(&config.model, weights.clone(), device)?, &validation, config, &request, task)?;
            if is_last {
                checkpoint::keep_best(&best, weights, report.loss())?;
            }
            (report.step, report.stage) = (step, stage.name.clone());
            Ok(report)
        };
        if done == 0 && config.start_from.is_some() && log.is_empty() {
            // Where the run starts from: without it nobody could tell whether it has gained anything.
            log.write(check(&optimizer, 0)?)?;
        }
        let mut sums = Report { stage: stage.name.clone(), ..Report::default() };
        let mut clock = Instant::now();
        let numbers = (done..end).flat_map(|step| (0..config.accumulate).map(move |part| (part * total + step) as u64));
        let draw = |number| draw_batch(&items, &pools, config, stage.pseudo_organ_weight, number);
        ahead(numbers, draw, |next_batch| -> Result<(), TrainError> {
            while done < end {
                task.check()?;
                let mut gathered = Gathered::default();
                for part in 0..config.accumulate {
                    // The first batch of a step is the one that a run without accumulation draws.
                    let number = (part * total + done) as u64;
                    let batch = next_batch()?;
                    let seed = config.seed.wrapping_mul(0x9e37_79b9).wrapping_add(number);
                    let dropout = (stage.dropout > 0.0).then_some(Dropout { share: stage.dropout, seed });
                    let request_now = Request { dropout, training: true, ..request };
                    let draw = (config.seed, number);
                    inside_pool(|| learning.gather(&optimizer, &batch, &request_now, draw, &mut gathered, &mut sums))?;
                }
                let rate = |name: &str| rate_of(name, stage, done - start, config.model.transformer.depth);
                sums.gradient_norm = inside_pool(|| optimizer.step(&gathered, &learning.rates(&rate)))?;
                done += 1;
                task.progress(&format!("Stage {}", stage.name), (done - start) as u64, stage.steps as u64);
                if done.is_multiple_of(config.log_every) {
                    sums.step = done;
                    sums.divide((config.log_every * config.accumulate) as f32);
                    sums.images_per_second =
                        (config.log_every * config.accumulate * config.batch) as f64 / clock.elapsed().as_secs_f64();
                    log.write(sums)?;
                    sums = Report { stage: stage.name.clone(), ..Report::default() };
                    clock = Instant::now();
                }
                if done.is_multiple_of(config.validate_every) || done == end {
                    log.write(check(&optimizer, done)?)?;
                    log.draw_curves()?;
                    if stage.patience > 0 && log.validations_without_gain(start) >= stage.patience {
                        done = end;
                    }
                    // Last, so that a run that is stopped here validates again.
                    checkpoint::save(&file, &optimizer, done as u64)?;
                    clock = Instant::now();
                }
            }
            Ok(())
        })?;
        start = end;
    }
    best_or_last(folder)
}

/// Calls `work` with what `draw` makes of `numbers`, in order, drawn on a thread of its own while `work` goes on with the one before.
fn ahead<R>(
    numbers: impl Iterator<Item = u64> + Send,
    draw: impl Fn(u64) -> candle_core::Result<Batch> + Sync,
    work: impl FnOnce(&mut dyn FnMut() -> candle_core::Result<Batch>) -> R,
) -> R {
    const AHEAD: usize = 2;
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::sync_channel(AHEAD);
        let draw = &draw;
        // Ends where nobody asks any more.
        scope.spawn(move || numbers.map(draw).try_for_each(|batch| sender.send(batch)));
        work(&mut || receiver.recv().map_err(candle_core::Error::wrap)?)
    })
}

/// Gives `vars` the weights of the bundle in `folder`, which must be a network of the same design.
pub(super) fn start_from(folder: &Path, config: &TrainConfig, vars: &BTreeMap<String, Var>) -> Result<(), TrainError> {
    let metadata = read_metadata(folder)?;
    let unlike = |what: &str| TrainError::Config(format!("start_from: {} has another {what}", folder.display()));
    // A detector may be new: it then starts from random weights.
    let without = ModelConfig { detection: None, ..config.model.clone() };
    let new_detector = metadata.config.detection.is_none() && metadata.config == without;
    if metadata.config != config.model && !new_detector {
        return Err(unlike("design than [model]"));
    }
    let weights = bundle_weights(folder, &metadata, &Device::Cpu)?;
    let keeps =
        |name: &str| (new_detector && name.starts_with("heads.detection.")) || name.starts_with(auxiliary::PREFIX);
    for (name, var) in vars.iter().filter(|(name, _)| !keeps(name)) {
        let weight = weights.get(name).filter(|weight| weight.dims() == var.dims());
        let weight = weight.ok_or_else(|| unlike(&format!("shape of {name}")))?;
        var.set(&weight.to_device(var.device())?)?;
    }
    Ok(())
}

/// The best averaged weights of a run's last stage so far; those of the last checkpoint where that stage has not been validated.
pub fn best_or_last(folder: &Path) -> Result<HashMap<String, Tensor>, TrainError> {
    // What deep supervision reads by is no part of the network.
    let of_network = |name: &str| !name.starts_with(auxiliary::PREFIX);
    if let Some(mut weights) = checkpoint::best(&folder.join(BEST))? {
        weights.retain(|name, _| of_network(name));
        return Ok(weights);
    }
    let tensors = candle_core::safetensors::load(folder.join("checkpoint.safetensors"), &Device::Cpu)?;
    let average = |(name, tensor): (String, Tensor)| Some((name.strip_prefix("average/")?.to_owned(), tensor));
    Ok(tensors.into_iter().filter_map(average).filter(|(name, _)| of_network(name)).collect())
}

/// Refuses to mix two configurations in one folder.
fn remember_config(config: &TrainConfig, folder: &Path) -> Result<(), TrainError> {
    let file = folder.join("config.toml");
    let text = toml::to_string(config).map_err(|error| TrainError::Config(error.to_string()))?;
    match fs::read_to_string(&file) {
        // Compared by what they say: a file of an older version lacks fields that have defaults now.
        Ok(before) if toml::from_str(&before).is_ok_and(|before: TrainConfig| before == *config) => Ok(()),
        Ok(_) => Err(TrainError::Config(format!(
            "{} holds a run of another configuration: name another folder, or delete it",
            folder.display()
        ))),
        Err(_) => fs::write(&file, text).map_err(|source| TrainError::File { file, source }),
    }
}

/// What learns, and by what.
struct Learning<'a> {
    network: &'a Network,
    auxiliary: Option<&'a Auxiliary>,
    config: &'a TrainConfig,
}

impl Learning<'_> {
    /// Gathers the gradients of a batch and adds its losses to `sums`. What is drawn at random depends on `draw` (seed and number) alone.
    fn gather(
        &self,
        optimizer: &Optimizer,
        batch: &Batch,
        request: &Request<'_>,
        draw: (u64, u64),
        gathered: &mut Gathered,
        sums: &mut Report,
    ) -> Result<(), TrainError> {
        let config = self.config;
        let recompute = config.recompute.then(Recompute::default);
        let request = &Request { recompute: recompute.as_ref(), ..*request };
        let output = self.network.forward(&batch.input.to_device(self.network.device())?, request)?;
        let mut loss = batch_loss(&output, &batch.targets, config)?;
        let detection = match self.network.detector() {
            Some(detector) => detection_loss(detector, &output.features, &batch.targets, request.dropout, draw)?,
            None => None,
        };
        let mut scalar = scalar_of(&output, &loss.gradients)?;
        if let Some(auxiliary) = self.auxiliary {
            let found = auxiliary.loss(&output.features, &batch.targets, config.losses.focal)?;
            loss.organ += found.organ;
            loss.lesion += found.lesion;
            scalar = (scalar + found.scalar)?;
        }
        sums.add(&loss, detection.as_ref());
        if let Some(detection) = detection {
            scalar = (scalar + detection.scalar)?;
        }
        let share = 1.0 / config.accumulate as f32;
        drop(output);
        Ok(optimizer.gather(&backward(scalar, recompute)?, share, gathered)?)
    }

    fn rates<'r>(&self, rate: &'r (dyn Fn(&str) -> f64 + Sync)) -> StepRates<'r> {
        let TrainConfig { weight_decay, clip_norm, ema_decay, .. } = *self.config;
        StepRates { rate, weight_decay, clip_norm, ema_decay }
    }
}

/// Gradients of `scalar`, which was computed by a pass that keeps everything, or as `recompute` tells.
fn backward(scalar: Tensor, recompute: Option<Recompute>) -> candle_core::Result<GradStore> {
    match recompute {
        Some(recompute) => recompute.backward(scalar),
        None => scalar.backward(),
    }
}

/// Learning rate of a weight at `step` of a stage, by its name: that of the ResNet is scaled, and that of the transformer falls from layer to
/// layer. `depth` is the number of layers.
fn rate_of(name: &str, stage: &StageConfig, step: usize, depth: usize) -> f64 {
    let rate = rate_at(stage, step);
    if name.starts_with("resnet.") {
        return rate * stage.resnet_rate;
    }
    rate * stage.layer_decay.powi(layers_above(name, depth) as i32)
}

/// How many layers of the transformer, the output counted as one, lie above a weight; 0 for what is no part of it.
fn layers_above(name: &str, depth: usize) -> usize {
    let Some(inside) = name.strip_prefix("vit.") else { return 0 };
    let number = inside.split_once("blocks.").and_then(|(_, rest)| rest.split('.').next()?.parse::<usize>().ok());
    match number {
        Some(layer) => depth.saturating_sub(layer),
        None if inside.starts_with("norm.") => 0,
        None => depth + 1,
    }
}

/// The training step alone, without data and losses: what a benchmark measures.
pub struct TrainingStep {
    network: Network,
    optimizer: Optimizer,
    recompute: bool,
}

impl TrainingStep {
    /// A step of a network with random weights on `device`; `recompute` as [`TrainConfig::recompute`].
    pub fn new(config: &ModelConfig, device: &Device, recompute: bool) -> candle_core::Result<Self> {
        let vars = SeededVars::new(0);
        let vb = VarBuilder::from_backend(Box::new(vars.clone()), DType::F32, device.clone());
        let network = Network::new(config, &vb)?;
        Ok(Self { network, optimizer: Optimizer::new(vars.into_vars())?, recompute })
    }

    /// Forward and backward pass of `input` (batch, 1, side, side), every logit having the gradient `gradient`, and one change of the
    /// weights by AdamW with their moving average.
    pub fn run(&mut self, input: &Tensor, gradient: f64) -> candle_core::Result<f64> {
        let recompute = self.recompute.then(Recompute::default);
        let request = Request { training: true, recompute: recompute.as_ref(), ..Request::default() };
        let output = self.network.forward(input, &request)?;
        let of = |logits: &Tensor| logits.zeros_like()? + gradient;
        let gradients = [of(&output.lesion_logits)?, of(&output.organ_logits)?, of(&output.class_logits)?];
        let scalar = scalar_of(&output, &gradients)?;
        drop(output);
        let mut gathered = Gathered::default();
        self.optimizer.gather(&backward(scalar, recompute)?, 1.0, &mut gathered)?;
        let rates = StepRates { rate: &|_| 1e-5, weight_decay: 0.05, clip_norm: 2.0, ema_decay: 0.999 };
        self.optimizer.step(&gathered, &rates)
    }
}

/// Losses on whole images of other patients, without augmentation.
fn validate(
    network: &Network,
    items: &[Item],
    config: &TrainConfig,
    request: &Request<'_>,
    task: &Task,
) -> Result<Report, TrainError> {
    let mut report = Report { split: LogSplit::Validation, ..Report::default() };
    let used: Vec<&Item> = items.iter().filter(|item| item.has_organs() || item.has_lesion_labels()).collect();
    let mut batches = 0.0f32;
    for items in used.chunks(8) {
        task.check()?;
        let batch = plain_batch(items, config)?;
        let output = network.forward(&batch.input.to_device(network.device())?, request)?;
        let loss = batch_loss(&output, &batch.targets, config)?;
        let detection = match network.detector() {
            Some(detector) => {
                detection_loss(detector, &output.features, &batch.targets, None, (config.seed, batches as u64))?
            }
            None => None,
        };
        report.add(&loss, detection.as_ref());
        batches += 1.0;
    }
    report.divide(batches.max(1.0));
    Ok(report)
}

/// Labels the organs of every image, on its letterboxed square.
pub(super) fn label_organs(
    network: &Network,
    items: &mut [Item],
    config: &TrainConfig,
    bypass_transformer: bool,
    task: &Task,
) -> Result<(), TrainError> {
    let total = items.len();
    for start in (0..total).step_by(8) {
        task.check()?;
        task.progress("Labelling organs", start as u64, total as u64);
        let range = start..(start + 8).min(total);
        let batch = plain_batch(&items[range.clone()].iter().collect::<Vec<_>>(), config)?;
        let request = Request { bypass_transformer, ..Request::default() };
        let logits = network.forward(&batch.input.to_device(network.device())?, &request)?.organ_logits;
        let (_, organs, rows, cols) = logits.dims4()?;
        let logits = values(&logits)?;
        for (item, logits) in items[range].iter_mut().zip(logits.chunks_exact(organs * rows * cols)) {
            let map = |logits: &[f32]| {
                Array2::from_shape_fn((rows, cols), |(r, c)| (sigmoid(logits[r * cols + c]) * 255.0).round() as u8)
            };
            item.pseudo = Some(logits.chunks_exact(rows * cols).map(map).collect());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{layers_above, rate_at};
    use crate::train::{SamplingConfig, StageConfig};

    #[test]
    fn rates_fall_from_layer_to_layer() {
        for (name, above) in [
            ("vit.blocks.11.mlp.fc1.weight", 1),
            ("vit.blocks.0.norm1.weight", 12),
            ("vit.cls_token", 13),
            ("vit.patch_embed.proj.weight", 13),
            ("vit.norm.weight", 0),
            ("heads.lesion.out.weight", 0),
            ("resnet.layer1.0.conv1.conv.weight", 0),
        ] {
            assert_eq!(layers_above(name, 12), above, "{name}");
        }
    }

    #[test]
    fn the_rate_rises_and_falls() {
        let stage = StageConfig {
            name: "x".into(),
            steps: 100,
            rate: 1.0,
            warmup: 10,
            resnet_rate: 1.0,
            layer_decay: 1.0,
            bypass_transformer: false,
            pseudo_organ_weight: 0.0,
            dropout: 0.0,
            patience: 0,
            sampling: SamplingConfig::default(),
        };
        let rates: Vec<f64> = (0..100).map(|step| rate_at(&stage, step)).collect();
        assert!((rates[0] - 0.1).abs() < 1e-9 && (rates[9] - 1.0).abs() < 1e-9);
        assert!(rates[10..].windows(2).all(|pair| pair[1] <= pair[0]));
        assert!(rates[99] < 0.03 && rates[99] > 0.0);
    }
}
