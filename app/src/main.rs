//! `bifocal`: opens the window, or runs a subcommand without one.

use std::process::ExitCode;

fn main() -> ExitCode {
    one_pool();
    bifocal_app::cli::main()
}

/// Keeps candle's own threads away: they wait in busy loops beside those that our kernels use, and take a quarter of a training step.
fn one_pool() {
    const NAME: &str = "CANDLE_NUM_THREADS";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: no other thread has been started yet.
        #[allow(unsafe_code)]
        unsafe {
            std::env::set_var(NAME, "1");
        }
    }
}
