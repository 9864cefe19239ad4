//! Every operation of `nn`, forward and backward, against PyTorch in double precision; `core/tests/reference/ops.py` makes the reference.
//! Regions and boxes are compared with torchvision's in `detection.rs`.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;

use bifocal_core::nn::{
    AdamW, BatchStatistics, ConvBias, ConvShape, NormEnd, adaptive_avg_pool2d, add_relu, attention,
    attention_with_probabilities, batch_norm, conv_bias, conv_norm, conv2d, fold_norm, gelu, group_norm, layer_norm,
    linear, linear_attention, linear_attention_with_probabilities, max_pool2d, resize_bilinear, sigmoid, softmax,
    standardise_weight,
};
use candle_core::{Device, Result, Tensor, Var};

struct Reference(HashMap<String, Tensor>);

impl Reference {
    fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/ops.safetensors");
        Self(candle_core::safetensors::load(file, &Device::Cpu).unwrap())
    }

    fn get(&self, case: &str, name: &str) -> &Tensor {
        self.0.get(&format!("{case}/{name}")).unwrap_or_else(|| panic!("no {case}/{name}: run ops.py"))
    }

    /// `run` over the case's `inputs` gives the case's result and gradients.
    fn check(&self, case: &str, inputs: &[&str], run: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let vars: Vec<Var> = inputs.iter().map(|name| Var::from_tensor(self.get(case, name)).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let y = run(&tensors).unwrap();
        assert_close(&y, self.get(case, "y"), case);
        let gradients = (y * self.get(case, "dy")).unwrap().sum_all().unwrap().backward().unwrap();
        for (name, var) in inputs.iter().zip(&vars) {
            let gradient = gradients.get(var).unwrap_or_else(|| panic!("{case}: no gradient of {name}"));
            assert_close(gradient, self.get(case, &format!("d{name}")), &format!("{case}: gradient of {name}"));
        }
    }
}

/// Within 1e-5 of the largest value.
fn assert_close(ours: &Tensor, theirs: &Tensor, what: &str) {
    assert_eq!(ours.dims(), theirs.dims(), "{what}");
    let largest = |tensor: &Tensor| tensor.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    let difference = largest(&(ours - theirs).unwrap()) / largest(theirs);
    assert!(difference < 1e-5, "{what} differs by {difference}");
}

const PLAIN: ConvShape = ConvShape { stride: 1, padding: 0, dilation: 1, groups: 1, trailing: 0 };

#[test]
fn convolutions_are_pytorchs() {
    let reference = Reference::read();
    for (case, shape) in [
        ("conv2d stride 2", ConvShape { stride: 2, padding: 1, ..PLAIN }),
        ("conv2d dilation 2", ConvShape { padding: 2, dilation: 2, ..PLAIN }),
        ("conv2d trailing", ConvShape { stride: 2, trailing: 1, ..PLAIN }),
        ("conv2d groups 2", ConvShape { padding: 1, groups: 2, ..PLAIN }),
        ("conv2d pointwise", PLAIN),
        ("conv2d winograd", ConvShape { padding: 1, ..PLAIN }),
    ] {
        reference.check(case, &["x", "weight", "bias"], |t| conv2d(&t[0], &t[1], Some(&t[2]), shape));
    }
    let shape = ConvShape::same(3, 1);
    reference.check("conv_bias", &["x", "weight", "residual", "bias"], |t| {
        conv_bias(&t[0], &ConvBias::new(&t[1], &t[3])?, shape, Some(&t[2]), true)
    });
    reference.check("conv_norm", &["x", "weight", "residual", "gamma", "beta"], |t| {
        let end = NormEnd { groups: 2, eps: 1e-5, residual: Some(&t[2]), relu: true };
        conv_norm(&t[0], &t[1], (&t[3], &t[4]), shape, end)
    });
}

