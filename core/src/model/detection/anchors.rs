//! Reference boxes: some shapes about the middle of every pixel of a level.

use crate::nn::BoundingBox;

/// Anchors of one level of `rows` x `columns` at `stride`, by row, column and aspect ratio (height / width); all have the area of a square
/// of side `size`.
pub(super) fn anchors(rows: usize, columns: usize, stride: usize, size: f32, ratios: &[f32]) -> Vec<BoundingBox> {
    let mut anchors = Vec::with_capacity(rows * columns * ratios.len());
    for row in 0..rows {
        for column in 0..columns {
            let middle = |index: usize| (index as f32 + 0.5) * stride as f32;
            let (x, y) = (middle(column), middle(row));
            anchors.extend(ratios.iter().map(|ratio| {
                let (width, height) = (size / ratio.sqrt(), size * ratio.sqrt());
                BoundingBox::new(x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0)
            }));
        }
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::anchors;

    #[test]
    fn they_are_centred_on_their_pixels_and_of_equal_area() {
        let all = anchors(2, 3, 8, 16.0, &[0.25, 1.0, 4.0]);
        assert_eq!(all.len(), 18);
        assert!(all.iter().all(|anchor| (anchor.area() - 256.0).abs() < 1e-2));
        // Row 1, column 2, ratio 4: twice as high and half as wide as the square.
        let last = all[17];
        assert_eq!((last.centre(), last.height(), last.width()), ((20.0, 12.0), 32.0, 8.0));
    }
}
