//! Two readers of a project compared, and the shapes of the other one beside one's own.

use bifocal_core::annotation::{Session, read_session};
use bifocal_core::project::{CaseAgreement, Comparison, ProjectError, compare};
use bifocal_core::study::{InstanceKey, SeriesUid};

use crate::app::{App, Outcome};
use crate::jobs::{JobError, JobKind};
use crate::state::Tone;

/// The panel of the comparison.
#[derive(Debug, Default)]
pub struct Comparing {
    /// Everyone who has read.
    pub readers: Vec<String>,
    /// The two who are compared.
    pub pair: [String; 2],
    /// What came of it, for these two.
    pub result: Option<Result<Comparison, String>>,
}

impl Comparing {
    /// Cases, those that agree least first.
    pub fn cases(&self) -> Vec<&CaseAgreement> {
        let Some(Ok(comparison)) = &self.result else { return Vec::new() };
        let mut cases: Vec<&CaseAgreement> = comparison.cases.iter().collect();
        cases.sort_by(|a, b| least(a).total_cmp(&least(b)));
        cases
    }
}

/// The least agreement over the labels of a case: Dice, 0 where only one has given the label, above 1 where there is nothing to compare.
fn least(case: &CaseAgreement) -> f64 {
    let of = case.labels.iter().map(|label| match (label.given, label.dice) {
        ([true, true], dice) => dice.unwrap_or(1.0),
        _ => 0.0,
    });
    of.reduce(f64::min).unwrap_or(2.0)
}

/// Another reader, whose shapes are drawn beside one's own.
#[derive(Debug)]
pub struct Beside {
    /// Who.
    pub reader: String,
    /// Whether they are drawn.
    pub shown: bool,
    /// What that reader drew on a series: the one that was looked up last.
    pub drawn: Option<(SeriesUid, Option<Session>)>,
}

impl Beside {
    /// What that reader drew on a series, where it is to be shown.
    pub fn on(&self, series: &SeriesUid) -> Option<&Session> {
        let (of, session) = self.drawn.as_ref().filter(|_| self.shown)?;
        session.as_ref().filter(|_| of == series)
    }
}

/// What is asked of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CompareCommand {
    /// Compares with another reader: the first or the second of the two.
    Reader(usize, String),
    /// Reads the journals again.
    Again,
    /// Opens a case, at the place where the two differ most.
    Jump(SeriesUid, Option<(InstanceKey, usize)>),
    /// Draws the shapes of this reader beside one's own.
    Beside(String),
    /// Draws the other reader's shapes, or no longer.
    Toggle,
}

impl App {
    pub(crate) fn compare(&mut self, command: CompareCommand) {
        match command {
            CompareCommand::Reader(which, name) => {
                if let Some(place) = self.state.comparing.pair.get_mut(which) {
                    *place = name;
                }
                self.begin_comparison();
            }
            CompareCommand::Again => self.begin_comparison(),
            CompareCommand::Jump(series, place) => self.go_to_case(&series, place),
            CompareCommand::Beside(reader) => self.lay_beside(reader),
            CompareCommand::Toggle => self.toggle_beside(),
        }
    }

    /// The panel was opened: the reader against the first of the others.
    pub(crate) fn open_comparison(&mut self) {
        let Some(work) = &self.state.work else { return };
        let readers = match work.project.readers() {
            Ok(readers) => readers,
            Err(error) => return self.toast(Tone::Error, error.to_string()),
        };
        let comparing = &mut self.state.comparing;
        let [first, second] = &comparing.pair;
        if !(readers.contains(first) && readers.contains(second) && first != second) {
            let other = readers.iter().find(|reader| **reader != work.reader).cloned();
            comparing.pair = [work.reader.clone(), other.unwrap_or_default()];
        }
        comparing.readers = readers;
        self.begin_comparison();
    }

