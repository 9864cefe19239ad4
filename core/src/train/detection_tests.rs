use candle_core::{DType, Var};
use candle_nn::VarBuilder;
use rand::SeedableRng;

use super::*;
use crate::model::{DetectionConfig, ModelConfig, Network, Request, SeededVars};

fn config(topology: &str) -> ModelConfig {
    let text = format!(
        r#"
topology = "{topology}"
input_size = 64
head_channels = 8
lesions = ["a", "b"]
organs = ["c"]
resnet = {{ channels = [8, 16], blocks = [1, 1], norm_groups = 4 }}
transformer = {{ dimension = 16, depth = 2, heads = 2, mlp_ratio = 2, grid = [4, 4] }}
"#
    );
    let mut config: ModelConfig = toml::from_str(&text).unwrap();
    config.detection = Some(DetectionConfig {
        channels: 8,
        hidden: 12,
        first_stage: 1,
        anchor_sizes: vec![12.0, 24.0, 48.0],
        ..DetectionConfig::default()
    });
    config
}

/// A network whose weights are all away from their start, where some layers are silent.
fn network(config: &ModelConfig) -> (Network, std::collections::BTreeMap<String, Var>) {
    let vars = SeededVars::new(3);
    let vb = VarBuilder::from_backend(Box::new(vars.clone()), DType::F32, Device::Cpu);
    let network = Network::new(config, &vb).unwrap();
    let vars = vars.into_vars();
    for var in vars.values() {
        let noise = Tensor::randn(0.0f32, 0.05, var.dims(), &Device::Cpu).unwrap();
        var.set(&(var.as_tensor() + noise).unwrap()).unwrap();
    }
    (network, vars)
}

fn target(bounds: [f32; 4], class: usize) -> BoxTarget {
    BoxTarget { bounds: BoundingBox::new(bounds[0], bounds[1], bounds[2], bounds[3]), class, visible: true }
}

fn known(boxes: Vec<BoxTarget>) -> Targets {
    let boxes = BoxTargets { boxes, annotated: vec![true, true], weight: 1.0 };
    Targets { boxes: Some(boxes), ..Targets::default() }
}

#[test]
fn gradients_reach_every_weight_of_every_join() {
    for topology in ["serial", "interleaved", "parallel"] {
        let config = config(topology);
        let (network, vars) = network(&config);
        let x = Tensor::randn(0.0f32, 1.0, (2, 1, 64, 64), &Device::Cpu).unwrap();
        let features = network.forward(&x, &Request { training: true, ..Request::default() }).unwrap().features;
        let targets =
            [known(vec![target([10.0, 12.0, 30.0, 40.0], 0)]), known(vec![target([2.0, 2.0, 60.0, 50.0], 1)])];
        let loss = detection_loss(network.detector().unwrap(), &features, &targets, None, (1, 2)).unwrap().unwrap();
        assert!(loss.proposal > 0.0 && loss.region > 0.0);
        let gradients = loss.scalar.backward().unwrap();
        for (name, var) in vars.iter().filter(|(name, _)| !name.starts_with("heads.") || name.contains("detection")) {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{topology}: no gradient for {name}"));
            let size = gradient.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(size.is_finite(), "{topology}: {name}: {size}");
            // The detector reads tokens and maps, not CLS, which the last layer alone writes.
            assert!(size > 0.0, "{topology}: {name}: {size}");
        }
    }
}

/// Some hundred steps on two images with a bright square each: losses fall, and the squares are found.
#[test]
fn it_learns_to_find_squares() {
    let mut config = config("serial");
    (config.lesions, config.organs) = (vec!["a".into()], Vec::new());
    let (network, vars) = network(&config);
    let squares = [[8usize, 10, 26, 30], [30, 24, 54, 50]];
    let mut x = vec![0.0f32; 2 * 64 * 64];
    for (image, [x1, y1, x2, y2]) in squares.iter().enumerate() {
        for row in *y1..*y2 {
            x[image * 4096 + row * 64 + x1..image * 4096 + row * 64 + x2].fill(1.5);
        }
    }
    let x = Tensor::from_vec(x, (2, 1, 64, 64), &Device::Cpu).unwrap();
    let targets = squares.map(|b| {
        let boxes = BoxTargets { boxes: vec![target(b.map(|v| v as f32), 0)], annotated: vec![true], weight: 1.0 };
        Targets { boxes: Some(boxes), ..Targets::default() }
    });
    let mut optimizer = super::super::optimizer::Optimizer::new(vars).unwrap();
    let rates =
        super::super::optimizer::StepRates { rate: &|_| 3e-3, weight_decay: 0.0, clip_norm: 5.0, ema_decay: 0.9 };
    let detector = network.detector().unwrap();
    let mut losses = Vec::new();
    for step in 0..400 {
        let features = network.forward(&x, &Request { training: true, ..Request::default() }).unwrap().features;
        let loss = detection_loss(detector, &features, &targets, None, (1, step)).unwrap().unwrap();
        losses.push(loss.proposal + loss.region);
        let mut gathered = crate::train::optimizer::Gathered::default();
        optimizer.gather(&loss.scalar.backward().unwrap(), 1.0, &mut gathered).unwrap();
        optimizer.step(&gathered, &rates).unwrap();
    }
    assert!(losses[390..].iter().sum::<f32>() < 0.4 * losses[..10].iter().sum::<f32>(), "{losses:?}");
    let found = detector.detect(&network.forward(&x, &Request::default()).unwrap().features).unwrap();
    for (found, targets) in found.iter().zip(&targets) {
        let truth = targets.boxes.as_ref().unwrap().boxes[0].bounds;
        let best = found.first().expect("something is found");
        assert!(best.bounds.iou(&truth) > 0.6 && best.score > 0.5, "{best:?} {truth:?}");
    }
}

