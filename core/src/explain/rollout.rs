//! Attention rollout and gradient-weighted relevance.

use candle_core::{Device, Result, Tensor, Var, bail};
use ndarray::Array2;

use crate::model::{Network, Request};

/// A (token, token) tensor as an array.
fn to_array(tensor: &Tensor) -> Result<Array2<f32>> {
    let (rows, cols) = tensor.dims2()?;
    let values = tensor.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
    Array2::from_shape_vec((rows, cols), values).map_err(candle_core::Error::wrap)
}

/// Attention rollout (Abnar and Zuidema, 2020): the product over layers of the head-averaged attention, half of it identity for the
/// residual path, rows summing to 1. `attention` holds one (1, head, token, token) tensor a layer, first layer first. Returns
/// `[from, to]` over all tokens, CLS first. It knows no class.
pub fn attention_rollout(attention: &[Tensor]) -> Result<Array2<f32>> {
    let Some(first) = attention.first() else { bail!("attention_rollout needs at least one layer") };
    let tokens = first.dim(3)?;
    let mut rollout = Array2::<f32>::eye(tokens);
    for layer in attention {
        let mut mixed = to_array(&layer.get(0)?.mean(0)?)?;
        mixed += &Array2::<f32>::eye(tokens);
        for mut row in mixed.rows_mut() {
            let sum = row.sum();
            row /= sum.max(f32::MIN_POSITIVE);
        }
        rollout = mixed.dot(&rollout);
    }
    Ok(rollout)
}

/// Gradient-weighted relevance (Chefer, Gur and Wolf, 2021, equations 5 and 6 for self-attention) of image-level class `class`: over the
/// layers, `R <- R + mean over heads(max(0, dy/dA · A)) R`, starting from the identity. `input` is (1, channel, height, width). Returns
/// `[from, to]` over all tokens, CLS first; the first row, without its first value, is the class's map.
pub fn gradient_relevance(network: &Network, input: &Tensor, class: usize) -> Result<Array2<f32>> {
    let request = Request { attention: true, ..Request::default() };
    let plain = network.forward(input, &request)?;
    // Gradients are kept for variables alone: zeros, added to each layer's probabilities, are such variables.
    let zeros: Vec<Var> =
        plain.features.attention.iter().map(|a| Var::from_tensor(&a.zeros_like()?)).collect::<Result<_>>()?;
    let perturbation: Vec<Tensor> = zeros.iter().map(|zero| zero.as_tensor().clone()).collect();
    let request = Request { attention: true, attention_perturbation: Some(&perturbation), ..Request::default() };
    let output = network.forward(input, &request)?;
    let gradients = output.class_logits.get(0)?.get(class)?.backward()?;
    let Some(first) = zeros.first() else { bail!("the network has no transformer layer") };
    let mut relevance = Array2::<f32>::eye(first.dim(3)?);
    for (zero, attention) in zeros.iter().zip(&output.features.attention) {
        let Some(gradient) = gradients.get(zero) else { continue };
        let weighted = to_array(&(gradient * attention)?.relu()?.get(0)?.mean(0)?)?;
        relevance = &relevance + &weighted.dot(&relevance);
    }
    Ok(relevance)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::{attention_rollout, gradient_relevance};
    use crate::model::Request;
    use crate::model::topology_tests::{ALL, config, network};

    #[test]
    fn every_topology_is_explained() {
        for (topology, fusion) in ALL {
            let (network, _) = network(&config(topology, fusion));
            let x = Tensor::randn(0.0f32, 1.0, (1, 1, 64, 64), &Device::Cpu).unwrap();
            let request = Request { attention: true, ..Request::default() };
            let rollout = attention_rollout(&network.forward(&x, &request).unwrap().features.attention).unwrap();
            assert!(rollout.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-4));
            let relevance = gradient_relevance(&network, &x, 0).unwrap();
            assert_eq!(relevance.dim(), (17, 17));
            assert!(relevance.row(0).iter().skip(1).any(|v| *v > 0.0), "{topology:?} {fusion:?}");
        }
    }

    #[test]
    fn rollout_equals_a_product_by_hand() {
        // One layer, two heads, two tokens: means [[0.5, 0.5], [0.25, 0.75]], plus identity, halved.
        let layer = Tensor::new(&[[[[0.6f32, 0.4], [0.5, 0.5]], [[0.4, 0.6], [0.0, 1.0]]]], &Device::Cpu).unwrap();
        let once = attention_rollout(std::slice::from_ref(&layer)).unwrap();
        for (value, expected) in once.iter().zip([0.75, 0.25, 0.125, 0.875]) {
            assert!((value - expected).abs() < 1e-6);
        }
        let twice = attention_rollout(&[layer.clone(), layer]).unwrap();
        assert!((twice[[0, 0]] - (0.75 * 0.75 + 0.25 * 0.125)).abs() < 1e-6);
        assert!(twice.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-5));
        assert!(attention_rollout(&[]).is_err());
    }
}