    fn begin_comparison(&mut self) {
        let Some(work) = &self.state.work else { return };
        let comparing = &mut self.state.comparing;
        comparing.result = None;
        self.jobs.abandon(JobKind::Comparison);
        let pair = comparing.pair.clone();
        if pair[0] == pair[1] || pair.iter().any(String::is_empty) {
            return;
        }
        if let Some(other) = pair.iter().find(|reader| **reader != work.reader) {
            let shown = work.beside.as_ref().is_none_or(|beside| beside.shown);
            self.set_beside(other.clone(), shown);
        }
        let Some(work) = &self.state.work else { return };
        let (project, index) = (work.project.clone(), self.open_index());
        self.jobs.start(JobKind::Comparison, "Comparing readers", move |task| {
            let compared = compare(&project, [&pair[0], &pair[1]], &index, task);
            match compared {
                Ok(comparison) => Ok(Outcome::Compared(pair, Box::new(comparison))),
                Err(error) => Err(error.into()),
            }
        });
    }

    pub(crate) fn compared(&mut self, pair: &[String; 2], comparison: Comparison) {
        if self.state.comparing.pair == *pair {
            self.state.comparing.result = Some(Ok(comparison));
        }
    }

    /// A comparison that was cancelled, or that failed with a message.
    pub(crate) fn comparison_stopped(&mut self, failed: Option<String>) {
        let cause = failed.unwrap_or_else(|| "The comparison was cancelled.".to_owned());
        self.state.comparing.result = Some(Err(cause));
    }

    pub(crate) fn leave_comparison(&mut self) {
        self.jobs.abandon(JobKind::Comparison);
        self.state.comparing = Comparing::default();
    }

    /// Opens a series of the work list, at an image of it.
    pub(crate) fn go_to_case(&mut self, series: &SeriesUid, place: Option<(InstanceKey, usize)>) {
        let Some((study, index)) = self.state.place_of(series) else {
            self.toast(Tone::Warning, "The images of this series are not open.");
            return;
        };
        if self.open_series().as_ref() != Some(series) {
            self.show_series(study, index);
        }
        if let Some((instance, frame)) = place {
            self.go_to(&instance, frame);
        }
    }

    fn lay_beside(&mut self, reader: String) {
        let off = reader.is_empty() || self.state.work.as_ref().is_some_and(|work| work.reader == reader);
        if off {
            if let Some(work) = &mut self.state.work {
                work.beside = None;
            }
        } else {
            self.set_beside(reader, true);
        }
    }

    fn set_beside(&mut self, reader: String, shown: bool) {
        if let Some(work) = &mut self.state.work {
            work.beside = Some(Beside { reader, shown, drawn: None });
        }
        self.read_beside();
    }

    /// Turns the other reader's shapes on and off; the first time they are those of the first other reader.
    pub(crate) fn toggle_beside(&mut self) {
        let Some(work) = &mut self.state.work else {
            self.toast(Tone::Info, "Other readers are seen in a project: open one.");
            return;
        };
        match &mut work.beside {
            Some(beside) => {
                beside.shown = !beside.shown;
                // The other one may have gone on meanwhile.
                beside.drawn = None;
                self.read_beside();
            }
            None => {
                let others = work.project.readers().unwrap_or_default();
                let other = others.into_iter().find(|reader| *reader != work.reader);
                match other {
                    Some(other) => self.set_beside(other, true),
                    None => self.toast(Tone::Info, "Nobody else has read in this project."),
                }
            }
        }
    }

    /// Reads what the other reader drew on the open series.
    pub(crate) fn read_beside(&mut self) {
        let Some(series) = self.open_series() else { return };
        let Some(work) = &mut self.state.work else { return };
        let Some(beside) = work.beside.as_mut().filter(|beside| beside.shown) else { return };
        if beside.drawn.as_ref().is_some_and(|(of, _)| *of == series) {
            return;
        }
        let read = work.project.readings(&beside.reader).map_err(|error| error.to_string());
        let read = read.and_then(|folder| read_session(&folder, &series).map_err(|error| error.to_string()));
        match read {
            Ok(session) => beside.drawn = Some((series, session)),
            Err(error) => self.toast(Tone::Error, error),
        }
    }
}

impl From<ProjectError> for JobError {
    fn from(error: ProjectError) -> Self {
        match error {
            ProjectError::Cancelled(_) => Self::Cancelled,
            error => Self::failed(error),
        }
    }
}
