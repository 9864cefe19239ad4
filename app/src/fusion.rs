//! Another series laid over the one that is read: PET over CT first, but any over any that lies in the same space.
//!
//! One series is laid over all viewports and planes whose series lie in its space, each sampled where its own pixels are.

use std::sync::Arc;

use bifocal_core::render::HeatStyle;
use bifocal_core::study::{Series, Study, Suv};
use bifocal_core::volume::{Slab, Volume, VolumeError};

use crate::app::{App, Outcome};
use crate::desk;
use crate::jobs::{JobError, JobKind};
use crate::state::State;

/// The series that is laid over.
pub struct Fusion {
    /// Its study.
    pub study: Arc<Study>,
    /// Its place in the study.
    pub series_index: usize,
    /// Its voxels.
    pub volume: FusedVolume,
    /// How it is shown, in the volume's units.
    pub style: HeatStyle,
}

/// The volume that is laid over.
#[derive(Debug, Clone)]
pub enum FusedVolume {
    /// Being decoded.
    Building,
    /// Ready; SUV where the files allow it.
    Ready(Arc<Volume>),
    /// The series makes no volume, and why.
    Failed(String),
}

/// What is asked of the series that is laid over.
#[derive(Debug, Clone, PartialEq)]
pub enum FusionCommand {
    /// Lays a series over those of its space.
    Lay {
        /// Index of the study.
        study: usize,
        /// Index of the series in it.
        series: usize,
    },
    /// Takes it off.
    Remove,
    /// Shows it otherwise.
    Style(HeatStyle),
}

/// A series of the patient that might be laid over the one in view.
pub struct Candidate {
    /// Index of the study.
    pub study: usize,
    /// Index of the series in it.
    pub series: usize,
    /// What speaks against it, in words.
    pub obstacle: Option<&'static str>,
}

/// Opacity is changed by so much a key press.
const OPACITY_STEP: f32 = 0.1;

impl Fusion {
    /// The series.
    pub fn series(&self) -> Option<&Series> {
        self.study.series.get(self.series_index)
    }

    /// Why it is not laid over `base`, where it is not.
    pub fn obstacle(&self, base: &Series) -> Option<&'static str> {
        let series = self.series()?;
        if series.reading_uid() == base.reading_uid() {
            Some("It is in view itself.")
        } else {
            series.in_space_of(base).err()
        }
    }

    /// Its volume, where that is ready and lies in the space of `base`.
    pub fn over(&self, base: &Series) -> Option<&Arc<Volume>> {
        match &self.volume {
            FusedVolume::Ready(volume) => self.obstacle(base).is_none().then_some(volume),
            _ => None,
        }
    }

    /// Unit of its values, and why a PET is not shown as SUV.
    pub fn units(&self) -> (String, Option<String>) {
        let FusedVolume::Ready(volume) = &self.volume else { return (String::new(), None) };
        let without = match &volume.display.suv {
            Some(Suv::Unknown(reason)) => Some(reason.clone()),
            _ => None,
        };
        (volume.display.units.clone(), without)
    }
}

impl State {
    /// The volume that is laid over the series `base`, where there is one, and how it is shown.
    pub fn fused_over(&self, base: &Series) -> Option<(&Arc<Volume>, &HeatStyle)> {
        let fusion = self.fusion.as_ref()?;
        Some((fusion.over(base)?, &fusion.style))
    }

    /// The patient's other series with images.
    pub fn fusion_candidates(&self) -> Vec<Candidate> {
        let Some(reading) = &self.reading else { return Vec::new() };
        let Some(base) = reading.series() else { return Vec::new() };
        let studies = self.library.studies.iter().enumerate();
        let of_patient =
            studies.filter(|(_, study)| study.uid == reading.study.uid || study.patient == reading.study.patient);
        let all = of_patient.flat_map(|(index, study)| {
            study.series.iter().enumerate().map(move |(place, series)| (index, place, series))
        });
        all.filter(|(.., series)| series.frame_count() > 0 && series.reading_uid() != base.reading_uid())
            .map(|(study, place, series)| Candidate { study, series: place, obstacle: series.in_space_of(base).err() })
            .collect()
    }
}

impl App {
    /// Carries out what is asked of the series that is laid over.
    pub(crate) fn fusion(&mut self, command: FusionCommand) {
        match command {
            FusionCommand::Lay { study, series } => self.lay_over(study, series),
            FusionCommand::Remove => {
                self.jobs.abandon(JobKind::Fusion);
                self.state.fusion = None;
            }
            FusionCommand::Style(style) => {
                if let Some(fusion) = &mut self.state.fusion {
                    fusion.style = style;
                }
            }
        }
    }

