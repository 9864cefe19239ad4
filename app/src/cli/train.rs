//! `bifocal train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use bifocal_core::report::iso_date;
use bifocal_core::train::{TrainConfig, averages, finish, train};

/// Arguments of `bifocal train`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration, TOML.
    config: PathBuf,
    /// Folder of checkpoints and log; a run that was stopped goes on from there.
    #[arg(long)]
    out: PathBuf,
    /// Folder that the bundle is written into; `assets/models/<id>` where it is not given.
    #[arg(long)]
    bundle: Option<PathBuf>,
    /// Make the bundle of the last checkpoint now, without training on.
    #[arg(long)]
    now: bool,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    let text = std::fs::read_to_string(&args.config).with_context(|| args.config.display().to_string())?;
    let config: TrainConfig = toml::from_str(&text).with_context(|| args.config.display().to_string())?;
    let task = super::progress::task();
    let weights = if args.now { averages(&args.out)? } else { train(&config, &args.out, &task)? };
    let folder = args.bundle.unwrap_or_else(|| Path::new("assets/models").join(&config.bundle.id));
    let metadata = finish(&config, &weights, &folder, &iso_date(SystemTime::now()), &task)?;
    for (key, metric) in &metadata.metrics {
        println!("{key:<56} {:.3}  ({:.3} to {:.3})  n {}", metric.value, metric.low, metric.high, metric.n);
    }
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}
