//! What patients, images and readers are called in what leaves a project, and copies of images without identifiers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use super::{Project, ProjectError};
use crate::dicom::{Deidentifier, DicomError, DicomFile, pixel_warnings};
use crate::study::{Instance, Series, Source, Study, StudyIndex};

/// Names for the world outside.
#[derive(Debug, Clone, Default)]
pub(super) struct Outside {
    /// Replaces identifiers, where they may not leave.
    deidentifier: Option<Deidentifier>,
}

impl Outside {
    pub(super) fn new(project: &Project, deidentify: bool) -> Self {
        Self { deidentifier: deidentify.then(|| Deidentifier::new(&project.settings.key, Default::default())) }
    }

    pub(super) fn is_deidentified(&self) -> bool {
        self.deidentifier.is_some()
    }

    /// The UID or key of a study, series or image as it is called outside. What tells twins of one UID apart stays.
    pub(super) fn uid(&self, uid: &str) -> String {
        let Some(deidentifier) = &self.deidentifier else { return uid.to_owned() };
        match uid.split_once('#') {
            Some((uid, twin)) => format!("{}#{twin}", deidentifier.uid(uid)),
            None => deidentifier.uid(uid),
        }
    }

    /// The file as it may be told of outside: headers only, but for copies without identifiers.
    pub(super) fn source(&self, project: &Project, study: &Study, source: &Source) -> Result<DicomFile, DicomError> {
        let Some(deidentifier) = &self.deidentifier else { return DicomFile::read_headers(source) };
        let copy = deidentifier.of_patient(&project.patient(study)).copy(&DicomFile::read(source)?)?;
        DicomFile::from_bytes(&copy.bytes, source)
    }

    /// Writes a copy of an image without identifiers into `folder`, which is made where it is missing, as `number`.
    pub(super) fn copy(
        &self,
        project: &Project,
        study: &Study,
        source: &Source,
        (folder, number): (&Path, usize),
    ) -> Result<Result<(), DicomError>, ProjectError> {
        let Some(deidentifier) = &self.deidentifier else { return Ok(Ok(())) };
        let copied =
            DicomFile::read(source).and_then(|file| deidentifier.of_patient(&project.patient(study)).copy(&file));
        let copy = match copied {
            Ok(copy) => copy,
            Err(error) => return Ok(Err(error)),
        };
        fs::create_dir_all(folder).map_err(ProjectError::file(folder))?;
        let file = folder.join(format!("{number:05}.dcm"));
        fs::write(&file, copy.bytes).map_err(ProjectError::file(&file))?;
        Ok(Ok(()))
    }
}

/// The images of a project by the names that files of other programs may have for them: the project's own, and those of exports without
/// identifiers, so that what was drawn on these comes back.
pub(super) struct Images<'i>(HashMap<String, (&'i Series, &'i Instance)>);

impl<'i> Images<'i> {
    pub(super) fn of(project: &Project, index: &'i StudyIndex) -> Self {
        let outside = Outside::new(project, true);
        let mut all = HashMap::new();
        for series in index.studies.iter().flat_map(|study| &study.series) {
            for instance in &series.instances {
                let (key, uid) = (instance.key().0, &instance.uid.0);
                for name in [outside.uid(&key), outside.uid(uid), key, uid.clone()] {
                    all.entry(name).or_insert((series, instance));
                }
            }
        }
        Self(all)
    }

    pub(super) fn find(&self, name: &str) -> Option<(&'i Series, &'i Instance)> {
        self.0.get(name).copied()
    }
}

/// What a person must look at before pictures of series leave: text that may be burned into the pixels.
#[derive(Debug, Default)]
pub(super) struct Burned {
    seen: BTreeSet<String>,
    found: BTreeMap<String, usize>,
}

impl Burned {
    /// Looks at a series by one of its images, once.
    pub(super) fn look(&mut self, series: &str, source: &Source) {
        if !self.seen.insert(series.to_owned()) {
            return;
        }
        let warnings = match DicomFile::read_headers(source) {
            Ok(file) => pixel_warnings(&file),
            Err(_) => vec!["pictures that are no DICOM may have text burned into the pixels".to_owned()],
        };
        for warning in warnings {
            *self.found.entry(warning).or_default() += 1;
        }
    }

    pub(super) fn told(self) -> impl Iterator<Item = String> {
        let series = |count: usize| if count == 1 { "1 series".to_owned() } else { format!("{count} series") };
        self.found
            .into_iter()
            .map(move |(warning, count)| format!("look at the pictures of {}: {warning}", series(count)))
    }
}
