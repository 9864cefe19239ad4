//! The editor of labels: a draft of a set, which takes effect when it is saved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use bifocal_core::annotation::{Edit, Label, Taxonomy, read_sessions};

use crate::app::{App, Outcome};
use crate::jobs::{JobError, JobKind};
use crate::labels;
use crate::perform::TOO_SOON_FOR_A_PERSON;
use crate::state::Tone;

/// The editor of labels, where it is open.
#[derive(Debug)]
pub struct LabelEditor {
    before: Taxonomy,
    /// The set as it is to be.
    pub draft: Taxonomy,
    /// Its file; `None` for a new set, and for a project's.
    pub file: Option<String>,
    /// Keys of labels that were added: nothing has them yet, so that they follow the names.
    added: BTreeSet<String>,
    /// Labels that are given up, and those that take their place in the open series.
    replaced: BTreeMap<String, String>,
    /// How many shapes and painted regions of the open series have each label.
    pub here: BTreeMap<String, usize>,
    /// How many other readings have each label, once that is known.
    pub elsewhere: Option<BTreeMap<String, usize>>,
    /// What is asked.
    pub asked: Option<Asked>,
    /// Why something cannot be.
    pub message: Option<String>,
    /// Put the keyboard into the name of the last label.
    pub focus_last: bool,
}

/// What the editor of labels asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// Which label takes the place of this one.
    Replace(usize),
    /// Whether changes are dropped before this is done.
    Drop(Box<LabelCommand>),
    /// Whether the whole set is deleted.
    DeleteSet,
}

/// What is asked of labels.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelCommand {
    /// Opens the editor.
    Open,
    /// Takes another set into use.
    Use(String),
    /// Begins a new set.
    New,
    /// Names the set.
    Name(String),
    /// Adds a label.
    Add,
    /// The name of the new label has the keyboard.
    Focused,
    /// Changes a label; its key stays.
    Set(usize, Box<Label>),
    /// Moves a label up by one.
    Up(usize),
    /// Deletes a label, where it is not in use.
    Delete(usize),
    /// Deletes the label that was asked about, and gives what has it to the label with this key.
    Replace(String),
    /// Asks for a file to read a set from.
    Load,
    /// Reads a set from a file.
    Read(PathBuf),
    /// Asks for a file to write the set to.
    SaveAs,
    /// Deletes the set.
    DeleteSet,
    /// Yes to what is asked.
    Confirm,
    /// No to what is asked.
    Stay,
    /// Keeps the changes and closes.
    Save,
    /// Closes.
    Close,
}

impl LabelEditor {
    fn new(taxonomy: Taxonomy, file: Option<String>) -> Self {
        Self {
            before: taxonomy.clone(),
            draft: taxonomy,
            file,
            added: BTreeSet::new(),
            replaced: BTreeMap::new(),
            here: BTreeMap::new(),
            elsewhere: None,
            asked: None,
            message: None,
            focus_last: false,
        }
    }

    /// Goes on with a new set, which is on no disk yet.
    fn begin(&mut self, set: Taxonomy) {
        let (here, elsewhere) = (std::mem::take(&mut self.here), self.elsewhere.take());
        let before = Taxonomy { name: String::new(), labels: Vec::new() };
        *self = Self { here, elsewhere, before, ..Self::new(set, None) };
    }

    /// Whether anything would be lost.
    pub fn is_changed(&self) -> bool {
        self.draft != self.before
    }

    /// The draft as it is saved: without blanks around names; concepts are whole or none.
    fn finished(&self) -> Result<Taxonomy, String> {
        let mut set = self.draft.clone();
        let trim = |text: &mut String| *text = text.trim().to_owned();
        trim(&mut set.name);
        if set.name.is_empty() {
            return Err("The set needs a name.".to_owned());
        }
        for (index, label) in set.labels.iter_mut().enumerate() {
            trim(&mut label.name);
            if label.name.is_empty() {
                return Err(format!("Label {} needs a name.", index + 1));
            }
            let Some(concept) = &mut label.concept else { continue };
            let parts = [&mut concept.scheme, &mut concept.value, &mut concept.meaning];
            let empty = parts.map(|part| {
                trim(part);
                part.is_empty()
            });
            if empty == [true; 3] {
                label.concept = None;
            } else if empty.contains(&true) {
                return Err(format!(
                    "The concept of “{}” needs scheme, code and meaning, or none of them.",
                    label.name
                ));
            }
        }
        set.check().map_err(|error| format!("Not saved: {error}."))?;
        Ok(set)
    }

