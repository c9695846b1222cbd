//! `cargo xtask ci`: the whole check, the same here and where changes are landed.
//!
//! Cheap checks first, so that a slip is known in seconds; every step says how long it took.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::{
    codegen::{self, Mode},
    command::run,
    ebpf, lint, privilege, setup,
    test::{self, Part},
    tidy,
    workspace::Workspace,
};

/// One step: its name, what of it, and the work.
type Step = (&'static str, fn(&Workspace) -> Result<()>);

const STEPS: &[Step] = &[
    ("format", format),
    ("tidy", tidy::check),
    ("setup", setup::everything),
    // Before the lints: the agent takes the object in when it is compiled.
    ("kernel programs", ebpf::build),
    ("lints of the kernel programs", lint::kernel_programs),
    ("lints", lint::host_crates),
    ("licences, crates, sources", licenses),
    ("generated files", |workspace| {
        codegen::run_generators(workspace, Mode::Check)
    }),
    ("tests", |workspace| test::run(workspace, Part::All, &[])),
];

pub(crate) fn run_all(workspace: &Workspace) -> Result<()> {
    privilege::require_root("ci", "it runs the whole ladder of tests")?;
    let started = Instant::now();
    for (name, work) in STEPS {
        println!("\n##### {name}");
        let began = Instant::now();
        work(workspace).with_context(|| format!("ci, step {name}"))?;
        println!("##### {name}: {:.1} s", began.elapsed().as_secs_f64());
    }
    println!("##### all of ci: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn format(workspace: &Workspace) -> Result<()> {
    setup::style(workspace)?;
    run(workspace.cargo().args(["fmt", "--all", "--check"]))
        .context("`cargo fmt --all` puts it in order")
}

fn licenses(workspace: &Workspace) -> Result<()> {
    println!(
        "advisories are not checked: their database is no package of a registry. \
         Where it can be reached, run `cargo deny check advisories`"
    );
    run(workspace
        .command(workspace.tool("cargo-deny"))
        .args(["--locked", "--log-level", "error"])
        .args(["check", "licenses", "bans", "sources"]))
}
