//! What is remembered between two runs, in the platform's own folder.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use bifocal_core::analysis::MapKind;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::desk::{Layout, Links};
use crate::keymap::Keys;
use crate::layouts::{SavedLayout, read_layouts};

/// Everything that is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Dark theme.
    pub dark: bool,
    /// Scale of the whole window's contents; 1 is the platform's own.
    pub ui_scale: f32,
    /// What was opened, the latest first.
    pub recents: Vec<Recent>,
    /// Who read last in a project.
    pub reader: String,
    /// Where the last dialog was.
    pub last_folder: Option<PathBuf>,
    /// Device of the network: `auto`, `cpu`, `cuda` or `metal`.
    pub device: String,
    /// Threads that compute; 0 is [`automatic_threads`]. Read when the program starts.
    pub threads: usize,
    /// Memory that decoded images may take, MiB; an eighth of it beside the volume of the series.
    pub frames_mib: usize,
    /// Memory that volumes of analysed series may take which are not in view, MiB.
    pub volumes_mib: usize,
    /// Id or folder of the bundle; empty takes the first that is found.
    pub model: String,
    /// What goes into a report.
    pub report: bifocal_core::report::ReportOptions,
    /// Where the last report was written.
    pub report_folder: Option<PathBuf>,
    /// Whether a series is analysed as soon as it is opened.
    pub analyse_on_open: bool,
    /// Kind of map in the local lens.
    pub local_map: MapKind,
    /// Whether class activation maps explain the selected finding alone, where one is selected.
    pub explain_selection: bool,
    /// Whether maps are tested after an analysis.
    pub test_maps: bool,
    /// Whether the list of studies is shown.
    pub browser_open: bool,
    /// Whether the panel of findings is shown.
    pub findings_open: bool,
    /// How the middle of the reading screen is divided.
    pub layout: Layout,
    /// Layouts that are kept by name.
    #[serde(deserialize_with = "read_layouts")]
    pub layouts: Vec<SavedLayout>,
    /// What the viewports of a grid do together.
    pub links: Links,
    /// The file of labels in use, seen from the folder of settings.
    pub labels: String,
    /// Keys that the reader has changed.
    pub keys: Keys,
    /// Size and place of the window.
    pub window: WindowPlace,
}

/// Size and place of the window, points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WindowPlace {
    /// Width and height of the inside.
    pub size: [f32; 2],
    /// Left and top edge, where the platform tells.
    pub position: Option<[f32; 2]>,
    /// Whether it fills the screen.
    pub maximized: bool,
}

/// Something that was opened before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recent {
    /// Files and folders, as they were given.
    pub paths: Vec<PathBuf>,
    /// Patient, or the file's name.
    pub title: String,
    /// Date and modality.
    pub detail: String,
    /// File of the frame shown as thumbnail.
    pub thumbnail: Option<bifocal_core::study::Source>,
    /// Frame of that file.
    pub thumbnail_frame: usize,
    /// Who read in it, where it is a project.
    pub reader: Option<String>,
}

impl Default for WindowPlace {
    fn default() -> Self {
        Self { size: [1440.0, 900.0], position: None, maximized: false }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dark: true,
            ui_scale: 1.0,
            recents: Vec::new(),
            reader: String::new(),
            last_folder: None,
            device: "auto".to_owned(),
            threads: 0,
            frames_mib: 512,
            volumes_mib: 1024,
            model: String::new(),
            report: bifocal_core::report::ReportOptions::default(),
            report_folder: None,
            analyse_on_open: true,
            local_map: MapKind::LesionHead,
            explain_selection: false,
            test_maps: true,
            browser_open: true,
            findings_open: true,
            layout: Layout::default(),
            layouts: Vec::new(),
            links: Links::default(),
            labels: crate::labels::FILE.to_owned(),
            keys: Keys::default(),
            window: WindowPlace::default(),
        }
    }
}

/// Cores of this machine.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// All cores but one, which is the window's; both, where there are two: it shares one then, since half the speed would be a high price.
pub fn automatic_threads() -> usize {
    let cores = cores();
    cores.saturating_sub(1).max(cores.min(2))
}

/// What the memory for images and for volumes may be set to, MiB.
pub const MEMORY_MIB: std::ops::RangeInclusive<usize> = 64..=65_536;

/// The nearest amount of memory that may be set, MiB.
pub fn memory_mib(wish: usize) -> usize {
    wish.clamp(*MEMORY_MIB.start(), *MEMORY_MIB.end())
}

