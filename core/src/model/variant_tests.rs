//! What every variant of the branches must do, in every join that takes it.

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};

use super::topology_tests::{ALL, config, network};
use super::*;
use crate::nn::{Interpolation, Recompute};

type Change = fn(&mut ModelConfig);

fn batch(config: &mut ModelConfig) {
    config.resnet.norm = Norm::Batch;
}

const VARIANTS: &[(&str, Change)] = &[
    ("batch normalisation", batch),
    ("bottleneck", |c| c.resnet.block = Block::Bottleneck),
    ("bottleneck, batch normalisation", |c| {
        batch(c);
        c.resnet.block = Block::Bottleneck;
    }),
    ("standardised", |c| {
        c.resnet.block = Block::Bottleneck;
        c.resnet.convolution = Convolution::Standardised;
    }),
    ("re-parameterised", |c| {
        batch(c);
        c.resnet.block = Block::Rep;
    }),
    ("alignment by convolution", |c| c.alignment = Alignment::Convolution),
    ("convolutional positions", |c| c.transformer.position = Position::Convolutional),
    ("positions resized as by Hugging Face", |c| c.transformer.position_resize = Interpolation::Bicubic),
    ("positions resized linearly", |c| c.transformer.position_resize = Interpolation::Linear),
    ("linear attention", |c| c.transformer.attention = AttentionKind::Linear),
    ("registers", |c| c.transformer.registers = 3),
    ("colour", |c| c.colour = Some(IMAGENET)),
    ("slabs", |c| c.slab = Some(SlabInput { window: [-1000.0, 400.0], spacing_mm: 2.5 })),
    ("fine lesions", |c| c.fine_lesions = true),
    ("classes", |c| c.classes = vec!["d".into(), "e".into()]),
    ("classes alone", |c| {
        (c.lesions, c.organs, c.classes) = (Vec::new(), Vec::new(), vec!["d".into(), "e".into()]);
    }),
];

pub(super) fn variants() -> impl Iterator<Item = (String, ModelConfig)> {
    ALL.into_iter().flat_map(|(topology, fusion)| {
        VARIANTS.iter().map(move |(name, change)| {
            let mut config = config(topology, fusion);
            // Bottlenecks of 4 groups need 16 channels.
            config.resnet.channels = vec![16, 32];
            change(&mut config);
            (format!("{topology:?} {fusion:?}, {name}"), config)
        })
    })
}

fn picture(batch: usize, rows: usize, columns: usize) -> Tensor {
    slabs(1, batch, rows, columns)
}

/// For a network of slabs, three channels.
fn slabs(channels: usize, batch: usize, rows: usize, columns: usize) -> Tensor {
    Tensor::randn(0.0f32, 1.0, (batch, channels, rows, columns), &Device::Cpu).unwrap()
}

/// Channels that a network of `config` takes at least.
pub(super) fn channels(config: &ModelConfig) -> usize {
    if config.slab.is_some() { SlabInput::SLICES } else { 1 }
}

fn largest(tensor: &Tensor) -> f32 {
    tensor.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap()
}

#[test]
fn gradients_reach_every_weight_of_every_variant() {
    for (name, config) in variants() {
        config.validate().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (network, vars) = network(&config);
        for training in [true, false] {
            let request = Request { training, ..Request::default() };
            let output = network.forward(&slabs(channels(&config), 2, 64, 64), &request).unwrap();
            let parts = [&output.lesion_logits, &output.organ_logits, &output.class_logits];
            let parts = parts.into_iter().filter(|logits| logits.elem_count() > 0);
            let loss = parts.map(|logits| logits.sqr().unwrap().sum_all().unwrap()).reduce(|a, b| (a + b).unwrap());
            // Features too, since classes alone do not read all of them.
            let features = [&output.features.tokens, output.features.stages.last().unwrap()];
            let features = features.map(|values| values.sqr().unwrap().sum_all().unwrap());
            let loss = (loss.unwrap() + (&features[0] + &features[1]).unwrap()).unwrap();
            let gradients = loss.backward().unwrap();
            for (weight, var) in &vars {
                if weight.contains(".running_") {
                    assert!(gradients.get(var).is_none(), "{name}: statistics are no parameters");
                    continue;
                }
                let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name}: no gradient for {weight}"));
                let size = largest(gradient);
                assert!(size.is_finite() && size > 0.0, "{name}: {weight}: {size}");
            }
        }
    }
}

