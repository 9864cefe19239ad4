//! Attention that is linear in the number of tokens (Katharopoulos et al., 2020).

use candle_core::{Result, Tensor, bail};

/// `elu(x) + 1`, which is positive: similarity without exponentials of scores.
fn feature_map(x: &Tensor) -> Result<Tensor> {
    // elu(x) + 1 = relu(x) + exp(min(x, 0)).
    x.relu()? + x.neg()?.relu()?.neg()?.exp()?
}

/// Queries and keys after the feature map, and values: each (batch, head, token, head dimension).
fn parts(qkv: &Tensor, heads: usize) -> Result<[Tensor; 3]> {
    let (batch, tokens, triple) = qkv.dims3()?;
    if heads == 0 || !triple.is_multiple_of(3 * heads) {
        bail!("attention: {triple} values a token do not cut into three times {heads} heads");
    }
    let parts = qkv.reshape((batch, tokens, 3, heads, triple / 3 / heads))?.permute((2, 0, 3, 1, 4))?;
    let part = |index: usize| parts.get(index)?.contiguous();
    Ok([feature_map(&part(0)?)?, feature_map(&part(1)?)?, part(2)?])
}

fn join_heads(y: &Tensor) -> Result<Tensor> {
    let (batch, heads, tokens, head) = y.dims4()?;
    y.transpose(1, 2)?.contiguous()?.reshape((batch, tokens, heads * head))
}

/// As [`super::attention`], but with the weights `phi(q) · phi(k) / sum of phi(q) · phi(k)`, where `phi(x) = elu(x) + 1`. Keys and values
/// are summed up once for all queries: time and memory grow with the number of tokens, not with its square.
pub fn linear_attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let [q, k, v] = parts(qkv, heads)?;
    let summary = k.t()?.contiguous()?.matmul(&v)?;
    let total = k.sum_keepdim(2)?.t()?.contiguous()?;
    join_heads(&q.matmul(&summary)?.broadcast_div(&q.matmul(&total)?)?)
}

/// As [`linear_attention`], and its weights (batch, head, token from, token to), which are only computed here; rows sum to 1.
/// `perturbation` as in [`super::attention_with_probabilities`].
pub fn linear_attention_with_probabilities(
    qkv: &Tensor,
    heads: usize,
    perturbation: Option<&Tensor>,
) -> Result<(Tensor, Tensor)> {
    let [q, k, v] = parts(qkv, heads)?;
    let similarity = q.matmul(&k.t()?.contiguous()?)?;
    let probabilities = similarity.broadcast_div(&similarity.sum_keepdim(3)?)?;
    let used = match perturbation {
        Some(perturbation) => (&probabilities + perturbation)?,
        None => probabilities.clone(),
    };
    Ok((join_heads(&used.matmul(&v)?)?, probabilities))
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random};
    use super::{linear_attention, linear_attention_with_probabilities};

    #[test]
    fn gradients_equal_finite_differences() {
        check(&[(random(&[2, 5, 24], 1) * 2.0).unwrap()], |t| linear_attention(&t[0], 2));
        check(&[random(&[1, 4, 12], 5), (random(&[1, 2, 4, 4], 6) * 0.1).unwrap()], |t| {
            Ok(linear_attention_with_probabilities(&t[0], 2, Some(&t[1]))?.0)
        });
    }

    #[test]
    fn the_short_way_and_the_explicit_way_agree() {
        let qkv = (random(&[2, 33, 48], 3) * 3.0).unwrap();
        let (explicit, probabilities) = linear_attention_with_probabilities(&qkv, 4, None).unwrap();
        let short = linear_attention(&qkv, 4).unwrap();
        let difference = (short - explicit).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(difference < 1e-5, "{difference}");
        let sums = probabilities.sum(3).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
        assert!(linear_attention(&qkv, 5).is_err());
    }
}
