//! Features of the local branch for tools that follow tissue.

use candle_core::{Device, Result, Tensor};
use ndarray::{Array3, ArrayView2};

use crate::model::{Bundle, INPUT_MEAN, INPUT_SCALE, Request, input_from_values};
use crate::segment::LocalFeatures;

/// Features of the ResNet's stages for an image (any units, brighter is denser); the transformer is left out. `None` where the network has no
/// local stages.
pub fn local_features(bundle: &Bundle, image: ArrayView2<'_, f32>) -> Result<Option<LocalFeatures>> {
    let size = bundle.metadata.config.input_size;
    let input = input_from_values(image, size);
    let tensor = Tensor::from_iter(input.values.iter().copied(), &Device::Cpu)?.reshape((1, 1, size, size))?;
    let request = Request { bypass_transformer: true, ..Request::default() };
    let features = bundle.network.features(&tensor.to_device(&bundle.device)?, &request)?;
    let map = |stage: &Tensor| {
        let (_, channels, rows, columns) = stage.dims4()?;
        let values = stage.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>()?;
        Array3::from_shape_vec((channels, rows, columns), values).map_err(candle_core::Error::wrap)
    };
    let stages: Vec<Array3<f32>> = features.stages.iter().map(map).collect::<Result<_>>()?;
    let guide = input.values.mapv(|v| v / INPUT_SCALE + INPUT_MEAN);
    Ok(LocalFeatures::new(&stages, guide, &input.image_from_input, image.dim()))
}
