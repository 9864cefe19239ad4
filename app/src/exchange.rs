//! Export and import of a project in the window: what is chosen, the jobs, and what came of them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::SystemTime;

use bifocal_core::project::{
    Deed, ExportFormat, ExportOptions, Exported, Imported, Project, Side, SplitShares, export, import_file,
    split_patients,
};
use bifocal_core::report::{dicom_date_time, iso_date};

use crate::app::{App, Outcome};
use crate::jobs::JobKind;
use crate::project::ProjectPanel;
use crate::state::Tone;

/// The panels of export and import.
#[derive(Debug)]
pub struct Exchange {
    /// What is to be written.
    pub form: ExportForm,
    /// Everyone who has read.
    pub readers: Vec<String>,
    /// Patients of each side of the split, or why there is none.
    pub sides: Option<Result<[usize; 3], String>>,
    /// How the last export ended.
    pub exported: Option<Result<Exported, String>>,
    /// File to read.
    pub file: String,
    /// How the last import ended, and of which file.
    pub imported: Option<(PathBuf, Result<Imported, String>)>,
}

/// What is to be written, as it is chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportForm {
    /// The format.
    pub format: ExportFormat,
    /// Whose annotations.
    pub readers: BTreeSet<String>,
    /// Only series that the reader is done with.
    pub only_done: bool,
    /// Also what is set aside.
    pub flagged: bool,
    /// Whether patients are split.
    pub split: bool,
    /// Shares for validation and test, percent.
    pub percent: [u32; 2],
    /// Seed of the split.
    pub seed: u64,
    /// Without identifiers.
    pub deidentify: bool,
    /// The folder, as it is typed.
    pub folder: String,
}

impl Default for Exchange {
    fn default() -> Self {
        let form = ExportForm {
            format: ExportFormat::Coco,
            readers: BTreeSet::new(),
            only_done: true,
            flagged: false,
            split: false,
            percent: [15, 15],
            seed: 1,
            deidentify: false,
            folder: String::new(),
        };
        Self { form, readers: Vec::new(), sides: None, exported: None, file: String::new(), imported: None }
    }
}

impl ExportForm {
    fn shares(&self) -> Option<SplitShares> {
        let [validation, test] = self.percent.map(|percent| f64::from(percent) / 100.0);
        self.split.then_some(SplitShares { validation, test, seed: self.seed })
    }
}

/// What is asked of the panels.
#[derive(Debug, Clone, PartialEq)]
pub enum ExchangeCommand {
    /// Something else is chosen.
    Form(Box<ExportForm>),
    /// Writes.
    Export,
    /// Back to the choice.
    Again,
    /// The file to read, as it is typed.
    File(String),
    /// Reads it.
    Import,
}

impl App {
    pub(crate) fn exchange(&mut self, command: ExchangeCommand) {
        match command {
            ExchangeCommand::Form(form) => {
                let renamed = form.format != self.state.exchange.form.format;
                let proposed = self.state.exchange.form.folder == self.proposed_folder();
                self.state.exchange.form = *form;
                if renamed && proposed {
                    self.state.exchange.form.folder = self.proposed_folder();
                }
                self.plan_export();
            }
            ExchangeCommand::Export => self.start_export(),
            ExchangeCommand::Again => {
                self.state.exchange.exported = None;
                self.open_exchange();
            }
            ExchangeCommand::File(file) => {
                self.state.exchange.file = file;
                self.state.exchange.imported = None;
            }
            ExchangeCommand::Import => self.start_import(),
        }
    }

    /// One of the panels was opened.
    pub(crate) fn open_exchange(&mut self) {
        let Some(work) = &self.state.work else { return };
        let readers = match work.project.readers() {
            Ok(readers) => readers,
            Err(error) => return self.toast(Tone::Error, error.to_string()),
        };
        let own = work.reader.clone();
        let exchange = &mut self.state.exchange;
        exchange.form.readers.retain(|reader| readers.contains(reader));
        if exchange.form.readers.is_empty() {
            exchange.form.readers.insert(own);
        }
        exchange.readers = readers;
        if exchange.exported.is_none() {
            self.state.exchange.form.folder = self.proposed_folder();
        }
        self.plan_export();
    }

    /// A folder in the project that does not exist yet: `exports/coco-2026-01-02`.
    fn proposed_folder(&self) -> String {
        let Some(work) = &self.state.work else { return String::new() };
        let format = self.state.exchange.form.format.name().to_lowercase().replace(' ', "-");
        let stem = format!("{format}-{}", iso_date(SystemTime::now()));
        let names = (1..).map(|n| if n == 1 { stem.clone() } else { format!("{stem}-{n}") });
        let project =
            std::path::absolute(work.project.folder()).unwrap_or_else(|_| work.project.folder().to_path_buf());
        let mut free = names.map(|name| project.join("exports").join(name)).filter(|folder| !folder.exists());
        free.next().map(|folder| folder.display().to_string()).unwrap_or_default()
    }

