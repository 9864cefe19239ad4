//! What is made after an analysis, step by step in the background: the class activation map that is shown, and how faithful the maps in
//! the lenses are. Each step is kept with its analysis.

use std::sync::Arc;

use bifocal_core::analysis::{
    Analysis, AnalysisError, AttentionMap, AttentionMethod, CamMap, Explainer, Explanations, HeatMap, MapFaithfulness,
    MapId, MapKind, network_image,
};
use bifocal_core::explain::CamMethod;

use crate::app::{App, Outcome};
use crate::images::FrameState;
use crate::jobs::{JobError, JobKind};
use crate::state::{Lens, Reading, State};
use crate::ui::lens_maps;

/// What panels ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExplainCommand {
    /// Shows another kind of map in the local lens.
    Show(MapKind),
    /// Whether class activation maps explain the selected finding alone, where one is selected.
    OfSelection(bool),
    /// Whether maps are tested.
    Test(bool),
    /// Tries again what failed or was cancelled.
    Again,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a class activation map.
    Cam(MapId),
    /// Tests how faithful a map is.
    Test(MapId),
}

enum Made {
    Cam(CamMap),
    Test(MapFaithfulness),
}

/// What a step results in.
pub struct Explained {
    explainer: Arc<Explainer>,
    made: Made,
}

/// Seconds that an image of a volume stands still before anything of it is explained.
const REST: f64 = 0.2;

/// Explanations of the analyses that are kept.
#[derive(Default)]
pub struct Explaining {
    kept: Vec<(Arc<Analysis>, Explanations)>,
    /// Of the last analysis that anything was explained of: what it has computed is used again.
    explainer: Option<Arc<Explainer>>,
    running: Option<(Arc<Analysis>, Step)>,
    /// The image of a volume that rests in view, and since when.
    resting: Option<(Arc<Analysis>, f64)>,
    /// Steps that failed or were cancelled, with the reason: not tried again unasked.
    given_up: Vec<(Arc<Analysis>, Step, String)>,
}

impl Explaining {
    /// What is known of an analysis so far.
    pub fn of(&self, analysis: &Arc<Analysis>) -> Option<&Explanations> {
        self.kept.iter().find(|(other, _)| Arc::ptr_eq(other, analysis)).map(|(_, explanations)| explanations)
    }

    /// Why a step was given up.
    pub fn reason(&self, analysis: &Arc<Analysis>, step: &Step) -> Option<&str> {
        let same =
            |(other, given_up, _): &&(Arc<Analysis>, Step, String)| Arc::ptr_eq(other, analysis) && given_up == step;
        self.given_up.iter().find(same).map(|(.., reason)| reason.as_str())
    }

    /// Keeps what a step has made.
    fn keep(&mut self, analysis: &Arc<Analysis>, made: Made) {
        let index = match self.kept.iter().position(|(other, _)| Arc::ptr_eq(other, analysis)) {
            Some(index) => index,
            None => {
                self.kept.push((Arc::clone(analysis), Explanations::default()));
                self.kept.len() - 1
            }
        };
        let Some((_, explanations)) = self.kept.get_mut(index) else { return };
        match made {
            Made::Cam(map) => {
                explanations.cams.retain(|other| other.id != map.id);
                explanations.cams.push(map);
            }
            Made::Test(test) => {
                explanations.faithfulness.retain(|other| other.id != test.id);
                explanations.faithfulness.push(test);
            }
        }
    }
}

impl State {
    /// Kinds of map that the local lens offers.
    pub fn local_kinds(&self) -> Vec<MapKind> {
        let stages = self.network.metadata.as_ref().map_or(0, |metadata| metadata.config.resnet.channels.len());
        let cams = CamMethod::ALL.into_iter().flat_map(|method| (1..=stages).map(move |stage| (method, stage)));
        let cams = cams.map(|(method, stage)| MapKind::Cam { method, stage });
        std::iter::once(MapKind::LesionHead).chain(cams).collect()
    }

    /// The kind of map in the local lens: the one that was chosen, where this model has it.
    pub fn local_kind(&self) -> MapKind {
        let chosen = self.settings.local_map;
        if self.local_kinds().contains(&chosen) { chosen } else { MapKind::LesionHead }
    }

    /// The map in the local lens.
    pub fn local_map(&self, reading: &Reading, analysis: &Analysis) -> Option<MapId> {
        let heat = lens_maps::head_map(&reading.overlays, analysis)?;
        let kind = self.local_kind();
        let finding = match (kind, self.settings.explain_selection) {
            (MapKind::Cam { .. }, true) => reading.selected.filter(|selected| {
                analysis.findings.iter().any(|finding| finding.id == *selected && finding.label == heat.label)
            }),
            _ => None,
        };
        Some(MapId { finding, ..MapId::of(kind, &heat.label) })
    }

