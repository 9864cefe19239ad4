//! `bifocal bench`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use bifocal_core::bench::{self, Subject, Work, dump, measure};
use bifocal_core::dicom::pixels::PixelReader;
use bifocal_core::model::{DeviceChoice, PRESETS};

use crate::memory::{forget_peak, peak_mib};

/// Arguments of `bifocal bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Bundle: its id under `assets/models`, or its folder; several times for several. The bundled one where nothing is named.
    #[arg(long)]
    model: Vec<String>,
    /// A known network with random weights; several times for several.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(PRESETS))]
    preset: Vec<String>,
    /// The bundled network, ResNet-50, ViT-B/16 and their serial hybrid, with 1 image and with 8.
    #[arg(long, conflicts_with_all = ["model", "preset", "batch"])]
    zoo: bool,
    /// Images at once; several, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    batch: Vec<usize>,
    /// Sides of the square images, pixels; several, separated by commas. What the network was made for where nothing is named.
    #[arg(long, value_delimiter = ',')]
    side: Vec<usize>,
    /// Timed runs, after two that are not.
    #[arg(long, default_value_t = 10)]
    runs: usize,
    /// A training step instead of inference: forward and backward pass, AdamW, moving average.
    #[arg(long)]
    train: bool,
    /// The training step keeps less of its forward pass and computes it again on the way back.
    #[arg(long, requires = "train")]
    recompute: bool,
    /// Threads; all cores where it is not given.
    #[arg(long)]
    threads: Option<usize>,
    /// Where the network runs: auto, cpu, cuda or metal.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// How numbers are stored and multiplied, other than loaded: f16 and bf16 are those of weights on the CPU, in inference; tf32 and, of
    /// presets, bf16 are CUDA's.
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Writes input and outputs as a safetensors file, to compare them with another implementation; for one network and one batch.
    #[arg(long)]
    dump: Option<PathBuf>,
    /// Lists what each kind of step takes, most first; for inference.
    #[arg(long, conflicts_with_all = ["train", "json"])]
    profile: bool,
    /// One line of JSON for each network and batch.
    #[arg(long)]
    json: bool,
}

/// Arithmetic of a measured network.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Precision {
    F32,
    F16,
    Bf16,
    Tf32,
}

impl From<Precision> for bench::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::F16 => Self::F16,
            Precision::Bf16 => Self::Bf16,
            Precision::Tf32 => Self::Tf32,
        }
    }
}

/// What else is measured.
#[derive(Debug, Clone, clap::Subcommand)]
enum What {
    /// The window: opens PATH, scrolls, windows, paints, searches and moves planes as a reader would, and prints frame times and memory.
    Viewer {
        /// Files, folders or archives; the series that opens first is read.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Width and height of the window, points.
        #[arg(long, value_delimiter = 'x', num_args = 1, default_value = "1920x1080")]
        size: Vec<u16>,
        /// Analyses the series by the bundle that was made for it, and measures its maps, too.
        #[arg(long)]
        analyse: bool,
    },
    /// Decoding: milliseconds that each file under PATH takes on one thread, read and decoded, up to 32 frames a file.
    Decode {
        /// Files, folders or archives.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Timed runs a file, after one that is not; the median counts.
        #[arg(long, default_value_t = 5)]
        runs: usize,
        /// One line of JSON for each file; a sum for each transfer syntax otherwise.
        #[arg(long)]
        json: bool,
    },
}

/// Frames of a file that are decoded.
const MOST_FRAMES: usize = 32;

