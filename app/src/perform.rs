//! Carries commands out. Only dispatch: what takes long is a job, what is deep is in the library.

use std::time::{Duration, Instant};

use bifocal_core::annotation::{Edit, StoreError};
use eframe::egui;

use crate::app::{App, Outcome};
use crate::command::Command;
use crate::document::ReadingDocument;
use crate::jobs::{JobError, JobKind};
use crate::keymap::{self, Action};
use crate::label_editor::LabelCommand;
use crate::network::Network;
use crate::project::{ProjectCommand, Purpose};
use crate::settings;
use crate::state::{Lens, LensLayout, ROOM_FOR_BOTH_PANELS, Reading, Screen, Tone};
use crate::view::{Tool, ViewEdit, WindowChoice};

/// A dialog that ends without a choice within this time was never shown: the platform has none.
pub(crate) const TOO_SOON_FOR_A_PERSON: Duration = Duration::from_millis(700);

impl App {
    /// Carries one command out.
    pub(crate) fn perform(&mut self, command: Command) {
        match command {
            Command::Do(action) => self.act(action),
            Command::Open(paths) => self.open_anything(paths),
            Command::ShowSeries { study, series } => self.show_series(study, series),
            Command::View(edit) => self.edit_view(edit),
            Command::Tool(tool) => {
                self.state.drawing.cancel();
                self.state.tool = tool;
            }
            Command::Edit(edit) => self.edit_document(|document| document.apply(edit)),
            Command::Overlays(overlays) => self.with_reading(|reading| reading.overlays = overlays),
            Command::Select(finding) => {
                self.state.drawing.selected = None;
                self.with_reading(|reading| reading.selected = finding);
            }
            Command::Probe(point) => self.with_reading(|reading| reading.probe = point),
            Command::Hover(hover) => self.with_reading(|reading| reading.hover = hover),
            Command::Activate(lens) => self.with_reading(|reading| reading.active = lens),
            Command::ToggleMaximise(lens) => self.with_reading(|reading| {
                reading.active = lens;
                reading.layout = match reading.layout {
                    LensLayout::Both => LensLayout::Only(lens),
                    LensLayout::Only(_) => LensLayout::Both,
                };
            }),
            Command::Desk(command) => self.desk(command),
            Command::Fusion(command) => self.fusion(command),
            Command::Layouts(command) => self.layouts(command),
            Command::Work(command) => self.work(command),
            Command::Project(command) => self.project(command),
            Command::Compare(command) => self.compare(command),
            Command::History(command) => self.history(command),
            Command::Exchange(command) => self.exchange(command),
            Command::Tune(command) => self.tuning(command),
            Command::Read(command) => self.read(command),
            Command::Explain(command) => self.explain(command),
            Command::Draw(command) => self.draw(command),
            Command::Report(command) => self.report(command),
            Command::Header(command) => self.header(command),
            Command::Keys(command) => self.keys(command),
            Command::Labels(command) => self.labels(command),
            Command::Search(text) => self.state.browser.search = text,
            Command::SearchFocused => self.state.browser.focus_search = false,
            Command::Sort(sort) => self.state.browser.sort = sort,
            Command::ToggleProblems => self.state.browser.problems_open = !self.state.browser.problems_open,
            Command::PathField(text) => self.state.path_field = text,
            Command::CancelJob(kind) => self.jobs.cancel(kind),
            Command::Toast(tone, text) => self.toast(tone, text),
            Command::DismissToast(id) => self.state.toasts.retain(|toast| toast.id != id),
            Command::UiScale(scale) => {
                self.state.settings.ui_scale = scale.clamp(0.6, 3.0);
                self.ctx.set_zoom_factor(self.state.settings.ui_scale);
            }
            Command::Threads(threads) => self.state.settings.threads = threads.min(settings::cores()),
            Command::FrameMemory(mib) => self.state.settings.frames_mib = settings::memory_mib(mib),
            Command::VolumeMemory(mib) => self.state.settings.volumes_mib = settings::memory_mib(mib),
            Command::ForgetRecent(index) => {
                if index < self.state.settings.recents.len() {
                    self.state.settings.recents.remove(index);
                }
            }
            Command::AnalyseOnOpen(on) => self.state.settings.analyse_on_open = on,
            Command::Model(wish) => self.use_bundle(wish),
            Command::Device(device) => {
                self.jobs.abandon(JobKind::Analysis);
                self.state.settings.device = device;
                // The weights are loaded onto the device with the next analysis.
                self.jobs.abandon(JobKind::Attention);
                let folder = self.state.network.folder().map(|folder| folder.display().to_string());
                self.state.network = Network::find(&folder.unwrap_or_default(), "");
            }
        }
    }

