//! A project: many studies read by one reader or several, and what leaves it for other programs.
//!
//! A project is a folder of plain files, so that it can lie on a shared drive, be copied and be put under version control:
//!
//! | file | what is in it |
//! |---|---|
//! | `project.json` | name, where the images are, labels, and the secret that pseudonyms are made from |
//! | `readings/<reader>/*.session.jsonl` | what a reader drew, one journal a series ([`crate::annotation::Store`]) |
//! | `readings/<reader>/cases.json` | the reader's work list: state, flag and note of each series |
//! | `readings/<reader>/*.history.jsonl` | older steps of a journal that has grown long, for the history |
//! | `readings/<reader>/deeds.jsonl` | what else the reader did and when: states of cases, imports, exports |
//!
//! Each reader writes into a folder of their own alone: two of them never write to one file. A data base would have to be locked for that, and
//! one damaged page of it would cost everyone's work. Images are only read.

mod agreement;
mod coco;
mod export;
mod frames;
mod history;
mod import;
mod label_map;
mod membership;
mod outside;
mod segmentations;
mod structure_set;
mod table;
mod yolo;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rand::RngExt;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use agreement::{Agreement, CaseAgreement, Comparison, LabelAgreement, compare};
pub use coco::{CocoWriter, export_coco};
pub use export::{
    ExportFormat, ExportOptions, Exported, Part, PatientSplit, Side, SplitShares, export, split_patients,
};
pub use frames::{AnnotatedFrame, Collected, MOST_EMPTY, ReadSeries, collect, read_series, visit};
pub use history::{Deed, Entry, Told, history};
pub use import::{Imported, import_coco, import_file, import_segmentation};
pub use label_map::{export_label_maps, import_label_map};
pub use segmentations::export_segmentations;
pub use structure_set::import_structure_set;
pub use table::export_table;
pub use yolo::export_yolo;

use crate::annotation::{StoreError, Taxonomy};
use crate::study::{SeriesUid, Study, StudyUid};

/// Why a project cannot be used, or something cannot leave or enter it.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A file cannot be read or written.
    #[error("{file}: {source}")]
    #[allow(missing_docs)]
    File { file: PathBuf, source: io::Error },
    /// A file is not what it should be.
    #[error("{file}: {cause}")]
    #[allow(missing_docs)]
    Content { file: PathBuf, cause: String },
    /// A reader's name that cannot name a folder.
    #[error("reader {0:?}: a name is made of letters, digits, - and _, 64 at most")]
    Reader(String),
    /// A session file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Cancelled.
    #[error(transparent)]
    Cancelled(#[from] crate::task::Cancelled),
}

impl ProjectError {
    fn file(file: &Path) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_path_buf();
        move |source| Self::File { file, source }
    }

    fn content(file: &Path, cause: impl std::fmt::Display) -> Self {
        Self::Content { file: file.to_path_buf(), cause: cause.to_string() }
    }
}

/// How far a reader is with a case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    /// Not opened yet.
    #[default]
    New,
    /// Begun.
    InProgress,
    /// Read: what is not drawn is not there.
    Done,
}

/// A reader's work on one series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// How far it is.
    #[serde(default)]
    pub state: CaseState,
    /// Set aside to be looked at again.
    #[serde(default)]
    pub flagged: bool,
    /// The reader's note.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A reader's work list, by [`crate::study::Series::reading_uid`]; series that are not in it are new.
pub type WorkList = BTreeMap<SeriesUid, Case>;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Settings {
    version: u32,
    name: String,
    sources: Vec<PathBuf>,
    /// Pseudonyms of patients are made from it and their identifiers.
    key: String,
    labels: Taxonomy,
    /// Studies under the sources that are no part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<StudyUid>,
}

const VERSION: u32 = 1;

/// An open project.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    folder: PathBuf,
    settings: Settings,
}

impl Project {
    /// Makes a project in `folder`, which must not hold one. `sources` are kept as given: relative ones count from `folder`.
    ///
    /// # Errors
    /// Where there is a project already, nothing can be written, or the folder lies in a source: what is written would be read as images.
    pub fn create(folder: &Path, name: &str, sources: Vec<PathBuf>, labels: Taxonomy) -> Result<Self, ProjectError> {
        let file = folder.join("project.json");
        if file.exists() {
            return Err(ProjectError::content(&file, "there is a project here already"));
        }
        for source in &sources {
            membership::apart(folder, &folder.join(source))?;
        }
        fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
        let key = format!("{:032x}", rand::rng().random::<u128>());
        let project = Self {
            folder: folder.to_path_buf(),
            settings: Settings { version: VERSION, name: name.to_owned(), sources, key, labels, left_out: Vec::new() },
        };
        project.save()?;
        Ok(project)
    }

