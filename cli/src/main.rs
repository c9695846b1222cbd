//! `bulkhead`: what a set of manifests allows, why, and what of it is in force.
//!
//! Answers go to standard output, what is wrong with the input to standard error. Exit codes: 0 answered, 1 the input
//! cannot be judged or the controller not be asked, 2 wrong usage.

mod at;
mod completion;
mod controller;
mod endpoint;
mod engine;
mod events;
mod explain;
mod input;
mod ports;
mod reach;
mod status;
mod table;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "bulkhead",
    version,
    about = "Who may talk to whom in a Kubernetes cluster, and why"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Print the verdict for every pair of workloads
    Reach(reach::Arguments),
    /// Say which rules decide about one flow, step by step
    Explain(explain::Arguments),
    /// Name the rules behind what an agent saw: opened, denied, would be denied or allowed
    Events(events::Arguments),
    /// Show what of the intent is in force, node by node
    Status(status::Arguments),
    /// Print a completion script for a shell
    Completion(completion::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output may stop early, as `head` does.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bulkhead: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    match arguments.verb {
        Verb::Reach(arguments) => reach::run(&arguments),
        Verb::Explain(arguments) => explain::run(&arguments),
        Verb::Events(arguments) => events::run(&arguments),
        Verb::Status(arguments) => status::run(&arguments),
        Verb::Completion(arguments) => completion::run(&arguments),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    error
        .chain()
        .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(closed))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_of_every_verb_can_be_together() {
        Arguments::command().debug_assert();
    }
}
