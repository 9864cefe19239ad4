//! Bifocal's application: the window and the command line, over [`bifocal_core`].
//!
//! | module | what is in it |
//! |---|---|
//! | [`cli`] | subcommands |
//! | [`launch`] | opens the window, or says why not |
//! | [`app`] | state and frame loop; `perform` carries commands out |
//! | [`state`] | everything that is shown |
//! | [`command`] | what panels ask for, drained last in the frame |
//! | [`document`] | reviews, key images and impression of a reading, undoable and saved |
//! | [`drawing`] | gestures that draw, bend and paint; `shape_commands` carries them out |
//! | [`proposal`], [`mask_commands`] | masks on offer before they are taken; changes of painted regions as a whole |
//! | [`smart`] | strokes and local features of the smart tool |
//! | [`labels`], [`label_editor`], [`measured`] | files of labels; their editor; what shapes measure, remembered |
//! | [`keymap`], [`keys`] | actions, their keys, words and icons; changing keys |
//! | [`view`] | slice, window, zoom and pan, shared by both lenses |
//! | [`desk`] | layouts: lenses, planes, grids of viewports, and what links them |
//! | [`layouts`] | layouts that are kept by name |
//! | [`planes`] | three planes through a volume; [`reformat`] makes their pictures |
//! | [`linked`] | where slices cross, which slice lies at a place |
//! | [`images`] | decoded frames, textures, thumbnails |
//! | [`network`] | the bundle in use and the analysis job |
//! | [`reader`] | decisions, comments, key images: the undoable session |
//! | [`report`] | pages for the preview, files |
//! | [`overlays`] | heat maps and attention on the graphics card |
//! | [`fusion`] | another series over the one that is read |
//! | [`probe`] | where one token looks |
//! | [`project`] | projects: made, opened, changed; their readers and panels |
//! | [`work`] | the work list: states, filter, next and previous |
//! | [`compare`], [`history`], [`exchange`] | two readers side by side; who changed what and when; export and import |
//! | [`jobs`] | long work on threads |
//! | [`listing`] | which studies and series the list shows, in which order |
//! | [`io`] | the seam to the library's readers |
//! | [`settings`] | what is remembered |
//! | [`theme`] | design tokens |
//! | [`ui`] | the panels |

pub mod ahead;
#[cfg(test)]
mod analysis_fixture;
pub mod app;
pub mod cli;
pub mod command;
pub mod compare;
pub mod desk;
pub mod document;
pub mod drawing;
pub mod drive;
pub mod exchange;
pub mod explain;
#[cfg(test)]
mod explain_tests;
mod follow;
pub mod fusion;
pub mod header;
pub mod history;
pub mod images;
pub mod io;
pub mod jobs;
pub mod keymap;
pub mod keys;
#[cfg(test)]
mod kill_tests;
pub mod label_editor;
pub mod labels;
pub mod launch;
pub mod layouts;
#[cfg(test)]
mod lens_tests;
pub mod linked;
pub mod listing;
pub mod mask_commands;
pub mod measured;
pub mod memory;
pub mod network;
pub mod overlays;
mod perform;
pub mod picture;
pub mod planes;
pub mod probe;
pub mod project;
pub mod proposal;
pub mod reader;
pub mod reading_order;
pub mod reformat;
pub mod report;
pub mod settings;
pub mod shape_commands;
pub mod smart;
pub mod state;
pub mod theme;
pub mod tuning;
pub mod ui;
pub mod view;
pub mod volumes;
pub mod work;
