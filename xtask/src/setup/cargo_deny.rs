//! `cargo deny`: licences, forbidden crates and sources of everything we stand on.

use anyhow::Result;

use super::program::Program;
use crate::workspace::Workspace;

/// Builds it into the tools folder, unless it is there.
pub(crate) fn bring(workspace: &Workspace) -> Result<()> {
    let program = program();
    if program.is_there(workspace) {
        return Ok(());
    }
    eprintln!(
        "setup: building cargo-deny {} (a minute and a half)",
        program.version
    );
    program.build(workspace)
}

/// It runs for a second at a time: building it quickly beats a quick program.
fn program() -> Program {
    let cheap = [
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "64"),
        ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ];
    Program {
        name: "cargo-deny",
        version: "0.20.2",
        arguments: Vec::new(),
        environment: cheap
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect(),
    }
}
