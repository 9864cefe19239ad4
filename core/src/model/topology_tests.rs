//! What every join must do.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};

use super::*;

pub(crate) fn config(topology: Topology, fusion: Fusion) -> ModelConfig {
    ModelConfig {
        topology,
        fusion,
        input_size: 64,
        alignment: Alignment::default(),
        colour: None,
        slab: None,
        fine_lesions: false,
        resnet: ResNetConfig { channels: vec![8, 16], blocks: vec![1, 1], norm_groups: 4, ..ResNetConfig::default() },
        transformer: TransformerConfig::new(16, 3, 2, 2, [4, 4]),
        head_channels: 8,
        lesions: vec!["a".into()],
        organs: vec!["b".into(), "c".into()],
        classes: Vec::new(),
        detection: None,
    }
}

pub(crate) const ALL: [(Topology, Fusion); 4] = [
    (Topology::Serial, Fusion::Concatenation),
    (Topology::Interleaved, Fusion::Concatenation),
    (Topology::Parallel, Fusion::Concatenation),
    (Topology::Parallel, Fusion::Weighted),
];

/// A network with all weights moved away from their start, where branches are silent.
pub(crate) fn network(config: &ModelConfig) -> (Network, Vec<(String, Var)>) {
    let map = VarMap::new();
    let network = Network::new(config, &VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu)).unwrap();
    let mut vars: Vec<(String, Var)> =
        map.data().lock().unwrap().iter().map(|(name, var)| (name.clone(), var.clone())).collect();
    vars.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, var) in &vars {
        let noise = Tensor::randn(0.0f32, 0.1, var.dims(), &Device::Cpu).unwrap();
        var.set(&(var.as_tensor() + noise).unwrap()).unwrap();
    }
    (network, vars)
}

fn picture(rows: usize, columns: usize) -> Tensor {
    Tensor::randn(0.0f32, 1.0, (2, 1, rows, columns), &Device::Cpu).unwrap()
}

#[test]
fn outputs_have_their_shapes_at_any_input_size() {
    for (topology, fusion) in ALL {
        let (network, _) = network(&config(topology, fusion));
        for (rows, columns, grid) in [(64, 64, (4, 4)), (128, 64, (8, 4)), (72, 40, (5, 3))] {
            let request = Request { attention: true, ..Request::default() };
            let output = network.forward(&picture(rows, columns), &request).unwrap();
            assert_eq!(output.lesion_logits.dims(), [2, 1, rows / 8, columns / 8], "{topology:?}");
            assert_eq!(output.organ_logits.dims(), [2, 2, rows / 4, columns / 4], "{topology:?}");
            assert_eq!(output.class_logits.dims(), [2, 1]);
            assert_eq!(output.features.grid, grid);
            let tokens = grid.0 * grid.1 + 1;
            assert_eq!(output.features.attention.len(), network.hybrid().depth());
            assert!(output.features.attention.iter().all(|a| a.dims() == [2, 2, tokens, tokens]), "{topology:?}");
            assert_eq!(output.features.stages.len(), network.hybrid().stage_channels().len());
        }
    }
}

#[test]
fn gradients_reach_every_weight() {
    for (topology, fusion) in ALL {
        let (network, vars) = network(&config(topology, fusion));
        let output = network.forward(&picture(64, 64), &Request::default()).unwrap();
        let sum = |logits: &Tensor| logits.sqr().unwrap().sum_all().unwrap();
        let loss = (sum(&output.lesion_logits) + sum(&output.organ_logits) + sum(&output.class_logits)).unwrap();
        let gradients = loss.backward().unwrap();
        for (name, var) in &vars {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{topology:?}: no gradient for {name}"));
            let size = gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            // The key's bias shifts all scores of a query alike, which softmax does not see; the other parts of qkv do.
            assert!(size > 0.0 && size.is_finite(), "{topology:?}: {name}: {size}");
        }
    }
}

#[test]
fn the_transformer_joins_without_a_jump() {
    for (topology, fusion) in ALL {
        let map = VarMap::new();
        let config = config(topology, fusion);
        let network = Network::new(&config, &VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu)).unwrap();
        let x = picture(64, 64);
        let bypass = Request { bypass_transformer: true, ..Request::default() };
        let before = network.forward(&x, &bypass).unwrap().organ_logits;
        let after = network.forward(&x, &Request::default()).unwrap().organ_logits;
        let change = (&before - after).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        let size = before.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(change < 0.1 * size, "{topology:?} {fusion:?}: {change} of {size}");
    }
}

#[test]
fn a_perturbed_stage_is_seen_by_what_follows() {
    for (topology, fusion) in ALL {
        let (network, _) = network(&config(topology, fusion));
        let x = picture(64, 64);
        let plain = network.forward(&x, &Request::default()).unwrap().features.stages;
        let perturbation = plain[0].ones_like().unwrap();
        let request = Request { stage_perturbation: Some((0, &perturbation)), ..Request::default() };
        let moved = network.forward(&x, &request).unwrap().features.stages;
        for (a, b) in plain.iter().zip(&moved) {
            let change = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(change > 1e-3, "{topology:?}");
        }
    }
}

#[test]
fn configurations_that_do_not_fit_are_named() {
    let mut shallow = config(Topology::Interleaved, Fusion::Concatenation);
    shallow.transformer.depth = 1;
    assert!(shallow.validate().unwrap_err().contains("depth"));
    let mut odd = config(Topology::Parallel, Fusion::Weighted);
    odd.transformer.grid = [5, 4];
    assert!(odd.validate().unwrap_err().contains("grid"));
}
