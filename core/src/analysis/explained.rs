//! Explanations of an analysis that are asked for after it: class activation maps, and how faithful each map is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Tensor};
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::infer::to_image;
use super::run::{AnalysisError, prediction};
use super::types::{Analysis, AttentionMethod, Finding, FindingId, Flag, HeatMap};
use crate::explain::{
    CELLS, CamMethod, CamTarget, Faithfulness, Occlusion, RANDOM_MAPS, RandomScores, StageEvidence, Verdict, coverage,
    faithfulness, share_of_maximum, smoothness_of,
};
use crate::model::{Bundle, ModelInput, NetworkImage};
use crate::study::warp;
use crate::task::Task;

/// Class activation maps are clear below this share of their highest value.
const CAM_THRESHOLD: f32 = 0.3;
/// Images asked about at once.
const BATCH: usize = 10;

/// How a map is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapKind {
    /// The lesion head's probability.
    LesionHead,
    /// A class activation map.
    Cam {
        /// How.
        method: CamMethod,
        /// ResNet stage, from 1.
        stage: usize,
    },
    /// The transformer's attention, class-agnostic.
    AttentionRollout,
    /// The transformer's relevance.
    GradientRelevance,
}

impl MapKind {
    /// As people write it: `LayerCAM, stage 2`.
    pub fn name(self) -> String {
        match self {
            Self::LesionHead => "Lesion head".to_owned(),
            Self::Cam { method, stage } => format!("{}, stage {stage}", method.name()),
            Self::AttentionRollout => "Attention rollout".to_owned(),
            Self::GradientRelevance => "Gradient relevance".to_owned(),
        }
    }

    /// As it stands in file names and tables: `layer-cam-2`.
    pub fn key(self) -> String {
        match self {
            Self::LesionHead => "lesion-head".to_owned(),
            Self::Cam { method, stage } => format!("{}-{stage}", method.key()),
            Self::AttentionRollout => "attention-rollout".to_owned(),
            Self::GradientRelevance => "gradient-relevance".to_owned(),
        }
    }

    /// Whether it shows the ResNet's evidence; else the transformer's.
    pub fn is_local(self) -> bool {
        matches!(self, Self::LesionHead | Self::Cam { .. })
    }
}

/// Names a map of an analysis.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MapId {
    /// How it is made.
    pub kind: MapKind,
    /// Lesion class that it explains; for rollout, the class that it is tested with.
    pub label: String,
    /// The finding whose region alone a class activation map explains; `None` for the image as a whole.
    pub finding: Option<FindingId>,
}

impl MapId {
    /// A map of the image as a whole.
    pub fn of(kind: MapKind, label: &str) -> Self {
        Self { kind, label: label.to_owned(), finding: None }
    }
}

/// A class activation map.
#[derive(Debug, Clone, PartialEq)]
pub struct CamMap {
    /// Which one.
    pub id: MapId,
    /// In the size of the frame, as a share of its highest value; method and layer for people.
    pub heat: HeatMap,
    /// The highest value, in units of the explained logit.
    pub highest: f32,
}

/// How faithful a map is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapFaithfulness {
    /// Which map.
    pub id: MapId,
    /// The numbers.
    #[serde(flatten)]
    pub result: Faithfulness,
    /// What speaks against the map; empty where the class is not called.
    pub warnings: Vec<Flag>,
}

/// Explanations of one analysis, as far as they were asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explanations {
    /// Class activation maps.
    pub cams: Vec<CamMap>,
    /// One a map that was tested.
    pub faithfulness: Vec<MapFaithfulness>,
}

impl Explanations {
    /// A class activation map.
    pub fn cam(&self, id: &MapId) -> Option<&CamMap> {
        self.cams.iter().find(|map| map.id == *id)
    }

    /// How faithful a map is.
    pub fn of(&self, id: &MapId) -> Option<&MapFaithfulness> {
        self.faithfulness.iter().find(|map| map.id == *id)
    }
}

