//! `bifocal bench`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use bifocal_core::bench::{Work, dump, measure};
use bifocal_core::model::DeviceChoice;

/// Arguments of `bifocal bench`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Bundle: its id under `assets/models`, or its folder.
    #[arg(long, default_value = super::DEFAULT_MODEL)]
    model: String,
    /// Images at once.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Timed runs, after two that are not.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// A training step instead of inference: forward and backward pass, AdamW, moving average.
    #[arg(long)]
    train: bool,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Where the network runs: auto, cpu, cuda or metal. A training step runs on the processor.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Writes input and outputs as a safetensors file, to compare them with another implementation.
    #[arg(long)]
    dump: Option<PathBuf>,
    /// One line of JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    let bundle = super::open_bundle(&args.model, args.device)?;
    let work = if args.train { Work::TrainingStep } else { Work::Inference };
    let mut milliseconds = measure(&bundle, work, args.batch, args.runs.max(1), &super::progress::task())?;
    if let Some(file) = &args.dump {
        dump(&bundle, args.batch, file).with_context(|| file.display().to_string())?;
    }
    milliseconds.sort_by(f64::total_cmp);
    let (median, last) = (milliseconds[milliseconds.len() / 2], milliseconds[milliseconds.len() - 1]);
    let what = if args.train { "training step" } else { "inference" };
    let (id, device) = (&bundle.metadata.id, &bundle.device_name);
    if args.json {
        let line = serde_json::json!({
            "model": id, "what": what, "batch": args.batch, "device": device,
            "median_ms": median, "milliseconds": milliseconds, "peak_mib": peak_mib(),
        });
        println!("{line}");
    } else {
        let memory = peak_mib().map_or(String::new(), |mib| format!(", peak memory {mib:.0} MiB"));
        let (first, runs) = (milliseconds[0], milliseconds.len());
        println!(
            "{id} {what}, batch {}, {device}: median {median:.1} ms ({first:.1} to {last:.1}, {runs} runs){memory}",
            args.batch
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The largest memory that this program has held, where the system tells.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / 1024.0)
}
