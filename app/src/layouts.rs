//! Layouts that are kept by name: how the middle of the screen is divided, which kind of series sits where, and which panels are shown.

use bifocal_core::study::{Series, Study};
use bifocal_core::volume::Slab;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::sync::Arc;

use crate::app::App;
use crate::desk::{Layout, Links};
use crate::planes::PlaneEdit;
use crate::state::{Reading, State, Tone};

/// A layout that is kept by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedLayout {
    /// Its name.
    pub name: String,
    /// How the middle is divided.
    pub layout: Layout,
    /// What each viewport shows; lenses and planes have one.
    pub viewports: Vec<Option<SeriesRule>>,
    /// What the viewports do together.
    pub links: Links,
    /// Whether the list of studies is shown.
    pub browser_open: bool,
    /// Whether the panel of findings is shown.
    pub findings_open: bool,
    /// The slab of the planes.
    pub slab: Option<SavedSlab>,
}

/// Which series of a patient a viewport shows: of that study, by modality and description, else by its place among those of the modality.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SeriesRule {
    /// How many studies before the patient's newest.
    pub prior: usize,
    /// Modality.
    pub modality: String,
    /// Series Description.
    pub description: String,
    /// Place among the series of the modality in their study, from 0.
    pub place: usize,
}

/// A [`Slab`] in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedSlab {
    /// Thickness, mm.
    pub thickness_mm: f64,
    /// Name of the projection.
    pub projection: String,
}

/// So many are kept at most.
const MOST: usize = 50;

/// What is typed and asked in the menu of layouts.
#[derive(Debug, Default)]
pub struct LayoutMenu {
    /// Name for the layout in use.
    pub name: String,
    /// A layout whose name is being changed, and the new name.
    pub renamed: Option<(usize, String)>,
    /// A layout that is deleted, if the reader says so.
    pub doomed: Option<usize>,
}

/// What is asked of kept layouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutCommand {
    /// Types the name for the layout in use.
    Name(String),
    /// Keeps the layout in use under the name that was typed, in place of one that has it.
    Save,
    /// Takes a kept layout into use.
    Apply(usize),
    /// Types a new name for a kept layout.
    Rename(usize, String),
    /// Gives it that name, or leaves the old one.
    Renamed(bool),
    /// Asks whether a kept layout is deleted.
    Delete(usize),
    /// Deletes it, or leaves it.
    Deleted(bool),
}

impl SavedLayout {
    /// Within what is possible, whatever a file of settings says; `None` without a name.
    fn checked(mut self) -> Option<Self> {
        self.name = self.name.trim().to_owned();
        self.layout = self.layout.checked();
        self.viewports.truncate(self.layout.viewports());
        (!self.name.is_empty()).then_some(self)
    }

    /// The series that its viewports show of a patient, each one as (study, series) of the list.
    pub fn places(&self, studies: &[Arc<Study>], of: &Study) -> Vec<Option<(usize, usize)>> {
        let find = |rule: &SeriesRule| {
            let (index, study) = of_patient(studies, of).nth(rule.prior)?;
            let same = with_images(study).filter(|(_, series)| series.modality == rule.modality);
            let alike = |series: &Series| series.description.trim().eq_ignore_ascii_case(rule.description.trim());
            // Of several that are called alike the one in the same place counts.
            let by_name: Vec<usize> = same.clone().filter(|(_, series)| alike(series)).map(|(at, _)| at).collect();
            let by_place = same.map(|(at, _)| at).nth(rule.place);
            let series = by_place.filter(|at| by_name.contains(at)).or(by_name.first().copied()).or(by_place)?;
            Some((index, series))
        };
        self.viewports.iter().map(|rule| rule.as_ref().and_then(find)).collect()
    }
}

impl SavedSlab {
    fn slab(&self) -> Option<Slab> {
        let projection = self.projection.parse().ok()?;
        let thickness_mm = Some(self.thickness_mm).filter(|mm| mm.is_finite())?.clamp(0.0, 1000.0);
        Some(Slab { thickness_mm, projection })
    }
}

/// A patient's studies, the newest first as the list has them, each with its place there.
fn of_patient<'a>(studies: &'a [Arc<Study>], of: &'a Study) -> impl Iterator<Item = (usize, &'a Arc<Study>)> {
    studies.iter().enumerate().filter(|(_, study)| study.patient == of.patient)
}

fn with_images(study: &Study) -> impl Iterator<Item = (usize, &Series)> + Clone {
    study.series.iter().enumerate().filter(|(_, series)| series.frame_count() > 0)
}

/// The rule that finds a reading's series again, in this patient's studies and in another's like it.
fn rule_of(studies: &[Arc<Study>], reading: &Reading) -> Option<SeriesRule> {
    let series = reading.series()?;
    let prior = of_patient(studies, &reading.study).position(|(_, study)| study.uid == reading.study.uid)?;
    let mut same = with_images(&reading.study).filter(|(_, other)| other.modality == series.modality);
    Some(SeriesRule {
        prior,
        modality: series.modality.clone(),
        description: series.description.clone(),
        place: same.position(|(at, _)| at == reading.series_index)?,
    })
}