/// Number of ResNet stages of a bundle.
pub fn stage_count(bundle: &Bundle) -> usize {
    bundle.network.hybrid().stage_channels().len()
}

/// Makes explanations of one analysis; what several of them need is computed once.
pub struct Explainer {
    bundle: Arc<Bundle>,
    analysis: Arc<Analysis>,
    input: ModelInput,
    tensor: Tensor,
    occlusion: Occlusion,
    lungs: Option<Array2<f32>>,
    /// By lesion class: probability as it is and wholly blurred.
    ends: Mutex<HashMap<usize, (f32, f32)>>,
    /// By lesion class and smoothness.
    random: Mutex<HashMap<(usize, usize), Arc<RandomScores>>>,
}

impl Explainer {
    /// For `analysis`, which `bundle` made of `image` ([`super::network_image`], or a slab of a volume).
    pub fn new(bundle: Arc<Bundle>, analysis: Arc<Analysis>, image: &NetworkImage) -> Result<Self, AnalysisError> {
        let input = image.input(bundle.metadata.config.input_size);
        let tensor = input.tensor(&bundle.device)?;
        let cells = |map: ArrayView2<'_, f32>| on_cells(map, &input);
        let picture = cells(Array2::from_elem(image.dim(), 1.0).view());
        let occlusion = Occlusion::new(input.values.view(), picture.mapv(|share| share > 0.5).view());
        let organ_maps = analysis.organ_maps.iter().filter(|map| map.organ.contains("lung"));
        let lungs = organ_maps.map(|map| map.values.mapv(|p| f32::from(u8::from(p >= 0.5)))).reduce(|mut all, lung| {
            all.zip_mut_with(&lung, |a, b| *a = a.max(*b));
            all
        });
        let lungs = lungs.map(|lungs| cells(lungs.view()));
        Ok(Self { bundle, analysis, tensor, occlusion, lungs, input, ends: Mutex::default(), random: Mutex::default() })
    }

    /// The analysis that is explained.
    pub fn analysis(&self) -> &Arc<Analysis> {
        &self.analysis
    }

    fn lesion(&self, label: &str) -> Result<usize, AnalysisError> {
        let found = self.bundle.metadata.lesions.iter().position(|class| class.name == label);
        found.ok_or_else(|| AnalysisError::Unknown(format!("class {label}")))
    }

    /// The class activation map `id`; about a tenth of a second.
    pub fn cam(&self, id: &MapId, task: &Task) -> Result<CamMap, AnalysisError> {
        let MapKind::Cam { method, stage } = id.kind else {
            return Err(AnalysisError::Unknown(format!("class activation map {}", id.kind.key())));
        };
        let lesion = self.lesion(&id.label)?;
        task.check()?;
        task.progress(method.name(), 0, 0);
        let target = match id.finding {
            None => CamTarget::Image { lesion },
            Some(finding) => {
                let found = self.analysis.findings.iter().find(|other| other.id == finding);
                let found = found.ok_or_else(|| AnalysisError::Unknown(format!("finding {}", finding.0)))?;
                CamTarget::Region { lesion, cells: self.region(found) }
            }
        };
        let stage = stage.checked_sub(1).ok_or_else(|| AnalysisError::Unknown("stage 0".to_owned()))?;
        let evidence = StageEvidence::of(&self.bundle.network, &self.tensor, stage, &target)?;
        task.check()?;
        let map = evidence.map(method);
        let highest = map.iter().copied().fold(0.0_f32, f32::max);
        let (rows, columns) = map.dim();
        let shape = (self.analysis.target.rows, self.analysis.target.columns);
        let size = self.bundle.metadata.config.input_size;
        let values = to_image(share_of_maximum(map.view()).view(), &self.input.image_from_input, size, shape);
        let of = match id.finding {
            None => "the image as a whole".to_owned(),
            Some(finding) => format!("finding {}", finding.0),
        };
        let heat = HeatMap {
            label: id.label.clone(),
            values: Arc::new(values),
            threshold: CAM_THRESHOLD,
            method: format!("{} of {of}, share of its highest value", method.name()),
            layer: format!("ResNet stage {} ({rows} × {columns})", stage + 1),
        };
        Ok(CamMap { id: id.clone(), heat, highest })
    }

