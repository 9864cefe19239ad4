//! The configuration file of a training run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::dataset::{Augmentation, ClassMap, CocoDataset, OpacityOptions, Split, UnionTarget, split_by_patient};
use crate::model::{IntendedUse, ModelConfig, Topology};
use crate::study::CodedConcept;

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of weights, order and augmentation.
    pub seed: u64,
    /// Images that go through the network at once.
    pub batch: usize,
    /// Batches whose gradients make one step: more images a step without more memory.
    #[serde(default = "one_batch")]
    pub accumulate: usize,
    /// Keep less of a forward pass and compute it again on the way back: less memory, a third to a half more time, the same
    /// gradients but for the rounding of sums.
    #[serde(default)]
    pub recompute: bool,
    /// Weight decay of AdamW (Loshchilov and Hutter, 2019), for weights with two axes or more.
    pub weight_decay: f64,
    /// Decay of the moving average of the weights, which is what the bundle holds.
    pub ema_decay: f64,
    /// The largest norm of a step's gradient; larger ones are scaled down.
    pub clip_norm: f64,
    /// Steps between lines of the log.
    #[serde(default = "twenty")]
    pub log_every: usize,
    /// Steps between validations, each with a checkpoint.
    #[serde(default = "two_hundred")]
    pub validate_every: usize,
    /// Data.
    pub data: DataConfig,
    /// Network.
    pub model: ModelConfig,
    /// Augmentation.
    #[serde(default)]
    pub augmentation: Augmentation,
    /// Losses beyond the usual ones.
    #[serde(default)]
    pub losses: LossConfig,
    /// Simulated lesions.
    #[serde(default)]
    pub opacities: OpacityOptions,
    /// Folder of a bundle whose weights the run starts from; without it they are random. It should have learned from the same training
    /// patients only, else validation is too kind.
    #[serde(default)]
    pub start_from: Option<PathBuf>,
    /// Stages, in order.
    pub stages: Vec<StageConfig>,
    /// What the bundle says of itself.
    pub bundle: BundleText,
}

/// The data set and what its categories mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// COCO file, relative to the working directory.
    pub coco: PathBuf,
    /// Share of patients kept for validation.
    pub validation_fraction: f64,
    /// Seed of the split.
    pub split_seed: u64,
    /// Patients kept for validation, by name; where there are none, `validation_fraction` and `split_seed` choose them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation_patients: Vec<String>,
    /// Categories of each lesion class of the model, in its order.
    pub lesions: Vec<ClassMap>,
    /// Categories of each organ class of the model, in its order.
    pub organs: Vec<ClassMap>,
    /// Unions of organ classes that are annotated as one.
    #[serde(default)]
    pub unions: Vec<UnionTarget>,
    /// Values of `radiologist_read` whose images show no lesion, for certain or nearly so: lesions are simulated on them, and
    /// they count as negatives with `weak_weight` where they are not annotated.
    #[serde(default)]
    pub normal_reads: Vec<String>,
    /// Values of `radiologist_read` whose images may show anything: used for organs only.
    #[serde(default)]
    pub unlabelled_reads: Vec<String>,
    /// Weight of the classes of `normal_reads` images that are not annotated.
    #[serde(default)]
    pub weak_weight: f32,
    /// Pairs of classes to be exchanged when an image is mirrored.
    #[serde(default)]
    pub mirrored: Vec<[String; 2]>,
}

impl DataConfig {
    /// Images for training and for validation.
    pub fn split(&self, dataset: &CocoDataset) -> Split {
        if self.validation_patients.is_empty() {
            return split_by_patient(dataset, self.validation_fraction, self.split_seed);
        }
        let kept = |index: &usize| self.validation_patients.contains(&dataset.images[*index].patient_id);
        let (validation, train) = (0..dataset.images.len()).partition(kept);
        Split { train, validation }
    }
}

/// Shares of the kinds of images in a batch; they need not sum to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingConfig {
    /// Images annotated for an organ.
    pub organs: f64,
    /// Images annotated for a lesion, and showing one.
    pub positive: f64,
    /// Images annotated for a lesion, and showing none.
    pub negative: f64,
    /// Images with a normal read, half of them with a simulated lesion once organs are known.
    pub normal: f64,
    /// Images of `unlabelled_reads`; need pseudo organs.
    pub unlabelled: f64,
}

/// What may be added to cross entropy and Dice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Exponent of the focal loss of lesion maps (Lin et al., 2017; for soft targets Li et al., 2020): what is nearly right counts less.
    /// 0 is plain cross entropy; 2 is usual.
    pub focal: f32,
    /// Weight of deep supervision (Lee et al., 2015): lesions are also read from the ResNet's last map and organs from the tokens, by
    /// linear layers that are thrown away afterwards. 0 is none; 0.3 is usual.
    pub deep_supervision: f32,
}

