//! Axis-parallel boxes: overlap, suppression, coding relative to a reference box.

use std::cmp::Ordering;

/// A box in pixels: pixel (0, 0) covers the square from (0, 0) to (1, 1).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BoundingBox {
    /// Left edge.
    pub x1: f32,
    /// Upper edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Lower edge.
    pub y2: f32,
}

impl BoundingBox {
    /// The box from (`x1`, `y1`) to (`x2`, `y2`).
    pub fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// Extent from left to right.
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// Extent from top to bottom.
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }

    /// Square pixels inside.
    pub fn area(&self) -> f32 {
        self.width() * self.height()
    }

    /// The middle, (x, y).
    pub fn centre(&self) -> (f32, f32) {
        ((self.x1 + self.x2) / 2.0, (self.y1 + self.y2) / 2.0)
    }

    /// Square pixels inside both.
    pub fn intersection(&self, other: &Self) -> f32 {
        let width = self.x2.min(other.x2) - self.x1.max(other.x1);
        let height = self.y2.min(other.y2) - self.y1.max(other.y1);
        width.max(0.0) * height.max(0.0)
    }

    /// Intersection over union, 0 to 1; 0 where both are empty.
    pub fn iou(&self, other: &Self) -> f32 {
        let both = self.intersection(other);
        let either = self.area() + other.area() - both;
        if either > 0.0 { both / either } else { 0.0 }
    }

    /// The part inside an image of `width` and `height`.
    #[must_use]
    pub fn clipped(&self, width: f32, height: f32) -> Self {
        Self {
            x1: self.x1.clamp(0.0, width),
            y1: self.y1.clamp(0.0, height),
            x2: self.x2.clamp(0.0, width),
            y2: self.y2.clamp(0.0, height),
        }
    }
}

/// Indices of `boxes` from the highest of `scores` down, without those that overlap a kept one of the same of `classes` by an intersection
/// over union above `threshold`. Of equal scores the first comes first; what has no number for a score comes last.
///
/// Non-maximum suppression by class (torchvision's `batched_nms`). The three slices have one entry a box.
pub fn nms(boxes: &[BoundingBox], scores: &[f32], classes: &[usize], threshold: f32) -> Vec<usize> {
    let mut order: Vec<usize> = (0..boxes.len().min(scores.len()).min(classes.len())).collect();
    let rank = |score: f32| if score.is_nan() { f32::NEG_INFINITY } else { score };
    order.sort_by(|a, b| rank(scores[*b]).partial_cmp(&rank(scores[*a])).unwrap_or(Ordering::Equal));
    let mut kept: Vec<usize> = Vec::new();
    for index in order {
        let beaten = |other: &usize| classes[*other] == classes[index] && boxes[*other].iou(&boxes[index]) > threshold;
        if !kept.iter().any(beaten) {
            kept.push(index);
        }
    }
    kept
}

/// Boxes as differences from a reference box: shifts of the centre in sizes of the reference, logarithms of the size's ratios, each
/// multiplied by a weight (Girshick et al., 2014; torchvision's `BoxCoder`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoxCoder {
    /// Factors of x, y, width, height.
    pub weights: [f32; 4],
}

/// The most that a size grows, as a logarithm: from 16 to 1000 pixels, as in Detectron and torchvision.
const MOST_GROWTH: f32 = 4.135_166_6;

impl BoxCoder {
    /// The differences of `target` from `reference`, which is not empty.
    pub fn encode(&self, reference: &BoundingBox, target: &BoundingBox) -> [f32; 4] {
        let ((rx, ry), (tx, ty)) = (reference.centre(), target.centre());
        let [wx, wy, ww, wh] = self.weights;
        [
            wx * (tx - rx) / reference.width(),
            wy * (ty - ry) / reference.height(),
            ww * (target.width() / reference.width()).ln(),
            wh * (target.height() / reference.height()).ln(),
        ]
    }

    /// The box that differs from `reference` by `deltas`.
    pub fn decode(&self, reference: &BoundingBox, deltas: [f32; 4]) -> BoundingBox {
        let (x, y) = reference.centre();
        let [wx, wy, ww, wh] = self.weights;
        let (x, y) = (x + deltas[0] / wx * reference.width(), y + deltas[1] / wy * reference.height());
        let width = (deltas[2] / ww).min(MOST_GROWTH).exp() * reference.width();
        let height = (deltas[3] / wh).min(MOST_GROWTH).exp() * reference.height();
        BoundingBox::new(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BoundingBox, BoxCoder, nms};

    /// Sides of 2 to 100: no box is 62.5 times another, where decoding holds growth back.
    fn any_box() -> impl Strategy<Value = BoundingBox> {
        (0.0f32..200.0, 0.0f32..200.0, 2.0f32..100.0, 2.0f32..100.0)
            .prop_map(|(x, y, width, height)| BoundingBox::new(x, y, x + width, y + height))
    }

    #[test]
    fn overlap_by_hand() {
        let a = BoundingBox::new(0.0, 0.0, 10.0, 10.0);
        assert!((a.iou(&BoundingBox::new(5.0, 0.0, 15.0, 10.0)) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(a.iou(&BoundingBox::new(10.0, 0.0, 20.0, 10.0)), 0.0);
        assert_eq!(BoundingBox::default().iou(&BoundingBox::default()), 0.0);
    }

    #[test]
    fn a_score_without_number_beats_nothing() {
        let one = BoundingBox::new(0.0, 0.0, 10.0, 10.0);
        assert_eq!(nms(&[one, one], &[f32::NAN, 0.1], &[0, 0], 0.5), [1]);
        assert_eq!(nms(&[one, one], &[0.2, 0.2], &[0, 0], 0.5), [0]);
        assert_eq!(nms(&[one, one], &[0.2, 0.3], &[0, 1], 0.5), [1, 0]);
    }

    #[test]
    fn growth_is_held_back() {
        let coder = BoxCoder { weights: [1.0; 4] };
        let one = BoundingBox::new(0.0, 0.0, 1.0, 1.0);
        let grown = coder.decode(&one, [0.0, 0.0, 50.0, 0.0]);
        assert!((grown.width() - 62.5).abs() < 1e-3 && (grown.height() - 1.0).abs() < 1e-6, "{grown:?}");
    }

    proptest! {
        #[test]
        fn decoding_undoes_coding(reference in any_box(), target in any_box()) {
            let coder = BoxCoder { weights: [10.0, 10.0, 5.0, 5.0] };
            let back = coder.decode(&reference, coder.encode(&reference, &target));
            for (a, b) in [(back.x1, target.x1), (back.y1, target.y1), (back.x2, target.x2), (back.y2, target.y2)] {
                prop_assert!((a - b).abs() < 0.02, "{back:?} {target:?}");
            }
        }

        #[test]
        fn what_is_kept_does_not_overlap(boxes in proptest::collection::vec(any_box(), 0..40)) {
            let scores: Vec<f32> = (0..boxes.len()).map(|i| ((i * 37) % 11) as f32).collect();
            let kept = nms(&boxes, &scores, &vec![0; boxes.len()], 0.3);
            for (place, a) in kept.iter().enumerate() {
                prop_assert!(kept[..place].iter().all(|b| boxes[*a].iou(&boxes[*b]) <= 0.3));
            }
            prop_assert!(kept.windows(2).all(|pair| scores[pair[0]] >= scores[pair[1]]));
        }
    }
}
