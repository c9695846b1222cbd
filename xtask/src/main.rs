//! Set-up, build, demo, test and checks of the project: `cargo xtask --help`.
//!
//! Every task brings what it needs, says what it does before it takes long, and fails with the
//! remedy. A task that needs root says so before it builds anything.

mod build;
mod command;
mod ebpf;
mod privilege;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

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
}

fn main() -> ExitCode {
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
    }
}
