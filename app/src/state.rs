//! Everything that the window shows. Panels read it; only [`crate::app::App`] changes it, by commands.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use bifocal_core::analysis::{Analysis, FindingId};
use bifocal_core::measure::PixelScale;
use bifocal_core::render::{Colormap, HeatStyle};
use bifocal_core::study::{DisplayAttributes, Instance, InstanceKey, Problem, Series, Study};

use crate::compare::Comparing;
use crate::desk::{Desk, Layout};
use crate::document::ReadingDocument;
use crate::drawing::Drawing;
use crate::exchange::Exchange;
use crate::explain::Explaining;
use crate::fusion::Fusion;
use crate::header::Header;
use crate::history::History;
use crate::images::FrameKey;
use crate::keymap::Action;
use crate::keys::KeyEditor;
use crate::label_editor::LabelEditor;
use crate::layouts::LayoutMenu;
use crate::listing::{Listed, Listing};
use crate::network::Network;
use crate::planes::Planes;
use crate::project::{ProjectDialog, ProjectPanel};
use crate::reader::Reader;
use crate::reading_order::ReadingOrder;
use crate::report::Report;
use crate::settings::Settings;
use crate::smart::SmartFeatures;
use crate::tuning::Tuning;
use crate::view::{ImagePoint, Tool, ViewState};
use crate::work::Work;

/// Which screen fills the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Screen {
    /// Opening something.
    #[default]
    Start,
    /// Reading a series through two lenses.
    Reading,
}

/// The two lenses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lens {
    /// Lesion heat map (warm).
    Local,
    /// Organ-level attention (cool).
    Global,
}

impl Lens {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Local => Self::Global,
            Self::Global => Self::Local,
        }
    }
}

/// The whole state of the window.
pub struct State {
    /// Screen in front.
    pub screen: Screen,
    /// What was opened.
    pub library: Library,
    /// How the list of studies is shown.
    pub browser: Browser,
    /// The series that is read.
    pub reading: Option<Reading>,
    /// The other viewports, and the volume.
    pub desk: Desk,
    /// The series that is laid over those of its space.
    pub fusion: Option<Fusion>,
    /// What is typed in the menu of layouts.
    pub layout_menu: LayoutMenu,
    /// What the left mouse button does.
    pub tool: Tool,
    /// What is remembered.
    pub settings: Settings,
    /// Messages that go by themselves, the oldest first.
    pub toasts: Vec<Toast>,
    /// The map of keys, where it is open.
    pub keys: Option<KeyEditor>,
    /// The editor of labels, where it is open.
    pub labels: Option<LabelEditor>,
    /// The file whose header is looked at.
    pub header: Option<Header>,
    /// Text of the path field on the start screen.
    pub path_field: String,
    /// Device that the network runs on, in words.
    pub device: String,
    /// The bundle in use, in words; `None` where none was found.
    pub model: Option<String>,
    /// SHA-256 of its weights; empty where there is none. Saved readings belong to it.
    pub weights_sha256: String,
    /// The bundle itself, and its answers.
    pub network: Network,
    /// What is made after an analysis.
    pub explaining: Explaining,
    /// The report, where it is open.
    pub report: Option<Report>,
    /// Text that is being typed into the notes.
    pub reader: Reader,
    /// What is being drawn, and with what.
    pub drawing: Drawing,
    /// What the smart tool knows of the image.
    pub smart: SmartFeatures,
    /// The project that is worked on, where one is open.
    pub work: Option<Work>,
    /// The dialog of projects, where it is open.
    pub project: Option<ProjectDialog>,
    /// What of the project is shown on the right.
    pub panel: Option<ProjectPanel>,
    /// Two of its readers compared.
    pub comparing: Comparing,
    /// Who changed what in it, and when.
    pub history: History,
    /// Its export and import.
    pub exchange: Exchange,
    /// Fine-tuning on it.
    pub tuning: Tuning,
    /// Bundles that can be chosen: id or folder, and title.
    pub bundles: Vec<(String, String)>,
}

