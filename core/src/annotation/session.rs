//! The one undoable document of a reading, and its edits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Shape, ShapeId};
use crate::analysis::FindingId;
use crate::measure::{Runs, Spacing};
use crate::study::{InstanceKey, SeriesUid};

/// What the reader thinks of a finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Not looked at yet.
    #[default]
    Open,
    /// Confirmed by the reader.
    Accepted,
    /// Rejected by the reader; stays visible, struck through.
    Rejected,
}

/// The reader's word on one finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Accepted, rejected or open.
    pub decision: Decision,
    /// Free text.
    pub comment: String,
}

/// A reading of one series: everything the reader added. It belongs to the weights and the frame that it names, since
/// finding numbers mean nothing for others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// The series that is read.
    pub series_uid: SeriesUid,
    /// SHA-256 of the weights whose findings are reviewed.
    pub weights_sha256: String,
    /// Reviews by (instance, frame, finding); absent means open and without comment.
    #[serde(with = "review_list")]
    pub reviews: BTreeMap<(InstanceKey, usize, FindingId), Review>,
    /// Frames picked for the report: (instance, frame).
    pub key_images: BTreeSet<(InstanceKey, usize)>,
    /// Impression text of the report.
    pub impression: String,
    /// What was drawn.
    #[serde(with = "rows", default)]
    pub shapes: BTreeMap<ShapeId, Shape>,
    /// What was painted, by frame and label.
    #[serde(with = "rows", default)]
    pub masks: BTreeMap<MaskKey, Runs>,
    /// Spacing by the reader's hand, by instance.
    #[serde(with = "rows", default)]
    pub calibrations: BTreeMap<InstanceKey, Spacing>,
}

/// Names a painted region: one frame, one label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MaskKey {
    /// The instance.
    pub instance: InstanceKey,
    /// The frame, from 0.
    pub frame: usize,
    /// Key of the label in the taxonomy.
    pub label: String,
}

/// A change of a [`Session`]. Every change goes through [`Session::apply`], so that none can opt out of undo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case")]
pub enum Edit {
    /// Replaces the review of a finding.
    SetReview {
        /// The instance that holds it.
        instance: InstanceKey,
        /// The frame, from 0.
        frame: usize,
        /// The finding.
        finding: FindingId,
        /// Its new review.
        review: Review,
    },
    /// Adds a frame to the key images, or takes it out.
    SetKeyImage {
        /// The instance.
        instance: InstanceKey,
        /// The frame, from 0.
        frame: usize,
        /// Whether it is a key image from now on.
        key: bool,
    },
    /// Replaces the impression text.
    SetImpression {
        /// The new text.
        text: String,
    },
    /// Draws a shape, changes it, or takes it away.
    SetShape {
        /// Which one.
        id: ShapeId,
        /// The shape from now on; `None` takes it away.
        shape: Option<Box<Shape>>,
    },
    /// Paints and erases pixels: one stroke.
    Paint {
        /// The region.
        #[serde(flatten)]
        mask: MaskKey,
        /// Pixels that belong to it from now on.
        add: Runs,
        /// Pixels that no longer do.
        remove: Runs,
    },
    /// Sets or takes away the spacing that was calibrated by hand.
    Calibrate {
        /// The instance.
        instance: InstanceKey,
        /// The spacing from now on; `None` goes back to the file's.
        spacing: Option<Spacing>,
    },
    /// Several changes that are undone as one.
    All {
        /// In this order.
        edits: Vec<Edit>,
    },
}

impl Edit {
    /// Whether `self`, undone by `inverse`, changed nothing.
    pub(super) fn was_nothing(&self, inverse: &Self) -> bool {
        match (self, inverse) {
            (_, Self::Paint { add, remove, .. }) => add.is_empty() && remove.is_empty(),
            (Self::All { edits }, Self::All { edits: inverses }) => {
                edits.iter().zip(inverses.iter().rev()).all(|(edit, inverse)| edit.was_nothing(inverse))
            }
            _ => self == inverse,
        }
    }
}

