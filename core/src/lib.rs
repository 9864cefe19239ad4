//! Bifocal's library: from a folder of medical images to findings, maps and a report.
//!
//! Data flows one way, and so do the dependencies between the rooms (`core/tests/architecture.rs` checks them):
//!
//! ```text
//! folder -> dicom::index -> study -> dicom::pixels -> model::input -> model -> explain -> analysis -> render -> report
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | [`task`] | progress and cancellation, taken by every long function |
//! | [`study`] | patient, study, series, instance, frame, geometry, window: plain data, no input or output |
//! | [`dicom`] | the only room that knows DICOM files: index, pixels, writing |
//! | [`volume`] | a series as one lattice of voxels, planes and slabs cut out of it |
//! | [`image_io`] | PNG and JPEG into the same types |
//! | [`render`] | frame + window + overlays to RGBA; shared by screen, report and tests |
//! | [`nn`] | layers and kernels, each with its gradient |
//! | [`measure`] | lengths, angles, areas, statistics, profiles, pixel sets |
//! | [`segment`] | regions that grow, are filled, smoothed, interpolated between slices |
//! | [`model`] | ResNet, ViT, the ways to join them, heads, bundles |
//! | [`explain`] | class activation maps, rollout, relevance, organ shares |
//! | [`analysis`] | frame + bundle to findings and maps |
//! | [`annotation`] | reviews of a session, as invertible edits; autosave |
//! | [`project`] | many studies, several readers; what leaves for other programs and comes from them |
//! | [`dataset`] | COCO data sets, splits by patient, augmentation |
//! | [`train`] | training runs from a configuration file |
//! | [`tune`] | a bundle fine-tuned on the cases of a project, and compared with the one before |
//! | [`evaluate`] | metrics with intervals, and the page that shows them |
//! | [`mod@bench`] | how long a bundle's network takes |
//! | [`phantom`] | a simulated thorax with known truth |
//! | [`report`] | PDF and JSON |

pub mod analysis;
pub mod annotation;
pub mod bench;
pub mod dataset;
pub mod dicom;
pub mod evaluate;
pub mod experiment;
pub mod explain;
pub mod image_io;
pub mod measure;
pub mod model;
pub mod nn;
pub mod phantom;
pub mod project;
pub mod render;
pub mod report;
pub mod segment;
pub mod study;
pub mod task;
pub mod train;
pub mod tune;
pub mod volume;
