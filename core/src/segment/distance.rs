//! Distances from the rim of a region.

use ndarray::{Array2, ArrayView2, Zip};

/// Signed distance of each pixel of a mask (0 outside) from the rim of the region, negative inside: to the nearest pixel of the other
/// side, exact, in the units of `pixel` (its height and width). The rim lies halfway between pixels of both sides. All of one sign, and
/// infinite, where there is no other side.
pub fn signed_distance(mask: ArrayView2<'_, u8>, pixel: (f64, f64)) -> Array2<f64> {
    let to_region = squared_distance(mask.mapv(|v| v != 0), pixel);
    let to_rest = squared_distance(mask.mapv(|v| v == 0), pixel);
    let mut signed = to_region;
    Zip::from(&mut signed).and(&to_rest).for_each(|outside, inside| *outside = outside.sqrt() - inside.sqrt());
    signed
}

/// Squared distance from the nearest pixel that is set, by lower envelopes of parabolas (Felzenszwalb and Huttenlocher, 2012).
fn squared_distance(set: Array2<bool>, (height, width): (f64, f64)) -> Array2<f64> {
    let mut distance = set.mapv(|set| if set { 0.0 } else { f64::INFINITY });
    Zip::from(distance.rows_mut()).par_for_each(|mut row| envelope(row.as_slice_mut().unwrap_or_default(), width));
    let mut across = distance.reversed_axes().as_standard_layout().into_owned();
    Zip::from(across.rows_mut()).par_for_each(|mut row| envelope(row.as_slice_mut().unwrap_or_default(), height));
    across.reversed_axes().as_standard_layout().into_owned()
}

/// Replaces samples `step` apart by the lowest parabola over all of them.
fn envelope(values: &mut [f64], step: f64) {
    let heights: Vec<(f64, f64)> = values
        .iter()
        .enumerate()
        .filter(|(_, value)| value.is_finite())
        .map(|(at, value)| (at as f64 * step, *value))
        .collect();
    // Parabolas that are lowest somewhere, each with the place from which it is.
    let mut lowest: Vec<((f64, f64), f64)> = Vec::with_capacity(heights.len());
    for (at, height) in heights {
        let mut from = f64::NEG_INFINITY;
        while let Some(((other, other_height), start)) = lowest.last() {
            from = ((height + at * at) - (other_height + other * other)) / (2.0 * (at - other));
            if from > *start {
                break;
            }
            lowest.pop();
            from = f64::NEG_INFINITY;
        }
        lowest.push(((at, height), from));
    }
    let mut current = 0;
    for (index, value) in values.iter_mut().enumerate() {
        let place = index as f64 * step;
        while lowest.get(current + 1).is_some_and(|(_, from)| *from <= place) {
            current += 1;
        }
        if let Some(((at, height), _)) = lowest.get(current) {
            *value = height + (place - at).powi(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn distances_are_those_of_a_search(set in proptest::collection::vec(0_u8..2, 9 * 11), height in 0.3..3.0_f64) {
            let mask = Array2::from_shape_vec((9, 11), set).expect("99 pixels");
            let pixel = (height, 0.7);
            let found = signed_distance(mask.view(), pixel);
            for ((row, column), value) in mask.indexed_iter() {
                let away = |(r, c): (usize, usize)| {
                    ((r as f64 - row as f64) * pixel.0).hypot((c as f64 - column as f64) * pixel.1)
                };
                let others = mask.indexed_iter().filter(|(_, other)| *other != value);
                let nearest = others.map(|(at, _)| away(at)).fold(f64::INFINITY, f64::min);
                let expected = if *value == 0 { nearest } else { -nearest };
                let got = found[[row, column]];
                prop_assert!(got == expected || (got - expected).abs() < 1e-9, "{got} {expected}");
            }
        }
    }

    #[test]
    fn one_side_alone_is_infinite() {
        assert!(signed_distance(Array2::zeros((2, 3)).view(), (1.0, 1.0)).iter().all(|d| *d == f64::INFINITY));
        assert!(signed_distance(Array2::ones((2, 3)).view(), (1.0, 1.0)).iter().all(|d| *d == f64::NEG_INFINITY));
    }
}
