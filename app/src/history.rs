//! Who changed what and when: the panel that lists it, and the words for it.

use bifocal_core::annotation::{Act, Change, Decision, ShapeId, ShapeKind, Taxonomy, What};
use bifocal_core::project::{Case, CaseState, Deed, Entry, Told, history};
use bifocal_core::study::{InstanceKey, SeriesUid};

use crate::app::{App, Outcome};
use crate::jobs::JobKind;
use crate::project::ProjectPanel;
use crate::shape_commands::DrawCommand;
use crate::ui::text;

/// What an entry tells of: `Drew ellipse, Nodule`.
pub fn sentence(labels: &Taxonomy, told: &Told) -> String {
    match told {
        Told::Deed(deed) => deed_in_words(deed),
        Told::Step(step) => {
            let first = step.changes.first().map(|change| change_in_words(labels, change)).unwrap_or_default();
            let more = match step.changes.len() {
                0 | 1 => String::new(),
                all => format!(", and {} more", all - 1),
            };
            match step.act {
                Act::Done => text::sentence(&format!("{first}{more}")),
                Act::Undone => format!("Undo: {first}{more}"),
                Act::Redone => format!("Redo: {first}{more}"),
            }
        }
    }
}

fn change_in_words(labels: &Taxonomy, change: &Change) -> String {
    let name = |key: &str| labels.label(key).map_or_else(|| key.to_owned(), |label| label.name.clone());
    let of = change.label.as_deref().map(name);
    let label = of.as_ref().map(|name| format!(", {name}")).unwrap_or_default();
    let kind = |kind: ShapeKind| kind.name().to_lowercase();
    match &change.what {
        What::Drawn(shape) => format!("drew {}{label}", kind(*shape)),
        What::Changed(shape) => format!("changed {}{label}", kind(*shape)),
        What::Deleted(shape) => format!("deleted {}{label}", kind(*shape)),
        What::Relabelled(shape, before) => {
            let word = |label: Option<String>| label.unwrap_or_else(|| "no label".to_owned());
            format!("{}: {} instead of {}", kind(*shape), word(of), word(before.as_deref().map(name)))
        }
        What::Painted { added, removed: 0 } => format!("painted {}, {added} px", of.unwrap_or_default()),
        What::Painted { added: 0, removed } => format!("erased {removed} px of {}", of.unwrap_or_default()),
        What::Painted { added, removed } => {
            format!("painted {}, {added} px more and {removed} less", of.unwrap_or_default())
        }
        What::Reviewed(Decision::Accepted) => "accepted a finding".to_owned(),
        What::Reviewed(Decision::Rejected) => "rejected a finding".to_owned(),
        What::Reviewed(Decision::Open) => "left a finding open".to_owned(),
        What::KeyImage(true) => "picked a key image".to_owned(),
        What::KeyImage(false) => "took a key image out".to_owned(),
        What::Impression => "wrote the impression".to_owned(),
        What::Calibrated(true) => "calibrated the image".to_owned(),
        What::Calibrated(false) => "took the calibration back".to_owned(),
    }
}

fn deed_in_words(deed: &Deed) -> String {
    match deed {
        Deed::Case { from, to, .. } => case_in_words(from, to),
        Deed::Added { paths } => {
            let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("Added {}", names.join(", "))
        }
        Deed::Removed { study } => format!("Took study {study} out"),
        Deed::PutBack { study } => format!("Put study {study} back"),
        Deed::Labels => "Changed the labels of the project".to_owned(),
        Deed::Renamed { from } => format!("Was called {from} before"),
        Deed::Imported { file, annotations } => {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            format!("Imported {annotations} annotations from {name}")
        }
        Deed::Exported { format, folder } => format!("Exported {format} to {}", folder.display()),
    }
}

