//! Progress of long work on the terminal.

use std::sync::Mutex;

use bifocal_core::task::Task;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A task that draws a bar on standard error; silent where that is not a terminal.
pub(super) fn task() -> Task {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    let bar = Mutex::new(bar);
    Task::with_listener(move |progress| {
        if let Ok(bar) = bar.lock() {
            bar.set_message(progress.stage);
            bar.set_length(progress.total);
            bar.set_position(progress.done);
        }
    })
}
