//! `bifocal project tune`: a bundle fine-tuned on the cases of a project.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use bifocal_core::evaluate::{Interval, metric_name};
use bifocal_core::model::{DeviceChoice, find_bundle, read_metadata};
use bifocal_core::project::{CaseState, Project};
use bifocal_core::report::iso_date;
use bifocal_core::tune::{Choice, Plan, Side, TuneOptions, candidates, plan, suggest, tune};

use super::project::State;
use super::{progress, train};

/// Arguments of `bifocal project tune`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The project's folder.
    folder: PathBuf,
    /// Whose annotations teach.
    #[arg(long)]
    reader: String,
    /// Folder of the new bundle; its name becomes the bundle's id.
    #[arg(long)]
    out: PathBuf,
    /// Bundle to start from: its id under `assets/models`, or its folder.
    #[arg(long, default_value = super::DEFAULT_MODEL)]
    from: String,
    /// How far the reader must be with a case. Only finished cases say that something is absent.
    #[arg(long, value_delimiter = ',', default_value = "done")]
    states: Vec<State>,
    /// Also cases that are set aside.
    #[arg(long)]
    flagged: bool,
    /// A label that stands for a class, beside those that fit by name or code; `LABEL=` takes one out. Several for several.
    #[arg(long, value_name = "LABEL=CLASS")]
    map: Vec<String>,
    /// Share of patients that are held out, to compare the old and the new bundle on.
    #[arg(long, default_value_t = 0.25)]
    hold_out: f64,
    /// Seed of the split and of training.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps at most; training ends early where the validation patients gain nothing.
    #[arg(long, default_value_t = TuneOptions::STEPS)]
    steps: usize,
    /// Where it trains: auto, cpu, cuda or metal.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Largest learning rate.
    #[arg(long, default_value_t = TuneOptions::RATE)]
    rate: f64,
    /// Folder of data sets and checkpoints, which holds images of patients; in the project where it is not given.
    #[arg(long)]
    run: Option<PathBuf>,
    /// Show the cases and how they are split, and stop.
    #[arg(long)]
    dry_run: bool,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
}

/// Runs the subcommand. Exit code 0, or 1 where something of the project could not be read (named).
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    train::keep_memory();
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    let project = Project::open(&args.folder)?;
    super::project::known(&project, &args.reader)?;
    let parent = find_bundle(&args.from)?;
    let metadata = read_metadata(&parent)?;
    let mut choice = Choice::new(suggest(project.labels(), &metadata));
    for pair in &args.map {
        let (label, class) = pair.split_once('=').with_context(|| format!("--map {pair}: LABEL=CLASS is wanted"))?;
        if project.labels().label(label).is_none() {
            bail!("--map {pair}: the project has no label {label}");
        }
        match class {
            "" => _ = choice.labels.remove(label),
            class => _ = choice.labels.insert(label.to_owned(), class.to_owned()),
        }
    }
    choice.states = args.states.iter().map(|state| CaseState::from(*state)).collect::<BTreeSet<_>>();
    (choice.flagged, choice.hold_out, choice.seed) = (args.flagged, args.hold_out, args.seed);
    let name = args.out.file_name().with_context(|| format!("{}: a folder needs a name", args.out.display()))?;
    let run = args.run.unwrap_or_else(|| run_folder(&args.folder, &name.to_string_lossy()));
    let options = TuneOptions {
        reader: args.reader,
        parent,
        out: args.out,
        run,
        choice,
        steps: args.steps,
        rate: args.rate,
        created: iso_date(SystemTime::now()),
        device: args.device,
    };
    let task = progress::task();
    let index = project.index(&task)?;
    let (candidates, problems) = candidates(&project, &options.reader, &index)?;
    let planned = plan(&candidates, &options.choice, &metadata)?;
    show_plan(&planned, &options.choice);
    if args.dry_run {
        return Ok(super::project::told(&problems));
    }
    let tuned = tune(&project, &index, &options, &task, &|_| {})?;
    let (done, best) = tuned.steps;
    println!("\n{done} steps, weights of step {best}\n");
    let interval = |i: &Interval| format!("{:.3} ({:.3} to {:.3})", i.value, i.low, i.high);
    println!("{:<44} {:<24} {:<24} difference", "", tuned.parent, tuned.metadata.id);
    for row in &tuned.comparison.rows {
        let name = format!("{}, {}", metric_name(&row.metric), row.class);
        println!("{name:<44} {:<24} {:<24} {}", interval(&row.before), interval(&row.after), interval(&row.difference));
    }
    println!("\n{}\n{}", tuned.comparison.sentence(), tuned.folder.join("comparison.html").display());
    Ok(super::project::told(&tuned.problems))
}

/// Where a run of that name keeps its data sets and checkpoints.
fn run_folder(project: &Path, name: &str) -> PathBuf {
    project.join("tuning").join(name)
}

fn show_plan(plan: &Plan, choice: &Choice) {
    let side = |name: &str, side: &Side| {
        let counts: Vec<String> =
            side.classes.iter().map(|(class, n)| format!("{class}: {} with, {} without", n.with, n.without)).collect();
        println!(
            "{name:<11} {:>4} patients {:>4} series   {}",
            side.patients.len(),
            side.series.len(),
            counts.join("; ")
        );
    };
    side("training", &plan.training);
    side("validation", &plan.validation);
    side("held out", &plan.held_out);
    for (label, class) in &choice.labels {
        println!("label {label} stands for {class}");
    }
    if !plan.unused_labels.is_empty() {
        let unused: Vec<&str> = plan.unused_labels.iter().map(String::as_str).collect();
        println!("labels that fit no class and are left out: {} (--map LABEL=CLASS)", unused.join(", "));
    }
    for (reason, count) in &plan.left_out {
        println!("left out: {count} series, {reason}");
    }
    for warning in &plan.warnings {
        eprintln!("bifocal: {warning}");
    }
}
