//! `bifocal evaluate`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use bifocal_core::dataset::{CocoDataset, split_by_patient};
use bifocal_core::evaluate::{
    Classes, EvaluateOptions, Interval, MapScores, PhantomScans, SanityStep, evaluate, evaluate_phantoms, explain,
    sanity, write,
};
use bifocal_core::model::{DeviceChoice, find_bundle};
use bifocal_core::volume::PlaneKind;

use super::progress;

/// Arguments of `bifocal evaluate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Bundle: its id under `assets/models`, or its folder.
    #[arg(long)]
    model: String,
    /// Data set: a COCO file; images lie relative to its folder.
    #[arg(long, required_unless_present = "phantoms")]
    dataset: Option<PathBuf>,
    /// Instead, so many simulated scans, for a bundle that reads volumes: `volumes.json`.
    #[arg(long, value_name = "SCANS", conflicts_with_all = ["dataset", "explain", "sanity", "limit"])]
    phantoms: Option<u64>,
    /// Seed of the first simulated scan.
    #[arg(long, default_value_t = 5000)]
    seed: u64,
    /// Distance of their slices, mm.
    #[arg(long, default_value_t = 2.5)]
    slice_mm: f32,
    /// Planes that the network sees of them: acquired, axial, coronal or sagittal.
    #[arg(long, default_value = PlaneKind::Acquired.name())]
    plane: PlaneKind,
    /// Folder for `metrics.json` and `index.html`.
    #[arg(long)]
    out: PathBuf,
    /// Which images: all of the file, or the side of the split that the bundle was trained with.
    #[arg(long, value_enum, default_value_t = Side::All)]
    split: Side,
    /// At most this many images.
    #[arg(long)]
    limit: Option<usize>,
    /// Also test how faithful every kind of map is on the images that show a lesion: `explain.json`.
    #[arg(long)]
    explain: bool,
    /// Also shuffle the network's layers from the answer down, and see what is left of the maps: `sanity.json`.
    #[arg(long)]
    sanity: bool,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Where the network runs: auto, cpu, cuda or metal.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    Validation,
    Train,
    All,
}

/// Measures a bundle of slabs on simulated scans.
fn phantoms(args: &Args, count: u64) -> anyhow::Result<ExitCode> {
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    let bundle = super::open_bundle(&args.model, args.device)?;
    let scans = PhantomScans {
        seed: args.seed,
        count,
        size: 256,
        slice_mm: args.slice_mm.clamp(0.5, 20.0),
        extra_nodules: 8,
        plane: args.plane,
    };
    let found = evaluate_phantoms(&bundle, &scans, &EvaluateOptions::default(), &progress::task())?;
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    write_json(&args.out.join("volumes.json"), &found)?;
    for (key, metric) in &found.metrics {
        println!("{key:<40} {:.3}  ({:.3} to {:.3})  n {}", metric.value, metric.low, metric.high, metric.n);
    }
    let seconds: f64 = found.scans.iter().map(|scan| scan.seconds).sum();
    println!("{:.1} s a scan, on {}", seconds / found.scans.len().max(1) as f64, bundle.device_name);
    Ok(ExitCode::SUCCESS)
}