    /// Why a label cannot be deleted, where it cannot.
    fn kept_by(&self, label: &Label) -> Option<String> {
        let Some(elsewhere) = &self.elsewhere else {
            return Some("Other readings are still looked through: try again in a moment.".to_owned());
        };
        let readings = match elsewhere.get(&label.key)? {
            1 => "1 other reading".to_owned(),
            count => format!("{count} other readings"),
        };
        Some(format!(
            "“{}” is in use in {readings}, which would lose it: it can be renamed, but not deleted.",
            label.name
        ))
    }

    fn add(&mut self, name: &str) {
        let label = self.draft.new_label(name);
        self.added.insert(label.key.clone());
        self.draft.labels.push(label);
    }

    /// Changes a label; its key stays, but for a new one.
    fn set(&mut self, index: usize, label: Label) {
        let Some(old) = self.draft.labels.get(index).map(|label| label.key.clone()) else { return };
        let key = if self.added.remove(&old) {
            let mut others = self.draft.clone();
            others.labels.remove(index);
            let key = others.new_label(&label.name).key;
            self.added.insert(key.clone());
            self.replaced.values_mut().filter(|to| **to == old).for_each(|to| to.clone_from(&key));
            if let Some(count) = self.here.remove(&old) {
                self.here.insert(key.clone(), count);
            }
            key
        } else {
            old
        };
        self.draft.labels[index] = Label { key, ..label };
    }

    fn remove(&mut self, index: usize) {
        if index < self.draft.labels.len() {
            self.draft.labels.remove(index);
        }
    }
}

