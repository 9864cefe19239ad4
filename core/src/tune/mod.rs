//! Fine-tuning on a project: its cases teach a bundle, and the new bundle is compared with the old one on patients that were held out.
//!
//! [`candidates`] lists what a reader has read, [`plan`] chooses cases and splits patients three ways, [`tune`] does the rest:
//!
//! - **training** patients are learned from;
//! - **validation** patients say when to stop and which weights are kept;
//! - **held-out** patients are only compared on. Their images are written into a data set of their own, which training is never given.
//!
//! Images are only read.

mod card;
mod cases;
mod labels;
mod pictures;
mod run;

use std::path::PathBuf;

pub use cases::{Candidate, Choice, Counts, Plan, Side, candidates, plan};
pub use labels::{Labels, suggest};
pub use run::{TuneOptions, Tuned, tune};

use crate::evaluate::EvaluateError;
use crate::model::BundleError;
use crate::project::ProjectError;
use crate::task::Cancelled;
use crate::train::TrainError;

/// Why there is no new bundle.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TuneError {
    /// The cases cannot teach; the text says which and how many there are.
    #[error("{0}")]
    Cases(String),
    #[error("{folder}: {cause}")]
    Folder { folder: PathBuf, cause: String },
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl TuneError {
    /// Whether the user stopped it, at whatever step.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Cancelled(_)
                | Self::Project(ProjectError::Cancelled(_))
                | Self::Train(TrainError::Cancelled(_))
                | Self::Evaluate(EvaluateError::Cancelled(_))
        )
    }
}
