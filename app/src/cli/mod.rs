//! The command line: one file a subcommand, each with its arguments and a `run`.

mod analyze;
mod bench;
mod deidentify;
mod evaluate;
mod experiment;
mod explain;
mod index;
mod inspect;
mod model;
mod phantom;
mod progress;
mod project;
mod render;
mod train;
mod tune;

use std::path::PathBuf;
use std::process::ExitCode;

use bifocal_core::model::{Bundle, Device, DeviceChoice, find_bundle, open_device};
use clap::{Parser, Subcommand};

/// Two linked lenses on medical images: lesion heatmaps and organ-level attention. Research use only.
#[derive(Debug, Parser)]
#[command(name = "bifocal", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Files, folders or ZIP archives to open in the window; the sample study where none is given.
    paths: Vec<PathBuf>,
    /// Folder of a project to read in, in place of paths.
    #[arg(long, conflicts_with = "paths", requires = "reader")]
    project: Option<PathBuf>,
    /// Who reads in the project.
    #[arg(long, requires = "project")]
    reader: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Analyses files or folders without a window and writes a report for each series.
    Analyze(analyze::Args),
    /// Prints the tree of patients, studies and series.
    Index(index::Args),
    /// Prints the key attributes of one file and the hash of a decoded frame.
    Inspect(inspect::Args),
    /// Draws one slice as PNG, as the viewport would.
    Render(render::Args),
    /// Copies images without identifiers (PS3.15 basic profile).
    Deidentify(deidentify::Args),
    /// Makes and lists projects, compares their readers, fine-tunes bundles on them.
    Project(project::Args),
    /// Writes a reader's annotations for other programs: COCO, YOLO, DICOM segmentations, CSV.
    Export(project::ExportArgs),
    /// Brings annotations of other programs to a reader: DICOM segmentations, RT Structure Sets, COCO, NIfTI.
    Import(project::ImportArgs),
    /// Trains a bundle from a configuration file.
    Train(train::Args),
    /// Measures a bundle on an annotated data set.
    Evaluate(evaluate::Args),
    /// Trains kinds of network from several seeds, matched on cost and budget, and compares them.
    Experiment(experiment::Args),
    /// Measures the speed of a bundle's network.
    Bench(bench::Args),
    /// Describes networks, and imports weights of others.
    Model(model::Args),
    /// Simulates a thorax with known truth as CT and radiograph.
    Phantom(phantom::Args),
    /// Simulates CTs of many patients as a data set of slabs, to train and measure bundles on.
    PhantomSlabs(phantom::SlabArgs),
}

/// Runs the program. Exit codes: 0 done, 1 failed (or partly failed, as the subcommand says), 2 wrong use.
pub fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("BIFOCAL_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(std::io::stderr)
        .init();
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Analyze(args)) => analyze::run(args),
        Some(Command::Index(args)) => index::run(args),
        Some(Command::Inspect(args)) => inspect::run(args),
        Some(Command::Render(args)) => render::run(args),
        Some(Command::Deidentify(args)) => deidentify::run(args),
        Some(Command::Project(args)) => project::run(args),
        Some(Command::Export(args)) => project::export(args),
        Some(Command::Import(args)) => project::import(args),
        Some(Command::Train(args)) => train::run(args),
        Some(Command::Evaluate(args)) => evaluate::run(args),
        Some(Command::Experiment(args)) => experiment::run(args),
        Some(Command::Bench(args)) => bench::run(args),
        Some(Command::Model(args)) => model::run(args),
        Some(Command::Phantom(args)) => phantom::run(args),
        Some(Command::PhantomSlabs(args)) => phantom::run_slabs(args),
        None => project::take_up(cli.project, cli.reader).map(|work| crate::launch::run(cli.paths, work)),
    };
    result.unwrap_or_else(|error| {
        eprintln!("bifocal: {error:#}");
        ExitCode::FAILURE
    })
}

/// The bundle that answers where none is named.
pub const DEFAULT_MODEL: &str = "chest-opacity";

/// Opens the bundle named by an id or a folder on the device wished for; says on standard error where it runs elsewhere.
fn open_bundle(model: &str, choice: DeviceChoice) -> anyhow::Result<Bundle> {
    let folder = find_bundle(model)?;
    let (device, name) = named_device(choice);
    Ok(Bundle::load(&folder, device, name)?)
}

/// The device wished for and its name; says on standard error where that cannot be had.
fn named_device(choice: DeviceChoice) -> (Device, String) {
    let (device, name, message) = open_device(choice);
    if let Some(message) = message {
        eprintln!("bifocal: {message}");
    }
    (device, name)
}

/// As [`named_device`]; says on standard error where that is not the CPU.
fn device(choice: DeviceChoice) -> Device {
    let (device, name) = named_device(choice);
    if !device.is_cpu() {
        eprintln!("bifocal: on {name}");
    }
    device
}
