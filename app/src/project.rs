//! Projects in the window: made, opened, changed; their readers; the panels on the right.

use std::path::{Path, PathBuf};
use std::time::Instant;

use bifocal_core::project::{Deed, Project, check_reader};
use bifocal_core::study::StudyUid;

use crate::app::{App, Outcome};
use crate::exchange::ExchangeCommand;
use crate::jobs::{JobError, JobKind};
use crate::perform::TOO_SOON_FOR_A_PERSON;
use crate::state::{Screen, Tone};
use crate::work::Work;

/// What of a project is shown on the right, in place of the findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectPanel {
    /// Fine-tuning on its cases.
    Tuning,
    /// Two readers compared.
    Comparison,
    /// Who changed what and when.
    History,
    /// For other programs.
    Export,
    /// From other programs.
    Import,
}

/// What the dialog is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A project that is made.
    New,
    /// One that is opened, by whom: its folder, its name, and who has read in it.
    Open(PathBuf, String, Vec<String>),
    /// The open one: who has read in it.
    Own(Vec<String>),
}

/// A field of the dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Name of the project.
    Name,
    /// Its folder.
    Folder,
    /// Who reads.
    Reader,
    /// The reader's new name.
    Renamed,
    /// Files and folders of images to add.
    Images,
}

/// The dialog of projects, where it is open.
#[derive(Debug)]
pub struct ProjectDialog {
    /// What it is about.
    pub about: About,
    /// Text of the fields.
    pub name: String,
    /// As above.
    pub folder: String,
    /// As above.
    pub reader: String,
    /// As above.
    pub renamed: String,
    /// As above.
    pub images: String,
    /// Take the studies that are open into the new project.
    pub with_open: bool,
    /// What is wrong.
    pub message: Option<String>,
}

impl ProjectDialog {
    fn new(about: About, reader: &str) -> Self {
        Self {
            about,
            name: String::new(),
            folder: String::new(),
            reader: reader.to_owned(),
            renamed: reader.to_owned(),
            images: String::new(),
            with_open: false,
            message: None,
        }
    }

    fn field(&mut self, field: Field) -> &mut String {
        match field {
            Field::Name => &mut self.name,
            Field::Folder => &mut self.folder,
            Field::Reader => &mut self.reader,
            Field::Renamed => &mut self.renamed,
            Field::Images => &mut self.images,
        }
    }
}

/// What a path that is chosen in the platform's dialog is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A project to open.
    Open,
    /// A field of the dialog.
    Field(Field),
    /// Where an export goes.
    Export,
    /// The file of an import.
    Import,
}

/// What is asked of projects.
#[derive(Debug, Clone, PartialEq)]
pub enum ProjectCommand {
    /// Shows a panel on the right, or hides it where it is shown.
    Panel(ProjectPanel),
    /// Hides the panel.
    HidePanel,
    /// Begins a new project.
    New,
    /// Asks who reads in the project of a folder.
    Open(PathBuf),
    /// Takes up the work of a reader in it.
    TakeUp(PathBuf, String),
    /// Shows what the open project is made of.
    Own,
    /// Leaves the open project.
    Leave,
    /// Text of a field of the dialog.
    Field(Field, String),
    /// Whether the open studies go into the new project.
    WithOpen(bool),
    /// Asks for a path by the platform's dialog.
    Choose(Purpose),
    /// A path was chosen.
    Chosen(Purpose, PathBuf),
    /// Makes the project.
    Make,
    /// Opens the project of the dialog for the reader whose name is typed, or changes to that reader.
    Read,
    /// Gives the open project its new name.
    Rename,
    /// Gives the reader a new name.
    RenameReader,
    /// Adds the images whose path is typed.
    Add,
    /// Takes a study out, or puts it back.
    LeaveOut(StudyUid, bool),
    /// Closes the dialog.
    Close,
}

/// A path as people type it: `~/x` is in the home folder, quotes around it are none of it.
pub fn typed_path(text: &str) -> PathBuf {
    let text = text.trim().trim_matches('"');
    match (text.strip_prefix("~/"), directories::UserDirs::new()) {
        (Some(rest), Some(dirs)) => dirs.home_dir().join(rest),
        _ => text.into(),
    }
}

/// The folder of a project, where the one path that was opened is one.
pub fn project_folder(paths: &[PathBuf]) -> Option<PathBuf> {
    let [path] = paths else { return None };
    let folder = if path.file_name().is_some_and(|name| name == "project.json") { path.parent()? } else { path };
    folder.join("project.json").is_file().then(|| folder.to_path_buf())
}

