//! Every action that a reader can name, its keys, its words and its icon, in one table.
//!
//! Tooltips, menus, the `?` overlay and the keyboard itself all read [`ACTIONS`] through the [`Keys`] in use, so that they cannot
//! disagree.

mod keys;
mod shortcut;

pub use keys::{Keys, claim_keys, digit_pressed, next_press, release_keys};
pub use shortcut::Shortcut;

use eframe::egui::{Key, Modifiers};
use lucide_icons::Icon;

/// Something the reader can ask for by key, button or menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Action {
    OpenFolder,
    OpenFiles,
    OpenSample,
    Home,
    FullScreen,
    Quit,
    ShowKeys,
    Undo,
    Redo,
    ToggleBrowser,
    ToggleFindings,
    ToggleTheme,
    FindStudy,
    NextImage,
    PreviousImage,
    NextTenImages,
    PreviousTenImages,
    FirstImage,
    LastImage,
    NextSeries,
    PreviousSeries,
    NextViewport,
    Cine,
    ToolWindow,
    ToolZoom,
    ToolPan,
    ToolScroll,
    Crosshair,
    Maximise,
    Planes,
    Lenses,
    SlabThicker,
    SlabThinner,
    Invert,
    Rotate,
    FlipHorizontal,
    FlipVertical,
    Escape,
    Overlays,
    /// The next series of the space over the one in view, then none.
    LayOver,
    OverlayFainter,
    OverlayStronger,
    /// The elements of the file in view.
    Tags,
    CopyView,
    ExportView,
    /// A window preset, by its digit.
    Preset(u8),
    Analyse,
    Probe,
    NextMap,
    PreviousMap,
    NextFinding,
    PreviousFinding,
    AcceptFinding,
    RejectFinding,
    CommentFinding,
    KeyImage,
    Report,
    ToolLength,
    ToolBidirectional,
    ToolAngle,
    ToolCobb,
    ToolEllipse,
    ToolBox,
    ToolPolygon,
    ToolFreehand,
    ToolPoint,
    ToolArrow,
    ToolText,
    ToolCalibrate,
    ToolBrush,
    ToolEraser,
    ToolGrow,
    ToolLiveWire,
    ToolSmart,
    TakeOffer,
    FillHoles,
    SmoothMask,
    CopyToNext,
    CopyToPrevious,
    Interpolate,
    MaskUnion,
    MaskSubtract,
    MaskIntersect,
    BrushSmaller,
    BrushLarger,
    DeleteShape,
    NewProject,
    OpenProject,
    NextCase,
    PreviousCase,
    /// The open series of a project is done, and the next one is opened.
    CaseDone,
    CaseFlag,
    CompareReaders,
    /// Another reader's shapes beside one's own.
    OtherReader,
    History,
    ExportProject,
    ImportProject,
    FineTune,
}

/// Where an action stands in the overlay of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// Opening and the window itself.
    General,
    /// Moving through images and series.
    Navigate,
    /// Mouse tools and what they show.
    View,
    /// Measuring, annotating, painting.
    Draw,
    /// Windows on digits.
    Window,
    /// Findings and report.
    Read,
    /// Many studies, several readers.
    Project,
}

impl Group {
    /// All, in the order they are shown in.
    pub const ALL: [Self; 7] =
        [Self::Navigate, Self::View, Self::Draw, Self::Window, Self::Read, Self::Project, Self::General];

    /// Heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::General => "General",
            Self::Navigate => "Images and series",
            Self::View => "View",
            Self::Draw => "Measure and annotate",
            Self::Window => "Window presets",
            Self::Read => "Findings and report",
            Self::Project => "Project",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The action.
    pub action: Action,
    /// Keys that ask for it at first; [`Keys`] has those in use.
    pub keys: &'static [Shortcut],
    /// Where it is listed.
    pub group: Group,
    /// What it does, in two or three words.
    pub label: &'static str,
    /// Its icon, where a button has it.
    pub icon: Option<Icon>,
}

const fn key(key: Key) -> Shortcut {
    Shortcut { modifiers: Modifiers::NONE, key }
}

const fn shift(key: Key) -> Shortcut {
    Shortcut { modifiers: Modifiers::SHIFT, key }
}

const fn command(key: Key) -> Shortcut {
    Shortcut { modifiers: Modifiers::COMMAND, key }
}

const fn row(
    action: Action,
    keys: &'static [Shortcut],
    group: Group,
    label: &'static str,
    icon: Option<Icon>,
) -> Entry {
    Entry { action, keys, group, label, icon }
}

