//! A look at a run before it: what its stages find in the data, and one augmented batch as a picture.

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use ndarray::Array3;

use super::config::TrainConfig;
use super::data::{Targets, draw_batch, load_items, pools};
use super::run::{TrainError, label_organs, start_from};
use crate::dataset::CocoDataset;
use crate::model::SeededVars;
use crate::model::{INPUT_MEAN, INPUT_SCALE, Network};
use crate::task::Task;

/// What a run would do.
#[derive(Debug, Clone)]
pub struct DryRun {
    /// Images for training and for validation.
    pub images: (usize, usize),
    /// Weights of the network.
    pub parameters: usize,
    /// Stages in order.
    pub stages: Vec<StagePlan>,
    /// A batch of the last stage, tiled: RGB, `[row, column, 3]`. Lesion targets are red, organ targets green and blue; what a box leaves open
    /// is yellow; a detector's boxes are white, those partly out of sight dashed.
    pub sheet: Array3<u8>,
}

/// What a stage draws from.
#[derive(Debug, Clone)]
pub struct StagePlan {
    /// Name.
    pub name: String,
    /// Steps.
    pub steps: usize,
    /// Kind of image, its share of a batch, and how many there are.
    pub pools: Vec<(&'static str, f64, usize)>,
}

/// Checks configuration and data of a run and draws batch `step` of its last stage. Organs that are not annotated are labelled by the bundle
/// the run starts from; where it starts from nothing they are missing, and with them lesions that need a lung.
pub fn dry_run(config: &TrainConfig, step: u64, task: &Task) -> Result<DryRun, TrainError> {
    config.validate().map_err(TrainError::Config)?;
    let dataset = CocoDataset::load(&config.data.coco)?;
    let split = config.data.split(&dataset);
    let mut items = load_items(&dataset, &split.train, config, task)?;
    let vars = SeededVars::new(config.seed);
    let vb = VarBuilder::from_backend(Box::new(vars.clone()), DType::F32, Device::Cpu);
    let network = Network::new(&config.model, &vb)?;
    let vars = vars.into_vars();
    let parameters = vars.values().map(|var| var.elem_count()).sum();
    if let Some(bundle) = &config.start_from {
        start_from(bundle, config, &vars)?;
        label_organs(&network, &mut items, config, false, task)?;
    }
    let plan = |stage: &super::StageConfig| StagePlan {
        name: stage.name.clone(),
        steps: stage.steps,
        pools: pools(&items, &stage.sampling).iter().map(|pool| (pool.name, pool.share, pool.items.len())).collect(),
    };
    let stages: Vec<StagePlan> = config.stages.iter().map(plan).collect();
    if let Some(stage) = stages.iter().find(|stage| stage.pools.is_empty()) {
        let cause = format!("stage {}: no image can teach what its sampling names", stage.name);
        return Err(TrainError::Config(cause));
    }
    let Some(last) = config.stages.last() else { return Err(TrainError::Config("stages: none".into())) };
    let batch = draw_batch(&items, &pools(&items, &last.sampling), config, last.pseudo_organ_weight, step)?;
    // Of a slab, the slice in the middle.
    let middle = batch.input.narrow(1, config.model.input_channels() / 2, 1)?;
    let values = middle.flatten_all()?.to_vec1::<f32>()?;
    let sheet = contact_sheet(&values, &batch.targets, config.model.input_size);
    Ok(DryRun { images: (split.train.len(), split.validation.len()), parameters, stages, sheet })
}

fn contact_sheet(values: &[f32], targets: &[Targets], side: usize) -> Array3<u8> {
    const GAP: usize = 4;
    let columns = (targets.len() as f64).sqrt().ceil().max(1.0) as usize;
    let rows = targets.len().div_ceil(columns);
    let mut sheet = Array3::zeros((rows * (side + GAP), columns * (side + GAP), 3));
    for (index, (targets, values)) in targets.iter().zip(values.chunks_exact(side * side)).enumerate() {
        let (top, left) = (index / columns * (side + GAP), index % columns * (side + GAP));
        for (at, value) in values.iter().enumerate() {
            let (row, column) = (at / side, at % side);
            let gray = (value / INPUT_SCALE + INPUT_MEAN).clamp(0.0, 1.0);
            let mut color = [gray; 3];
            let mut tint = |map: &[f32], channels: &[usize], strength: f32| {
                let cells = (map.len() as f64).sqrt() as usize;
                let cell = (row * cells / side) * cells + column * cells / side;
                let amount = map.get(cell).copied().unwrap_or(0.0) * strength;
                for channel in channels {
                    color[*channel] += amount * (1.0 - color[*channel]);
                }
            };
            for (class, organ) in targets.organs.iter().enumerate() {
                if let Some(organ) = organ {
                    tint(&organ.target, &[1 + class % 2], 0.12 * organ.weight);
                }
            }
            for lesion in targets.lesions.iter().flatten() {
                tint(&lesion.target, &[0], 0.4);
                if let Some(known) = &lesion.known {
                    let open: Vec<f32> = known.iter().map(|known| 1.0 - known).collect();
                    tint(&open, &[0, 1], 0.25);
                }
            }
            for (channel, value) in color.into_iter().enumerate() {
                sheet[[top + row, left + column, channel]] = (value * 255.0).round() as u8;
            }
        }
        for target in targets.boxes.iter().flat_map(|boxes| &boxes.boxes) {
            let at = |value: f32| (value.max(0.0) as usize).min(side - 1);
            let [x1, y1, x2, y2] = [target.bounds.x1, target.bounds.y1, target.bounds.x2, target.bounds.y2].map(at);
            let across = (x1..=x2).flat_map(|x| [(y1, x), (y2, x)]);
            let edge = across.chain((y1..=y2).flat_map(|y| [(y, x1), (y, x2)]));
            for (row, column) in edge.filter(|(row, column)| target.visible || (row + column) / 4 % 2 == 0) {
                (0..3).for_each(|channel| sheet[[top + row, left + column, channel]] = 255);
            }
        }
    }
    sheet
}