#[test]
fn norms_are_pytorchs() {
    let reference = Reference::read();
    let weights = ["x", "gamma", "beta"];
    reference.check("group_norm", &weights, |t| group_norm(&t[0], &t[1], &t[2], 2, 1e-5, false));
    reference.check("group_norm relu", &weights, |t| group_norm(&t[0], &t[1], &t[2], 4, 1e-5, true));
    reference.check("layer_norm", &weights, |t| layer_norm(&t[0], &t[1], &t[2], 1e-6));
    reference.check("batch_norm", &weights, |t| Ok(batch_norm(&t[0], &t[1], &t[2], 1e-5)?.0));
    let input = |name: &str| reference.get("batch_norm", name);
    let statistics = batch_norm(input("x"), input("gamma"), input("beta"), 1e-5).unwrap().1;
    assert_close(&statistics.mean, input("mean"), "mean");
    assert_close(&statistics.variance, input("variance"), "variance");
    let statistics = BatchStatistics { mean: input("mean").clone(), variance: input("variance").clone() };
    reference.check("fold_norm", &["x", "weight", "gamma", "beta"], |t| {
        let (weight, bias) = fold_norm(&t[1], (&t[2], &t[3]), &statistics, 1e-5)?;
        conv2d(&t[0], &weight, Some(&bias), PLAIN)
    });
    reference.check("standardise_weight", &["x"], |t| standardise_weight(&t[0], 1e-8));
}

#[test]
fn operations_on_tokens_are_pytorchs() {
    let reference = Reference::read();
    reference.check("linear", &["x", "weight", "bias"], |t| linear(&t[0], &t[1], &t[2]));
    reference.check("gelu", &["x"], |t| gelu(&t[0]));
    reference.check("softmax", &["x"], |t| softmax(&t[0]));
    reference.check("add_relu", &["a", "b"], |t| add_relu(&t[0], &t[1]));
    let of = |name: &str| reference.get("sigmoid", name).to_vec1::<f32>().unwrap();
    for (x, y) in of("x").into_iter().zip(of("y")) {
        assert!((sigmoid(x) - y).abs() < 1e-6, "sigmoid({x})");
    }
    let explicit = |found: Result<(Tensor, Tensor)>| Ok(found?.0);
    reference.check("attention", &["qkv"], |t| attention(&t[0], 2));
    reference.check("attention", &["qkv"], |t| explicit(attention_with_probabilities(&t[0], 2, None)));
    reference.check("linear_attention", &["qkv"], |t| linear_attention(&t[0], 2));
    reference.check("linear_attention", &["qkv"], |t| explicit(linear_attention_with_probabilities(&t[0], 2, None)));
}

#[test]
fn maps_are_pooled_and_resampled_as_by_pytorch() {
    let reference = Reference::read();
    reference.check("max_pool2d", &["x"], |t| max_pool2d(&t[0], 3, 2, (1, 1)));
    reference.check("adaptive_avg_pool2d", &["x"], |t| adaptive_avg_pool2d(&t[0], 3, 4));
    reference.check("resize_bilinear", &["x"], |t| resize_bilinear(&t[0], 10, 5));
}

#[test]
fn three_steps_of_adamw_are_pytorchs() {
    let reference = Reference::read();
    let mut value = reference.get("adamw", "value").to_vec1::<f32>().unwrap();
    let (mut momentum, mut variance) = (vec![0.0; value.len()], vec![0.0; value.len()]);
    let (beta1, beta2, rate) = (0.9f32, 0.98f32, 0.01);
    for (age, gradient) in (1..).zip(reference.get("adamw", "gradients").to_vec2::<f32>().unwrap()) {
        let step = AdamW {
            clip: 1.0,
            beta1,
            beta2,
            step: rate / (1.0 - beta1.powi(age)),
            variance_scale: 1.0 / (1.0 - beta2.powi(age)),
            decay: 1.0 - rate * 0.05,
            eps: 1e-8,
        };
        step.run(&mut value, &gradient, &mut momentum, &mut variance);
    }
    let count = value.len();
    assert_close(&Tensor::from_vec(value, count, &Device::Cpu).unwrap(), reference.get("adamw", "y"), "AdamW");
}
