//! Where the transformer looks, and what of it falls on organs.
//!
//! Attention shows where information was gathered from, not where a lesion is: it is no evidence of localisation.

mod organs;
mod rollout;

pub use organs::{coverage, organ_attention};
pub use rollout::{attention_rollout, gradient_relevance};
