//! Real lesions on other images: a region of one radiograph is laid over another, lung on lung.
//!
//! Where annotated lesions are few, a network soon knows every one of them by its surroundings. A lesion that appears in many chests has to
//! be known by itself. The same is done with regions of normal images, so that the seam says nothing about the class (after Cut-and-paste,
//! Dwibedi et al., 2017). Pixels are 0 (black) to 1 (white); all arrays have one size.

use ndarray::{Array2, ArrayView2, Zip};
use rand::Rng;

use super::fields::{blur, chance, smoothstep, uniform};
use crate::study::Affine;

/// Fewer pixels than this say nothing about brightness.
const FEWEST: f32 = 60.0;

/// Rows and columns `(first, last)` that enclose what is above one half; `None` where there is next to nothing.
fn enclosing(map: ArrayView2<'_, f32>) -> Option<[(f32, f32); 2]> {
    let mut range = [(usize::MAX, 0usize); 2];
    let mut count = 0;
    for ((row, column), value) in map.indexed_iter() {
        if *value > 0.5 {
            count += 1;
            for (range, at) in range.iter_mut().zip([row, column]) {
                *range = (range.0.min(at), range.1.max(at));
            }
        }
    }
    (count >= 200).then(|| range.map(|(first, last)| (first as f32, last as f32)))
}

/// The map from pixels of the host to those of the donor that lays lung on lung, mirrored half the time, with a little chance in it. `None`
/// where either has no lung.
pub fn lung_on_lung(host: ArrayView2<'_, f32>, donor: ArrayView2<'_, f32>, rng: &mut impl Rng) -> Option<Affine> {
    let (host, donor) = (enclosing(host)?, enclosing(donor)?);
    let mut map = Affine::IDENTITY;
    for axis in 0..2 {
        let (host, donor) = (host[axis], donor[axis]);
        let mut scale = (donor.1 - donor.0 + 1.0) / (host.1 - host.0 + 1.0) * uniform(rng, 0.88, 1.14);
        if axis == 1 && chance(rng, 0.5) {
            scale = -scale;
        }
        let shift = (donor.1 - donor.0) * uniform(rng, -0.05, 0.05);
        map.linear[axis][axis] = scale;
        map.offset[axis] = (donor.0 + donor.1) / 2.0 + shift - scale * (host.0 + host.1) / 2.0;
    }
    Some(map)
}

/// Lays `region` (0 to 1) of `donor` over `host` where both show lung, its brightness fitted to the host's around it, its edge as soft as
/// `feather` (standard deviation, share of the side). Returns the image and how far the donor shows, 0 to 1; `None` where region or
/// surroundings are too small to be fitted.
pub fn transplant(
    host: ArrayView2<'_, f32>,
    host_lung: ArrayView2<'_, f32>,
    donor: ArrayView2<'_, f32>,
    donor_lung: ArrayView2<'_, f32>,
    region: ArrayView2<'_, f32>,
    feather: f32,
) -> Option<(Array2<f32>, Array2<f32>)> {
    let side = host.nrows().max(host.ncols()) as f32;
    let soft = |map: ArrayView2<'_, f32>, sigma: f32| blur(&map.to_owned(), side * sigma);
    let near_lung = soft(host_lung, 0.012);
    let mut alpha = soft(region, feather);
    Zip::from(&mut alpha).and(&near_lung).for_each(|alpha, lung| {
        *alpha = smoothstep(0.05, 0.75, *alpha) * smoothstep(0.1, 0.6, *lung);
    });
    if alpha.sum() < FEWEST {
        return None;
    }
    // Around the region, where both show lung, the two images should look alike.
    let around = soft(region, 0.05 + feather);
    let mut weight = Array2::<f32>::zeros(host.dim());
    Zip::from(&mut weight).and(&around).and(&alpha).and(host_lung).and(donor_lung).for_each(
        |weight, around, alpha, host, donor| {
            let ring = f32::from(u8::from(*around > 0.02 && *alpha < 0.3));
            *weight = ring * host * donor;
        },
    );
    if weight.sum() < FEWEST {
        return None;
    }
    let (host_mean, host_spread) = weighted(host, weight.view());
    let (donor_mean, donor_spread) = weighted(donor, weight.view());
    let gain = (host_spread / donor_spread.max(1e-3)).clamp(0.6, 1.7);
    let mut image = host.to_owned();
    Zip::from(&mut image).and(donor).and(&alpha).for_each(|value, donor, alpha| {
        let fitted = (donor - donor_mean) * gain + host_mean;
        *value = (*value + alpha * (fitted - *value)).clamp(0.0, 1.0);
    });
    Some((image, alpha))
}

