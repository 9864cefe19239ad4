//! `bifocal train`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use bifocal_core::train::{TrainConfig, train};

/// Arguments of `bifocal train`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration, TOML.
    config: PathBuf,
    /// Folder of checkpoints and log; a run that was stopped goes on from there.
    #[arg(long)]
    out: PathBuf,
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
    train(&config, &args.out, &super::progress::task())?;
    Ok(ExitCode::SUCCESS)
}
