//! What building and testing need, brought step by step.
//!
//! Each step looks first and does nothing where its thing is there already, so that the whole can
//! run before every task. Building needs no root; only Debian packages do.

mod apt_sources;
mod bpf_linker;
mod cargo_deny;
mod components;
mod debian;
mod go;
mod lock;
mod program;
mod rust_src;

use anyhow::{Context, Result};

use crate::workspace::Workspace;

/// `cargo xtask setup`.
pub(crate) fn everything(workspace: &Workspace) -> Result<()> {
    style(workspace)?;
    toolchain(workspace)?;
    checker(workspace)?;
    debian::install_missing()?;
    compiler_of_the_cluster(workspace)?;
    eprintln!("setup: everything is there");
    Ok(())
}

/// The part that compiling the kernel programs needs. Silent where nothing is missing.
pub(crate) fn toolchain(workspace: &Workspace) -> Result<()> {
    let _lock = lock::tools(workspace)?;
    rust_src::bring(workspace).context("setup, step rust-src (the source of `core`)")?;
    bpf_linker::bring(workspace).context("setup, step bpf-linker")
}

/// The part that tests with real traffic need.
pub(crate) fn packages() -> Result<()> {
    debian::install_missing()
}

/// The part that `cargo xtask ci` needs beside the others.
pub(crate) fn checker(workspace: &Workspace) -> Result<()> {
    let _lock = lock::tools(workspace)?;
    cargo_deny::bring(workspace).context("setup, step cargo-deny")
}

/// What the cluster tests need and nobody can bring.
pub(crate) fn compiler_of_the_cluster(workspace: &Workspace) -> Result<()> {
    go::check(workspace).context("setup, step Go")
}

/// Formatter and linter, which a minimal installation of Rust has not.
pub(crate) fn style(workspace: &Workspace) -> Result<()> {
    components::bring(workspace).context("setup, step rustfmt and clippy")
}