impl State {
    /// The state of a window that has just opened.
    pub fn new(settings: Settings) -> Self {
        Self {
            screen: Screen::Start,
            library: Library::default(),
            browser: Browser::default(),
            reading: None,
            desk: Desk::default(),
            fusion: None,
            layout_menu: LayoutMenu::default(),
            tool: Tool::default(),
            settings,
            toasts: Vec::new(),
            keys: None,
            labels: None,
            header: None,
            path_field: String::new(),
            device: "CPU".to_owned(),
            model: None,
            weights_sha256: String::new(),
            network: Network::default(),
            explaining: Explaining::default(),
            report: None,
            reader: Reader::default(),
            drawing: Drawing::default(),
            smart: SmartFeatures::default(),
            work: None,
            project: None,
            panel: None,
            comparing: Comparing::default(),
            history: History::default(),
            exchange: Exchange::default(),
            tuning: Tuning::default(),
            bundles: Vec::new(),
        }
    }
}

impl State {
    /// What a key means now: while a finding is selected, R rejects it instead of turning the image.
    pub fn meant(&self, action: Action) -> Action {
        let action = self.meant_in_drawing(action);
        let selected = self.screen == Screen::Reading && self.reading.as_ref().is_some_and(|r| r.selected.is_some());
        if action == Action::Rotate && selected { Action::RejectFinding } else { action }
    }
}

impl State {
    /// The planes, where they are what is shown of the series that is read.
    pub fn planes_in_front(&self) -> Option<&Planes> {
        let uid = self.reading.as_ref()?.series()?.reading_uid();
        let shown = self.settings.layout == Layout::Planes && self.desk.volume_of == Some(uid);
        self.desk.planes().filter(|_| shown)
    }
}

/// Below this width, points, the panel of findings and the list of studies take turns.
pub const ROOM_FOR_BOTH_PANELS: f32 = 1000.0;
/// The same for the panels of a project, which are wider: the image stays the biggest thing.
const ROOM_FOR_PROJECT_PANEL: f32 = 1240.0;

impl State {
    /// Whether the list of studies and the panel of findings are shown in a window of that width.
    pub fn panels_shown(&self, width: f32) -> (bool, bool) {
        let report = self.report.is_some();
        let panel = self.panel.is_some() && !report;
        let findings = self.settings.findings_open && self.reading.is_some() && !report && !panel;
        let narrow =
            ((findings || report) && width < ROOM_FOR_BOTH_PANELS) || (panel && width < ROOM_FOR_PROJECT_PANEL);
        let browser = self.settings.browser_open && !narrow;
        (browser, findings)
    }
}

/// The studies that are open.
#[derive(Debug, Default)]
pub struct Library {
    /// What was asked for.
    pub paths: Vec<PathBuf>,
    /// Studies, newest first.
    pub studies: Vec<Arc<Study>>,
    /// Files that cannot be used, or only in part.
    pub problems: Vec<Problem>,
    /// What was odd about files that can be used, by kind, the most frequent first.
    pub remarks: Vec<RemarkKind>,
    /// The list of them on the left.
    pub listing: Listing,
}

impl Library {
    /// The studies and series of the list on the left, in order.
    pub fn listed(&self, browser: &Browser) -> Rc<Vec<Listed>> {
        self.listing.list(&self.studies, &browser.search, browser.sort)
    }
}

/// Equal remarks about any number of files.
#[derive(Debug)]
pub struct RemarkKind {
    /// What they have in common: tag and cause.
    pub text: String,
    /// How many there are.
    pub count: usize,
    /// The first of them in full, with its file.
    pub first: String,
}

impl RemarkKind {
    /// All kinds among `remarks`.
    pub fn all(remarks: &[Problem]) -> Vec<Self> {
        let kinds = Problem::by_kind(remarks).into_iter();
        kinds.map(|(text, count, first)| Self { text, count, first: first.to_string() }).collect()
    }
}