fn decode(paths: &[PathBuf], runs: usize, json: bool) -> anyhow::Result<ExitCode> {
    let index = bifocal_core::dicom::index_paths(paths, &bifocal_core::task::Task::new())?;
    let instances = index.studies.iter().flat_map(|study| &study.series).flat_map(|series| &series.instances);
    let mut sums: BTreeMap<String, (usize, f64, f64)> = BTreeMap::new();
    for instance in instances.filter(|instance| instance.frames > 0 && !instance.transfer_syntax.is_empty()) {
        let once = || -> Option<f64> {
            let start = Instant::now();
            let reader = PixelReader::open(&instance.source).ok()?;
            for frame in 0..instance.frames.min(MOST_FRAMES) {
                std::hint::black_box(reader.stored(frame).ok()?);
            }
            Some(start.elapsed().as_secs_f64() * 1e3)
        };
        if once().is_none() {
            continue;
        }
        let mut times: Vec<f64> = (0..runs.max(1)).filter_map(|_| once()).collect();
        times.sort_by(f64::total_cmp);
        let Some(median) = times.get(times.len() / 2).copied() else { continue };
        let frames = instance.frames.min(MOST_FRAMES);
        let megapixels = (instance.rows * instance.columns * frames) as f64 / 1e6;
        if json {
            let row = serde_json::json!({
                "file": instance.source.to_string(), "transfer_syntax": instance.transfer_syntax,
                "frames": frames, "megapixels": megapixels, "ms": median,
            });
            println!("{row}");
        }
        let sum = sums.entry(instance.transfer_syntax.clone()).or_default();
        *sum = (sum.0 + 1, sum.1 + megapixels, sum.2 + median);
    }
    if !json {
        for (syntax, (files, megapixels, ms)) in &sums {
            let name = bifocal_core::dicom::codec::TransferSyntax::find(syntax).map_or(syntax.as_str(), |s| s.name);
            println!(
                "{name:<48} {files:>4} files {megapixels:>8.1} megapixels {ms:>9.1} ms {:>8.1} megapixels/s",
                megapixels / ms * 1e3
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Networks of `--zoo` beside the bundled one.
const ZOO: [&str; 3] = ["resnet50", "vit-base", "serial-r50-vit-base"];

/// Runs the subcommand.
pub(super) fn run(mut args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        Some(What::Viewer { paths, size, analyse }) => {
            let &[width, height] = &size[..] else { bail!("--size takes a width and a height: 1920x1080") };
            return Ok(crate::launch::drive(paths, [f32::from(width), f32::from(height)], analyse));
        }
        Some(What::Decode { paths, runs, json }) => return decode(&paths, runs, json),
        None => {}
    }
    if args.train {
        super::train::keep_memory();
    }
    if let Some(threads) = args.threads {
        bifocal_core::task::limit_threads(threads)?;
    }
    if args.zoo {
        args.preset = ZOO.map(str::to_owned).to_vec();
        args.batch = vec![1, 8];
    }
    if args.zoo || (args.model.is_empty() && args.preset.is_empty()) {
        args.model.push(super::DEFAULT_MODEL.to_owned());
    }
    if args.dump.is_some() && args.model.len() + args.preset.len() + args.batch.len() > 2 {
        bail!("--dump: name one network and one batch");
    }
    let precision = args.precision.map_or(bench::Precision::AsLoaded, Into::into);
    for model in &args.model {
        let subject = Subject::bundle(super::open_bundle(model, args.device)?, precision)?;
        run_subject(&args, &subject)?;
    }
    for name in &args.preset {
        let (device, device_name) = super::named_device(args.device);
        run_subject(&args, &Subject::preset(name, device, device_name, precision)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run_subject(args: &Args, subject: &Subject) -> anyhow::Result<()> {
    let (work, what) = match (args.train, args.recompute) {
        (false, _) => (Work::Inference, "inference"),
        (true, false) => (Work::TrainingStep { recompute: false }, "training step"),
        (true, true) => (Work::TrainingStep { recompute: true }, "training step with recomputation"),
    };
    let (id, device) = (&subject.id, &subject.device_name);
    let own = subject.network.config().input_size;
    let sides = if args.side.is_empty() { &[own][..] } else { &args.side };
    let mut growth = Vec::new();
    for (&batch, &side) in args.batch.iter().flat_map(|batch| sides.iter().map(move |side| (batch, side))) {
        if sides.len() > 1 {
            forget_peak();
        }
        let mut milliseconds = measure(subject, work, (batch, side), args.runs.max(1), &super::progress::task())?;
        if args.profile {
            print_profile(subject);
        }
        if let Some(file) = &args.dump {
            dump(subject, batch, file).with_context(|| file.display().to_string())?;
        }
        milliseconds.sort_by(f64::total_cmp);
        let (median, last) = (milliseconds[milliseconds.len() / 2], milliseconds[milliseconds.len() - 1]);
        growth.push((side as f64, median, peak_mib()));
        if args.json {
            let line = serde_json::json!({
                "model": id, "what": what, "batch": batch, "side": side, "device": device,
                "median_ms": median, "milliseconds": milliseconds, "peak_mib": peak_mib(),
            });
            println!("{line}");
        } else {
            let memory = peak_mib().map_or(String::new(), |mib| format!(", peak memory {mib:.0} MiB"));
            let (first, runs) = (milliseconds[0], milliseconds.len());
            println!(
                "{id} {what}, batch {batch}, {side}x{side}, {device}: median {median:.1} ms ({first:.1} to {last:.1}, {runs} runs){memory}"
            );
        }
    }
    if sides.len() > 1 && args.batch.len() == 1 && !args.json {
        print_growth(&growth);
    }
    Ok(())
}

/// Exponents of time and memory against the number of pixels, from each side to the next.
fn print_growth(growth: &[(f64, f64, Option<f64>)]) {
    for pair in growth.windows(2) {
        let [(side, time, memory), (next_side, next_time, next_memory)] = pair else { continue };
        let pixels = 2.0 * (next_side / side).ln();
        let exponent = |from: f64, to: f64| format!("{:.2}", (to / from).ln() / pixels);
        let memory = memory.zip(*next_memory).map_or("unknown".to_owned(), |(from, to)| exponent(from, to));
        println!(
            "{side} -> {next_side} pixels: time grows by pixels^{}, memory by pixels^{memory}",
            exponent(*time, *next_time)
        );
    }
}

/// Steps of the same kind and size as one line.
fn print_profile(subject: &Subject) {
    let mut kinds: Vec<(String, usize, f64, u64)> = Vec::new();
    for step in subject.network.step_times() {
        let milliseconds = step.least.as_secs_f64() * 1e3;
        match kinds.iter_mut().find(|(what, ..)| *what == step.what) {
            Some((_, count, sum, macs)) => (*count, *sum, *macs) = (*count + 1, *sum + milliseconds, *macs + step.macs),
            None => kinds.push((step.what, 1, milliseconds, step.macs)),
        }
    }
    kinds.sort_by(|a, b| b.2.total_cmp(&a.2));
    println!("{:>5} {:>9} {:>9}  step", "times", "ms in all", "GFLOP/s");
    for (what, count, milliseconds, macs) in kinds {
        let speed = 2.0 * macs as f64 / 1e6 / milliseconds;
        println!("{count:>5} {milliseconds:>9.3} {speed:>9.1}  {what}");
    }
}
