//! Class activation maps of a ResNet stage: Grad-CAM, HiResCAM, LayerCAM.
//!
//! With A (channel, row, column) what the stage gives, and G = dy/dA the gradient of the explained logit y:
//! Grad-CAM is max(0, Σ_k mean(G_k) A_k), HiResCAM max(0, Σ_k G_k · A_k), LayerCAM max(0, Σ_k max(0, G_k) · A_k).
//!
//! Maps are kept as they come: not negative, in units of the logit, so that a map of a weak answer is weak. [`share_of_maximum`] is for
//! drawing: a map without any evidence stays empty. The package `grad-cam` stretches every map to the range 0 to 1 instead, noise
//! too; [`min_max`] does the same, for comparison with it.

use candle_core::{Device, Result, Tensor, Var, bail};
use ndarray::{Array2, Array3, ArrayView2, Axis, Zip};
use serde::{Deserialize, Serialize};

use crate::model::{Network, Request};

/// How gradient and activation become a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CamMethod {
    /// Selvaraju et al., 2017.
    GradCam,
    /// Draelos and Carin, 2020.
    HiResCam,
    /// Jiang et al., 2021.
    LayerCam,
}

impl CamMethod {
    /// All, in the order of menus.
    pub const ALL: [Self; 3] = [Self::GradCam, Self::HiResCam, Self::LayerCam];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GradCam => "Grad-CAM",
            Self::HiResCam => "HiResCAM",
            Self::LayerCam => "LayerCAM",
        }
    }

    /// As it stands in file names and on the command line.
    pub fn key(self) -> &'static str {
        match self {
            Self::GradCam => "grad-cam",
            Self::HiResCam => "hires-cam",
            Self::LayerCam => "layer-cam",
        }
    }
}

/// The logit that is explained, of a lesion class by its index.
#[derive(Debug, Clone, PartialEq)]
pub enum CamTarget {
    /// The image-level logit.
    Image {
        /// Lesion class.
        lesion: usize,
    },
    /// Mean of the lesion map's logits over cells of its grid.
    Region {
        /// Lesion class.
        lesion: usize,
        /// (row, column), at least one.
        cells: Vec<(usize, usize)>,
    },
}

/// Activation and gradient of one stage: all methods can be read from it.
#[derive(Debug, Clone, PartialEq)]
pub struct StageEvidence {
    /// A: (channel, row, column).
    pub activation: Array3<f32>,
    /// dy/dA, of the same shape.
    pub gradient: Array3<f32>,
}

impl StageEvidence {
    /// One forward and one backward pass of `input` (1, channel, height, width). `stage` counts from 0, finest first.
    ///
    /// # Errors
    /// Where there is no such stage, class or cell, or the network fails.
    pub fn of(network: &Network, input: &Tensor, stage: usize, target: &CamTarget) -> Result<Self> {
        let (batch, _, rows, columns) = input.dims4()?;
        let Some(channels) = network.hybrid().stage_channels().get(stage) else {
            bail!("there is no ResNet stage {}; the last is {}", stage + 1, network.hybrid().stage_channels().len());
        };
        // Stages have stride 4, 8, ...; each convolution of stride 2 rounds up.
        let side = |pixels: usize| pixels.div_ceil(4 << stage);
        let shape = (batch, *channels, side(rows), side(columns));
        let zero = Var::zeros(shape, input.dtype(), input.device())?;
        let request = Request { stage_perturbation: Some((stage, zero.as_tensor())), ..Request::default() };
        let output = network.forward(input, &request)?;
        let logit = match target {
            CamTarget::Image { lesion } => output.class_logits.get(0)?.get(*lesion)?,
            CamTarget::Region { lesion, cells } => {
                let map = output.lesion_logits.get(0)?.get(*lesion)?;
                let (rows, columns) = map.dims2()?;
                let mut weights = vec![0.0_f32; rows * columns];
                for (row, column) in cells {
                    match weights.get_mut(row * columns + column).filter(|_| *column < columns) {
                        Some(weight) => *weight = 1.0 / cells.len() as f32,
                        None => bail!("cell ({row}, {column}) lies outside a lesion map of {rows} x {columns}"),
                    }
                }
                if cells.is_empty() {
                    bail!("a region has at least one cell");
                }
                (map * Tensor::from_vec(weights, (rows, columns), input.device())?)?.sum_all()?
            }
        };
        let Some(activation) = output.features.activations.get(stage) else { bail!("the stage kept no activation") };
        let activation = to_array(activation)?;
        let gradient = match logit.backward()?.get(&zero) {
            Some(gradient) => to_array(gradient)?,
            // Nothing after the stage leads to the logit.
            None => Array3::zeros(activation.dim()),
        };
        Ok(Self { activation, gradient })
    }

    /// The map, `[row, column]` of the stage; not negative, in units of the logit.
    pub fn map(&self, method: CamMethod) -> Array2<f32> {
        let (_, rows, columns) = self.activation.dim();
        let mut map = Array2::zeros((rows, columns));
        for (a, g) in self.activation.axis_iter(Axis(0)).zip(self.gradient.axis_iter(Axis(0))) {
            let mean = g.mean().unwrap_or(0.0);
            Zip::from(&mut map).and(&a).and(&g).for_each(|sum, a, g| {
                *sum += match method {
                    CamMethod::GradCam => mean * a,
                    CamMethod::HiResCam => g * a,
                    CamMethod::LayerCam => g.max(0.0) * a,
                }
            });
        }
        map.mapv_inplace(|v: f32| v.max(0.0));
        map
    }
}

