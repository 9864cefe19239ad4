//! The second stage: what one region shows.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::super::dropout::Dropout;
use super::super::layers::Linear;
use super::{DetectionConfig, Pyramid};
use crate::nn::{BoxCoder, Roi, RoiGrid, roi_align};

/// Corrections of a proposal are small: torchvision's weights.
pub(super) const REGION_CODER: BoxCoder = BoxCoder { weights: [10.0, 10.0, 5.0, 5.0] };
/// Cells of a region, in each direction.
const CELLS: usize = 7;
/// Samples of a cell, in each direction.
const SAMPLING: usize = 2;
/// Site of dropout, behind those of the other heads.
const SITE: u64 = (1 << 32) + 16;

/// Two hidden layers over the features of a region, then its class and, for each class, its box.
pub(super) struct RegionHead {
    fc1: Linear,
    fc2: Linear,
    class: Linear,
    deltas: Linear,
}

impl RegionHead {
    pub(super) fn new(detection: &DetectionConfig, classes: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let hidden = detection.hidden;
        Ok(Self {
            fc1: Linear::projection(detection.channels * CELLS * CELLS, hidden, vb.pp("fc1"))?,
            fc2: Linear::projection(hidden, hidden, vb.pp("fc2"))?,
            // All classes are equally likely, and proposals are right, until something is learned.
            class: Linear::new(hidden, classes + 1, 0.0, vb.pp("class"))?,
            deltas: Linear::new(hidden, 4 * classes, 0.0, vb.pp("deltas"))?,
        })
    }

    /// Logits (region, 1 + class), background first, and corrections (region, class, 4) of `rois`.
    pub(super) fn forward(
        &self,
        pyramid: &Pyramid,
        rois: &[Roi],
        dropout: Option<Dropout>,
    ) -> Result<(Tensor, Tensor)> {
        let mut pooled = Vec::new();
        // Regions in the order of their levels, and where each of `rois` is among them.
        let (mut place, mut count) = (vec![0u32; rois.len()], 0);
        let levels: Vec<usize> = rois.iter().map(|roi| level_of(roi, &pyramid.strides)).collect();
        for (level, (map, stride)) in pyramid.levels.iter().zip(&pyramid.strides).enumerate() {
            let of_level: Vec<usize> = (0..rois.len()).filter(|index| levels[*index] == level).collect();
            if of_level.is_empty() {
                continue;
            }
            let own: Vec<Roi> = of_level.iter().map(|index| rois[*index]).collect();
            let grid = RoiGrid { rows: CELLS, columns: CELLS, scale: 1.0 / *stride as f32, sampling: SAMPLING };
            pooled.push(roi_align(map, &own, grid)?.flatten_from(1)?);
            for index in of_level {
                place[index] = count;
                count += 1;
            }
        }
        let device = pyramid.objectness.device();
        let x = Tensor::cat(&pooled, 0)?.index_select(&Tensor::new(place.as_slice(), device)?, 0)?;
        let dropped = |x: Tensor, site: u64| dropout.map_or(Ok(x.clone()), |dropout| dropout.channels(&x, site));
        let x = dropped(self.fc1.forward(&x)?.relu()?, SITE)?;
        let x = dropped(self.fc2.forward(&x)?.relu()?, SITE + 1)?;
        let deltas = self.deltas.forward(&x)?;
        Ok((self.class.forward(&x)?, deltas.reshape((rois.len(), (), 4))?))
    }
}

/// The coarsest level on which a region still spans as many pixels as it gets cells (after equation 1 of Lin et al., 2017, whose images are
/// three times as large); never the last level, which is for proposals alone.
fn level_of(roi: &Roi, strides: &[usize]) -> usize {
    let side = roi.bounds.area().max(0.0).sqrt();
    let fits = |stride: &usize| side >= (CELLS * stride) as f32;
    let coarser = strides.iter().skip(1).take(strides.len().saturating_sub(2)).take_while(|stride| fits(stride));
    coarser.count()
}

#[cfg(test)]
mod tests {
    use super::level_of;
    use crate::nn::{BoundingBox, Roi};

    #[test]
    fn large_regions_are_read_from_coarse_levels() {
        let level =
            |side: f32| level_of(&Roi { image: 0, bounds: BoundingBox::new(0.0, 0.0, side, side) }, &[8, 16, 32]);
        assert_eq!([level(3.0), level(100.0), level(113.0), level(900.0)], [0, 0, 1, 1]);
    }
}