/// A folder for projects that nobody has named another place for.
fn usual_place(name: &str) -> String {
    let sound = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' };
    let name: String = name.trim().chars().map(sound).collect();
    let home = directories::UserDirs::new().map(|dirs| dirs.home_dir().to_path_buf());
    match home.filter(|_| !name.is_empty()) {
        Some(home) => home.join("bifocal-projects").join(name).display().to_string(),
        None => String::new(),
    }
}

impl App {
    pub(crate) fn project(&mut self, command: ProjectCommand) {
        match command {
            ProjectCommand::Panel(panel) => {
                let shown = self.state.panel == Some(panel);
                self.show_panel(Some(panel).filter(|_| !shown));
            }
            ProjectCommand::HidePanel => self.show_panel(None),
            ProjectCommand::New => {
                let mut dialog = ProjectDialog::new(About::New, &self.state.settings.reader);
                dialog.with_open = self.state.work.is_none() && !self.state.library.paths.is_empty();
                self.state.project = Some(dialog);
            }
            ProjectCommand::Open(folder) => self.ask_reader(&folder),
            ProjectCommand::TakeUp(folder, reader) => self.read_in(&folder, &reader),
            ProjectCommand::Own => self.show_own(),
            ProjectCommand::Leave => self.close_project(),
            ProjectCommand::Field(field, text) => self.type_field(field, text),
            ProjectCommand::WithOpen(with) => {
                if let Some(dialog) = &mut self.state.project {
                    dialog.with_open = with;
                }
            }
            ProjectCommand::Choose(purpose) => self.choose(purpose),
            ProjectCommand::Chosen(purpose, path) => self.chosen(purpose, path),
            ProjectCommand::Make => self.make_project(),
            ProjectCommand::Read => {
                let Some(dialog) = &self.state.project else { return };
                let reader = dialog.reader.trim().to_owned();
                match dialog.about.clone() {
                    About::Open(folder, ..) => self.read_in(&folder, &reader),
                    _ => self.change_reader(&reader),
                }
            }
            ProjectCommand::Rename => self.rename_project(),
            ProjectCommand::RenameReader => self.rename_reader(),
            ProjectCommand::Add => self.add_images(),
            ProjectCommand::LeaveOut(study, out) => self.leave_out(&study, out),
            ProjectCommand::Close => self.state.project = None,
        }
    }

    /// Shows a panel in place of the one that is shown, or none.
    pub(crate) fn show_panel(&mut self, panel: Option<ProjectPanel>) {
        self.state.panel = panel.filter(|_| self.state.work.is_some());
        match self.state.panel {
            None => {
                if panel.is_some() {
                    self.toast(Tone::Info, "That belongs to a project: open one on the start screen.");
                }
            }
            Some(ProjectPanel::Tuning) => self.open_tuning(),
            Some(ProjectPanel::Comparison) => self.open_comparison(),
            Some(ProjectPanel::History) => self.open_history(),
            Some(ProjectPanel::Export | ProjectPanel::Import) => self.open_exchange(),
        }
    }

    /// What is wrong, where the dialog is open; else as a message that goes by itself.
    fn refuse(&mut self, cause: impl Into<String>) {
        let cause = cause.into();
        match &mut self.state.project {
            Some(dialog) => dialog.message = Some(cause),
            None => self.toast(Tone::Error, cause),
        }
    }

    fn type_field(&mut self, field: Field, text: String) {
        let Some(dialog) = &mut self.state.project else { return };
        dialog.message = None;
        // The folder follows the name until it is given by hand.
        let follows = dialog.about == About::New && field == Field::Name && dialog.folder == usual_place(&dialog.name);
        *dialog.field(field) = text;
        if follows {
            dialog.folder = usual_place(&dialog.name);
        }
    }

