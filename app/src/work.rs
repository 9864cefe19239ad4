//! The project that is open: whose work list it is, and how far each series is.

use bifocal_core::project::{Case, CaseState, Project, ProjectError, WorkList};
use bifocal_core::study::{SeriesUid, Study};
use std::sync::Arc;

use crate::app::App;
use crate::state::Tone;

/// A project in one reader's hands.
#[derive(Debug)]
pub struct Work {
    /// The project.
    pub project: Project,
    /// The reader.
    pub reader: String,
    /// The reader's work list.
    pub cases: WorkList,
}

impl Work {
    /// Takes up `reader`'s work in a project.
    ///
    /// # Errors
    /// Where the reader's name cannot be one, or the work list cannot be read.
    pub fn new(project: Project, reader: &str) -> Result<Self, ProjectError> {
        let cases = project.work_list(reader)?;
        Ok(Self { project, reader: reader.to_owned(), cases })
    }

    /// A series in the work list.
    pub fn case(&self, series: &SeriesUid) -> Case {
        self.cases.get(series).cloned().unwrap_or_default()
    }

    /// Series that are done, and all with images.
    pub fn done_of(&self, studies: &[Arc<Study>]) -> (usize, usize) {
        let all = studies.iter().flat_map(|study| &study.series).filter(|series| series.frame_count() > 0);
        all.fold((0, 0), |(done, all), series| {
            (done + usize::from(self.case(&series.reading_uid()).state == CaseState::Done), all + 1)
        })
    }
}

/// What is asked of the work list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkCommand {
    /// Says how far the open series is.
    State(CaseState),
    /// Sets the open series aside, or no longer.
    Flag(bool),
    /// Opens the next series that is not done.
    Next,
}

impl App {
    /// Takes up a project: its images, its labels, and the reader's sessions in place of those beside the settings.
    pub fn take_up(&mut self, work: Work) {
        let sources = work.project.sources();
        let labels = work.project.labels().clone();
        self.state.work = Some(work);
        self.take_labels(labels);
        self.state.bundles = self.bundles();
        self.open(sources);
    }

    /// Leaves the project: what is opened next is no part of it.
    pub(crate) fn leave_project(&mut self) {
        if self.state.work.take().is_some() {
            self.leave_tuning();
            self.load_labels(false);
        }
    }

    pub(crate) fn work(&mut self, command: WorkCommand) {
        match command {
            WorkCommand::State(state) => self.set_case(|case| case.state = state),
            WorkCommand::Flag(flagged) => self.set_case(|case| case.flagged = flagged),
            WorkCommand::Next => self.next_case(),
        }
    }

    /// A series that is opened is begun.
    pub(crate) fn begin_case(&mut self) {
        let (Some(work), Some(series)) = (&self.state.work, self.open_series()) else { return };
        if work.case(&series).state == CaseState::New {
            self.set_case(|case| case.state = CaseState::InProgress);
        }
    }

    fn open_series(&self) -> Option<SeriesUid> {
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
        self.gather_cases();
    }

    fn next_case(&mut self) {
        let Some(work) = &self.state.work else { return };
        let places: Vec<(usize, usize, bool)> = (self.state.library.studies.iter().enumerate())
            .flat_map(|(study, entry)| {
                entry.series.iter().enumerate().map(move |(index, series)| (study, index, series))
            })
            .filter(|(.., series)| series.frame_count() > 0)
            .map(|(study, index, series)| (study, index, work.case(&series.reading_uid()).state == CaseState::Done))
            .collect();
        let reading = self.state.reading.as_ref();
        let here = places.iter().position(|(study, index, _)| {
            reading.is_some_and(|reading| {
                reading.series_index == *index
                    && self.state.library.studies.get(*study).is_some_and(|entry| entry.uid == reading.study.uid)
            })
        });
        let after = here.map_or(0, |here| here + 1);
        // Round once, back to where it began.
        let next = places.iter().cycle().skip(after).take(places.len()).find(|(.., done)| !done);
        match next {
            Some((study, series, _)) if Some((*study, *series)) != here.map(|at| (places[at].0, places[at].1)) => {
                self.show_series(*study, *series);
            }
            Some(_) => self.toast(Tone::Info, "This is the last series that is not done.".to_owned()),
            None => self.toast(Tone::Info, "All series are done.".to_owned()),
        }
    }
}
