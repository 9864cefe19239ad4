//! The project that is open: whose work list it is, how far each series is, which of them are listed, and what is next.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bifocal_core::annotation::Session;
use bifocal_core::project::{Case, CaseState, Project, ProjectError, WorkList};
use bifocal_core::study::{Series, SeriesUid, Study};

use crate::app::App;
use crate::compare::Beside;
use crate::keymap::Action;
use crate::listing::{Listed, name_heads};
use crate::project::{ProjectCommand, ProjectPanel};
use crate::state::{Reading, State, Tone};

/// A project in one reader's hands.
#[derive(Debug)]
pub struct Work {
    /// The project.
    pub project: Project,
    /// The reader.
    pub reader: String,
    /// The reader's work list.
    pub cases: WorkList,
    /// Which series are listed.
    pub filter: Filter,
    /// Studies that were taken out of it.
    pub left_out: Vec<Study>,
    /// Another reader, whose shapes are drawn beside one's own.
    pub beside: Option<Beside>,
}

/// Which series of the work list are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Filter {
    /// All.
    #[default]
    All,
    /// Those that are so far.
    State(CaseState),
    /// Those that are set aside.
    Flagged,
}

impl Filter {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::All,
        Self::State(CaseState::New),
        Self::State(CaseState::InProgress),
        Self::State(CaseState::Done),
        Self::Flagged,
    ];

    /// Whether a case is shown.
    pub fn shows(self, case: &Case) -> bool {
        match self {
            Self::All => true,
            Self::State(state) => case.state == state,
            Self::Flagged => case.flagged,
        }
    }
}

impl Work {
    /// Takes up `reader`'s work in a project.
    ///
    /// # Errors
    /// Where the reader's name cannot be one, or the work list cannot be read.
    pub fn new(project: Project, reader: &str) -> Result<Self, ProjectError> {
        let cases = project.work_list(reader)?;
        let (filter, left_out) = (Filter::default(), Vec::new());
        Ok(Self { project, reader: reader.to_owned(), cases, filter, left_out, beside: None })
    }

    /// A series in the work list.
    pub fn case(&self, series: &SeriesUid) -> Case {
        self.cases.get(series).cloned().unwrap_or_default()
    }

    /// How many series with images each filter shows.
    pub fn counts(&self, studies: &[Arc<Study>]) -> [usize; Filter::ALL.len()] {
        let all = studies.iter().flat_map(|study| &study.series).filter(|series| series.frame_count() > 0);
        let new = Case::default();
        let mut counts = [0; Filter::ALL.len()];
        for series in all {
            let case = self.cases.get(&series.reading_uid()).unwrap_or(&new);
            for (count, filter) in counts.iter_mut().zip(Filter::ALL) {
                *count += usize::from(filter.shows(case));
            }
        }
        counts
    }
}

/// What is asked of the work list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkCommand {
    /// Says how far the open series is.
    State(CaseState),
    /// Says that the open series is done, and opens the next one.
    DoneAndNext,
    /// Sets the open series aside, or no longer.
    Flag(bool),
    /// Notes something about the open series.
    Note(String),
    /// Lists other series.
    Filter(Filter),
    /// Opens the next series that is not done; where a filter is set, the next that it shows.
    Next,
    /// As [`WorkCommand::Next`], backwards.
    Previous,
}

impl State {
    /// The studies and series of the list on the left: those that match the search, and of a project those that its filter shows. The open series
    /// stays in sight.
    pub fn listed(&self) -> Rc<Vec<Listed>> {
        let studies = &self.library.studies;
        let all = self.library.listed(&self.browser);
        let Some(work) = self.work.as_ref().filter(|work| work.filter != Filter::All) else { return all };
        let mut list = all.to_vec();
        for item in &mut list {
            let Some(study) = studies.get(item.study) else { continue };
            item.series.retain(|index| {
                let shown =
                    |series: &Series| series.frame_count() > 0 && work.filter.shows(&work.case(&series.reading_uid()));
                study.series.get(*index).is_some_and(shown) || self.is_open(study, *index)
            });
        }
        list.retain(|item| !item.series.is_empty());
        name_heads(&mut list, studies);
        Rc::new(list)
    }

    fn is_open(&self, study: &Study, series: usize) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.series_index == series && reading.study.uid == study.uid)
    }

    /// The other reader who is laid beside, and what they drew on the series, where that is to be shown.
    pub fn beside(&self, reading: &Reading) -> Option<(&str, &Session)> {
        let beside = self.work.as_ref()?.beside.as_ref()?;
        Some((&beside.reader, beside.on(&reading.series()?.reading_uid())?))
    }

    /// Places of all series among the open studies: (study, series).
    pub fn places(&self) -> HashMap<SeriesUid, (usize, usize)> {
        let studies = self.library.studies.iter().enumerate();
        let of = studies.flat_map(|(study, entry)| {
            entry.series.iter().enumerate().map(move |(index, series)| (series.reading_uid(), (study, index)))
        });
        of.collect()
    }

    /// Place of a series among the open studies: (study, series).
    pub fn place_of(&self, uid: &SeriesUid) -> Option<(usize, usize)> {
        self.library.studies.iter().enumerate().find_map(|(study, entry)| {
            Some((study, entry.series.iter().position(|series| series.reading_uid() == *uid)?))
        })
    }

    /// The case that comes after the open one in the order of the list (before it, going backwards): that is not done, or that the filter shows.
    /// Round once; `None` where there is no other.
    pub fn next_case(&self, backwards: bool) -> Option<(usize, usize)> {
        let work = self.work.as_ref()?;
        let studies = &self.library.studies;
        let mut order: Vec<(usize, usize)> = self
            .library
            .listed(&self.browser)
            .iter()
            .flat_map(|item| item.series.iter().map(move |series| (item.study, *series)))
            .collect();
        if backwards {
            order.reverse();
        }
        let open = |(study, series): &(usize, usize)| studies.get(*study).is_some_and(|s| self.is_open(s, *series));
        let here = order.iter().position(open);
        let wanted = |(study, series): &&(usize, usize)| {
            let series = studies.get(*study).and_then(|entry| entry.series.get(*series));
            series.filter(|series| series.frame_count() > 0).is_some_and(|series| {
                let case = work.case(&series.reading_uid());
                match work.filter {
                    Filter::All => case.state != CaseState::Done,
                    filter => filter.shows(&case),
                }
            })
        };
        let after = here.map_or(0, |here| here + 1);
        order.iter().cycle().skip(after).take(order.len()).find(|place| wanted(place) && !open(place)).copied()
    }
}