#[test]
fn images_without_annotation_teach_nothing() {
    let (network, _) = network(&config("serial"));
    let x = Tensor::randn(0.0f32, 1.0, (1, 1, 64, 64), &Device::Cpu).unwrap();
    let features = network.forward(&x, &Request::default()).unwrap().features;
    let detector = network.detector().unwrap();
    let loss = |targets: Targets| detection_loss(detector, &features, &[targets], None, (1, 2)).unwrap();
    assert!(loss(Targets::default()).is_none());
    let nothing = BoxTargets { boxes: Vec::new(), annotated: vec![false, false], weight: 1.0 };
    assert!(loss(Targets { boxes: Some(nothing), ..Targets::default() }).is_none());
    assert!(loss(known(Vec::new())).is_some(), "annotated and free of lesions");
}

#[test]
fn a_box_of_a_class_that_is_not_annotated_is_no_background() {
    let regions =
        [Region { roi: Roi { image: 0, bounds: BoundingBox::new(0.0, 0.0, 9.0, 9.0) }, lesion: None, weight: 1.0 }];
    // Annotated for the first class alone: that the second is likely is no error.
    let (loss, gradient, _) = region_loss(&regions, &[0.0, -9.0, 9.0], &[0.0; 8], |_| &[true, false]);
    assert!(loss < 1e-3 && gradient.iter().all(|g| g.abs() < 1e-3), "{loss} {gradient:?}");
    let (loss, ..) = region_loss(&regions, &[0.0, 9.0, -9.0], &[0.0; 8], |_| &[true, false]);
    assert!(loss > 8.0);
}

#[test]
fn a_lesion_partly_in_sight_teaches_nothing() {
    let mut lesion = target([10.0, 10.0, 30.0, 30.0], 0);
    lesion.visible = false;
    let targets = BoxTargets { boxes: vec![lesion], annotated: vec![true], weight: 1.0 };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let proposals = [lesion.bounds, BoundingBox::new(40.0, 40.0, 60.0, 60.0)];
    let regions = sample_regions(0, &proposals, &targets, 1.0, &mut rng);
    assert_eq!(regions.iter().map(|r| (r.roi.bounds, r.lesion)).collect::<Vec<_>>(), [(proposals[1], None)]);
}

#[test]
fn draws_are_balanced_and_repeat() {
    let draw = |positive: usize, negative: usize, seed: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        balanced((0..positive).collect(), (100..100 + negative).collect(), (16, 0.25), &mut rng)
    };
    let sizes = |(positive, negative): (Vec<usize>, Vec<usize>)| (positive.len(), negative.len());
    assert_eq!(sizes(draw(50, 50, 1)), (4, 12));
    assert_eq!(sizes(draw(2, 50, 1)), (2, 14));
    assert_eq!(sizes(draw(50, 3, 1)), (4, 3));
    assert_eq!(draw(50, 50, 1), draw(50, 50, 1));
    assert_ne!(draw(50, 50, 1), draw(50, 50, 2));
}

/// Central differences of the two kinds of loss.
#[test]
fn gradients_equal_finite_differences() {
    let check = |values: &[f32], gradient: &[f32], f: &dyn Fn(&[f32]) -> f32| {
        for (index, gradient) in gradient.iter().enumerate() {
            let at = |delta: f32| {
                let mut moved = values.to_vec();
                moved[index] += delta;
                f(&moved)
            };
            let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((numeric - gradient).abs() < 2e-3, "{index}: {gradient} {numeric}");
        }
    };
    let logits = [0.3, -0.8, 1.1];
    for wanted in [vec![1usize], vec![0, 2]] {
        let mut gradient = [0.0; 3];
        let is_wanted = |place: usize| wanted.contains(&place);
        class_loss(&logits, is_wanted, 0.7, &mut gradient);
        check(&logits, &gradient, &|z| class_loss(z, is_wanted, 0.7, &mut [0.0; 3]));
    }
    let (deltas, target) = ([0.2, -0.5, 0.05, 0.4], [0.15, 0.5, 0.0, -0.4]);
    let mut gradient = [0.0; 4];
    smooth_l1(&deltas, &target, 0.2, 0.7, &mut gradient);
    check(&deltas, &gradient, &|z| smooth_l1(z, &target, 0.2, 0.7, &mut [0.0; 4]));
}
