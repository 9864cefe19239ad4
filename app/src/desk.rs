//! How the middle of the reading screen is divided: two lenses, planes of a volume, or a grid of viewports.
//!
//! The viewport that keys act on is always [`crate::state::State::reading`]; the others of a grid are parked here and change
//! places with it when they are activated, each with its own document. Of two viewports on one series the active one has the
//! document, the other one a copy to look at.

use std::sync::Arc;

use bifocal_core::study::{Series, SeriesUid, Study};
use bifocal_core::volume::{Plane, PlaneKind, Slab, Volume, VolumeError};
use serde::{Deserialize, Serialize};

use crate::app::{App, Outcome};
use crate::command::Command;
use crate::document::ReadingDocument;
use crate::fusion::FusionCommand;
use crate::images::{FrameKey, LoadedFrame};
use crate::jobs::{JobError, JobKind};
use crate::keymap::{self, Action};
use crate::linked;
use crate::planes::{Carried, PlaneEdit, Planes};
use crate::state::{Reading, Screen, State, Tone};

/// How the middle of the reading screen is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// The two lenses on one series.
    #[default]
    Lenses,
    /// Axial, coronal and sagittal plane of one series.
    Planes,
    /// Viewports, each with its own series.
    Grid {
        /// From 1 to [`MOST_ROWS`].
        rows: u8,
        /// From 1 to [`MOST_ROWS`].
        columns: u8,
    },
}

/// Rows and columns of a grid are at most so many.
pub const MOST_ROWS: u8 = 3;

impl Layout {
    /// Within what is possible, whatever a file of settings says.
    #[must_use]
    pub fn checked(self) -> Self {
        match self {
            Self::Grid { rows, columns } => {
                Self::Grid { rows: rows.clamp(1, MOST_ROWS), columns: columns.clamp(1, MOST_ROWS) }
            }
            other => other,
        }
    }

    /// Number of viewports of a grid; 1 for the others.
    pub fn viewports(self) -> usize {
        match self {
            Self::Grid { rows, columns } => usize::from(rows) * usize::from(columns),
            Self::Lenses | Self::Planes => 1,
        }
    }
}

/// What the viewports of a grid do together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Links {
    /// Scrolling: to the same place, or by the same distance where the frames of reference differ.
    pub scroll: bool,
    /// Zoom and pan.
    pub zoom: bool,
    /// Window, among series of one modality.
    pub window: bool,
    /// The active viewport's slice is drawn as a line in the others.
    pub lines: bool,
}

impl Default for Links {
    fn default() -> Self {
        Self { scroll: true, zoom: false, window: false, lines: true }
    }
}

/// The volume that planes are cut out of.
#[derive(Default)]
pub enum VolumeState {
    /// Nothing has been asked for.
    #[default]
    None,
    /// Being decoded.
    Building,
    /// Ready.
    Ready(Box<Planes>),
    /// The series makes no volume, and why.
    Failed(String),
}

/// What the desk holds beside the active reading.
#[derive(Default)]
pub struct Desk {
    /// The viewports of a grid; `None` for the active one, whose reading is the state's, and where nothing is shown.
    pub panes: Vec<Option<Reading>>,
    /// The active one.
    pub active: usize,
    /// Whether it has all the room.
    pub maximised: bool,
    /// The series whose volume is meant.
    pub volume_of: Option<SeriesUid>,
    /// Its volume.
    pub volume: VolumeState,
    /// The slab that a layout asks for, until the planes are there.
    pub(crate) wanted_slab: Option<Slab>,
    /// How the planes of the series before were placed.
    carried: Option<Carried>,
    /// For each viewport the way that scrolling along owes it, mm.
    pub(crate) owed: Vec<f64>,
}

impl Desk {
    /// The planes, where they are ready.
    pub fn planes(&self) -> Option<&Planes> {
        match &self.volume {
            VolumeState::Ready(planes) => Some(planes),
            _ => None,
        }
    }
}

