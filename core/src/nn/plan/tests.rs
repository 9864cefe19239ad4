//! Steps against the layers that they stand for, over odd shapes.

use candle_core::{Device, Tensor};

use super::super::gradient_check::random;
use super::super::{
    ConvShape, NormEnd, adaptive_avg_pool2d, add_relu, attention_with_probabilities, conv_norm, conv2d, gelu,
    layer_norm, linear, linear_attention, max_pool2d, resize_bilinear,
};
use super::{Activation, Finish, Plan, PreparedWeights, Runner, Size, Value};

fn channels_last(x: &Tensor) -> Vec<f32> {
    x.permute((0, 2, 3, 1)).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The maps that `lay` makes of `x` (batch, channel, row, column), as that.
fn planned(x: &Tensor, lay: impl FnOnce(&mut Plan, Value) -> Value) -> Tensor {
    let (batch, channels, rows, columns) = x.dims4().unwrap();
    let (mut plan, input) = Plan::new(Size { batch, rows, columns, channels });
    let y = lay(&mut plan, input);
    plan.keep(y);
    let mut runner = Runner::new(&plan, &PreparedWeights::default()).unwrap();
    runner.run(&channels_last(x)).unwrap();
    // Again, with other values between: nothing may be left of them.
    runner.run(&channels_last(&(x * 3.0).unwrap())).unwrap();
    runner.run(&channels_last(x)).unwrap();
    let (size, values) = runner.read(y);
    let shape = (size.batch, size.rows, size.columns, size.channels);
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap().permute((0, 3, 1, 2)).unwrap()
}

fn assert_close(a: &Tensor, b: &Tensor, what: &str) {
    assert_eq!(a.dims(), b.dims(), "{what}");
    let largest = |t: &Tensor| t.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    let difference = largest(&(a - b).unwrap());
    assert!(difference < 1e-5 * largest(a).max(1.0), "{what}: {difference} of {}", largest(a));
}

fn shape(stride: usize, padding: usize, dilation: usize, trailing: usize) -> ConvShape {
    ConvShape { stride, padding, dilation, groups: 1, trailing }
}

#[test]
fn convolutions_equal_those_of_the_layers() {
    let cases = [
        ([1, 1, 9, 7], [3, 7, 7], shape(2, 3, 1, 0)),
        ([2, 3, 12, 10], [5, 7, 7], shape(2, 2, 1, 1)),
        ([3, 5, 6, 11], [4, 1, 1], shape(1, 0, 1, 0)),
        ([2, 8, 9, 9], [6, 1, 1], shape(2, 0, 1, 0)),
        ([1, 4, 13, 8], [33, 3, 3], shape(1, 1, 1, 0)),
        ([2, 6, 13, 9], [7, 3, 3], shape(1, 3, 3, 0)),
        ([2, 6, 8, 15], [40, 3, 3], shape(2, 1, 1, 0)),
        ([1, 7, 11, 10], [9, 2, 5], shape(3, 1, 2, 2)),
        // Winograd, in one block and in several, with tiles that are cut off.
        ([1, 16, 13, 18], [17, 3, 3], shape(1, 1, 1, 0)),
        ([3, 20, 9, 30], [24, 3, 3], shape(1, 1, 1, 0)),
        ([1, 16, 12, 14], [16, 3, 3], shape(1, 0, 1, 0)),
        ([2, 40, 90, 70], [33, 3, 3], shape(1, 1, 1, 0)),
    ];
    for (x, [outputs, rows, columns], shape) in cases {
        let what = format!("{x:?} {outputs} {rows}x{columns} {shape:?}");
        let (x, w, b) = (random(&x, 1), random(&[outputs, x[1], rows, columns], 2), random(&[outputs], 3));
        let expected = conv2d(&x, &w, Some(&b), shape).unwrap();
        let y = planned(&x, |plan, x| plan.conv(x, (&w, Some(&b)), shape, Finish::default()).unwrap());
        assert_close(&expected, &y, &what);
        // The residual is made by the plan too: what it adds is the convolution itself.
        let y = planned(&x, |plan, x| {
            let first = plan.conv(x, (&w, Some(&b)), shape, Finish::default()).unwrap();
            let end = Finish { residual: Some(first), activation: Activation::Relu, norm: None };
            plan.conv(x, (&w, None), shape, end).unwrap()
        });
        let plain = conv2d(&x, &w, None, shape).unwrap();
        assert_close(&add_relu(&plain, &expected).unwrap(), &y, &what);
        let groups = (1..=outputs).rev().find(|groups| outputs % groups == 0 && *groups <= 8).unwrap();
        let (gamma, beta) = (random(&[outputs], 5), random(&[outputs], 6));
        let norm = Some((&gamma, &beta, groups, 1e-5));
        let end = NormEnd { groups, eps: 1e-5, residual: None, relu: true };
        let y = planned(&x, |plan, x| {
            plan.conv(x, (&w, None), shape, Finish { norm, residual: None, activation: Activation::Relu }).unwrap()
        });
        assert_close(&conv_norm(&x, &w, (&gamma, &beta), shape, end).unwrap(), &y, &what);
        let end = NormEnd { residual: Some(&plain), relu: false, ..end };
        let y = planned(&x, |plan, x| {
            let first = plan.conv(x, (&w, None), shape, Finish::default()).unwrap();
            plan.conv(x, (&w, None), shape, Finish { norm, residual: Some(first), activation: Activation::None })
                .unwrap()
        });
        assert_close(&conv_norm(&x, &w, (&gamma, &beta), shape, end).unwrap(), &y, &what);
    }
}

#[test]
fn layers_of_tokens_equal_those_of_the_transformer() {
    for (batch, tokens, dimension, heads) in [(1, 1, 6, 2), (2, 37, 24, 3), (3, 150, 40, 1), (1, 301, 96, 4)] {
        let what = format!("{batch} {tokens} {dimension} {heads}");
        let x = random(&[batch, tokens, dimension], 1);
        let (w, b) = (random(&[3 * dimension, dimension], 2), random(&[3 * dimension], 3));
        let (gamma, beta) = (random(&[dimension], 4), random(&[dimension], 5));
        let map = |x: &Tensor| x.transpose(1, 2).unwrap().unsqueeze(3).unwrap();
        let input = map(&x);
        let normal = layer_norm(&x, &gamma, &beta, 1e-6).unwrap();
        let y = planned(&input, |plan, x| plan.layer_norm(x, &gamma, &beta, 1e-6).unwrap());
        assert_close(&map(&normal), &y, &what);
        let qkv = linear(&x, &w, &b).unwrap();
        let y = planned(&input, |plan, x| plan.linear(x, (&w, &b), None, Activation::Gelu).unwrap());
        assert_close(&map(&gelu(&qkv).unwrap()), &y, &what);
        let (mixed, probabilities) = attention_with_probabilities(&qkv, heads, None).unwrap();
        for keep in [false, true] {
            let y = planned(&input, |plan, x| {
                let qkv = plan.linear(x, (&w, &b), None, Activation::None).unwrap();
                plan.attention(qkv, heads, keep).unwrap().0
            });
            assert_close(&map(&mixed), &y, &what);
        }
        let y = planned(&input, |plan, x| {
            let qkv = plan.linear(x, (&w, &b), None, Activation::None).unwrap();
            plan.attention(qkv, heads, true).unwrap().1.unwrap()
        });
        assert_close(&probabilities, &y.permute((0, 2, 3, 1)).unwrap(), &what);
        let y = planned(&input, |plan, x| {
            let qkv = plan.linear(x, (&w, &b), None, Activation::None).unwrap();
            plan.linear_attention(qkv, heads).unwrap()
        });
        assert_close(&map(&linear_attention(&qkv, heads).unwrap()), &y, &what);
    }
}

#[test]
fn maps_are_pooled_and_resampled_as_by_the_layers() {
    for dims in [[1, 1, 5, 7], [2, 19, 12, 9], [3, 16, 7, 8]] {
        let x = random(&dims, 1);
        for (kernel, stride, padding) in [(3, 2, (1, 1)), (3, 2, (0, 1)), (2, 2, (0, 0)), (4, 3, (1, 2))] {
            let y = planned(&x, |plan, x| plan.max_pool(x, kernel, stride, padding).unwrap());
            assert_close(&max_pool2d(&x, kernel, stride, padding).unwrap(), &y, &format!("{dims:?} {kernel} {stride}"));
        }
        for (rows, columns) in [(1, 1), (3, 2), (4, 7), (9, 11)] {
            let y = planned(&x, |plan, x| plan.average_pool(x, rows, columns));
            assert_close(&adaptive_avg_pool2d(&x, rows, columns).unwrap(), &y, &format!("{dims:?} {rows}x{columns}"));
        }
        let y = planned(&x, |plan, x| {
            let coarse = plan.average_pool(x, 3, 4);
            plan.add_resized(x, coarse).unwrap()
        });
        let coarse = adaptive_avg_pool2d(&x, 3, 4).unwrap();
        assert_close(&(&x + resize_bilinear(&coarse, dims[2], dims[3]).unwrap()).unwrap(), &y, &format!("{dims:?}"));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (mut plan, x) = Plan::new(Size { batch: 1, rows: 4, columns: 4, channels: 3 });
    let w = random(&[5, 3, 3, 3], 1);
    let conv = |plan: &mut Plan, weight: &Tensor, shape| plan.conv(x, (weight, None), shape, Finish::default());
    assert!(conv(&mut plan, &random(&[5, 4, 3, 3], 1), shape(1, 1, 1, 0)).is_err());
    assert!(conv(&mut plan, &w, shape(1, 0, 3, 0)).is_err());
    assert!(conv(&mut plan, &w, ConvShape { groups: 3, ..shape(1, 1, 1, 0) }).is_err());
    assert!(conv(&mut plan, candle_core::Var::from_tensor(&w).unwrap().as_tensor(), shape(1, 1, 1, 0)).is_err());
    assert!(plan.attention(x, 2, false).is_err());
    let small = plan.average_pool(x, 2, 2);
    let end = Finish { residual: Some(small), ..Finish::default() };
    assert!(plan.conv(x, (&w, None), shape(1, 1, 1, 0), end).is_err());
    let mut runner = Runner::new(&plan, &PreparedWeights::default()).unwrap();
    assert!(runner.run(&[0.0; 47]).is_err() && runner.run(&[0.0; 48]).is_ok());
}
