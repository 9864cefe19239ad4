//! What panels ask for. They put commands into a [`Queue`], which the application drains last in the frame.

use std::cell::RefCell;
use std::path::PathBuf;

use bifocal_core::analysis::FindingId;
use bifocal_core::annotation::Edit;

use crate::compare::CompareCommand;
use crate::desk::DeskCommand;
use crate::exchange::ExchangeCommand;
use crate::explain::ExplainCommand;
use crate::fusion::FusionCommand;
use crate::header::HeaderCommand;
use crate::history::HistoryCommand;
use crate::jobs::JobKind;
use crate::keymap::Action;
use crate::keys::KeyCommand;
use crate::label_editor::LabelCommand;
use crate::layouts::LayoutCommand;
use crate::project::ProjectCommand;
use crate::reader::ReadCommand;
use crate::report::ReportCommand;
use crate::shape_commands::DrawCommand;
use crate::state::{Lens, OverlaySettings, SortBy, Tone};
use crate::tuning::TuneCommand;
use crate::view::{ImagePoint, Tool, ViewEdit};
use crate::work::WorkCommand;

/// One thing that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// An action of the key map, by whatever way it was asked for.
    Do(Action),
    /// Opens files, folders or archives.
    Open(Vec<PathBuf>),
    /// Shows a series of an open study.
    ShowSeries {
        /// Index of the study.
        study: usize,
        /// Index of the series in it.
        series: usize,
    },
    /// Changes what both lenses show.
    View(ViewEdit),
    /// Chooses what the left mouse button does.
    Tool(Tool),
    /// Changes the document of the reading; undoable.
    Edit(Edit),
    /// Changes how maps are laid over the image.
    Overlays(OverlaySettings),
    /// Selects a finding, or none.
    Select(Option<FindingId>),
    /// Puts the attention probe down.
    Probe(Option<ImagePoint>),
    /// Says where the pointer is.
    Hover(Option<(Lens, ImagePoint)>),
    /// Makes a lens the one that keys act on.
    Activate(Lens),
    /// Gives a lens all the room, or both their half again.
    ToggleMaximise(Lens),
    /// Something about layouts, viewports and planes.
    Desk(DeskCommand),
    /// Something about the series that is laid over.
    Fusion(FusionCommand),
    /// Something about layouts that are kept by name.
    Layouts(LayoutCommand),
    /// Something about class activation maps and tests of maps.
    Explain(ExplainCommand),
    /// Something about the work list of a project.
    Work(WorkCommand),
    /// Something about a project as a whole.
    Project(ProjectCommand),
    /// Something about the comparison of readers.
    Compare(CompareCommand),
    /// Something about the history of a project.
    History(HistoryCommand),
    /// Something about export and import.
    Exchange(ExchangeCommand),
    /// Something about fine-tuning.
    Tune(TuneCommand),
    /// Something about shapes, paint and labels.
    Draw(DrawCommand),
    /// Something about the report.
    Report(ReportCommand),
    /// Something about findings, maps and notes.
    Read(ReadCommand),
    /// Something about the header of a file.
    Header(HeaderCommand),
    /// Something about sets of labels.
    Labels(LabelCommand),
    /// Something about the map of keys.
    Keys(KeyCommand),
    /// Searches the list of studies.
    Search(String),
    /// The search field has taken the keyboard.
    SearchFocused,
    /// Orders the list of studies.
    Sort(SortBy),
    /// Unfolds or folds the list of problems.
    ToggleProblems,
    /// Text of the path field.
    PathField(String),
    /// Asks a job to stop.
    CancelJob(JobKind),
    /// Shows a message.
    Toast(Tone, String),
    /// Takes a message away.
    DismissToast(u64),
    /// Scale of the whole window's contents.
    UiScale(f32),
    /// Takes an entry out of the recent list.
    ForgetRecent(usize),
    /// Whether a series is analysed as soon as it is opened.
    AnalyseOnOpen(bool),
    /// Threads that compute from the next start on; 0 is automatic.
    Threads(usize),
    /// Memory that decoded images may take, MiB.
    FrameMemory(usize),
    /// Memory that volumes of analysed series may take which are not in view, MiB.
    VolumeMemory(usize),
    /// Device of the network: `auto`, `cpu`, `cuda` or `metal`.
    Device(String),
    /// The bundle that is asked: an id, or a folder.
    Model(String),
}

/// Commands of one frame, in order.
#[derive(Debug, Default)]
pub struct Queue(RefCell<Vec<Command>>);

impl Queue {
    /// Adds a command.
    pub fn push(&self, command: Command) {
        self.0.borrow_mut().push(command);
    }

    /// Takes all commands out.
    pub fn drain(&self) -> Vec<Command> {
        std::mem::take(&mut self.0.borrow_mut())
    }
}