    /// Opens the project in `folder`.
    pub fn open(folder: &Path) -> Result<Self, ProjectError> {
        let file = folder.join("project.json");
        let text = fs::read_to_string(&file).map_err(ProjectError::file(&file))?;
        let settings: Settings = serde_json::from_str(&text).map_err(|error| ProjectError::content(&file, error))?;
        if settings.version != VERSION {
            let cause = format!("version {} of the format; this program reads {VERSION}", settings.version);
            return Err(ProjectError::content(&file, cause));
        }
        // The same checks as for a file of labels.
        let labels = serde_json::to_string(&settings.labels).map_err(|error| ProjectError::content(&file, error))?;
        Taxonomy::parse(&labels).map_err(|error| ProjectError::content(&file, format!("labels: {error}")))?;
        Ok(Self { folder: folder.to_path_buf(), settings })
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its name for people.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Labels that its readers give.
    pub fn labels(&self) -> &Taxonomy {
        &self.settings.labels
    }

    /// Files and folders of images.
    pub fn sources(&self) -> Vec<PathBuf> {
        self.settings.sources.iter().map(|source| self.folder.join(source)).collect()
    }

    /// Folder of a reader's sessions.
    pub fn readings(&self, reader: &str) -> Result<PathBuf, ProjectError> {
        check_reader(reader)?;
        Ok(self.folder.join("readings").join(reader))
    }

    /// Everyone who has read in it, by name.
    pub fn readers(&self) -> Result<Vec<String>, ProjectError> {
        let folder = self.folder.join("readings");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(ProjectError::file(&folder)(error)),
        };
        let mut readers: Vec<String> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        readers.sort();
        Ok(readers)
    }

    /// A reader's work list; empty before it is begun.
    pub fn work_list(&self, reader: &str) -> Result<WorkList, ProjectError> {
        let file = self.readings(reader)?.join("cases.json");
        match fs::read_to_string(&file) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| ProjectError::content(&file, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(WorkList::new()),
            Err(error) => Err(ProjectError::file(&file)(error)),
        }
    }

    /// Sets a reader's work on one series.
    pub fn set_case(&self, reader: &str, series: &SeriesUid, case: Case) -> Result<(), ProjectError> {
        let folder = self.readings(reader)?;
        fs::create_dir_all(&folder).map_err(ProjectError::file(&folder))?;
        let mut list = self.work_list(reader)?;
        let from = list.get(series).cloned().unwrap_or_default();
        if from == case {
            return Ok(());
        }
        if case == Case::default() {
            list.remove(series);
        } else {
            list.insert(series.clone(), case.clone());
        }
        replace(&folder.join("cases.json"), &list)?;
        self.record(reader, &Deed::Case { series: series.clone(), from, to: case })
    }

    /// What a patient is called outside: the same for the same identifier in this project, and in no other.
    pub fn pseudonym(&self, patient: &str) -> String {
        let hash = Sha256::digest(format!("{} {patient}", self.settings.key).as_bytes());
        let digits: String = hash.iter().take(5).map(|byte| format!("{byte:02X}")).collect();
        format!("P{digits}")
    }

    /// What the patient of a study is called outside; where the images carry no identifier, the study stands for the patient.
    pub fn patient(&self, study: &Study) -> String {
        let id = study.patient.id.trim();
        self.pseudonym(if id.is_empty() { &study.uid.0 } else { &study.patient.id })
    }

    fn save(&self) -> Result<(), ProjectError> {
        replace(&self.folder.join("project.json"), &self.settings)
    }
}

/// Whether a reader may have that name.
///
/// # Errors
/// Where it cannot name a folder on every system.
pub fn check_reader(name: &str) -> Result<(), ProjectError> {
    let sound = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.chars().count() > 64 || !name.chars().all(sound) {
        return Err(ProjectError::Reader(name.to_owned()));
    }
    Ok(())
}

/// Writes JSON under another name first, so that a kill leaves either the old file or the new one.
fn replace(file: &Path, value: &impl Serialize) -> Result<(), ProjectError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| ProjectError::content(file, error))? + "\n";
    let next = file.with_extension("next");
    let write = || fs::write(&next, text).and_then(|()| fs::rename(&next, file));
    write().map_err(ProjectError::file(file))
}

/// Text with every character that a file name could choke on replaced.
fn file_stem(text: &str) -> String {
    let sound = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    text.chars().map(sound).take(80).collect()
}

#[cfg(test)]
mod many_tests;
#[cfg(test)]
mod tests;
