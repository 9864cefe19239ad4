//! `bifocal analyze`: the main job without a window.

mod series;
mod volume;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use bifocal_core::analysis::{Analysis, input_flags};
use bifocal_core::dicom::{DicomError, index_paths};
use bifocal_core::model::{Bundle, DeviceChoice, Metadata, bundle_ids, find_bundle, read_metadata};
use bifocal_core::report::ReportOptions;
use bifocal_core::study::{Problem, Series, Study};
use bifocal_core::volume::PlaneKind;
use serde_json::{Value, json};

use self::series::Job;
use super::explain::{self, CamChoice};
use super::progress;

/// Stands for the bundle that was made for a series.
const AUTOMATIC: &str = "auto";

/// Arguments of `bifocal analyze`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders or ZIP archives.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Folder for the results; made where it is missing.
    #[arg(long)]
    out: PathBuf,
    /// Bundle: its id under `assets/models`, or its folder; `auto` takes one that was made for the modality of each series.
    #[arg(long, default_value = AUTOMATIC)]
    model: String,
    /// Planes that a bundle of slabs sees of a volume: acquired, axial, coronal or sagittal.
    #[arg(long, default_value = PlaneKind::Acquired.name())]
    plane: PlaneKind,
    /// Where the network runs: auto, cpu, cuda or metal.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Also write the maps as NumPy files, float32, in the size of the image.
    #[arg(long)]
    maps: bool,
    /// Also test how faithful each map is (about ten seconds an image), and make class activation maps: any of grad-cam, hires-cam,
    /// layer-cam, each with a ResNet stage (layer-cam:2) or at the last one.
    #[arg(long, value_name = "METHOD", value_delimiter = ',', num_args = 0..=1)]
    explain: Option<Vec<CamChoice>>,
    /// Also write organs and lesions as a DICOM segmentation of each image: masks (binary) or probabilities (fractional).
    #[arg(long, value_name = "KIND", num_args = 0..=1, default_missing_value = "binary")]
    seg: Option<SegKind>,
    /// Leave names, numbers, dates, institution and file names out of everything that is written.
    #[arg(long)]
    no_identifiers: bool,
    /// Parts to leave out of the report: patient, predictions, findings, key-images, overlays, attention, flags, limits.
    #[arg(long, value_delimiter = ',', value_name = "PART")]
    without: Vec<Part>,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SegKind {
    Binary,
    Fractional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Patient,
    Predictions,
    Findings,
    KeyImages,
    Overlays,
    Attention,
    Flags,
    Limits,
}

impl Args {
    /// The bundle that is opened first, and that answers for series that none was made for.
    fn first_model(&self) -> &str {
        if self.model == AUTOMATIC { super::DEFAULT_MODEL } else { &self.model }
    }
}

/// The bundles that answer, each opened when it is first needed.
struct Bundles {
    device: DeviceChoice,
    automatic: bool,
    opened: Vec<Arc<Bundle>>,
}

impl Bundles {
    fn open(args: &Args) -> anyhow::Result<Self> {
        let first = Arc::new(super::open_bundle(args.first_model(), args.device)?);
        Ok(Self { device: args.device, automatic: args.model == AUTOMATIC, opened: vec![first] })
    }

    fn first(&self) -> Arc<Bundle> {
        Arc::clone(&self.opened[0])
    }

    /// The bundle for series of a modality.
    fn of(&mut self, modality: &str) -> anyhow::Result<Arc<Bundle>> {
        let made_for = |metadata: &Metadata| {
            metadata.intended_use.modalities.iter().any(|item| item.eq_ignore_ascii_case(modality.trim()))
        };
        if !self.automatic {
            return Ok(self.first());
        }
        if let Some(bundle) = self.opened.iter().find(|bundle| made_for(&bundle.metadata)) {
            return Ok(Arc::clone(bundle));
        }
        for id in bundle_ids() {
            let fits = find_bundle(&id).and_then(|folder| read_metadata(&folder)).is_ok_and(|m| made_for(&m));
            if fits {
                self.opened.push(Arc::new(super::open_bundle(&id, self.device)?));
                return Ok(self.opened.last().map_or_else(|| self.first(), Arc::clone));
            }
        }
        Ok(self.first())
    }
}

