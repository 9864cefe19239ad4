//! Kinds of network against each other on one data set: matched on cost and on budget, each trained from several seeds.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::dataset::{CocoDataset, DatasetError};
use crate::evaluate::{ArmsRow, Classes, EvaluateError, EvaluateOptions, Predictor, compare_arms};
use crate::model::{Bundle, BundleError, ModelConfig, describe};
use crate::task::{Cancelled, Task};
use crate::train::{StageConfig, TrainConfig, TrainError, finish, train};

/// An experiment's configuration file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Seeds of weights, order and augmentation; every arm is trained from each.
    pub seeds: Vec<u64>,
    /// Multiplications of an arm may differ by this share from those of the first arm.
    #[serde(default = "tenth")]
    pub macs_tolerance: f64,
    /// The kinds of network.
    pub arms: Vec<Arm>,
    /// What they are trained with: data, augmentation, optimiser; network and stages where an arm has none of its own.
    pub train: TrainConfig,
}

fn tenth() -> f64 {
    0.1
}

/// A kind of network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Name, in tables and folders.
    pub name: String,
    /// Whether the others are compared with it.
    #[serde(default)]
    pub baseline: bool,
    /// Its network.
    #[serde(default)]
    pub model: Option<ModelConfig>,
    /// Its stages: as many steps in all as those of `train`.
    #[serde(default)]
    pub stages: Option<Vec<StageConfig>>,
}

/// What came of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Arms with their cost.
    pub arms: Vec<ArmCost>,
    /// Seeds that all arms have been trained from.
    pub seeds: Vec<u64>,
    /// Images that every run was trained on, with repetitions.
    pub images: usize,
    /// Validation images and their patients.
    pub validation: (usize, usize),
    /// One a metric.
    pub rows: Vec<ArmsRow>,
}

/// Cost of an arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ArmCost {
    pub name: String,
    pub baseline: bool,
    pub macs: u64,
    pub parameters: u64,
}

/// Why an experiment cannot be run.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ExperimentError {
    #[error("{0}")]
    Config(String),
    #[error("arm {arm}, seed {seed}: {cause}")]
    Run { arm: String, seed: u64, cause: Box<TrainError> },
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Data(#[from] DatasetError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Experiment {
    /// What an arm is trained with from a seed.
    pub fn config(&self, arm: &Arm, seed: u64) -> TrainConfig {
        let mut config = self.train.clone();
        config.seed = seed;
        if let Some(model) = &arm.model {
            config.model = model.clone();
        }
        if let Some(stages) = &arm.stages {
            config.stages.clone_from(stages);
        }
        config.bundle.id = run_name(arm, seed);
        config
    }

    /// Checks that the arms are matched: classes, cost, steps. Returns their cost.
    ///
    /// # Errors
    /// Names the arm and the field.
    pub fn costs(&self) -> Result<Vec<ArmCost>, ExperimentError> {
        let wrong = |cause: String| Err(ExperimentError::Config(cause));
        if self.arms.len() < 2 || self.seeds.is_empty() {
            return wrong("arms, seeds: at least two arms and one seed".into());
        }
        let steps = self.train.total_steps();
        let mut costs: Vec<ArmCost> = Vec::new();
        for arm in &self.arms {
            let config = self.config(arm, 0);
            config.validate().map_err(|cause| ExperimentError::Config(format!("arm {}: {cause}", arm.name)))?;
            if config.total_steps() != steps {
                return wrong(format!("arm {}: {} steps in all, not {steps}", arm.name, config.total_steps()));
            }
            if costs.iter().any(|other| other.name == arm.name) {
                return wrong(format!("arm {}: named twice", arm.name));
            }
            let described = describe(&config.model)
                .map_err(|error| ExperimentError::Config(format!("arm {}: model: {error}", arm.name)))?;
            costs.push(ArmCost {
                name: arm.name.clone(),
                baseline: arm.baseline,
                macs: described.macs,
                parameters: described.parameters,
            });
        }
        let first = costs[0].macs as f64;
        let apart = costs.iter().find(|cost| (cost.macs as f64 / first - 1.0).abs() > self.macs_tolerance);
        match apart {
            Some(cost) => wrong(format!(
                "arm {}: {:.1} million multiplications, {:.1} % from the {:.1} of {}",
                cost.name,
                cost.macs as f64 / 1e6,
                (cost.macs as f64 / first - 1.0) * 100.0,
                first / 1e6,
                costs[0].name
            )),
            None => Ok(costs),
        }
    }
}

