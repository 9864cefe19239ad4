//! `bifocal train`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use bifocal_core::model::DeviceChoice;
use bifocal_core::render::Rgba;
use bifocal_core::report::iso_date;
use bifocal_core::train::{DryRun, TrainConfig, best_or_last, dry_run, finish, train};

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
    /// Make the bundle of the best weights so far now, without training on.
    #[arg(long)]
    now: bool,
    /// Check configuration and data, draw one augmented batch into `OUT/batch.png`, and stop.
    #[arg(long, conflicts_with = "now")]
    dry_run: bool,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Where it trains and is measured: auto, cpu, cuda or metal.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    keep_memory();
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    let text = std::fs::read_to_string(&args.config).with_context(|| args.config.display().to_string())?;
    let config: TrainConfig = toml::from_str(&text).with_context(|| args.config.display().to_string())?;
    let task = super::progress::task();
    if args.dry_run {
        return show_plan(&dry_run(&config, 0, &task)?, &args.out);
    }
    let device = super::device(args.device);
    let weights = if args.now { best_or_last(&args.out)? } else { train(&config, &args.out, &device, &task)? };
    let folder = args.bundle.unwrap_or_else(|| Path::new("assets/models").join(&config.bundle.id));
    let metadata = finish(&config, &weights, &folder, &device, &iso_date(SystemTime::now()), &task)?;
    for (key, metric) in &metadata.metrics {
        println!("{key:<56} {:.3}  ({:.3} to {:.3})  n {}", metric.value, metric.low, metric.high, metric.n);
    }
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}

fn show_plan(plan: &DryRun, out: &Path) -> anyhow::Result<ExitCode> {
    println!("{} images for training, {} for validation; {} weights", plan.images.0, plan.images.1, plan.parameters);
    for stage in &plan.stages {
        println!("{}: {} steps", stage.name, stage.steps);
        for (kind, share, count) in &stage.pools {
            println!("    {kind:<12} {count:>5} images, share {share}");
        }
    }
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    let file = out.join("batch.png");
    let (rows, columns, _) = plan.sheet.dim();
    let pixels = plan.sheet.iter().copied().collect::<Vec<u8>>();
    let pixels = pixels.chunks_exact(3).map(|p| [p[0], p[1], p[2], 255]).collect();
    let picture = Rgba { width: columns, height: rows, pixels };
    let png = picture.to_png().context("the batch cannot be encoded")?;
    std::fs::write(&file, png).with_context(|| file.display().to_string())?;
    println!("{}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// Restarts the program with an allocator that keeps large blocks, in huge pages, instead of giving them back after every operation: a
/// training step allocates the same sizes again and again, and taking fresh pages for them costs a fifth of its time. glibc
/// reads these settings only when a program starts. Elsewhere, or where the variable is set already, nothing happens.
pub(super) fn keep_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::os::unix::process::CommandExt;
        const NAME: &str = "GLIBC_TUNABLES";
        const SETTINGS: &str =
            "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=8589934592";
        if std::env::var_os(NAME).is_none()
            && let Ok(program) = std::env::current_exe()
        {
            let error =
                std::process::Command::new(program).args(std::env::args_os().skip(1)).env(NAME, SETTINGS).exec();
            tracing::info!("training goes on with the default allocator: {error}");
        }
    }
}
