//! `bpf-linker`, built against the LLVM that the pinned compiler carries.
//!
//! The two must be of one LLVM version, or the linker cannot read what the compiler wrote; taking
//! the compiler's own library makes that true, and needs no LLVM on the machine.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::program::Program;
use crate::workspace::Workspace;

/// Builds the linker into the tools folder, unless one of that version runs there.
pub(crate) fn bring(workspace: &Workspace) -> Result<()> {
    let mut program = program();
    if program.is_there(workspace) {
        return Ok(());
    }
    eprintln!(
        "setup: building bpf-linker {} against the compiler's LLVM (about a minute)",
        program.version
    );

    let libraries = workspace.sysroot()?.join("lib");
    let llvm = Llvm::find(&libraries)?;
    let prefix = workspace.tools().join("llvm");
    let link = prefix.join("lib").join("libLLVM.so");
    fs::create_dir_all(prefix.join("lib"))
        .with_context(|| format!("cannot make folder {}", prefix.display()))?;
    // The link may point into a compiler that is gone.
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
    }
    symlink(&llvm.library, &link).with_context(|| format!("cannot link {}", link.display()))?;

    program
        .arguments
        .extend(["--features".to_owned(), format!("llvm-{}", llvm.major)]);
    program.environment = vec![
        ("LLVM_PREFIX", prefix.into_os_string()),
        (
            "CARGO_ENCODED_RUSTFLAGS",
            format!("-Clink-arg=-Wl,-rpath,{}", libraries.display()).into(),
        ),
    ];
    program.build(workspace)
}

fn program() -> Program {
    Program {
        name: "bpf-linker",
        version: "0.13.0",
        arguments: vec!["--no-default-features".to_owned()],
        environment: Vec::new(),
    }
}

/// The LLVM library that belongs to a compiler.
#[derive(Debug, PartialEq, Eq)]
struct Llvm {
    library: PathBuf,
    major: u32,
}

impl Llvm {
    fn find(folder: &Path) -> Result<Self> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| {
            format!(
                "cannot list the compiler's libraries in {}",
                folder.display()
            )
        })? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        let (name, major) = pick(&names).with_context(|| {
            format!(
                "no `libLLVM.so.<version>` in {}: this compiler is linked with LLVM statically; \
                 take the toolchain that rust-toolchain.toml names from rustup",
                folder.display()
            )
        })?;
        Ok(Self {
            library: folder.join(name),
            major,
        })
    }
}

/// Of the names in a compiler's library folder, LLVM's and its major version.
fn pick(names: &[String]) -> Option<(&str, u32)> {
    names.iter().find_map(|name| {
        let version = name.strip_prefix("libLLVM.so.")?;
        let major = version.split(['.', '-']).next()?.parse().ok()?;
        Some((name.as_str(), major))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_real_library_is_picked_not_the_linker_script_beside_it() {
        let list = names(&[
            "libLLVM-22-rust-1.95.0-stable.so",
            "libLLVM.so.22.1-rust-1.95.0-stable",
            "librustc_driver-0.so",
        ]);
        assert_eq!(
            pick(&list),
            Some(("libLLVM.so.22.1-rust-1.95.0-stable", 22))
        );
    }

    #[test]
    fn a_compiler_without_a_shared_llvm_is_refused() {
        assert_eq!(pick(&names(&["librustc_driver-0.so"])), None);
    }
}