fn run_name(arm: &Arm, seed: u64) -> String {
    format!("{}-{seed}", arm.name)
}

/// Trains every arm from every seed into `folder/runs`, seed by seed, so that what is there after a while can be compared; runs that are there
/// already are not repeated, and one that was stopped goes on.
///
/// # Errors
/// Where the arms are not matched, or a run fails.
pub fn run_all(
    experiment: &Experiment,
    folder: &Path,
    device: &Device,
    created: &str,
    task: &Task,
) -> Result<(), ExperimentError> {
    experiment.costs()?;
    let total = (experiment.seeds.len() * experiment.arms.len()) as u64;
    let mut done = 0;
    for seed in &experiment.seeds {
        for arm in &experiment.arms {
            task.check()?;
            task.progress(&format!("Training {}", run_name(arm, *seed)), done, total);
            done += 1;
            let out = bundle_folder(folder, arm, *seed);
            if out.join("metadata.json").is_file() {
                continue;
            }
            let config = experiment.config(arm, *seed);
            let failed = |cause| ExperimentError::Run { arm: arm.name.clone(), seed: *seed, cause: Box::new(cause) };
            let quiet = task.quietly();
            let weights = train(&config, &out.join("run"), device, &quiet).map_err(failed)?;
            finish(&config, &weights, &out, device, created, &quiet).map_err(failed)?;
            // What a run needs to go on; it is done.
            if let Err(error) = fs::remove_dir_all(out.join("run")) {
                tracing::warn!("{}: {error}", out.display());
            }
        }
    }
    Ok(())
}

fn bundle_folder(folder: &Path, arm: &Arm, seed: u64) -> PathBuf {
    folder.join("runs").join(run_name(arm, seed))
}

/// Compares the arms on the validation patients, by the seeds that all of them have been trained from.
///
/// # Errors
/// Where no seed is complete, or a bundle cannot be read.
pub fn compare_all(experiment: &Experiment, folder: &Path, task: &Task) -> Result<Outcome, ExperimentError> {
    let costs = experiment.costs()?;
    let there = |arm: &Arm, seed: u64| bundle_folder(folder, arm, seed).join("metadata.json").is_file();
    let complete = |seed: &&u64| experiment.arms.iter().all(|arm| there(arm, **seed));
    let seeds: Vec<u64> = experiment.seeds.iter().filter(complete).copied().collect();
    if seeds.is_empty() {
        return Err(ExperimentError::Config(format!("{}: no seed has a run of every arm yet", folder.display())));
    }
    let mut arms: Vec<Vec<Bundle>> = Vec::new();
    for arm in &experiment.arms {
        let open = |seed: &u64| Bundle::load(&bundle_folder(folder, arm, *seed), Device::Cpu, "CPU".into());
        arms.push(seeds.iter().map(open).collect::<Result<_, _>>()?);
    }
    let data = &experiment.train.data;
    let dataset = CocoDataset::load(&data.coco)?;
    let split = data.split(&dataset);
    let classes = Classes {
        lesions: data.lesions.clone(),
        organs: data.organs.clone(),
        unions: Classes::by_name(&dataset, &experiment.train.model.lesions, &experiment.train.model.organs).unions,
    };
    let predictors: Vec<Vec<&dyn Predictor>> =
        arms.iter().map(|runs| runs.iter().map(|bundle| bundle as &dyn Predictor).collect()).collect();
    let baselines: Vec<usize> =
        costs.iter().enumerate().filter(|(_, cost)| cost.baseline).map(|(index, _)| index).collect();
    let options = EvaluateOptions::default();
    let rows = compare_arms(&dataset, &split.validation, &classes, &predictors, &baselines, &options, task)?;
    let patients: std::collections::BTreeSet<&str> =
        split.validation.iter().filter_map(|i| dataset.images.get(*i)).map(|image| image.patient_id.as_str()).collect();
    Ok(Outcome {
        arms: costs,
        seeds,
        images: experiment.train.total_steps() * experiment.train.batch,
        validation: (split.validation.len(), patients.len()),
        rows,
    })
}