/// Reads kept layouts one by one: a broken one costs itself alone.
pub fn read_layouts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SavedLayout>, D::Error> {
    let read = |value: Value| serde_json::from_value::<SavedLayout>(value).ok()?.checked();
    let mut layouts: Vec<SavedLayout> = Vec::new();
    for layout in Vec::<Value>::deserialize(deserializer)?.into_iter().filter_map(read).take(MOST) {
        if layouts.iter().all(|other| other.name != layout.name) {
            layouts.push(layout);
        }
    }
    Ok(layouts)
}

impl State {
    /// The layout in use, under a name.
    fn layout_as(&self, name: &str) -> SavedLayout {
        let State { settings, desk, library, .. } = self;
        let rule = |reading: Option<&Reading>| reading.and_then(|reading| rule_of(&library.studies, reading));
        let viewports = match settings.layout {
            Layout::Grid { .. } => (desk.panes.iter().enumerate())
                .map(|(index, pane)| rule(if index == desk.active { self.reading.as_ref() } else { pane.as_ref() }))
                .collect(),
            Layout::Lenses | Layout::Planes => vec![rule(self.reading.as_ref())],
        };
        let slab = desk.planes().filter(|_| settings.layout == Layout::Planes).map(|planes| SavedSlab {
            thickness_mm: planes.slab.thickness_mm,
            projection: planes.slab.projection.name().to_owned(),
        });
        SavedLayout {
            name: name.to_owned(),
            layout: settings.layout,
            viewports,
            links: settings.links,
            browser_open: settings.browser_open,
            findings_open: settings.findings_open,
            slab,
        }
    }
}

impl App {
    /// Carries out what is asked of kept layouts.
    pub(crate) fn layouts(&mut self, command: LayoutCommand) {
        let State { settings, layout_menu: menu, .. } = &mut self.state;
        let kept = &mut settings.layouts;
        match command {
            LayoutCommand::Name(name) => menu.name = name,
            LayoutCommand::Save => {
                let name = std::mem::take(&mut menu.name).trim().to_owned();
                self.save_layout(&name);
            }
            LayoutCommand::Apply(index) => {
                if let Some(layout) = kept.get(index).cloned() {
                    self.apply_layout(&layout);
                }
            }
            LayoutCommand::Rename(index, name) => menu.renamed = Some((index, name)),
            LayoutCommand::Renamed(yes) => {
                let Some((index, name)) = menu.renamed.take().filter(|_| yes) else { return };
                let name = name.trim();
                if kept.iter().enumerate().any(|(other, layout)| other != index && layout.name == name) {
                    let text = format!("Another layout is called “{name}”.");
                    self.toast(Tone::Warning, text);
                } else if let Some(layout) = kept.get_mut(index).filter(|_| !name.is_empty()) {
                    layout.name = name.to_owned();
                }
            }
            LayoutCommand::Delete(index) => menu.doomed = Some(index),
            LayoutCommand::Deleted(yes) => {
                if let Some(index) = menu.doomed.take().filter(|index| yes && *index < kept.len()) {
                    kept.remove(index);
                }
            }
        }
    }

    fn save_layout(&mut self, name: &str) {
        if name.is_empty() {
            return;
        }
        let layout = self.state.layout_as(name);
        let kept = &mut self.state.settings.layouts;
        let place = kept.iter().position(|other| other.name == name);
        match place {
            Some(place) => kept[place] = layout,
            None if kept.len() < MOST => kept.push(layout),
            None => self.toast(Tone::Warning, format!("{MOST} layouts are kept at most: delete one first.")),
        }
    }

    fn apply_layout(&mut self, layout: &SavedLayout) {
        self.text_done();
        self.put_drawing_down();
        let settings = &mut self.state.settings;
        (settings.browser_open, settings.findings_open) = (layout.browser_open, layout.findings_open);
        settings.links = layout.links;
        let places = match &self.state.reading {
            Some(reading) => layout.places(&self.state.library.studies, &reading.study),
            None => Vec::new(),
        };
        match layout.layout {
            Layout::Grid { .. } => self.fill_places(layout.layout, &places),
            Layout::Lenses | Layout::Planes => {
                // What is read stays, where it is of the kind that the layout was made for.
                let rule = layout.viewports.first().and_then(Option::as_ref);
                let series = self.state.reading.as_ref().and_then(Reading::series);
                let fits = series.zip(rule).is_none_or(|(series, rule)| series.modality == rule.modality);
                self.set_layout(layout.layout);
                if let Some((study, series)) = places.first().copied().flatten().filter(|_| !fits) {
                    self.show_series(study, series);
                }
            }
        }
        if let Some(slab) = layout.slab.as_ref().and_then(SavedSlab::slab) {
            self.state.desk.wanted_slab = Some(slab);
            self.take_wanted_slab();
        }
    }

