//! The application: state and frame loop.
//!
//! A frame goes: take in what the background sent, read the keyboard, draw (panels read the state and queue commands), carry the
//! commands out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bifocal_core::analysis::Analysis;
use bifocal_core::dicom::{ObjectSummary, TagRow};
use bifocal_core::project::{Comparison, Entry, Exported, Imported};
use bifocal_core::render::HeatStyle;
use bifocal_core::study::{SeriesUid, Study, StudyIndex};
use bifocal_core::tune::{Candidate, Tuned};
use bifocal_core::volume::Volume;
use eframe::egui;

use crate::ahead::Ahead;
use crate::command::{Command, Queue};
use crate::document::ReadingDocument;
use crate::drive::Drive;
use crate::explain::Explained;
use crate::images::{FrameState, Images, LoadedFrame};
use crate::jobs::{Ended, JobError, JobKind, Jobs};
use crate::keymap::{self, Action};
use crate::keys::{KeyCommand, KeyEditor};
use crate::label_editor::LabelCommand;
use crate::listing::Listing;
use crate::network::{Analysed, Network, Objected};
use crate::overlays::Overlays;
use crate::picture::Pictured;
use crate::project::{ProjectCommand, Purpose, project_folder};
use crate::reformat::Reformatter;
use crate::settings::{Recent, Settings};
use crate::shape_commands::DrawCommand;
use crate::smart::Featured;
use crate::state::{Reading, RemarkKind, Screen, State, Toast, Tone};
use crate::theme::{self, Theme};
use crate::ui::{self, Cx};
use crate::view::Tool;
use crate::volumes::AnalysedVolume;

/// What a job results in.
pub enum Outcome {
    /// The user chose these in a dialog; empty where it was closed, or where the platform has no dialog.
    Picked(Vec<PathBuf>),
    /// A path for some purpose; `None` where none was chosen.
    Chosen(Purpose, Option<PathBuf>),
    /// The studies under the paths; those that were taken out of the project.
    Indexed(Vec<PathBuf>, StudyIndex, Vec<Study>),
    /// The report, page by page, as it will print.
    ReportPages(Vec<egui::ColorImage>),
    /// Where a report was written; `None` where no place was chosen.
    ReportSaved(Option<PathBuf>),
    /// A file in words, and all its elements.
    Header(Box<(ObjectSummary, Vec<TagRow>)>),
    /// The network's answer for a frame.
    Analysed(Box<Analysed>),
    /// The network's answer for a volume.
    AnalysedVolume(Box<AnalysedVolume>),
    /// The attention of an image of it.
    Attended(Box<Analysis>),
    /// Local features of a frame.
    Featured(Box<Featured>),
    /// A step of explaining an answer.
    Explained(Box<Explained>),
    /// What speaks against asking the network about a series, before it answers.
    Objected(Objected),
    /// A series as a volume, and its middle slice.
    Volume(Arc<Volume>, Arc<LoadedFrame>),
    /// The series to lay over as a volume, and how it is shown.
    Fused(Arc<Volume>, HeatStyle),
    /// The series of a project as its reader has read them, and what could not be read.
    Cases(Vec<Candidate>, Vec<String>),
    /// These two readers of a project compared.
    Compared([String; 2], Box<Comparison>),
    /// The history of a project, and what could not be read.
    Told(Vec<Entry>, Vec<String>),
    /// What was written for other programs.
    Exported(Exported),
    /// What a file brought.
    Imported(PathBuf, Imported),
    /// A fine-tuned bundle, and how it compares.
    Tuned(Box<Tuned>),
    /// In how many other readings each label is in use.
    LabelUses(BTreeMap<String, usize>),
    /// A file of labels to read; `None` where none was chosen.
    LabelFile(Option<PathBuf>),
    /// Where labels were written; `None` where no place was chosen.
    LabelsSaved(Option<PathBuf>),
}

/// Seconds that a message stays.
const TOAST_SECONDS: f64 = 6.0;