impl Session {
    /// An empty reading.
    pub fn new(series_uid: SeriesUid, weights_sha256: String) -> Self {
        Self {
            series_uid,
            weights_sha256,
            reviews: BTreeMap::new(),
            key_images: BTreeSet::new(),
            impression: String::new(),
            shapes: BTreeMap::new(),
            masks: BTreeMap::new(),
            calibrations: BTreeMap::new(),
        }
    }

    /// An id that no shape has.
    pub fn free_shape_id(&self) -> ShapeId {
        ShapeId(self.shapes.keys().next_back().map_or(1, |last| last.0.saturating_add(1)))
    }

    /// Shapes of one frame, in the order of their ids.
    pub fn shapes_on<'a>(
        &'a self,
        instance: &'a InstanceKey,
        frame: usize,
    ) -> impl Iterator<Item = (ShapeId, &'a Shape)> {
        let here = move |shape: &Shape| shape.instance == *instance && shape.frame == frame;
        self.shapes.iter().filter(move |(_, shape)| here(shape)).map(|(id, shape)| (*id, shape))
    }

    /// Painted regions of one frame: label and pixels.
    pub fn masks_on<'a>(
        &'a self,
        instance: &'a InstanceKey,
        frame: usize,
    ) -> impl Iterator<Item = (&'a str, &'a Runs)> {
        let here = move |key: &MaskKey| key.instance == *instance && key.frame == frame;
        self.masks.iter().filter(move |(key, _)| here(key)).map(|(key, runs)| (key.label.as_str(), runs))
    }

    /// The review of a finding; open where there is none.
    pub fn review(&self, instance: &InstanceKey, frame: usize, finding: FindingId) -> Review {
        self.reviews.get(&(instance.clone(), frame, finding)).cloned().unwrap_or_default()
    }

    /// How many shapes and painted regions have each label.
    pub fn label_counts(&self) -> BTreeMap<&str, usize> {
        let shapes = self.shapes.values().filter_map(|shape| shape.label.as_deref());
        let mut counts = BTreeMap::new();
        for label in shapes.chain(self.masks.keys().map(|mask| mask.label.as_str())) {
            *counts.entry(label).or_default() += 1;
        }
        counts
    }

    /// The edit that gives what has one label another one; paint joins what that one has already.
    pub fn relabel(&self, from: &str, to: &str) -> Edit {
        let shapes = self.shapes.iter().filter(|(_, shape)| shape.label.as_deref() == Some(from));
        let mut edits: Vec<Edit> = shapes
            .map(|(id, shape)| {
                let shape = Shape { label: Some(to.to_owned()), ..shape.clone() };
                Edit::SetShape { id: *id, shape: Some(Box::new(shape)) }
            })
            .collect();
        for (mask, pixels) in self.masks.iter().filter(|(mask, _)| mask.label == from) {
            let joined = MaskKey { label: to.to_owned(), ..mask.clone() };
            edits.push(Edit::Paint { mask: joined, add: pixels.clone(), remove: Runs::default() });
            edits.push(Edit::Paint { mask: mask.clone(), add: Runs::default(), remove: pixels.clone() });
        }
        Edit::All { edits }
    }

    /// Applies `edit` and returns the edit that takes it back.
    pub fn apply(&mut self, edit: Edit) -> Edit {
        match edit {
            Edit::SetReview { instance, frame, finding, review } => {
                let key = (instance.clone(), frame, finding);
                let before = if review == Review::default() {
                    self.reviews.remove(&key)
                } else {
                    self.reviews.insert(key, review)
                };
                Edit::SetReview { instance, frame, finding, review: before.unwrap_or_default() }
            }
            Edit::SetKeyImage { instance, frame, key } => {
                let item = (instance.clone(), frame);
                let before = if key { !self.key_images.insert(item) } else { self.key_images.remove(&item) };
                Edit::SetKeyImage { instance, frame, key: before }
            }
            Edit::SetImpression { text } => Edit::SetImpression { text: std::mem::replace(&mut self.impression, text) },
            Edit::SetShape { id, shape } => {
                let before = match shape {
                    Some(shape) => self.shapes.insert(id, *shape),
                    None => self.shapes.remove(&id),
                };
                Edit::SetShape { id, shape: before.map(Box::new) }
            }
            Edit::Paint { mask, add, remove } => {
                let before = self.masks.remove(&mask).unwrap_or_default();
                let after = before.union(&add).difference(&remove);
                let (added, removed) = (after.difference(&before), before.difference(&after));
                if !after.is_empty() {
                    self.masks.insert(mask.clone(), after);
                }
                Edit::Paint { mask, add: removed, remove: added }
            }
            Edit::Calibrate { instance, spacing } => {
                let before = match spacing {
                    Some(spacing) => self.calibrations.insert(instance.clone(), spacing),
                    None => self.calibrations.remove(&instance),
                };
                Edit::Calibrate { instance, spacing: before }
            }
            Edit::All { edits } => {
                let mut inverses: Vec<Edit> = Vec::with_capacity(edits.len());
                for edit in edits {
                    inverses.push(self.apply(edit));
                }
                inverses.reverse();
                Edit::All { edits: inverses }
            }
        }
    }
}

