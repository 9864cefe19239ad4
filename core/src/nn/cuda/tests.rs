//! Each operation against the CPU, whose kernels are checked by finite differences. Without a GPU the tests say so and pass.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::super::gradient_check::random;
use super::super::{
    BoundingBox, ConvBias, ConvShape, NormEnd, Roi, RoiGrid, add_relu, attention, batch_norm, conv_bias, conv_norm,
    conv2d, gelu, group_norm, layer_norm, linear, max_pool2d, resize_bilinear, roi_align, softmax,
};
use super::conv::{Pass, Places, by_columns};
use super::{input, open_cuda, output, tensor};

fn gpu() -> Option<Device> {
    match open_cuda() {
        Ok(device) => Some(device),
        Err(reason) => {
            eprintln!("SKIPPED: {reason}");
            None
        }
    }
}

/// Largest difference, as a share of the largest value.
fn difference(a: &Tensor, b: &Tensor) -> f32 {
    let values = |t: &Tensor| {
        let t = t.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        t.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let (a, b) = (values(a), values(b));
    assert_eq!(a.len(), b.len());
    assert!(b.iter().all(|v| v.is_finite()));
    let largest = a.iter().fold(1e-6f32, |m, v| m.max(v.abs()));
    a.iter().zip(&b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

/// Output and gradients of `f` are the same on both devices, twice, and its output in bf16 is near where it takes bf16.
fn check(name: &str, inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let Some(gpu) = gpu() else { return };
    let run = |device: &Device| {
        let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(&t.to_device(device).unwrap()).unwrap()).collect();
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let y = f(&tensors).unwrap();
        let projection = random(y.dims(), 99).to_device(device).unwrap();
        let gradients = (&y * projection).unwrap().sum_all().unwrap().backward().unwrap();
        let mut all = vec![y];
        all.extend(vars.iter().map(|var| gradients.get(var).expect("a gradient flows").clone()));
        all
    };
    let expected = run(&Device::Cpu);
    for _ in 0..2 {
        for (index, (a, b)) in expected.iter().zip(run(&gpu)).enumerate() {
            let difference = difference(a, &b);
            assert!(difference < 2e-4, "{name}: result {index} of {:?} differs by {difference}", a.dims());
        }
    }
    let half: Vec<Tensor> = inputs.iter().map(|t| t.to_device(&gpu).unwrap().to_dtype(DType::BF16).unwrap()).collect();
    if let Ok(y) = f(&half) {
        assert_eq!(y.dtype(), DType::BF16, "{name}");
        let difference = difference(&expected[0], &y);
        assert!(difference < 4e-2, "{name}: bf16 differs by {difference}");
    }
}

const SHAPES: [([usize; 4], [usize; 4], ConvShape); 8] = [
    ([2, 3, 17, 13], [8, 3, 3, 3], ConvShape { stride: 1, padding: 1, dilation: 1, groups: 1, trailing: 0 }),
    ([3, 8, 16, 20], [12, 8, 3, 3], ConvShape { stride: 2, padding: 1, dilation: 1, groups: 1, trailing: 0 }),
    ([2, 1, 32, 24], [16, 1, 7, 7], ConvShape { stride: 2, padding: 3, dilation: 1, groups: 1, trailing: 0 }),
    ([2, 16, 9, 7], [24, 16, 1, 1], ConvShape { stride: 1, padding: 0, dilation: 1, groups: 1, trailing: 0 }),
    ([2, 16, 9, 7], [24, 16, 1, 1], ConvShape { stride: 2, padding: 0, dilation: 1, groups: 1, trailing: 0 }),
    ([2, 12, 10, 11], [12, 1, 3, 3], ConvShape { stride: 1, padding: 2, dilation: 2, groups: 12, trailing: 0 }),
    ([1, 8, 10, 11], [16, 4, 3, 3], ConvShape { stride: 1, padding: 1, dilation: 1, groups: 2, trailing: 0 }),
    ([2, 3, 16, 16], [8, 3, 3, 3], ConvShape { stride: 2, padding: 0, dilation: 1, groups: 1, trailing: 1 }),
];

#[test]
fn convolutions_equal_the_cpu() {
    for (x, w, shape) in SHAPES {
        let bias = random(&w[..1], 3);
        check("conv2d", &[random(&x, 1), random(&w, 2), bias.clone()], |t| conv2d(&t[0], &t[1], Some(&t[2]), shape));
        check("conv2d without bias", &[random(&x, 1), random(&w, 2)], |t| conv2d(&t[0], &t[1], None, shape));
        let out = conv2d(&random(&x, 1), &random(&w, 2), None, shape).unwrap();
        if shape.trailing == 0 {
            let residual = random(out.dims(), 4);
            check("conv_bias", &[random(&x, 1), random(&w, 2), bias, residual], |t| {
                conv_bias(&t[0], &ConvBias::new(&t[1], &t[2])?, shape, Some(&t[3]), true)
            });
        }
    }
}

/// What runs without cuDNN equals the CPU too.
#[test]
fn convolutions_by_columns_equal_the_cpu() {
    let Some(gpu) = gpu() else { return };
    for (x, w, shape) in SHAPES.into_iter().filter(|(_, _, shape)| shape.trailing == 0) {
        let sizes = super::super::conv::Sizes::new(&x, &w, shape).unwrap();
        let vars = [Var::from_tensor(&random(&x, 1)).unwrap(), Var::from_tensor(&random(&w, 2)).unwrap()];
        let y = conv2d(vars[0].as_tensor(), vars[1].as_tensor(), None, shape).unwrap();
        let dy = random(y.dims(), 3);
        let gradients = (&y * &dy).unwrap().sum_all().unwrap().backward().unwrap();
        let on_gpu = |t: &Tensor| input(&t.to_device(&gpu).unwrap(), "test").unwrap();
        let [x_in, w_in, dy_in] = [on_gpu(vars[0].as_tensor()), on_gpu(vars[1].as_tensor()), on_gpu(&dy)];
        for (pass, expected) in [
            (Pass::Forward, &y),
            (Pass::InputGradient, gradients.get(&vars[0]).unwrap()),
            (Pass::WeightGradient, gradients.get(&vars[1]).unwrap()),
        ] {
            let (storage, at) = output(&x_in.device, DType::F32, expected.elem_count()).unwrap();
            let mut places = Places { x: x_in.at, w: w_in.at, y: dy_in.at };
            match pass {
                Pass::Forward => places.y = at,
                Pass::InputGradient => places.x = at,
                Pass::WeightGradient => places.w = at,
            }
            by_columns(&x_in.device, pass, &sizes, DType::F32, places).unwrap();
            let difference = difference(expected, &tensor(storage, expected.dims()));
            assert!(difference < 1e-4, "{pass:?} of {x:?} {w:?} {shape:?}: {difference}");
        }
    }
}

#[test]
fn norms_equal_the_cpu() {
    let affine = |n: usize| [(random(&[n], 2) + 1.5).unwrap(), random(&[n], 3)];
    for (dims, groups) in [([2, 8, 5, 7], 4), ([3, 64, 28, 28], 32), ([1, 6, 1, 3], 3)] {
        let [gamma, beta] = affine(dims[1]);
        for relu in [false, true] {
            let inputs = [random(&dims, 1), gamma.clone(), beta.clone()];
            check("group_norm", &inputs, |t| group_norm(&t[0], &t[1], &t[2], groups, 1e-5, relu));
        }
    }
    for dims in [[2, 5, 24], [3, 197, 192], [1, 1, 768]] {
        let [gamma, beta] = affine(dims[2]);
        check("layer_norm", &[random(&dims, 1), gamma, beta], |t| layer_norm(&t[0], &t[1], &t[2], 1e-6));
    }
    let [gamma, beta] = affine(6);
    check("batch_norm", &[random(&[4, 6, 9, 5], 1), gamma, beta], |t| Ok(batch_norm(&t[0], &t[1], &t[2], 1e-5)?.0));
}

#[test]
fn a_block_equals_the_cpu() {
    let (x, w) = (random(&[2, 8, 12, 10], 1), random(&[16, 8, 3, 3], 2));
    let [gamma, beta, residual] = [random(&[16], 3), random(&[16], 4), random(&[2, 16, 6, 5], 5)];
    check("conv_norm", &[x, w, gamma, beta, residual], |t| {
        let end = NormEnd { groups: 4, eps: 1e-5, residual: Some(&t[4]), relu: true };
        conv_norm(&t[0], &t[1], (&t[2], &t[3]), ConvShape::same(3, 2), end)
    });
}

#[test]
fn values_equal_the_cpu() {
    let (a, b) = (random(&[3, 7, 301], 1), random(&[3, 7, 301], 2));
    check("add_relu", &[a.clone(), b], |t| add_relu(&t[0], &t[1]));
    check("gelu", &[(&a * 4.0).unwrap()], |t| gelu(&t[0]));
    check("softmax", &[(&a * 6.0).unwrap()], |t| softmax(&t[0]));
    check("linear", &[random(&[2, 19, 33], 1), random(&[21, 33], 2), random(&[21], 3)], |t| {
        linear(&t[0], &t[1], &t[2])
    });
}

#[test]
fn attention_equals_the_cpu() {
    for (batch, tokens, width, heads) in
        [(2, 197, 64, 3), (1, 5, 32, 2), (2, 64, 16, 4), (1, 130, 48, 1), (1, 33, 20, 2)]
    {
        let qkv = (random(&[batch, tokens, 3 * width * heads], 1) * 2.0).unwrap();
        check("attention", &[qkv], |t| attention(&t[0], heads));
    }
}

#[test]
fn maps_equal_the_cpu() {
    let x = random(&[2, 3, 23, 18], 1);
    for (kernel, stride, padding) in [(3, 2, (1, 1)), (2, 2, (0, 0)), (3, 1, (1, 1)), (2, 3, (0, 0)), (3, 2, (0, 1))] {
        check("max_pool2d", std::slice::from_ref(&x), |t| max_pool2d(&t[0], kernel, stride, padding));
    }
    for (rows, cols) in [(46, 36), (7, 5), (40, 9), (23, 31), (1, 1), (224, 224)] {
        check("resize_bilinear", std::slice::from_ref(&x), |t| resize_bilinear(&t[0], rows, cols));
    }
    let boxes = [
        (0, [4.0, 6.0, 60.0, 80.0]),
        (1, [-20.0, -9.0, 30.0, 20.0]),
        (1, [50.0, 60.0, 90.0, 120.0]),
        (0, [3.0, 3.0, 3.5, 3.2]),
    ];
    let rois: Vec<Roi> = boxes
        .iter()
        .map(|(image, [x1, y1, x2, y2])| Roi {
            image: *image,
            bounds: BoundingBox { x1: *x1, y1: *y1, x2: *x2, y2: *y2 },
        })
        .collect();
    for sampling in [0, 2] {
        let grid = RoiGrid { rows: 7, columns: 5, scale: 0.25, sampling };
        check("roi_align", std::slice::from_ref(&x), |t| roi_align(&t[0], &rois, grid));
    }
}