/// The application.
pub struct App {
    pub(crate) state: State,
    pub(crate) jobs: Jobs<Outcome>,
    pub(crate) images: Images,
    pub(crate) ahead: Ahead,
    pub(crate) overlays: Overlays,
    pub(crate) reformatter: Reformatter,
    pub(crate) ctx: egui::Context,
    pub(crate) now: f64,
    queue: Queue,
    settings_path: Option<PathBuf>,
    saved: Settings,
    saved_at: f64,
    next_toast: u64,
    first_image: bool,
    /// The hand that drives the window where it is measured.
    pub(crate) driven: Option<Drive>,
    /// A picture of the window that was asked for.
    pub(crate) pictured: Pictured,
    /// Whether a text field had the keyboard at the end of the last frame.
    typing: bool,
}

impl App {
    /// The application in a fresh window. Settings are read from and written to `settings_path`, where there is one.
    pub fn new(ctx: &egui::Context, settings_path: Option<PathBuf>, paths: Vec<PathBuf>) -> Self {
        theme::install(ctx);
        let settings = settings_path.as_deref().map(Settings::load).unwrap_or_default();
        ctx.set_zoom_factor(settings.ui_scale);
        let mut app = Self {
            state: State::new(settings.clone()),
            jobs: Jobs::new(ctx.clone()),
            images: Images::new(ctx.clone(), settings.frames_mib << 20),
            ahead: Ahead::default(),
            overlays: Overlays::new(ctx.clone()),
            reformatter: Reformatter::new(ctx.clone()),
            ctx: ctx.clone(),
            now: 0.0,
            queue: Queue::default(),
            settings_path,
            saved: settings,
            saved_at: 0.0,
            next_toast: 1,
            first_image: false,
            driven: None,
            pictured: Pictured::default(),
            typing: false,
        };
        app.state.network = Network::find(&app.state.settings.model, "");
        if let Some(problem) = app.state.network.problem.clone().filter(|_| !app.state.settings.model.is_empty()) {
            // What was remembered may lie on a drive that is not there today: reading goes on with the one that comes along.
            app.state.network = Network::find("", "");
            app.toast(Tone::Warning, format!("The model that was used last cannot be read: {problem}"));
        }
        app.state.model = app.state.network.title();
        app.state.weights_sha256 = app.state.network.weights_sha256().to_owned();
        app.state.bundles = app.bundles();
        app.load_labels(false);
        app.tell_of_keys();
        if !paths.is_empty() {
            app.open_anything(paths);
        }
        app
    }

    /// Whether an image has been on the screen.
    pub fn first_image_shown(&self) -> bool {
        self.first_image
    }

    /// The state, for tests.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Shows a message that goes by itself; errors stay until they are dismissed.
    pub(crate) fn toast(&mut self, tone: Tone, text: impl Into<String>) {
        let text = text.into();
        tracing::debug!("message: {tone:?}");
        self.state.toasts.retain(|toast| toast.text != text);
        let until = (tone != Tone::Error).then_some(self.now + TOAST_SECONDS);
        self.state.toasts.push(Toast { id: self.next_toast, tone, text, until });
        self.next_toast += 1;
        if self.state.toasts.len() > 4 {
            self.state.toasts.remove(0);
        }
    }

    /// Opens studies, or asks who reads where the path is that of a project.
    pub(crate) fn open_anything(&mut self, paths: Vec<PathBuf>) {
        match project_folder(&paths) {
            Some(folder) => self.ask_reader(&folder),
            None => {
                self.text_done();
                self.leave_project();
                self.open(paths);
            }
        }
    }

    /// Starts reading the headers under `paths`.
    pub(crate) fn open(&mut self, paths: Vec<PathBuf>) {
        let missing: Vec<_> = paths.iter().filter(|path| !path.exists()).collect();
        if let Some(path) = missing.first() {
            let text = format!("{} does not exist: check the path, or choose it by a dialog.", path.display());
            self.toast(Tone::Error, text);
            return;
        }
        if self.state.library.paths.is_empty() {
            // Nothing to lose sight of: the reading screen says what is going on.
            self.state.screen = Screen::Reading;
        }
        self.jobs.start(JobKind::Index, "Reading headers", move |task| {
            let index = crate::io::index(&paths, task)?;
            Ok(Outcome::Indexed(paths, index, Vec::new()))
        });
    }

