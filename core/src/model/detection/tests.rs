use candle_core::{Device, Tensor};

use super::super::topology_tests::{ALL, config, network};
use super::super::{Fusion, ModelConfig, Network, Request, Topology, describe};
use super::DetectionConfig;

fn detecting(topology: Topology, fusion: Fusion) -> ModelConfig {
    ModelConfig {
        detection: Some(DetectionConfig {
            channels: 8,
            hidden: 12,
            first_stage: 1,
            anchor_sizes: vec![12.0, 24.0, 48.0],
            score_threshold: 0.0,
            ..DetectionConfig::default()
        }),
        ..config(topology, fusion)
    }
}

fn picture(rows: usize, columns: usize) -> Tensor {
    Tensor::randn(0.0f32, 1.0, (2, 1, rows, columns), &Device::Cpu).unwrap()
}

#[test]
fn every_join_gives_boxes_inside_the_image_at_any_size() {
    for (topology, fusion) in ALL {
        let (network, _) = network(&detecting(topology, fusion));
        for (rows, columns) in [(64, 64), (72, 40)] {
            let features = network.forward(&picture(rows, columns), &Request::default()).unwrap().features;
            let detector = network.detector().unwrap();
            let pyramid = detector.pyramid(&features).unwrap();
            assert_eq!((pyramid.levels.len(), pyramid.input_size()), (3, (rows, columns)));
            assert_eq!(pyramid.objectness.dims(), [2, pyramid.anchors.len()]);
            let found = detector.detect(&features).unwrap();
            assert_eq!(found.len(), 2);
            for boxes in &found {
                assert!(!boxes.is_empty() && boxes.len() <= 20, "{topology:?}: {}", boxes.len());
                assert!(boxes.windows(2).all(|pair| pair[0].score >= pair[1].score));
                let inside = |b: &super::Detection| {
                    let b = b.bounds;
                    b.x1 >= 0.0 && b.y1 >= 0.0 && b.x2 <= columns as f32 && b.y2 <= rows as f32 && b.area() > 0.0
                };
                assert!(boxes.iter().all(inside), "{topology:?}");
            }
        }
    }
}

#[test]
fn an_image_has_the_same_boxes_alone_and_in_a_batch() {
    let (network, _) = network(&detecting(Topology::Serial, Fusion::default()));
    let x = picture(64, 64);
    let detector = network.detector().unwrap();
    let of = |x: &Tensor| detector.detect(&network.forward(x, &Request::default()).unwrap().features).unwrap();
    let (both, second) = (of(&x), of(&x.narrow(0, 1, 1).unwrap()));
    assert_eq!(both[1].len(), second[0].len());
    for (a, b) in both[1].iter().zip(&second[0]) {
        assert!((a.score - b.score).abs() < 1e-4 && (a.bounds.x1 - b.bounds.x1).abs() < 1e-2, "{a:?} {b:?}");
    }
}

#[test]
fn the_tokens_reach_the_finest_level() {
    let (network, _) = network(&detecting(Topology::Serial, Fusion::default()));
    let features = network.forward(&picture(64, 64), &Request::default()).unwrap().features;
    let mut other = features.clone();
    other.tokens = (other.tokens + 1.0).unwrap();
    let level = |features| network.detector().unwrap().pyramid(features).unwrap().levels[0].clone();
    let change = (level(&features) - level(&other)).unwrap().abs().unwrap().max_all().unwrap();
    assert!(change.to_scalar::<f32>().unwrap() > 1e-3);
}

#[test]
fn a_file_says_what_it_detects_or_is_refused() {
    let text = r#"
topology = "serial"
input_size = 64
head_channels = 8
lesions = ["a"]
resnet = { channels = [8, 16], blocks = [1, 1], norm_groups = 4 }
transformer = { dimension = 16, depth = 1, heads = 2, mlp_ratio = 2, grid = [4, 4] }
"#;
    let parse = |detection: &str| {
        let config: ModelConfig =
            toml::from_str(&format!("{text}[detection]\n{detection}")).map_err(|e| e.to_string())?;
        config.validate().map(|()| config)
    };
    let config = parse("channels = 8\nhidden = 16\nanchor_sizes = [16, 32]").unwrap();
    let description = describe(&config).unwrap();
    assert!(description.layers.iter().any(|layer| layer.name == "heads.detection.region.fc1" && layer.macs > 0));
    assert!(Network::random(&config, 1, &Device::Cpu).unwrap().detector().is_some());
    for (detection, part) in [
        ("channels = 6\nanchor_sizes = [16, 32]", "channels"),
        ("anchor_sizes = [16]", "anchor_sizes"),
        ("channels = 8\nanchor_sizes = [16, -1]", "above 0"),
        ("first_stage = 3", "first_stage"),
        ("channels = 8\nanchor_sizes = [16, 32]\noverlap = 2", "overlap"),
        ("chanels = 8", "chanels"),
    ] {
        let error = parse(detection).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    let mut none = config;
    none.lesions.clear();
    assert!(none.validate().unwrap_err().contains("lesion"));
}
