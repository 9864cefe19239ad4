#!/usr/bin/env bash
# Builds with CUDA on any machine that has a Rust toolchain, a C++ compiler and Python's pip; no GPU, driver or CUDA toolkit is needed:
#
#     tools/cuda.sh build --release
#
# Everything after the name goes to cargo, with `--features cuda` and what CUDA needs added. The program that comes out also starts where
# there is no driver: CUDA's libraries are loaded when a device is opened, and where that fails the CPU is used.
#
# CUDA_HOME, if set, names an installed toolkit (13.x); else the compiler and headers are fetched as Python wheels, once. CUDA_COMPUTE_CAP
# is the least GPU generation that the program serves (80, Ampere, by default; the driver compiles for later ones).
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/cuda
mkdir -p "$work"

if [ -z "${CUDA_HOME:-}" ]; then
    export CUDA_HOME=$work/toolkit/nvidia/cu13
    if [ ! -x "$CUDA_HOME/bin/nvcc" ]; then
        python3 -m pip install --quiet --no-deps --target "$work/toolkit" \
            nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 \
            nvidia-cuda-cccl==13.0.85
    fi
    [ -e "$CUDA_HOME/lib64" ] || ln -s lib "$CUDA_HOME/lib64"
fi
export CUDA_PATH=$CUDA_HOME PATH=$CUDA_HOME/bin:$PATH
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}

# candle-kernels asks for the CUDA runtime as a shared library; its static form leaves nothing to load.
mkdir -p "$work/link"
runtime=$(find -L "$CUDA_HOME/lib64" -name libcudart_static.a | head -n 1)
echo "INPUT($runtime -lrt -lpthread -ldl)" > "$work/link/libcudart.so"
export RUSTFLAGS="${RUSTFLAGS:-} -L native=$work/link"

# candle-core asks cudarc for libraries linked at build time, which a machine without a driver does not have; the same source with
# that one word changed loads them at run time.
manifest=$(cargo metadata --format-version 1 --features bifocal/cuda \
    | python3 -c 'import json,sys; print(next(p["manifest_path"] for p in json.load(sys.stdin)["packages"] if p["name"] == "candle-core" and p["source"]))' \
    2>/dev/null || true)
if [ -n "$manifest" ] && [ ! -e "$work/candle-core/ready" ]; then
    rm -rf "$work/candle-core"
    cp -r "$(dirname "$manifest")" "$work/candle-core"
    sed -i 's/"dynamic-linking"/"dynamic-loading"/' "$work/candle-core/Cargo.toml"
    touch "$work/candle-core/ready"
fi
# The patch would be written to the lock file: put that back, whatever happens.
cp Cargo.lock "$work/Cargo.lock"
trap 'cp "$work/Cargo.lock" Cargo.lock' EXIT

command=$1
shift
cargo "$command" --features bifocal-core/cuda-loading --target-dir "$work/build" \
    --config "patch.crates-io.candle-core.path='$work/candle-core'" "$@"
