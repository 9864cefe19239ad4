//! The bundle in use, and the job that analyses the frame in view.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bifocal_core::analysis::{Analysis, AnalysisError, Target, VolumeAnalysis, analyze, input_flags, network_image};
use bifocal_core::model::{self, Bundle, BundleError, DeviceChoice, Metadata};
use bifocal_core::study::SeriesUid;

use crate::app::{App, Outcome};
use crate::images::{FrameKey, FrameState};
use crate::jobs::{JobError, JobKind};
use crate::state::{Reading, Tone};
use crate::volumes::{self, AnalysedVolume};

/// The bundle that is asked first where nothing else is wished.
const PREFERRED_BUNDLE: &str = "chest-opacity";
/// Analyses that are kept for series and slices that are gone back to. Each holds several maps in the size of its image.
const ANALYSES_KEPT: usize = 4;
/// Bundles whose weights are kept for series that are gone back to.
const BUNDLES_KEPT: usize = 3;
/// Analysed volumes that are kept for series that are gone back to.
const VOLUMES_KEPT: usize = 2;

/// Whether a bundle was made for series of a modality.
fn is_made_for(metadata: &Metadata, modality: &str) -> bool {
    metadata.intended_use.modalities.iter().any(|item| item.eq_ignore_ascii_case(modality.trim()))
}

/// The bundle in use; its weights are loaded with the first analysis.
#[derive(Default)]
pub struct Network {
    /// What the bundle says about itself; `None` where there is no bundle.
    pub metadata: Option<Arc<Metadata>>,
    /// Why there is none, and what to do.
    pub problem: Option<String>,
    folder: Option<PathBuf>,
    bundle: Option<Arc<Bundle>>,
    /// Bundles that were in use before, with their weights.
    loaded: Vec<Arc<Bundle>>,
    /// Analyses of this run of the program, the latest last.
    analyses: Vec<Arc<Analysis>>,
    /// Volumes, the latest last.
    volumes: Vec<Arc<VolumeAnalysis>>,
    /// The image of a volume that rests in view without its attention, and since when.
    pub(crate) resting: Option<(FrameKey, f64)>,
    /// A frame that should be analysed as soon as it is decoded.
    waiting: Option<FrameKey>,
    /// The last frame that could not be analysed, and why.
    pub failed: Option<(FrameKey, String)>,
    /// The last series that the bundle was not made for, and what speaks against it: shown before it is asked all the same.
    objections: Option<(SeriesUid, Vec<String>)>,
}

impl Network {
    /// Finds the bundle named by `wish` (an id or a folder). Where it is empty, one that was made for `modality`: the preferred one where it was,
    /// else the first; the preferred one where none was.
    pub fn find(wish: &str, modality: &str) -> Self {
        let id = if wish.trim().is_empty() {
            let ids = model::bundle_ids();
            let preferred = ids.iter().find(|id| *id == PREFERRED_BUNDLE);
            let made_for = |id: &&String| {
                let metadata = model::find_bundle(id).and_then(|folder| model::read_metadata(&folder));
                metadata.is_ok_and(|metadata| is_made_for(&metadata, modality))
            };
            let fitting = preferred.into_iter().chain(&ids).find(made_for);
            fitting.or(preferred).or(ids.first()).cloned()
        } else {
            Some(wish.trim().to_owned())
        };
        let Some(id) = id else { return Self::without("No model was found in assets/models.") };
        match model::find_bundle(&id).and_then(|folder| Ok((model::read_metadata(&folder)?, folder))) {
            Ok((metadata, folder)) => {
                Self { metadata: Some(Arc::new(metadata)), folder: Some(folder), ..Self::default() }
            }
            Err(error) => Self::without(&error.to_string()),
        }
    }

    fn without(problem: &str) -> Self {
        Self { problem: Some(problem.to_owned()), ..Self::default() }
    }

    /// Name and version, for people.
    pub fn title(&self) -> Option<String> {
        self.metadata.as_ref().map(|metadata| format!("{} {}", metadata.id, metadata.version))
    }