#[test]
fn what_is_computed_again_gives_the_same_gradients() {
    for (name, config) in variants() {
        let (network, vars) = network(&config);
        let x = slabs(channels(&config), 2, 64, 64);
        let running = |name: &str| name.contains(".running_");
        let values = |var: &Var| var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let at_first: Vec<Tensor> = vars.iter().map(|(_, var)| var.as_tensor().copy().unwrap()).collect();
        let pass = |recompute: Option<Recompute>| {
            // Statistics have followed the pass before.
            vars.iter().zip(&at_first).for_each(|((_, var), value)| var.set(value).unwrap());
            let dropout = Some(Dropout { share: 0.2, seed: 7 });
            let request = Request { training: true, dropout, recompute: recompute.as_ref(), ..Request::default() };
            let output = network.forward(&x, &request).unwrap();
            let features = &output.features;
            let parts = [&output.lesion_logits, &output.organ_logits, &output.class_logits, &features.tokens];
            let parts = parts.into_iter().chain(&features.stages).filter(|part| part.elem_count() > 0);
            let loss =
                parts.map(|part| part.sqr().unwrap().mean_all().unwrap()).reduce(|a, b| (a + b).unwrap()).unwrap();
            let gradients = match recompute {
                Some(recompute) => recompute.backward(loss).unwrap(),
                None => loss.backward().unwrap(),
            };
            let statistics: Vec<Vec<f32>> =
                vars.iter().filter(|(name, _)| running(name)).map(|(_, var)| values(var)).collect();
            (gradients, statistics)
        };
        let (kept, statistics) = pass(None);
        let (again, statistics_again) = pass(Some(Recompute::default()));
        assert_eq!(statistics, statistics_again, "{name}");
        for (weight, var) in vars.iter().filter(|(weight, _)| !running(weight)) {
            let (Some(kept), Some(again)) = (kept.get(var), again.get(var)) else {
                assert!(kept.get(var).is_none() && again.get(var).is_none(), "{name}: {weight}");
                continue;
            };
            let difference = largest(&(kept - again).unwrap());
            assert!(difference <= 1e-4 * largest(kept), "{name}: {weight}: {difference} of {}", largest(kept));
        }
    }
}

#[test]
fn fixed_weights_give_what_variables_give_at_any_input_size() {
    for (name, config) in variants() {
        let map = VarMap::new();
        let trained = Network::new(&config, &VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu)).unwrap();
        let request = Request { training: true, ..Request::default() };
        for (_, var) in map.data().lock().unwrap().iter() {
            let noise = Tensor::randn(0.0f32, 0.05, var.dims(), &Device::Cpu).unwrap();
            var.set(&(var.as_tensor() + noise.abs().unwrap()).unwrap()).unwrap();
        }
        trained.forward(&slabs(channels(&config), 4, 64, 64), &request).unwrap();
        let weights = map.data().lock().unwrap();
        let weights = weights.iter().map(|(name, var)| (name.clone(), var.copy().unwrap().detach())).collect();
        let fixed = Network::new(&config, &VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu)).unwrap();
        for (rows, columns, grid) in [(64, 64, (4, 4)), (72, 40, (5, 3))] {
            let x = slabs(channels(&config), 1, rows, columns);
            let request = Request { attention: true, ..Request::default() };
            let a = trained.forward(&x, &request).unwrap();
            let b = fixed.forward(&x, &Request::default()).unwrap();
            assert_eq!(a.features.grid, grid, "{name}");
            assert_eq!(
                a.lesion_logits.dims(),
                [1, config.lesions.len(), rows / config.lesion_stride(), columns / config.lesion_stride()]
            );
            assert_eq!(a.organ_logits.dims(), [1, config.organs.len(), rows / 4, columns / 4]);
            assert_eq!(a.class_logits.dims(), [1, config.lesions.len() + config.classes.len()]);
            let tokens = grid.0 * grid.1 + 1 + config.transformer.registers;
            assert!(a.features.attention.iter().all(|a| a.dims() == [1, 2, tokens, tokens]), "{name}");
            for attention in &a.features.attention {
                assert!(largest(&(attention.sum(3).unwrap() - 1.0).unwrap()) < 1e-4, "{name}");
            }
            let scale = largest(&a.class_logits).max(1e-3);
            assert!(largest(&(&a.class_logits - &b.class_logits).unwrap()) < 1e-3 * scale, "{name}");
        }
    }
}

