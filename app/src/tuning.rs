//! Fine-tuning from the work list: the choice of cases, the run in the background, and what becomes of the new bundle.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bifocal_core::model::{bundle_ids, read_metadata};
use bifocal_core::report::iso_date;
use bifocal_core::study::StudyIndex;
use bifocal_core::train::Report;
use bifocal_core::tune::{Candidate, Choice, Plan, TuneOptions, Tuned, candidates, plan, suggest, tune};

use crate::app::{App, Outcome};
use crate::jobs::{JobError, JobKind};
use crate::network::Network;
use crate::project::ProjectPanel;
use crate::state::{Screen, Tone};

/// Steps that may be asked for.
pub const STEPS: std::ops::RangeInclusive<usize> = 5..=2000;
/// Share of patients that may be held out, percent.
pub const HOLD_OUT: std::ops::RangeInclusive<u32> = 10..=60;

/// The panel of fine-tuning, and the run that it has started.
pub struct Tuning {
    /// The series of the project as the reader has read them, once they are gathered.
    pub candidates: Option<Vec<Candidate>>,
    /// What of the project could not be read.
    pub problems: Vec<String>,
    /// Which of them, and how they are split.
    pub choice: Choice,
    /// Steps at most.
    pub steps: usize,
    /// Name of the new bundle.
    pub name: String,
    /// What the choice comes to; why it comes to nothing.
    pub plan: Option<Result<Plan, String>>,
    /// Lines of the log so far; the job writes them.
    pub log: Arc<Mutex<Vec<Report>>>,
    /// How the last run ended.
    pub result: Option<Result<Box<Tuned>, String>>,
    /// Whether the new bundle is used, once that was decided.
    pub decided: Option<bool>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            candidates: None,
            problems: Vec::new(),
            choice: Choice::new(Default::default()),
            steps: TuneOptions::STEPS,
            name: String::new(),
            plan: None,
            log: Arc::default(),
            result: None,
            decided: None,
        }
    }
}

impl Tuning {
    /// Lines of the log so far.
    pub fn reports(&self) -> Vec<Report> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the name can name a folder.
    pub fn is_named(&self) -> bool {
        let sound = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        !self.name.is_empty() && self.name.len() <= 64 && !self.name.starts_with('.') && self.name.chars().all(sound)
    }
}

/// What the panel asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum TuneCommand {
    /// Other cases, labels or split.
    Choice(Choice),
    /// Steps at most.
    Steps(usize),
    /// Name of the new bundle.
    Name(String),
    /// Begins, or goes on with a run of that name that was stopped.
    Start,
    /// Takes the new bundle from now on.
    UseNew,
    /// Stays with the old one.
    KeepOld,
    /// Back to the choice of cases.
    Again,
}

impl App {
    pub(crate) fn tuning(&mut self, command: TuneCommand) {
        match command {
            TuneCommand::Choice(choice) => {
                self.state.tuning.choice = choice;
                self.plan_tuning();
            }
            TuneCommand::Steps(steps) => self.state.tuning.steps = steps.clamp(*STEPS.start(), *STEPS.end()),
            TuneCommand::Name(name) => self.state.tuning.name = name.trim().to_owned(),
            TuneCommand::Start => self.start_tuning(),
            TuneCommand::UseNew => {
                if let Some(Ok(tuned)) = &self.state.tuning.result {
                    let folder = tuned.folder.display().to_string();
                    self.state.tuning.decided = Some(true);
                    self.use_bundle(folder);
                }
            }
            TuneCommand::KeepOld => self.state.tuning.decided = Some(false),
            TuneCommand::Again => {
                self.state.tuning.result = None;
                self.state.tuning.decided = None;
                self.open_tuning();
            }
        }
    }

    /// The panel was opened.
    pub(crate) fn open_tuning(&mut self) {
        let Some(work) = &self.state.work else { return };
        let network = &self.state.network;
        if self.jobs.is_running(JobKind::Tuning) || self.state.tuning.result.is_some() {
            return;
        }
        if let Some(metadata) = &network.metadata {
            let tuning = &mut self.state.tuning;
            if tuning.choice.labels.is_empty() {
                tuning.choice.labels = suggest(work.project.labels(), metadata);
            }
            let taken = |name: &str| models(work.project.folder()).join(name).join("metadata.json").exists();
            if tuning.name.is_empty() || taken(&tuning.name) {
                let names = (1..).map(|n| if n == 1 { "tuned".to_owned() } else { format!("tuned-{n}") });
                tuning.name = names.into_iter().find(|name| !taken(name)).unwrap_or_default();
            }
        }
        self.gather_cases();
    }