/// Weighted mean and standard deviation.
fn weighted(values: ArrayView2<'_, f32>, weights: ArrayView2<'_, f32>) -> (f32, f32) {
    let total = weights.sum().max(1e-6);
    let sum = |of: &dyn Fn(f32) -> f32| values.iter().zip(weights).map(|(v, w)| of(*v) * w).sum::<f32>() / total;
    let mean = sum(&|v| v);
    (mean, sum(&|v| (v - mean).powi(2)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::image_rng;

    /// An ellipse of lung about (`row`, `column`), `tall` and `wide` from its centre.
    fn ellipse(row: f32, column: f32, tall: f32, wide: f32) -> Array2<f32> {
        Array2::from_shape_fn((128, 128), |(r, c)| {
            let (u, v) = ((r as f32 - row) / tall, (c as f32 - column) / wide);
            f32::from(u8::from(u * u + v * v < 1.0))
        })
    }

    #[test]
    fn a_lesion_arrives_at_the_same_place_in_the_other_lung_with_its_contrast() {
        let host_lung = ellipse(64.0, 64.0, 50.0, 40.0);
        let lesion = ellipse(70.0, 60.0, 10.0, 12.0);
        // The donor is brighter over all by 0.2.
        let donor = Array2::from_shape_fn((128, 128), |at| 0.5 + 0.2 * lesion[at] + 0.01 * ((at.1 % 3) as f32 - 1.0));
        let host = Array2::from_shape_fn((128, 128), |at| 0.3 + 0.01 * ((at.0 % 3) as f32 - 1.0));
        let (image, alpha) =
            transplant(host.view(), host_lung.view(), donor.view(), host_lung.view(), lesion.view(), 0.012)
                .expect("fits");
        assert!((image[[70, 60]] - 0.5).abs() < 0.04, "0.3 and the lesion's 0.2: {}", image[[70, 60]]);
        assert!(alpha[[70, 60]] > 0.95);
        assert_eq!(image[[20, 64]], host[[20, 64]], "far away nothing changes");
    }

    #[test]
    fn lungs_are_laid_on_each_other() {
        let (host, donor) = (ellipse(60.0, 60.0, 40.0, 20.0), ellipse(70.0, 64.0, 20.0, 40.0));
        let map = lung_on_lung(host.view(), donor.view(), &mut image_rng(1, 2, 3)).expect("both have lungs");
        let (row, column) = map.apply((60.0, 60.0));
        assert!((row - 70.0).abs() < 4.0 && (column - 64.0).abs() < 6.0, "{row} {column}");
        let (row, _) = map.apply((100.0, 60.0));
        assert!((row - 90.0).abs() < 6.0, "{row}");
    }

    #[test]
    fn without_lung_or_surroundings_there_is_none() {
        let (none, all) = (Array2::<f32>::zeros((128, 128)), Array2::<f32>::ones((128, 128)));
        let lesion = ellipse(70.0, 60.0, 10.0, 12.0);
        assert_eq!(lung_on_lung(none.view(), all.view(), &mut image_rng(1, 2, 3)), None);
        assert!(transplant(all.view(), none.view(), all.view(), all.view(), lesion.view(), 0.02).is_none());
        assert!(
            transplant(all.view(), all.view(), all.view(), all.view(), all.view(), 0.02).is_none(),
            "no surroundings"
        );
        assert!(transplant(all.view(), all.view(), all.view(), all.view(), none.view(), 0.02).is_none(), "no region");
    }
}