    fn lay_over(&mut self, study: usize, series_index: usize) {
        let Some(study) = self.state.library.studies.get(study).cloned() else { return };
        let Some(series) = study.series.get(series_index).cloned() else { return };
        // Until the volume is there nothing is drawn by it.
        let style = HeatStyle::LESION;
        self.state.fusion = Some(Fusion { study, series_index, volume: FusedVolume::Building, style });
        self.jobs.start(JobKind::Fusion, "Building the volume to lay over", move |task| {
            let middle = series.frame_count() / 2;
            let volume = Volume::build(&series, middle, task).map_err(|error| match error {
                VolumeError::Cancelled(_) => JobError::Cancelled,
                other => JobError::failed(other),
            })?;
            let volume = volume.in_usual_units();
            let sample = desk::middle_plane(&volume).map(|plane| volume.reformat(&plane, Slab::default()));
            let style = sample.map_or(HeatStyle::LESION, |sample| HeatStyle::fusion(&sample));
            Ok(Outcome::Fused(Arc::new(volume), style))
        });
    }

    /// The volume to lay over is there, or why there is none; `None` where that was cancelled.
    pub(crate) fn fused(&mut self, built: Result<(Arc<Volume>, HeatStyle), Option<String>>) {
        let Some(fusion) = &mut self.state.fusion else { return };
        match built {
            Ok((volume, style)) => (fusion.volume, fusion.style) = (FusedVolume::Ready(volume), style),
            Err(Some(cause)) => fusion.volume = FusedVolume::Failed(cause),
            Err(None) => self.state.fusion = None,
        }
    }

    /// Lays the next series of the space over, after the last one none.
    pub(crate) fn next_fusion(&mut self) {
        let mut possible = self.state.fusion_candidates();
        possible.retain(|candidate| candidate.obstacle.is_none());
        let uid_of = |candidate: &Candidate| {
            let study = self.state.library.studies.get(candidate.study)?;
            study.series.get(candidate.series).map(Series::reading_uid)
        };
        let laid = self.state.fusion.as_ref().and_then(|fusion| fusion.series()).map(Series::reading_uid);
        let place = possible.iter().position(|candidate| laid.is_some() && uid_of(candidate) == laid);
        match possible.get(place.map_or(0, |place| place + 1)) {
            Some(Candidate { study, series, .. }) => self.lay_over(*study, *series),
            None if self.state.fusion.is_some() => self.fusion(FusionCommand::Remove),
            None => self.toast(
                crate::state::Tone::Info,
                "There is no other series in the space of this one: nothing can be laid over it.",
            ),
        }
    }

    /// Makes what is laid over the images stronger or fainter.
    pub(crate) fn step_opacity(&mut self, steps: f32) {
        let stepped = |opacity: f32| (((opacity + steps * OPACITY_STEP) * 100.0).round() / 100.0).clamp(0.0, 1.0);
        let base = self.state.reading.as_ref().and_then(|reading| reading.series());
        let fused = base.is_some_and(|base| self.state.fused_over(base).is_some());
        match (&mut self.state.fusion, &mut self.state.reading) {
            (Some(fusion), _) if fused => fusion.style.opacity = stepped(fusion.style.opacity),
            (_, Some(reading)) => reading.overlays.heat_opacity = stepped(reading.overlays.heat_opacity),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Reading, fixtures};

    #[test]
    fn only_series_of_one_space_are_offered_and_the_others_say_why() {
        let mut study = fixtures::study("A", "CT", 5);
        let series = |modality: &str, space: Option<&str>, uid: &str| {
            let mut series = fixtures::study(uid, modality, 4).series.remove(0);
            series.frame_of_reference = space.map(str::to_owned);
            series
        };
        study.series[0].frame_of_reference = Some("1.2".into());
        study.series.push(series("PT", Some("1.2"), "B"));
        study.series.push(series("MR", Some("1.3"), "C"));
        study.series.push(series("DX", None, "D"));
        study.series.push(fixtures::study("E", "SR", 0).series.remove(0));
        let other_patient = fixtures::study("F", "CT", 5);
        let mut state = State::new(crate::settings::Settings::default());
        let study = Arc::new(study);
        state.library.studies = vec![Arc::clone(&study), Arc::new(other_patient)];
        state.reading = Reading::new(Arc::clone(&study), 0);
        let found: Vec<(usize, bool)> =
            state.fusion_candidates().iter().map(|c| (c.series, c.obstacle.is_none())).collect();
        assert_eq!(found, [(1, true), (2, false), (3, false)]);
        let fusion = |series_index| Fusion {
            study: Arc::clone(&study),
            series_index,
            volume: FusedVolume::Building,
            style: HeatStyle::LESION,
        };
        assert_eq!(fusion(1).obstacle(&study.series[0]), None);
        assert!(fusion(1).obstacle(&study.series[1]).is_some_and(|why| why.contains("in view itself")));
        assert!(fusion(1).obstacle(&study.series[2]).is_some_and(|why| why.contains("another frame of reference")));
    }
}