    /// Puts series into the viewports of a grid; those that none is found for take what is left.
    fn fill_places(&mut self, layout: Layout, places: &[Option<(usize, usize)>]) {
        self.divide(layout);
        for (pane, place) in places.iter().enumerate() {
            if let Some((study, series)) = place {
                self.activate_pane(pane);
                let open = self.state.library.studies.get(*study).map(|study| &study.uid);
                let is_there = |reading: &Reading| Some(&reading.study.uid) == open && reading.series_index == *series;
                if !self.state.reading.as_ref().is_some_and(is_there) {
                    self.show_series(*study, *series);
                }
            }
        }
        let first = places.iter().position(Option::is_some).unwrap_or(0);
        self.activate_pane(first);
        self.fill_grid();
        self.fit_bundle_to_reading();
    }

    /// Gives the planes the slab that a layout asked for, once they are there.
    pub(crate) fn take_wanted_slab(&mut self) {
        let desk = &mut self.state.desk;
        if let crate::desk::VolumeState::Ready(planes) = &mut desk.volume
            && let Some(slab) = desk.wanted_slab.take()
        {
            planes.apply(PlaneEdit::Slab(slab));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::state::fixtures;

    /// Two studies of one patient, the newer one first, and one of another.
    fn studies() -> Vec<Arc<Study>> {
        let series = |name: &str, modality: &str, description: &str| {
            let mut series = fixtures::study(name, modality, 2).series.remove(0);
            description.clone_into(&mut series.description);
            series
        };
        let mut new = fixtures::study("A", "CT", 2);
        new.series = vec![
            series("1", "CT", "Lung"),
            series("2", "CT", "Soft tissue"),
            series("3", "DX", "Chest"),
            series("4", "CT", ""),
        ];
        let mut old = fixtures::study("A", "CT", 2);
        old.uid.0.push('9');
        old.series = vec![series("5", "CT", "soft TISSUE "), series("6", "CT", "Lung")];
        let mut other = fixtures::study("B", "CT", 2);
        other.series = vec![series("7", "CT", "Thorax 1.0"), series("8", "CT", "Soft tissue")];
        vec![Arc::new(new), Arc::new(other), Arc::new(old)]
    }

    fn rule(prior: usize, modality: &str, description: &str, place: usize) -> Option<SeriesRule> {
        Some(SeriesRule { prior, modality: modality.into(), description: description.into(), place })
    }

    #[test]
    fn series_are_found_by_description_then_by_place_in_their_study() {
        let all = studies();
        let reading = Reading::new(Arc::clone(&all[2]), 0).expect("images");
        assert_eq!(rule_of(&all, &reading), rule(1, "CT", "soft TISSUE ", 0));
        let layout = SavedLayout {
            viewports: vec![
                rule(0, "CT", "Soft tissue", 0),
                rule(1, "CT", "Soft tissue", 1),
                rule(0, "CT", "Unknown", 2),
                rule(0, "MR", "", 0),
                rule(2, "CT", "Lung", 0),
                None,
            ],
            ..SavedLayout::default()
        };
        let found = layout.places(&all, &all[0]);
        assert_eq!(found, [Some((0, 1)), Some((2, 0)), Some((0, 3)), None, None, None]);
        // Another patient: by description where there is one, else by place; no earlier study.
        assert_eq!(layout.places(&all, &all[1])[..3], [Some((1, 1)), None, None]);
        let by_place = SavedLayout { viewports: vec![rule(0, "CT", "Lung", 0)], ..SavedLayout::default() };
        assert_eq!(by_place.places(&all, &all[1]), [Some((1, 0))]);
    }

    #[test]
    fn a_broken_layout_costs_itself_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("settings.json");
        let text = r#"{"dark": false, "layouts": [5, {"name": "  "}, {"name": "Good", "layout": {"grid": {"rows": 9, "columns": 1}},
            "viewports": [null, null, null, null, null]}, {"name": "Bad", "layout": "circle"}, {"name": "Good"},
            {"name": "Slab", "layout": "planes", "slab": {"thickness_mm": 1e9, "projection": "XIP"}}]}"#;
        std::fs::write(&path, text).expect("written");
        let settings = Settings::load(&path);
        let names: Vec<&str> = settings.layouts.iter().map(|layout| layout.name.as_str()).collect();
        assert_eq!((settings.dark, names), (false, vec!["Good", "Slab"]));
        assert_eq!(settings.layouts[0].layout, Layout::Grid { rows: 3, columns: 1 });
        assert_eq!(settings.layouts[0].viewports.len(), 3);
        assert_eq!(settings.layouts[1].slab.as_ref().and_then(SavedSlab::slab), None);
        std::fs::write(&path, r#"{"dark": false, "layouts": "none"}"#).expect("written");
        let settings = Settings::load(&path);
        assert!(!settings.dark && settings.layouts.is_empty());
    }
}
