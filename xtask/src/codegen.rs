//! `cargo xtask codegen`: files that are generated and committed, and the check that they are in step
//! with what they are generated from.

use anyhow::{Context, Result};

use crate::{
    build::{self, Profile, Role, Selection},
    command::run,
    workspace::Workspace,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Write,
    /// Fails where a file would change, and changes none.
    Check,
}

/// Programs that write below the root of the checkout, and with `--check` compare only.
const GENERATORS: &[&str] = &["crdgen"];

pub(crate) fn run_generators(workspace: &Workspace, mode: Mode) -> Result<()> {
    let programs = build::programs(workspace, &Selection::Product, Profile::Dev)?;
    for name in GENERATORS {
        let program = programs
            .iter()
            .find(|program| program.role == Role::Program && program.target == *name)
            .with_context(|| format!("there is no program {name}"))?;
        let mut command = workspace.command(&program.path);
        if mode == Mode::Check {
            command.arg("--check");
        }
        run(&mut command)
            .with_context(|| format!("`cargo xtask codegen` writes what {name} generates anew"))?;
    }
    Ok(())
}
