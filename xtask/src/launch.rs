//! `demo`, `cluster` and `bench`: programs of crate `tests`, started with everything they need built.

use std::{os::unix::process::CommandExt, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{
    build::{self, Executable, Profile, Role, Selection},
    command::run,
    ebpf, privilege, setup,
    workspace::Workspace,
};

/// What benchmarks measure: compiling all of Kubernetes' types again for it would take minutes.
const MEASURED: Selection = Selection::Crates(&["bulkhead-tests", "bulkhead-agent"]);

/// The demo: three nodes, an application, an intruder.
pub(crate) fn demo(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    privilege::require_root(
        "demo",
        "it makes network namespaces and loads eBPF programs",
    )?;
    setup::packages()?;
    start(
        workspace,
        "demo",
        &Selection::Product,
        Profile::Dev,
        arguments,
    )
}

/// A real Kubernetes on this machine.
pub(crate) fn cluster(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    privilege::require_root("cluster", "it makes namespaces, mounts and cgroups")?;
    setup::packages()?;
    start(
        workspace,
        "cluster",
        &Selection::Product,
        Profile::Dev,
        arguments,
    )
}

/// Compiles the programs of a real Kubernetes, unless they are there.
pub(crate) fn kubernetes(programs: &[Executable]) -> Result<()> {
    run(Command::new(find(programs, "cluster")?).arg("build")).context("compiling Kubernetes")
}

/// The rows of docs/performance.md; those that run programs in the kernel say themselves that they
/// need root.
pub(crate) fn bench(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    start(workspace, "bench", &MEASURED, Profile::Release, arguments)
}

fn start(
    workspace: &Workspace,
    name: &str,
    selection: &Selection,
    profile: Profile,
    arguments: &[String],
) -> Result<()> {
    // First, because the agent carries them inside.
    ebpf::build(workspace)?;
    let programs = build::programs(workspace, selection, profile)?;
    let program = find(&programs, name)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("BULKHEAD_BIN_DIR", build::program_folder(&programs)?)
        .env("BULKHEAD_BPF_OBJECT", workspace.bpf_object());
    // It takes our place, so that Ctrl-C and its exit code are its own.
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

fn find<'a>(programs: &'a [Executable], name: &str) -> Result<&'a Path> {
    programs
        .iter()
        .find(|program| program.role == Role::Program && program.target == name)
        .map(|program| program.path.as_path())
        .with_context(|| format!("there is no program {name} in crate tests"))
}
