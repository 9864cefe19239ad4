//! What shapes measure, remembered, since counting the pixels of a large region takes longer than a frame of the window may.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use bifocal_core::annotation::{Measured, Shape, ShapeId};
use bifocal_core::measure::{PixelScale, ScaleKind, Spacing, Unit};
use bifocal_core::study::{Frame, InstanceKey};

/// Shapes as they were last measured, by number and instance; `None` is the one being drawn.
#[derive(Default)]
pub struct MeasuredShapes(RefCell<HashMap<(Option<ShapeId>, InstanceKey), Known>>);

struct Known {
    shape: Shape,
    by_hand: Option<Spacing>,
    unit: Unit,
    measured: Arc<Measured>,
}

impl MeasuredShapes {
    /// Measures a shape on its frame, or remembers.
    pub fn of(
        &self,
        id: Option<ShapeId>,
        shape: &Shape,
        frame: &Frame,
        by_hand: Option<Spacing>,
        unit: Unit,
    ) -> Arc<Measured> {
        let mut kept = self.0.borrow_mut();
        if let Some(known) = kept.get(&(id, shape.instance.clone()))
            && known.shape == *shape
            && known.by_hand == by_hand
            && known.unit == unit
        {
            return Arc::clone(&known.measured);
        }
        let measured = Arc::new(Measured::of(shape, frame, by_hand, unit));
        if kept.len() > 4096 {
            kept.clear();
        }
        kept.insert(
            (id, shape.instance.clone()),
            Known { shape: shape.clone(), by_hand, unit, measured: Arc::clone(&measured) },
        );
        measured
    }

    /// What is known of a shape without its frame: what was measured before, else the sizes of points in the patient.
    pub fn known(&self, id: ShapeId, shape: &Shape, by_hand: Option<Spacing>) -> Option<Arc<Measured>> {
        let kept = self.0.borrow();
        if let Some(known) = kept
            .get(&(Some(id), shape.instance.clone()))
            .filter(|known| known.shape == *shape && known.by_hand == by_hand)
        {
            return Some(Arc::clone(&known.measured));
        }
        let scale = PixelScale { row: 1.0, column: 1.0, kind: ScaleKind::Patient };
        let in_patient = matches!(shape.points, bifocal_core::annotation::Points::Patient(_));
        in_patient.then(|| Arc::new(Measured::sizes_of(shape, scale)))
    }

    /// Another series has other shapes under the same numbers.
    pub fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}
