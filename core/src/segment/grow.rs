//! Regions that grow from a pixel over its like.

use ndarray::{Array2, ArrayView2};

use crate::measure::Runs;

/// Pixels that are joined to `seed` (row, column) over their sides through pixels that `accept` takes; empty where it does not take the
/// seed itself.
pub fn connected(seed: (usize, usize), shape: (usize, usize), accept: impl Fn(usize, usize) -> bool) -> Runs {
    let (rows, columns) = shape;
    if seed.0 >= rows || seed.1 >= columns || !accept(seed.0, seed.1) {
        return Runs::default();
    }
    let mut taken = Array2::from_elem(shape, false);
    // Whole stretches of a row at a time: most pixels are never put on the stack.
    let mut starts = vec![seed];
    let mut runs = Vec::new();
    while let Some((row, column)) = starts.pop() {
        if taken[[row, column]] {
            continue;
        }
        let free = |taken: &Array2<bool>, column: usize| !taken[[row, column]] && accept(row, column);
        let first = (0..column).rev().take_while(|c| free(&taken, *c)).last().unwrap_or(column);
        let last = (column + 1..columns).take_while(|c| free(&taken, *c)).last().unwrap_or(column);
        for c in first..=last {
            taken[[row, c]] = true;
        }
        runs.push(((row * columns + first) as u32, (last - first + 1) as u32));
        for next in [row.checked_sub(1), Some(row + 1).filter(|next| *next < rows)].into_iter().flatten() {
            let mut before = false;
            for c in first..=last {
                let open = !taken[[next, c]] && accept(next, c);
                if open && !before {
                    starts.push((next, c));
                }
                before = open;
            }
        }
    }
    Runs::new(runs)
}

/// Pixels that are joined to `seed` (row, column) over their sides and whose values lie in `low..=high`.
pub fn flood(values: ArrayView2<'_, f32>, seed: (usize, usize), (low, high): (f32, f32)) -> Runs {
    connected(seed, values.dim(), |row, column| (low..=high).contains(&values[[row, column]]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ndarray::Array2;
    use proptest::prelude::*;

    use super::*;

    /// One pixel at a time, as the definition says.
    fn plain(values: &Array2<f32>, seed: (usize, usize), range: (f32, f32)) -> BTreeSet<u32> {
        let (rows, columns) = values.dim();
        let mut found = BTreeSet::new();
        let mut next = vec![seed];
        while let Some((r, c)) = next.pop() {
            let inside = (range.0..=range.1).contains(&values[[r, c]]);
            if !inside || !found.insert((r * columns + c) as u32) {
                continue;
            }
            let steps = [(r.wrapping_sub(1), c), (r + 1, c), (r, c.wrapping_sub(1)), (r, c + 1)];
            next.extend(steps.into_iter().filter(|(r, c)| *r < rows && *c < columns));
        }
        found
    }

    proptest! {
        #[test]
        fn stretches_find_what_single_steps_find(
            values in proptest::collection::vec(0_u8..4, 7 * 9), seed in (0_usize..7, 0_usize..9), low in 0_u8..4,
        ) {
            let values = Array2::from_shape_fn((7, 9), |(r, c)| f32::from(values[r * 9 + c]));
            let range = (f32::from(low), f32::from(low) + 1.0);
            let found: BTreeSet<u32> = flood(values.view(), seed, range).pixels().collect();
            prop_assert_eq!(found, plain(&values, seed, range));
        }
    }

    #[test]
    fn a_seed_outside_finds_nothing() {
        let values = Array2::zeros((3, 4));
        assert!(flood(values.view(), (3, 0), (0.0, 1.0)).is_empty());
        assert!(flood(values.view(), (0, 0), (1.0, 2.0)).is_empty());
        assert_eq!(flood(values.view(), (0, 0), (0.0, 2.0)).count(), 12);
        assert!(flood(Array2::from_elem((3, 4), f32::NAN).view(), (0, 0), (0.0, 1.0)).is_empty());
    }
}
