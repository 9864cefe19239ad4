//! A bundle: weights with everything that one must know to use them.
//!
//! A folder `assets/models/<id>` with `metadata.json` and `model.safetensors` (half precision, where it was trained here).

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::ModelConfig;
use super::network::Network;
use super::stored::as_stored;
use crate::study::CodedConcept;

/// Why a bundle could not be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum BundleError {
    #[error("no model named {0:?}: looked for a folder of that name, and in {1}")]
    NotFound(String, String),
    #[error("{file}: {source}")]
    File { file: PathBuf, source: io::Error },
    #[error("{file}: {cause}")]
    Content { file: PathBuf, cause: String },
}

/// A lesion class of a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LesionClass {
    /// Name in files (`lung_opacity`).
    pub name: String,
    /// Name for people (`Lung opacity`).
    pub display: String,
    /// Calibrated image-level probability from which the image is called positive.
    pub threshold: f32,
    /// Probability of the map from which a region becomes a finding.
    pub map_threshold: f32,
    /// Score from which a detector's box becomes a finding; boxes then take the place of the map's regions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_threshold: Option<f32>,
    /// From the network's logit to a calibrated probability.
    pub calibration: Option<ClassCalibration>,
    /// What it is, coded; segmentations need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concept: Option<CodedConcept>,
}

/// Platt scaling (Platt, 1999): probability = sigmoid(slope · logit + intercept).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassCalibration {
    /// Factor of the logit.
    pub slope: f32,
    /// Added to it.
    pub intercept: f32,
}

impl ClassCalibration {
    /// The calibrated probability of a logit.
    pub fn probability(&self, logit: f32) -> f32 {
        crate::nn::sigmoid(self.slope * logit + self.intercept)
    }
}

/// An organ class of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganClass {
    /// Name in files (`left_lung`).
    pub name: String,
    /// Name for people (`Left lung`).
    pub display: String,
    /// What it is, coded; segmentations need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concept: Option<CodedConcept>,
}

/// What a bundle is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntendedUse {
    /// In one sentence.
    pub statement: String,
    /// Modalities (0008,0060) it was made for.
    pub modalities: Vec<String>,
    /// Body parts (0018,0015) it was made for; an absent body part is not held against the image.
    pub body_parts: Vec<String>,
    /// View positions (0018,5101) it was made for; an absent view is not held against the image.
    pub views: Vec<String>,
    /// What it cannot do, for people.
    pub limits: Vec<String>,
}

/// What training images look like to the network: mean and spread of pooled features. An image further away than `limit` is unlike
/// any that the network was trained on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Familiarity {
    /// Mean of each pooled feature over the training images.
    pub mean: Vec<f32>,
    /// Standard deviation of each.
    pub deviation: Vec<f32>,
    /// Root mean square of the standardised features that 99 % of held-out images stay below.
    pub limit: f32,
}

impl Familiarity {
    /// Root mean square of the standardised `features`; 0 where nothing was recorded.
    pub fn distance(&self, features: &[f32]) -> f32 {
        let sum: f32 = features
            .iter()
            .zip(&self.mean)
            .zip(&self.deviation)
            .map(|((value, mean), deviation)| ((value - mean) / deviation.max(1e-3)).powi(2))
            .sum();
        (sum / self.mean.len().max(1) as f32).sqrt()
    }
}

/// A metric with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MetricValue {
    /// The value.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Images that it was measured on.
    pub n: usize,
}

/// Where the weights of a fine-tuned bundle come from. Patients are named by the project's pseudonyms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FineTuning {
    /// Id of the bundle that training started from.
    pub parent: String,
    /// Its version.
    pub parent_version: String,
    /// Hash of its weights.
    pub parent_sha256: String,
    /// Name of the project.
    pub project: String,
    /// Whose annotations.
    pub reader: String,
    /// Labels of the project that stand for a class: class, labels.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Patients that were learned from.
    pub training: Vec<String>,
    /// Patients whose loss said when to stop.
    pub validation: Vec<String>,
    /// Patients that old and new bundle were compared on.
    pub held_out: Vec<String>,
    /// Seed of the split and of training.
    pub seed: u64,
    /// Steps at whose end the weights were taken; 0 where no validation was better than the parent.
    pub best_step: usize,
}

/// `metadata.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The folder's name.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Version of the weights.
    pub version: String,
    /// Day it was made, `YYYY-MM-DD`.
    pub created: String,
    /// What it is for.
    pub intended_use: IntendedUse,
    /// Lesion classes, in the order of the outputs.
    pub lesions: Vec<LesionClass>,
    /// Organ classes, in the order of the outputs.
    pub organs: Vec<OrganClass>,
    /// Lesion maps and classes are the mean, before the sigmoid, over the image and its mirror image.
    #[serde(default)]
    pub average_mirror_image: bool,
    /// What the network is built from.
    pub config: ModelConfig,
    /// What training images look like.
    pub familiarity: Familiarity,
    /// Data sets, with their licences and attribution.
    pub data: Vec<String>,
    /// Licence of the weights.
    pub licence: String,
    /// The training configuration, as TOML.
    pub recipe: String,
    /// Seed of training.
    pub seed: u64,
    /// Share of patients kept for validation, and the seed of the split.
    pub validation: (f64, u64),
    /// Measured on the validation patients.
    pub metrics: BTreeMap<String, MetricValue>,
    /// SHA-256 of `model.safetensors`.
    pub weights_sha256: String,
    /// Where it comes from, if it was fine-tuned; `metrics` are then those of the held-out patients named here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fine_tuning: Option<FineTuning>,
}

