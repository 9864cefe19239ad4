//! `bifocal evaluate`.

use std::process::ExitCode;

/// Arguments of `bifocal evaluate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

/// Runs the subcommand.
pub(super) fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
