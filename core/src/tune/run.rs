//! The run: data sets of the three sides, training, the new bundle, the comparison.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::card::card;
use super::cases::{Candidate, Choice, Plan, plan};
use super::labels::{class_map, classes, labels_of};
use super::pictures::NetworkPictures;
use super::{TuneError, candidates};
use crate::dataset::CocoDataset;
use crate::evaluate::{Classes, Comparison, EvaluateOptions, compare, write_comparison};
use crate::model::{
    Bundle, DeviceChoice, FineTuning, Metadata, MetricValue, ModelConfig, WeightPrecision, open_device, read_metadata,
    sha256_file, write_bundle,
};
use crate::project::{AnnotatedFrame, CocoWriter, MOST_EMPTY, Project, visit};
use crate::study::StudyIndex;
use crate::task::Task;
use crate::train::{
    BundleText, DataConfig, LogSplit, LossConfig, Report, SamplingConfig, StageConfig, TrainConfig, train_watched,
    tuned,
};

/// Largest batch: an eighth-gigabyte of activations for the bundled network.
const BATCH: usize = 8;
/// Pictures are kept this many times larger than the network's input, for augmentation to zoom into.
const PICTURE_SCALE: usize = 4;
/// Validations over the run, and how many of them in a row may bring nothing before it ends.
const VALIDATIONS: usize = 10;
const PATIENCE: usize = 5;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneOptions {
    /// Whose annotations teach.
    pub reader: String,
    /// Folder of the bundle to start from.
    pub parent: PathBuf,
    /// Folder of the new bundle, which must not hold one; its name is the bundle's id.
    pub out: PathBuf,
    /// Folder of data sets, checkpoints and log; a run that was stopped goes on from there. It holds images of patients.
    pub run: PathBuf,
    /// Which cases.
    pub choice: Choice,
    /// Steps at most.
    pub steps: usize,
    /// Largest learning rate.
    pub rate: f64,
    /// Today, `YYYY-MM-DD`.
    pub created: String,
    /// Where to train and compare.
    pub device: DeviceChoice,
}

impl TuneOptions {
    /// Steps of a run where nothing else is said.
    pub const STEPS: usize = 100;
    /// Learning rate where nothing else is said: a tenth of what the bundled network was trained with.
    pub const RATE: f64 = 1e-4;
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// Folder of the new bundle; `comparison.html` and `card.md` are in it.
    pub folder: PathBuf,
    /// What the new bundle says of itself.
    pub metadata: Metadata,
    /// Title of the old one.
    pub parent: String,
    /// The cases.
    pub plan: Plan,
    /// Old and new on the held-out patients.
    pub comparison: Comparison,
    /// Steps that were done, and after which of them the weights were the best.
    pub steps: (usize, usize),
    /// What could not be read of the project.
    pub problems: Vec<String>,
}

