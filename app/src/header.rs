//! What a file says of itself: all its elements, and of objects without an image what they hold and refer to.

use bifocal_core::dicom::{DicomFile, ObjectSummary, TagRow, describe_object, tag_rows};
use bifocal_core::study::{Series, Source};

use crate::app::{App, Outcome};
use crate::jobs::{JobError, JobKind};
use crate::state::Tone;
use crate::ui::text;

/// A file whose header is looked at.
#[derive(Debug)]
pub struct Header {
    /// The files of the series, and which of them.
    pub sources: Vec<Source>,
    /// Index into them.
    pub index: usize,
    /// What is shown.
    pub tab: Tab,
    /// Only rows that contain all these words are listed.
    pub search: String,
    /// Put the keyboard into the search field in the next frame.
    pub focus_search: bool,
    /// What was read.
    pub content: Content,
}

/// What was read of a file.
#[derive(Debug, Default)]
pub enum Content {
    /// Being read.
    #[default]
    Loading,
    /// Read.
    Ready(Box<Read>),
    /// Cannot be read, and why.
    Failed(String),
}

/// A file, read.
#[derive(Debug)]
pub struct Read {
    /// What it is.
    pub object: ObjectSummary,
    /// All its elements.
    pub rows: Vec<TagRow>,
    /// What it refers to, in the words of the list of studies.
    pub references: Vec<Referred>,
}

/// Something that an object refers to.
#[derive(Debug, PartialEq, Eq)]
pub struct Referred {
    /// Title of the series, or its UID where it is not open.
    pub title: String,
    /// How many of its instances are named, and how many of those are open.
    pub detail: String,
    /// Study and series, where it is open and has images.
    pub place: Option<(usize, usize)>,
}

/// The two views of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// What it is, holds and refers to.
    Object,
    /// Its elements.
    Tags,
}

/// What is asked of the viewer of headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderCommand {
    /// Shows a view.
    Tab(Tab),
    /// Searches the elements.
    Search(String),
    /// The search field has taken the keyboard.
    SearchFocused,
    /// Shows another file of the series.
    File(usize),
    /// Closes it.
    Close,
}

impl App {
    /// Carries out what is asked of the viewer of headers.
    pub(crate) fn header(&mut self, command: HeaderCommand) {
        let Some(header) = &mut self.state.header else { return };
        match command {
            HeaderCommand::Tab(tab) => {
                header.focus_search = tab == Tab::Tags && header.tab != Tab::Tags;
                header.tab = tab;
            }
            HeaderCommand::Search(search) => header.search = search,
            HeaderCommand::SearchFocused => header.focus_search = false,
            HeaderCommand::File(index) => {
                header.index = index.min(header.sources.len().saturating_sub(1));
                self.read_header();
            }
            HeaderCommand::Close => self.close_header(),
        }
    }

    /// Opens or closes the elements of the image in view.
    pub(crate) fn toggle_tags(&mut self) {
        if self.state.header.is_some() {
            self.close_header();
            return;
        }
        let Some(reading) = &self.state.reading else { return };
        let Some((instance, _)) = reading.instance_at(reading.view.position) else { return };
        let source = instance.source.clone();
        self.open_header(vec![source], Tab::Tags);
    }

    /// Says what the objects of a series without images are.
    pub(crate) fn open_objects(&mut self, series: &Series) {
        let sources: Vec<Source> = series.instances.iter().map(|instance| instance.source.clone()).collect();
        if sources.is_empty() {
            self.toast(Tone::Info, "This series holds no object.");
        } else {
            self.open_header(sources, Tab::Object);
        }
    }

    fn open_header(&mut self, sources: Vec<Source>, tab: Tab) {
        let focus_search = tab == Tab::Tags;
        let content = Content::Loading;
        self.state.header = Some(Header { sources, index: 0, tab, search: String::new(), focus_search, content });
        self.read_header();
    }

    pub(crate) fn close_header(&mut self) {
        self.jobs.abandon(JobKind::Header);
        self.state.header = None;
    }

    fn read_header(&mut self) {
        let Some(header) = &mut self.state.header else { return };
        let Some(source) = header.sources.get(header.index).cloned() else { return };
        header.content = Content::Loading;
        self.jobs.start(JobKind::Header, "Reading a header", move |_| {
            // The whole file: a report may lie behind what counts as header elsewhere.
            let file = DicomFile::read(&source).map_err(JobError::failed)?;
            Ok(Outcome::Header(Box::new((describe_object(&file), tag_rows(&file)))))
        });
    }

    /// A header is read, or cannot be.
    pub(crate) fn header_read(&mut self, read: Result<(ObjectSummary, Vec<TagRow>), String>) {
        let content = match read {
            Ok((object, rows)) => {
                let references = object.references.iter().map(|reference| self.referred(reference)).collect();
                Content::Ready(Box::new(Read { object, rows, references }))
            }
            Err(message) => Content::Failed(message),
        };
        if let Some(header) = &mut self.state.header {
            header.content = content;
        }
    }

    fn referred(&self, reference: &bifocal_core::dicom::Reference) -> Referred {
        let named = match reference.instances.len() {
            1 => "1 instance".to_owned(),
            count => format!("{count} instances"),
        };
        let studies = self.state.library.studies.iter().enumerate();
        let all = studies.flat_map(|(study, entry)| entry.series.iter().enumerate().map(move |(i, s)| (study, i, s)));
        let holds = |series: &Series| {
            let known = |uid: &&String| series.instances.iter().any(|instance| instance.uid.0 == **uid);
            reference.instances.iter().filter(known).count()
        };
        let found = all
            .map(|(study, index, series)| {
                let same = reference.series_uid.as_ref().is_some_and(|uid| series.uid.0 == *uid);
                (holds(series), same, study, index, series)
            })
            .filter(|(open, same, ..)| *open > 0 || *same)
            .max_by_key(|(open, same, ..)| (*open, *same));
        match found {
            Some((open, _, study, index, series)) => Referred {
                title: text::join([text::series_title(series), series.modality.clone()]),
                detail: format!("{named} named, {open} open"),
                place: (series.frame_count() > 0).then_some((study, index)),
            },
            None => Referred {
                title: reference.series_uid.clone().unwrap_or_else(|| "Instances of an unnamed series".to_owned()),
                detail: format!("{named} named, none open"),
                place: None,
            },
        }
    }
}