/// What is asked of the desk.
#[derive(Debug, Clone, PartialEq)]
pub enum DeskCommand {
    /// Divides the middle of the screen otherwise.
    Layout(Layout),
    /// Makes a viewport the active one.
    Activate(usize),
    /// Gives a viewport all the room, or each its own again.
    Maximise(usize),
    /// Shows a series in a viewport.
    Show {
        /// The viewport.
        pane: usize,
        /// Index of the study.
        study: usize,
        /// Index of the series in it.
        series: usize,
    },
    /// Carries a command out on a viewport that need not be the active one.
    In(usize, Box<Command>),
    /// What the viewports do together.
    Links(Links),
    /// Moves the planes.
    Planes(PlaneEdit),
    /// Tries again to make a volume.
    BuildAgain,
}

/// A series that is dragged from the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DraggedSeries {
    /// Index of the study.
    pub study: usize,
    /// Index of the series in it.
    pub series: usize,
}

impl App {
    /// Carries out what is asked of the desk.
    pub(crate) fn desk(&mut self, command: DeskCommand) {
        match command {
            DeskCommand::Layout(layout) => self.set_layout(layout),
            DeskCommand::Activate(pane) => {
                if pane != self.state.desk.active {
                    self.put_drawing_down();
                }
                self.activate_pane(pane);
                self.fit_bundle_to_reading();
            }
            DeskCommand::Maximise(pane) => {
                self.activate_pane(pane);
                self.fit_bundle_to_reading();
                self.state.desk.maximised = !self.state.desk.maximised;
            }
            DeskCommand::Show { pane, study, series } => {
                self.activate_pane(pane);
                self.show_series(study, series);
            }
            DeskCommand::In(pane, command) => {
                let before = self.state.desk.active;
                self.activate_pane(pane);
                self.perform(*command);
                self.activate_pane(before);
            }
            DeskCommand::Links(links) => {
                self.state.settings.links = links;
                self.state.desk.owed.clear();
            }
            DeskCommand::Planes(edit) => {
                if let VolumeState::Ready(planes) = &mut self.state.desk.volume {
                    planes.apply(edit);
                }
            }
            DeskCommand::BuildAgain => self.state.desk.volume_of = None,
        }
    }

    pub(crate) fn set_layout(&mut self, layout: Layout) {
        self.divide(layout);
        self.fill_grid();
    }

    /// Divides the middle of the screen; new viewports of a grid are empty.
    pub(crate) fn divide(&mut self, layout: Layout) {
        let layout = layout.checked();
        if self.state.settings.layout == Layout::Planes && layout != Layout::Planes {
            self.go_to_crosshair();
        }
        self.state.settings.layout = layout;
        self.state.desk.maximised = false;
        self.state.desk.owed.clear();
        self.fit_grid();
    }

    /// As many places as the grid has.
    pub(crate) fn fit_grid(&mut self) {
        let count = self.state.settings.layout.viewports();
        if !matches!(self.state.settings.layout, Layout::Grid { .. }) {
            return;
        }
        let desk = &mut self.state.desk;
        desk.panes.resize_with(count, || None);
        if desk.active >= count {
            desk.active = 0;
            desk.panes[0] = None;
        }
    }

    /// Shows the next series of the study in empty viewports, then those of the patient's other studies, each once.
    pub(crate) fn fill_grid(&mut self) {
        let State { reading: Some(reading), desk, library, settings, .. } = &mut self.state else { return };
        let Layout::Grid { .. } = settings.layout else { return };
        let of_patient = library.studies.iter().filter(|study| study.patient == reading.study.patient);
        let all: Vec<(&Arc<Study>, usize)> = of_patient
            .flat_map(|study| (0..study.series.len()).map(move |series| (study, series)))
            .filter(|(study, series)| study.series[*series].frame_count() > 0)
            .collect();
        let is_shown = |(study, series): &(&Arc<Study>, usize), reading: &Reading| {
            reading.study.uid == study.uid && reading.series_index == *series
        };
        let after = all.iter().position(|item| is_shown(item, reading)).map_or(0, |place| place + 1);
        let shown: Vec<bool> = all
            .iter()
            .map(|item| is_shown(item, reading) || desk.panes.iter().flatten().any(|parked| is_shown(item, parked)))
            .collect();
        let places = (0..all.len()).map(|index| (after + index) % all.len());
        let mut rest = places.filter(|place| !shown[*place]).map(|place| all[place]);
        for (index, pane) in desk.panes.iter_mut().enumerate() {
            if index != desk.active && pane.is_none() {
                let Some((study, series)) = rest.next() else { return };
                *pane = Reading::new(Arc::clone(study), series);
                if let Some(reading) = pane {
                    // The document is opened when the viewport is activated.
                    reading.document_is_copy = true;
                }
            }
        }
    }