    fn with_reading(&mut self, change: impl FnOnce(&mut Reading)) {
        if let Some(reading) = &mut self.state.reading {
            change(reading);
        }
    }

    fn edit_view(&mut self, edit: ViewEdit) {
        let now = self.now;
        let Some(reading) = &mut self.state.reading else { return };
        let before = reading.view.clone();
        let frames = reading.frame_count();
        reading.view.apply(edit.clone(), frames, now);
        self.follow(&before, &edit);
    }

    fn choose_preset(&mut self, digit: u8) {
        let Some(reading) = &self.state.reading else { return };
        let units = self.images.units(reading.key_at(reading.view.position).as_ref());
        match WindowChoice::preset(digit, &units) {
            Some(window) => self.edit_view(ViewEdit::Window(window)),
            None => {
                self.toast(Tone::Info, "Only values in HU or SUV have presets: 0 is automatic, 1 and 2 are the file's.")
            }
        }
    }

    fn act(&mut self, action: Action) {
        // Esc closes what lies on top, and resets the view only where nothing does.
        if action != Action::Escape && action != Action::ShowKeys {
            self.state.keys = None;
        }
        // What lies behind the report or the start screen is not changed unseen.
        let reaches = match self.state.screen {
            Screen::Start => action.is_general(),
            Screen::Reading => self.state.report.is_none() || action.reaches_the_report(),
        };
        let dialog = self.state.labels.is_some() || self.state.project.is_some();
        let reaches = reaches && (!dialog || action.reaches_the_labels());
        if !reaches || self.act_on_desk(action) {
            return;
        }
        match action {
            Action::OpenFolder => self.pick(true),
            Action::OpenFiles => self.pick(false),
            Action::OpenSample => match crate::io::sample_paths() {
                paths if paths.is_empty() => self.toast(
                    Tone::Error,
                    "The folder sample-data was not found. Make one: bifocal phantom --seed 1 --out sample-data",
                ),
                paths => self.open_anything(paths),
            },
            Action::NewProject => self.project(ProjectCommand::New),
            Action::OpenProject => self.project(ProjectCommand::Choose(Purpose::Open)),
            Action::NextCase
            | Action::PreviousCase
            | Action::CaseDone
            | Action::CaseFlag
            | Action::CompareReaders
            | Action::OtherReader
            | Action::History
            | Action::ExportProject
            | Action::ImportProject
            | Action::FineTune => self.act_on_project(action),
            Action::Quit => self.ctx.send_viewport_cmd(egui::ViewportCommand::Close),
            Action::Home => {
                self.state.screen = match self.state.screen {
                    Screen::Reading => Screen::Start,
                    Screen::Start if self.state.library.paths.is_empty() => Screen::Start,
                    Screen::Start => Screen::Reading,
                }
            }
            Action::FullScreen => {
                let full = self.ctx.input(|input| input.viewport().fullscreen.unwrap_or(false));
                self.ctx.send_viewport_cmd(egui::ViewportCommand::Fullscreen(!full));
            }
            Action::Tags => self.toggle_tags(),
            Action::CopyView => self.picture_view(true),
            Action::ExportView => self.picture_view(false),
            Action::ShowKeys => {
                self.state.keys = self.state.keys.is_none().then(Default::default);
            }
            Action::ToggleBrowser => {
                let width = self.ctx.content_rect().width();
                let shown = self.state.panels_shown(width).0;
                self.state.settings.browser_open = !shown;
                if !shown && width < ROOM_FOR_BOTH_PANELS {
                    self.state.settings.findings_open = false;
                }
                // A panel of a project gives way to the list where there is no room for both.
                if !shown && !self.state.panels_shown(width).0 && self.state.panel.is_some() {
                    self.show_panel(None);
                }
            }
            Action::ToggleFindings => {
                let shown = self.state.panels_shown(self.ctx.content_rect().width()).1;
                self.state.settings.findings_open = !shown;
            }
            Action::ToggleTheme => self.state.settings.dark = !self.state.settings.dark,
            Action::FindStudy => {
                if !self.state.panels_shown(self.ctx.content_rect().width()).0 {
                    self.act(Action::ToggleBrowser);
                }
                self.state.browser.focus_search = true;
            }
            Action::NextImage => self.edit_view(ViewEdit::Step(1)),
            Action::PreviousImage => self.edit_view(ViewEdit::Step(-1)),
            Action::NextTenImages => self.edit_view(ViewEdit::Step(10)),
            Action::PreviousTenImages => self.edit_view(ViewEdit::Step(-10)),
            Action::FirstImage => self.edit_view(ViewEdit::Position(0)),
            Action::LastImage => self.edit_view(ViewEdit::Position(usize::MAX)),
            Action::NextSeries => self.step_series(1),
            Action::PreviousSeries => self.step_series(-1),
            Action::NextViewport if self.lenses_in_front() => {
                keymap::release_keys(&self.ctx);
                self.with_reading(|reading| {
                    reading.active = reading.active.other();
                    if let LensLayout::Only(_) = reading.layout {
                        reading.layout = LensLayout::Only(reading.active);
                    }
                });
            }
            Action::NextViewport | Action::Planes | Action::Lenses | Action::SlabThicker | Action::SlabThinner => {}
            Action::Cine => self.edit_view(ViewEdit::ToggleCine),
            Action::ToolWindow => self.perform(Command::Tool(Tool::Window)),
            Action::ToolZoom => self.perform(Command::Tool(Tool::Zoom)),
            Action::ToolPan => self.perform(Command::Tool(Tool::Pan)),
            Action::ToolScroll => self.perform(Command::Tool(Tool::Scroll)),
            Action::Crosshair => self.edit_view(ViewEdit::ToggleCrosshair),
            Action::Maximise => {
                let active = self.state.reading.as_ref().map_or(Lens::Local, |reading| reading.active);
                self.perform(Command::ToggleMaximise(active));
            }
            Action::Invert => self.edit_view(ViewEdit::Invert),
            Action::Rotate => self.edit_view(ViewEdit::Rotate),
            Action::FlipHorizontal => self.edit_view(ViewEdit::FlipHorizontal),
            Action::FlipVertical => self.edit_view(ViewEdit::FlipVertical),
            Action::Overlays => self.edit_view(ViewEdit::ToggleOverlays),
            Action::LayOver => self.next_fusion(),
            Action::OverlayFainter => self.step_opacity(-1.0),
            Action::OverlayStronger => self.step_opacity(1.0),
            Action::Preset(digit) => self.choose_preset(digit),
            Action::Escape => self.escape(),
            Action::NextMap => self.step_map(1),
            Action::PreviousMap => self.step_map(-1),
            Action::Probe => self.with_reading(|reading| {
                reading.probing = !reading.probing;
                if !reading.probing {
                    reading.probe = None;
                }
            }),
            Action::Undo if self.state.drawing.take_back() => {}
            Action::Undo => self.step_document(ReadingDocument::undo),
            Action::Redo => self.step_document(ReadingDocument::redo),
            Action::KeyImage => self.toggle_key_image(),
            Action::Analyse
            | Action::NextFinding
            | Action::PreviousFinding
            | Action::AcceptFinding
            | Action::RejectFinding
            | Action::CommentFinding
            | Action::Report => self.act_on_analysis(action),
            Action::ToolLength
            | Action::ToolBidirectional
            | Action::ToolAngle
            | Action::ToolCobb
            | Action::ToolEllipse
            | Action::ToolBox
            | Action::ToolPolygon
            | Action::ToolFreehand
            | Action::ToolPoint
            | Action::ToolArrow
            | Action::ToolText
            | Action::ToolCalibrate
            | Action::ToolBrush
            | Action::ToolEraser
            | Action::ToolLiveWire
            | Action::ToolGrow
            | Action::ToolSmart
            | Action::TakeOffer
            | Action::FillHoles
            | Action::SmoothMask
            | Action::CopyToNext
            | Action::CopyToPrevious
            | Action::Interpolate
            | Action::MaskUnion
            | Action::MaskSubtract
            | Action::MaskIntersect
            | Action::DeleteShape
            | Action::BrushSmaller
            | Action::BrushLarger => self.act_on_shapes(action),
        }
    }