/// The table.
pub const ACTIONS: &[Entry] = {
    use Action::*;
    use Group::*;
    &[
        row(NextImage, &[key(Key::ArrowDown)], Navigate, "Next image", None),
        row(PreviousImage, &[key(Key::ArrowUp)], Navigate, "Previous image", None),
        row(NextTenImages, &[shift(Key::ArrowDown)], Navigate, "Ten images on", None),
        row(PreviousTenImages, &[shift(Key::ArrowUp)], Navigate, "Ten images back", None),
        row(FirstImage, &[key(Key::Home)], Navigate, "First image", None),
        row(LastImage, &[key(Key::End)], Navigate, "Last image", None),
        row(NextSeries, &[key(Key::ArrowRight), key(Key::PageDown)], Navigate, "Next series", None),
        row(PreviousSeries, &[key(Key::ArrowLeft), key(Key::PageUp)], Navigate, "Previous series", None),
        row(NextViewport, &[key(Key::Tab), key(Key::F6)], Navigate, "Next viewport", None),
        row(Cine, &[key(Key::C)], Navigate, "Play as cine", Some(Icon::Play)),
        row(ToolWindow, &[key(Key::W)], View, "Window", Some(Icon::Contrast)),
        row(ToolZoom, &[key(Key::Z)], View, "Zoom", Some(Icon::ZoomIn)),
        row(ToolPan, &[key(Key::T)], View, "Pan", Some(Icon::Move)),
        row(ToolScroll, &[key(Key::S)], View, "Scroll", Some(Icon::ArrowUpDown)),
        row(Crosshair, &[key(Key::H)], View, "Crosshair", Some(Icon::Crosshair)),
        row(Invert, &[key(Key::I)], View, "Invert", Some(Icon::SunMoon)),
        row(Rotate, &[key(Key::R)], View, "Rotate a quarter", Some(Icon::RotateCw)),
        row(FlipHorizontal, &[key(Key::F)], View, "Flip left and right", Some(Icon::FlipHorizontal2)),
        row(FlipVertical, &[shift(Key::F)], View, "Flip top and bottom", Some(Icon::FlipVertical2)),
        row(Overlays, &[key(Key::Space)], View, "Overlays on or off", Some(Icon::Layers)),
        row(LayOver, &[shift(Key::T)], View, "Lay the next series over (PET over CT)", Some(Icon::Blend)),
        row(OverlayFainter, &[key(Key::Num8)], View, "What is laid over fainter", None),
        row(OverlayStronger, &[key(Key::Num9)], View, "What is laid over stronger", None),
        row(ExportView, &[command(Key::E)], View, "Save the view as a picture", Some(Icon::ImageDown)),
        row(
            CopyView,
            &[Shortcut { modifiers: Modifiers::COMMAND.plus(Modifiers::SHIFT), key: Key::E }],
            View,
            "Copy the view",
            Some(Icon::Copy),
        ),
        row(Tags, &[command(Key::I)], View, "Header: all tags", Some(Icon::Tags)),
        row(Maximise, &[key(Key::M)], View, "One viewport or all", Some(Icon::Maximize2)),
        row(Planes, &[key(Key::V)], View, "Planes (MPR) or lenses", Some(Icon::Box)),
        row(Lenses, &[shift(Key::V)], View, "Two lenses", Some(Icon::Columns2)),
        row(SlabThicker, &[key(Key::Period)], View, "Thicker slab", None),
        row(SlabThinner, &[key(Key::Comma)], View, "Thinner slab", None),
        row(Escape, &[key(Key::Escape)], View, "Leave, or reset the view", Some(Icon::RotateCcw)),
        row(ToolLength, &[key(Key::D)], Draw, "Distance", Some(Icon::Ruler)),
        row(ToolBidirectional, &[shift(Key::D)], Draw, "Two diameters (RECIST)", Some(Icon::Diameter)),
        row(ToolAngle, &[key(Key::A)], Draw, "Angle", Some(Icon::Angle)),
        row(ToolCobb, &[shift(Key::A)], Draw, "Cobb angle", Some(Icon::Tangent)),
        row(ToolEllipse, &[key(Key::E)], Draw, "Ellipse", Some(Icon::Circle)),
        row(ToolBox, &[shift(Key::E)], Draw, "Box", Some(Icon::Square)),
        row(ToolPolygon, &[key(Key::G)], Draw, "Polygon", Some(Icon::Pentagon)),
        row(ToolFreehand, &[shift(Key::G)], Draw, "Freehand", Some(Icon::Lasso)),
        row(ToolPoint, &[key(Key::O)], Draw, "Point with value", Some(Icon::LocateFixed)),
        row(ToolArrow, &[key(Key::Q)], Draw, "Arrow", Some(Icon::MoveUpLeft)),
        row(ToolText, &[key(Key::X)], Draw, "Text", Some(Icon::Type)),
        row(ToolBrush, &[key(Key::U)], Draw, "Brush", Some(Icon::Brush)),
        row(ToolEraser, &[shift(Key::U)], Draw, "Eraser", Some(Icon::Eraser)),
        row(ToolLiveWire, &[shift(Key::L)], Draw, "Live wire: an outline that keeps to edges", Some(Icon::Spline)),
        row(ToolGrow, &[shift(Key::W)], Draw, "Region grow", Some(Icon::PaintBucket)),
        row(ToolSmart, &[shift(Key::S)], Draw, "Smart mask (Ctrl+click takes away)", Some(Icon::WandSparkles)),
        row(BrushSmaller, &[key(Key::Minus)], Draw, "Smaller brush or tolerance", None),
        row(BrushLarger, &[key(Key::Plus), key(Key::Equals)], Draw, "Larger brush or tolerance", None),
        row(TakeOffer, &[shift(Key::Enter)], Draw, "Close outline or take mask", None),
        row(FillHoles, &[shift(Key::H)], Draw, "Fill holes of the mask", Some(Icon::Donut)),
        row(SmoothMask, &[shift(Key::M)], Draw, "Smooth the mask", Some(Icon::Waves)),
        row(CopyToNext, &[shift(Key::C)], Draw, "Copy the mask to the next image", Some(Icon::CopyPlus)),
        row(CopyToPrevious, &[shift(Key::P)], Draw, "Copy the mask to the image before", Some(Icon::CopyMinus)),
        row(Interpolate, &[shift(Key::I)], Draw, "Interpolate between painted slices", Some(Icon::Layers3)),
        row(MaskUnion, &[shift(Key::O)], Draw, "Add the other label's mask", Some(Icon::SquaresUnite)),
        row(MaskSubtract, &[shift(Key::X)], Draw, "Cut the other label's mask out", Some(Icon::SquaresSubtract)),
        row(MaskIntersect, &[shift(Key::B)], Draw, "Keep what both labels have", Some(Icon::SquaresIntersect)),
        row(ToolCalibrate, &[key(Key::L)], Draw, "Calibrate by a line", Some(Icon::Scaling)),
        row(DeleteShape, &[key(Key::Backspace)], Draw, "Delete the selected shape", Some(Icon::Trash2)),
        row(Preset(0), &[key(Key::Num0)], Window, "Auto", None),
        row(Preset(1), &[key(Key::Num1)], Window, "First of the file", None),
        row(Preset(2), &[key(Key::Num2)], Window, "Second of the file", None),
        row(Preset(3), &[key(Key::Num3)], Window, "Brain", None),
        row(Preset(4), &[key(Key::Num4)], Window, "Abdomen", None),
        row(Preset(5), &[key(Key::Num5)], Window, "Mediastinum", None),
        row(Preset(6), &[key(Key::Num6)], Window, "Bone", None),
        row(Preset(7), &[key(Key::Num7)], Window, "Lung", None),
        row(Analyse, &[command(Key::Enter)], Read, "Analyse", Some(Icon::Sparkles)),
        row(Probe, &[key(Key::B)], Read, "Attention probe", Some(Icon::Target)),
        row(NextMap, &[key(Key::J)], Read, "Next map of the lens", None),
        row(PreviousMap, &[shift(Key::J)], Read, "Previous map of the lens", None),
        row(NextFinding, &[key(Key::N)], Read, "Next finding", None),
        row(PreviousFinding, &[shift(Key::N)], Read, "Previous finding", None),
        row(AcceptFinding, &[key(Key::Y)], Read, "Accept the finding", Some(Icon::Check)),
        row(RejectFinding, &[key(Key::Delete)], Read, "Reject it", Some(Icon::X)),
        row(CommentFinding, &[key(Key::Enter)], Read, "Comment on the finding", None),
        row(KeyImage, &[key(Key::K)], Read, "Key image", Some(Icon::Star)),
        row(Report, &[key(Key::P)], Read, "Report", Some(Icon::FileText)),
        row(Undo, &[command(Key::Z)], Read, "Undo", Some(Icon::Undo2)),
        row(
            Redo,
            &[command(Key::Y), Shortcut { modifiers: Modifiers::COMMAND.plus(Modifiers::SHIFT), key: Key::Z }],
            Read,
            "Redo",
            Some(Icon::Redo2),
        ),
        row(NextCase, &[shift(Key::PageDown)], Project, "Next case", Some(Icon::SkipForward)),
        row(PreviousCase, &[shift(Key::PageUp)], Project, "Previous case", Some(Icon::SkipBack)),
        row(CaseDone, &[command(Key::D)], Project, "Case done, and the next one", Some(Icon::CircleCheck)),
        row(CaseFlag, &[command(Key::B)], Project, "Set the case aside", Some(Icon::Flag)),
        row(OtherReader, &[shift(Key::R)], Project, "Other reader's shapes on or off", Some(Icon::Eye)),
        row(CompareReaders, &[command(Key::R)], Project, "Compare readers", Some(Icon::Users)),
        row(History, &[command(Key::H)], Project, "History", Some(Icon::History)),
        row(ExportProject, &[], Project, "Export", Some(Icon::Upload)),
        row(ImportProject, &[], Project, "Import", Some(Icon::Download)),
        row(FineTune, &[], Project, "Fine-tune", Some(Icon::GraduationCap)),
        row(NewProject, &[command(Key::N)], General, "New project", Some(Icon::FolderPlus)),
        row(OpenProject, &[], General, "Open project", Some(Icon::FolderKanban)),
        row(OpenFolder, &[command(Key::O)], General, "Open folder", Some(Icon::FolderOpen)),
        row(
            OpenFiles,
            &[Shortcut { modifiers: Modifiers::COMMAND.plus(Modifiers::SHIFT), key: Key::O }],
            General,
            "Open files",
            Some(Icon::FilePlus),
        ),
        row(OpenSample, &[], General, "Sample study", Some(Icon::FlaskConical)),
        row(Home, &[command(Key::Home)], General, "Start screen", Some(Icon::House)),
        row(FindStudy, &[command(Key::F)], General, "Search studies", Some(Icon::Search)),
        row(ToggleBrowser, &[key(Key::OpenBracket)], General, "Study list", Some(Icon::PanelLeft)),
        row(ToggleFindings, &[key(Key::CloseBracket)], General, "Findings panel", Some(Icon::PanelRight)),
        row(ToggleTheme, &[command(Key::T)], General, "Dark or light", Some(Icon::Sun)),
        row(Quit, &[command(Key::Q)], General, "Quit", Some(Icon::X)),
        row(FullScreen, &[key(Key::F11)], General, "Full screen", Some(Icon::Maximize)),
        row(
            ShowKeys,
            &[key(Key::Questionmark), key(Key::F1), shift(Key::Slash)],
            General,
            "Keys",
            Some(Icon::Keyboard),
        ),
    ]
};

