//! Weights of other libraries: names, layouts and positions made ours.
//!
//! torchvision's ResNets, Hugging Face's ViT, timm's ViT and timm's hybrids (`vit_base_r50_s16_224`, `vit_small_r26_s32_224`). Sizes are read
//! off the weights, so that any member of those families will do. Equality of outputs with the originals is tested in
//! `core/tests/parity.rs`.

mod derive;
mod names;
mod read;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use serde::Deserialize;

use super::bundle::{Familiarity, IntendedUse, Metadata};
use super::config::{ModelConfig, Position};
use super::describe::weight_shapes;
use super::network::Network;
use super::position::resize_positions;
use super::seeded::SeededVars;
use names::{Place, place};

/// Where weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// torchvision's ResNets with batch normalisation.
    Torchvision,
    /// Hugging Face's ViT, with or without a classifier.
    HfVit,
    /// timm's ViT.
    TimmVit,
    /// timm's ViT over a BiT ResNet.
    TimmHybrid,
    /// Names as in bundles.
    Bifocal,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Torchvision => "torchvision",
            Self::HfVit => "hf-vit",
            Self::TimmVit => "timm-vit",
            Self::TimmHybrid => "timm-hybrid",
            Self::Bifocal => "bifocal",
        })
    }
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "torchvision" => Ok(Self::Torchvision),
            "hf-vit" => Ok(Self::HfVit),
            "timm-vit" => Ok(Self::TimmVit),
            "timm-hybrid" => Ok(Self::TimmHybrid),
            "bifocal" => Ok(Self::Bifocal),
            _ => Err(format!("{text:?} is none of torchvision, hf-vit, timm-vit, timm-hybrid, bifocal")),
        }
    }
}

/// Why weights could not be imported.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ImportError {
    #[error("{file}: {source}")]
    File { file: PathBuf, source: io::Error },
    #[error("{file}: {cause}")]
    Content { file: PathBuf, cause: String },
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Wishes for an import.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Attention heads, which weights do not tell; else those of a `config.json` beside the file, else heads of 64 values.
    pub heads: Option<usize>,
    /// Side of the input; positions are resampled where it is not the original's.
    pub input_size: Option<usize>,
    /// The network that the weights are for; without it, it is derived from them.
    pub into: Option<ModelConfig>,
    /// Seed of the weights that no file has.
    pub seed: u64,
}

/// What came of an import.
pub struct Imported {
    /// The network.
    pub config: ModelConfig,
    /// All its weights, by name.
    pub weights: HashMap<String, Tensor>,
    /// Weights of the files that it has no place for, with the reason.
    pub left_over: Vec<String>,
    /// Weights that no file has: biases are 0, others random.
    pub missing: Vec<String>,
    /// Positions that were resampled: from this grid to that.
    pub resized: Option<((usize, usize), (usize, usize))>,
    /// Weights that came from the files.
    pub taken: usize,
}

impl Imported {
    /// What a bundle of them says of itself: nothing of what it is for, since nobody has tried.
    pub fn metadata(&self, id: &str, origin: &str, created: &str) -> Metadata {
        Metadata {
            id: id.to_owned(),
            name: id.to_owned(),
            version: "imported".to_owned(),
            created: created.to_owned(),
            intended_use: IntendedUse {
                statement: "Weights of others, for research on them; not a medical device.".to_owned(),
                modalities: Vec::new(),
                body_parts: Vec::new(),
                views: Vec::new(),
                limits: vec!["It has not been tried on medical images.".to_owned()],
            },
            lesions: Vec::new(),
            organs: Vec::new(),
            average_mirror_image: false,
            config: self.config.clone(),
            familiarity: Familiarity::default(),
            data: Vec::new(),
            licence: "that of the original weights".to_owned(),
            recipe: format!("imported from {origin}"),
            seed: 0,
            validation: (0.0, 0),
            metrics: BTreeMap::new(),
            weights_sha256: String::new(),
            fine_tuning: None,
        }
    }

    /// The network with these weights.
    pub fn network(&self) -> candle_core::Result<Network> {
        Network::new(&self.config, &VarBuilder::from_tensors(self.weights.clone(), DType::F32, &Device::Cpu))
    }
}

/// What Hugging Face writes beside weights.
#[derive(Debug, Default, Deserialize)]
struct HfConfig {
    num_attention_heads: Option<usize>,
    layer_norm_eps: Option<f64>,
    #[serde(default)]
    id2label: BTreeMap<String, String>,
}

impl HfConfig {
    /// `config.json` beside `file`, where there is a readable one.
    fn beside(file: &Path) -> Self {
        let text = file.parent().map(|folder| std::fs::read_to_string(folder.join("config.json")));
        text.and_then(Result::ok).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }
}

/// Weights by our names, not yet fitted to a network.
#[derive(Default)]
struct Renamed {
    tensors: HashMap<String, Tensor>,
    /// (token, dimension), without CLS.
    positions: Option<Tensor>,
    left_over: Vec<String>,
}