impl App {
    /// Carries out what is asked of labels.
    pub(crate) fn labels(&mut self, command: LabelCommand) {
        match &command {
            LabelCommand::Open => return self.open_labels(),
            LabelCommand::Use(file) if self.state.labels.is_none() => return self.use_labels(file.clone()),
            _ => {}
        }
        let own = self.state.work.is_none();
        let Some(editor) = &mut self.state.labels else { return };
        editor.message = None;
        let asked = editor.asked.take();
        match command {
            LabelCommand::Use(_) | LabelCommand::New | LabelCommand::Close if editor.is_changed() => {
                editor.asked = Some(Asked::Drop(Box::new(command)));
            }
            LabelCommand::Use(file) => {
                self.use_labels(file);
                self.open_labels();
            }
            LabelCommand::New => {
                editor.begin(Taxonomy { name: "New set".to_owned(), labels: Vec::new() });
                editor.add("New label");
            }
            LabelCommand::Close => self.close_labels(),
            LabelCommand::Name(name) => editor.draft.name = name,
            LabelCommand::Add => {
                editor.add("New label");
                editor.focus_last = true;
            }
            LabelCommand::Focused => editor.focus_last = false,
            LabelCommand::Set(index, label) => editor.set(index, *label),
            LabelCommand::Up(index) => {
                if (1..editor.draft.labels.len()).contains(&index) {
                    editor.draft.labels.swap(index, index - 1);
                }
            }
            LabelCommand::Delete(index) => {
                let Some(label) = editor.draft.labels.get(index) else { return };
                if editor.draft.labels.len() == 1 {
                    editor.message = Some("A set has at least one label.".to_owned());
                } else if let Some(message) = editor.kept_by(label) {
                    editor.message = Some(message);
                } else if editor.here.contains_key(&label.key) {
                    editor.asked = Some(Asked::Replace(index));
                } else {
                    editor.remove(index);
                }
            }
            LabelCommand::Replace(to) => {
                let Some(Asked::Replace(index)) = asked else { return };
                let Some(from) = editor.draft.labels.get(index).map(|label| label.key.clone()) else { return };
                if let Some(count) = editor.here.remove(&from) {
                    *editor.here.entry(to.clone()).or_default() += count;
                }
                // What was to become this one becomes the other.
                editor.replaced.values_mut().filter(|label| **label == from).for_each(|label| label.clone_from(&to));
                editor.replaced.insert(from, to);
                editor.remove(index);
            }
            LabelCommand::Load => self.pick_labels(),
            LabelCommand::SaveAs => self.export_labels(),
            LabelCommand::Read(path) => match labels::read(&path) {
                Ok(set) if own => editor.begin(set),
                Ok(set) => {
                    // A project has one set: it takes in what it has not.
                    for label in set.labels {
                        if editor.draft.label(&label.key).is_none() {
                            let digit = label.digit.filter(|digit| editor.draft.by_digit(*digit).is_none());
                            editor.draft.labels.push(Label { digit, ..label });
                        }
                    }
                }
                Err(message) => editor.message = Some(message),
            },
            LabelCommand::DeleteSet => {
                let others = |key: &str| {
                    let sets = self.state.drawing.sets.iter().filter(|set| Some(&set.file) != editor.file.as_ref());
                    sets.into_iter().any(|set| set.labels.label(key).is_some())
                };
                let mut own = editor.before.labels.iter().filter(|label| !others(&label.key));
                let used = |label: &&Label| editor.here.contains_key(&label.key);
                editor.message = own.clone().find_map(|label| editor.kept_by(label)).or_else(|| {
                    let label = own.find(used)?;
                    Some(format!("“{}” of this set is in use in the open series.", label.name))
                });
                if editor.message.is_none() {
                    editor.asked = Some(Asked::DeleteSet);
                }
            }
            LabelCommand::Confirm => match asked {
                Some(Asked::Drop(next)) => {
                    editor.draft = editor.before.clone();
                    self.labels(*next);
                }
                Some(Asked::DeleteSet) => self.delete_labels(),
                _ => {}
            },
            LabelCommand::Save => self.save_labels(),
            LabelCommand::Stay | LabelCommand::Open => {}
        }
    }

    fn open_labels(&mut self) {
        self.text_done();
        self.state.drawing.cancel();
        let file = self.state.work.is_none().then(|| self.state.settings.labels.clone());
        let mut editor = LabelEditor::new(self.state.drawing.taxonomy.clone(), file);
        let session = self.state.session();
        let counts = session.map(|session| session.label_counts()).unwrap_or_default();
        editor.here = counts.into_iter().map(|(label, count)| (label.to_owned(), count)).collect();
        self.state.labels = Some(editor);
        let own = self.session_folder();
        let folders: Vec<PathBuf> = match &self.state.work {
            Some(work) => {
                let readers = work.project.readers().unwrap_or_default();
                readers.iter().filter_map(|reader| work.project.readings(reader).ok()).collect()
            }
            None => own.iter().cloned().collect(),
        };
        let open = self.state.session().map(|session| session.series_uid.clone());
        self.jobs.start(JobKind::Labels, "Looking for labels in use", move |task| {
            let mut readings: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
            for folder in folders {
                task.check()?;
                let (sessions, _) = read_sessions(&folder).map_err(JobError::failed)?;
                let is_own = Some(&folder) == own.as_ref();
                for session in sessions.iter().filter(|session| !(is_own && Some(&session.series_uid) == open.as_ref()))
                {
                    for label in session.label_counts().into_keys() {
                        let reading = (folder.clone(), session.series_uid.clone());
                        readings.entry(label.to_owned()).or_default().insert(reading);
                    }
                }
            }
            Ok(Outcome::LabelUses(readings.into_iter().map(|(label, readings)| (label, readings.len())).collect()))
        });
    }

    /// Where labels are in use is known.
    pub(crate) fn label_uses(&mut self, uses: BTreeMap<String, usize>) {
        if let Some(editor) = &mut self.state.labels {
            editor.elsewhere = Some(uses);
        }
    }

