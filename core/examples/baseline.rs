//! Measures a predictor without any learning on chest radiographs, as a floor for what a network must beat:
//! `cargo run --release --workspace --example baseline -- coco.json OUT [LIMIT]`.
//!
//! Lungs are the dark parts beside the midline, the left lung on the right of the picture; an opacity is what is bright there.

use std::path::Path;

use bifocal_core::dataset::CocoDataset;
use bifocal_core::evaluate::{
    Classes, EvaluateOptions, ImagePrediction, LesionPrediction, Predictor, evaluate, heat_map_peak, write,
};
use bifocal_core::study::{Frame, letterbox, warp};
use bifocal_core::task::Task;
use ndarray::Array2;

struct DarkParts;

impl Predictor for DarkParts {
    fn predict(&self, frame: &Frame) -> Result<ImagePrediction, String> {
        const SIDE: usize = 48;
        let (rows, columns) = frame.shape();
        let to_small = letterbox(rows, columns, SIDE);
        let back = to_small.inverse().ok_or("the image is empty")?;
        let small = warp(frame.values().view(), &to_small, (SIDE, SIDE), 255.0) / 255.0;
        let mean = small.mean().unwrap_or(0.5);
        let lung = Array2::from_shape_fn((SIDE, SIDE), |(r, c)| {
            let (y, x) = (r as f32 / SIDE as f32, (c as f32 / SIDE as f32 - 0.5).abs());
            let prior = if (0.12..0.8).contains(&y) && (0.06..0.4).contains(&x) { 1.0 } else { 0.0 };
            prior / (1.0 + (12.0 * (small[[r, c]] - mean * 0.95)).exp())
        });
        let field = Array2::from_shape_fn((SIDE, SIDE), |(r, c)| {
            let (y, x) = (r as f32 / SIDE as f32, (c as f32 / SIDE as f32 - 0.5).abs());
            let prior = if (0.3..0.75).contains(&y) && (0.1..0.35).contains(&x) { 1.0 } else { 0.1 };
            prior * small[[r, c]].clamp(0.0, 1.0)
        });
        let enlarge = |map: &Array2<f32>| warp(map.view(), &back, (rows, columns), 0.0);
        let lungs = enlarge(&lung);
        let side = |left: bool| {
            Array2::from_shape_fn(
                (rows, columns),
                |(r, c)| if (2 * c >= columns) == left { lungs[[r, c]] } else { 0.0 },
            )
        };
        let heat_map = enlarge(&field);
        let findings = heat_map_peak(heat_map.view()).map(|(r, c)| (r as f32, c as f32, heat_map[[r, c]]));
        Ok(ImagePrediction {
            lesions: vec![LesionPrediction {
                label: "lung_opacity".into(),
                probability: field.mean().unwrap_or(0.0).clamp(0.0, 1.0) * 2.0,
                heat_map,
                findings: findings.into_iter().collect(),
                map_boxes: Vec::new(),
                boxes: None,
            }],
            organs: vec![("left_lung".into(), side(true)), ("right_lung".into(), side(false))],
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, coco, out, rest @ ..] = arguments.as_slice() else {
        return Err("usage: baseline coco.json OUT [LIMIT]".into());
    };
    let dataset = CocoDataset::load(Path::new(coco))?;
    let limit = rest.first().map_or(Ok(usize::MAX), |text| text.parse())?;
    let indices: Vec<usize> =
        (0..dataset.images.len()).filter(|i| !dataset.images[*i].annotated.is_empty()).take(limit).collect();
    let organs = ["left_lung", "right_lung"].map(str::to_owned);
    let classes = Classes::by_name(&dataset, &["lung_opacity".to_owned()], &organs);
    let evaluation = evaluate(&dataset, &indices, &classes, &DarkParts, &EvaluateOptions::default(), &Task::new())?;
    write(&evaluation, "Dark parts, no network", coco, Path::new(out))?;
    for (key, metric) in &evaluation.metrics {
        println!("{key:50} {:.3} ({:.3} - {:.3}) n {}", metric.value, metric.low, metric.high, metric.n);
    }
    Ok(())
}