impl App {
    /// Carries out an action of the key map that is about a project.
    pub(crate) fn act_on_project(&mut self, action: Action) {
        let Some(work) = &self.state.work else {
            self.toast(Tone::Info, "That belongs to a project: open or make one on the start screen.");
            return;
        };
        let panel = |panel| ProjectCommand::Panel(panel);
        match action {
            Action::NextCase => self.work(WorkCommand::Next),
            Action::PreviousCase => self.work(WorkCommand::Previous),
            Action::CaseDone => self.work(WorkCommand::DoneAndNext),
            Action::CaseFlag => {
                let flagged = self.open_series().is_some_and(|series| work.case(&series).flagged);
                self.work(WorkCommand::Flag(!flagged));
            }
            Action::OtherReader => self.toggle_beside(),
            Action::CompareReaders => self.project(panel(ProjectPanel::Comparison)),
            Action::History => self.project(panel(ProjectPanel::History)),
            Action::ExportProject => self.project(panel(ProjectPanel::Export)),
            Action::ImportProject => self.project(panel(ProjectPanel::Import)),
            Action::FineTune => self.project(panel(ProjectPanel::Tuning)),
            _ => {}
        }
    }

    /// Takes up a project: its images, its labels, and the reader's sessions in place of those beside the settings.
    pub fn take_up(&mut self, work: Work) {
        self.text_done();
        self.leave_project();
        let labels = work.project.labels().clone();
        self.state.settings.reader.clone_from(&work.reader);
        self.state.work = Some(work);
        self.take_labels(labels);
        self.state.bundles = self.bundles();
        self.index_project();
    }

    /// Leaves the project: what is opened next is no part of it.
    pub(crate) fn leave_project(&mut self) {
        if self.state.work.take().is_some() {
            self.show_panel(None);
            self.leave_tuning();
            self.leave_comparison();
            self.leave_history();
            self.leave_exchange();
            self.load_labels(false);
        }
    }

    pub(crate) fn work(&mut self, command: WorkCommand) {
        match command {
            WorkCommand::State(state) => self.set_case(|case| case.state = state),
            WorkCommand::Flag(flagged) => self.set_case(|case| case.flagged = flagged),
            WorkCommand::Note(note) => self.set_case(|case| note.trim().clone_into(&mut case.note)),
            WorkCommand::DoneAndNext => {
                self.set_case(|case| case.state = CaseState::Done);
                self.step_case(false);
            }
            WorkCommand::Filter(filter) => {
                if let Some(work) = &mut self.state.work {
                    work.filter = filter;
                }
            }
            WorkCommand::Next => self.step_case(false),
            WorkCommand::Previous => self.step_case(true),
        }
    }

    /// A series that is opened is begun.
    pub(crate) fn begin_case(&mut self) {
        let (Some(work), Some(series)) = (&self.state.work, self.open_series()) else { return };
        if work.case(&series).state == CaseState::New {
            self.set_case(|case| case.state = CaseState::InProgress);
        }
    }

    pub(crate) fn open_series(&self) -> Option<SeriesUid> {
        Some(self.state.reading.as_ref()?.series()?.reading_uid())
    }

    fn set_case(&mut self, change: impl FnOnce(&mut Case)) {
        let Some(series) = self.open_series() else { return };
        let Some(work) = &mut self.state.work else { return };
        let mut case = work.case(&series);
        change(&mut case);
        let kept = work.project.set_case(&work.reader, &series, case.clone());
        work.cases.insert(series, case);
        if let Err(error) = kept {
            self.toast(Tone::Error, format!("The work list could not be kept: {error}"));
        }
        self.state.history.stale = true;
        if self.state.panel == Some(ProjectPanel::Tuning) {
            self.gather_cases();
        }
    }

    fn step_case(&mut self, backwards: bool) {
        let Some(work) = &self.state.work else { return };
        if let Some((study, series)) = self.state.next_case(backwards) {
            self.show_series(study, series);
            return;
        }
        let filter = work.filter;
        let open_is_left = self.open_series().is_some_and(|series| work.case(&series).state != CaseState::Done);
        let text = match filter {
            Filter::All if open_is_left => "This is the last series that is not done.",
            Filter::All => "All series are done.",
            _ => "The filter shows no other series.",
        };
        self.toast(Tone::Info, text);
    }
}
