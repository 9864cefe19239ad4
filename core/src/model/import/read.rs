//! Weights from a file: safetensors, or PyTorch's `.pth` and `.bin`, of which nothing is executed.

use std::collections::HashMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use candle_core::pickle::PthTensors;
use candle_core::{DType, Device, Tensor};

use super::ImportError;

/// Keys under which training programs keep the weights beside other things.
const NESTED: [&str; 3] = ["state_dict", "model", "model_state_dict"];

/// All tensors of `file` by name, in single precision.
pub(super) fn read(file: &Path) -> Result<HashMap<String, Tensor>, ImportError> {
    let open = |source| ImportError::File { file: file.to_path_buf(), source };
    let start = {
        let mut start = [0u8; 9];
        let mut opened = fs::File::open(file).map_err(open)?;
        std::io::Read::read(&mut opened, &mut start).map_err(open)?;
        start
    };
    let tensors = match start {
        [b'P', b'K', 3, 4, ..] => read_pickle(file, fs::metadata(file).map_err(open)?.len())?,
        // Safetensors begin with the length of their JSON, which may look like the first byte of a pickle.
        [0x80, _, _, _, a, b, c, d, e] if [a, b, c, d, e] != [0, 0, 0, 0, b'{'] => {
            let cause = "a pickle of PyTorch before 1.6; save it again with a newer PyTorch, or as safetensors";
            return Err(content(file, cause));
        }
        _ => {
            let bytes = fs::read(file).map_err(open)?;
            let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu);
            tensors.map_err(|error| content(file, format!("neither safetensors nor a PyTorch file: {error}")))?
        }
    };
    let single = |(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(DType::F32)?.contiguous()?));
    tensors.into_iter().map(single).collect::<candle_core::Result<_>>().map_err(|error| content(file, error))
}

fn content(file: &Path, cause: impl ToString) -> ImportError {
    ImportError::Content { file: file.to_path_buf(), cause: cause.to_string() }
}

/// candle's interpreter knows the opcodes that describe tensors and refuses all others.
fn read_pickle(file: &Path, length: u64) -> Result<HashMap<String, Tensor>, ImportError> {
    let open = |key: Option<&'static str>| {
        let file = file.to_path_buf();
        // It takes the number of arguments for granted, and panics where a broken file has fewer.
        catch_unwind(move || PthTensors::new(file, key)).map_err(|_| "its pickle is broken".to_owned())
    };
    let mut archive = open(None).and_then(|opened| opened.map_err(|error| error.to_string()));
    for key in NESTED {
        if archive.as_ref().is_ok_and(|archive| archive.tensor_infos().is_empty())
            && let Ok(Ok(nested)) = open(Some(key))
        {
            archive = Ok(nested);
        }
    }
    let archive = archive.map_err(|cause| content(file, cause))?;
    if archive.tensor_infos().is_empty() {
        return Err(content(file, "it holds no tensors by name: save the state_dict of the network"));
    }
    let mut tensors = HashMap::new();
    for (name, info) in archive.tensor_infos() {
        // Tensors are stored as they are: one larger than the file is a lie, and memory would be taken for it.
        let elements = info.layout.dims().iter().try_fold(1u64, |all, n| all.checked_mul(*n as u64));
        if elements.and_then(|n| n.checked_mul(info.dtype.size_in_bytes() as u64)).is_none_or(|bytes| bytes > length) {
            return Err(content(file, format!("{name}: {:?} is larger than the file", info.layout.dims())));
        }
        let tensor = archive.get(name).map_err(|error| content(file, format!("{name}: {error}")))?;
        if let Some(tensor) = tensor {
            tensors.insert(name.clone(), tensor);
        }
    }
    Ok(tensors)
}