fn case_in_words(from: &Case, to: &Case) -> String {
    let state = match to.state {
        CaseState::New => "Set back to new",
        CaseState::InProgress => "In progress",
        CaseState::Done => "Done",
    };
    let mut parts = Vec::new();
    if from.state != to.state {
        parts.push(state.to_owned());
    }
    if from.flagged != to.flagged {
        parts.push(if to.flagged { "Set aside" } else { "No longer set aside" }.to_owned());
    }
    if from.note != to.note {
        parts.push(if to.note.is_empty() { "Note deleted".to_owned() } else { format!("Note: {}", to.note) });
    }
    parts.join(", ")
}

/// The panel of the history.
#[derive(Debug, Default)]
pub struct History {
    /// Of the whole project, not of the open series alone.
    pub whole: bool,
    /// Only entries with all these words are listed.
    pub search: String,
    /// Everything that was done, the latest first, once it was read; why it could not be.
    pub entries: Option<Result<Vec<Entry>, String>>,
    /// What could not be read.
    pub problems: Vec<String>,
    /// Something was done since.
    pub stale: bool,
}

impl History {
    /// The entries that are listed.
    pub fn listed<'a>(&'a self, series: Option<&SeriesUid>, labels: &Taxonomy) -> Vec<&'a Entry> {
        let Some(Ok(entries)) = &self.entries else { return Vec::new() };
        let words: Vec<String> = self.search.split_whitespace().map(str::to_lowercase).collect();
        let of_series = |entry: &Entry| self.whole || (series.is_some() && entry.series.as_ref() == series);
        let matches = |entry: &Entry| {
            let text = || format!("{} {}", entry.reader, sentence(labels, &entry.told)).to_lowercase();
            words.is_empty() || {
                let text = text();
                words.iter().all(|word| text.contains(word))
            }
        };
        entries.iter().filter(|entry| of_series(entry) && matches(entry)).collect()
    }
}

/// What is asked of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryCommand {
    /// Of the whole project, or of the open series.
    Whole(bool),
    /// Only what contains these words.
    Search(String),
    /// Opens what an entry tells of: the series, an image of it, a shape on it.
    Jump(SeriesUid, Option<(InstanceKey, usize)>, Option<ShapeId>),
}

impl App {
    pub(crate) fn history(&mut self, command: HistoryCommand) {
        match command {
            HistoryCommand::Whole(whole) => self.state.history.whole = whole,
            HistoryCommand::Search(text) => self.state.history.search = text,
            HistoryCommand::Jump(series, place, shape) => {
                self.go_to_case(&series, place);
                // Another reader's shape, or one that is gone, cannot be selected.
                let there = shape.filter(|id| self.state.session().is_some_and(|s| s.shapes.contains_key(id)));
                if let Some(id) = there {
                    self.draw(DrawCommand::Jump(id));
                }
            }
        }
    }

    pub(crate) fn open_history(&mut self) {
        let Some(work) = &self.state.work else { return };
        let project = work.project.clone();
        self.state.history.stale = false;
        self.jobs.start(JobKind::History, "Reading journals", move |task| {
            let (entries, problems) = history(&project, task)?;
            Ok(Outcome::Told(entries, problems))
        });
    }

    pub(crate) fn told(&mut self, entries: Vec<Entry>, problems: Vec<String>) {
        self.state.history.entries = Some(Ok(entries));
        self.state.history.problems = problems;
    }

    pub(crate) fn history_failed(&mut self, cause: String) {
        self.state.history.entries = Some(Err(cause));
    }

    pub(crate) fn leave_history(&mut self) {
        self.jobs.abandon(JobKind::History);
        self.state.history = History::default();
    }

    /// Each frame: what was done meanwhile is read, while somebody looks.
    pub(crate) fn tend_history(&mut self) {
        let looked_at = self.state.panel == Some(ProjectPanel::History);
        if looked_at && self.state.history.stale && !self.jobs.is_running(JobKind::History) {
            self.open_history();
        }
    }
}
