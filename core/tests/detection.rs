//! Regions, suppression and box coding give what torchvision.ops gives: `core/tests/reference/detection.py` made the numbers.

#![allow(clippy::unwrap_used)]

use bifocal_core::nn::{BoundingBox, BoxCoder, Roi, RoiGrid, nms, roi_align};
use candle_core::{Device, Tensor, Var};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    roi_align: RoiReference,
    nms: NmsReference,
    coding: Coding,
}

#[derive(Deserialize)]
struct RoiReference {
    x: Vec<f32>,
    shape: Vec<usize>,
    rois: Vec<f32>,
    cases: Vec<RoiCase>,
}

#[derive(Deserialize)]
struct RoiCase {
    rows: usize,
    columns: usize,
    scale: f32,
    sampling: usize,
    y: Vec<f32>,
    gradient: Vec<f32>,
}

#[derive(Deserialize)]
struct NmsReference {
    boxes: Vec<f32>,
    scores: Vec<f32>,
    classes: Vec<usize>,
    cases: Vec<NmsCase>,
}

#[derive(Deserialize)]
struct NmsCase {
    threshold: f32,
    kept: Vec<usize>,
    by_class: Vec<usize>,
}

#[derive(Deserialize)]
struct Coding {
    weights: [f32; 4],
    references: Vec<f32>,
    targets: Vec<f32>,
    encoded: Vec<f32>,
    deltas: Vec<f32>,
    decoded: Vec<f32>,
    clipped: Vec<f32>,
    iou: Vec<f32>,
}

fn reference() -> Reference {
    serde_json::from_str(include_str!("reference/detection.json")).unwrap()
}

fn boxes(values: &[f32]) -> Vec<BoundingBox> {
    values.chunks_exact(4).map(|b| BoundingBox::new(b[0], b[1], b[2], b[3])).collect()
}

fn assert_close(ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len());
    for (index, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "value {index}: {a}, torchvision has {b}");
    }
}

#[test]
fn regions_are_sampled_as_by_torchvision_and_so_are_their_gradients() {
    let all = reference().roi_align;
    let rois: Vec<Roi> = all
        .rois
        .chunks_exact(5)
        .map(|roi| Roi { image: roi[0] as usize, bounds: BoundingBox::new(roi[1], roi[2], roi[3], roi[4]) })
        .collect();
    for case in all.cases {
        let x = Var::from_tensor(&Tensor::from_slice(&all.x, all.shape.as_slice(), &Device::Cpu).unwrap()).unwrap();
        let grid = RoiGrid { rows: case.rows, columns: case.columns, scale: case.scale, sampling: case.sampling };
        let y = roi_align(x.as_tensor(), &rois, grid).unwrap();
        assert_close(&y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), &case.y, 2e-5);
        let weights: Vec<f32> = (0..y.elem_count()).map(|index| ((index % 7) as f32 - 3.0) / 4.0).collect();
        let weights = Tensor::from_vec(weights, y.dims(), &Device::Cpu).unwrap();
        let gradients = (y * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let gradient = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_close(&gradient, &case.gradient, 2e-5);
    }
}

#[test]
fn the_same_boxes_are_kept() {
    let all = reference().nms;
    let (bounds, one) = (boxes(&all.boxes), vec![0; all.scores.len()]);
    for case in all.cases {
        assert_eq!(nms(&bounds, &all.scores, &one, case.threshold), case.kept);
        assert_eq!(nms(&bounds, &all.scores, &all.classes, case.threshold), case.by_class);
    }
}

#[test]
fn boxes_are_coded_clipped_and_compared_alike() {
    let all = reference().coding;
    let coder = BoxCoder { weights: all.weights };
    let (references, targets) = (boxes(&all.references), boxes(&all.targets));
    let encoded: Vec<f32> = references.iter().zip(&targets).flat_map(|(r, t)| coder.encode(r, t)).collect();
    assert_close(&encoded, &all.encoded, 1e-4);
    let deltas = all.deltas.chunks_exact(4).map(|d| [d[0], d[1], d[2], d[3]]);
    let decoded: Vec<BoundingBox> = references.iter().zip(deltas).map(|(r, d)| coder.decode(r, d)).collect();
    let corners = |b: &BoundingBox| [b.x1, b.y1, b.x2, b.y2];
    assert_close(&decoded.iter().flat_map(corners).collect::<Vec<_>>(), &all.decoded, 1e-4);
    let clipped: Vec<f32> = decoded.iter().flat_map(|b| corners(&b.clipped(48.0, 64.0))).collect();
    assert_close(&clipped, &all.clipped, 1e-4);
    let iou: Vec<f32> = references.iter().flat_map(|r| targets.iter().map(|t| r.iou(t))).collect();
    assert_close(&iou, &all.iou, 1e-4);
}
