//! `cargo xtask lint`: clippy on everything, warnings are errors.

use anyhow::{Context, Result};

use crate::{build::Selection, command::run, ebpf, setup, workspace::Workspace};

pub(crate) fn everything(workspace: &Workspace) -> Result<()> {
    setup::style(workspace)?;
    kernel_programs(workspace)?;
    host_crates(workspace)
}

/// As they are compiled for the kernel.
pub(crate) fn kernel_programs(workspace: &Workspace) -> Result<()> {
    run(ebpf::cargo(workspace, "clippy")?.args(["--", "-D", "warnings"]))
        .context("clippy on the kernel programs")
}

pub(crate) fn host_crates(workspace: &Workspace) -> Result<()> {
    for selection in [Selection::Product, Selection::Crates(&["xtask"])] {
        run(workspace
            .cargo()
            .arg("clippy")
            .args(selection.arguments())
            .args(["--all-targets", "--", "-D", "warnings"]))
        .context("clippy on the host crates")?;
    }
    Ok(())
}
