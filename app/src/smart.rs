//! The smart tool: strokes on a frame, and the features of the network's local stages that make a mask of them. Features are computed
//! once a frame, in the background.

use std::path::Path;
use std::sync::Arc;

use bifocal_core::analysis::{local_features, network_image};
use bifocal_core::annotation::MaskKey;
use bifocal_core::measure::Pixel;
use bifocal_core::model::Bundle;
use bifocal_core::segment::{LocalFeatures, Strokes};

use crate::app::{App, Outcome};
use crate::images::{FrameKey, FrameState};
use crate::jobs::{JobError, JobKind};
use crate::network;
use crate::proposal::Proposal;
use crate::state::Tone;

/// Likeness (cosine) that a mask begins at with the tolerance that tools begin with; tuned on training patients.
const LIKENESS: f64 = 0.08;
/// How much less likeness is asked for where the tolerance is e times as wide.
const LESS: f64 = 0.2;

/// Strokes of the smart tool on one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Clicks {
    mask: MaskKey,
    strokes: Strokes,
    /// Whether each stroke was a negative one, in their order.
    order: Vec<bool>,
    /// Whether the button is still down.
    pub down: bool,
    /// Whether the mask on offer is of other strokes or of another tolerance.
    stale: bool,
}

impl Clicks {
    /// No strokes yet.
    pub fn new(mask: MaskKey) -> Self {
        Self { mask, strokes: Strokes::default(), order: Vec::new(), down: false, stale: false }
    }

    /// The region that they are for.
    pub fn mask(&self) -> &MaskKey {
        &self.mask
    }

    /// Where each stroke begins, and whether it is a negative one.
    pub fn starts(&self) -> impl Iterator<Item = (Pixel, bool)> + '_ {
        let positive = self.strokes.positive.iter().map(|stroke| (stroke, false));
        let all = positive.chain(self.strokes.negative.iter().map(|stroke| (stroke, true)));
        all.filter_map(|(stroke, negative)| Some((*stroke.first()?, negative)))
    }

    /// Begins a stroke: on the tissue, or on what is not meant.
    pub fn press(&mut self, at: Pixel, negative: bool) {
        self.list(negative).push(vec![at]);
        self.order.push(negative);
        self.down = true;
    }

    /// Goes on with the stroke under way.
    pub fn go_on(&mut self, to: Pixel) {
        let Some(negative) = self.order.last().copied().filter(|_| self.down) else { return };
        if let Some(stroke) = self.list(negative).last_mut()
            && stroke.last() != Some(&to)
        {
            stroke.push(to);
        }
    }

    /// Ends it: the mask follows.
    pub fn release(&mut self) {
        self.stale |= self.down;
        self.down = false;
    }

    /// The mask is to be made again, by another tolerance.
    pub fn again(&mut self) {
        self.stale = true;
    }

    /// Takes the last stroke back; false where none is left.
    pub fn take_back(&mut self) -> bool {
        if let Some(negative) = self.order.pop() {
            self.list(negative).pop();
        }
        self.stale = true;
        !self.strokes.positive.is_empty()
    }

    fn list(&mut self, negative: bool) -> &mut Vec<Vec<Pixel>> {
        if negative { &mut self.strokes.negative } else { &mut self.strokes.positive }
    }

    /// The mask that the strokes make.
    pub fn proposal(&mut self, features: &LocalFeatures, tolerance: f64) -> Proposal {
        self.stale = false;
        let likeness = LIKENESS - LESS * (tolerance / crate::proposal::USUAL_TOLERANCE).ln();
        let pixels = features.mask(&self.strokes, likeness as f32);
        let (plus, minus) = (self.strokes.positive.len(), self.strokes.negative.len());
        let title = match (plus, minus) {
            (1, 0) => "Smart mask".to_owned(),
            (plus, 0) => format!("Smart mask, {plus} clicks"),
            (plus, minus) => format!("Smart mask, {plus} clicks and {minus} against"),
        };
        Proposal { title, masks: vec![(self.mask.clone(), pixels)] }
    }
}

/// Features of the frame that the smart tool was last used on.
#[derive(Default)]
pub struct SmartFeatures {
    kept: Option<(FrameKey, Arc<LocalFeatures>)>,
    /// The last frame that has none, and why.
    failed: Option<FrameKey>,
}

/// What the job results in.
pub struct Featured {
    key: FrameKey,
    features: LocalFeatures,
    bundle: Arc<Bundle>,
    device_message: Option<String>,
}

impl App {
    /// Each frame: computes the features that strokes wait for, and makes their mask.
    pub(crate) fn tend_smart(&mut self) {
        let Some(clicks) = self.state.drawing.clicks.as_ref() else { return };
        let waits = clicks.stale && !clicks.down;
        let wanted = clicks.mask.clone();
        let Some(reading) = &self.state.reading else { return };
        let here = reading.instance_at(reading.view.position);
        if here.is_none_or(|(instance, frame)| instance.key() != wanted.instance || frame != wanted.frame) {
            return;
        }
        let Some(key) = reading.key_at(reading.view.position) else { return };
        match &self.state.smart.kept {
            Some((kept, features)) if *kept == key => {
                if waits {
                    let features = Arc::clone(features);
                    self.state.drawing.offer_clicks(&features);
                    self.ctx.request_repaint();
                }
            }
            _ if self.state.smart.failed.as_ref() == Some(&key) || self.jobs.is_running(JobKind::Features) => {}
            _ => self.start_features(key),
        }
    }

    fn start_features(&mut self, key: FrameKey) {
        let FrameState::Ready(frame) = self.images.frame(&key) else { return };
        let network = &self.state.network;
        let Some(folder) = network.folder().map(Path::to_path_buf) else {
            let problem = network.problem.clone().unwrap_or_default();
            self.state.smart.failed = Some(key);
            self.state.drawing.cancel();
            self.toast(Tone::Error, format!("{problem} The smart tool needs one; region grow does not."));
            return;
        };
        let (loaded, device) = (network.bundle(), self.state.settings.device.clone());
        self.state.smart.failed = None;
        self.jobs.start(JobKind::Features, "Local features", move |task| {
            task.progress("Loading the model", 0, 2);
            let (bundle, device_message) = match loaded {
                Some(bundle) => (bundle, None),
                None => network::load(&folder, &device).map_err(JobError::failed)?,
            };
            task.check()?;
            task.progress("Local features", 1, 2);
            let image = network_image(&bundle.metadata.config, frame.frame());
            match local_features(&bundle, &image) {
                Ok(Some(features)) => {
                    Ok(Outcome::Featured(Box::new(Featured { key, features, bundle, device_message })))
                }
                Ok(None) => Err(JobError::Failed("this model has no local stages to follow tissue by".to_owned())),
                Err(error) => Err(JobError::Failed(format!("{}: {error}", key.source))),
            }
        });
    }

    /// Features are here.
    pub(crate) fn featured(&mut self, featured: Featured) {
        let Featured { key, features, bundle, device_message } = featured;
        self.loaded(bundle, device_message);
        self.state.smart.kept = Some((key, Arc::new(features)));
    }

    /// There are none: strokes that wait for them are dropped, and it is not tried again unasked.
    pub(crate) fn features_failed(&mut self, why: Option<String>) {
        self.state.drawing.cancel();
        if let Some(why) = why {
            self.state.smart.failed =
                self.state.reading.as_ref().and_then(|reading| reading.key_at(reading.view.position));
            self.toast(Tone::Error, format!("The smart tool cannot be used here: {why}"));
        }
    }
}
