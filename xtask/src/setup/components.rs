//! The formatter and the linter of the pinned compiler.
//!
//! They are not listed in `rust-toolchain.toml`: there, every cargo call would fail on a machine
//! where rustup cannot download, even those that need neither.

use anyhow::{Context, Result};

use crate::{command::run_quietly, workspace::Workspace};

/// Subcommand of cargo, and the component that has it.
const COMPONENTS: &[(&str, &str)] = &[("fmt", "rustfmt"), ("clippy", "clippy")];

/// Adds what is missing.
pub(crate) fn bring(workspace: &Workspace) -> Result<()> {
    for (subcommand, component) in COMPONENTS {
        if run_quietly(workspace.cargo().args([subcommand, "--version"])).is_ok() {
            continue;
        }
        eprintln!("setup: {component} by rustup");
        run_quietly(
            workspace
                .command("rustup")
                .args(["component", "add", component]),
        )
        .with_context(|| {
            format!("`cargo {subcommand}` is missing; `rustup component add {component}` brings it")
        })?;
    }
    Ok(())
}
