//! Metrics with intervals, and the page that shows them.
//!
//! An image counts for a class only if it is annotated for it ([`crate::dataset::ClassMap`]); intervals are 95 %, by bootstrap
//! over patients, because images of one patient are not independent.

mod arms;
mod bootstrap;
mod bundle;
mod calibration;
mod compare;
mod compare_page;
mod explained;
mod lesions;
mod metrics;
mod page;
mod picture;
mod plot;
mod predictor;
mod run;
mod volumes;

pub use arms::{ArmsRow, Estimate, compare_arms};
pub use bootstrap::{Interval, bootstrap_by_patient, percentile_interval};
pub use calibration::{Platt, fit_platt, fit_temperature};
pub use compare::{Comparison, ComparisonRow, LEAST_PATIENTS, Verdict, compare};
pub use compare_page::write_comparison;
pub use explained::{MapScores, SanityStep, explain, sanity};
pub use lesions::{TrueLesion, separate_lesions, true_lesions};
pub use metrics::{
    Candidate, FROC_RATES, FrocImage, ReliabilityBin, auroc, average_precision, box_average_precision, brier, dice,
    expected_calibration_error, froc_curve, froc_score, heat_map_peak, interpolate_curve, pointing_game,
    reliability_bins, roc_curve, sensitivity_at_specificity,
};
pub use page::{metric_name, write};
pub use predictor::{Classes, ImagePrediction, LesionPrediction, Predictor};
pub(crate) use run::frame_of;
pub use run::{EvaluateError, EvaluateOptions, Evaluation, Failure, LesionCurves, OrganScores, WorstCase, evaluate};
pub use volumes::{Measured, PhantomScans, ScanRow, VolumeEvaluation, evaluate_phantoms};
