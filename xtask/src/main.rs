//! Set-up, build, demo, test and checks of the project: `cargo xtask --help`.
//!
//! Every task brings what it needs, says what it does before it takes long, and fails with the
//! remedy. A task that needs root says so before it builds anything.

mod build;
mod ci;
mod codegen;
mod command;
mod ebpf;
mod fuzz;
mod launch;
mod lint;
mod privilege;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{codegen::Mode, workspace::Workspace};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Set-up, build, demo, test and checks of Bulkhead"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Bring what building and testing need (idempotent)
    Setup,
    /// Compile the kernel programs to target/bpf/bulkhead
    BuildEbpf,
    /// Check the order of the house: arrows, sizes, names, leftovers
    Tidy,
    /// Run the ladder of tests, or a part of it
    Test {
        #[arg(value_enum)]
        part: test::Part,
        /// Only tests whose name contains this
        #[arg(last = true)]
        filter: Vec<String>,
    },
    /// Look for an input that breaks a parser: `fuzz TARGET [--seconds N]`
    Fuzz(fuzz::Arguments),
    /// Run clippy on everything; warnings are errors
    Lint,
    /// Write the generated files anew
    Codegen {
        /// Change nothing, and fail where a file would change
        #[arg(long)]
        check: bool,
    },
    /// The whole check, as it runs before a change lands (root)
    Ci,
    /// Start the demo: three nodes, an application, an intruder (root)
    Demo {
        /// For example --check: run without a person, and fail if anything is not as told
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// A real Kubernetes on this machine: up, down, kubectl … (root)
    Cluster {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure rows of the performance table; without arguments all of them
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    if let Some(code) = fuzz::stand_in() {
        return code;
    }
    let arguments = Arguments::parse();
    match perform(arguments.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain of reasons is for the reader; a backtrace of xtask is not.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<()> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Setup => setup::everything(&workspace),
        Task::BuildEbpf => ebpf::build(&workspace),
        Task::Tidy => tidy::check(&workspace),
        Task::Test { part, filter } => test::run(&workspace, part, &filter),
        Task::Fuzz(arguments) => fuzz::search(&workspace, &arguments),
        Task::Lint => lint::everything(&workspace),
        Task::Codegen { check } => {
            let mode = if check { Mode::Check } else { Mode::Write };
            codegen::run_generators(&workspace, mode)
        }
        Task::Ci => ci::run_all(&workspace),
        Task::Demo { arguments } => launch::demo(&workspace, &arguments),
        Task::Cluster { arguments } => launch::cluster(&workspace, &arguments),
        Task::Bench { arguments } => launch::bench(&workspace, &arguments),
    }
}
