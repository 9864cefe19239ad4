//! Features of the local branch for tools that follow tissue.

use candle_core::{Device, Result, Tensor};
use ndarray::{Array3, Axis};

use crate::model::{Bundle, INPUT_MEAN, INPUT_SCALE, NetworkImage, Request};
use crate::segment::LocalFeatures;

/// Features of the ResNet's stages for an image; the transformer is left out. `None` where the network has no
/// local stages.
pub fn local_features(bundle: &Bundle, image: &NetworkImage) -> Result<Option<LocalFeatures>> {
    let input = image.input(bundle.metadata.config.input_size);
    let request = Request { bypass_transformer: true, ..Request::default() };
    let features = bundle.network.features(&input.tensor(&bundle.device)?, &request)?;
    let map = |stage: &Tensor| {
        let (_, channels, rows, columns) = stage.dims4()?;
        let values = stage.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        Array3::from_shape_vec((channels, rows, columns), values).map_err(candle_core::Error::wrap)
    };
    let stages: Vec<Array3<f32>> = features.stages.iter().map(map).collect::<Result<_>>()?;
    let guide = input.values.index_axis(Axis(0), input.values.dim().0 / 2).mapv(|v| v / INPUT_SCALE + INPUT_MEAN);
    Ok(LocalFeatures::new(&stages, guide, &input.image_from_input, image.dim()))
}