fn options(args: &Args) -> ReportOptions {
    let keep = |part: Part| !args.without.contains(&part);
    ReportOptions {
        identifiers: !args.no_identifiers,
        patient: keep(Part::Patient),
        predictions: keep(Part::Predictions),
        findings: keep(Part::Findings),
        key_images: keep(Part::KeyImages),
        overlays: keep(Part::Overlays),
        attention: keep(Part::Attention),
        flags: keep(Part::Flags),
        limits: keep(Part::Limits),
        ..ReportOptions::default()
    }
}

/// Runs the subcommand. Exit code 0 where all series with images were analysed, 1 where some failed, 2 for wrong use.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let missing: Vec<_> = args.paths.iter().filter(|path| !path.exists()).collect();
    if !missing.is_empty() {
        for path in missing {
            eprintln!("bifocal: {}: no such file or folder", path.display());
        }
        return Ok(ExitCode::from(2));
    }
    if args.seg.is_some() && args.no_identifiers {
        eprintln!("bifocal: --seg names patient, study and source image; it cannot go with --no-identifiers");
        return Ok(ExitCode::from(2));
    }
    if let Err(error) = find_bundle(args.first_model()) {
        eprintln!("bifocal: {error}");
        return Ok(ExitCode::from(2));
    }
    // Before hours of work, not after.
    probe_folder(&args.out).with_context(|| format!("{}: cannot be written", args.out.display()))?;
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    let start = Instant::now();
    let mut bundles = Bundles::open(&args)?;
    let bundle = bundles.first();
    if bundle.metadata.lesions.is_empty() && bundle.metadata.organs.is_empty() {
        eprintln!("bifocal: {} knows neither lesions nor organs: there is nothing to report", bundle.metadata.id);
        return Ok(ExitCode::from(2));
    }
    if let Err(message) = explain::check(&bundle, args.explain.as_deref().unwrap_or_default()) {
        eprintln!("bifocal: --explain: {message}");
        return Ok(ExitCode::from(2));
    }
    let task = progress::task();
    let index = index_paths(&args.paths, &task)?;
    let index_seconds = start.elapsed().as_secs_f64();

    let options = options(&args);
    let mut rows = Vec::new();
    let mut failed = 0;
    let series: Vec<(&Study, &Series)> =
        index.studies.iter().flat_map(|study| study.series.iter().map(move |series| (study, series))).collect();
    let total = series.len() as u64;
    for (number, (study, series)) in series.into_iter().enumerate() {
        task.progress("Analysing series", number as u64, total);
        let name = folder_name(number + 1, series, args.no_identifiers);
        let mut row = describe(study, series, args.no_identifiers);
        if series.frame_count() == 0 {
            row["status"] = json!("no_image");
            rows.push(row);
            continue;
        }
        let bundle = bundles.of(&series.modality)?;
        let flags = input_flags(&bundle, series);
        for flag in &flags {
            eprintln!("bifocal: warning: series {}: {}", number + 1, flag.message);
        }
        let began = Instant::now();
        let job = Job {
            bundle: &bundle,
            options: &options,
            maps: args.maps,
            explain: args.explain.as_deref(),
            seg: args.seg,
            plane: args.plane,
            task: &task,
        };
        row["model"] = json!(bundle.metadata.id);
        match job.series(study, series, !flags.is_empty(), &args.out.join(&name)) {
            Ok(done) => {
                let images = &done.images;
                row["status"] = json!("analysed");
                row["folder"] = json!(name);
                row["images"] = images.iter().map(|(position, analysis)| image_row(*position, analysis)).collect();
                row["predictions"] = match &done.volume {
                    Some(volume) => json!(volume.predictions),
                    None => highest(images),
                };
                row["findings"] = match &done.volume {
                    Some(volume) => json!(volume.findings),
                    None => images.iter().flat_map(|(_, analysis)| &analysis.findings).map(|f| json!(f)).collect(),
                };
                row["flags"] = images.first().map_or(Value::Null, |(_, analysis)| json!(analysis.flags));
                if let Some(volume) = &done.volume {
                    row["volume"] = volume::row(volume);
                }
            }
            Err(error) => {
                failed += 1;
                eprintln!("bifocal: series {} ({}): {error:#}", number + 1, series.modality);
                row["status"] = json!("failed");
                row["error"] = json!(if args.no_identifiers { anonymous(&error) } else { format!("{error:#}") });
            }
        }
        row["seconds"] = json!(began.elapsed().as_secs_f64());
        rows.push(row);
    }

    let listed = |problems: &[Problem]| -> Vec<Value> {
        let value = |problem: &Problem| match args.no_identifiers {
            false => json!(problem),
            // The cause may name another file; its kind does not.
            true => {
                json!({ "severity": problem.severity, "tag": problem.tag, "cause": problem.kind.as_deref().unwrap_or(&problem.cause) })
            }
        };
        problems.iter().map(value).collect()
    };
    let analysed = rows.iter().filter(|row| row["status"] == "analysed").count();
    let summary = json!({
        "notice": bifocal_core::report::RESEARCH_USE_ONLY,
        "software": { "name": "Bifocal", "version": env!("CARGO_PKG_VERSION") },
        "model": model_row(&bundle),
        "analysed": analysed,
        "failed": failed,
        "seconds": start.elapsed().as_secs_f64(),
        "index_seconds": index_seconds,
        "series": rows,
        "problems": listed(&index.problems),
        "remarks": listed(&index.remarks),
    });
    let file = args.out.join("summary.json");
    fs::write(&file, serde_json::to_string_pretty(&summary)? + "\n").with_context(|| file.display().to_string())?;
    let problems = match index.problems.len() {
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    println!("{analysed} series analysed, {failed} failed, {problems}: {}", file.display());
    if analysed + failed == 0 {
        eprintln!("bifocal: no image was found");
    }
    Ok(if failed == 0 && analysed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Makes the folder and tries whether files can be made in it.
fn probe_folder(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".bifocal-{}", std::process::id()));
    fs::write(&probe, "")?;
    fs::remove_file(&probe)
}

