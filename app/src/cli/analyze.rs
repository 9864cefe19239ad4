//! `bifocal analyze`: the main job without a window.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use anyhow::Context;
use bifocal_core::analysis::{Analysis, Explanations, PROBABILITIES, Target, analyze, input_flags, segmentation};
use bifocal_core::annotation::Session;
use bifocal_core::dicom::pixels::FrameReader;
use bifocal_core::dicom::{
    DicomError, DicomFile, SegmentationContext, index_paths, tags, uid_from_name, write_segmentation,
};
use bifocal_core::model::{Bundle, DeviceChoice, find_bundle};
use bifocal_core::render::{HeatStyle, Voi, blend_heat, draw_contours, gray_image, organ_color};
use bifocal_core::report::{ReportImage, ReportInput, ReportOptions, dicom_date_time, report_json, report_pdf};
use bifocal_core::study::{Frame, InstanceKey, InstanceUid, Problem, SegmentationKind, Series, SourceFrame, Study};
use bifocal_core::task::Task;
use serde_json::{Value, json};

use super::explain::{self, CamChoice};
use super::progress;
use crate::report::model_notes;

/// Frames analysed of one series.
const MOST_FRAMES: usize = 16;

/// Arguments of `bifocal analyze`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files, folders or ZIP archives.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Folder for the results; made where it is missing.
    #[arg(long)]
    out: PathBuf,
    /// Bundle: its id under `assets/models`, or its folder.
    #[arg(long, default_value = super::DEFAULT_MODEL)]
    model: String,
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
    if let Err(error) = find_bundle(&args.model) {
        eprintln!("bifocal: {error}");
        return Ok(ExitCode::from(2));
    }
    // Before hours of work, not after.
    probe_folder(&args.out).with_context(|| format!("{}: cannot be written", args.out.display()))?;
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    let start = Instant::now();
    let bundle = Arc::new(super::open_bundle(&args.model, args.device)?);
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
            task: &task,
        };
        match job.series(study, series, !flags.is_empty(), &args.out.join(&name)) {
            Ok(analyses) => {
                row["status"] = json!("analysed");
                row["folder"] = json!(name);
                row["images"] = analyses.iter().map(|(position, analysis)| image_row(*position, analysis)).collect();
                row["predictions"] = highest(&analyses);
                row["findings"] =
                    analyses.iter().flat_map(|(_, analysis)| &analysis.findings).map(|f| json!(f)).collect();
                row["flags"] = analyses.first().map_or(Value::Null, |(_, analysis)| json!(analysis.flags));
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

struct Job<'a> {
    bundle: &'a Arc<Bundle>,
    options: &'a ReportOptions,
    maps: bool,
    explain: Option<&'a [CamChoice]>,
    seg: Option<SegKind>,
    task: &'a Task,
}

impl Job<'_> {
    /// Analyses the frames of a series and writes its folder. A series that the bundle was not made for gives its middle image
    /// alone: enough to see the warning.
    fn series(
        &self,
        study: &Study,
        series: &Series,
        warned: bool,
        folder: &Path,
    ) -> anyhow::Result<Vec<(usize, Analysis)>> {
        let count = series.frame_count();
        let positions: Vec<usize> = if warned { vec![count / 2] } else { (0..count.min(MOST_FRAMES)).collect() };
        let mut read: Vec<(usize, InstanceKey, usize, Frame, Analysis)> = Vec::new();
        // As many as were read, or none.
        let mut explained: Vec<Explanations> = Vec::new();
        for position in positions {
            let Some((instance, frame_index)) = series.frame_at(position) else { continue };
            let frame = FrameReader::open(&instance.source)?.frame(frame_index)?;
            let (rows, columns) = frame.shape();
            let target = Target {
                series_uid: series.uid.clone(),
                instance_uid: instance.key(),
                frame: frame_index,
                sources: vec![instance.source.clone()],
                rows,
                columns,
            };
            let analysis = analyze(self.bundle, &frame, series, target, self.task)?;
            if let Some(choices) = self.explain {
                explained.push(explain::explanations(self.bundle, &frame, &analysis, choices, self.task)?);
            }
            read.push((position, instance.key(), frame_index, frame, analysis));
        }
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut session = Session::new(series.reading_uid(), self.bundle.metadata.weights_sha256.clone());
        session.key_images = read.iter().map(|(_, instance, index, ..)| (instance.clone(), *index)).collect();
        let images = read
            .iter()
            .enumerate()
            .map(|(number, (position, instance, index, frame, analysis))| ReportImage {
                explanations: explained.get(number),
                ..ReportImage::new(instance, *index, *position, frame, Some(analysis))
            })
            .collect();
        let model = Some(model_notes(&self.bundle.metadata));
        let input =
            ReportInput { study, series, images, session: &session, labels: &[], model, created: SystemTime::now() };
        write(
            &folder.join("report.json"),
            (serde_json::to_string_pretty(&report_json(&input, self.options))? + "\n").as_bytes(),
        )?;
        write(&folder.join("report.pdf"), &report_pdf(&input, self.options)?)?;
        for (number, (.., frame, analysis)) in read.iter().enumerate() {
            // The first image has the plain names; others of the same series are numbered.
            let suffix = if number == 0 { String::new() } else { format!("-{}", number + 1) };
            write(&folder.join(format!("overlay{suffix}.png")), &overlay(frame, analysis).to_png()?)?;
            if self.maps {
                write_maps(folder, &suffix, analysis)?;
                if let Some(explanations) = explained.get(number) {
                    explain::write_maps(folder, &suffix, explanations)?;
                }
            }
            if let Some(kind) = self.seg {
                self.write_segmentation(&folder.join(format!("segmentation{suffix}.dcm")), frame, analysis, kind)?;
            }
        }
        Ok(read.into_iter().map(|(position, .., analysis)| (position, analysis)).collect())
    }
}