    /// Undo and redo, after what is being typed has become an edit.
    fn step_document(&mut self, change: impl FnOnce(&mut ReadingDocument) -> Result<bool, StoreError>) {
        self.text_done();
        self.edit_document(change);
    }

    pub(crate) fn edit_document(&mut self, change: impl FnOnce(&mut ReadingDocument) -> Result<bool, StoreError>) {
        if self.jobs.is_running(JobKind::Import) {
            self.toast(Tone::Info, "An import writes into your readings: wait until it is done, or cancel it.");
            return;
        }
        let Some(reading) = &mut self.state.reading else { return };
        self.state.history.stale = true;
        if let Err(error) = change(&mut reading.document) {
            self.toast(Tone::Error, format!("Not saved, but kept in this window: {error}"));
        }
    }

    fn toggle_key_image(&mut self) {
        let Some(reading) = &self.state.reading else { return };
        let Some((instance, frame)) = reading.instance_at(reading.view.position) else { return };
        let key = !reading.is_key_image();
        let edit = Edit::SetKeyImage { instance: instance.key(), frame, key };
        self.edit_document(|document| document.apply(edit));
    }

    fn escape(&mut self) {
        if self.state.keys.take().is_some() {
            return;
        }
        if let Some(editor) = &self.state.labels {
            let command = if editor.asked.is_some() { LabelCommand::Stay } else { LabelCommand::Close };
            self.labels(command);
            return;
        }
        if self.state.project.take().is_some() {
            return;
        }
        if self.state.header.is_some() {
            self.close_header();
            return;
        }
        if self.state.screen == Screen::Reading && self.state.report.is_none() && self.state.drawing.cancel() {
            return;
        }
        if self.state.toasts.pop().is_some() || self.state.screen == Screen::Start {
            return;
        }
        if self.state.report.is_some() {
            self.toggle_report();
            return;
        }
        if self.leave_drawing() {
            return;
        }
        if self.state.panel.is_some() {
            self.show_panel(None);
            return;
        }
        let mut left_probe = false;
        self.with_reading(|reading| {
            left_probe = reading.probing || reading.selected.is_some();
            if reading.probing {
                reading.probing = false;
                reading.probe = None;
            } else {
                reading.selected = None;
            }
        });
        if !left_probe {
            self.edit_view(ViewEdit::Reset);
        }
    }