    /// Forgets the parked readings: their files are closed.
    pub(crate) fn clear_desk(&mut self) {
        self.state.desk = Desk::default();
        self.fusion(FusionCommand::Remove);
        self.reformatter.forget();
        self.fit_grid();
    }

    /// Makes a viewport of the grid the one that keys act on.
    pub(crate) fn activate_pane(&mut self, pane: usize) {
        let desk = &mut self.state.desk;
        if pane == desk.active || pane >= desk.panes.len() {
            return;
        }
        let before = desk.active;
        desk.panes[before] = self.state.reading.take();
        self.state.reading = desk.panes[pane].take();
        desk.active = pane;
        self.fetch_document();
    }

    /// Closes the files of all documents; copies to look at stay. [`Self::fetch_document`] opens that of the active reading again.
    pub(crate) fn close_documents(&mut self) {
        let parked = self.state.desk.panes.iter_mut().flatten();
        for reading in parked.chain(&mut self.state.reading).filter(|reading| !reading.document_is_copy) {
            reading.document = reading.document.copy();
            reading.document_is_copy = true;
        }
    }

    /// Sees to it that the active reading has the document of its series itself.
    pub(crate) fn fetch_document(&mut self) {
        let Some(reading) = &mut self.state.reading else { return };
        if !reading.document_is_copy {
            return;
        }
        let Some(uid) = reading.series().map(|series| series.reading_uid()) else { return };
        reading.document_is_copy = false;
        let holder =
            self.state.desk.panes.iter_mut().flatten().find(|other| {
                !other.document_is_copy && other.series().is_some_and(|series| series.reading_uid() == uid)
            });
        match holder {
            Some(other) => {
                std::mem::swap(&mut other.document, &mut reading.document);
                other.document_is_copy = true;
            }
            None => {
                let (document, message) = self.open_document(&uid);
                if let Some(reading) = &mut self.state.reading {
                    reading.document = document;
                }
                if let Some(message) = message {
                    self.toast(Tone::Warning, message);
                }
            }
        }
    }

    /// The document of a series that is going to be read in the active viewport: that of another viewport, else from disk.
    pub(crate) fn document_for(&mut self, uid: &SeriesUid) -> (ReadingDocument, Option<String>) {
        let mut readings = self.state.desk.panes.iter_mut().chain(std::iter::once(&mut self.state.reading)).flatten();
        let holder = readings
            .find(|other| !other.document_is_copy && other.series().is_some_and(|series| series.reading_uid() == *uid));
        match holder {
            Some(other) => {
                other.document_is_copy = true;
                let copy = other.document.copy();
                (std::mem::replace(&mut other.document, copy), None)
            }
            None => self.open_document(uid),
        }
    }

    /// Each frame: copies of the active document follow it, and the volume is asked for.
    pub(crate) fn tend_desk(&mut self) {
        let state = &mut self.state;
        if let Some(reading) = &state.reading
            && !state.desk.panes.is_empty()
        {
            let uid = reading.series().map(|series| series.reading_uid());
            for other in state.desk.panes.iter_mut().flatten().filter(|other| other.document_is_copy) {
                let same = other.series().map(|series| series.reading_uid()) == uid;
                if same && other.document.session() != reading.document.session() {
                    other.document = reading.document.copy();
                }
            }
        }
        self.tend_volume();
    }