    /// The map in the global lens, and the class it is tested with.
    pub fn global_map(&self, reading: &Reading, analysis: &Analysis) -> Option<MapId> {
        let map: &AttentionMap = lens_maps::attention_map(&reading.overlays, analysis)?;
        let kind = match map.method {
            AttentionMethod::AttentionRollout => MapKind::AttentionRollout,
            AttentionMethod::GradientRelevance => MapKind::GradientRelevance,
        };
        let label = match &map.label {
            Some(label) => label,
            None => &lens_maps::head_map(&reading.overlays, analysis)?.label,
        };
        Some(MapId::of(kind, label))
    }

    /// The map in a lens.
    pub fn map_in(&self, lens: Lens, reading: &Reading, analysis: &Analysis) -> Option<MapId> {
        match lens {
            Lens::Local => self.local_map(reading, analysis),
            Lens::Global => self.global_map(reading, analysis),
        }
    }

    /// What the local lens draws; `None` while a class activation map is being made.
    pub fn local_heat<'a>(&'a self, reading: &Reading, analysis: &'a Arc<Analysis>) -> Option<&'a HeatMap> {
        let id = self.local_map(reading, analysis)?;
        match id.kind {
            MapKind::Cam { .. } => self.explaining.of(analysis)?.cam(&id).map(|map| &map.heat),
            _ => lens_maps::head_map(&reading.overlays, analysis),
        }
    }

    /// How faithful the map in a lens is, once that was tested.
    pub fn faithfulness(&self, lens: Lens, reading: &Reading, analysis: &Arc<Analysis>) -> Option<&MapFaithfulness> {
        let id = self.map_in(lens, reading, analysis)?;
        self.explaining.of(analysis)?.of(&id)
    }

    /// Steps that the lenses wait for, the first first.
    fn steps(&self, reading: &Reading, analysis: &Arc<Analysis>) -> Vec<Step> {
        let empty = Explanations::default();
        let known = self.explaining.of(analysis).unwrap_or(&empty);
        let local = self.local_map(reading, analysis);
        let mut steps = Vec::new();
        if let Some(id) = local.as_ref().filter(|id| matches!(id.kind, MapKind::Cam { .. }) && known.cam(id).is_none())
        {
            steps.push(Step::Cam(id.clone()));
        }
        if self.settings.test_maps {
            let maps = local.into_iter().chain(self.global_map(reading, analysis));
            steps.extend(maps.filter(|id| known.of(id).is_none()).map(Step::Test));
        }
        steps.retain(|step| self.explaining.reason(analysis, step).is_none());
        // A map that cannot be made cannot be tested.
        let missing = |step: &Step| match step {
            Step::Test(id) => self.explaining.reason(analysis, &Step::Cam(id.clone())).is_some(),
            Step::Cam(_) => false,
        };
        steps.retain(|step| !missing(step));
        steps
    }
}

impl App {
    /// Each frame: starts the next step that the lenses wait for, and stops one that nobody waits for any more.
    pub(crate) fn tend_explanations(&mut self) {
        // Behind the planes nobody waits for the maps of an image.
        let lenses = self.state.reading.as_ref().filter(|_| self.state.planes_in_front().is_none());
        let analysis = lenses.and_then(Reading::analysis_in_view).cloned();
        let rests = analysis.filter(|analysis| self.rests(analysis));
        let next = rests.and_then(|analysis| {
            let steps = self.state.steps(self.state.reading.as_ref()?, &analysis);
            Some((analysis, steps))
        });
        if let Some((of, running)) = &self.state.explaining.running {
            let wanted = next.as_ref().is_some_and(|(analysis, steps)| {
                // A map that is to be seen goes before a test.
                let waits = matches!((steps.first(), running), (Some(Step::Cam(_)), Step::Test(_)));
                Arc::ptr_eq(analysis, of) && steps.contains(running) && !waits
            });
            if wanted && self.jobs.is_running(JobKind::Explanation) {
                return;
            }
            self.jobs.abandon(JobKind::Explanation);
            self.state.explaining.running = None;
        }
        // The network answers one question at a time.
        if self.jobs.is_running(JobKind::Analysis) {
            return;
        }
        if let Some((analysis, steps)) = next
            && let Some(step) = steps.into_iter().next()
        {
            self.start_explanation(analysis, step);
        }
    }

    /// Whether an image of a volume has stood still for a moment: for those that are scrolled past nothing is begun.
    fn rests(&mut self, analysis: &Arc<Analysis>) -> bool {
        if analysis.place.is_none() {
            return true;
        }
        let since = match &self.state.explaining.resting {
            Some((resting, since)) if Arc::ptr_eq(resting, analysis) => *since,
            _ => self.now,
        };
        self.state.explaining.resting = Some((Arc::clone(analysis), since));
        let wait = since + REST - self.now;
        if wait > 0.0 {
            self.ctx.request_repaint_after(std::time::Duration::from_secs_f64(wait));
        }
        wait <= 0.0
    }