/// JSON has no tuple keys: reviews are stored as a list.
mod review_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{FindingId, InstanceKey, Review};

    type Reviews = BTreeMap<(InstanceKey, usize, FindingId), Review>;

    #[derive(Serialize, Deserialize)]
    struct Row {
        instance: InstanceKey,
        frame: usize,
        finding: FindingId,
        #[serde(flatten)]
        review: Review,
    }

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<(InstanceKey, usize, FindingId), Review>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let row = |((instance, frame, finding), review): (&(InstanceKey, usize, FindingId), &Review)| Row {
            instance: instance.clone(),
            frame: *frame,
            finding: *finding,
            review: review.clone(),
        };
        serializer.collect_seq(map.iter().map(row))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Reviews, D::Error> {
        let rows = Vec::<Row>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| ((row.instance, row.frame, row.finding), row.review)).collect())
    }
}

/// JSON has no keys but text: maps by other keys are stored as lists of rows.
mod rows {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Row<K, V> {
        key: K,
        value: V,
    }

    pub(super) fn serialize<S: Serializer, K: Serialize, V: Serialize>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map.iter().map(|(key, value)| Row { key, value }))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, K: Deserialize<'de> + Ord, V: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        let rows = Vec::<Row<K, V>>::deserialize(deserializer)?;
        Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::ShapeKind;
    use crate::study::DisplayAttributes;

    #[test]
    fn what_has_a_label_is_given_another_one_in_one_step() {
        let mut session = Session::new(SeriesUid("1".into()), String::new());
        let instance = InstanceKey("1.2".into());
        let points = [(1.0, 1.0), (5.0, 5.0)];
        for (id, label) in [(1, Some("nodule")), (2, Some("mass")), (3, None)] {
            let shape = Shape::new(ShapeKind::Length, instance.clone(), 0, &points, &DisplayAttributes::default());
            let shape = Some(Box::new(Shape { label: label.map(str::to_owned), ..shape }));
            session.apply(Edit::SetShape { id: ShapeId(id), shape });
        }
        for (frame, label, run) in [(0, "nodule", (10, 20)), (0, "mass", (15, 30)), (1, "nodule", (0, 5))] {
            let mask = MaskKey { instance: instance.clone(), frame, label: label.to_owned() };
            session.apply(Edit::Paint { mask, add: Runs::new(vec![run]), remove: Runs::default() });
        }
        let before = session.clone();
        assert_eq!(session.label_counts(), BTreeMap::from([("mass", 2), ("nodule", 3)]));
        let back = session.apply(session.relabel("nodule", "mass"));
        assert_eq!(session.label_counts(), BTreeMap::from([("mass", 4)]));
        let on = |frame| session.masks_on(&instance, frame).map(|(_, runs)| runs.count()).collect::<Vec<_>>();
        let union = Runs::new(vec![(10, 20)]).union(&Runs::new(vec![(15, 30)])).count();
        assert_eq!(
            (on(0), on(1)),
            (vec![union], vec![before.masks_on(&instance, 1).map(|(_, runs)| runs.count()).sum()])
        );
        session.apply(back);
        assert_eq!(session, before);
    }
}
