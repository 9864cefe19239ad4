//! Sets of pixels as runs: small in memory and on the disk, and fast to join and cut.

use ndarray::Array2;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Pixel;

/// A set of pixels of one frame, numbered row by row from 0. Runs are sorted, apart and never empty.
///
/// As JSON a flat list: first pixel and number of pixels of each run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs(Vec<(u32, u32)>);

impl Runs {
    /// The set of all runs (first pixel, number of pixels), in any order, overlapping or not.
    pub fn new(mut runs: Vec<(u32, u32)>) -> Self {
        runs.retain(|(_, count)| *count > 0);
        runs.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(runs.len());
        for (first, count) in runs {
            let count = count.min(u32::MAX - first);
            match joined.last_mut() {
                Some((start, length)) if first <= *start + *length => {
                    *length = (*length).max(first + count - *start);
                }
                _ => joined.push((first, count)),
            }
        }
        Self(joined)
    }

    /// The set of the pixels whose flag is set, flags row by row from the first pixel.
    pub fn of_flags(flags: impl IntoIterator<Item = bool>) -> Self {
        Self::of_sorted((0u32..).zip(flags).filter(|(_, set)| *set).map(|(pixel, _)| pixel))
    }

    /// The set of pixels that come in growing order.
    fn of_sorted(pixels: impl Iterator<Item = u32>) -> Self {
        let mut result: Vec<(u32, u32)> = Vec::new();
        for pixel in pixels {
            match result.last_mut() {
                Some((first, count)) if *first + *count == pixel => *count += 1,
                _ => result.push((pixel, 1)),
            }
        }
        Self(result)
    }

    /// The set as an image of 0 and 1, `[row, column]`; pixels beyond it are left out.
    pub fn to_mask(&self, (rows, columns): (usize, usize)) -> Array2<u8> {
        let mut mask = vec![0; rows * columns];
        for (first, count) in &self.0 {
            let (first, end) = (*first as usize, *first as usize + *count as usize);
            if let Some(part) = mask.get_mut(first..end.min(rows * columns)) {
                part.fill(1);
            }
        }
        Array2::from_shape_vec((rows, columns), mask).unwrap_or_default()
    }

    /// Runs (first pixel, number of pixels), sorted and apart.
    pub fn as_slice(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Whether there is no pixel in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of pixels.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Whether a pixel is in it.
    pub fn contains(&self, pixel: u32) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= pixel);
        after.checked_sub(1).and_then(|index| self.0.get(index)).is_some_and(|(first, count)| pixel - first < *count)
    }

    /// All pixels, in order.
    pub fn pixels(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|(first, count)| *first..*first + *count)
    }

    /// Pixels in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return other.clone();
        }
        Self::new(self.0.iter().chain(&other.0).copied().collect())
    }

    /// Pixels in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut result = Vec::new();
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some((a, a_count)), Some((b, b_count))) = (left.peek(), right.peek()) {
            let (a_end, b_end) = (a + a_count, b + b_count);
            let (from, to) = (*a.max(b), a_end.min(b_end));
            if from < to {
                result.push((from, to - from));
            }
            if a_end <= b_end {
                left.next();
            } else {
                right.next();
            }
        }
        Self(result)
    }

    /// Pixels in this and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut result = Vec::new();
        let mut cuts = other.0.iter().peekable();
        for (first, count) in &self.0 {
            let (mut from, end) = (*first, first + count);
            while let Some((cut, cut_count)) = cuts.peek() {
                let cut_end = cut + cut_count;
                if cut_end <= from {
                    cuts.next();
                } else if *cut >= end {
                    break;
                } else {
                    if *cut > from {
                        result.push((from, cut - from));
                    }
                    from = cut_end.min(end);
                    if cut_end > end {
                        break;
                    }
                }
            }
            if from < end {
                result.push((from, end - from));
            }
        }
        Self(result)
    }

    /// Only the pixels that `keep` wants.
    #[must_use]
    pub fn filtered(&self, mut keep: impl FnMut(u32) -> bool) -> Self {
        Self::of_sorted(self.pixels().filter(|pixel| keep(*pixel)))
    }

    /// Smallest box around the set in a frame of `columns`: first row, first column, last row, last column.
    pub fn bounds(&self, columns: usize) -> Option<[usize; 4]> {
        let columns = u32::try_from(columns).ok().filter(|columns| *columns > 0)?;
        let (first, last) = (self.0.first()?, self.0.last()?);
        let (top, bottom) = (first.0 / columns, (last.0 + last.1 - 1) / columns);
        let (mut left, mut right) = (columns - 1, 0);
        for (start, count) in &self.0 {
            let end = start + count - 1;
            if start / columns == end / columns {
                left = left.min(start % columns);
                right = right.max(end % columns);
            } else {
                // From row to row it touches both edges.
                (left, right) = (0, columns - 1);
            }
        }
        Some([top as usize, left as usize, bottom as usize, right as usize])
    }
}

