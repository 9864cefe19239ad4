//! `bifocal train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
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
    let metadata = finish(&config, &weights, &folder, &today(), &task)?;
    for (key, metric) in &metadata.metrics {
        println!("{key:<56} {:.3}  ({:.3} to {:.3})  n {}", metric.value, metric.low, metric.high, metric.n);
    }
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}

/// Today in UTC, `YYYY-MM-DD` (days to civil date: Howard Hinnant, chrono-compatible low-level date algorithms).
fn today() -> String {
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let days = (seconds / 86_400) as i64 + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