    /// Cells of the lesion map's grid that lie in a finding: in its box, where the heat map reaches the threshold; at least its peak.
    fn region(&self, finding: &Finding) -> Vec<(usize, usize)> {
        let stride = self.bundle.metadata.config.lesion_stride();
        let side = self.bundle.metadata.config.input_size / stride;
        let heat = self.analysis.heat_maps.iter().find(|map| map.label == finding.label);
        let [top, left, bottom, right] = finding.bounding_box;
        let at = |cell: usize| (cell as f32 + 0.5) * stride as f32 - 0.5;
        let mut cells = Vec::new();
        let mut nearest = ((0, 0), f32::INFINITY);
        for row in 0..side {
            for column in 0..side {
                let (r, c) = self.input.image_from_input.apply((at(row), at(column)));
                let distance = (r - finding.peak.0).hypot(c - finding.peak.1);
                if distance < nearest.1 {
                    nearest = ((row, column), distance);
                }
                if r < 0.0 || c < 0.0 {
                    continue;
                }
                let (r, c) = (r.round() as usize, c.round() as usize);
                let hot = heat.and_then(|map| Some(*map.values.get((r, c))? >= map.threshold)).unwrap_or(false);
                if hot && (top..=bottom).contains(&r) && (left..=right).contains(&c) {
                    cells.push((row, column));
                }
            }
        }
        if cells.is_empty() { vec![nearest.0] } else { cells }
    }