    fn start_explanation(&mut self, analysis: Arc<Analysis>, step: Step) {
        let Some(bundle) = self.state.network.bundle() else { return };
        let Some(reading) = &self.state.reading else { return };
        let Some(key) = reading.key_at(reading.view.position) else { return };
        let FrameState::Ready(frame) = self.images.frame(&key) else { return };
        let kept = self.state.explaining.explainer.clone();
        let explainer = kept.filter(|explainer| Arc::ptr_eq(explainer.analysis(), &analysis));
        let of_volume = analysis
            .place
            .and_then(|place| Some((Arc::clone(self.state.network.volume_of(&analysis.target.series_uid)?), place)));
        let volume = of_volume;
        let known = self.state.explaining.of(&analysis).cloned().unwrap_or_default();
        self.state.explaining.running = Some((Arc::clone(&analysis), step.clone()));
        self.jobs.start(JobKind::Explanation, "Explanations", move |task| {
            let failed = |error: AnalysisError| match error {
                AnalysisError::Cancelled(_) => JobError::Cancelled,
                error => JobError::Failed(format!("{}: {error}", key.source)),
            };
            let explainer = match explainer {
                Some(explainer) => explainer,
                None => {
                    let config = &bundle.metadata.config;
                    let slab = volume.and_then(|(volume, place)| volume.network_image(&config.slab?, place));
                    let image = slab.unwrap_or_else(|| network_image(config, frame.frame()));
                    Arc::new(Explainer::new(bundle, analysis, &image).map_err(failed)?)
                }
            };
            let made = match &step {
                Step::Cam(id) => Made::Cam(explainer.cam(id, task).map_err(failed)?),
                Step::Test(id) => {
                    let values = explainer.values(id, &known).ok_or(JobError::Cancelled)?;
                    Made::Test(explainer.faithfulness(id, &values, task).map_err(failed)?)
                }
            };
            Ok(Outcome::Explained(Box::new(Explained { explainer, made })))
        });
    }

    /// A step is done.
    pub(crate) fn explained(&mut self, explained: Explained) {
        let Explained { explainer, made } = explained;
        let explaining = &mut self.state.explaining;
        explaining.running = None;
        explaining.keep(explainer.analysis(), made);
        explaining.explainer = Some(explainer);
        // What belongs to analyses that are forgotten goes with them.
        let network = &self.state.network;
        let shown = self.state.reading.as_ref().and_then(|reading| reading.analysis.as_ref());
        let alive = |analysis: &Arc<Analysis>| {
            let target = &analysis.target;
            let kept = network.analysis_of(&target.instance_uid, target.frame);
            kept.is_some_and(|kept| Arc::ptr_eq(kept, analysis))
                || shown.is_some_and(|shown| Arc::ptr_eq(shown, analysis))
        };
        explaining.kept.retain(|(analysis, _)| alive(analysis));
        explaining.given_up.retain(|(analysis, ..)| alive(analysis));
    }

    /// The step at hand failed or was cancelled. Cancelling stops what would have followed too.
    pub(crate) fn explanation_stopped(&mut self, failure: Option<String>) {
        let Some((analysis, step)) = self.state.explaining.running.take() else { return };
        let reason = failure.clone().unwrap_or_else(|| "cancelled".to_owned());
        let mut steps = vec![step];
        if failure.is_none()
            && let Some(reading) = &self.state.reading
        {
            steps.extend(self.state.steps(reading, &analysis));
        }
        let given_up = steps.into_iter().map(|step| (Arc::clone(&analysis), step, reason.clone()));
        self.state.explaining.given_up.extend(given_up);
    }

    /// Carries out what a panel asked for.
    pub(crate) fn explain(&mut self, command: ExplainCommand) {
        let settings = &mut self.state.settings;
        match command {
            ExplainCommand::Show(kind) => settings.local_map = kind,
            ExplainCommand::OfSelection(on) => settings.explain_selection = on,
            ExplainCommand::Test(on) => settings.test_maps = on,
            ExplainCommand::Again => {}
        }
        self.state.explaining.given_up.clear();
    }

    /// Shows the next map in the lens that keys act on.
    pub(crate) fn step_map(&mut self, step: isize) {
        let Some(reading) = &mut self.state.reading else { return };
        let Some(analysis) = reading.analysis_in_view() else { return };
        let turn = |current: usize, count: usize| (current as isize + step).rem_euclid(count.max(1) as isize) as usize;
        match reading.active {
            Lens::Global => {
                reading.overlays.attention_map = turn(reading.overlays.attention_map, analysis.attention_maps.len());
            }
            Lens::Local => {
                let kinds = self.state.local_kinds();
                let current = kinds.iter().position(|kind| *kind == self.state.local_kind()).unwrap_or(0);
                if let Some(kind) = kinds.get(turn(current, kinds.len())) {
                    self.explain(ExplainCommand::Show(*kind));
                }
            }
        }
    }
}