    fn ended(&mut self, ended: Ended<Outcome>) {
        match ended.result {
            Ok(Outcome::Picked(paths)) => {
                if !paths.is_empty() {
                    self.state.settings.last_folder = paths.first().and_then(|path| path.parent()).map(PathBuf::from);
                    self.open_anything(paths);
                }
            }
            Ok(Outcome::Chosen(purpose, path)) => {
                if let Some(path) = path {
                    self.state.settings.last_folder = path.parent().map(PathBuf::from);
                    self.project(ProjectCommand::Chosen(purpose, path));
                }
            }
            Ok(Outcome::Indexed(paths, index, left_out)) => self.indexed(paths, index, left_out),
            Ok(Outcome::Header(read)) => self.header_read(Ok(*read)),
            Err(JobError::Cancelled) if ended.kind == JobKind::Header => self.close_header(),
            Err(JobError::Failed(message)) if ended.kind == JobKind::Header => self.header_read(Err(message)),
            Ok(Outcome::Analysed(analysed)) => self.analysed(*analysed),
            Ok(Outcome::AnalysedVolume(analysed)) => self.volume_analysed(*analysed),
            Ok(Outcome::Attended(analysis)) => self.attended(*analysis),
            Ok(Outcome::Featured(featured)) => self.featured(*featured),
            Ok(Outcome::Explained(explained)) => self.explained(*explained),
            Ok(Outcome::Objected(objected)) => self.objected(objected),
            Ok(Outcome::Volume(volume, sample)) => self.volume_built(volume, sample),
            Ok(Outcome::Fused(volume, style)) => self.fused(Ok((volume, style))),
            Ok(Outcome::Cases(found, problems)) => self.cases_gathered(found, problems),
            Ok(Outcome::Compared(pair, comparison)) => self.compared(&pair, *comparison),
            Err(JobError::Cancelled) if ended.kind == JobKind::Comparison => self.comparison_stopped(None),
            Err(JobError::Failed(cause)) if ended.kind == JobKind::Comparison => self.comparison_stopped(Some(cause)),
            Ok(Outcome::Told(entries, problems)) => self.told(entries, problems),
            Err(JobError::Failed(cause)) if ended.kind == JobKind::History => self.history_failed(cause),
            Ok(Outcome::Exported(exported)) => self.exported(exported),
            Err(JobError::Cancelled) if ended.kind == JobKind::Export => self.export_stopped(None),
            Err(JobError::Failed(cause)) if ended.kind == JobKind::Export => self.export_stopped(Some(cause)),
            Ok(Outcome::Imported(file, imported)) => self.imported(file, imported),
            Err(JobError::Cancelled) if ended.kind == JobKind::Import => self.import_stopped(None),
            Err(JobError::Failed(cause)) if ended.kind == JobKind::Import => self.import_stopped(Some(cause)),
            Ok(Outcome::Tuned(tuned)) => self.tuned(tuned),
            Ok(Outcome::LabelUses(uses)) => self.label_uses(uses),
            Ok(Outcome::LabelFile(path)) => {
                if let Some(path) = path {
                    self.labels(LabelCommand::Read(path));
                }
            }
            Ok(Outcome::LabelsSaved(path)) => {
                let text =
                    path.map_or_else(|| "Nothing was saved.".to_owned(), |path| format!("Saved {}", path.display()));
                self.toast(Tone::Info, text);
            }
            Ok(Outcome::ReportPages(images)) => self.report_laid_out(images),
            Ok(Outcome::ReportSaved(path)) => self.report_saved(path),
            Err(JobError::Cancelled) if ended.kind == JobKind::Volume => self.volume_failed("it was cancelled"),
            Err(JobError::Failed(message)) if ended.kind == JobKind::Volume => self.volume_failed(&message),
            Err(JobError::Cancelled) if ended.kind == JobKind::Fusion => self.fused(Err(None)),
            Err(JobError::Failed(message)) if ended.kind == JobKind::Fusion => self.fused(Err(Some(message))),
            // Asked for again where an image rests; what failed says so where its map would be.
            Err(JobError::Cancelled) if ended.kind == JobKind::Attention => {}
            Err(JobError::Cancelled) if ended.kind == JobKind::Explanation => self.explanation_stopped(None),
            Err(JobError::Cancelled) if ended.kind == JobKind::Tuning => self.tuning_stopped(None),
            Err(JobError::Failed(message)) if ended.kind == JobKind::Tuning => self.tuning_stopped(Some(message)),
            Err(JobError::Cancelled) if ended.kind == JobKind::Features => self.features_failed(None),
            Err(JobError::Failed(message)) if ended.kind == JobKind::Features => self.features_failed(Some(message)),
            Err(JobError::Cancelled) => {
                self.back_to_start();
                self.toast(Tone::Info, format!("{}: cancelled.", ended.name));
            }
            Err(JobError::Failed(message)) if ended.kind == JobKind::Explanation => {
                self.explanation_stopped(Some(message));
            }
            Err(JobError::Failed(message)) if ended.kind == JobKind::Analysis => self.analysis_failed(&message),
            Err(JobError::Failed(message)) => {
                self.back_to_start();
                self.toast(Tone::Error, format!("{}: {message}", ended.name));
            }
        }
    }