/// Fine-tunes a bundle on the chosen cases of a project and compares the two. Lines of the training log go to `watch`. A run that was
/// cancelled goes on when it is started again with the same options.
pub fn tune(
    project: &Project,
    index: &StudyIndex,
    options: &TuneOptions,
    task: &Task,
    watch: &dyn Fn(&Report),
) -> Result<Tuned, TuneError> {
    if options.out.join("metadata.json").exists() {
        let cause = "there is a bundle here already: name another folder".to_owned();
        return Err(TuneError::Folder { folder: options.out.clone(), cause });
    }
    let metadata = read_metadata(&options.parent)?;
    let (candidates, mut problems) = candidates(project, &options.reader, index)?;
    let plan = plan(&candidates, &options.choice, &metadata)?;
    let (learn, held) = (options.run.join("training"), options.run.join("held-out"));
    write_data(project, index, options, &plan, [&learn, &held], &metadata.config, task, &mut problems)?;
    begin(options, &plan, &metadata, &candidates, [&learn, &held])?;

    let (device, device_name, _) = open_device(options.device);
    let parent = Bundle::load(&options.parent, device, device_name)?;
    let config = config(options, &plan, &metadata, &learn.join("coco.json"));
    let reports = RefCell::new(Vec::new());
    let seen = |report: &Report| {
        reports.borrow_mut().push(report.clone());
        watch(report);
    };
    let run = options.run.join("checkpoints");
    let weights = train_watched(&config, &run, &parent.device, task, &seen)?;
    let (mut bundle, fitted) = tuned(&config, &weights, &parent, task)?;

    let dataset = CocoDataset::load(&held.join("coco.json")).map_err(crate::train::TrainError::from)?;
    let maps = |maps: &[crate::dataset::ClassMap]| maps.iter().filter(|map| !map.any_of.is_empty()).cloned().collect();
    let classes =
        Classes { lesions: maps(&config.data.lesions), organs: maps(&config.data.organs), unions: Vec::new() };
    let indices: Vec<usize> = (0..dataset.images.len()).collect();
    let comparison = compare(&dataset, &indices, &classes, [&parent, &bundle], &EvaluateOptions::default(), task)?;

    let steps = steps_of(&reports.borrow());
    let origin = origin(project, options, &plan, &metadata, steps.1);
    describe(&mut bundle.metadata, options, &config, &plan, &origin, &fitted, &comparison);
    let old = format!("{} {}", metadata.id, metadata.version);
    let new = format!("{} {}", bundle.metadata.id, bundle.metadata.version);
    let curves = run.join("curves.png");
    let folder_error =
        |error: std::io::Error| TuneError::Folder { folder: options.out.clone(), cause: error.to_string() };
    write_comparison(
        &comparison,
        &format!("{new} beside {old}"),
        &notes(&origin, &plan, steps),
        Some("curves.png"),
        &options.out,
    )?;
    fs::copy(&curves, options.out.join("curves.png")).map_err(folder_error)?;
    let text = card(&bundle.metadata, &origin, &plan, &comparison);
    fs::write(options.out.join("card.md"), text).map_err(folder_error)?;
    // Last: a folder with metadata is a whole bundle.
    write_bundle(&options.out, &mut bundle.metadata, &weights, WeightPrecision::Half)?;
    Ok(Tuned { folder: options.out.clone(), metadata: bundle.metadata, parent: old, plan, comparison, steps, problems })
}

/// Writes two data sets: what training may see, and what it may not.
#[allow(clippy::too_many_arguments)]
fn write_data(
    project: &Project,
    index: &StudyIndex,
    options: &TuneOptions,
    plan: &Plan,
    [learn, held]: [&Path; 2],
    config: &ModelConfig,
    task: &Task,
    problems: &mut Vec<String>,
) -> Result<(), TuneError> {
    let mut pictures = NetworkPictures::new(config, task);
    let mut refused = BTreeSet::new();
    for (folder, sides) in [(learn, vec![&plan.training, &plan.validation]), (held, vec![&plan.held_out])] {
        let mut writer = CocoWriter::new(project, folder)?;
        let wanted =
            |series: &crate::study::Series| sides.iter().any(|side| side.series.contains(&series.reading_uid()));
        let take = &mut |frame: AnnotatedFrame<'_>| match pictures.of(&frame)? {
            Ok(picture) => writer.add_picture(&frame, &picture, PICTURE_SCALE * config.input_size),
            Err(cause) => {
                refused.insert(cause);
                Ok(())
            }
        };
        let found = visit(project, &options.reader, index, MOST_EMPTY, &wanted, task, take)?;
        writer.finish()?;
        let found = found.into_iter().chain(std::mem::take(&mut refused));
        problems.extend(found.filter(|problem| !problems.contains(problem)).collect::<Vec<_>>());
    }
    Ok(())
}

/// What a run was begun with: it goes on with nothing else.
#[derive(PartialEq, Serialize, Deserialize)]
struct Begun {
    reader: String,
    parent_sha256: String,
    choice: Choice,
    plan: Plan,
    data_sha256: [String; 2],
}

