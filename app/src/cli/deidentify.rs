//! `bifocal deidentify`: copies of images without identifiers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use bifocal_core::dicom::{Deidentified, Deidentifier, DicomFile, Retain, index_paths};

use super::progress;

/// Arguments of `bifocal deidentify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders or ZIP archives; they are only read.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Folder for the copies, by patient, study and series; made where it is missing.
    #[arg(long)]
    out: PathBuf,
    /// Secret that pseudonyms and identifiers are made from: the same one gives the same, so that later images of a patient join the earlier
    /// ones. Random, and nowhere kept, where it is not given.
    #[arg(long)]
    key: Option<String>,
    /// Options of the profile: patient-characteristics (sex, age, size, weight), shifted-dates.
    #[arg(long, value_delimiter = ',', value_name = "OPTION")]
    retain: Vec<Kept>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kept {
    PatientCharacteristics,
    ShiftedDates,
}

/// Runs the subcommand. Exit code 0 where all images were copied, 1 where some were refused (named), 2 for wrong use.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let missing: Vec<_> = args.paths.iter().filter(|path| !path.exists()).collect();
    if !missing.is_empty() {
        missing.iter().for_each(|path| eprintln!("bifocal: {}: no such file or folder", path.display()));
        return Ok(ExitCode::from(2));
    }
    if args.key.as_ref().is_some_and(|key| key.chars().count() < 8) {
        eprintln!("bifocal: --key: fewer than 8 characters can be guessed");
        return Ok(ExitCode::from(2));
    }
    let retain = Retain {
        patient_characteristics: args.retain.contains(&Kept::PatientCharacteristics),
        shifted_dates: args.retain.contains(&Kept::ShiftedDates),
    };
    let deidentifier = match &args.key {
        Some(key) => Deidentifier::new(key, retain),
        None => Deidentifier::with_random_key(retain),
    };
    let task = progress::task();
    let index = index_paths(&args.paths, &task)?;
    let sources: Vec<_> = index
        .studies
        .iter()
        .flat_map(|study| &study.series)
        .flat_map(|series| &series.instances)
        .map(|instance| &instance.source)
        .collect();
    let (mut copied, mut refused) = (0, 0);
    let mut written = BTreeSet::new();
    let mut warnings: BTreeMap<String, usize> = BTreeMap::new();
    for (number, source) in sources.iter().enumerate() {
        task.check()?;
        task.progress("Copying without identifiers", number as u64, sources.len() as u64);
        match DicomFile::read(source).and_then(|file| deidentifier.copy(&file)) {
            Ok(copy) => {
                let path = args.out.join(place(&copy));
                // Different images are met that share an identifier.
                let path = (1..).map(|n| numbered(&path, n)).find(|path| written.insert(path.clone())).unwrap_or(path);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
                }
                fs::write(&path, &copy.bytes).with_context(|| path.display().to_string())?;
                for warning in copy.warnings {
                    *warnings.entry(warning).or_default() += 1;
                }
                copied += 1;
            }
            Err(error) => {
                refused += 1;
                eprintln!("bifocal: left out: {error}");
            }
        }
    }
    for problem in &index.problems {
        eprintln!("bifocal: {problem}");
    }
    for (warning, count) in &warnings {
        eprintln!("bifocal: look at {count} of the copies: {warning}");
    }
    println!("{copied} images copied, {refused} left out: {}", args.out.display());
    Ok(if refused == 0 && copied > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Patient, study, series and image, by the last digits of their new identifiers: short enough for every file system.
fn place(copy: &Deidentified) -> PathBuf {
    let end = |uid: &str| uid.get(uid.len().saturating_sub(12)..).unwrap_or(uid).to_owned();
    PathBuf::from(&copy.patient)
        .join(format!("study-{}", end(&copy.study_uid)))
        .join(format!("series-{}", end(&copy.series_uid)))
        .join(format!("{}.dcm", end(&copy.sop_instance_uid)))
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if number == 1 { path.to_path_buf() } else { path.with_file_name(format!("{stem}-{number}.dcm")) }
}