    /// The reading screen without anything to read is a dead end.
    fn back_to_start(&mut self) {
        if self.state.library.paths.is_empty() && !self.jobs.is_running(JobKind::Index) {
            self.state.screen = Screen::Start;
        }
    }

    /// The first series that the model was made for, else the first with images: (study, series).
    fn first_series(&self) -> Option<(usize, usize)> {
        let all = || {
            self.state.library.studies.iter().enumerate().flat_map(|(study, entry)| {
                let with_images = entry.series.iter().enumerate().filter(|(_, series)| series.frame_count() > 0);
                with_images.map(move |(series, item)| (study, series, item))
            })
        };
        let intended = all().find(|(.., item)| self.state.network.is_intended_for(&item.modality));
        intended.or_else(|| all().next()).map(|(study, series, _)| (study, series))
    }

    fn indexed(&mut self, paths: Vec<PathBuf>, index: StudyIndex, left_out: Vec<Study>) {
        self.text_done();
        // Where a project was read again, the reader stays where they were.
        let before = self.open_series().filter(|_| self.state.work.is_some());
        if let Some(work) = &mut self.state.work {
            work.left_out = left_out;
        }
        let library = &mut self.state.library;
        library.studies = index.studies.into_iter().map(Arc::new).collect();
        library.problems = index.problems;
        library.remarks = RemarkKind::all(&index.remarks);
        library.paths = paths;
        library.listing = Listing::default();
        self.images.forget_all();
        self.state.reading = None;
        self.clear_desk();
        self.state.browser.search.clear();
        self.state.screen = Screen::Reading;
        let first = before.and_then(|uid| self.state.place_of(&uid));
        let first = first.or_else(|| self.state.next_case(false)).or_else(|| self.first_series());
        self.state.browser.problems_open = first.is_none();
        match first {
            Some((study, series)) => {
                self.show_series(study, series);
                self.fill_grid();
                self.remember(study, series);
            }
            None if self.state.library.problems.is_empty() => {
                self.toast(Tone::Warning, "There are no files in it. Choose another folder.");
            }
            None => self.toast(Tone::Warning, "No image was found there. The list of problems says why."),
        }
    }

    pub(crate) fn remember(&mut self, study: usize, series: usize) {
        let Some(entry) = self.state.library.studies.get(study) else { return };
        let more = self.state.library.studies.len() - 1;
        let mut title = ui::text::patient_name(&entry.patient);
        if more > 0 {
            title = format!("{title} +{more}");
        }
        let mut detail = recent_detail(entry);
        let mut paths = self.state.library.paths.clone();
        if let Some(work) = &self.state.work {
            title = work.project.name().to_owned();
            detail = format!("Project · {}", work.reader);
            paths = vec![work.project.folder().to_path_buf()];
        }
        let key = Reading::new(Arc::clone(entry), series).and_then(|reading| reading.key_at(reading.view.position));
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let mut thumbnail = key.clone().map(|key| key.source);
        if let Some(source) = &mut thumbnail {
            source.file = absolute(&source.file);
        }
        self.state.settings.remember(Recent {
            paths: paths.iter().map(absolute).collect(),
            title,
            detail,
            thumbnail,
            thumbnail_frame: key.map_or(0, |key| key.frame),
            reader: self.state.work.as_ref().map(|work| work.reader.clone()),
        });
    }