/// Order of the list of studies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// Newest first.
    #[default]
    Date,
    /// By patient's name.
    Patient,
    /// By modality.
    Modality,
}

impl SortBy {
    /// All orders, with their words.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Date, "Date"), (Self::Patient, "Patient"), (Self::Modality, "Modality")];
}

/// How the list of studies is shown.
#[derive(Debug, Default)]
pub struct Browser {
    /// Only what contains all these words is shown.
    pub search: String,
    /// Order.
    pub sort: SortBy,
    /// Whether the list of problems is unfolded.
    pub problems_open: bool,
    /// Put the keyboard into the search field in the next frame.
    pub focus_search: bool,
}

/// Which lenses are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LensLayout {
    /// Side by side.
    Both,
    /// One has all the room.
    Only(Lens),
}

/// How heat maps and attention are laid over the image.
#[derive(Debug, Clone, PartialEq)]
pub struct OverlaySettings {
    /// Opacity of the lesion heat map, 0 to 1.
    pub heat_opacity: f32,
    /// Probability below which the heat map is clear; `None` takes the bundle's.
    pub heat_threshold: Option<f32>,
    /// Share of the highest value below which a class activation map is clear; `None` takes the usual one.
    pub cam_threshold: Option<f32>,
    /// Which heat map of the analysis is shown.
    pub heat_map: usize,
    /// Colours of the lesion heat map.
    pub heat_colormap: Colormap,
    /// Opacity of the attention map, 0 to 1.
    pub attention_opacity: f32,
    /// Share of the highest attention below which the map is clear; `None` takes what an even map would give.
    pub attention_threshold: Option<f32>,
    /// Colours of the attention map.
    pub attention_colormap: Colormap,
    /// Which attention map of the analysis is shown.
    pub attention_map: usize,
    /// Whether organ contours are drawn.
    pub organ_contours: bool,
    /// Whether contours of findings are drawn.
    pub finding_contours: bool,
}

impl Default for OverlaySettings {
    fn default() -> Self {
        Self {
            heat_opacity: 0.55,
            heat_threshold: None,
            cam_threshold: None,
            heat_map: 0,
            heat_colormap: HeatStyle::LESION.colormap,
            attention_opacity: HeatStyle::ATTENTION.opacity,
            attention_threshold: None,
            attention_colormap: HeatStyle::ATTENTION.colormap,
            attention_map: 0,
            organ_contours: true,
            finding_contours: true,
        }
    }
}

/// One series being read.
pub struct Reading {
    /// The study.
    pub study: Arc<Study>,
    /// Which of its series.
    pub series_index: usize,
    /// Where the images of the series are.
    order: ReadingOrder,
    /// What both lenses show of it.
    pub view: ViewState,
    /// Which lenses are shown.
    pub layout: LensLayout,
    /// The lens that keys act on.
    pub active: Lens,
    /// Where the pointer is, and in which lens: the other one shows a ghost cursor.
    pub hover: Option<(Lens, ImagePoint)>,
    /// The network's answer for the frame in view, once there is one.
    pub analysis: Option<Arc<Analysis>>,
    /// How it is laid over the image.
    pub overlays: OverlaySettings,
    /// What the reader has added.
    pub document: ReadingDocument,
    /// Whether that is a copy to look at, the document itself being with the active viewport on the same series or closed.
    pub document_is_copy: bool,
    /// The finding that is selected.
    pub selected: Option<FindingId>,
    /// Where the attention probe asks from; `None` while the probe is off or has not been put down.
    pub probe: Option<ImagePoint>,
    /// Whether a click on an image puts the probe down.
    pub probing: bool,
}