/// A bundle, loaded.
pub struct Bundle {
    /// Its metadata.
    pub metadata: Metadata,
    /// Its network.
    pub network: Network,
    /// Where it runs.
    pub device: Device,
    /// Name of the device, for people.
    pub device_name: String,
}

impl Bundle {
    /// Loads the bundle in `folder` onto `device`. The weights' hash is compared with the metadata. On the CPU, matrices and filters stay in the bits
    /// that they are stored in.
    pub fn load(folder: &Path, device: Device, device_name: String) -> Result<Self, BundleError> {
        let metadata = read_metadata(folder)?;
        let weights = stored_weights(folder, &metadata, &device)?;
        let vb = match device.is_cpu() {
            true => as_stored(weights),
            false => VarBuilder::from_tensors(weights, DType::F32, &device),
        };
        let network = Network::new(&metadata.config, &vb).map_err(|error| BundleError::Content {
            file: folder.join("model.safetensors"),
            cause: error.to_string(),
        })?;
        Ok(Self { metadata, network, device, device_name })
    }
}

/// The weights of the bundle in `folder` by name, in single precision; their hash is compared with the metadata.
pub fn bundle_weights(
    folder: &Path,
    metadata: &Metadata,
    device: &Device,
) -> Result<HashMap<String, Tensor>, BundleError> {
    let single = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(DType::F32)?));
    let weights = stored_weights(folder, metadata, device)?;
    weights
        .into_iter()
        .map(single)
        .collect::<candle_core::Result<_>>()
        .map_err(|error| BundleError::Content { file: folder.join("model.safetensors"), cause: error.to_string() })
}

/// As [`bundle_weights`], in the precision of the file.
fn stored_weights(folder: &Path, metadata: &Metadata, device: &Device) -> Result<HashMap<String, Tensor>, BundleError> {
    let file = folder.join("model.safetensors");
    let bytes = fs::read(&file).map_err(|source| BundleError::File { file: file.clone(), source })?;
    let hash = hex(&Sha256::digest(&bytes));
    if hash != metadata.weights_sha256 {
        let cause = format!("SHA-256 is {hash}, but metadata.json names {}", metadata.weights_sha256);
        return Err(BundleError::Content { file, cause });
    }
    let tensors = candle_core::safetensors::load_buffer(&bytes, device);
    tensors.map_err(|error| BundleError::Content { file, cause: error.to_string() })
}

/// Reads `metadata.json` of a bundle's folder.
pub fn read_metadata(folder: &Path) -> Result<Metadata, BundleError> {
    let file = folder.join("metadata.json");
    let text = fs::read_to_string(&file).map_err(|source| BundleError::File { file: file.clone(), source })?;
    serde_json::from_str(&text).map_err(|error| BundleError::Content { file, cause: error.to_string() })
}

/// How many bits a stored weight has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightPrecision {
    /// 16.
    Half,
    /// 32.
    Single,
}

/// Writes weights (in `precision`, which halves or doubles the file) and metadata into `folder`; sets the metadata's hash.
pub fn write_bundle(
    folder: &Path,
    metadata: &mut Metadata,
    weights: &HashMap<String, Tensor>,
    precision: WeightPrecision,
) -> Result<(), BundleError> {
    let at = |file: &Path| {
        let file = file.to_path_buf();
        move |source| BundleError::File { file, source }
    };
    fs::create_dir_all(folder).map_err(at(folder))?;
    let file = folder.join("model.safetensors");
    let dtype = match precision {
        WeightPrecision::Half => DType::F16,
        WeightPrecision::Single => DType::F32,
    };
    let stored: HashMap<String, Tensor> = weights
        .iter()
        .map(|(name, tensor)| Ok((name.clone(), tensor.to_dtype(dtype)?)))
        .collect::<candle_core::Result<_>>()
        .map_err(|error| BundleError::Content { file: file.clone(), cause: error.to_string() })?;
    candle_core::safetensors::save(&stored, &file)
        .map_err(|error| BundleError::Content { file: file.clone(), cause: error.to_string() })?;
    metadata.weights_sha256 = sha256_file(&file).map_err(at(&file))?;
    let json = serde_json::to_string_pretty(metadata)
        .map_err(|error| BundleError::Content { file: folder.join("metadata.json"), cause: error.to_string() })?;
    let file = folder.join("metadata.json");
    fs::write(&file, json + "\n").map_err(at(&file))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a file, lower-case hexadecimal.
pub fn sha256_file(file: &Path) -> io::Result<String> {
    Ok(hex(&Sha256::digest(fs::read(file)?)))
}

/// Folders that are searched for bundles: beside the working directory, beside the program, and in the source tree it was built from.
fn search_folders() -> Vec<PathBuf> {
    let mut folders = vec![PathBuf::from("assets/models")];
    if let Ok(program) = std::env::current_exe()
        && let Some(folder) = program.parent()
    {
        folders.push(folder.join("assets/models"));
    }
    folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models"));
    folders
}

/// The folder of the bundle `id`, which may also be a path to one.
pub fn find_bundle(id: &str) -> Result<PathBuf, BundleError> {
    let direct = PathBuf::from(id);
    let candidates = std::iter::once(direct).chain(search_folders().into_iter().map(|folder| folder.join(id)));
    for folder in candidates {
        if folder.join("metadata.json").is_file() {
            return Ok(folder);
        }
    }
    let searched: Vec<String> = search_folders().iter().map(|folder| folder.display().to_string()).collect();
    Err(BundleError::NotFound(id.to_owned(), searched.join(", ")))
}

/// Ids of all bundles that are found, sorted.
pub fn bundle_ids() -> Vec<String> {
    let mut ids: Vec<String> = search_folders()
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.path().join("metadata.json").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort();
    ids.dedup();
    ids
}