    /// Shows a series of an open study.
    pub(crate) fn show_series(&mut self, study: usize, series: usize) {
        self.text_done();
        let Some(entry) = self.state.library.studies.get(study) else { return };
        match Reading::new(Arc::clone(entry), series) {
            Some(mut reading) => {
                if let Some(before) = &self.state.reading {
                    // How the lenses are arranged is the reader's, not the series'.
                    reading.layout = before.layout;
                    reading.overlays = before.overlays.clone();
                }
                if let Some(modality) = reading.series().map(|series| series.modality.clone()) {
                    self.fit_bundle_to(&modality);
                }
                if let Some(series) = reading.series() {
                    let (document, message) = self.document_for(&series.reading_uid());
                    reading.document = document;
                    if let Some(message) = message {
                        self.toast(Tone::Warning, message);
                    }
                }
                self.put_drawing_down();
                self.overlays.measured.forget();
                self.state.reading = Some(reading);
                self.state.screen = Screen::Reading;
                self.begin_case();
                self.read_beside();
                self.series_shown();
            }
            None => {
                let entry = Arc::clone(entry);
                if let Some(series) = entry.series.get(series) {
                    self.open_objects(series);
                }
            }
        }
    }

    /// Opens the document of a series.
    pub(crate) fn open_document(&self, series: &SeriesUid) -> (ReadingDocument, Option<String>) {
        let folder = self.session_folder();
        ReadingDocument::open(folder.as_deref(), series, &self.state.weights_sha256)
    }

    /// The folder of settings, where there is one.
    pub(crate) fn settings_folder(&self) -> Option<PathBuf> {
        self.settings_path.as_deref().and_then(Path::parent).map(Path::to_path_buf)
    }

    /// The file of labels in use lies in it.
    pub(crate) fn labels_path(&self) -> Option<PathBuf> {
        Some(self.settings_folder()?.join(&self.state.settings.labels))
    }

    /// Sessions lie beside the settings; those of a project in its reader's folder.
    pub(crate) fn session_folder(&self) -> Option<PathBuf> {
        if let Some(work) = &self.state.work {
            return work.project.readings(&work.reader).ok();
        }
        self.settings_folder().map(|folder| folder.join("sessions"))
    }

    fn take_in(&mut self, ui: &egui::Ui) {
        self.now = ui.input(|input| input.time);
        self.tend_images();
        for ended in self.jobs.poll() {
            self.ended(ended);
        }
        let now = self.now;
        self.state.toasts.retain(|toast| toast.until.is_none_or(|until| until > now));
        if let Some(until) = self.state.toasts.iter().filter_map(|toast| toast.until).reduce(f64::min) {
            self.ctx.request_repaint_after(std::time::Duration::from_secs_f64((until - now).max(0.01)));
        }
        let dropped: Vec<PathBuf> =
            ui.input(|input| input.raw.dropped_files.iter().map(|file| file.path().to_path_buf()).collect());
        if !dropped.is_empty() {
            let labels = dropped.first().filter(|_| self.state.labels.is_some());
            let labels = labels.map(|file| Command::Labels(LabelCommand::Read(file.clone())));
            let project = || self.dropped(&dropped).map(Command::Project);
            let command = labels.or_else(project).unwrap_or_else(|| Command::Open(dropped.clone()));
            self.queue.push(command);
        }
        self.tend_picture();
        self.take_in_keys();
        if let Some(reading) = &mut self.state.reading
            && self.state.screen == Screen::Reading
        {
            let frames = reading.frame_count();
            let next = reading.key_at((reading.view.position + 1) % frames.max(1));
            let decoded = next.is_some_and(|key| !matches!(self.images.frame(&key), FrameState::Loading));
            // A series that plays waits for its next image instead of showing none.
            if reading.view.cine.is_some()
                && decoded
                && let Some(wait) = reading.view.play(frames, now)
            {
                self.ctx.request_repaint_after(std::time::Duration::from_secs_f64(wait));
            }
            self.tend_ahead();
        }
        self.tend_desk();
        self.tend_analysis();
        self.tend_arrival();
        self.tend_smart();
        self.tend_explanations();
        self.tend_notes();
        self.tend_report();
        self.tend_history();
    }