    fn tend_volume(&mut self) {
        let Some(reading) = &self.state.reading else { return };
        let Some(uid) = reading.series().map(Series::reading_uid) else { return };
        if self.state.desk.volume_of.as_ref() == Some(&uid) {
            return;
        }
        // The volume of the series before is not held beside this one.
        if self.state.desk.volume_of.take().is_some() {
            self.jobs.abandon(JobKind::Volume);
            self.reformatter.forget();
            if let VolumeState::Ready(planes) = std::mem::take(&mut self.state.desk.volume) {
                self.state.desk.carried = Some(planes.carried());
            }
        }
        if self.state.settings.layout != Layout::Planes {
            return;
        }
        let (study, series_index) = (Arc::clone(&reading.study), reading.series_index);
        let position = reading.view.position;
        let analysed = reading.series().and_then(|series| self.state.analysed_volume(series)).cloned();
        let held = analysed.filter(|volume| volume.slice_at(position).is_some());
        self.state.desk.volume_of = Some(uid);
        self.state.desk.volume = VolumeState::Building;
        self.jobs.start(JobKind::Volume, "Building the volume", move |task| {
            let series = study.series.get(series_index).ok_or(JobError::Cancelled)?;
            let build = || Volume::build(series, position, task).map(|volume| Arc::new(volume.in_usual_units()));
            let volume = held.map_or_else(build, Ok).map_err(|error| match error {
                VolumeError::Cancelled(_) => JobError::Cancelled,
                other => JobError::failed(other),
            })?;
            let sample = middle_slice(&volume)
                .ok_or_else(|| JobError::Failed("its slices lie outside of their own volume".to_owned()))?;
            Ok(Outcome::Volume(volume, Arc::new(sample)))
        });
    }

    /// The volume is there.
    pub(crate) fn volume_built(&mut self, volume: Arc<Volume>, sample: Arc<LoadedFrame>) {
        let in_view = self.state.reading.as_ref().and_then(|reading| {
            let series = reading.series().filter(|series| Some(series.reading_uid()) == self.state.desk.volume_of)?;
            linked::plane_at(series, reading.view.position)
        });
        let near = in_view.map_or_else(|| volume.grid.center(), |plane| plane.position);
        // Where the network has read the series meanwhile, its volume is enough.
        let series = self.state.reading.as_ref().and_then(Reading::series);
        let analysed = series.and_then(|series| self.state.analysed_volume(series)).cloned();
        let volume =
            analysed.filter(|held| held.places == volume.places && held.rescale == volume.rescale).unwrap_or(volume);
        let mut planes = Planes::new(volume, sample, near);
        if let Some(carried) = self.state.desk.carried.take() {
            planes.take_over(carried);
        }
        self.state.desk.volume = VolumeState::Ready(Box::new(planes));
        self.take_wanted_slab();
    }

    /// The series makes no volume.
    pub(crate) fn volume_failed(&mut self, cause: &str) {
        self.state.desk.volume = VolumeState::Failed(cause.to_owned());
    }

    /// On leaving the planes the images go to where the crosshair was.
    fn go_to_crosshair(&mut self) {
        let Some(point) = self.state.desk.planes().map(|planes| planes.crosshair) else { return };
        let Some(reading) = &mut self.state.reading else { return };
        let of_this = self.state.desk.volume_of == reading.series().map(|series| series.reading_uid());
        let nearest = reading.series().and_then(|series| linked::nearest(series, reading.view.position, point));
        if let Some(position) = nearest.filter(|_| of_this) {
            reading.view.position = position;
        }
    }

    /// Actions that mean something else while planes or a grid are shown; returns whether this was one.
    pub(crate) fn act_on_desk(&mut self, action: Action) -> bool {
        if self.state.report.is_some() || self.state.screen != Screen::Reading {
            return false;
        }
        match action {
            Action::Planes => {
                let layout = match self.state.settings.layout {
                    Layout::Planes => Layout::Lenses,
                    _ => Layout::Planes,
                };
                self.set_layout(layout);
                return true;
            }
            Action::Lenses => {
                self.set_layout(Layout::Lenses);
                return true;
            }
            _ => {}
        }
        match self.state.settings.layout {
            Layout::Planes => self.act_on_planes(action),
            Layout::Grid { .. } => self.act_on_grid(action),
            Layout::Lenses => false,
        }
    }

