//! `bifocal`: opens the window, or runs a subcommand without one.

use std::process::ExitCode;

fn main() -> ExitCode {
    bifocal_app::cli::main()
}
