//! Training runs from a configuration file: data, stages, optimiser, checkpoints, and the bundle at the end.
//!
//! Supervision is mixed: an image counts only for the classes that it is annotated for; boxes teach by their inscribed ellipse, and
//! their corners teach nothing; a detector learns from boxes as they are. Random numbers are drawn from (seed, step, image), so that a resumed run continues as if
//! it had not stopped.

mod auxiliary;
mod batch_loss;
mod checkpoint;
mod config;
mod curves;
mod data;
mod detection;
mod dry_run;
mod finish;
mod log;
mod loss;
mod optimizer;
mod run;

pub use config::{BundleText, DataConfig, LossConfig, SamplingConfig, StageConfig, TrainConfig};
pub use curves::{Curves, ticks};
pub use dry_run::{DryRun, StagePlan, dry_run};
pub use finish::{finish, tuned};
pub use log::{LogSplit, Report};
pub use run::{TrainError, TrainingStep, best_or_last, train, train_watched};
