//! Strokes of the brush.

use bifocal_core::annotation::{Edit, MaskKey};
use bifocal_core::measure::{Brush, Pixel, Runs};

use super::{Canvas, Drawing, Stroke};

impl Drawing {
    pub(super) fn paint_to(&mut self, at: Pixel, on: &Canvas<'_>) {
        let scale = on.scale();
        let brush = Brush { radius: self.brush.radius, pixel: (scale.row, scale.column), shape: on.frame.shape() };
        let Some(stroke) = &mut self.stroke else { return };
        let mut swept = brush.sweep(stroke.last, at);
        if let Some((low, high)) = self.brush.range.filter(|_| !stroke.erase) {
            let columns = on.frame.shape().1.max(1);
            swept = swept.filtered(|pixel| {
                let value = on.frame.value_at(pixel as usize / columns, pixel as usize % columns);
                value.is_some_and(|value| (low..=high).contains(&value))
            });
        }
        stroke.pixels = stroke.pixels.union(&swept);
        stroke.last = at;
    }

    /// The pixels of a painted region as they are to be shown, with the stroke under way.
    pub fn painted(&self, mask: &MaskKey, pixels: &Runs) -> Runs {
        match self.stroke.as_ref().filter(|stroke| stroke.mask == *mask) {
            Some(stroke) if stroke.erase => pixels.difference(&stroke.pixels),
            Some(stroke) => pixels.union(&stroke.pixels),
            None => pixels.clone(),
        }
    }
}

/// The edit of a stroke: only what it changes.
pub(super) fn edit_of(stroke: Stroke, on: &Canvas<'_>) -> Option<Edit> {
    let before = on.session.masks.get(&stroke.mask).cloned().unwrap_or_default();
    let (add, remove) = if stroke.erase {
        (Runs::default(), stroke.pixels.intersection(&before))
    } else {
        (stroke.pixels.difference(&before), Runs::default())
    };
    (!add.is_empty() || !remove.is_empty()).then_some(Edit::Paint { mask: stroke.mask, add, remove })
}
