//! Batch normalisation (Ioffe and Szegedy, 2015) in training and folded into a convolution, and standardised weights.

use candle_core::{DType, Result, Tensor, bail};

use super::norm::group_norm;
use super::raw::{on_cpu, widened, with_values};

/// What a batch says about each channel.
#[derive(Debug, Clone)]
pub struct BatchStatistics {
    /// Mean of each channel.
    pub mean: Tensor,
    /// Variance of each channel, with n - 1 below it, as PyTorch keeps it in its running variance.
    pub variance: Tensor,
}

/// Normalises each channel of `x` (batch, channel, height, width) by its mean and variance over the batch, scaled by `gamma` and shifted by
/// `beta` (channel). Returns the result and the batch's statistics, through which no gradient flows.
pub fn batch_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<(Tensor, BatchStatistics)> {
    let (batch, channels, height, width) = x.dims4()?;
    if batch * height * width < 2 {
        bail!("batch_norm: one value a channel has no variance: the batch is too small");
    }
    // A batch seen channel by channel is one image whose groups are single channels.
    let by_channel = x.transpose(0, 1)?.contiguous()?;
    let y = group_norm(&by_channel.unsqueeze(0)?, gamma, beta, channels, eps, false)?;
    let y = y.squeeze(0)?.transpose(0, 1)?.contiguous()?;
    Ok((y, statistics(&by_channel.detach())?))
}

/// Statistics of the rows of (channel, ...).
fn statistics(by_channel: &Tensor) -> Result<BatchStatistics> {
    let channels = by_channel.dim(0)?;
    let count = by_channel.elem_count() / channels.max(1);
    if !on_cpu(by_channel) {
        let rows = by_channel.reshape((channels, count))?;
        return Ok(BatchStatistics { mean: rows.mean(1)?, variance: rows.var(1)? });
    }
    let (mean, variance): (Vec<f32>, Vec<f32>) = with_values(by_channel, |values| {
        let of_row = |row: &[f32]| {
            let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / count as f64;
            let squares = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>();
            (mean as f32, (squares / (count as f64 - 1.0)) as f32)
        };
        values.chunks_exact(count).map(of_row).unzip()
    })?;
    let tensor = |values| Tensor::from_vec(values, channels, by_channel.device());
    Ok(BatchStatistics { mean: tensor(mean)?, variance: tensor(variance)? })
}

/// A convolution's `weight` (out, in, kernel, kernel) with the batch normalisation behind it folded in, and the bias that goes with it:
/// the same function as normalising by the running `statistics`. Gradients flow to `weight`, `gamma` and `beta`.
pub fn fold_norm(
    weight: &Tensor,
    (gamma, beta): (&Tensor, &Tensor),
    statistics: &BatchStatistics,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    let scale = (gamma / (&statistics.variance + eps)?.sqrt()?)?;
    let bias = (beta - (&statistics.mean * &scale)?)?;
    let weight = weight.to_dtype(scale.dtype())?;
    Ok((weight.broadcast_mul(&scale.reshape((scale.elem_count(), 1, 1, 1))?)?, bias))
}

/// `weight` (out, in, kernel, kernel) with mean 0 and variance 1 in each filter (Qiao et al., 2019); `eps` is added to the variance.
pub fn standardise_weight(weight: &Tensor, eps: f64) -> Result<Tensor> {
    let filters = weight.dim(0)?;
    let ones = Tensor::ones(filters, DType::F32, weight.device())?;
    let weight = if weight.device().is_cpu() { widened(weight)? } else { weight.clone() };
    let rows = weight.contiguous()?.reshape((1, filters, ()))?;
    group_norm(&rows, &ones, &ones.zeros_like()?, filters, eps, false)?.reshape(weight.dims())
}

#[cfg(test)]
mod tests {
    use super::super::gradient_check::{check, random};
    use super::super::{ConvShape, conv2d};
    use super::{BatchStatistics, batch_norm, fold_norm, standardise_weight};

    #[test]
    fn gradients_equal_finite_differences() {
        let inputs = [random(&[3, 4, 3, 2], 1), random(&[4], 2), random(&[4], 3)];
        check(&inputs, |t| Ok(batch_norm(&t[0], &t[1], &t[2], 1e-5)?.0));
        check(&[random(&[3, 2, 3, 3], 4)], |t| standardise_weight(&t[0], 1e-8));
        let statistics =
            BatchStatistics { mean: random(&[3], 5), variance: (random(&[3], 6).sqr().unwrap() + 0.5).unwrap() };
        let x = random(&[2, 2, 5, 4], 7);
        check(&[random(&[3, 2, 3, 3], 8), random(&[3], 9), random(&[3], 10)], |t| {
            let (weight, bias) = fold_norm(&t[0], (&t[1], &t[2]), &statistics, 1e-5)?;
            conv2d(&x, &weight, Some(&bias), ConvShape::same(3, 1))
        });
    }

    #[test]
    fn a_batch_folded_with_its_own_statistics_is_the_same() {
        let (x, weight) = (random(&[4, 3, 6, 5], 1), random(&[5, 3, 3, 3], 2));
        let (gamma, beta) = (random(&[5], 3), random(&[5], 4));
        let shape = ConvShape::same(3, 1);
        let (trained, statistics) =
            batch_norm(&conv2d(&x, &weight, None, shape).unwrap(), &gamma, &beta, 1e-5).unwrap();
        // The running variance has n - 1 below it, the batch's own normalisation n.
        let n = (4 * 6 * 5) as f64;
        let variance = (statistics.variance * ((n - 1.0) / n)).unwrap();
        let statistics = BatchStatistics { mean: statistics.mean, variance };
        let (weight, bias) = fold_norm(&weight, (&gamma, &beta), &statistics, 1e-5).unwrap();
        let folded = conv2d(&x, &weight, Some(&bias), shape).unwrap();
        let difference = (trained - folded).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(difference < 1e-5, "{difference}");
    }

    #[test]
    fn a_single_value_is_an_error() {
        assert!(batch_norm(&random(&[1, 3, 1, 1], 1), &random(&[3], 2), &random(&[3], 3), 1e-5).is_err());
    }
}
