//! What belongs to a project and who reads in it: studies come and go, readers are renamed. Images and what was drawn are left as they are.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Deed, Project, ProjectError, Settings};
use crate::annotation::Taxonomy;
use crate::dicom::index_paths;
use crate::study::{Study, StudyIndex, StudyUid};
use crate::task::{Cancelled, Task};

impl Project {
    /// Its images: all under its sources, but for the studies that were taken out.
    ///
    /// # Errors
    /// Only when cancelled.
    pub fn index(&self, task: &Task) -> Result<StudyIndex, Cancelled> {
        Ok(self.index_all(task)?.0)
    }

    /// As [`Project::index`], with the studies that were taken out beside.
    ///
    /// # Errors
    /// Only when cancelled.
    pub fn index_all(&self, task: &Task) -> Result<(StudyIndex, Vec<Study>), Cancelled> {
        let mut index = index_paths(&self.sources(), task)?;
        let is_out = |study: &Study| self.settings.left_out.contains(&study.uid);
        let (out, studies) = std::mem::take(&mut index.studies).into_iter().partition(is_out);
        index.studies = studies;
        Ok((index, out))
    }

    /// Studies that were taken out.
    pub fn left_out(&self) -> &[StudyUid] {
        &self.settings.left_out
    }

    /// Gives the project another name.
    pub fn rename(&mut self, name: &str) -> Result<(), ProjectError> {
        self.change(|settings| settings.name = name.to_owned())
    }

    /// Replaces the labels.
    pub fn set_labels(&mut self, labels: Taxonomy) -> Result<(), ProjectError> {
        self.change(|settings| settings.labels = labels)
    }

    /// Adds files and folders of images, by `reader`; those that lie under the ones it has are in it already. Returns how many are new.
    ///
    /// # Errors
    /// Where one does not exist, or the project's folder lies in it: what is written would be read as images.
    pub fn add_sources(&mut self, reader: &str, paths: &[PathBuf]) -> Result<usize, ProjectError> {
        let mut new = Vec::new();
        for path in paths {
            let path = path.canonicalize().map_err(ProjectError::file(path))?;
            apart(&self.folder, &path)?;
            let known = self.sources().iter().any(|source| source.canonicalize().is_ok_and(|s| path.starts_with(s)));
            if !known && !new.contains(&path) {
                new.push(path);
            }
        }
        if !new.is_empty() {
            self.change(|settings| settings.sources.extend(new.iter().cloned()))?;
            self.record(reader, &Deed::Added { paths: new.clone() })?;
        }
        Ok(new.len())
    }

    /// Takes a study out, by `reader`, or puts it back. Its images and what was drawn on them stay where they are.
    pub fn set_left_out(&mut self, reader: &str, study: &StudyUid, out: bool) -> Result<(), ProjectError> {
        self.change(|settings| {
            settings.left_out.retain(|other| other != study);
            if out {
                settings.left_out.push(study.clone());
            }
        })?;
        let study = study.clone();
        self.record(reader, &if out { Deed::Removed { study } } else { Deed::PutBack { study } })
    }

    /// Gives a reader another name. None of the reader's files may be open.
    ///
    /// # Errors
    /// Where somebody has that name, or it cannot be one.
    pub fn rename_reader(&self, from: &str, to: &str) -> Result<(), ProjectError> {
        let (old, new) = (self.readings(from)?, self.readings(to)?);
        if new.exists() {
            return Err(ProjectError::content(&new, format!("{to} has read in this project already")));
        }
        match fs::rename(&old, &new) {
            // Who has not read yet has no folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done.map_err(ProjectError::file(&old))?,
        }
        self.record(to, &Deed::Renamed { from: from.to_owned() })
    }

    /// Changes the settings as they are on disk now: others may have changed them since they were read.
    fn change(&mut self, change: impl FnOnce(&mut Settings)) -> Result<(), ProjectError> {
        let mut next = Self::open(&self.folder)?;
        change(&mut next.settings);
        next.save()?;
        *self = next;
        Ok(())
    }
}

/// Refuses a folder to write into that lies among images.
///
/// # Errors
/// Where `folder`, which need not exist yet, is `source` or lies in it.
pub(super) fn apart(folder: &Path, source: &Path) -> Result<(), ProjectError> {
    let absolute = std::path::absolute(folder).map_err(ProjectError::file(folder))?;
    // The nearest folder above that exists tells where links lead.
    let real = absolute.ancestors().find_map(|above| {
        let rest = absolute.strip_prefix(above).ok()?;
        above.canonicalize().ok().map(|real| real.join(rest))
    });
    let source = source.canonicalize().unwrap_or_else(|_| source.to_path_buf());
    if real.is_some_and(|folder| folder.starts_with(&source)) {
        let cause = format!("it lies among the images in {}: choose a folder beside them", source.display());
        return Err(ProjectError::content(folder, cause));
    }
    Ok(())
}