/// A (1, channel, row, column) tensor.
fn to_array(tensor: &Tensor) -> Result<Array3<f32>> {
    let tensor = tensor.get(0)?.to_device(&Device::Cpu)?;
    let shape = tensor.dims3()?;
    Array3::from_shape_vec(shape, tensor.flatten_all()?.to_vec1()?).map_err(candle_core::Error::wrap)
}

/// The map divided by its highest value; an empty map stays empty.
pub fn share_of_maximum(map: ArrayView2<'_, f32>) -> Array2<f32> {
    let highest = map.iter().copied().fold(0.0_f32, f32::max);
    if highest > 0.0 { map.mapv(|v| v.max(0.0) / highest) } else { Array2::zeros(map.dim()) }
}

/// What `grad-cam` 1.5.5 does to a map (`scale_cam_image`): the lowest value becomes 0, the highest 1. An even map becomes 0.
pub fn min_max(map: ArrayView2<'_, f32>) -> Array2<f32> {
    let low = map.iter().copied().fold(f32::INFINITY, f32::min);
    let high = map.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    map.mapv(|v| (v - low) / (high - low + 1e-7))
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use ndarray::{Array3, array};

    use super::*;
    use crate::model::topology_tests::{ALL, config, network};

    #[test]
    fn maps_by_hand() {
        let activation = Array3::from_shape_vec((2, 1, 2), vec![1.0, 2.0, 3.0, 1.0]).unwrap();
        let gradient = Array3::from_shape_vec((2, 1, 2), vec![1.0, 3.0, -2.0, 0.0]).unwrap();
        let evidence = StageEvidence { activation, gradient };
        // Means of the gradients: 2 and -1.
        assert_eq!(evidence.map(CamMethod::GradCam), array![[0.0, 3.0]]);
        assert_eq!(evidence.map(CamMethod::HiResCam), array![[0.0, 6.0]]);
        assert_eq!(evidence.map(CamMethod::LayerCam), array![[1.0, 6.0]]);
    }

    #[test]
    fn an_empty_map_stays_empty_and_a_weak_one_weak() {
        assert_eq!(share_of_maximum(array![[0.0, 0.0]].view()), array![[0.0, 0.0]]);
        assert_eq!(share_of_maximum(array![[0.0, 0.5], [0.25, 0.0]].view()), array![[0.0, 1.0], [0.5, 0.0]]);
        assert!(min_max(array![[2.0, 2.0]].view()).iter().all(|v| *v == 0.0));
    }

    /// The gradient is the logit's change under a small change of the stage, by a finite difference.
    #[test]
    fn gradients_are_right_on_every_topology() {
        for (topology, fusion) in ALL {
            let (network, _) = network(&config(topology, fusion));
            let x = Tensor::randn(0.0f32, 1.0, (1, 1, 64, 64), &Device::Cpu).unwrap();
            for stage in 0..2 {
                for target in
                    [CamTarget::Image { lesion: 0 }, CamTarget::Region { lesion: 0, cells: vec![(2, 3), (5, 1)] }]
                {
                    let evidence = StageEvidence::of(&network, &x, stage, &target).unwrap();
                    let shape = evidence.activation.dim();
                    let length = |values: &Array3<f32>| values.iter().map(|v| v * v).sum::<f32>().sqrt();
                    let size = length(&evidence.gradient);
                    // Half along the gradient, half anywhere.
                    let other =
                        to_array(&Tensor::randn(0.0f32, 1.0, (1, shape.0, shape.1, shape.2), &Device::Cpu).unwrap());
                    let other = other.unwrap();
                    let direction = &evidence.gradient / size + &other / length(&other);
                    let (values, _) = direction.clone().into_raw_vec_and_offset();
                    let moving = Tensor::from_vec(values, (1, shape.0, shape.1, shape.2), &Device::Cpu).unwrap();
                    let logit = |step: f64| {
                        let moved = (&moving * step).unwrap();
                        let request = Request { stage_perturbation: Some((stage, &moved)), ..Request::default() };
                        let output = network.forward(&x, &request).unwrap();
                        let map = output.lesion_logits.get(0).unwrap().get(0).unwrap().to_vec2::<f32>().unwrap();
                        match &target {
                            CamTarget::Image { .. } => output.class_logits.to_vec2::<f32>().unwrap()[0][0],
                            CamTarget::Region { cells, .. } => {
                                cells.iter().map(|(r, c)| map[*r][*c]).sum::<f32>() / 2.0
                            }
                        }
                    };
                    let expected = (logit(5e-3) - logit(-5e-3)) / 1e-2;
                    let found: f32 = evidence.gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
                    assert!(
                        (found - expected).abs() < 0.1 * size,
                        "{topology:?} {fusion:?} stage {stage} {target:?}: {found} against {expected}, size {size}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let (network, _) = network(&config(ALL[0].0, ALL[0].1));
        let x = Tensor::zeros((1, 1, 64, 64), candle_core::DType::F32, &Device::Cpu).unwrap();
        let error = |stage, target| StageEvidence::of(&network, &x, stage, &target).unwrap_err().to_string();
        assert!(error(2, CamTarget::Image { lesion: 0 }).contains("no ResNet stage 3"));
        assert!(error(0, CamTarget::Region { lesion: 0, cells: vec![(0, 8)] }).contains("(0, 8)"));
        assert!(error(0, CamTarget::Region { lesion: 0, cells: Vec::new() }).contains("at least one cell"));
        assert!(StageEvidence::of(&network, &x, 0, &CamTarget::Image { lesion: 1 }).is_err());
    }
}
