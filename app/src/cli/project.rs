//! `bifocal project`, `bifocal export` and `bifocal import`: many studies, several readers, other programs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context, bail};
use bifocal_core::annotation::Taxonomy;
use bifocal_core::project::{
    Case, CaseState, ExportFormat, ExportOptions, Project, SplitShares, compare, export as write_export, history,
    import_file,
};
use bifocal_core::report::dicom_date_time;
use bifocal_core::study::{SeriesUid, StudyUid};
use serde_json::json;

use super::progress;
use crate::history::sentence;
use crate::ui::text;
use crate::work::Work;

/// Arguments of `bifocal project`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes a project in an empty folder.
    Create {
        /// Its folder.
        folder: PathBuf,
        /// Its name for people.
        #[arg(long)]
        name: String,
        /// Files or folders of images; they stay where they are and are only read.
        #[arg(long, required = true)]
        source: Vec<PathBuf>,
        /// Labels, JSON; Bifocal's own for the chest where it is not given.
        #[arg(long)]
        labels: Option<PathBuf>,
    },
    /// Prints a reader's work list.
    List {
        /// The project's folder.
        folder: PathBuf,
        /// The reader.
        #[arg(long)]
        reader: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Sets how far a reader is with a series.
    Set {
        /// The project's folder.
        folder: PathBuf,
        /// The reader.
        #[arg(long)]
        reader: String,
        /// The series, as `list` prints it.
        #[arg(long)]
        series: String,
        /// New, in-progress or done.
        #[arg(long)]
        state: Option<State>,
        /// Set it aside to be looked at again, or no longer.
        #[arg(long)]
        flagged: Option<bool>,
        /// A note.
        #[arg(long)]
        note: Option<String>,
    },
    /// Adds files or folders of images.
    Add {
        /// The project's folder.
        folder: PathBuf,
        /// Who adds them.
        #[arg(long)]
        reader: String,
        /// Files or folders; they stay where they are and are only read.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// Takes a study out, or puts it back. Its images and what was drawn on them stay where they are.
    Remove {
        /// The project's folder.
        folder: PathBuf,
        /// Who does it.
        #[arg(long)]
        reader: String,
        /// Study Instance UID.
        study: String,
        /// Put it back.
        #[arg(long)]
        back: bool,
    },
    /// Prints who changed what and when, the latest first (times in UTC).
    History {
        /// The project's folder.
        folder: PathBuf,
    },
    /// Compares two readers: Dice of regions, Cohen's kappa of what a series shows.
    Agreement {
        /// The project's folder.
        folder: PathBuf,
        /// One reader.
        first: String,
        /// The other.
        second: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Fine-tunes a bundle on a reader's cases, and compares it with the one before on held-out patients.
    Tune(super::tune::Args),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum State {
    New,
    InProgress,
    Done,
}

impl From<State> for CaseState {
    fn from(state: State) -> Self {
        match state {
            State::New => Self::New,
            State::InProgress => Self::InProgress,
            State::Done => Self::Done,
        }
    }
}

/// Runs `bifocal project`.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Create { folder, name, source, labels } => create(folder, &name, &source, labels),
        Command::List { folder, reader, json } => list(&Project::open(&folder)?, &reader, json),
        Command::Set { folder, reader, series, state, flagged, note } => {
            let project = Project::open(&folder)?;
            let series = SeriesUid(series);
            let mut case = project.work_list(&reader)?.remove(&series).unwrap_or_default();
            case.state = state.map_or(case.state, CaseState::from);
            case.flagged = flagged.unwrap_or(case.flagged);
            case.note = note.unwrap_or(case.note);
            project.set_case(&reader, &series, case)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Tune(args) => super::tune::run(args),
        Command::Add { folder, reader, paths } => {
            let new = Project::open(&folder)?.add_sources(&reader, &paths)?;
            println!("{new} added");
            Ok(ExitCode::SUCCESS)
        }
        Command::Remove { folder, reader, study, back } => {
            Project::open(&folder)?.set_left_out(&reader, &StudyUid(study), !back)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::History { folder } => {
            let project = Project::open(&folder)?;
            let (entries, problems) = history(&project, &progress::task())?;
            for entry in entries {
                let series = entry.series.as_ref().map(ToString::to_string).unwrap_or_default();
                println!(
                    "{}  {:<16} {}  {series}",
                    text::moment(entry.at),
                    entry.reader,
                    sentence(project.labels(), &entry.told)
                );
            }
            Ok(told(&problems))
        }
        Command::Agreement { folder, first, second, json } => {
            let project = Project::open(&folder)?;
            for reader in [&first, &second] {
                known(&project, reader)?;
            }
            let task = progress::task();
            let index = project.index(&task)?;
            let compared = compare(&project, [&first, &second], &index, &task)?;
            compared.problems.iter().for_each(|problem| eprintln!("bifocal: {problem}"));
            let rows = compared.labels;
            if json {
                println!("{}", serde_json::to_string_pretty(&rows)?);
                return Ok(ExitCode::SUCCESS);
            }
            println!(
                "{:<20} {:>6} {:>7} {:>6}  both / {first} / {second} / neither",
                "label", "Dice", "frames", "kappa"
            );
            let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
            for row in rows {
                let [both, one, other, neither] = row.series;
                let (dice, kappa) = (number(row.dice), number(row.kappa));
                println!(
                    "{:<20} {dice:>6} {:>7} {kappa:>6}  {both} / {one} / {other} / {neither}",
                    row.label, row.frames
                );
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn create(folder: PathBuf, name: &str, source: &[PathBuf], labels: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let sources = source.iter().map(|path| path.canonicalize().with_context(|| path.display().to_string()));
    let sources: Vec<PathBuf> = sources.collect::<anyhow::Result<_>>()?;
    let labels = match labels {
        None => Taxonomy::default(),
        Some(file) => {
            let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            Taxonomy::parse(&text).with_context(|| file.display().to_string())?
        }
    };
    Project::create(&folder, name, sources, labels)?;
    println!("{}", folder.display());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn known(project: &Project, reader: &str) -> anyhow::Result<()> {
    let readers = project.readers()?;
    if !readers.iter().any(|other| other == reader) {
        bail!("nobody called {reader:?} has read in this project; there are: {}", readers.join(", "));
    }
    Ok(())
}

fn list(project: &Project, reader: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let work = project.work_list(reader)?;
    let index = project.index(&progress::task())?;
    let mut rows = Vec::new();
    for study in &index.studies {
        for series in study.series.iter().filter(|series| series.frame_count() > 0) {
            let case = work.get(&series.reading_uid()).cloned().unwrap_or_default();
            if as_json {
                rows.push(json!({
                    "series": series.reading_uid(), "modality": series.modality, "description": series.description,
                    "patient": project.pseudonym(&study.patient.id), "date": study.date, "case": case,
                }));
                continue;
            }
            let Case { state, flagged, note } = case;
            let state = match state {
                CaseState::New => "new",
                CaseState::InProgress => "in progress",
                CaseState::Done => "done",
            };
            let flag = if flagged { "!" } else { " " };
            println!(
                "{flag} {state:<11} {} {:<3} {:<30} {}  {note}",
                study.date,
                series.modality,
                series.description,
                series.reading_uid()
            );
        }
    }
    if as_json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The project that the window opens, where one is asked for.
pub(super) fn take_up(folder: Option<PathBuf>, reader: Option<String>) -> anyhow::Result<Option<Work>> {
    match (folder, reader) {
        (Some(folder), Some(reader)) => Ok(Some(Work::new(Project::open(&folder)?, &reader)?)),
        _ => Ok(None),
    }
}

/// Arguments of `bifocal export`.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// The project's folder.
    project: PathBuf,
    /// Whose annotations; those of several readers go into a folder each.
    #[arg(long, required = true)]
    reader: Vec<String>,
    /// What to write: coco (images, polygons, run lengths), yolo (images, boxes), seg (DICOM segmentations), nifti (label maps),
    /// csv (measurements).
    #[arg(long)]
    format: Format,
    /// Folder for the files; made where it is missing.
    #[arg(long)]
    out: PathBuf,
    /// Only series that the reader is done with.
    #[arg(long)]
    only_done: bool,
    /// Without series that the reader has set aside.
    #[arg(long)]
    without_flagged: bool,
    /// Splits the patients into folders train, validation and test: shares of the last two.
    #[arg(long, value_parser = shares, value_name = "VALIDATION,TEST")]
    split: Option<(f64, f64)>,
    /// The same seed splits the same patients in the same way.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Replaces identifiers, leaves readers' names and free text out, and lays copies of the images without identifiers beside seg and nifti.
    #[arg(long)]
    deidentify: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Coco,
    Yolo,
    Seg,
    Nifti,
    Csv,
}

impl From<Format> for ExportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Coco => Self::Coco,
            Format::Yolo => Self::Yolo,
            Format::Seg => Self::Seg,
            Format::Nifti => Self::Nifti,
            Format::Csv => Self::Csv,
        }
    }
}

/// `0.15,0.15`.
fn shares(text: &str) -> Result<(f64, f64), String> {
    let parts = text.split_once(',').ok_or("two shares are wanted, such as 0.15,0.15")?;
    let share = |part: &str| part.trim().parse::<f64>().map_err(|error| format!("{part}: {error}"));
    Ok((share(parts.0)?, share(parts.1)?))
}

/// Runs `bifocal export`. Exit code 0, or 1 where something had to be left out (named).
pub(super) fn export(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let project = Project::open(&args.project)?;
    for reader in &args.reader {
        known(&project, reader)?;
    }
    let task = progress::task();
    let index = project.index(&task)?;
    let split = args.split.map(|(validation, test)| SplitShares { validation, test, seed: args.seed });
    let options = ExportOptions {
        format: args.format.into(),
        readers: args.reader,
        only_done: args.only_done,
        flagged: !args.without_flagged,
        split,
        deidentify: args.deidentify,
        date_time: dicom_date_time(SystemTime::now()),
    };
    let exported = write_export(&project, &index, &options, &args.out, &task)?;
    for part in &exported.parts {
        println!("{}: {}", part.written, part.folder.display());
    }
    if exported.parts.is_empty() {
        println!("nothing to write");
    }
    Ok(told(&exported.problems))
}

/// Arguments of `bifocal import`.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The project's folder.
    project: PathBuf,
    /// A DICOM segmentation or RT Structure Set, a COCO file, or a NIfTI label map (with the JSON file beside it, where there is one).
    file: PathBuf,
    /// Into whose sessions.
    #[arg(long)]
    reader: String,
}

/// Runs `bifocal import`. Exit code 0, or 1 where something had to be left out (named).
pub(super) fn import(args: ImportArgs) -> anyhow::Result<ExitCode> {
    let mut project = Project::open(&args.project)?;
    let task = progress::task();
    let index = project.index(&task)?;
    let imported = import_file(&mut project, &args.reader, &index, &args.file, &task)?;
    println!("{} annotations on {} frames", imported.annotations, imported.frames);
    if !imported.new_labels.is_empty() {
        println!("new labels: {}", imported.new_labels.join(", "));
    }
    Ok(told(&imported.problems))
}

pub(super) fn told(problems: &[String]) -> ExitCode {
    problems.iter().for_each(|problem| eprintln!("bifocal: {problem}"));
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