    /// Goes through the series in the order of the list, skipping those without images.
    fn step_series(&mut self, step: isize) {
        let Some(reading) = &self.state.reading else { return };
        let library = &self.state.library;
        let with_images = |study: usize, series: usize| {
            let series = library.studies.get(study).and_then(|entry| entry.series.get(series));
            series.is_some_and(|series| series.frame_count() > 0)
        };
        let list = self.state.listed();
        let all: Vec<(usize, usize)> = list
            .iter()
            .flat_map(|item| item.series.iter().map(move |series| (item.study, *series)))
            .filter(|(study, series)| with_images(*study, *series))
            .collect();
        let current = all.iter().position(|(study, series)| {
            *series == reading.series_index
                && library.studies.get(*study).is_some_and(|entry| entry.uid == reading.study.uid)
        });
        // From a series that the search has taken out of the list, on to the first that it left.
        let next = current.map_or(Some(0), |index| index.checked_add_signed(step)).and_then(|index| all.get(index));
        match next {
            Some((study, series)) => self.show_series(*study, *series),
            None => {
                self.toast(Tone::Info, if step > 0 { "This is the last series." } else { "This is the first series." })
            }
        }
    }

    fn pick(&mut self, folder: bool) {
        let start = self.state.settings.last_folder.clone();
        let name = if folder { "Choosing a folder" } else { "Choosing files" };
        self.jobs.start(JobKind::Dialog, name, move |_| {
            let asked = Instant::now();
            let mut dialog = rfd::FileDialog::new().set_title(if folder { "Open folder" } else { "Open files" });
            if let Some(start) = start.filter(|start| start.is_dir()) {
                dialog = dialog.set_directory(start);
            }
            let picked = if folder { dialog.pick_folder().map(|path| vec![path]) } else { dialog.pick_files() };
            match picked {
                None if asked.elapsed() < TOO_SOON_FOR_A_PERSON => Err(JobError::Failed(
                    "this desktop offers no file dialog. Type the path on the start screen, or drop files into the window."
                        .to_owned(),
                )),
                picked => Ok(Outcome::Picked(picked.unwrap_or_default())),
            }
        });
    }
}
