//! Compiling the host crates, and learning from cargo what came out of it.
//!
//! All product and test crates are selected together even where one program is wanted: cargo unites
//! the features of what is selected, and another selection would compile shared dependencies again.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::workspace::Workspace;

/// What is compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Crates by name: quick where they stand on little.
    Crates(&'static [&'static str]),
    /// All crates that make or test the product. Not the kernel programs, which are compiled for
    /// another target, and not this one, which is running.
    Product,
}

impl Selection {
    pub(crate) fn arguments(&self) -> Vec<&'static str> {
        match self {
            Self::Crates(names) => names.iter().flat_map(|name| ["--package", name]).collect(),
            Self::Product => vec![
                "--workspace",
                "--exclude",
                "bulkhead-agent-ebpf",
                "--exclude",
                "xtask",
                // Optional for those who build on other desktops, but never untested.
                "--features",
                "bulkhead-cli/kernel",
            ],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// A program that cargo linked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Executable {
    /// The crate's folder in the workspace, such as `policy`.
    pub(crate) room: String,
    pub(crate) manifest_dir: PathBuf,
    /// The target's name: of a program, of a test file, or the library's.
    pub(crate) target: String,
    pub(crate) role: Role,
    pub(crate) path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// To be run by people, the demo and the tests.
    Program,
    /// Unit tests of a library or a program.
    UnitTests,
    /// A file below `tests/`.
    TestFile,
}

/// Compiles the programs of the selection.
pub(crate) fn programs(
    workspace: &Workspace,
    selection: &Selection,
    profile: Profile,
) -> Result<Vec<Executable>> {
    let mut cargo = workspace.cargo();
    cargo.arg("build").args(selection.arguments()).arg("--bins");
    if profile == Profile::Release {
        cargo.arg("--release");
    }
    compile(cargo)
}

/// Compiles the tests of the selection, and runs none.
pub(crate) fn tests(workspace: &Workspace, selection: &Selection) -> Result<Vec<Executable>> {
    let mut cargo = workspace.cargo();
    // `--tests` means unit tests, too. `--lib` beside it fails for a crate that is a program only.
    cargo
        .args(["test", "--no-run"])
        .args(selection.arguments())
        .arg("--tests");
    compile(cargo)
}

/// Runs a build, and says which programs came out of it.
pub(crate) fn compile(mut cargo: Command) -> Result<Vec<Executable>> {
    let mut child = cargo
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let stdout = child.stdout.take().context("cargo has no output")?;
    let mut executables = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cannot read what cargo prints")?;
        if let Ok(message) = serde_json::from_str(&line) {
            executables.extend(executable(&message));
        }
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() {
        bail!("the build failed; cargo's errors are above");
    }
    Ok(executables)
}

fn executable(message: &Value) -> Option<Executable> {
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let path = PathBuf::from(message["executable"].as_str()?);
    let manifest_dir = Path::new(message["manifest_path"].as_str()?).parent()?;
    let is_test = message["profile"]["test"].as_bool()?;
    let is_file = message["target"]["kind"]
        .as_array()?
        .iter()
        .any(|kind| kind == "test");
    Some(Executable {
        room: manifest_dir.file_name()?.to_str()?.to_owned(),
        manifest_dir: manifest_dir.to_path_buf(),
        target: message["target"]["name"].as_str()?.to_owned(),
        role: match (is_test, is_file) {
            (false, _) => Role::Program,
            (true, false) => Role::UnitTests,
            (true, true) => Role::TestFile,
        },
        path,
    })
}

/// The folder of the product's programs, for those that start them.
pub(crate) fn program_folder(executables: &[Executable]) -> Result<PathBuf> {
    executables
        .iter()
        .find(|executable| executable.role == Role::Program)
        .and_then(|executable| executable.path.parent())
        .map(Path::to_path_buf)
        .context("cargo built no program")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(kind: &str, test: bool, executable: &str) -> Value {
        serde_json::json!({
            "reason": "compiler-artifact",
            "manifest_path": "/x/policy/Cargo.toml",
            "target": {"name": "t", "kind": [kind]},
            "profile": {"test": test},
            "executable": (!executable.is_empty()).then_some(executable),
        })
    }

    #[test]
    fn the_role_of_an_executable_follows_from_what_cargo_says() {
        for (kind, test, role) in [
            ("bin", false, Role::Program),
            ("bin", true, Role::UnitTests),
            ("lib", true, Role::UnitTests),
            ("test", true, Role::TestFile),
        ] {
            let found = executable(&artifact(kind, test, "/x/target/t")).expect("it has a path");
            assert_eq!((found.role, found.room.as_str()), (role, "policy"));
        }
    }

    #[test]
    fn a_library_is_no_executable() {
        assert_eq!(executable(&artifact("lib", false, "")), None);
    }
}