    fn is_tuning_shown(&self) -> bool {
        self.state.panel == Some(ProjectPanel::Tuning)
    }

    /// Reads the journals of the project again.
    pub(crate) fn gather_cases(&mut self) {
        let Some(work) = &self.state.work else { return };
        let (project, reader) = (work.project.clone(), work.reader.clone());
        let index = self.open_index();
        self.jobs.start(JobKind::Cases, "Looking through the cases", move |_| {
            let (found, problems) = candidates(&project, &reader, &index).map_err(JobError::failed)?;
            Ok(Outcome::Cases(found, problems))
        });
    }

    /// The open studies, as functions of the library take them.
    pub(crate) fn open_index(&self) -> StudyIndex {
        let studies = self.state.library.studies.iter().map(|study| study.as_ref().clone()).collect();
        StudyIndex { studies, ..StudyIndex::default() }
    }

    pub(crate) fn cases_gathered(&mut self, found: Vec<Candidate>, problems: Vec<String>) {
        self.state.tuning.candidates = Some(found);
        self.state.tuning.problems = problems;
        self.plan_tuning();
    }

    fn plan_tuning(&mut self) {
        let tuning = &mut self.state.tuning;
        let Some(metadata) = &self.state.network.metadata else { return };
        let planned = tuning.candidates.as_ref().map(|candidates| plan(candidates, &tuning.choice, metadata));
        tuning.plan = planned.map(|plan| plan.map_err(|error| error.to_string()));
    }

