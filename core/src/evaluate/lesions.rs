//! True lesions as separate objects, for FROC.

use ndarray::Array2;

use crate::dataset::{ClassMap, Geometry, ImageRecord};
use crate::nn::BoundingBox;

/// Regions of a mask smaller than this share of the image are drawing artefacts, not lesions.
const SMALLEST_REGION: f64 = 2e-4;

/// One true lesion of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueLesion {
    /// Pixels inside, 0 or 1, `[row, column]` in the size of the image.
    pub mask: Array2<u8>,
    /// Number of pixels inside.
    pub area: usize,
}

impl TrueLesion {
    /// The smallest box around it, in pixels of the image.
    pub fn bounds(&self) -> BoundingBox {
        let inside = || self.mask.indexed_iter().filter(|(_, v)| **v != 0).map(|(at, _)| at);
        let range = |values: &mut dyn Iterator<Item = usize>| {
            values.fold((usize::MAX, 0), |(low, high), at| (low.min(at), high.max(at + 1)))
        };
        let (top, bottom) = range(&mut inside().map(|at| at.0));
        let (left, right) = range(&mut inside().map(|at| at.1));
        if bottom == 0 {
            return BoundingBox::default();
        }
        BoundingBox::new(left as f32, top as f32, right as f32, bottom as f32)
    }

    /// Whether the point (row, column) is inside.
    pub fn contains(&self, row: f32, column: f32) -> bool {
        let at = (row.round(), column.round());
        at.0 >= 0.0 && at.1 >= 0.0 && self.mask.get((at.0 as usize, at.1 as usize)).is_some_and(|v| *v != 0)
    }
}

/// Lesions of the class on the image: every box is one; masks are joined and each connected region (by edges or corners) is one.
pub fn true_lesions(class: &ClassMap, image: &ImageRecord) -> Vec<TrueLesion> {
    let (rows, columns) = (image.height, image.width);
    let mut lesions = Vec::new();
    let mut drawn = Array2::<u8>::zeros((rows, columns));
    for shape in class.shapes(image) {
        match &shape.geometry {
            Geometry::Box { .. } => {
                let mask = shape.geometry.to_mask(rows, columns);
                let area = mask.iter().filter(|v| **v != 0).count();
                lesions.push(TrueLesion { mask, area });
            }
            Geometry::Mask(_) | Geometry::Polygon(_) => shape.geometry.draw_on(&mut drawn),
        }
    }
    lesions.extend(separate_lesions(drawn));
    lesions
}

/// The connected regions (by edges or corners) of a mask that are large enough for lesions.
pub fn separate_lesions(mask: Array2<u8>) -> Vec<TrueLesion> {
    let smallest = (SMALLEST_REGION * mask.len() as f64) as usize;
    regions(mask).into_iter().filter(|lesion| lesion.area > smallest).collect()
}

/// Connected regions (8 neighbours) of a mask, which is used up.
fn regions(mut mask: Array2<u8>) -> Vec<TrueLesion> {
    let (rows, columns) = mask.dim();
    let mut found = Vec::new();
    for row in 0..rows {
        for column in 0..columns {
            if mask[[row, column]] == 0 {
                continue;
            }
            let mut own = Array2::zeros((rows, columns));
            let mut area = 0;
            let mut open = vec![(row, column)];
            mask[[row, column]] = 0;
            while let Some((r, c)) = open.pop() {
                own[[r, c]] = 1;
                area += 1;
                for nr in r.saturating_sub(1)..(r + 2).min(rows) {
                    for nc in c.saturating_sub(1)..(c + 2).min(columns) {
                        if mask[[nr, nc]] != 0 {
                            mask[[nr, nc]] = 0;
                            open.push((nr, nc));
                        }
                    }
                }
            }
            found.push(TrueLesion { mask: own, area });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn regions_touching_at_corners_are_one() {
        let mask = array![[1u8, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0]];
        let found = regions(mask);
        assert_eq!(found.iter().map(|r| r.area).collect::<Vec<_>>(), [2, 2]);
        assert!(found[0].contains(1.2, 0.8) && !found[0].contains(0.0, 3.0) && found[1].contains(0.0, 3.0));
        assert_eq!(found[0].bounds(), BoundingBox::new(0.0, 0.0, 2.0, 2.0));
        assert_eq!(found[1].bounds(), BoundingBox::new(3.0, 0.0, 4.0, 2.0));
        assert!(!found[0].contains(-1.0, 0.0) && !found[0].contains(99.0, f32::NAN));
    }
}
