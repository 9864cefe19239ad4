//! Bifocal's application: the window and the command line, over [`bifocal_core`].

pub mod cli;