impl Serialize for Runs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().flat_map(|(first, count)| [*first, *count]))
    }
}

impl<'de> Deserialize<'de> for Runs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let flat = Vec::<u32>::deserialize(deserializer)?;
        Ok(Self::new(flat.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()))
    }
}

/// A round brush on a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brush {
    /// Its radius, mm (or pixels where the spacing is unknown).
    pub radius: f64,
    /// Height and width of a pixel in the same unit.
    pub pixel: (f64, f64),
    /// Rows and columns of the frame.
    pub shape: (usize, usize),
}

impl Brush {
    /// Pixels whose centres the brush covers on its way from one (row, column) to another. The pixel under the middle is
    /// always covered, however small the brush.
    pub fn sweep(&self, from: Pixel, to: Pixel) -> Runs {
        let (rows, columns) = self.shape;
        let (height, width) = self.pixel;
        let sane = [height, width].iter().all(|v| v.is_finite() && *v > 0.0);
        let placed = [from.0, from.1, to.0, to.1].iter().all(|v| v.is_finite());
        if rows == 0 || columns == 0 || !sane || !placed {
            return Runs::default();
        }
        let radius = self.radius.max(0.0);
        let range = |a: f64, b: f64, size: f64, count: usize| {
            let low = (a.min(b) - radius / size).ceil().max(0.0) as usize;
            let high = (a.max(b) + radius / size).floor().min(count as f64 - 1.0);
            (low, if high < 0.0 { 0 } else { high as usize + 1 })
        };
        let (first_row, end_row) = range(from.0, to.0, height, rows);
        let (first_column, end_column) = range(from.1, to.1, width, columns);
        let (ax, ay) = (from.1 * width, from.0 * height);
        let (dx, dy) = ((to.1 - from.1) * width, (to.0 - from.0) * height);
        let length = dx * dx + dy * dy;
        let covers = |row: usize, column: usize| {
            let (x, y) = (column as f64 * width - ax, row as f64 * height - ay);
            let along = if length > 0.0 { ((x * dx + y * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
            let (off_x, off_y) = (x - along * dx, y - along * dy);
            off_x * off_x + off_y * off_y <= radius * radius
        };
        let mut runs = Vec::new();
        for row in first_row..end_row {
            // The covered part of a row is one run: the swept area is convex.
            let Some(first) = (first_column..end_column).find(|column| covers(row, *column)) else { continue };
            let last = (first..end_column).rev().find(|column| covers(row, *column)).unwrap_or(first);
            runs.push(((row * columns + first) as u32, (last - first + 1) as u32));
        }
        for (row, column) in [from, to] {
            let (row, column) = (row.round(), column.round());
            if row >= 0.0 && column >= 0.0 && row < rows as f64 && column < columns as f64 {
                runs.push(((row as usize * columns + column as usize) as u32, 1));
            }
        }
        Runs::new(runs)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set() -> impl Strategy<Value = BTreeSet<u32>> {
        proptest::collection::btree_set(0_u32..60, 0..40)
    }

    fn runs(set: &BTreeSet<u32>) -> Runs {
        Runs::new(set.iter().map(|pixel| (*pixel, 1)).collect())
    }

    proptest! {
        #[test]
        fn runs_are_a_set(a in set(), b in set()) {
            let (x, y) = (runs(&a), runs(&b));
            let members = |runs: &Runs| runs.pixels().collect::<BTreeSet<u32>>();
            prop_assert_eq!(members(&x.union(&y)), a.union(&b).copied().collect());
            prop_assert_eq!(members(&x.intersection(&y)), a.intersection(&b).copied().collect());
            prop_assert_eq!(members(&x.difference(&y)), a.difference(&b).copied().collect());
            prop_assert_eq!(x.count(), a.len() as u64);
            for pixel in 0..60 {
                prop_assert_eq!(x.contains(pixel), a.contains(&pixel));
            }
            // One form for one set, so that equality is equality of sets.
            prop_assert_eq!(&x.difference(&y).union(&x.intersection(&y)), &x);
            let mask = x.to_mask((6, 10));
            prop_assert!(mask.indexed_iter().all(|((r, c), v)| (*v == 1) == a.contains(&((r * 10 + c) as u32))));
            prop_assert_eq!(&Runs::of_flags(mask.iter().map(|v| *v == 1)), &x);
            prop_assert_eq!(&x.filtered(|pixel| b.contains(&pixel)), &x.intersection(&y));
            let text = serde_json::to_string(&x).expect("serialises");
            prop_assert_eq!(&serde_json::from_str::<Runs>(&text).expect("reads"), &x);
        }
    }

    #[test]
    fn damaged_runs_are_put_in_order() {
        let read: Runs = serde_json::from_str("[10,5,12,9,0,0,4294967290,4294967290]").expect("reads");
        assert_eq!(read.as_slice(), [(10, 11), (4_294_967_290, 5)]);
    }

    #[test]
    fn a_brush_covers_a_disc_in_millimetres() {
        // Rows are twice as far apart as columns: the disc is half as many rows high as columns wide.
        let brush = Brush { radius: 2.0, pixel: (1.0, 0.5), shape: (20, 20) };
        let disc = brush.sweep((10.0, 10.0), (10.0, 10.0));
        assert_eq!(disc.bounds(20), Some([8, 6, 12, 14]));
        let expected = (0..400_u32)
            .filter(|p| {
                let (y, x) = (f64::from(p / 20) - 10.0, (f64::from(p % 20) - 10.0) * 0.5);
                x * x + y * y <= 4.0
            })
            .collect::<Vec<_>>();
        assert_eq!(disc.pixels().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_sweep_leaves_no_gap_and_stays_on_the_frame() {
        let brush = Brush { radius: 1.5, pixel: (1.0, 1.0), shape: (30, 30) };
        let swept = brush.sweep((-5.0, -5.0), (40.0, 40.0));
        for i in 0..30_u32 {
            assert!(swept.contains(i * 30 + i), "{i}");
        }
        assert!(swept.pixels().all(|pixel| pixel < 900));
        assert!(brush.sweep((-9.0, 3.0), (-9.0, 9.0)).is_empty());
        assert!(brush.sweep((f64::NAN, 3.0), (1.0, 9.0)).is_empty());
        let small = Brush { radius: 0.1, ..brush };
        assert_eq!(small.sweep((3.4, 3.4), (3.4, 3.4)).as_slice(), [(93, 1)]);
    }

    #[test]
    fn bounds_of_wrapped_runs_touch_both_edges() {
        assert_eq!(Runs::new(vec![(8, 4)]).bounds(10), Some([0, 0, 1, 9]));
        assert_eq!(Runs::new(vec![(3, 2), (12, 2)]).bounds(10), Some([0, 2, 1, 4]));
        assert_eq!(Runs::default().bounds(10), None);
    }
}
