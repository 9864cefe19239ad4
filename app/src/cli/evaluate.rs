//! `bifocal evaluate`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bifocal_core::dataset::{CocoDataset, split_by_patient};
use bifocal_core::evaluate::{Classes, EvaluateOptions, Predictor, evaluate, write};

use super::progress;

/// Arguments of `bifocal evaluate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Bundle: its id under `assets/models`, or its folder.
    #[arg(long)]
    model: String,
    /// Data set: a COCO file; images lie relative to its folder.
    #[arg(long)]
    dataset: PathBuf,
    /// Folder for `metrics.json` and `index.html`.
    #[arg(long)]
    out: PathBuf,
    /// Which images: all of the file, or the side of the split that the bundle was trained with.
    #[arg(long, value_enum, default_value_t = Side::All)]
    split: Side,
    /// At most this many images.
    #[arg(long)]
    limit: Option<usize>,
    /// Where the network runs: auto, cpu, cuda or metal.
    #[arg(long, default_value = "auto")]
    device: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    Validation,
    Train,
    All,
}

/// How the bundle's training data was split.
#[allow(dead_code)]
enum RecordedSplit {
    /// The patients that were held out, by id.
    Patients(BTreeSet<String>),
    /// Held-out fraction and seed of the split by patient.
    Fraction { validation: f64, seed: u64 },
}

/// What a bundle brings to an evaluation.
struct Bundle {
    name: String,
    predictor: Box<dyn Predictor>,
    lesions: Vec<String>,
    organs: Vec<String>,
    split: Option<RecordedSplit>,
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let dataset = CocoDataset::load(&args.dataset)?;
    let bundle = open_bundle(&args.model, &args.device)?;
    let mut indices = select(&dataset, args.split, bundle.split.as_ref())?;
    indices.truncate(args.limit.unwrap_or(usize::MAX));
    let classes = Classes::by_name(&dataset, &bundle.lesions, &bundle.organs);
    if classes == Classes::default() {
        bail!("{} annotates none of the classes of {}", args.dataset.display(), bundle.name);
    }
    let task = progress::task();
    let evaluation =
        evaluate(&dataset, &indices, &classes, bundle.predictor.as_ref(), &EvaluateOptions::default(), &task)?;
    let side = match args.split {
        Side::Validation => "validation patients",
        Side::Train => "training patients",
        Side::All => "all patients",
    };
    let subtitle = format!("{}, {side}", args.dataset.display());
    write(&evaluation, &format!("Evaluation of {}", bundle.name), &subtitle, &args.out)?;
    for (key, metric) in &evaluation.metrics {
        println!("{key:<56} {:.3}  ({:.3} to {:.3})  n {}", metric.value, metric.low, metric.high, metric.n);
    }
    for failure in &evaluation.failures {
        eprintln!("bifocal: image {}: {}", failure.image_id, failure.message);
    }
    println!("{}", args.out.join("index.html").display());
    Ok(if evaluation.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Indices of the images to measure on.
fn select(dataset: &CocoDataset, side: Side, recorded: Option<&RecordedSplit>) -> anyhow::Result<Vec<usize>> {
    let all = 0..dataset.images.len();
    if side == Side::All {
        return Ok(all.collect());
    }
    let (validation, train) =
        match recorded.context("the bundle does not say how its data was split; use --split all")? {
            RecordedSplit::Patients(held_out) => all.partition(|i| held_out.contains(&dataset.images[*i].patient_id)),
            RecordedSplit::Fraction { validation, seed } => {
                let split = split_by_patient(dataset, *validation, *seed);
                (split.validation, split.train)
            }
        };
    Ok(if side == Side::Validation { validation } else { train })
}

/// Opens the bundle named by an id under `assets/models` or by a folder.
fn open_bundle(model: &str, _device: &str) -> anyhow::Result<Bundle> {
    let folder = [PathBuf::from(model), Path::new("assets/models").join(model)]
        .into_iter()
        .find(|folder| folder.join("metadata.json").is_file())
        .with_context(|| {
            format!("no bundle {model}: neither {model}/metadata.json nor assets/models/{model}/metadata.json")
        })?;
    bail!("{}: this version cannot run bundles yet", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> CocoDataset {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("coco.json");
        let images: Vec<String> = (0..20)
            .map(|id| format!(r#"{{"id":{id},"file_name":"x","width":1,"height":1,"patient_id":"p{}"}}"#, id / 2))
            .collect();
        std::fs::write(&path, format!(r#"{{"categories":[],"images":[{}]}}"#, images.join(","))).expect("written");
        CocoDataset::load(&path).expect("valid")
    }

    #[test]
    fn sides_of_a_split_are_complements() {
        let data = dataset();
        let patients = RecordedSplit::Patients(BTreeSet::from(["p1".to_owned(), "p3".to_owned()]));
        assert_eq!(select(&data, Side::Validation, Some(&patients)).expect("known"), [2, 3, 6, 7]);
        for split in [patients, RecordedSplit::Fraction { validation: 0.3, seed: 4 }] {
            let validation = select(&data, Side::Validation, Some(&split)).expect("known");
            let mut all = select(&data, Side::Train, Some(&split)).expect("known");
            assert!(!validation.is_empty() && !all.is_empty());
            all.extend(validation);
            all.sort_unstable();
            assert_eq!(all, select(&data, Side::All, None).expect("all"));
        }
        assert!(select(&data, Side::Validation, None).is_err());
    }

    #[test]
    fn a_missing_bundle_is_named() {
        let error = open_bundle("no-such-bundle", "cpu").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(error.contains("assets/models/no-such-bundle/metadata.json"), "{error}");
    }
}
