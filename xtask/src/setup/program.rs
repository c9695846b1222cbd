//! Programs that cargo builds from a pinned release into the tools folder.

use std::{
    ffi::OsString,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{command::run, workspace::Workspace};

/// A program to be built, and how.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(&'static str, OsString)>,
}

impl Program {
    /// Whether it is there, starts, and is of the pinned version.
    pub(super) fn is_there(&self, workspace: &Workspace) -> bool {
        answers(&workspace.tool(self.name), self.version)
    }

    pub(super) fn build(&self, workspace: &Workspace) -> Result<()> {
        let folder = workspace.tools().join("build").join(self.name);
        run(workspace
            .cargo()
            .args(["install", self.name, "--version", self.version])
            .args(["--locked", "--force"])
            .args(&self.arguments)
            .arg("--root")
            .arg(workspace.tools())
            .arg("--target-dir")
            .arg(&folder)
            // Flags of the caller are meant for our own crates.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .envs(self.environment.iter().map(|(name, value)| (name, value))))?;
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
        if !self.is_there(workspace) {
            bail!(
                "{} was built but does not run; start it by hand to see why",
                workspace.tool(self.name).display()
            );
        }
        Ok(())
    }
}

fn answers(program: &Path, version: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stderr(Stdio::null())
        .output()
        .is_ok_and(|output| {
            output.status.success()
                && String::from_utf8_lossy(&output.stdout)
                    .split_whitespace()
                    .any(|word| word == version)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_another_version_or_none_does_not_answer() {
        assert!(answers(Path::new("cargo"), "cargo"));
        assert!(!answers(Path::new("cargo"), "0.0.0-none"));
        assert!(!answers(Path::new("bulkhead-no-such-program"), "1"));
    }
}
