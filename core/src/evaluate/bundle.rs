//! A bundle as a predictor.

use super::predictor::{ImagePrediction, LesionPrediction, Predictor};
use crate::analysis::{Cut, infer, network_image, peaks, prediction, region_boxes};
use crate::model::Bundle;
use crate::study::Frame;

/// Peaks of a heat map that are nearer than this share of the image's longer side are one candidate.
const PEAK_DISTANCE: f32 = 0.08;
/// Peaks lower than this are no candidates.
const LOWEST_PEAK: f32 = 0.02;

impl Predictor for Bundle {
    fn predict(&self, frame: &Frame) -> Result<ImagePrediction, String> {
        let image = network_image(&self.metadata.config, frame);
        if image.is_empty() {
            return Err("the image has no pixels".into());
        }
        let inference = infer(self, &image, false).map_err(|error| error.to_string())?;
        let radius = PEAK_DISTANCE * image.dim().0.max(image.dim().1) as f32;
        let boxes_of = |class: usize| {
            let all = inference.boxes.as_ref()?.iter();
            Some(all.filter(|found| found.class == class).map(|found| (found.bounds, found.score)).collect())
        };
        let classes = self.metadata.lesions.iter().zip(&inference.class_logits).enumerate();
        let lesions = classes
            .zip(inference.lesion_maps)
            .map(|((index, (class, logit)), heat_map)| LesionPrediction {
                label: class.name.clone(),
                probability: prediction(class, *logit).probability,
                findings: peaks(heat_map.view(), radius, LOWEST_PEAK),
                map_boxes: region_boxes(heat_map.view(), Cut::new(&self.metadata.config, class.map_threshold)),
                boxes: boxes_of(index),
                heat_map,
            })
            .collect();
        let names = self.metadata.organs.iter().map(|organ| organ.name.clone());
        Ok(ImagePrediction { lesions, organs: names.zip(inference.organ_maps).collect() })
    }
}