    fn plan_export(&mut self) {
        let Some(work) = &self.state.work else { return };
        let shares = self.state.exchange.form.shares();
        let index = self.open_index();
        let sides = shares.map(|shares| {
            let split = split_patients(&work.project, &index, shares)?;
            Ok(Side::ALL.map(|side| split.values().filter(|other| **other == side).count()))
        });
        self.state.exchange.sides = sides;
    }

    fn start_export(&mut self) {
        let Some(work) = &self.state.work else { return };
        let form = &self.state.exchange.form;
        let folder = crate::project::typed_path(&form.folder);
        let refused = if form.readers.is_empty() {
            Some("Choose whose annotations are written.".to_owned())
        } else if form.folder.trim().is_empty() {
            Some("Choose a folder.".to_owned())
        } else if std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some()) {
            // Files of an earlier export would be taken for files of this one.
            Some(format!("{}: there are files in it already. Choose another folder.", folder.display()))
        } else {
            None
        };
        if let Some(cause) = refused {
            self.state.exchange.exported = Some(Err(cause));
            return;
        }
        let options = ExportOptions {
            format: form.format,
            readers: form.readers.iter().cloned().collect(),
            only_done: form.only_done,
            flagged: form.flagged,
            split: form.shares(),
            deidentify: form.deidentify,
            date_time: dicom_date_time(SystemTime::now()),
        };
        let (project, reader) = (work.project.clone(), work.reader.clone());
        self.text_done();
        let index = self.open_index();
        self.state.exchange.exported = None;
        self.jobs.start(JobKind::Export, "Exporting", move |task| {
            let exported = export(&project, &index, &options, &folder, task)?;
            if !exported.parts.is_empty() {
                let format = options.format.name().to_owned();
                project.record(&reader, &Deed::Exported { format, folder })?;
            }
            Ok(Outcome::Exported(exported))
        });
    }

    pub(crate) fn exported(&mut self, exported: Exported) {
        let sets = exported.parts.len();
        let text = match (sets, exported.problems.len()) {
            (0, _) => "Nothing was exported: the panel says why.".to_owned(),
            (_, 0) => "Exported.".to_owned(),
            (_, n) => format!("Exported; the panel names what was left out ({n})."),
        };
        self.state.exchange.exported = Some(Ok(exported));
        self.state.history.stale = true;
        if self.state.panel != Some(ProjectPanel::Export) {
            self.toast(if sets == 0 { Tone::Warning } else { Tone::Info }, text);
        }
    }

    /// An export that was cancelled, or that failed with a message.
    pub(crate) fn export_stopped(&mut self, failed: Option<String>) {
        let folder = self.state.exchange.form.folder.clone();
        let cancelled = || format!("The export was cancelled. What was written by then lies in {folder}.");
        self.state.exchange.exported = Some(Err(failed.unwrap_or_else(cancelled)));
    }

    fn start_import(&mut self) {
        let file = crate::project::typed_path(&self.state.exchange.file);
        if !file.is_file() {
            let cause = format!("{}: there is no such file.", file.display());
            self.state.exchange.imported = Some((file, Err(cause)));
            return;
        }
        self.text_done();
        // The journals are written by the job: none of them may be open here meanwhile.
        self.close_documents();
        let Some(work) = &self.state.work else { return };
        let (mut project, reader) = (work.project.clone(), work.reader.clone());
        let index = self.open_index();
        self.state.exchange.imported = None;
        self.jobs.start(JobKind::Import, "Importing", move |task| {
            let imported = import_file(&mut project, &reader, &index, &file, task)?;
            Ok(Outcome::Imported(file, imported))
        });
    }

    pub(crate) fn imported(&mut self, file: PathBuf, imported: Imported) {
        self.after_import();
        let text = match imported.annotations {
            1 => "1 annotation was imported.".to_owned(),
            n => format!("{n} annotations were imported."),
        };
        if self.state.panel != Some(ProjectPanel::Import) {
            self.toast(Tone::Info, text);
        }
        self.state.exchange.imported = Some((file, Ok(imported)));
    }

    /// An import that was cancelled, or that failed with a message.
    pub(crate) fn import_stopped(&mut self, failed: Option<String>) {
        self.after_import();
        let cause = failed.unwrap_or_else(|| "The import was cancelled; what came before is kept.".to_owned());
        let file = crate::project::typed_path(&self.state.exchange.file);
        self.state.exchange.imported = Some((file, Err(cause)));
    }

    /// Journals and labels are read again.
    fn after_import(&mut self) {
        self.close_documents();
        self.fetch_document();
        self.state.history.stale = true;
        let Some(work) = &mut self.state.work else { return };
        match Project::open(work.project.folder()) {
            Ok(project) => {
                let labels = project.labels().clone();
                work.project = project;
                self.take_labels(labels);
            }
            Err(error) => self.toast(Tone::Error, error.to_string()),
        }
    }

    /// Nothing of a project that is left stays behind.
    pub(crate) fn leave_exchange(&mut self) {
        self.jobs.abandon(JobKind::Export);
        self.jobs.abandon(JobKind::Import);
        self.state.exchange = Exchange::default();
    }
}