impl Action {
    /// Its name in the file of settings.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// Another action whose key means this one at times, and when ([`crate::state::State::meant`]).
    pub fn also(self) -> Option<(Self, &'static str)> {
        Some(match self {
            Self::BrushSmaller => (Self::ToggleBrowser, ""),
            Self::BrushLarger => (Self::ToggleFindings, ""),
            Self::TakeOffer => (Self::CommentFinding, ""),
            Self::DeleteShape => (Self::RejectFinding, ""),
            Self::AcceptFinding => (Self::ToolAngle, " while it is selected"),
            Self::RejectFinding => (Self::Rotate, " while it is selected"),
            _ => return None,
        })
    }

    /// Whether the action does something that is seen on the start screen too.
    pub fn is_general(self) -> bool {
        self == Self::Escape || entry(self).is_some_and(|entry| entry.group == Group::General)
    }

    /// Whether the action does something that is seen while the editor of labels lies over the screen.
    pub fn reaches_the_labels(self) -> bool {
        matches!(self, Self::Escape | Self::ToggleTheme | Self::FullScreen | Self::Quit)
    }

    /// Whether the action does something that is seen while the report lies over the lenses.
    pub fn reaches_the_report(self) -> bool {
        let also = [Self::Report, Self::Undo, Self::Redo, Self::NextSeries, Self::PreviousSeries];
        also.contains(&self) || (self.is_general() && self != Self::ToggleFindings)
    }
}

/// The row of an action.
pub fn entry(action: Action) -> Option<&'static Entry> {
    ACTIONS.iter().find(|entry| entry.action == action)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_key_asks_for_two_things() {
        let mut seen = HashSet::new();
        for entry in ACTIONS {
            for shortcut in entry.keys {
                assert!(seen.insert(*shortcut), "{} is taken twice ({})", shortcut.label(), entry.label);
            }
        }
    }

    #[test]
    fn every_action_is_listed_once() {
        let mut seen = HashSet::new();
        for entry in ACTIONS {
            assert!(seen.insert(entry.action), "{:?} is listed twice", entry.action);
        }
        assert!((0..=7).all(|digit| entry(Action::Preset(digit)).is_some()));
    }
}