    fn make_project(&mut self) {
        let Some(dialog) = &self.state.project else { return };
        let mut sources = Vec::new();
        if dialog.with_open {
            sources.extend(self.state.library.paths.clone());
        }
        if !dialog.images.trim().is_empty() {
            sources.push(typed_path(&dialog.images));
        }
        let (name, reader) = (dialog.name.trim().to_owned(), dialog.reader.trim().to_owned());
        let folder = typed_path(&dialog.folder);
        if name.is_empty() {
            return self.refuse("The project needs a name.");
        }
        if dialog.folder.trim().is_empty() {
            return self.refuse("The project needs a folder.");
        }
        if sources.is_empty() {
            return self.refuse("Choose images: a folder, or the studies that are open.");
        }
        let real: Result<Vec<PathBuf>, String> = sources
            .iter()
            .map(|path| path.canonicalize().map_err(|error| format!("{}: {error}", path.display())))
            .collect();
        let labels = self.state.drawing.taxonomy.clone();
        let made = real.and_then(|sources| {
            // The reader's name is looked at before anything is written.
            let work = check_reader(&reader)
                .and_then(|()| Project::create(&folder, &name, sources, labels))
                .and_then(|project| Work::new(project, &reader));
            work.map_err(|error| error.to_string())
        });
        match made {
            Ok(work) => {
                self.state.project = None;
                self.take_up(work);
            }
            Err(cause) => self.refuse(cause),
        }
    }

    /// Asks who reads in the project of a folder.
    pub(crate) fn ask_reader(&mut self, folder: &Path) {
        let opened = Project::open(folder).and_then(|project| Ok((project.name().to_owned(), project.readers()?)));
        match opened {
            Ok((name, readers)) => {
                let about = About::Open(folder.to_path_buf(), name, readers);
                self.state.project = Some(ProjectDialog::new(about, &self.state.settings.reader));
            }
            Err(error) => self.refuse(error.to_string()),
        }
    }

    fn read_in(&mut self, folder: &Path, reader: &str) {
        match Project::open(folder).and_then(|project| Work::new(project, reader)) {
            Ok(work) => {
                self.state.project = None;
                self.take_up(work);
            }
            Err(error) => self.refuse(error.to_string()),
        }
    }

    fn show_own(&mut self) {
        let Some(work) = &self.state.work else { return };
        match work.project.readers() {
            Ok(readers) => {
                let mut dialog = ProjectDialog::new(About::Own(readers), "");
                dialog.name = work.project.name().to_owned();
                dialog.renamed.clone_from(&work.reader);
                self.state.project = Some(dialog);
            }
            Err(error) => self.refuse(error.to_string()),
        }
    }

    fn close_project(&mut self) {
        self.text_done();
        self.state.project = None;
        self.leave_project();
        self.state.reading = None;
        self.clear_desk();
        self.state.library = Default::default();
        self.state.screen = Screen::Start;
    }

    /// Goes on as another reader: the open series is opened anew, with that reader's journal.
    fn change_reader(&mut self, reader: &str) {
        self.text_done();
        let Some(work) = &self.state.work else { return };
        match Project::open(work.project.folder()).and_then(|project| Work::new(project, reader)) {
            Ok(next) => {
                self.state.project = None;
                self.reopen_as(next);
            }
            Err(error) => self.refuse(error.to_string()),
        }
    }

    fn reopen_as(&mut self, mut next: Work) {
        let Some(work) = &mut self.state.work else { return };
        next.left_out = std::mem::take(&mut work.left_out);
        next.filter = work.filter;
        let panel = self.state.panel;
        self.show_panel(None);
        self.leave_comparison();
        self.leave_exchange();
        self.leave_tuning();
        self.state.settings.reader.clone_from(&next.reader);
        let open = self.open_series();
        self.state.reading = None;
        self.clear_desk();
        self.state.work = Some(next);
        if let Some((study, series)) = open.and_then(|uid| self.state.place_of(&uid)) {
            self.show_series(study, series);
            self.fill_grid();
            self.remember(study, series);
        }
        self.show_panel(panel);
    }

    fn rename_project(&mut self) {
        let (Some(dialog), Some(work)) = (&self.state.project, &mut self.state.work) else { return };
        let name = dialog.name.trim().to_owned();
        if name.is_empty() {
            return self.refuse("The project needs a name.");
        }
        if let Err(error) = work.project.rename(&name) {
            self.refuse(error.to_string());
        }
    }

    fn rename_reader(&mut self) {
        self.text_done();
        let (Some(dialog), Some(work)) = (&self.state.project, &self.state.work) else { return };
        let (from, to) = (work.reader.clone(), dialog.renamed.trim().to_owned());
        let project = work.project.clone();
        // Its journals are moved: none of them may be open meanwhile.
        self.close_documents();
        let renamed = project.rename_reader(&from, &to).and_then(|()| Work::new(project, &to));
        match renamed {
            Ok(next) => {
                self.state.project = None;
                self.reopen_as(next);
            }
            Err(error) => {
                self.fetch_document();
                self.refuse(error.to_string());
            }
        }
    }