    fn start_tuning(&mut self) {
        let (Some(work), Some(parent)) = (&self.state.work, self.state.network.folder()) else { return };
        let tuning = &mut self.state.tuning;
        if !tuning.is_named() || !matches!(tuning.plan, Some(Ok(_))) || self.jobs.is_running(JobKind::Tuning) {
            return;
        }
        let project = work.project.clone();
        let options = TuneOptions {
            reader: work.reader.clone(),
            parent: parent.to_path_buf(),
            out: models(project.folder()).join(&tuning.name),
            run: project.folder().join("tuning").join(&tuning.name),
            choice: tuning.choice.clone(),
            steps: tuning.steps,
            rate: TuneOptions::RATE,
            created: iso_date(SystemTime::now()),
            device: self.state.settings.device.parse().unwrap_or_default(),
        };
        (tuning.result, tuning.decided) = (None, None);
        // Its own log: one that was abandoned may still write into the one before.
        let log: Arc<Mutex<Vec<Report>>> = Arc::default();
        tuning.log = Arc::clone(&log);
        let index = self.open_index();
        self.jobs.start(JobKind::Tuning, "Fine-tuning", move |task| {
            let watch = |report: &Report| {
                log.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone());
            };
            // One core is left to the window.
            let cores = crate::settings::cores();
            let tuned = bifocal_core::task::with_threads(cores.saturating_sub(1), || {
                tune(&project, &index, &options, task, &watch)
            });
            match tuned.map_err(JobError::failed)? {
                Ok(tuned) => Ok(Outcome::Tuned(Box::new(tuned))),
                Err(error) if error.is_cancelled() => Err(JobError::Cancelled),
                Err(error) => Err(JobError::failed(error)),
            }
        });
    }

    pub(crate) fn tuned(&mut self, tuned: Box<Tuned>) {
        self.state.bundles = self.bundles();
        if !self.is_tuning_shown() {
            let text =
                format!("{} is ready: the panel of fine-tuning compares it with the old bundle.", tuned.metadata.id);
            self.toast(Tone::Info, text);
        }
        self.state.tuning.result = Some(Ok(tuned));
    }

    /// A run that was cancelled, or that failed with a message.
    pub(crate) fn tuning_stopped(&mut self, failed: Option<String>) {
        match failed {
            None => {
                let text = "Fine-tuning was stopped. Started again under the same name, it goes on from there.";
                self.toast(Tone::Info, text);
            }
            Some(message) => {
                self.state.tuning.result = Some(Err(message.clone()));
                if !self.is_tuning_shown() {
                    self.toast(Tone::Error, format!("Fine-tuning: {message}"));
                }
            }
        }
    }

    /// Nothing of a project that is left stays behind.
    pub(crate) fn leave_tuning(&mut self) {
        if self.jobs.is_running(JobKind::Tuning) {
            self.jobs.abandon(JobKind::Tuning);
            self.tuning_stopped(None);
        }
        self.jobs.abandon(JobKind::Cases);
        self.state.tuning = Tuning::default();
    }

    /// Asks another bundle from now on: an id, or a folder. Reviews belong to the weights that they are of, so the series in view is opened anew.
    pub(crate) fn use_bundle(&mut self, wish: String) {
        let modality = self.state.reading.as_ref().and_then(|reading| reading.series()).map(|s| s.modality.clone());
        let network = Network::find(&wish, &modality.unwrap_or_default());
        if let Some(problem) = network.problem {
            self.toast(Tone::Error, format!("The model stays as it was: {problem}"));
            return;
        }
        self.text_done();
        self.jobs.abandon(JobKind::Analysis);
        self.jobs.abandon(JobKind::Explanation);
        self.state.settings.model = wish;
        self.take_network(network);
        self.state.bundles = self.bundles();
        let open = self.state.reading.as_ref().map(|reading| (reading.study.uid.clone(), reading.series_index));
        let place = open.and_then(|(uid, series)| {
            let study = self.state.library.studies.iter().position(|study| study.uid == uid)?;
            Some((study, series))
        });
        if let Some((study, series)) = place {
            let screen = self.state.screen;
            self.clear_desk();
            self.show_series(study, series);
            self.fill_grid();
            self.state.screen = if screen == Screen::Start { screen } else { self.state.screen };
        }
    }

    /// Puts a bundle in the place of the one in use.
    fn take_network(&mut self, mut network: Network) {
        self.jobs.abandon(JobKind::Attention);
        self.state.model = network.title();
        self.state.weights_sha256 = network.weights_sha256().to_owned();
        network.follow(std::mem::take(&mut self.state.network));
        self.state.network = network;
    }

    /// As [`Self::fit_bundle_to`] the series in view.
    pub(crate) fn fit_bundle_to_reading(&mut self) {
        let series = self.state.reading.as_ref().and_then(|reading| reading.series());
        if let Some(modality) = series.map(|series| series.modality.clone()) {
            self.fit_bundle_to(&modality);
        }
    }

    /// Where no bundle is chosen by hand, takes one that was made for series of a modality, if the one in use was not.
    pub(crate) fn fit_bundle_to(&mut self, modality: &str) {
        if !self.state.settings.model.is_empty() || self.state.network.is_intended_for(modality) {
            return;
        }
        let network = Network::find("", modality);
        if network.is_intended_for(modality) {
            self.jobs.abandon(JobKind::Analysis);
            self.jobs.abandon(JobKind::Explanation);
            self.take_network(network);
        }
    }

    /// Bundles that can be chosen, as (id or folder, title): those that come along, those of the project, and the one in use.
    pub(crate) fn bundles(&self) -> Vec<(String, String)> {
        let mut found: Vec<(String, String)> = std::iter::once((String::new(), "Automatic, by modality".to_owned()))
            .chain(bundle_ids().into_iter().map(|id| (id.clone(), id)))
            .collect();
        let mut folders: Vec<PathBuf> = Vec::new();
        if let Some(work) = &self.state.work {
            let entries = std::fs::read_dir(models(work.project.folder())).into_iter().flatten().flatten();
            folders.extend(entries.map(|entry| entry.path()));
        }
        folders.sort();
        let used = PathBuf::from(&self.state.settings.model);
        if used.is_dir() && !folders.contains(&used) {
            folders.push(used);
        }
        for folder in folders {
            if let Ok(metadata) = read_metadata(&folder) {
                found.push((folder.display().to_string(), format!("{} {}", metadata.id, metadata.version)));
            }
        }
        found
    }
}

/// Where a project keeps its bundles: the whole path, since it is remembered.
fn models(project: &Path) -> PathBuf {
    std::path::absolute(project).unwrap_or_else(|_| project.to_path_buf()).join("models")
}