impl Outcome {
    /// Tables in Markdown: cost, values, differences.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        let mut line = |cells: &[String]| {
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        };
        let rule = |count: usize| vec!["---".to_owned(); count];
        line(&["arm", "million multiplications", "thousand weights"].map(str::to_owned));
        line(&rule(3));
        for arm in &self.arms {
            let cells = [format!("{:.1}", arm.macs as f64 / 1e6), format!("{:.0}", arm.parameters as f64 / 1e3)];
            line(&[std::slice::from_ref(&arm.name), cells.as_slice()].concat());
        }
        line(&[]);
        let mut head = vec!["metric".to_owned(), "images".to_owned()];
        head.extend(self.arms.iter().map(|arm| arm.name.clone()));
        line(&head);
        line(&rule(head.len()));
        for row in &self.rows {
            let mut cells = vec![row.metric.clone(), row.images.to_string()];
            for (mean, seeds) in &row.arms {
                let low = seeds.iter().copied().fold(f64::INFINITY, f64::min);
                let high = seeds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                cells.push(format!("{:.3} ({low:.3}–{high:.3})", mean.value));
            }
            line(&cells);
        }
        line(&[]);
        line(&["metric", "difference", "value", "95 % interval", "holds 0"].map(str::to_owned));
        line(&rule(5));
        for row in &self.rows {
            for (arm, baseline, found) in &row.differences {
                line(&[
                    row.metric.clone(),
                    format!("{} − {}", self.arms[*arm].name, self.arms[*baseline].name),
                    format!("{:+.3}", found.value),
                    format!("{:+.3} to {:+.3}", found.low, found.high),
                    if found.low <= 0.0 && found.high >= 0.0 { "yes" } else { "no" }.to_owned(),
                ]);
            }
        }
        text.replace("|  |\n", "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment() -> Experiment {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/claim-chest.toml"));
        toml::from_str(&text.expect("the experiment is in the repository")).expect("it is read")
    }

    #[test]
    fn the_arms_of_the_claim_are_matched() {
        for name in ["claim-chest", "claim-simulated"] {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../experiments/{name}.toml"));
            let text = fs::read_to_string(&file).expect("the experiment is in the repository");
            let experiment: Experiment = toml::from_str(&text).expect("it is read");
            let costs = experiment.costs().expect("matched");
            assert_eq!((costs.len(), experiment.seeds.len()), (5, 5), "{name}");
            assert_eq!(costs.iter().filter(|cost| cost.baseline).count(), 2);
        }
    }

    #[test]
    fn arms_that_are_not_matched_are_named() {
        let mut experiment = experiment();
        experiment.macs_tolerance = 1e-6;
        let error = experiment.costs().expect_err("not that close").to_string();
        assert!(error.contains("million multiplications"), "{error}");
        experiment.macs_tolerance = 0.1;
        experiment.arms[1].stages = Some(experiment.train.stages.iter().take(1).cloned().collect());
        experiment.train.stages.push(experiment.train.stages[0].clone());
        let error = experiment.costs().expect_err("fewer steps").to_string();
        assert!(error.contains("steps in all"), "{error}");
    }

    #[test]
    fn tables_say_what_holds_zero() {
        use crate::evaluate::Estimate;
        let estimate = |value: f64| Estimate { value, low: value - 0.02, high: value + 0.02 };
        let arm = |name: &str, baseline| ArmCost { name: name.into(), baseline, macs: 50_000_000, parameters: 900_000 };
        let outcome = Outcome {
            arms: vec![arm("hybrid", false), arm("resnet", true)],
            seeds: vec![1, 2],
            images: 100,
            validation: (10, 9),
            rows: vec![ArmsRow {
                metric: "auroc.x".into(),
                images: 10,
                arms: vec![(estimate(0.8), vec![0.79, 0.81]), (estimate(0.79), vec![0.79, 0.79])],
                differences: vec![(0, 1, estimate(0.01))],
            }],
        };
        let text = outcome.markdown();
        assert!(text.contains("| auroc.x | 10 | 0.800 (0.790–0.810) | 0.790 (0.790–0.790) |"), "{text}");
        assert!(text.contains("| auroc.x | hybrid − resnet | +0.010 | -0.010 to +0.030 | yes |"), "{text}");
        assert!(text.contains("|\n\n|"), "tables are apart: {text}");
    }
}
