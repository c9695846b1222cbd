//! Where things lie: the folders of this checkout that every task writes to or reads from.
//!
//! Everything a task makes is below `target/`, so that `cargo clean` leaves nothing behind but what
//! `setup` brought: tools are kept once for all checkouts, in the user's cache.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::command::read;

/// One checkout of the project.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The checkout this program was started for: cargo names the manifest's folder when it runs
    /// us; started by hand, the folder it was compiled from counts.
    pub(crate) fn locate() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("the manifest of xtask has no parent folder")?
            .to_path_buf();
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// What `setup` brings; `tools()/bin` holds the programs. Below the user's cache, so that another
    /// checkout does not compile them again; each is asked for its version before it is used.
    pub(crate) fn tools(&self) -> PathBuf {
        let set = |name: &str| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        set("XDG_CACHE_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".cache")))
            .map_or_else(|| self.target(), |cache| cache.join("bulkhead"))
            .join("tools")
    }

    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.tools().join("bin").join(name)
    }

    /// The compiled kernel programs, as the agent and the tests load them.
    pub(crate) fn bpf_object(&self) -> PathBuf {
        self.target().join("bpf").join("bulkhead")
    }

    /// A command that runs in the checkout, so that the pinned toolchain is the one that answers.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// The cargo that runs us, in the checkout.
    pub(crate) fn cargo(&self) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.command(cargo);
        // They describe xtask itself, and would describe it to the build scripts below us as well.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        command
    }

    /// The folder of the compiler that `rust-toolchain.toml` pins.
    pub(crate) fn sysroot(&self) -> Result<PathBuf> {
        let printed = read(self.command("rustc").args(["--print", "sysroot"]))?;
        Ok(PathBuf::from(printed.trim()))
    }

    /// The release of that compiler, such as `1.95.0`.
    pub(crate) fn rust_release(&self) -> Result<String> {
        let printed = read(self.command("rustc").arg("-vV"))?;
        printed
            .lines()
            .find_map(|line| line.strip_prefix("release: "))
            .map(str::to_owned)
            .context("`rustc -vV` names no release")
    }
}
