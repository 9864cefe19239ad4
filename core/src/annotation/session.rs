//! The one undoable document of a reading, and its edits.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::analysis::FindingId;
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
}

/// A change of a [`Session`]. Every change goes through [`Session::apply`], so that none can opt out of undo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
        }
    }

    /// The review of a finding; open where there is none.
    pub fn review(&self, instance: &InstanceKey, frame: usize, finding: FindingId) -> Review {
        self.reviews.get(&(instance.clone(), frame, finding)).cloned().unwrap_or_default()
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