    /// Folder of the bundle.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whether series of that modality are what the bundle was made for.
    pub fn is_intended_for(&self, modality: &str) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| is_made_for(metadata, modality))
    }

    /// Whether it reads volumes, slice by slice between neighbours.
    pub fn reads_volumes(&self) -> bool {
        self.metadata.as_ref().is_some_and(|metadata| metadata.config.slab.is_some())
    }

    /// Takes the place of another bundle on the same device: what that one and those before it have answered in this run of the program stays,
    /// since answers are found by the weights, and so do their loaded weights.
    pub(crate) fn follow(&mut self, other: Self) {
        self.analyses = other.analyses;
        self.volumes = other.volumes;
        self.loaded = other.loaded;
        self.loaded.extend(other.bundle);
        let own = self.weights_sha256().to_owned();
        if let Some(index) = self.loaded.iter().position(|bundle| bundle.metadata.weights_sha256 == own) {
            self.bundle = Some(self.loaded.remove(index));
        }
        if self.loaded.len() > BUNDLES_KEPT {
            self.loaded.remove(0);
        }
    }

    /// The volume of a series, if it was analysed by these weights.
    pub fn volume_of(&self, series: &SeriesUid) -> Option<&Arc<VolumeAnalysis>> {
        self.volumes
            .iter()
            .rev()
            .find(|volume| volume.series_uid == *series && volume.model.weights_sha256 == self.weights_sha256())
    }

    /// Keeps a volume in place of an older one of the same series, and of those before it no more than `bytes` of voxels.
    pub fn keep_volume(&mut self, analysis: Arc<VolumeAnalysis>, bytes: usize) {
        self.volumes.retain(|other| other.series_uid != analysis.series_uid);
        let held = |volumes: &[Arc<VolumeAnalysis>]| volumes.iter().map(|other| other.volume.bytes()).sum::<usize>();
        while self.volumes.len() >= VOLUMES_KEPT || held(&self.volumes) > bytes {
            self.volumes.remove(0);
        }
        self.volumes.push(analysis);
    }

    /// Whether findings are boxes of a detector; then the heat map's threshold decides nothing.
    pub fn finds_boxes(&self) -> bool {
        self.metadata
            .as_ref()
            .is_some_and(|metadata| metadata.lesions.iter().any(|class| class.box_threshold.is_some()))
    }

    /// The bundle, once its weights are loaded.
    pub(crate) fn bundle(&self) -> Option<Arc<Bundle>> {
        self.bundle.clone()
    }

    /// Hash of the weights; empty where there is no bundle.
    pub fn weights_sha256(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.weights_sha256)
    }

    /// The analysis of a frame, if it was analysed by these weights.
    pub fn analysis_of(&self, instance: &bifocal_core::study::InstanceKey, frame: usize) -> Option<&Arc<Analysis>> {
        self.analyses.iter().rev().find(|analysis| {
            analysis.target.instance_uid == *instance
                && analysis.target.frame == frame
                && analysis.model.weights_sha256 == self.weights_sha256()
        })
    }

    /// All analyses of a series by these weights.
    pub fn analyses_of(&self, series: &SeriesUid) -> Vec<Arc<Analysis>> {
        let of_series = |analysis: &&Arc<Analysis>| {
            analysis.target.series_uid == *series && analysis.model.weights_sha256 == self.weights_sha256()
        };
        self.analyses.iter().filter(of_series).cloned().collect()
    }

    /// What the reader was told that speaks against asking about a series; empty before it was asked for, and where nothing does.
    pub fn objections_to(&self, reading: &Reading) -> &[String] {
        let series = reading.series().map(|series| &series.uid);
        self.objections.as_ref().filter(|(of, _)| Some(of) == series).map_or(&[], |(_, objections)| objections)
    }

    /// Forgets what single images of a series were answered before it was analysed as a volume.
    pub(crate) fn forget_images_of(&mut self, series: &SeriesUid) {
        let weights = self.weights_sha256().to_owned();
        self.analyses.retain(|a| a.target.series_uid != *series || a.model.weights_sha256 != weights);
    }

    /// Keeps an analysis in place of an older one of the same frame.
    pub fn keep(&mut self, analysis: Arc<Analysis>) {
        let same = |other: &Arc<Analysis>| {
            other.target.instance_uid == analysis.target.instance_uid && other.target.frame == analysis.target.frame
        };
        self.analyses.retain(|other| !same(other));
        self.analyses.push(analysis);
        if self.analyses.len() > ANALYSES_KEPT {
            self.analyses.remove(0);
        }
    }
}