/// A stage of training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageConfig {
    /// Name in the log.
    pub name: String,
    /// Steps.
    pub steps: usize,
    /// Largest learning rate; it rises over `warmup` steps and falls along a cosine to 2 % of it.
    pub rate: f64,
    /// Steps of linear rise.
    #[serde(default)]
    pub warmup: usize,
    /// Factor of the rate for the ResNet's weights.
    #[serde(default = "one")]
    pub resnet_rate: f64,
    /// Factor of the rate from each layer of the transformer to the one below it (Bao et al., 2022), its embeddings below all.
    #[serde(default = "one")]
    pub layer_decay: f64,
    /// Leave the transformer out: ResNet and heads learn first.
    #[serde(default)]
    pub bypass_transformer: bool,
    /// Before this stage, the network labels the organs of all images that lack them (Lee, 2013); they then count with this weight.
    #[serde(default)]
    pub pseudo_organ_weight: f32,
    /// Share of channels that are dropped in the heads; half of it are layers of the transformer.
    #[serde(default)]
    pub dropout: f32,
    /// The stage ends early after this many validations without a lower loss; 0 lets it run to its end.
    #[serde(default)]
    pub patience: usize,
    /// What batches are made of.
    pub sampling: SamplingConfig,
}

fn one_batch() -> usize {
    1
}

fn one() -> f64 {
    1.0
}

fn twenty() -> usize {
    20
}

fn two_hundred() -> usize {
    200
}

/// What the bundle says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleText {
    /// Folder name.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Version.
    pub version: String,
    /// Names for people of the classes, lesions first, then organs.
    pub display: Vec<String>,
    /// Coded concept of a class, by its name: what segmentations call it.
    #[serde(default)]
    pub concepts: BTreeMap<String, CodedConcept>,
    /// Image-level false-positive rate on validation negatives that the threshold is chosen for.
    pub false_positive_rate: f64,
    /// What it is for.
    pub intended_use: IntendedUse,
    /// Data sets with licences and attribution.
    pub data: Vec<String>,
    /// Licence of the weights.
    pub licence: String,
}

impl TrainConfig {
    /// Checks that the parts fit each other; the error names the field.
    pub fn validate(&self) -> Result<(), String> {
        self.model.validate().map_err(|error| format!("model.{error}"))?;
        if self.model.lesions.is_empty() || self.model.organs.is_empty() || !self.model.classes.is_empty() {
            return Err(
                "model.lesions, model.organs, model.classes: training teaches at least one lesion and one organ, \
                        and no other classes"
                    .into(),
            );
        }
        let names = |maps: &[ClassMap]| maps.iter().map(|map| map.class.clone()).collect::<Vec<_>>();
        if names(&self.data.lesions) != self.model.lesions || names(&self.data.organs) != self.model.organs {
            return Err(
                "data.lesions, data.organs: must name the classes of model.lesions and model.organs in order".into()
            );
        }
        for union in &self.data.unions {
            if union.classes.len() != 2 || union.classes.iter().any(|class| !self.model.organs.contains(class)) {
                return Err(format!("data.unions: {} must be of two organs of the model", union.target.class));
            }
        }
        if let Some(class) = self.data.mirrored.iter().flatten().find(|class| !self.model.organs.contains(class)) {
            return Err(format!("data.mirrored: {class} is not an organ of the model"));
        }
        if self.augmentation.mirror > 0.0 && self.data.mirrored.is_empty() {
            return Err("augmentation.mirror: needs data.mirrored".into());
        }
        if self.batch == 0 || self.stages.is_empty() || self.stages.iter().any(|stage| stage.steps == 0) {
            return Err("batch, stages: at least one image, one stage, one step a stage".into());
        }
        if self.log_every == 0 || self.validate_every == 0 {
            return Err("log_every, validate_every: at least one step".into());
        }
        if self.accumulate == 0 {
            return Err("accumulate: at least one batch".into());
        }
        let LossConfig { focal, deep_supervision } = self.losses;
        if !(0.0..=8.0).contains(&focal) || !(0.0..=8.0).contains(&deep_supervision) {
            return Err("losses: focal and deep_supervision are 0 to 8".into());
        }
        if let Some(stage) = self.stages.iter().find(|stage| !(0.0..=1.0).contains(&stage.layer_decay)) {
            return Err(format!("stages.{}.layer_decay: 0 to 1", stage.name));
        }
        let decays = self.stages.iter().any(|stage| stage.layer_decay < 1.0);
        if decays && self.model.topology == Topology::Interleaved {
            return Err(
                "stages.layer_decay: an interleaved network has several transformers, none above the others".into()
            );
        }
        if let Some(stage) = self.stages.iter().find(|stage| !(0.0..1.0).contains(&stage.dropout)) {
            return Err(format!("stages.{}.dropout: 0 up to 1, without 1", stage.name));
        }
        if !(0.0..1.0).contains(&self.data.validation_fraction) {
            return Err("data.validation_fraction: 0 up to 1, without 1".into());
        }
        if self.bundle.display.len() != self.model.lesions.len() + self.model.organs.len() {
            return Err("bundle.display: one name a lesion, then one an organ".into());
        }
        Ok(())
    }

    /// Steps of all stages.
    pub fn total_steps(&self) -> usize {
        self.stages.iter().map(|stage| stage.steps).sum()
    }
}