fn begin(
    options: &TuneOptions,
    plan: &Plan,
    parent: &Metadata,
    candidates: &[Candidate],
    folders: [&Path; 2],
) -> Result<(), TuneError> {
    let file = options.run.join("begun.json");
    let failed = |cause: String| TuneError::Folder { folder: options.run.clone(), cause };
    let hash = |folder: &Path| sha256_file(&folder.join("coco.json")).map_err(|error| failed(error.to_string()));
    let begun = Begun {
        reader: options.reader.clone(),
        parent_sha256: parent.weights_sha256.clone(),
        choice: options.choice.clone(),
        plan: plan.clone(),
        data_sha256: [hash(folders[0])?, hash(folders[1])?],
    };
    match fs::read_to_string(&file) {
        Ok(before) if serde_json::from_str::<Begun>(&before).is_ok_and(|before| before == begun) => Ok(()),
        Ok(_) => Err(failed(format!(
            "a run on other cases, or from another bundle, was begun here ({} series are known now): name another folder, or delete it",
            candidates.len()
        ))),
        Err(_) => {
            let text = serde_json::to_string_pretty(&begun).map_err(|error| failed(error.to_string()))?;
            fs::write(&file, text + "\n").map_err(|error| failed(error.to_string()))
        }
    }
}

/// The recipe: the parent's where it is one of ours, with a small rate and one short stage. Organs that nobody has drawn are those that the parent
/// sees, so that it does not forget them.
fn config(options: &TuneOptions, plan: &Plan, parent: &Metadata, coco: &Path) -> TrainConfig {
    let recipe: Option<TrainConfig> = toml::from_str(&parent.recipe).ok();
    let labels = &options.choice.labels;
    let map = |name: &String| class_map(labels, name);
    let has_organs = parent.config.organs.iter().any(|organ| !labels_of(labels, organ).is_empty());
    let has_lesions = parent.config.lesions.iter().any(|lesion| !labels_of(labels, lesion).is_empty());
    let share = |present: bool| if present { 1.0 } else { 0.0 };
    let all = classes(parent);
    let mirrored = recipe.as_ref().map(|recipe| recipe.data.mirrored.clone()).unwrap_or_default();
    TrainConfig {
        seed: options.choice.seed,
        batch: recipe.as_ref().map_or(BATCH, |recipe| recipe.batch.min(BATCH)),
        weight_decay: recipe.as_ref().map_or(0.05, |recipe| recipe.weight_decay),
        ema_decay: 0.98,
        clip_norm: recipe.as_ref().map_or(2.0, |recipe| recipe.clip_norm),
        log_every: (options.steps / (2 * VALIDATIONS)).max(1),
        validate_every: (options.steps / VALIDATIONS).max(1),
        data: DataConfig {
            coco: coco.to_path_buf(),
            validation_fraction: 0.0,
            split_seed: options.choice.seed,
            validation_patients: plan.validation.patients.iter().cloned().collect(),
            lesions: parent.config.lesions.iter().map(map).collect(),
            organs: parent.config.organs.iter().map(map).collect(),
            unions: Vec::new(),
            normal_reads: Vec::new(),
            unlabelled_reads: Vec::new(),
            weak_weight: 0.0,
            mirrored,
        },
        model: parent.config.clone(),
        augmentation: recipe.as_ref().map(|recipe| recipe.augmentation.clone()).unwrap_or_default(),
        opacities: recipe.as_ref().map(|recipe| recipe.opacities.clone()).unwrap_or_default(),
        start_from: Some(options.parent.clone()),
        losses: LossConfig::default(),
        accumulate: 1,
        recompute: false,
        stages: vec![StageConfig {
            layer_decay: 1.0,
            name: "fine-tuning".into(),
            steps: options.steps,
            rate: options.rate,
            warmup: options.steps / 10,
            resnet_rate: 0.5,
            bypass_transformer: false,
            pseudo_organ_weight: 0.3,
            dropout: 0.1,
            patience: PATIENCE,
            sampling: SamplingConfig {
                organs: share(has_organs),
                positive: share(has_lesions),
                negative: share(has_lesions),
                ..SamplingConfig::default()
            },
        }],
        bundle: BundleText {
            id: options.out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            name: format!("{}, fine-tuned", parent.name),
            version: format!("{}+{}", parent.version, options.created.replace('-', "")),
            display: all.iter().map(|class| class.display.to_owned()).collect(),
            concepts: all.iter().filter_map(|class| Some((class.name.to_owned(), class.concept?.clone()))).collect(),
            false_positive_rate: recipe.as_ref().map_or(0.2, |recipe| recipe.bundle.false_positive_rate),
            intended_use: parent.intended_use.clone(),
            data: parent.data.clone(),
            licence: parent.licence.clone(),
        },
    }
}

