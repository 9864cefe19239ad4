//! `bifocal experiment`: kinds of network against each other.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use bifocal_core::experiment::{Experiment, compare_all, run_all};
use bifocal_core::model::DeviceChoice;
use bifocal_core::report::iso_date;

/// Arguments of `bifocal experiment`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration, TOML: seeds, arms, and what they are trained with.
    config: PathBuf,
    /// Folder of the runs, `experiment.json` and `experiment.md`; what was trained there already is not trained again.
    #[arg(long)]
    out: PathBuf,
    /// Check that the arms are matched, print their cost, and stop.
    #[arg(long, conflicts_with = "compare")]
    dry_run: bool,
    /// Compare what has been trained so far, without training on.
    #[arg(long)]
    compare: bool,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Where it trains: auto, cpu, cuda or metal.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    super::train::keep_memory();
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    let text = std::fs::read_to_string(&args.config).with_context(|| args.config.display().to_string())?;
    let experiment: Experiment = toml::from_str(&text).with_context(|| args.config.display().to_string())?;
    let task = super::progress::task();
    if args.dry_run {
        let images = experiment.train.total_steps() * experiment.train.batch;
        for arm in experiment.costs()? {
            let (macs, weights) = (arm.macs as f64 / 1e6, arm.parameters as f64 / 1e3);
            let mark = if arm.baseline { ", baseline" } else { "" };
            println!("{:<14} {macs:>7.1} million multiplications {weights:>7.0} thousand weights{mark}", arm.name);
        }
        println!("{} runs of {images} images", experiment.arms.len() * experiment.seeds.len());
        return Ok(ExitCode::SUCCESS);
    }
    if !args.compare {
        run_all(&experiment, &args.out, &super::device(args.device), &iso_date(SystemTime::now()), &task)?;
    }
    let outcome = compare_all(&experiment, &args.out, &task)?;
    let table = outcome.markdown();
    let json = serde_json::to_string_pretty(&outcome)? + "\n";
    for (name, text) in [("experiment.md", &table), ("experiment.json", &json)] {
        let file = args.out.join(name);
        std::fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    println!("{table}");
    Ok(ExitCode::SUCCESS)
}
