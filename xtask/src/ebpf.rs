//! The kernel programs: crate `bulkhead-agent-ebpf`, compiled for the BPF target.
//!
//! It has a target folder of its own, so that it never waits for, or invalidates, a build of the
//! host crates; cargo decides what is stale.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result};

use crate::{command::run, setup, workspace::Workspace};

const PACKAGE: &str = "bulkhead-agent-ebpf";
const PROGRAM: &str = "bulkhead";
const TARGET: &str = "bpfel-unknown-none";

/// Compiles the kernel programs and copies the object to `target/bpf/bulkhead`.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    run(&mut cargo(workspace, "build")?)
        .context("the kernel programs do not compile (crate agent-ebpf)")?;

    let target_dir = target_dir(workspace);
    let built = target_dir.join(TARGET).join("release").join(PROGRAM);
    let object = workspace.bpf_object();
    let bytes = fs::read(&built).with_context(|| format!("no object at {}", built.display()))?;
    // An unchanged object keeps its time, so that what embeds it is not compiled again.
    if fs::read(&object).ok().as_deref() != Some(bytes.as_slice()) {
        let folder = workspace.target().join("bpf");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make folder {}", folder.display()))?;
        fs::write(&object, &bytes).with_context(|| format!("cannot write {}", object.display()))?;
    }
    eprintln!(
        "kernel programs: {} ({} bytes)",
        object.display(),
        bytes.len()
    );
    Ok(())
}

/// A cargo that compiles the programs for the kernel; the caller may append arguments.
pub(crate) fn cargo(workspace: &Workspace, verb: &str) -> Result<Command> {
    setup::toolchain(workspace)?;
    let mut cargo = workspace.cargo();
    cargo
        .args([verb, "--package", PACKAGE, "--bin", PROGRAM, "--release"])
        .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
        .arg(target_dir(workspace))
        // The pinned compiler is a stable one; this lets it build `core` for a target without one.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags())
        .env(
            "CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER",
            workspace.tool("bpf-linker"),
        )
        // One module, or calls that are not inlined break the verifier's 512 bytes of stack.
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        // Flags of the caller are meant for the host.
        .env_remove("RUSTFLAGS");
    Ok(cargo)
}

fn target_dir(workspace: &Workspace) -> PathBuf {
    workspace.target().join("bpf-build")
}

/// `bpf_target_arch` selects the register names of the host in aya-ebpf; type information of the
/// programs goes into the object, or the verifier's log has no source lines; version 3 of the
/// instruction set (kernel 5.12) has compare-and-exchange.
fn rust_flags() -> String {
    let architecture = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    [
        architecture.as_str(),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        "-Ctarget-cpu=v3",
    ]
    .join("\x1f")
}