/// Steps that were done, and after which of them the loss of the validation patients was the lowest.
fn steps_of(reports: &[Report]) -> (usize, usize) {
    let done = reports.iter().map(|report| report.step).max().unwrap_or(0);
    let validations = reports.iter().filter(|report| report.split == LogSplit::Validation);
    (done, validations.min_by(|a, b| a.loss().total_cmp(&b.loss())).map_or(done, |report| report.step))
}

fn origin(project: &Project, options: &TuneOptions, plan: &Plan, parent: &Metadata, best_step: usize) -> FineTuning {
    let labels = &options.choice.labels;
    FineTuning {
        parent: parent.id.clone(),
        parent_version: parent.version.clone(),
        parent_sha256: parent.weights_sha256.clone(),
        project: project.name().to_owned(),
        reader: options.reader.clone(),
        labels: plan.training.classes.keys().map(|class| (class.clone(), labels_of(labels, class))).collect(),
        training: plan.training.patients.iter().cloned().collect(),
        validation: plan.validation.patients.iter().cloned().collect(),
        held_out: plan.held_out.patients.iter().cloned().collect(),
        seed: options.choice.seed,
        best_step,
    }
}

/// Says of the new bundle what is true of it; the rest is its parent's.
fn describe(
    metadata: &mut Metadata,
    options: &TuneOptions,
    config: &TrainConfig,
    plan: &Plan,
    origin: &FineTuning,
    fitted: &[String],
    comparison: &Comparison,
) {
    metadata.id = config.bundle.id.clone();
    metadata.name = config.bundle.name.clone();
    metadata.version = config.bundle.version.clone();
    metadata.created = options.created.clone();
    metadata.seed = config.seed;
    // Paths of this computer are nobody else's business.
    let mut recipe = config.clone();
    recipe.data.coco = "training/coco.json".into();
    recipe.start_from = Some(origin.parent.clone().into());
    metadata.recipe = toml::to_string(&recipe).unwrap_or_default();
    let (patients, series) = (plan.training.patients.len(), plan.training.series.len());
    metadata.data.push(format!(
        "project {}, read by {}: {series} series of {patients} patients for training",
        origin.project, origin.reader
    ));
    let limits = &mut metadata.intended_use.limits;
    limits.push(format!(
        "Fine-tuned from {} {} on {patients} patients of one project, as one reader sees them.",
        origin.parent, origin.parent_version
    ));
    let kept: Vec<&str> =
        metadata.lesions.iter().filter(|l| !fitted.contains(&l.name)).map(|l| l.display.as_str()).collect();
    if !kept.is_empty() {
        limits.push(format!("Calibration and thresholds are the parent's, not fitted again: {}.", kept.join(", ")));
    }
    metadata.metrics = comparison
        .rows
        .iter()
        .map(|row| {
            let i = row.after;
            let value = MetricValue { value: i.value, low: i.low, high: i.high, n: i.n };
            (format!("{}.{}", row.metric, row.class), value)
        })
        .collect();
    metadata.fine_tuning = Some(origin.clone());
}

/// What the page says beside the numbers.
fn notes(origin: &FineTuning, plan: &Plan, (done, best): (usize, usize)) -> Vec<String> {
    let side = |side: &super::Side| format!("{} patients ({} series)", side.patients.len(), side.series.len());
    let mut notes = vec![
        format!("Project {}, as read by {}, seed {}.", origin.project, origin.reader, origin.seed),
        format!(
            "Training: {}; validation, which said when to stop: {}; held out: {}.",
            side(&plan.training),
            side(&plan.validation),
            side(&plan.held_out)
        ),
    ];
    let labels: Vec<String> = origin.labels.iter().map(|(class, of)| format!("{class}: {}", of.join(", "))).collect();
    notes.push(format!("Labels that stand for classes: {}.", labels.join("; ")));
    notes.push(if best == 0 {
        format!("In {done} steps the validation loss never fell below the parent's: the new bundle holds the parent's weights.")
    } else {
        format!("{done} steps; the weights are those after step {best}, where the validation loss was the lowest.")
    });
    notes.extend(plan.warnings.iter().map(|warning| format!("Note: {warning}.")));
    notes
}