/// What an analysis job results in where the bundle was not made for the series, and the reader was not told yet.
pub struct Objected {
    series: SeriesUid,
    objections: Vec<String>,
    bundle: Arc<Bundle>,
    device_message: Option<String>,
}

/// What an analysis job results in.
pub struct Analysed {
    analysis: Analysis,
    bundle: Arc<Bundle>,
    /// Why another device than the wished one was taken.
    device_message: Option<String>,
}

impl App {
    /// A series was put into the lenses: analyses it where that is wished and it is what the bundle is for.
    pub(crate) fn series_shown(&mut self) {
        let network = &mut self.state.network;
        network.waiting = None;
        let Some(reading) = &self.state.reading else { return };
        let Some(series) = reading.series() else { return };
        let automatic = self.state.settings.analyse_on_open && reading.frame_count() == 1;
        if automatic && network.is_intended_for(&series.modality) {
            network.waiting = reading.key_at(reading.view.position);
        }
    }

    /// Each frame: brings the analysis of the frame in view into the lenses, and starts what waited for its pixels.
    pub(crate) fn tend_analysis(&mut self) {
        let Some(reading) = &mut self.state.reading else { return };
        if reading.analysis_in_view().is_none() {
            let place = reading.view.position;
            let network = &self.state.network;
            let kept = reading
                .instance_at(place)
                .and_then(|(instance, frame)| network.analysis_of(&instance.key(), frame).cloned())
                .or_else(|| {
                    let series = reading.series()?;
                    network.volume_of(&series.uid)?.image(series, place).map(Arc::new)
                });
            if let Some(analysis) = kept {
                self.state.network.keep(Arc::clone(&analysis));
                reading.show_analysis(analysis);
            }
        }
        self.tend_resting();
        let Some(reading) = &mut self.state.reading else { return };
        let Some(key) = self.state.network.waiting.clone() else { return };
        if reading.analysis_in_view().is_some() || reading.key_at(reading.view.position).as_ref() != Some(&key) {
            self.state.network.waiting = None;
            return;
        }
        match self.images.frame(&key) {
            FrameState::Ready(_) => self.start_analysis(),
            FrameState::Failed(_) => self.state.network.waiting = None,
            FrameState::Loading => {}
        }
    }

    /// The user asks for an analysis of the frame in view.
    pub(crate) fn analyse(&mut self) {
        let Some(reading) = &self.state.reading else { return };
        let Some(key) = reading.key_at(reading.view.position) else { return };
        if let Some(problem) = &self.state.network.problem {
            let text = format!("{problem} Nothing can be analysed.");
            self.toast(Tone::Error, text);
        } else if reading.analysis_in_view().is_some() {
            self.toast(Tone::Info, "This image is analysed already.");
        } else {
            self.state.network.waiting = Some(key);
            self.tend_analysis();
        }
    }

    fn start_analysis(&mut self) {
        self.state.network.waiting = None;
        self.state.network.failed = None;
        let network = &self.state.network;
        let Some(folder) = network.folder.clone() else { return };
        let Some(reading) = &self.state.reading else { return };
        let Some(key) = reading.key_at(reading.view.position) else { return };
        let FrameState::Ready(frame) = self.images.frame(&key) else { return };
        let Some(target) = target(reading, frame.frame().shape()) else { return };
        let (study, series_index) = (Arc::clone(&reading.study), reading.series_index);
        let told = !network.objections_to(reading).is_empty();
        let loaded = network.bundle.clone();
        let device = self.state.settings.device.clone();
        let position = reading.view.position;
        let built = self.volume_on_desk();
        self.jobs.start(JobKind::Analysis, "Analysis", move |task| {
            task.progress("Loading the model", 0, 0);
            let (bundle, device_message) = match loaded {
                Some(bundle) => (bundle, None),
                None => load(&folder, &device).map_err(JobError::failed)?,
            };
            task.check()?;
            let Some(series) = study.series.get(series_index) else { return Err(JobError::Cancelled) };
            if !told {
                let flags = input_flags(&bundle, series);
                if !flags.is_empty() {
                    let objections = flags.into_iter().map(|flag| flag.message).collect();
                    let series = series.uid.clone();
                    return Ok(Outcome::Objected(Objected { series, objections, bundle, device_message }));
                }
            }
            let mut doubt = None;
            if bundle.metadata.config.slab.is_some() {
                match volumes::analyse(&bundle, built, series, position, task)? {
                    Ok(analysis) => {
                        let analysed = AnalysedVolume { analysis: Arc::new(analysis), bundle, device_message };
                        return Ok(Outcome::AnalysedVolume(Box::new(analysed)));
                    }
                    Err(no_volume) => doubt = Some(no_volume),
                }
            }
            let image = network_image(&bundle.metadata.config, frame.frame());
            match analyze(&bundle, &image, frame.frame(), series, target, task) {
                Ok(mut analysis) => {
                    analysis.flags.extend(doubt);
                    Ok(Outcome::Analysed(Box::new(Analysed { analysis, bundle, device_message })))
                }
                Err(AnalysisError::Cancelled(_)) => Err(JobError::Cancelled),
                Err(error) => Err(JobError::Failed(format!("{}: {error}", key.source))),
            }
        });
    }

