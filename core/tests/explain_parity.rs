//! Explanations against the package `grad-cam` 1.5.5 and against rollout and relevance restated from their papers, on the same weights:
//! core/tests/reference/explain.py makes the fixture.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use bifocal_core::explain::{CamMethod, CamTarget, StageEvidence, attention_rollout, gradient_relevance, min_max};
use bifocal_core::model::{ModelConfig, Network, Request};
use bifocal_core::nn::resize_bilinear;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use ndarray::Array2;

const FIXTURE: &[u8] = include_bytes!("fixtures/explain/serial.safetensors");
/// Largest difference allowed, of values from 0 to 1.
const TOLERANCE: f32 = 1e-3;

struct Fixture {
    network: Network,
    input: Tensor,
    expected: HashMap<String, Tensor>,
    cells: Vec<(usize, usize)>,
}

fn fixture() -> Fixture {
    let (_, metadata) = safetensors::SafeTensors::read_metadata(FIXTURE).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    let config: ModelConfig = serde_json::from_str(&metadata["config"]).unwrap();
    let cells = serde_json::from_str(&metadata["cells"]).unwrap();
    let expected: HashMap<String, Tensor> = candle_core::safetensors::load_buffer(FIXTURE, &Device::Cpu)
        .unwrap()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_dtype(DType::F32).unwrap()))
        .collect();
    let weights = expected
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("weights/")?.to_owned(), tensor.clone())))
        .collect();
    let network = Network::new(&config, &VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu)).unwrap();
    Fixture { network, input: expected["input"].clone(), expected, cells }
}

fn difference(found: &Array2<f32>, expected: &Tensor) -> f32 {
    let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// As the package does: to the range 0 to 1, to the size of the input, to the range again.
fn as_the_package(map: &Array2<f32>, side: usize) -> Array2<f32> {
    let (rows, columns) = map.dim();
    let scaled = min_max(map.view()).into_raw_vec_and_offset().0;
    let tensor = Tensor::from_vec(scaled, (1, 1, rows, columns), &Device::Cpu).unwrap();
    let large = resize_bilinear(&tensor, side, side).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    min_max(Array2::from_shape_vec((side, side), large).unwrap().view())
}

#[test]
fn the_restated_network_is_the_same() {
    let f = fixture();
    let logits = f.network.forward(&f.input, &Request::default()).unwrap().class_logits;
    let found = Array2::from_shape_vec((1, 2), logits.flatten_all().unwrap().to_vec1().unwrap()).unwrap();
    assert!(difference(&found, &f.expected["class_logits"]) < 1e-4);
}

#[test]
fn class_activation_maps_equal_those_of_grad_cam() {
    let f = fixture();
    let mut compared = 0;
    let targets = [
        ("image", CamTarget::Image { lesion: 1 }),
        ("region", CamTarget::Region { lesion: 0, cells: f.cells.clone() }),
    ];
    for (name, target) in targets {
        for stage in 0..2 {
            let evidence = StageEvidence::of(&f.network, &f.input, stage, &target).unwrap();
            for method in CamMethod::ALL {
                let key = format!("cam/{name}/{}/{}", stage + 1, method.key().replace('-', "_"));
                let map = as_the_package(&evidence.map(method), 32);
                let worst = difference(&map, &f.expected[&key]);
                assert!(worst < TOLERANCE, "{key}: {worst}");
                compared += usize::from(map.iter().any(|v| *v > 0.0));
            }
        }
    }
    assert_eq!(compared, 12, "no map of the fixture is empty");
}

#[test]
fn rollout_and_relevance_equal_the_papers() {
    let f = fixture();
    let request = Request { attention: true, ..Request::default() };
    let attention = f.network.forward(&f.input, &request).unwrap().features.attention;
    let worst = difference(&attention_rollout(&attention).unwrap(), &f.expected["rollout"]);
    assert!(worst < TOLERANCE, "rollout: {worst}");
    for lesion in 0..2 {
        let found = gradient_relevance(&f.network, &f.input, lesion).unwrap();
        assert!(found.iter().any(|v| *v > 1e-2), "the fixture says something");
        let worst = difference(&found, &f.expected[&format!("relevance/{lesion}")]);
        assert!(worst < TOLERANCE, "relevance of {lesion}: {worst}");
    }
}