impl Job<'_> {
    /// One object an image. A picture has no patient and no identifiers to refer to: it gets none, which is said.
    fn write_segmentation(&self, path: &Path, frame: &Frame, analysis: &Analysis, kind: SegKind) -> anyhow::Result<()> {
        let Some(source) = analysis.target.sources.first() else { return Ok(()) };
        let file = match DicomFile::read_headers(source) {
            Ok(file) => file,
            Err(DicomError::NotDicom { .. }) => {
                eprintln!("bifocal: {source}: not a DICOM file, so that a DICOM segmentation has nothing to refer to");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let set = file.data_set();
        let instance = set.line(tags::SOP_INSTANCE_UID);
        let multi_frame = set.int(tags::NUMBER_OF_FRAMES).is_some_and(|frames| frames > 1);
        let source_frame = SourceFrame {
            sop_class_uid: set.line(tags::SOP_CLASS_UID),
            sop_instance_uid: InstanceUid(instance.clone()),
            frame: multi_frame.then_some(analysis.target.frame),
        };
        let kind = match kind {
            SegKind::Binary => SegmentationKind::Binary,
            SegKind::Fractional => PROBABILITIES,
        };
        let metadata = &self.bundle.metadata;
        let frame_of_reference = set.string(tags::FRAME_OF_REFERENCE_UID);
        let masks = segmentation(analysis, metadata, kind, &source_frame, &frame.display, frame_of_reference);
        let (date, time) = dicom_date_time(SystemTime::now());
        let seed = format!("{instance} {} {} {kind:?} {date}{time}", analysis.target.frame, metadata.weights_sha256);
        let context = SegmentationContext {
            series_uid: uid_from_name(&format!("{seed} series")),
            sop_instance_uid: uid_from_name(&seed),
            series_number: 9001,
            series_description: format!("{} {}, research use only", metadata.name, metadata.version),
            content_label: "AI_SEGMENTATION".into(),
            creator: String::new(),
            date,
            time,
            software_version: env!("CARGO_PKG_VERSION").into(),
            algorithm_version: metadata.version.clone(),
        };
        Ok(write_segmentation(path, &masks, &file, &context)?)
    }
}

fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(file, bytes).with_context(|| file.display().to_string())
}

/// The image with its heat maps, the contours of its findings and of its organs.
fn overlay(frame: &Frame, analysis: &Analysis) -> bifocal_core::render::Rgba {
    let mut image = gray_image(frame, &Voi::of_frame(frame));
    let width = (image.width.max(image.height) as f32 / 500.0).max(1.0);
    for map in &analysis.heat_maps {
        blend_heat(&mut image, &map.values, &HeatStyle { threshold: map.threshold, ..HeatStyle::LESION });
    }
    for organ in &analysis.organ_maps {
        draw_contours(&mut image, &organ.contours, 1.0, width, organ_color(&organ.organ));
    }
    let contours: Vec<Vec<(f32, f32)>> = analysis.findings.iter().map(|finding| finding.contour.clone()).collect();
    draw_contours(&mut image, &contours, 1.0, width, bifocal_core::render::WARM);
    image
}

fn write_maps(folder: &Path, suffix: &str, analysis: &Analysis) -> anyhow::Result<()> {
    let save = |name: String, values: &ndarray::Array2<f32>| -> anyhow::Result<()> {
        let file = folder.join(format!("{name}{suffix}.npy"));
        ndarray_npy::write_npy(&file, values).with_context(|| file.display().to_string())
    };
    for map in &analysis.heat_maps {
        save(format!("heatmap-{}", map.label), &map.values)?;
    }
    for organ in &analysis.organ_maps {
        save(format!("organ-{}", organ.organ), &organ.values)?;
    }
    if let Some(rollout) = analysis.attention_maps.first() {
        save("attention".into(), &rollout.values)?;
    }
    for map in analysis.attention_maps.iter().skip(1) {
        save(format!("attention-{}", map.label.as_deref().unwrap_or("class")), &map.values)?;
    }
    Ok(())
}
