//! Dropout whose draws depend on a seed alone, so that a resumed run repeats them.

use candle_core::{Result, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Dropout (Srivastava et al., 2014) of one training step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    /// Share of features that are dropped, 0 up to 1, without 1.
    pub share: f32,
    /// Seed of the step.
    pub seed: u64,
}

impl Dropout {
    /// Drops whole channels of (batch, channel, ...): neighbouring pixels of a map say the same, so that dropping single values
    /// would drop nothing (Tompson et al., 2015). `site` tells the places of one network apart.
    pub(super) fn channels(&self, x: &Tensor, site: u64) -> Result<Tensor> {
        self.apply(x, 2, self.share, site)
    }

    /// Drops a residual branch of whole images (stochastic depth; Huang et al., 2016), at half the share.
    pub(super) fn branch(&self, x: &Tensor, site: u64) -> Result<Tensor> {
        self.apply(x, 1, self.share / 2.0, site)
    }

    /// One draw for each index of the first `axes` axes; what stays is enlarged, so that the mean stays.
    fn apply(&self, x: &Tensor, axes: usize, share: f32, site: u64) -> Result<Tensor> {
        let dims: Vec<usize> = x.dims().iter().enumerate().map(|(axis, n)| if axis < axes { *n } else { 1 }).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(site);
        let kept = 1.0 / (1.0 - share);
        let draws = (0..dims.iter().product()).map(|_| if rng.random::<f32>() < share { 0.0 } else { kept }).collect();
        x.broadcast_mul(&Tensor::from_vec(draws, dims, x.device())?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::Dropout;

    #[test]
    fn whole_channels_go_and_the_mean_stays() {
        let x = Tensor::ones((8, 200, 3), DType::F32, &Device::Cpu).unwrap();
        let dropout = Dropout { share: 0.25, seed: 5 };
        let y = dropout.channels(&x, 1).unwrap();
        let channels: Vec<Vec<f32>> = y.flatten_to(1).unwrap().to_vec2().unwrap();
        assert!(channels.iter().all(|c| c[0] == c[1] && c[1] == c[2]));
        let mean = channels.iter().map(|c| c[0]).sum::<f32>() / channels.len() as f32;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
        let again: Vec<Vec<f32>> = dropout.channels(&x, 1).unwrap().flatten_to(1).unwrap().to_vec2().unwrap();
        assert_eq!(channels, again);
        let elsewhere: Vec<Vec<f32>> = dropout.channels(&x, 2).unwrap().flatten_to(1).unwrap().to_vec2().unwrap();
        assert_ne!(channels, elsewhere);
    }

    #[test]
    fn a_branch_goes_for_whole_images() {
        let x = Tensor::ones((64, 5, 3), DType::F32, &Device::Cpu).unwrap();
        let y = Dropout { share: 0.5, seed: 9 }.branch(&x, 0).unwrap();
        let images: Vec<Vec<f32>> = y.flatten_from(1).unwrap().to_vec2().unwrap();
        assert!(images.iter().all(|image| image.iter().all(|v| *v == image[0])));
        let dropped = images.iter().filter(|image| image[0] == 0.0).count();
        assert!((6..=26).contains(&dropped), "{dropped} of 64 at a share of 0.25");
    }
}