/// How many recent openings are kept.
const RECENTS_KEPT: usize = 12;

impl Settings {
    /// The platform's file for settings; `None` where there is no home folder.
    pub fn path() -> Option<PathBuf> {
        Some(folder()?.join("settings.json"))
    }

    /// Reads settings; what is missing or damaged takes its default, value by value.
    pub fn load(path: &Path) -> Self {
        fs::read_to_string(path).map_or_else(|_| Self::default(), |text| Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        if let Ok(settings) = serde_json::from_str::<Self>(text) {
            return settings.checked();
        }
        let Ok(Value::Object(stored)) = serde_json::from_str::<Value>(text) else { return Self::default() };
        let mut good = Map::new();
        for (key, value) in stored {
            let mut candidate = good.clone();
            candidate.insert(key, value);
            if serde_json::from_value::<Self>(Value::Object(candidate.clone())).is_ok() {
                good = candidate;
            }
        }
        serde_json::from_value::<Self>(Value::Object(good)).unwrap_or_default().checked()
    }

    fn checked(mut self) -> Self {
        self.ui_scale = if self.ui_scale.is_finite() { self.ui_scale.clamp(0.6, 3.0) } else { 1.0 };
        for side in &mut self.window.size {
            *side = if side.is_finite() { side.clamp(480.0, 16_000.0) } else { 900.0 };
        }
        self.window.position = self.window.position.filter(|p| p.iter().all(|v| v.is_finite() && v.abs() < 1e5));
        self.recents.truncate(RECENTS_KEPT);
        self.threads = self.threads.min(cores());
        self.frames_mib = memory_mib(self.frames_mib);
        self.volumes_mib = memory_mib(self.volumes_mib);
        self.layout = self.layout.checked();
        self
    }

    /// Writes settings beside the old ones first, so that a crash leaves one of the two whole.
    ///
    /// # Errors
    /// Where the folder cannot be made or written.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        let beside = path.with_extension("json.new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    }

    /// Puts an opening at the top of the recent ones.
    pub fn remember(&mut self, recent: Recent) {
        self.recents.retain(|other| other.paths != recent.paths);
        self.recents.insert(0, recent);
        self.recents.truncate(RECENTS_KEPT);
    }
}

/// The platform's own folder for what the application keeps (sessions lie beside the settings).
pub fn folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("BIFOCAL_HOME") {
        return Some(PathBuf::from(folder));
    }
    directories::ProjectDirs::from("", "", "bifocal").map(|dirs| dirs.config_dir().to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_through_a_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("deep/settings.json");
        let mut settings = Settings { dark: false, ui_scale: 1.25, ..Settings::default() };
        settings.remember(Recent { paths: vec!["a".into()], title: "A".into(), ..Recent::default() });
        settings.save(&path).expect("writable");
        assert_eq!(Settings::load(&path), settings);
        assert!(!path.with_extension("json.new").exists());
    }

    #[test]
    fn damage_costs_only_the_damaged_value() {
        let settings = Settings::parse(r#"{"dark": false, "ui_scale": "large", "unknown": 1, "device": "cpu"}"#);
        assert!(!settings.dark);
        assert_eq!(settings.ui_scale, 1.0);
        assert_eq!(settings.device, "cpu");
        assert_eq!(Settings::parse("not json"), Settings::default());
        assert_eq!(Settings::parse(r#"{"ui_scale": 1e30}"#).ui_scale, 3.0);
        let many = Settings::parse(r#"{"threads": 100000}"#);
        assert!(many.threads == cores() && automatic_threads() >= 1 && automatic_threads() <= cores());
        let memory = Settings::parse(r#"{"frames_mib": 0, "volumes_mib": 99999999}"#);
        assert_eq!((memory.frames_mib, memory.volumes_mib), (*MEMORY_MIB.start(), *MEMORY_MIB.end()));
        let huge = Settings::parse(r#"{"layout": {"grid": {"rows": 200, "columns": 0}}}"#);
        assert_eq!(huge.layout, Layout::Grid { rows: 3, columns: 1 });
    }

    #[test]
    fn recents_are_unique_and_few() {
        let mut settings = Settings::default();
        for n in 0..30 {
            settings.remember(Recent { paths: vec![format!("{}", n % 20).into()], ..Recent::default() });
        }
        assert_eq!(settings.recents.len(), RECENTS_KEPT);
        assert_eq!(settings.recents[0].paths, [PathBuf::from("9")]);
    }
}