/// Runs the subcommand.
pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(count) = args.phantoms {
        return phantoms(&args, count);
    }
    let path = args.dataset.as_deref().context("--dataset is needed")?;
    let dataset = CocoDataset::load(path)?;
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    let bundle = Arc::new(super::open_bundle(&args.model, args.device)?);
    let metadata = &bundle.metadata;
    let mut indices = select(&dataset, args.split, metadata.validation);
    indices.truncate(args.limit.unwrap_or(usize::MAX));
    let lesions: Vec<String> = metadata.lesions.iter().map(|class| class.name.clone()).collect();
    let organs: Vec<String> = metadata.organs.iter().map(|class| class.name.clone()).collect();
    let classes = Classes::by_name(&dataset, &lesions, &organs);
    if classes == Classes::default() {
        bail!("{} annotates none of the classes of {}", path.display(), metadata.name);
    }
    let task = progress::task();
    let evaluation = evaluate(&dataset, &indices, &classes, bundle.as_ref(), &EvaluateOptions::default(), &task)?;
    let side = match args.split {
        Side::Validation => "validation patients",
        Side::Train => "training patients",
        Side::All => "all patients",
    };
    let subtitle = format!("{}, {side}", path.display());
    write(&evaluation, &format!("Evaluation of {} {}", metadata.name, metadata.version), &subtitle, &args.out)?;
    for (key, metric) in &evaluation.metrics {
        println!("{key:<56} {:.3}  ({:.3} to {:.3})  n {}", metric.value, metric.low, metric.high, metric.n);
    }
    for failure in &evaluation.failures {
        eprintln!("bifocal: image {}: {}", failure.image_id, failure.message);
    }
    let options = EvaluateOptions::default();
    if args.explain {
        let scores = explain(&dataset, &indices, &classes, &bundle, &options, &task)?;
        write_json(&args.out.join("explain.json"), &scores)?;
        print_scores(&scores);
    }
    if args.sanity {
        let from = (&bundle, find_bundle(&args.model)?);
        let steps = sanity(&dataset, &indices, &classes, (from.0, &from.1), SANITY_IMAGES, &options, &task)?;
        write_json(&args.out.join("sanity.json"), &steps)?;
        print_sanity(&steps);
    }
    println!("{}", args.out.join("index.html").display());
    Ok(if evaluation.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Images of each class that cascading randomisation looks at.
const SANITY_IMAGES: usize = 12;

fn write_json(file: &Path, value: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    std::fs::write(file, text).with_context(|| file.display().to_string())
}

/// As a table for Markdown.
fn print_scores(scores: &[MapScores]) {
    let number = |interval: &Option<Interval>| match interval {
        Some(i) => format!("{:.2} ({:.2} to {:.2})", i.value, i.low, i.high),
        None => "-".to_owned(),
    };
    println!(
        "| class | map | images | deletion | insertion | insertion - deletion | random | better by both / one / none | in lungs | agreement | pointing |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for s in scores {
        let [both, one, none] = s.verdicts;
        println!(
            "| {} | {} | {} of {} | {} | {} | {} | {:.2} | {both} / {one} / {none} | {} | {} | {} |",
            s.class,
            s.map,
            s.measurable,
            s.images,
            number(&s.deletion),
            number(&s.insertion),
            number(&s.gap),
            s.random,
            number(&s.inside_lungs),
            number(&s.agreement),
            number(&s.pointing),
        );
    }
}

/// As a table for Markdown: a row a layer, a column a map.
fn print_sanity(steps: &[SanityStep]) {
    let Some(first) = steps.first() else { return };
    let maps: Vec<&String> = first.similarity.keys().collect();
    println!("| shuffled down to | {} |", maps.iter().map(|map| map.as_str()).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(maps.len()));
    for step in steps {
        let cell = |map: &&String| step.similarity.get(*map).map_or("-".to_owned(), |i| format!("{:.2}", i.value));
        println!("| {} | {} |", step.layer, maps.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }
}

/// Indices of the images to measure on; `recorded` is the held-out fraction and the seed of the bundle's split by patient.
fn select(dataset: &CocoDataset, side: Side, recorded: (f64, u64)) -> Vec<usize> {
    let split = split_by_patient(dataset, recorded.0, recorded.1);
    match side {
        Side::All => (0..dataset.images.len()).collect(),
        Side::Validation => split.validation,
        Side::Train => split.train,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> CocoDataset {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("coco.json");
        let images: Vec<String> = (0..20)
            .map(|id| format!(r#"{{"id":{id},"file_name":"x","width":1,"height":1,"patient_id":"p{}"}}"#, id / 2))
            .collect();
        std::fs::write(&path, format!(r#"{{"categories":[],"images":[{}]}}"#, images.join(","))).expect("written");
        CocoDataset::load(&path).expect("valid")
    }

    #[test]
    fn sides_of_a_split_are_complements() {
        let data = dataset();
        let validation = select(&data, Side::Validation, (0.3, 4));
        let mut all = select(&data, Side::Train, (0.3, 4));
        assert!(!validation.is_empty() && !all.is_empty());
        all.extend(validation);
        all.sort_unstable();
        assert_eq!(all, select(&data, Side::All, (0.3, 4)));
    }
}