    fn act_on_planes(&mut self, action: Action) -> bool {
        let VolumeState::Ready(planes) = &mut self.state.desk.volume else { return false };
        let pane = planes.active;
        let slab = |mm: f64| {
            let thickness_mm = (planes.slab.thickness_mm + mm).max(0.0);
            PlaneEdit::Slab(Slab { thickness_mm, ..planes.slab })
        };
        let edit = match action {
            Action::NextImage => PlaneEdit::Scroll { pane, steps: 1 },
            Action::PreviousImage => PlaneEdit::Scroll { pane, steps: -1 },
            Action::NextTenImages => PlaneEdit::Scroll { pane, steps: 10 },
            Action::PreviousTenImages => PlaneEdit::Scroll { pane, steps: -10 },
            Action::FirstImage => PlaneEdit::End { last: false },
            Action::LastImage => PlaneEdit::End { last: true },
            Action::Maximise => PlaneEdit::ToggleMaximise(pane),
            Action::Crosshair => PlaneEdit::ToggleLines,
            Action::SlabThicker => slab(1.0),
            Action::SlabThinner => slab(-1.0),
            Action::NextViewport => {
                keymap::release_keys(&self.ctx);
                PlaneEdit::Activate(pane + 1)
            }
            Action::Escape => {
                if self.state.keys.is_some()
                    || self.state.labels.is_some()
                    || self.state.header.is_some()
                    || !self.state.toasts.is_empty()
                {
                    return false;
                }
                planes.apply(PlaneEdit::Reset);
                // The window goes back as it does in the lenses.
                return false;
            }
            // Planes lie as the patient does; there is one picture of each.
            Action::Cine | Action::Rotate | Action::FlipHorizontal | Action::FlipVertical => return true,
            _ => return false,
        };
        planes.apply(edit);
        true
    }

    fn act_on_grid(&mut self, action: Action) -> bool {
        match action {
            Action::NextViewport => {
                keymap::release_keys(&self.ctx);
                let count = self.state.settings.layout.viewports();
                self.activate_pane((self.state.desk.active + 1) % count.max(1));
                true
            }
            Action::Maximise => {
                self.state.desk.maximised = !self.state.desk.maximised;
                true
            }
            _ => false,
        }
    }

    /// Frames that the parked viewports show, and the neighbours of those that scroll along.
    pub(crate) fn wanted_by_grid(&self, ahead: usize) -> Vec<FrameKey> {
        let Layout::Grid { .. } = self.state.settings.layout else { return Vec::new() };
        let parked: Vec<&Reading> = self.state.desk.panes.iter().flatten().collect();
        let mut keys: Vec<FrameKey> =
            parked.iter().filter_map(|reading| reading.key_at(reading.view.position)).collect();
        if self.state.settings.links.scroll {
            keys.extend(parked.iter().flat_map(|reading| reading.wanted(ahead).into_iter().skip(1)));
        }
        keys
    }
}

/// The slice in the middle of a volume, as acquired.
fn middle_slice(volume: &Volume) -> Option<LoadedFrame> {
    middle_plane(volume).map(|plane| LoadedFrame::new(volume.reformat(&plane, Slab::default())))
}

/// The plane of the slice in the middle of a volume.
pub(crate) fn middle_plane(volume: &Volume) -> Option<Plane> {
    let grid = &volume.grid;
    let orientation = PlaneKind::Acquired.orientation(grid);
    let [slices, ..] = grid.shape();
    let through = grid.patient_from_voxel([(slices / 2) as f64, 0.0, 0.0]);
    let [row_mm, column_mm, _] = grid.spacing();
    Plane::across(grid, orientation, through, through, 0.0, row_mm.min(column_mm))
}

/// The viewports of a grid that show a series.
pub fn panes_showing(state: &State, study: &Study, series: usize) -> Vec<usize> {
    let Layout::Grid { .. } = state.settings.layout else { return Vec::new() };
    let shows = |reading: &Reading| reading.study.uid == study.uid && reading.series_index == series;
    let parked = state.desk.panes.iter().enumerate();
    let mut panes: Vec<usize> =
        parked.filter(|(_, pane)| pane.as_ref().is_some_and(shows)).map(|(index, _)| index).collect();
    if state.reading.as_ref().is_some_and(shows) {
        panes.push(state.desk.active);
    }
    panes
}
