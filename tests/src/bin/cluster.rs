//! A Kubernetes cluster to try things on: `cluster up`, then `cluster kubectl …`, then `cluster down`.

use std::os::unix::process::CommandExt;

use anyhow::{Result, bail};
use bulkhead_tests::cluster::{
    self, Cluster, ClusterName, Found, Netns, NodeIndex, NodePlace, Options, Programs,
};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "A real Kubernetes in network namespaces of this machine")]
struct Arguments {
    /// Clusters of different names run side by side
    #[arg(long, global = true, default_value = "bulkhead", value_parser = |name: &str| ClusterName::new(name).map_err(|e| e.to_string()))]
    name: ClusterName,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build the Kubernetes programs if they are not there yet (11 minutes of CPU time, once)
    Build,
    /// Start a cluster that runs until `down`
    Up {
        /// How many nodes
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=i64::from(NodeIndex::MAX)))]
        nodes: u8,
    },
    /// End the cluster and remove all of it but its logs
    Down,
    /// Show the nodes and the pods
    Status,
    /// Run kubectl as administrator
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run a program inside of a node
    Node {
        /// Its number, from 1
        index: u8,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<String>,
    },
    /// Run a program in the control plane's network namespace
    ControlPlane {
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<String>,
    },
}

fn main() -> Result<()> {
    let Arguments { name, verb } = Arguments::parse();
    match verb {
        Verb::Build => Programs::ready().map(drop),
        Verb::Up { nodes } => {
            let cluster = Cluster::up(&Options { name, nodes })?;
            println!("kubeconfig: {}", cluster.kubeconfig().display());
            cluster.leave();
            Ok(())
        }
        Verb::Down => {
            match cluster::down(&name)? {
                Found::Something => println!("cluster {} is gone", name.as_str()),
                Found::Nothing => println!("there was no cluster {}", name.as_str()),
            }
            Ok(())
        }
        Verb::Status => {
            let kubectl = cluster::connect(&name)?;
            print!("{}", kubectl.run(&["get", "nodes", "-o", "wide"])?);
            print!(
                "{}",
                kubectl.run(&["get", "pods", "--all-namespaces", "-o", "wide"])?
            );
            Ok(())
        }
        Verb::Kubectl { arguments } => {
            become_program(cluster::connect(&name)?.command().args(arguments))
        }
        Verb::Node { index, program } => {
            let (program, arguments) = split(&program)?;
            become_program(
                &mut NodePlace::find(&name, NodeIndex::new(index)?)?.command(program, &arguments),
            )
        }
        Verb::ControlPlane { program } => {
            let (program, arguments) = split(&program)?;
            become_program(
                Netns::of_control_plane(&name)
                    .command(program)
                    .args(arguments),
            )
        }
    }
}

fn split(words: &[String]) -> Result<(&str, Vec<&str>)> {
    let Some((program, arguments)) = words.split_first() else {
        bail!("name a program")
    };
    Ok((program, arguments.iter().map(String::as_str).collect()))
}

/// So that standard input, the terminal and the exit status are the program's.
fn become_program(command: &mut std::process::Command) -> Result<()> {
    Err(command.exec().into())
}