/// What went wrong, without the name of a file.
fn anonymous(error: &anyhow::Error) -> String {
    if let Some(error) = error.downcast_ref::<DicomError>() {
        let problem = error.to_problem();
        return [problem.tag, Some(problem.cause)].into_iter().flatten().collect::<Vec<_>>().join(": ");
    }
    error.root_cause().to_string()
}

fn model_row(bundle: &Bundle) -> Value {
    let metadata = &bundle.metadata;
    json!({
        "id": metadata.id,
        "version": metadata.version,
        "weights_sha256": metadata.weights_sha256,
        "device": bundle.device_name,
    })
}

fn describe(study: &Study, series: &Series, no_identifiers: bool) -> Value {
    if no_identifiers {
        return json!({ "modality": series.modality, "frames": series.frame_count() });
    }
    let sources: Vec<String> = series.instances.iter().map(|instance| instance.source.to_string()).collect();
    json!({
        "study_uid": study.uid,
        "series_uid": series.uid,
        "modality": series.modality,
        "description": series.description,
        "frames": series.frame_count(),
        "sources": sources,
        "notes": series.notes,
    })
}

fn image_row(position: usize, analysis: &Analysis) -> Value {
    json!({
        "position": position,
        "predictions": analysis.predictions,
        "findings": analysis.findings.len(),
        "flags": analysis.flags,
        "seconds": analysis.seconds,
    })
}

/// Image-level probabilities: of each class the highest over the images.
fn highest(analyses: &[(usize, Analysis)]) -> Value {
    let mut best: Vec<bifocal_core::analysis::Prediction> = Vec::new();
    for prediction in analyses.iter().flat_map(|(_, analysis)| &analysis.predictions) {
        match best.iter_mut().find(|other| other.label == prediction.label) {
            Some(other) if other.probability >= prediction.probability => {}
            Some(other) => *other = prediction.clone(),
            None => best.push(prediction.clone()),
        }
    }
    json!(best)
}

/// A folder name that every file system takes: number, modality, and the description where it may be shown.
fn folder_name(number: usize, series: &Series, no_identifiers: bool) -> String {
    let clean = |text: &str| -> String {
        let spelled = text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        let joined: String = spelled.collect();
        joined.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-").chars().take(40).collect()
    };
    let mut parts = vec![format!("{number:03}"), clean(&series.modality)];
    if !no_identifiers {
        parts.push(clean(&series.description));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("-")
}
