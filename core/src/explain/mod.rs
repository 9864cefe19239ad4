//! Why the network answers as it does: what in a ResNet stage speaks for a class, where the transformer looks, and what of it falls on
//! organs.
//!
//! Attention shows where information was gathered from, not where a lesion is: it is no evidence of localisation.

mod cam;
mod organs;
mod rollout;

pub use cam::{CamMethod, CamTarget, StageEvidence, min_max, share_of_maximum};
pub use organs::{coverage, organ_attention};
pub use rollout::{attention_rollout, gradient_relevance};