impl Reading {
    /// Starts reading a series of a study; `None` where it has no image.
    pub fn new(study: Arc<Study>, series_index: usize) -> Option<Self> {
        let series = study.series.get(series_index)?;
        let order = ReadingOrder::of(series);
        let frames = order.count();
        if frames == 0 {
            return None;
        }
        // A stack opens in its middle, where the organs are.
        let (document, _) = ReadingDocument::open(None, &series.reading_uid(), "");
        let view = ViewState { position: if frames > 8 { frames / 2 } else { 0 }, ..ViewState::default() };
        Some(Self {
            study,
            series_index,
            order,
            view,
            layout: LensLayout::Both,
            active: Lens::Local,
            hover: None,
            analysis: None,
            overlays: OverlaySettings::default(),
            document,
            document_is_copy: false,
            selected: None,
            probe: None,
            probing: false,
        })
    }

    /// The series.
    pub fn series(&self) -> Option<&Series> {
        self.study.series.get(self.series_index)
    }

    /// Number of images to scroll through.
    pub fn frame_count(&self) -> usize {
        self.order.count()
    }

    /// Instance and frame at a scroll position.
    pub fn instance_at(&self, position: usize) -> Option<(&Instance, usize)> {
        self.order.at(self.series()?, position)
    }

    /// The scroll position of a frame of an instance.
    pub fn position_of(&self, instance: &InstanceKey, frame: usize) -> Option<usize> {
        self.order.position_of(self.series()?, instance, frame)
    }

    /// The frame at a scroll position, as the store of images knows it.
    pub fn key_at(&self, position: usize) -> Option<FrameKey> {
        self.instance_at(position).map(|(instance, frame)| FrameKey { source: instance.source.clone(), frame })
    }

    /// What a pixel of the frame in view measures, by hand where the reader has calibrated it.
    pub fn scale_of(&self, display: &DisplayAttributes) -> PixelScale {
        let instance = self.instance_at(self.view.position).map(|(instance, _)| instance.key());
        let by_hand = instance.and_then(|key| self.document.session().calibrations.get(&key).copied());
        PixelScale::of(display, by_hand)
    }

    /// Whether the frame in view is picked for the report.
    pub fn is_key_image(&self) -> bool {
        self.instance_at(self.view.position)
            .is_some_and(|(instance, frame)| self.document.session().key_images.contains(&(instance.key(), frame)))
    }

    /// Frames that should be decoded: the one in view, then its neighbours, those ahead first.
    pub fn wanted(&self, ahead: usize) -> Vec<FrameKey> {
        self.key_at(self.view.position).into_iter().chain(self.around(1..=ahead)).collect()
    }

    /// Frames at distances from the one in view, the nearest first, those ahead before those behind.
    pub fn around(&self, distances: std::ops::RangeInclusive<usize>) -> impl Iterator<Item = FrameKey> {
        let position = self.view.position;
        let places = distances.flat_map(move |away| [position.checked_add(away), position.checked_sub(away)]);
        places.flatten().filter_map(|place| self.key_at(place))
    }

    /// Brings an analysis into the lenses; what was selected and probed in another one is let go. A volume's findings are the same on all its
    /// images.
    pub fn show_analysis(&mut self, analysis: Arc<Analysis>) {
        let same = |test: &dyn Fn(&Analysis) -> bool| self.analysis.as_deref().is_some_and(test);
        let volume = same(&|before| {
            let of_volume = before.place.is_some() && analysis.place.is_some();
            of_volume && before.target.series_uid == analysis.target.series_uid && before.model == analysis.model
        });
        let image = same(&|before| before.target == analysis.target && before.model == analysis.model);
        if !volume {
            self.selected = None;
        }
        if !image {
            self.probe = None;
        }
        self.analysis = Some(analysis);
    }

    /// Whether the analysis is of the frame in view.
    pub fn analysis_in_view(&self) -> Option<&Arc<Analysis>> {
        let (instance, frame) = self.instance_at(self.view.position)?;
        self.analysis
            .as_ref()
            .filter(|analysis| analysis.target.instance_uid == instance.key() && analysis.target.frame == frame)
    }
}

