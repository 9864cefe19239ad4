//! Run lengths of a binary mask, as COCO writes them.
//!
//! Runs go down the columns, first a run of zeros. The compressed form writes each run, or from the fourth on its difference
//! to the run two before, as a signed number in groups of five bits, one ASCII character from `0` a group
//! (source: pycocotools, `rleFrString` and `rleToString`).

use ndarray::{Array2, ArrayView2};

/// Largest number of pixels that a mask may claim: a bound for hostile files.
const MOST_PIXELS: usize = 1 << 28;

/// Why run lengths are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RleError {
    /// A character outside the coding, or a number cut off.
    #[error("the compressed run lengths are damaged at byte {0}")]
    Damaged(usize),
    /// A run is negative or too long.
    #[error("run {0} is out of range")]
    Range(usize),
    /// Runs do not add up to the size.
    #[error("runs cover {covered} pixels, the size {rows} x {columns} needs {needed}", needed = rows * columns)]
    Cover {
        /// Sum of the runs.
        covered: u64,
        /// Rows claimed.
        rows: usize,
        /// Columns claimed.
        columns: usize,
    },
    /// Zero or far too large.
    #[error("the size {rows} x {columns} is empty or too large")]
    Size {
        /// Rows claimed.
        rows: usize,
        /// Columns claimed.
        columns: usize,
    },
}

/// A binary mask as run lengths that are known to add up to `rows` × `columns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rle {
    rows: usize,
    columns: usize,
    counts: Vec<u32>,
}

impl Rle {
    /// From uncompressed runs, zeros first.
    pub fn new(rows: usize, columns: usize, counts: Vec<u32>) -> Result<Self, RleError> {
        if rows == 0 || columns == 0 || rows.checked_mul(columns).is_none_or(|n| n > MOST_PIXELS) {
            return Err(RleError::Size { rows, columns });
        }
        let covered: u64 = counts.iter().map(|c| u64::from(*c)).sum();
        if covered != (rows * columns) as u64 {
            return Err(RleError::Cover { covered, rows, columns });
        }
        Ok(Self { rows, columns, counts })
    }

    /// From COCO's compressed string.
    pub fn parse(rows: usize, columns: usize, text: &str) -> Result<Self, RleError> {
        let mut counts: Vec<u32> = Vec::new();
        let mut value = 0i64;
        let mut group = 0u32;
        for (position, byte) in text.bytes().enumerate() {
            let bits = byte.wrapping_sub(48);
            if bits > 0x3f || group > 6 {
                return Err(RleError::Damaged(position));
            }
            value |= i64::from(bits & 0x1f) << (5 * group);
            group += 1;
            if bits & 0x20 != 0 {
                continue;
            }
            if bits & 0x10 != 0 {
                value |= -1i64 << (5 * group);
            }
            let index = counts.len();
            if index > 2 {
                value += i64::from(counts[index - 2]);
            }
            counts.push(u32::try_from(value).map_err(|_| RleError::Range(index))?);
            (value, group) = (0, 0);
        }
        if group != 0 {
            return Err(RleError::Damaged(text.len()));
        }
        Self::new(rows, columns, counts)
    }

    /// COCO's compressed string.
    pub fn compress(&self) -> String {
        let mut text = String::new();
        for (index, count) in self.counts.iter().enumerate() {
            let mut value = i64::from(*count);
            if index > 2 {
                value -= i64::from(self.counts[index - 2]);
            }
            loop {
                let bits = (value & 0x1f) as u8;
                value >>= 5;
                let more = if bits & 0x10 != 0 { value != -1 } else { value != 0 };
                text.push(char::from((bits | if more { 0x20 } else { 0 }) + 48));
                if !more {
                    break;
                }
            }
        }
        text
    }

    /// From a mask `[row, column]`: everything but 0 is inside.
    pub fn from_mask(mask: ArrayView2<'_, u8>) -> Result<Self, RleError> {
        let (rows, columns) = mask.dim();
        let mut counts = Vec::new();
        let (mut inside, mut run) = (false, 0u32);
        for value in mask.t().iter() {
            if (*value != 0) != inside {
                counts.push(run);
                (inside, run) = (!inside, 0);
            }
            run = run.saturating_add(1);
        }
        counts.push(run);
        Self::new(rows, columns, counts)
    }