#[test]
fn one_branch_alone_has_its_features() {
    let mut config = config(Topology::Resnet, Fusion::default());
    config.transformer = TransformerConfig::default();
    config.classes = vec!["d".into()];
    let (resnet, _) = network(&config);
    let output = resnet.forward(&picture(2, 64, 64), &Request { attention: true, ..Request::default() }).unwrap();
    assert_eq!((output.features.grid, output.features.cls.dims()), ((8, 8), &[2, 16][..]));
    assert_eq!(output.lesion_logits.dims(), [2, 1, 8, 8]);
    assert!(output.features.attention.is_empty());

    config.topology = Topology::Vit;
    config.resnet = ResNetConfig::default();
    config.transformer = TransformerConfig::new(16, 2, 2, 2, [4, 4]);
    config.fine_lesions = true;
    assert!(config.validate().unwrap_err().contains("ResNet"));
    config.fine_lesions = false;
    let (vit, vars) = network(&config);
    let output = vit.forward(&picture(2, 64, 80), &Request { attention: true, ..Request::default() }).unwrap();
    assert_eq!((output.features.grid, output.features.attention.len()), ((4, 5), 2));
    assert_eq!(output.lesion_logits.dims(), [2, 1, 8, 10]);
    assert_eq!(output.organ_logits.dims(), [2, 2, 16, 20]);
    assert_eq!(output.class_logits.dims(), [2, 2]);
    let parts = [&output.lesion_logits, &output.organ_logits, &output.class_logits];
    let loss = parts.map(|logits| logits.sqr().unwrap().sum_all().unwrap());
    let gradients = loss.into_iter().reduce(|a, b| (a + b).unwrap()).unwrap().backward().unwrap();
    for (weight, var) in &vars {
        let gradient = gradients.get(var).unwrap_or_else(|| panic!("no gradient for {weight}"));
        assert!(largest(gradient) > 0.0, "{weight}");
    }
}

#[test]
fn tokens_stay_below_their_limit() {
    let mut config = config(Topology::Serial, Fusion::default());
    config.transformer.max_tokens = 33;
    let (serial, _) = network(&config);
    let grid = serial.forward(&picture(1, 128, 128), &Request::default()).unwrap().features.grid;
    assert_eq!(grid, (5, 5));
    config.topology = Topology::Parallel;
    let (parallel, _) = network(&config);
    let error = parallel.forward(&picture(1, 128, 128), &Request::default()).unwrap_err().to_string();
    assert!(error.contains("32 tokens"), "{error}");
    config.transformer.max_tokens = 16;
    assert!(config.validate().unwrap_err().contains("max_tokens"));
    config.transformer = TransformerConfig::new(130, 2, 65, 2, [4, 4]);
    assert!(config.validate().unwrap_err().contains("heads"));
}

#[test]
fn a_file_names_its_parts_or_says_what_is_missing() {
    let parse = |text: &str| toml::from_str::<ModelConfig>(text).map_err(|error| error.to_string());
    let config = parse(
        r#"
topology = "serial"
alignment = "convolution"
input_size = 224
classes = ["a"]
resnet = { depth = 50, norm = "batch" }
transformer = { size = "small", grid = [7, 7], registers = 4, attention = "linear", position = "convolutional" }
"#,
    )
    .unwrap();
    config.validate().unwrap();
    assert_eq!((config.resnet.channels[3], config.resnet.block), (2048, Block::Bottleneck));
    assert_eq!((config.transformer.heads, config.transformer.norm_eps), (6, 1e-6));
    let wrong = |text: &str, part: &str| {
        let error = parse(&format!("input_size = 224\n{text}")).and_then(|c| c.validate().map(|()| c)).unwrap_err();
        assert!(error.contains(part), "{error}");
    };
    wrong("resnet = { depth = 51 }", "51");
    wrong("resnet = { channels = [8, 8] }", "blocks");
    wrong("resnet = { depth = 18 }\ntransformer = { size = \"huge\", grid = [7, 7] }", "huge");
    wrong("resnet = { depth = 18 }\ntransformer = { dimension = 8, grid = [7, 7] }", "depth");
    wrong("resnet = { depth = 18 }", "transformer: missing");
    wrong("resnet = { depth = 18, block = \"rep\" }\ntransformer = { size = \"tiny\", grid = [7, 7] }", "norm");
    wrong(
        "alignment = \"convolution\"\nresnet = { depth = 18 }\ntransformer = { size = \"tiny\", grid = [14, 14] }",
        "alignment",
    );
    wrong("resnet = { depth = 18, width = 3 }", "width");
}
