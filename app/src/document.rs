//! The reader's work on a series as the window holds it: saved with every edit where there is a folder for it, else in memory.

use std::path::Path;

use bifocal_core::annotation::{Document, Edit, Session, Store, StoreError};
use bifocal_core::study::SeriesUid;

/// The undoable document of a reading.
#[derive(Debug)]
pub enum ReadingDocument {
    /// Saved with every edit.
    Stored(Box<Store>),
    /// Kept in memory only: there is no folder, or it cannot be written.
    InMemory(Box<Document>),
}

impl ReadingDocument {
    /// Opens what was saved for a series and the weights that it was analysed with, or starts afresh. The message says what is
    /// wrong with the saved file, or why nothing will be saved.
    pub fn open(folder: Option<&Path>, series: &SeriesUid, weights_sha256: &str) -> (Self, Option<String>) {
        let empty = || Document::new(Session::new(series.clone(), weights_sha256.to_owned()));
        let in_memory = || Self::InMemory(Box::new(empty()));
        let Some(folder) = folder else { return (in_memory(), None) };
        match Store::open(folder, series, weights_sha256) {
            Ok(store) => {
                let carried =
                    "Measurements, key images and impression are taken over from the reading with another model.";
                let message = match store.recovered() {
                    Some(cause) => Some(format!("The saved reading was damaged: {cause}.")),
                    None => store.was_carried_over().then(|| carried.to_owned()),
                };
                (Self::Stored(Box::new(store)), message)
            }
            Err(error) => (in_memory(), Some(format!("Reviews of this series will not be saved: {error}"))),
        }
    }

    /// A copy to look at, in memory, without what could be undone.
    pub fn copy(&self) -> Self {
        Self::InMemory(Box::new(Document::new(self.session().clone())))
    }

    /// What the reader has added.
    pub fn session(&self) -> &Session {
        self.document().session()
    }

    /// The document.
    pub fn document(&self) -> &Document {
        match self {
            Self::Stored(store) => store.document(),
            Self::InMemory(document) => document,
        }
    }

    /// Applies an edit; returns whether it changed anything.
    ///
    /// # Errors
    /// Where it was applied but could not be saved.
    pub fn apply(&mut self, edit: Edit) -> Result<bool, StoreError> {
        match self {
            Self::Stored(store) => store.apply(edit),
            Self::InMemory(document) => Ok(document.apply(edit)),
        }
    }

    /// Takes the last edit back; returns whether there was one.
    ///
    /// # Errors
    /// Where it was taken back but that could not be saved.
    pub fn undo(&mut self) -> Result<bool, StoreError> {
        match self {
            Self::Stored(store) => store.undo(),
            Self::InMemory(document) => Ok(document.undo()),
        }
    }

    /// Applies the last undone edit again; returns whether there was one.
    ///
    /// # Errors
    /// Where it was applied but could not be saved.
    pub fn redo(&mut self) -> Result<bool, StoreError> {
        match self {
            Self::Stored(store) => store.redo(),
            Self::InMemory(document) => Ok(document.redo()),
        }
    }
}

#[cfg(test)]
mod tests {
    use bifocal_core::study::InstanceKey;

    use super::*;

    fn edit(key: bool) -> Edit {
        Edit::SetKeyImage { instance: InstanceKey("1.2".into()), frame: 0, key }
    }

    #[test]
    fn edits_survive_a_new_start() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let series = SeriesUid("1.2.3".into());
        let (mut document, message) = ReadingDocument::open(Some(folder.path()), &series, "abc");
        assert_eq!(message, None);
        assert!(document.apply(edit(true)).expect("saved"));
        drop(document);
        let (mut again, _) = ReadingDocument::open(Some(folder.path()), &series, "abc");
        assert_eq!(again.session().key_images.len(), 1);
        assert!(again.undo().expect("saved"));
        assert!(again.session().key_images.is_empty());
        assert!(again.redo().expect("saved"));
        let (other_weights, message) = ReadingDocument::open(Some(folder.path()), &series, "def");
        assert!(
            other_weights.session().key_images.len() == 1 && message.is_some_and(|text| text.contains("taken over"))
        );
    }

    #[test]
    fn without_a_folder_it_works_in_memory() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let (mut document, message) =
            ReadingDocument::open(Some(&file.path().join("below a file")), &SeriesUid("1".into()), "");
        assert!(message.is_some_and(|text| text.contains("not be saved")));
        assert!(document.apply(edit(true)).expect("in memory"));
        assert!(document.undo().expect("in memory"));
        assert!(!document.undo().expect("in memory"));
    }
}