/// How a message is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Something went well.
    Info,
    /// Something to look at.
    Warning,
    /// Something failed.
    Error,
}

/// A message that goes by itself.
#[derive(Debug, Clone)]
pub struct Toast {
    /// Names it for dismissal.
    pub id: u64,
    /// How it is meant.
    pub tone: Tone,
    /// What happened, and what to do.
    pub text: String,
    /// When it goes, seconds since the window opened; `None` stays until dismissed.
    pub until: Option<f64>,
}

#[cfg(test)]
pub(crate) mod fixtures {
    //! Small studies for tests of the window.

    use bifocal_core::study::{InstanceUid, Patient, SeriesUid, Source, StudyUid};

    use super::*;

    /// A study with one series of `frames` single-frame files.
    pub fn study(name: &str, modality: &str, frames: usize) -> Study {
        let instances = (0..frames)
            .map(|n| Instance {
                uid: InstanceUid(format!("1.2.{n}")),
                twin: None,
                sop_class: String::new(),
                source: Source::file(format!("{name}-{n}.dcm")),
                number: Some(n as i64),
                transfer_syntax: String::new(),
                rows: 16,
                columns: 16,
                frames: 1,
                frame_order: Vec::new(),
                geometry: None,
            })
            .collect();
        let series = Series {
            uid: SeriesUid(format!("1.2.{name}")),
            twin: None,
            modality: modality.into(),
            number: Some(1),
            description: "Thorax".into(),
            body_part: "CHEST".into(),
            view_position: String::new(),
            laterality: String::new(),
            manufacturer: String::new(),
            institution: String::new(),
            frame_of_reference: None,
            instances,
            notes: Vec::new(),
        };
        Study {
            uid: StudyUid(format!("1.2.3.{name}")),
            patient: Patient { name: name.into(), id: format!("id-{name}"), ..Patient::default() },
            date: "20260102".into(),
            time: String::new(),
            description: "Chest".into(),
            accession_number: String::new(),
            series: vec![series],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_wants_the_frame_in_view_first() {
        let mut reading = Reading::new(Arc::new(fixtures::study("A", "CT", 5)), 0).expect("has images");
        reading.view.position = 2;
        let names: Vec<_> = reading.wanted(9).iter().map(|key| key.source.to_string()).collect();
        assert_eq!(names, ["A-2.dcm", "A-3.dcm", "A-1.dcm", "A-4.dcm", "A-0.dcm"]);
    }

    #[test]
    fn a_series_without_images_is_not_read() {
        assert!(Reading::new(Arc::new(fixtures::study("A", "SR", 0)), 0).is_none());
        assert!(Reading::new(Arc::new(fixtures::study("A", "CT", 3)), 7).is_none());
    }

    #[test]
    fn panels_take_turns_in_a_narrow_window() {
        let mut state = State::new(Settings::default());
        assert_eq!(state.panels_shown(800.0), (true, false));
        state.reading = Reading::new(Arc::new(fixtures::study("A", "CT", 5)), 0);
        assert_eq!(state.panels_shown(1400.0), (true, true));
        assert_eq!(state.panels_shown(800.0), (false, true));
        state.report = Some(Report::default());
        assert_eq!(state.panels_shown(800.0), (false, false), "the report has its fields there");
        assert_eq!(state.panels_shown(1400.0), (true, false));
        state.report = None;
        state.settings.findings_open = false;
        assert_eq!(state.panels_shown(800.0), (true, false));
        state.panel = Some(ProjectPanel::Comparison);
        assert_eq!((state.panels_shown(1100.0), state.panels_shown(1400.0)), ((false, false), (true, false)));
    }

    #[test]
    fn a_stack_opens_in_its_middle() {
        let reading = Reading::new(Arc::new(fixtures::study("A", "CT", 100)), 0).expect("has images");
        assert_eq!(reading.view.position, 50);
    }
}