    /// An analysis is here. It is shown where its frame is in view, and waits otherwise.
    pub(crate) fn analysed(&mut self, analysed: Analysed) {
        let Analysed { analysis, bundle, device_message } = analysed;
        self.loaded(bundle, device_message);
        self.state.network.keep(Arc::new(analysis));
        self.tend_analysis();
    }

    pub(crate) fn loaded(&mut self, bundle: Arc<Bundle>, device_message: Option<String>) {
        self.state.device = bundle.device_name.clone();
        self.state.network.bundle = Some(bundle);
        if let Some(message) = device_message {
            self.toast(Tone::Warning, message);
        }
    }

    /// The bundle was not made for the series: the reader is told before it is asked. Asking again means it.
    pub(crate) fn objected(&mut self, objected: Objected) {
        let Objected { series, objections, bundle, device_message } = objected;
        self.loaded(bundle, device_message);
        let in_view = self.state.reading.as_ref().and_then(|reading| reading.series()).is_some_and(|s| s.uid == series);
        let panel = self.state.panels_shown(self.ctx.content_rect().width()).1;
        if in_view && !panel {
            let again = "Asking again analyses all the same";
            let again = self.state.settings.keys.with_text(again, crate::keymap::Action::Analyse);
            self.toast(Tone::Warning, format!("{}. {again}", objections.join(". ")));
        }
        self.state.network.objections = Some((series, objections));
    }

    /// An analysis failed: remembered, so that the lenses can say so in their place.
    pub(crate) fn analysis_failed(&mut self, message: &str) {
        let key = self.state.reading.as_ref().and_then(|reading| reading.key_at(reading.view.position));
        self.state.network.failed = key.map(|key| (key, message.to_owned()));
    }
}

/// Loads the bundle of a folder onto the wished device; the message says why another device was taken.
pub(crate) fn load(folder: &Path, device: &str) -> Result<(Arc<Bundle>, Option<String>), BundleError> {
    let (device, name, message) = model::open_device(device.parse().unwrap_or(DeviceChoice::Auto));
    Ok((Arc::new(Bundle::load(folder, device, name)?), message))
}

/// What is analysed: the frame in view.
fn target(reading: &Reading, (rows, columns): (usize, usize)) -> Option<Target> {
    let (instance, frame) = reading.instance_at(reading.view.position)?;
    Some(Target {
        series_uid: reading.series()?.uid.clone(),
        instance_uid: instance.key(),
        frame,
        sources: vec![instance.source.clone()],
        rows,
        columns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis_fixture::analysis;

    #[test]
    fn a_missing_bundle_has_a_reason() {
        let network = Network::find("no such bundle", "");
        assert!(network.metadata.is_none());
        assert!(network.problem.as_ref().is_some_and(|problem| problem.contains("no such bundle")));
        assert!(!network.is_intended_for("DX"));
    }

    #[test]
    fn analyses_are_found_by_frame_and_weights_and_few_are_kept() {
        let mut network = Network::default();
        for number in 0..6 {
            let mut analysis = analysis(16, 16);
            analysis.model.weights_sha256 = String::new();
            analysis.target.frame = number;
            network.keep(Arc::new(analysis));
        }
        let uid = analysis(16, 16).target.instance_uid;
        assert!(network.analysis_of(&uid, 5).is_some());
        assert!(network.analysis_of(&uid, 0).is_none(), "the oldest ones are forgotten");
        assert!(network.analysis_of(&bifocal_core::study::InstanceKey("other".into()), 5).is_none());
    }
}
