//! What the tests of the window share.

use std::time::{Duration, Instant};

use bifocal_app::app::App;
use egui_kittest::Harness;

/// Draws frames until `done`, for at most a minute.
///
/// # Panics
/// Where `what` did not happen by then.
pub fn until(harness: &mut Harness<'_, App>, what: &str, done: impl Fn(&App) -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        harness.step();
        if done(harness.state()) {
            // Once to measure what is new, once to show it, once for what follows from that.
            harness.run_steps(3);
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} did not happen within a minute");
}