    fn add_images(&mut self) {
        let (Some(dialog), Some(work)) = (&self.state.project, &mut self.state.work) else { return };
        let path = typed_path(&dialog.images);
        let reader = work.reader.clone();
        match work.project.add_sources(&reader, &[path]) {
            Ok(0) => self.refuse("These images are in the project already."),
            Ok(_) => {
                self.state.project = None;
                self.state.history.stale = true;
                self.index_project();
            }
            Err(error) => self.refuse(error.to_string()),
        }
    }

    fn leave_out(&mut self, study: &StudyUid, out: bool) {
        self.text_done();
        let Some(work) = &mut self.state.work else { return };
        let reader = work.reader.clone();
        if let Err(error) = work.project.set_left_out(&reader, study, out) {
            return self.refuse(error.to_string());
        }
        self.state.history.stale = true;
        self.state.project = None;
        self.index_project();
        if out {
            let text = "The study was taken out of the project; images and readings stay. Project… puts it back.";
            self.toast(Tone::Info, text);
        }
    }

    /// Reads the headers of the project's images.
    pub(crate) fn index_project(&mut self) {
        let Some(work) = &self.state.work else { return };
        let project = work.project.clone();
        if self.state.library.paths.is_empty() {
            self.state.screen = Screen::Reading;
        }
        self.jobs.start(JobKind::Index, "Reading headers", move |task| {
            let (index, left_out) = project.index_all(task)?;
            Ok(Outcome::Indexed(project.sources(), index, left_out))
        });
    }

    /// Says that a reader has changed the project's labels.
    pub(crate) fn record_labels(&mut self) {
        let Some(work) = &self.state.work else { return };
        if let Err(error) = work.project.record(&work.reader, &Deed::Labels) {
            self.toast(Tone::Error, error.to_string());
        }
        self.state.history.stale = true;
    }

    /// A path was chosen, or dropped into the window.
    fn chosen(&mut self, purpose: Purpose, path: PathBuf) {
        let text = path.display().to_string();
        match purpose {
            Purpose::Open => self.ask_reader(&path),
            Purpose::Field(field) => self.type_field(field, text),
            Purpose::Export => {
                let mut form = self.state.exchange.form.clone();
                // Into a folder of its own: what is chosen may hold other things.
                let own = self.state.exchange.form.folder.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
                let full = std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some());
                form.folder = if full { path.join(own).display().to_string() } else { text };
                self.exchange(ExchangeCommand::Form(Box::new(form)));
            }
            Purpose::Import => self.exchange(ExchangeCommand::File(text)),
        }
    }

    fn choose(&mut self, purpose: Purpose) {
        let start = self.state.settings.last_folder.clone();
        let title = match purpose {
            Purpose::Open => "Open project",
            Purpose::Field(Field::Images) => "Folder of images",
            Purpose::Field(_) => "Folder of the project",
            Purpose::Export => "Export to",
            Purpose::Import => "Import",
        };
        self.jobs.start(JobKind::Dialog, title, move |_| {
            let asked = Instant::now();
            let mut dialog = rfd::FileDialog::new().set_title(title);
            if let Some(start) = start.filter(|start| start.is_dir()) {
                dialog = dialog.set_directory(start);
            }
            let picked = if purpose == Purpose::Import { dialog.pick_file() } else { dialog.pick_folder() };
            match picked {
                None if asked.elapsed() < TOO_SOON_FOR_A_PERSON => Err(JobError::Failed(
                    "this desktop offers no file dialog. Type the path, or drop it into the window.".to_owned(),
                )),
                picked => Ok(Outcome::Chosen(purpose, picked)),
            }
        });
    }

    /// What files that are dropped into the window are for, where they are not to be opened.
    pub(crate) fn dropped(&self, paths: &[PathBuf]) -> Option<ProjectCommand> {
        let path = paths.first()?.clone();
        if let Some(dialog) = &self.state.project {
            let field = if matches!(dialog.about, About::Open(..)) { None } else { Some(Field::Images) };
            return field.map(|field| ProjectCommand::Chosen(Purpose::Field(field), path));
        }
        let importing = self.state.panel == Some(ProjectPanel::Import) && path.is_file();
        importing.then_some(ProjectCommand::Chosen(Purpose::Import, path))
    }
}