    /// The mask `[row, column]`, 0 or 1.
    pub fn to_mask(&self) -> Array2<u8> {
        let mut mask = Array2::zeros((self.rows, self.columns));
        for (first, last) in self.runs() {
            for index in first..last {
                mask[[index % self.rows, index / self.rows]] = 1;
            }
        }
        mask
    }

    /// Rows and columns.
    pub fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Pixels inside.
    pub fn area(&self) -> usize {
        self.runs().map(|(first, last)| last - first).sum()
    }

    /// Whether the pixel is inside; `false` outside the image.
    pub fn contains(&self, row: usize, column: usize) -> bool {
        let index = column * self.rows + row;
        row < self.rows && column < self.columns && self.runs().any(|(first, last)| (first..last).contains(&index))
    }

    /// Runs of ones as column-major index ranges.
    fn runs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut position = 0;
        self.counts.iter().enumerate().filter_map(move |(index, count)| {
            let first = position;
            position += *count as usize;
            (index % 2 == 1).then_some((first, position))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;
    use proptest::prelude::*;

    #[test]
    fn columns_first_and_known_string() {
        let mask = array![[0u8, 1, 1], [0, 1, 0]];
        let rle = Rle::from_mask(mask.view()).expect("a small mask");
        // Down the columns: 0 0 | 1 1 | 1 0 -> runs 2, 3, 1, coded as one character each.
        assert_eq!(rle, Rle::new(2, 3, vec![2, 3, 1]).expect("runs add up"));
        assert_eq!(rle.compress(), "231");
        assert_eq!(rle.to_mask(), mask);
        assert_eq!(rle.area(), 3);
        assert!(rle.contains(0, 2) && !rle.contains(1, 2) && !rle.contains(5, 0));
    }

    #[test]
    fn large_and_falling_runs_code_as_pycocotools_does() {
        // The string was written by pycocotools 2.0.
        let mut mask = Array2::<u8>::zeros((512, 409));
        mask.slice_mut(ndarray::s![100..300, 50..60]).fill(1);
        mask.slice_mut(ndarray::s![7..9, 200]).fill(1);
        let rle = Rle::from_mask(mask.view()).expect("a mask");
        assert_eq!(rle.compress(), "TSi0X6h900000000000000000SmU2jIlXR1");
        assert_eq!(Rle::parse(512, 409, "TSi0X6h900000000000000000SmU2jIlXR1"), Ok(rle));
    }

    #[test]
    fn damaged_strings_are_refused() {
        assert_eq!(Rle::parse(2, 3, "23"), Err(RleError::Cover { covered: 5, rows: 2, columns: 3 }));
        assert_eq!(Rle::parse(2, 3, "2 1"), Err(RleError::Damaged(1)));
        assert!(matches!(Rle::parse(2, 3, "2o"), Err(RleError::Damaged(_))));
        assert!(matches!(Rle::parse(2, 3, "oooooooooo"), Err(RleError::Damaged(_))));
        assert!(matches!(Rle::parse(2, 3, "@"), Err(RleError::Range(0))));
        assert!(matches!(Rle::new(usize::MAX, 2, vec![]), Err(RleError::Size { .. })));
    }

    proptest! {
        #[test]
        fn any_mask_survives(rows in 1usize..20, columns in 1usize..20, bits in proptest::collection::vec(0u8..2, 400)) {
            let mask = Array2::from_shape_fn((rows, columns), |(r, c)| bits[r * 20 + c]);
            let rle = Rle::from_mask(mask.view()).expect("a small mask");
            let back = Rle::parse(rows, columns, &rle.compress()).expect("own coding");
            prop_assert_eq!(back.to_mask(), mask);
        }

        #[test]
        fn no_string_panics(text in "[ -~]{0,40}") {
            let _ = Rle::parse(7, 9, &text);
        }
    }
}