    fn close_labels(&mut self) {
        self.jobs.abandon(JobKind::Labels);
        self.state.labels = None;
    }

    fn use_labels(&mut self, file: String) {
        if self.state.work.is_none() {
            self.state.settings.labels = file;
            self.load_labels(false);
        }
    }

    /// The edited set; none, with a message in the editor, where it is not finished.
    fn finished_labels(&mut self) -> Option<Taxonomy> {
        let editor = self.state.labels.as_mut()?;
        editor.finished().map_err(|message| editor.message = Some(message)).ok()
    }

    fn save_labels(&mut self) {
        let Some(set) = self.finished_labels() else { return };
        let folder = self.settings_folder();
        let Some(editor) = &mut self.state.labels else { return };
        let (file, replaced) = (editor.file.clone(), std::mem::take(&mut editor.replaced));
        let kept = match (&mut self.state.work, folder) {
            (Some(work), _) => work.project.set_labels(set.clone()).map_err(|error| error.to_string()),
            (None, Some(folder)) => {
                let file = file.unwrap_or_else(|| labels::free_file(&folder, &set.name));
                let path = folder.join(&file);
                self.state.settings.labels = file;
                labels::save(&path, &set).map_err(|error| format!("{}: {error}", path.display()))
            }
            (None, None) => Ok(()),
        };
        if let Err(error) = kept {
            if let Some(editor) = &mut self.state.labels {
                editor.replaced = replaced;
                editor.message = Some(format!("Not saved: {error}."));
            }
            return;
        }
        let session = self.state.session();
        let edits: Vec<Edit> = session
            .map(|session| replaced.iter().map(|(from, to)| session.relabel(from, to)).collect())
            .unwrap_or_default();
        if !edits.is_empty() {
            self.edit_document(|document| document.apply(Edit::All { edits }));
        }
        self.close_labels();
        self.take_labels(set);
        self.record_labels();
    }

    fn delete_labels(&mut self) {
        let (Some(folder), Some(editor)) = (self.settings_folder(), &self.state.labels) else { return };
        let Some(file) = editor.file.clone().filter(|file| file != labels::FILE) else { return };
        let path = folder.join(&file);
        if let Err(error) = std::fs::remove_file(&path) {
            self.toast(Tone::Error, format!("{}: {error}", path.display()));
            return;
        }
        self.use_labels(labels::FILE.to_owned());
        self.open_labels();
    }

    fn pick_labels(&mut self) {
        self.jobs.start(JobKind::Dialog, "Choosing a file of labels", move |_| {
            let asked = Instant::now();
            let picked = rfd::FileDialog::new().set_title("Load labels").add_filter("Labels", &["json"]).pick_file();
            match picked {
                None if asked.elapsed() < TOO_SOON_FOR_A_PERSON => Err(JobError::Failed(
                    "this desktop offers no file dialog. Drop the file into the window instead.".to_owned(),
                )),
                picked => Ok(Outcome::LabelFile(picked)),
            }
        });
    }

    fn export_labels(&mut self) {
        let Some(set) = self.finished_labels() else { return };
        let kept = self.labels_path();
        self.jobs.start(JobKind::Dialog, "Saving labels", move |_| {
            let asked = Instant::now();
            let dialog = rfd::FileDialog::new().set_title("Save labels").add_filter("Labels", &["json"]);
            let picked = dialog.set_file_name(labels::FILE).save_file();
            match picked {
                None if asked.elapsed() < TOO_SOON_FOR_A_PERSON => {
                    let place = kept.map(|path| format!(" The labels in use lie in {}.", path.display()));
                    Err(JobError::Failed(format!("this desktop offers no file dialog.{}", place.unwrap_or_default())))
                }
                Some(path) => {
                    labels::save(&path, &set)
                        .map_err(|error| JobError::Failed(format!("{}: {error}", path.display())))?;
                    Ok(Outcome::LabelsSaved(Some(path)))
                }
                None => Ok(Outcome::LabelsSaved(None)),
            }
        });
    }
}
