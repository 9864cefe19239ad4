//! What was done to a reading, and when: told from its journal.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Decision, Edit, ShapeId, ShapeKind};
use crate::study::InstanceKey;

/// One step of a reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds since 1970, UTC; `None` for steps of programs that kept no time.
    pub at: Option<u64>,
    /// Whether it was done, taken back or done again.
    pub act: Act,
    /// What it changed, at least one thing.
    pub changes: Vec<Change>,
}

/// How a change came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// By an edit.
    Done,
    /// By undo.
    Undone,
    /// By redo.
    Redone,
}

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The image; `None` for what belongs to the whole series.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceKey>,
    /// Its frame, from 0.
    #[serde(default)]
    pub frame: usize,
    /// The shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<ShapeId>,
    /// Key of the label that it has now, or had where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What became of it.
    pub what: What,
}

/// What became of a thing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A shape is new.
    Drawn(ShapeKind),
    /// A shape was moved, bent or renamed.
    Changed(ShapeKind),
    /// A shape has another label than this one, or its first.
    Relabelled(ShapeKind, Option<String>),
    /// A shape is gone.
    Deleted(ShapeKind),
    /// So many pixels were painted and so many erased.
    Painted {
        /// That belong to the region now and did not.
        added: u64,
        /// That did and do not.
        removed: u64,
    },
    /// A finding was decided on, or commented.
    Reviewed(Decision),
    /// The image was picked for the report, or no longer.
    KeyImage(bool),
    /// The impression was written.
    Impression,
    /// The spacing was set by hand, or taken back.
    Calibrated(bool),
}

impl Event {
    /// Of an edit and the one that would take it back.
    pub(super) fn of(at: Option<u64>, act: Act, edit: &Edit, inverse: &Edit) -> Self {
        let mut changes = Vec::new();
        gather(edit, inverse, &mut changes);
        Self { at, act, changes }
    }
}

fn gather(edit: &Edit, inverse: &Edit, changes: &mut Vec<Change>) {
    let on = |instance: &InstanceKey, frame: usize, what| Change {
        instance: Some(instance.clone()),
        frame,
        shape: None,
        label: None,
        what,
    };
    match (edit, inverse) {
        (Edit::All { edits }, Edit::All { edits: inverses }) => {
            for (edit, inverse) in
                edits.iter().zip(inverses.iter().rev()).filter(|(edit, back)| !edit.was_nothing(back))
            {
                gather(edit, inverse, changes);
            }
        }
        (Edit::SetShape { id, shape: after }, Edit::SetShape { shape: before, .. }) => {
            let Some(shape) = after.as_ref().or(before.as_ref()) else { return };
            let what = match (before, after) {
                (None, _) => What::Drawn(shape.kind),
                (_, None) => What::Deleted(shape.kind),
                (Some(before), Some(after)) if before.label != after.label => {
                    What::Relabelled(shape.kind, before.label.clone())
                }
                _ => What::Changed(shape.kind),
            };
            let change = on(&shape.instance, shape.frame, what);
            changes.push(Change { shape: Some(*id), label: shape.label.clone(), ..change });
        }
        (Edit::Paint { mask, .. }, Edit::Paint { add, remove, .. }) => {
            let what = What::Painted { added: remove.count(), removed: add.count() };
            changes.push(Change { label: Some(mask.label.clone()), ..on(&mask.instance, mask.frame, what) });
        }
        (Edit::SetReview { instance, frame, review, .. }, _) => {
            changes.push(on(instance, *frame, What::Reviewed(review.decision)));
        }
        (Edit::SetKeyImage { instance, frame, key }, _) => changes.push(on(instance, *frame, What::KeyImage(*key))),
        (Edit::Calibrate { instance, spacing }, _) => {
            changes.push(on(instance, 0, What::Calibrated(spacing.is_some())));
        }
        (Edit::SetImpression { .. }, _) => {
            changes.push(Change { instance: None, frame: 0, shape: None, label: None, what: What::Impression });
        }
        // An edit and its inverse are of one kind.
        _ => {}
    }
}

/// Milliseconds since 1970, UTC.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