/// Imports `files` one after the other; where two have the same weight, the later one counts.
///
/// # Errors
/// Where a file cannot be read, or its weights are those of no network that this program knows.
pub fn import(files: &[(Source, PathBuf)], options: &ImportOptions) -> Result<Imported, ImportError> {
    let mut all = Renamed::default();
    for (source, file) in files {
        let renamed = rename(*source, read::read(file)?)
            .map_err(|error| ImportError::Content { file: file.clone(), cause: error.to_string() })?;
        if renamed.tensors.is_empty() && renamed.positions.is_none() {
            let first = renamed.left_over.first().map_or("it is empty", String::as_str);
            let cause = format!("no weight has a name that {source} gives ({first})");
            return Err(ImportError::Content { file: file.clone(), cause });
        }
        all.tensors.extend(renamed.tensors);
        all.positions = renamed.positions.or(all.positions);
        all.left_over.extend(renamed.left_over);
    }
    let config = match (&options.into, files) {
        (Some(config), _) => config.clone(),
        (None, [(source, file)]) => {
            let config = derive::config(*source, &all, &HfConfig::beside(file), options);
            config.map_err(|cause| ImportError::Content { file: file.clone(), cause })?
        }
        _ => return Err(ImportError::Config("several files need a configuration to be imported into".into())),
    };
    config.validate().map_err(ImportError::Config)?;
    fit(config, all, options.seed)
}

/// Gives every weight of a file its name here.
fn rename(source: Source, tensors: HashMap<String, Tensor>) -> candle_core::Result<Renamed> {
    let mut renamed = Renamed::default();
    let mut parts: BTreeMap<String, [Option<Tensor>; 3]> = BTreeMap::new();
    // By name, so that reports do not depend on the order in a hash table.
    for (name, tensor) in tensors.into_iter().collect::<BTreeMap<_, _>>() {
        match place(source, &name) {
            Place::Name(ours) => drop(renamed.tensors.insert(ours, tensor)),
            Place::Part(ours, part) => {
                if let Some(slot) = parts.entry(ours).or_default().get_mut(part) {
                    *slot = Some(tensor);
                }
            }
            Place::Positions => renamed.positions = Some(tensor),
            Place::Counter => {}
            Place::Nowhere => renamed.left_over.push(format!("{name} {:?}: not known", tensor.dims())),
        }
    }
    for (name, parts) in parts {
        match parts {
            [Some(query), Some(key), Some(value)] => {
                renamed.tensors.insert(name, Tensor::cat(&[query, key, value], 0)?);
            }
            _ => renamed.left_over.push(format!("{name}: query, key or value is missing")),
        }
    }
    if let Some(positions) = renamed.positions.take() {
        split_positions(&mut renamed, &positions)?;
    }
    Ok(renamed)
}

/// Positions are (1, token, dimension), those of CLS, if any, first, which become part of CLS.
fn split_positions(renamed: &mut Renamed, positions: &Tensor) -> candle_core::Result<()> {
    let (_, count, dimension) = positions.dims3()?;
    let side = |cells: usize| Some(cells.isqrt()).filter(|side| side * side == cells && cells > 0);
    let prefix = match (side(count), count.checked_sub(1).and_then(side)) {
        (_, Some(_)) => 1,
        (Some(_), None) => 0,
        _ => candle_core::bail!("{count} positions are those of no square grid, with or without CLS"),
    };
    let positions = positions.reshape((count, dimension))?;
    if prefix == 1
        && let Some(cls) = renamed.tensors.get_mut("vit.cls_token")
    {
        *cls = (cls.reshape((1, dimension))? + positions.narrow(0, 0, 1)?)?.reshape((1, 1, dimension))?;
    }
    renamed.positions = Some(positions.narrow(0, prefix, count - prefix)?.contiguous()?);
    Ok(())
}

/// Puts weights into the network of `config`; what does not fit is left over, what lacks is made.
fn fit(config: ModelConfig, renamed: Renamed, seed: u64) -> Result<Imported, ImportError> {
    let Renamed { mut tensors, positions, mut left_over } = renamed;
    let shapes = weight_shapes(&config)?;
    let mut resized = None;
    if let Some(positions) = positions {
        if config.has_transformer() && config.transformer.position == Position::Learned {
            let (count, side) = (positions.dim(0)?, positions.dim(0)?.isqrt());
            debug_assert_eq!(count, side * side);
            let to = (config.transformer.grid[0], config.transformer.grid[1]);
            if (side, side) != to {
                resized = Some(((side, side), to));
            }
            let positions = resize_positions(&positions, (side, side), to, config.transformer.position_resize)?;
            tensors.insert("vit.pos_embed".to_owned(), positions);
        } else {
            left_over.push("positions: the network learns none".to_owned());
        }
    }
    let mut weights = HashMap::new();
    for (name, tensor) in tensors.into_iter().collect::<BTreeMap<_, _>>() {
        match shapes.get(&name) {
            // Kernels become rows of matrices: the same values in the same order.
            Some(shape) if tensor.elem_count() == shape.iter().product::<usize>() && fits(tensor.dims(), shape) => {
                weights.insert(name, tensor.reshape(shape.as_slice())?);
            }
            Some(shape) => left_over.push(format!("{name} {:?}: the network's is {shape:?}", tensor.dims())),
            None => left_over.push(format!("{name} {:?}: the network has no such weight", tensor.dims())),
        }
    }
    let taken = weights.len();
    let missing: Vec<String> = shapes.keys().filter(|name| !weights.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        let start = SeededVars::new(seed);
        Network::new(&config, &VarBuilder::from_backend(Box::new(start.clone()), DType::F32, Device::Cpu))?;
        let start = start.into_vars();
        for name in &missing {
            if let Some(var) = start.get(name) {
                weights.insert(name.clone(), var.as_detached_tensor());
            }
        }
    }
    Ok(Imported { config, weights, left_over, missing, resized, taken })
}

/// Whether axes of `from` beyond the first are only flattened, or single ones dropped, in `to`.
fn fits(from: &[usize], to: &[usize]) -> bool {
    let first = |shape: &[usize]| shape.iter().copied().find(|n| *n != 1).unwrap_or(1);
    from == to || first(from) == first(to)
}