    /// How faithful the map `id` with `values` (in the size of the frame) is. Two seconds on two cores; less where another map of this
    /// smoothness was tested before.
    pub fn faithfulness(
        &self,
        id: &MapId,
        values: &Array2<f32>,
        task: &Task,
    ) -> Result<MapFaithfulness, AnalysisError> {
        let lesion = self.lesion(&id.label)?;
        let map = on_cells(values.view(), &self.input);
        let smoothness = smoothness_of(map.view());
        let known = |key: &(usize, usize)| self.random.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        let random = known(&(lesion, smoothness));
        let stage = format!("Testing {}", id.kind.name());
        let total = if random.is_some() { 12 } else { 12 + 5 * RANDOM_MAPS as u64 };
        let mut done = 0;
        let mut score = |images: Vec<Vec<f32>>| -> Result<Vec<f32>, AnalysisError> {
            task.check()?;
            task.progress(&stage, done, total);
            done += images.len() as u64;
            self.probabilities(lesion, images)
        };
        let kept = self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(&lesion).copied();
        let ends = match kept {
            Some(ends) => ends,
            None => self.occlusion.ends(&mut score)?,
        };
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).insert(lesion, ends);
        let curves = self.occlusion.curves(map.view(), ends, &mut score)?;
        let random = match random {
            Some(random) => random,
            None => {
                let found = Arc::new(self.occlusion.random(smoothness, ends, &mut score)?);
                let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
                random.insert((lesion, smoothness), Arc::clone(&found));
                found
            }
        };
        let other = self.other_branch(id).map(|other| on_cells(other.view(), &self.input));
        let lungs = self.lungs.as_ref().map(|lungs| lungs.view());
        let result = faithfulness(map.view(), &curves, &random, lungs, other.as_ref().map(|other| other.view()));
        let warnings = result.warnings(self.is_called(&id.label)).into_iter();
        // What holds for all maps of an image is said once, and names none.
        let named = |text: String| match result.verdict {
            Verdict::NotMeasurable => format!("maps cannot be tested: {text}"),
            _ => format!("{}: {text}", id.kind.name()),
        };
        let warnings = warnings.map(|(code, text)| Flag { code: code.to_owned(), message: named(text) }).collect();
        Ok(MapFaithfulness { id: id.clone(), result, warnings })
    }

    /// Evidence of the other branch for the same class.
    fn other_branch(&self, id: &MapId) -> Option<&Arc<Array2<f32>>> {
        if id.kind.is_local() {
            let mut maps = self.analysis.attention_maps.iter();
            let found = maps.find(|map| {
                map.method == AttentionMethod::GradientRelevance && map.label.as_deref() == Some(&id.label)
            });
            return found.map(|map| &map.values);
        }
        self.analysis.heat_maps.iter().find(|map| map.label == id.label).map(|map| &map.values)
    }

    /// Whether the image is called positive for a class, or a finding of it was reported.
    fn is_called(&self, label: &str) -> bool {
        let positive = |p: &super::types::Prediction| p.label == label && p.probability >= p.threshold;
        self.analysis.predictions.iter().any(positive)
            || self.analysis.findings.iter().any(|finding| finding.label == label)
    }

    fn probabilities(&self, lesion: usize, images: Vec<Vec<f32>>) -> Result<Vec<f32>, AnalysisError> {
        let size = self.bundle.metadata.config.input_size;
        let Some(class) = self.bundle.metadata.lesions.get(lesion) else {
            return Err(AnalysisError::Unknown(format!("class {lesion}")));
        };
        let mut found = Vec::with_capacity(images.len());
        for batch in images.chunks(BATCH) {
            let channels = self.bundle.metadata.config.input_channels();
            let tensor = Tensor::from_vec(batch.concat(), (batch.len(), channels, size, size), &Device::Cpu)?;
            let logits = self.bundle.network.classify(&tensor.to_device(&self.bundle.device)?)?;
            let logits = logits.narrow(1, lesion, 1)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
            found.extend(logits.into_iter().map(|logit| prediction(class, logit).probability));
        }
        Ok(found)
    }

    /// The values of a map, where it is there: class activation maps are looked for in `explanations`.
    pub fn values(&self, id: &MapId, explanations: &Explanations) -> Option<Arc<Array2<f32>>> {
        let attention = |method: AttentionMethod| {
            let mut maps = self.analysis.attention_maps.iter();
            maps.find(|map| map.method == method && map.label.as_ref().is_none_or(|label| *label == id.label))
        };
        match id.kind {
            MapKind::LesionHead => {
                let mut maps = self.analysis.heat_maps.iter();
                maps.find(|map| map.label == id.label).map(|map| Arc::clone(&map.values))
            }
            MapKind::Cam { .. } => explanations.cam(id).map(|map| Arc::clone(&map.heat.values)),
            MapKind::AttentionRollout => {
                attention(AttentionMethod::AttentionRollout).map(|map| Arc::clone(&map.values))
            }
            MapKind::GradientRelevance => {
                attention(AttentionMethod::GradientRelevance).map(|map| Arc::clone(&map.values))
            }
        }
    }
}

/// A map in the size of the frame, as means over the cells of the network's input.
fn on_cells(map: ArrayView2<'_, f32>, input: &ModelInput) -> Array2<f32> {
    let (_, rows, columns) = input.values.dim();
    coverage(warp(map, &input.image_from_input, (rows, columns), 0.0).view(), (CELLS, CELLS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_have_names_and_keys() {
        let kind = MapKind::Cam { method: CamMethod::LayerCam, stage: 2 };
        assert_eq!((kind.name().as_str(), kind.key().as_str()), ("LayerCAM, stage 2", "layer-cam-2"));
        assert!(kind.is_local() && !MapKind::AttentionRollout.is_local());
        let id = MapId::of(kind, "lung_opacity");
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<MapId>(&json).unwrap(), id);
    }

    #[test]
    fn cells_are_those_of_the_input() {
        // A wide image: its upper half is hot, rows above and below it are letterboxing.
        let image = Array2::from_shape_fn((100, 200), |(row, _)| if row < 50 { 1.0 } else { 0.0 });
        let cells = on_cells(image.view(), &NetworkImage::gray(image.view()).input(64));
        assert_eq!(cells[[1, 8]], 0.0);
        assert!(cells[[5, 8]] > 0.99 && cells[[10, 8]] < 0.01);
    }
}
