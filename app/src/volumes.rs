//! Volumes through the network: the whole series as one job, then each image as it comes into view.
//!
//! Maps and findings of an image are cut out of the analysed volume as soon as it is scrolled to. Its attention takes the network once more: it is
//! asked for where an image rests.

use std::sync::Arc;

use bifocal_core::analysis::{Analysis, AnalysisError, Flag, VolumeAnalysis, analyze_volume};
use bifocal_core::model::Bundle;
use bifocal_core::study::Series;
use bifocal_core::task::Task;
use bifocal_core::volume::{PlaneKind, Volume, VolumeError};

use crate::app::{App, Outcome};
use crate::jobs::{JobError, JobKind};
use crate::state::Tone;

/// Seconds that an image stands still before its attention is asked for.
const REST: f64 = 0.2;

/// What the analysis of a volume results in.
pub struct AnalysedVolume {
    /// The answer.
    pub analysis: Arc<VolumeAnalysis>,
    /// The bundle that gave it.
    pub bundle: Arc<Bundle>,
    /// Why another device than the wished one was taken.
    pub device_message: Option<String>,
}

/// Analyses the stack of `series` that the image at `position` belongs to; `built` is its volume, where there is one already. The inner error says
/// why there is none: a single image may still be asked about.
pub(crate) fn analyse(
    bundle: &Bundle,
    built: Option<Arc<Volume>>,
    series: &Series,
    position: usize,
    task: &Task,
) -> Result<Result<VolumeAnalysis, Flag>, JobError> {
    let volume = match built.filter(|volume| volume.slice_at(position).is_some()) {
        Some(volume) => volume,
        None => {
            task.progress("Decoding the series", 0, 0);
            match Volume::build(series, position, task) {
                Ok(volume) => Arc::new(volume),
                Err(VolumeError::Cancelled(_)) => return Err(JobError::Cancelled),
                Err(error @ (VolumeError::Unreadable(_) | VolumeError::TooLarge(_))) => {
                    return Err(JobError::failed(error));
                }
                Err(error) => return Ok(Err(no_volume(&error))),
            }
        }
    };
    match analyze_volume(bundle, volume, series, PlaneKind::Acquired, task) {
        Ok(analysis) => Ok(Ok(analysis)),
        Err(AnalysisError::Cancelled(_)) => Err(JobError::Cancelled),
        Err(error) => Err(JobError::failed(error)),
    }
}

/// The warning of an image that is no part of a volume.
pub(crate) fn no_volume(error: &VolumeError) -> Flag {
    let message =
        format!("the series makes no volume ({error}): one image was asked about as if its neighbours were like it");
    Flag { code: "no_volume".to_owned(), message }
}

impl App {
    /// The volume of the series in view, where the planes have built it.
    pub(crate) fn volume_on_desk(&self) -> Option<Arc<Volume>> {
        let uid = self.state.reading.as_ref()?.series()?.reading_uid();
        let planes = self.state.desk.planes().filter(|_| self.state.desk.volume_of == Some(uid));
        planes.map(|planes| Arc::clone(&planes.volume))
    }

    /// A volume is analysed: what is in view of it is shown, the rest as it is scrolled to.
    pub(crate) fn volume_analysed(&mut self, analysed: AnalysedVolume) {
        let AnalysedVolume { mut analysis, bundle, device_message } = analysed;
        // Where the planes have built the same volume meanwhile, that one is enough.
        if let Some(planes) = self.state.desk.planes()
            && self.state.desk.volume_of.as_ref() == Some(&analysis.series_uid)
            && planes.volume.places == analysis.volume.places
            && planes.volume.rescale == analysis.volume.rescale
            && let Some(analysis) = Arc::get_mut(&mut analysis)
        {
            analysis.volume = Arc::clone(&planes.volume);
        }
        self.loaded(bundle, device_message);
        let found = analysis.findings.len();
        let series = analysis.series_uid.clone();
        self.state.network.forget_images_of(&series);
        self.state.network.keep_volume(analysis, self.state.settings.volumes_mib << 20);
        if let Some(reading) = &mut self.state.reading {
            // An answer of before for the image in view makes room.
            if reading.series().is_some_and(|s| s.uid == series) {
                reading.analysis = None;
            }
        }
        self.tend_analysis();
        let shown = self.state.reading.as_ref().and_then(|reading| reading.analysis_in_view());
        let elsewhere = shown.is_some_and(|analysis| !analysis.findings.iter().any(|finding| analysis.shows(finding)));
        if found > 0 && elsewhere {
            let words = if found == 1 { "1 finding".to_owned() } else { format!("{found} findings") };
            self.toast(Tone::Info, format!("{words} in the series, none on this image: N goes to the first."));
        }
    }

    /// Asks for the attention of an image of a volume that rests in view.
    pub(crate) fn tend_resting(&mut self) {
        let wanted = self.state.reading.as_ref().and_then(|reading| {
            let analysis = reading.analysis_in_view()?;
            let place = analysis.place.filter(|_| analysis.attention_maps.is_empty())?;
            Some((reading.key_at(reading.view.position)?, Arc::clone(&reading.study), reading.series_index, place))
        });
        let Some((key, study, series_index, place)) = wanted else {
            self.state.network.resting = None;
            return;
        };
        let since = match &self.state.network.resting {
            Some((resting, since)) if *resting == key => *since,
            _ => {
                self.jobs.abandon(JobKind::Attention);
                self.state.network.resting = Some((key, self.now));
                self.now
            }
        };
        let wait = since + REST - self.now;
        if wait > 0.0 {
            self.ctx.request_repaint_after(std::time::Duration::from_secs_f64(wait));
            return;
        }
        // Once an image: what fails would fail again.
        let asked = since == f64::NEG_INFINITY;
        let network = &mut self.state.network;
        if let Some((_, since)) = &mut network.resting {
            *since = f64::NEG_INFINITY;
        }
        let Some(bundle) = network.bundle().filter(|_| !asked) else { return };
        let Some(series) = study.series.get(series_index) else { return };
        let Some(volume) = network.volume_of(&series.uid).cloned() else { return };
        self.jobs.start(JobKind::Attention, "Attention", move |task| {
            let Some(series) = study.series.get(series_index) else { return Err(JobError::Cancelled) };
            match volume.analyze_image(&bundle, series, place, task) {
                Ok(analysis) => Ok(Outcome::Attended(Box::new(analysis))),
                Err(AnalysisError::Cancelled(_)) => Err(JobError::Cancelled),
                Err(error) => Err(JobError::failed(error)),
            }
        });
    }

    /// The attention of an image is here.
    pub(crate) fn attended(&mut self, analysis: Analysis) {
        let analysis = Arc::new(analysis);
        self.state.network.keep(Arc::clone(&analysis));
        let Some(reading) = &mut self.state.reading else { return };
        if reading.analysis_in_view().is_some_and(|shown| shown.target == analysis.target) {
            reading.show_analysis(analysis);
        }
    }
}
