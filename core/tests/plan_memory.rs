//! A pass by plan takes no memory from the second run on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use bifocal_core::nn::{Activation, ConvShape, Finish, Plan, PreparedWeights, Runner, Size};
use candle_core::{Device, Tensor};

/// Counts requests of at least four kilobytes: the queue of the pool of threads grows by less.
struct Counting;

static LARGE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed to the system's allocator.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= 4096 {
            LARGE.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: as the caller vouches.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller vouches.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn tensor(dims: &[usize]) -> Tensor {
    Tensor::randn(0.0f32, 0.1, dims, &Device::Cpu).expect("memory")
}

#[test]
fn the_second_run_takes_no_memory() {
    // One thread: of several, one may meet its first large task late.
    bifocal_core::task::limit_threads(1).expect("nothing runs yet");
    let (mut plan, x) = Plan::new(Size { batch: 2, rows: 64, columns: 64, channels: 3 });
    let (stem, wide, norm) = (tensor(&[32, 3, 7, 7]), tensor(&[32, 32, 3, 3]), tensor(&[32]));
    let finish = Finish { norm: Some((&norm, &norm, 4, 1e-5)), residual: None, activation: Activation::Relu };
    let map = plan.conv(x, (&stem, None), ConvShape::same(7, 2), finish).expect("fits");
    let map = plan.max_pool(map, 3, 2, (1, 1)).expect("fits");
    let wide = plan.conv(map, (&wide, None), ConvShape::same(3, 1), Finish { residual: Some(map), ..finish });
    let coarse = plan.average_pool(wide.expect("fits"), 8, 8);
    let map = plan.add_resized(map, coarse).expect("fits");
    let (qkv, bias) = (tensor(&[96, 32]), tensor(&[96]));
    let normal = plan.layer_norm(map, &norm, &norm, 1e-6).expect("fits");
    let qkv = plan.linear(normal, (&qkv, &bias), None, Activation::Gelu).expect("fits");
    let (mixed, _) = plan.attention(qkv, 4, false).expect("fits");
    plan.keep(mixed);
    let mut runner = Runner::new(&plan, &PreparedWeights::default()).expect("weights are there");
    let input = vec![0.5; 2 * 64 * 64 * 3];
    for _ in 0..2 {
        runner.run(&input).expect("the input fits");
    }
    let before = LARGE.load(Ordering::Relaxed);
    for _ in 0..5 {
        runner.run(&input).expect("the input fits");
    }
    assert_eq!(LARGE.load(Ordering::Relaxed) - before, 0);
    assert!(runner.read(mixed).1.iter().all(|value| value.is_finite()));
}
