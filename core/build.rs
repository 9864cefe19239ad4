//! Compiles the kernels for NVIDIA GPUs to PTX, where the feature `cuda` asks for them.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let source = "src/nn/cuda/kernels.cu";
    println!("cargo:rerun-if-changed={source}");
    println!("cargo:rerun-if-env-changed=CUDA_COMPUTE_CAP");
    println!("cargo:rerun-if-env-changed=CUDA_HOME");
    let nvcc = match env::var("CUDA_HOME") {
        Ok(home) => Path::new(&home).join("bin").join("nvcc"),
        Err(_) => "nvcc".into(),
    };
    // PTX of an old generation runs on every later one: the driver compiles it.
    let generation = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".into());
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("kernels.ptx");
    let _ = fs::remove_file(&out);
    let status = Command::new(&nvcc)
        .args(["-ptx", "-O3", &format!("-arch=compute_{generation}"), source, "-o"])
        .arg(&out)
        .status()
        .unwrap_or_else(|error| panic!("{} cannot be run ({error}): `tools/cuda.sh` fetches it", nvcc.display()));
    assert!(status.success(), "{} failed on {source}", nvcc.display());
}
