//! `cargo xtask test`: the ladder, rung by rung.
//!
//! A run says about root before it builds, builds everything it needs first, and ends with one line
//! that sums all tests up. A suite that runs nothing is a failure: it hides that it was lost.

mod closing;
mod ladder;
mod suite;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::ValueEnum;

use self::{
    closing::Count,
    ladder::{Needs, Rung},
    suite::Environment,
};
use crate::{
    build::{self, Executable, Profile, Selection},
    ebpf, launch, privilege, setup,
    workspace::Workspace,
};

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The pure rooms, by tables and properties: seconds when warm, no root
    Unit,
    /// The own tests of the other rooms
    Rooms,
    /// The oracle against engine and decision function on generated worlds
    Diff,
    /// The decision function on the host against the programs in the kernel (root)
    Kernel,
    /// Real traffic between network namespaces (root)
    Net,
    /// A real Kubernetes with real pods (root)
    Cluster,
    /// The rungs that search at random, with many more cases (root)
    Deep,
    /// Every rung (root)
    All,
}

/// How many times more cases a deep run looks at: ten million tuples and more in `diff`, and as many in `kernel`.
const DEEP_EFFORT: u32 = 10;

/// Runs the rungs of a part. `filter` goes to the test programs, as `cargo test -- filter` does.
pub(crate) fn run(workspace: &Workspace, part: Part, filter: &[String]) -> Result<()> {
    let started = Instant::now();
    let rungs = ladder::rungs(part);
    if let Some(why) = rungs.iter().find_map(|rung| rung.root) {
        privilege::require_root(&format!("test {}", name(part)), why)?;
    }

    let effort = if part == Part::Deep { DEEP_EFFORT } else { 1 };
    let (built, environment) = prepare(workspace, &rungs, effort)?;
    let built_seconds = started.elapsed().as_secs_f64();

    let mut total = Count::default();
    let mut broken = Vec::new();
    let mut summary = vec![format!("build: {built_seconds:.1} s")];
    for rung in &rungs {
        let began = Instant::now();
        println!("\n=== {}: {}", rung.name, rung.what);
        let mut count = Count::default();
        for suite in rung.suites {
            match suite::run(suite, rung, &built, &environment, filter) {
                Ok(of_suite) => count.add(&of_suite.count),
                Err(error) => {
                    // A suite that was lost counts as one failed test.
                    count.failed += 1;
                    println!("error: {error:#}");
                    broken.push(format!("{error:#}"));
                }
            }
        }
        summary.push(format!(
            "{}: {} passed, {} failed, {:.1} s",
            rung.name,
            count.passed,
            count.failed,
            began.elapsed().as_secs_f64()
        ));
        total.add(&count);
    }

    println!("\n{}", summary.join("\n"));
    println!("all: {:.1} s", started.elapsed().as_secs_f64());
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed > 0 {
        for line in &broken {
            eprintln!("{line}");
        }
        bail!("{} tests failed", total.failed);
    }
    if total.executed() == 0 {
        bail!("no test has {filter:?} in its name");
    }
    Ok(())
}

/// Brings and builds everything the rungs need, before the first test runs.
fn prepare(
    workspace: &Workspace,
    rungs: &[&Rung],
    effort: u32,
) -> Result<(Vec<Executable>, Environment)> {
    let needs = |wanted: Needs| rungs.iter().any(|rung| rung.needs.contains(&wanted));
    if needs(Needs::Go) {
        setup::compiler_of_the_cluster(workspace)?;
    }
    if needs(Needs::Packages) {
        setup::packages()?;
    }
    // First, because the agent carries them inside.
    if needs(Needs::KernelPrograms) {
        ebpf::build(workspace)?;
    }
    let mut selections: Vec<&Selection> = Vec::new();
    for rung in rungs {
        // What is selected whole holds what a smaller selection would compile a second time.
        let whole = rungs
            .iter()
            .any(|other| other.selection == Selection::Product);
        let selection = if whole && rung.within_product {
            &Selection::Product
        } else {
            &rung.selection
        };
        if !selections.contains(&selection) {
            selections.push(selection);
        }
    }
    let mut built = Vec::new();
    for selection in selections {
        built.extend(build::tests(workspace, selection)?);
    }
    let mut environment = Environment::new(workspace, effort);
    if needs(Needs::Programs) {
        let programs = build::programs(workspace, &Selection::Product, Profile::Dev)?;
        environment.programs = Some(build::program_folder(&programs)?);
        built.extend(programs);
    }
    if needs(Needs::Go) {
        // Here, so that a hanging test is told from a slow compiler.
        launch::kubernetes(&built)?;
    }
    Ok((built, environment))
}

fn name(part: Part) -> String {
    part.to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}
