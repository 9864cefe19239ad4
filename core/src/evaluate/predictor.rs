//! What is measured: anything that answers for a frame.

use ndarray::Array2;

use crate::dataset::{ClassMap, CocoDataset, UnionTarget};
use crate::nn::BoundingBox;
use crate::study::Frame;

/// Answer for one image. All maps are probabilities, `[row, column]` in the size of the image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImagePrediction {
    /// One a lesion class.
    pub lesions: Vec<LesionPrediction>,
    /// Organ and its map.
    pub organs: Vec<(String, Array2<f32>)>,
}

/// Answer for one lesion class.
#[derive(Debug, Clone, PartialEq)]
pub struct LesionPrediction {
    /// Class (`lung_opacity`).
    pub label: String,
    /// That the image shows it, 0 to 1.
    pub probability: f32,
    /// Where.
    pub heat_map: Array2<f32>,
    /// Suspected lesions: row, column, score.
    pub findings: Vec<(f32, f32, f32)>,
    /// Boxes around the regions of the heat map that are findings, with scores.
    pub map_boxes: Vec<(BoundingBox, f32)>,
    /// Boxes of a detector, with scores; `None` where there is no detector.
    pub boxes: Option<Vec<(BoundingBox, f32)>>,
}

/// A network with its pre- and post-processing.
pub trait Predictor {
    /// Answers for one frame; the message says why it cannot.
    fn predict(&self, frame: &Frame) -> Result<ImagePrediction, String>;
}

/// How a model's classes are found in a data set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Classes {
    /// Lesion classes.
    pub lesions: Vec<ClassMap>,
    /// Organ classes.
    pub organs: Vec<ClassMap>,
    /// Unions of organ classes: `lungs` drawn as one mask.
    pub unions: Vec<UnionTarget>,
}

impl Classes {
    /// Finds a model's classes in a data set by name. `lung_opacity` also takes images on which both ground-glass opacity and
    /// consolidation were drawn, and `lungs` is measured as the union of both lungs.
    pub fn by_name(dataset: &CocoDataset, lesions: &[String], organs: &[String]) -> Self {
        let has = |name: &str| dataset.categories.iter().any(|category| category == name);
        let group = |names: &[&str]| -> Option<Vec<String>> {
            names.iter().all(|name| has(name)).then(|| names.iter().map(|name| (*name).to_owned()).collect())
        };
        let map = |class: &str| {
            let parts: &[&str] = if class == "lung_opacity" { &["ground_glass_opacity", "consolidation"] } else { &[] };
            let mut any_of: Vec<Vec<String>> = group(&[class]).into_iter().collect();
            if !parts.is_empty() {
                any_of.extend(group(parts));
            }
            (!any_of.is_empty()).then(|| ClassMap { class: class.to_owned(), any_of })
        };
        let sides = ["left_lung", "right_lung"];
        let mut unions = Vec::new();
        if sides.iter().all(|side| organs.iter().any(|organ| organ == side)) {
            let any_of: Vec<Vec<String>> = group(&["lungs"]).into_iter().chain(group(&sides)).collect();
            if !any_of.is_empty() {
                let target = ClassMap { class: "lungs".to_owned(), any_of };
                unions.push(UnionTarget { target, classes: sides.map(str::to_owned).to_vec() });
            }
        }
        Self {
            lesions: lesions.iter().filter_map(|class| map(class)).collect(),
            organs: organs.iter().filter_map(|class| map(class)).collect(),
            unions,
        }
    }
}
