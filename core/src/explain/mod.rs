//! Why the network answers as it does: what in a ResNet stage speaks for a class, where the transformer looks, and what of it falls on
//! organs.
//!
//! Attention shows where information was gathered from, not where a lesion is: it is no evidence of localisation.

mod cam;
mod faithfulness;
mod organs;
mod random;
mod rollout;

pub use cam::{CamMethod, CamTarget, StageEvidence, min_max, share_of_maximum};
pub use faithfulness::{
    CELLS, Curves, Faithfulness, Occlusion, RANDOM_MAPS, RandomRange, RandomScores, Verdict, Warning, faithfulness,
    rank_correlation, smoothness_of,
};
pub use organs::{coverage, organ_attention};
pub use rollout::{attention_rollout, gradient_relevance};
