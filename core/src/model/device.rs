//! Where the network runs.

use candle_core::Device;
use serde::{Deserialize, Serialize};

/// The user's wish.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// CUDA, else Metal, else the CPU.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU; needs a build with `--features cuda`.
    Cuda,
    /// An Apple GPU; needs a build with `--features metal`.
    Metal,
}

impl std::str::FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            "metal" => Ok(Self::Metal),
            _ => Err(format!("{text:?} is none of auto, cpu, cuda, metal")),
        }
    }
}

/// Opens the device; where the wish cannot be met, the CPU and the reason, for the user.
///
/// Returns the device, its name (`CPU`, `CUDA 0`, `Metal 0`) and the message.
pub fn open_device(choice: DeviceChoice) -> (Device, String, Option<String>) {
    type Attempt = (&'static str, fn() -> Result<Device, String>);
    let attempts: &[Attempt] = match choice {
        DeviceChoice::Cpu => &[],
        DeviceChoice::Cuda => &[("CUDA 0", cuda)],
        DeviceChoice::Metal => &[("Metal 0", metal)],
        DeviceChoice::Auto => &[("CUDA 0", cuda), ("Metal 0", metal)],
    };
    let mut message = None;
    for (name, open) in attempts {
        match open() {
            Ok(device) => return (device, (*name).to_owned(), None),
            Err(reason) if choice != DeviceChoice::Auto => {
                message = Some(format!("{name} is not available ({reason}); running on the CPU"));
            }
            Err(_) => {}
        }
    }
    (Device::Cpu, "CPU".to_owned(), message)
}

/// The name of an open device, for people.
pub fn device_name(device: &Device) -> String {
    match device {
        Device::Cpu => "CPU".into(),
        Device::Cuda(_) => "CUDA 0".into(),
        Device::Metal(_) => "Metal 0".into(),
    }
}

fn cuda() -> Result<Device, String> {
    #[cfg(feature = "cuda")]
    return crate::nn::open_cuda();
    #[cfg(not(feature = "cuda"))]
    Err("this program was built without the feature `cuda`".into())
}

fn metal() -> Result<Device, String> {
    if !cfg!(feature = "metal") {
        return Err("this program was built without the feature `metal`".into());
    }
    Device::new_metal(0).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{DeviceChoice, open_device};

    #[test]
    fn a_missing_device_falls_back_with_a_message() {
        let (device, name, message) = open_device(DeviceChoice::Cpu);
        assert!(device.is_cpu() && name == "CPU" && message.is_none());
        if !cfg!(feature = "metal") {
            let (device, name, message) = open_device(DeviceChoice::Metal);
            assert!(device.is_cpu() && name == "CPU");
            assert!(message.is_some_and(|message| message.contains("Metal")));
        }
    }
}
