//! The source of `core`, which has no compiled form for the BPF target.
//!
//! rustup brings it where rustup can download. Elsewhere Debian's package of the same release does:
//! it holds the same files, and is linked to where the compiler looks for them.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{
    command::run_quietly,
    setup::debian::{self, Download},
    workspace::Workspace,
};

/// The suite whose `rust-src` has the pinned release.
const SUITE: &str = "trixie-backports";

/// Makes `core` compilable with the pinned compiler, unless it is already.
pub(crate) fn bring(workspace: &Workspace) -> Result<()> {
    let place = workspace.sysroot()?.join("lib/rustlib/src/rust");
    if complete(&place) {
        return Ok(());
    }
    // Our own link from a checkout that is gone; rustup would refuse to write through it.
    if place.is_symlink() {
        fs::remove_file(&place)
            .with_context(|| format!("cannot remove the stale link {}", place.display()))?;
    }

    eprintln!("setup: rust-src by rustup");
    let by_rustup = run_quietly(
        workspace
            .command("rustup")
            .args(["component", "add", "rust-src"]),
    );
    let Err(rustup_error) = by_rustup else {
        return verify(&place);
    };
    eprintln!("setup: rustup cannot bring it; rust-src by Debian's package (45 MB)");
    by_debian(workspace, &place).with_context(|| {
        format!(
            "neither rustup nor Debian's packages brought rust-src.\n\
             rustup said: {rustup_error:#}\n\
             Where one of the two can be reached, run `cargo xtask setup` there"
        )
    })?;
    verify(&place)
}

fn by_debian(workspace: &Workspace, place: &Path) -> Result<()> {
    let release = workspace.rust_release()?;
    let unpacked = workspace.tools().join("rust-src");
    debian::unpack(
        &Download {
            package: "rust-src",
            version: &format!("{release}*"),
            suite: SUITE,
        },
        &workspace.tools().join("apt"),
        &unpacked,
    )?;
    let source = unpacked.join(format!("usr/src/rustc-{release}"));
    if !complete(&source) {
        bail!("the package has no library source at {}", source.display());
    }
    link(&source, place)
}

fn link(source: &Path, place: &Path) -> Result<()> {
    let refused = || {
        format!(
            "cannot link {} to {}: the compiler's folder has to be writable; \
             as its owner, run `cargo xtask setup`",
            place.display(),
            source.display()
        )
    };
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).with_context(refused)?;
    }
    symlink(source, place).with_context(refused)
}

/// Both files are read by `cargo build -Z build-std`.
fn complete(place: &Path) -> bool {
    let library: PathBuf = place.join("library");
    library.join("core/src/lib.rs").is_file() && library.join("Cargo.lock").is_file()
}

fn verify(place: &Path) -> Result<()> {
    if complete(place) {
        return Ok(());
    }
    bail!(
        "{} is still incomplete; `rustup component remove rust-src` and run `cargo xtask setup` again",
        place.display()
    )
}