    fn take_in_keys(&mut self) {
        if self.state.keys.as_ref().is_some_and(KeyEditor::is_asking) {
            if let Some(shortcut) = keymap::next_press(&self.ctx) {
                self.queue.push(Command::Keys(KeyCommand::Pressed(shortcut)));
            }
            return;
        }
        // While a drawing tool is in hand digits choose labels, whatever else they are keys of.
        let labels = &self.state.drawing.taxonomy;
        if matches!(self.state.tool, Tool::Draw(_))
            && self.lenses_in_front()
            && let Some(digit) = keymap::digit_pressed(&self.ctx, |d| d == 0 || labels.by_digit(d).is_some())
        {
            let label = labels.by_digit(digit).map(|label| label.key.clone());
            self.queue.push(Command::Draw(DrawCommand::Label(label)));
        }
        let in_dialog = self.state.keys.is_some() || self.state.labels.is_some() || self.state.project.is_some();
        for action in self.state.settings.keys.pressed(&self.ctx, self.typing, in_dialog) {
            if action == Action::NextViewport && self.lenses_in_front() {
                // Tab goes from lens to lens; elsewhere it goes from widget to widget, as everywhere.
                self.ctx.memory_mut(|memory| memory.move_focus(egui::FocusDirection::None));
            }
            self.queue.push(Command::Do(self.state.meant(action)));
        }
    }

    /// Whether the lenses are what keys act on.
    pub(crate) fn lenses_in_front(&self) -> bool {
        let state = &self.state;
        state.screen == Screen::Reading
            && state.reading.is_some()
            && state.report.is_none()
            && state.keys.is_none()
            && state.labels.is_none()
            && state.project.is_none()
            && state.header.is_none()
    }

    fn keep_settings(&mut self, ui: &egui::Ui) {
        // Ctrl with plus, minus and zero scale the whole window.
        self.state.settings.ui_scale = self.ctx.zoom_factor();
        ui.input(|input| {
            let viewport = input.viewport();
            let place = &mut self.state.settings.window;
            place.maximized = viewport.maximized.unwrap_or(false) || viewport.fullscreen.unwrap_or(false);
            if !place.maximized {
                if let Some(inner) = viewport.inner_rect {
                    place.size = [inner.width(), inner.height()];
                }
                place.position = viewport.outer_rect.map(|outer| [outer.left(), outer.top()]);
            }
        });
        if self.state.settings != self.saved && self.now - self.saved_at > 2.0 {
            self.save_settings();
        }
    }

    fn save_settings(&mut self) {
        self.saved_at = self.now;
        if self.state.settings == self.saved {
            return;
        }
        let Some(path) = self.settings_path.clone() else { return };
        self.saved = self.state.settings.clone();
        if let Err(error) = self.saved.save(&path) {
            self.toast(Tone::Warning, format!("{}: settings were not saved: {error}", path.display()));
        }
    }
}

impl eframe::App for App {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.take_in(ui);
        let theme = Theme::new(self.state.settings.dark);
        self.ctx.set_theme(if theme.dark { egui::Theme::Dark } else { egui::Theme::Light });
        let cx = Cx {
            state: &self.state,
            jobs: self.jobs.running(),
            images: &self.images,
            overlays: &self.overlays,
            reformatter: &self.reformatter,
            theme,
            queue: &self.queue,
        };
        let drawn = ui::show(ui, &cx);
        self.typing = self.ctx.text_edit_focused();
        for command in self.queue.drain() {
            self.perform(command);
            self.ctx.request_repaint();
        }
        self.keep_settings(ui);
        self.first_image |= drawn.image;
        self.drive_on(drawn.image);
    }

    fn raw_input_hook(&mut self, _ctx: &egui::Context, raw_input: &mut egui::RawInput) {
        self.drive_input(raw_input);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        self.text_done();
        self.save_settings();
        if let Some(drive) = &self.driven {
            println!("{}", drive.summary());
        }
    }
}

fn recent_detail(study: &Study) -> String {
    let mut modalities: Vec<_> = study.series.iter().map(|series| series.modality.as_str()).collect();
    modalities.sort_unstable();
    modalities.dedup();
    [ui::text::date(&study.date), modalities.join(" ")]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" · ")
}
