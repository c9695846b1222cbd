//! What the agent can be told, by flags, environment or file.

use std::net::SocketAddr;
use std::path::PathBuf;

use bulkhead_datapath::abi::{CAPACITIES, Capacity};
use bulkhead_settings::{Logging, Source};
use clap::{Args, Parser, Subcommand};

/// Enforces this node's part of the cluster's policy in the kernel.
#[derive(Debug, Parser)]
#[command(name = "bulkhead-agent", version, about)]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the agent. When it ends, for whatever reason, the kernel goes on enforcing
    Run(Box<Run>),
    /// Take all hooks, programs and tables out of the kernel: from then on nothing is enforced on this node
    Remove(Remove),
    /// Print what the kernel's tables really hold, as JSON
    Dump(Dump),
}

/// Where things are kept.
#[derive(Debug, Clone, Args)]
pub struct Places {
    /// Folder on a bpf file system for programs, tables and links. `/sys/fs/bpf` is mounted if it is not
    #[arg(
        long,
        value_name = "FOLDER",
        env = "BULKHEAD_PINS",
        default_value = "/sys/fs/bpf/bulkhead"
    )]
    pub pins: PathBuf,
    /// Folder for the last graph, the lock and the socket
    #[arg(
        long,
        value_name = "FOLDER",
        env = "BULKHEAD_STATE",
        default_value = "/var/lib/bulkhead-agent"
    )]
    pub state: PathBuf,
}

/// `remove`.
#[derive(Debug, Args)]
pub struct Remove {
    #[command(flatten)]
    pub places: Places,
    #[command(flatten)]
    pub logging: Logging,
}

/// `dump`.
#[derive(Debug, Args)]
pub struct Dump {
    #[command(flatten)]
    pub places: Places,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub source: Source,
    /// This node's name, as in the agent's certificate
    #[arg(long, value_name = "NAME", env = "BULKHEAD_NODE")]
    pub node: String,
    /// Where the controller listens
    #[arg(long, value_name = "HOST:PORT", env = "BULKHEAD_CONTROLLER")]
    pub controller: String,
    /// Certificate of the authority that both sides trust
    #[arg(
        long,
        value_name = "FILE",
        env = "BULKHEAD_AUTHORITY",
        default_value = "/etc/bulkhead/keys/ca.crt"
    )]
    pub authority: PathBuf,
    /// The agent's certificate
    #[arg(
        long,
        value_name = "FILE",
        env = "BULKHEAD_CERTIFICATE",
        default_value = "/etc/bulkhead/keys/agent.crt"
    )]
    pub certificate: PathBuf,
    /// The agent's private key
    #[arg(
        long,
        value_name = "FILE",
        env = "BULKHEAD_KEY",
        default_value = "/etc/bulkhead/keys/agent.key"
    )]
    pub key: PathBuf,
    #[command(flatten)]
    pub places: Places,
    /// Where metrics, health and events are served; the socket `agent.sock` in the state folder always serves them
    #[arg(long, value_name = "ADDRESS", env = "BULKHEAD_HTTP")]
    pub http: Option<SocketAddr>,
    /// Seconds between two sweeps of flows that are over
    #[arg(long, value_name = "SECONDS", env = "BULKHEAD_SWEEP_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub sweep_seconds: u64,
    /// Seconds between two comparisons of the kernel's tables with what they should hold
    #[arg(long, value_name = "SECONDS", env = "BULKHEAD_AUDIT_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub audit_seconds: u64,
    /// Seconds after the first start on a node in which TCP connections older than the agent are taken over, if policy allows them
    #[arg(long, value_name = "SECONDS", env = "BULKHEAD_ADOPT_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub adopt_seconds: u64,
    #[command(flatten)]
    pub sizes: Sizes,
    #[command(flatten)]
    pub logging: Logging,
}

/// Sizes of the kernel's tables. Tables that are pinned keep theirs: `remove` first to change one.
#[derive(Debug, Clone, Args)]
pub struct Sizes {
    /// Workloads of the old and the new revision together
    #[arg(long, value_name = "N", env = "BULKHEAD_MAX_WORKLOADS", default_value_t = CAPACITIES.workloads, value_parser = clap::value_parser!(u32).range(2..=4096))]
    pub max_workloads: u32,
    /// Addresses known by identity
    #[arg(long, value_name = "N", env = "BULKHEAD_MAX_PEERS", default_value_t = CAPACITIES.peers, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_peers: u32,
    /// Prefixes
    #[arg(long, value_name = "N", env = "BULKHEAD_MAX_NETWORKS", default_value_t = CAPACITIES.networks, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_networks: u32,
    /// Decisions of the old and the new revision together
    #[arg(long, value_name = "N", env = "BULKHEAD_MAX_DECISIONS", default_value_t = CAPACITIES.decisions, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_decisions: u32,
    /// Flows of all workloads
    #[arg(long, value_name = "N", env = "BULKHEAD_MAX_FLOWS", default_value_t = CAPACITIES.flows, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_flows: u32,
}

impl Sizes {
    /// For creating the maps.
    pub fn capacity(&self) -> Capacity {
        Capacity {
            workloads: self.max_workloads,
            peers: self.max_peers,
            networks: self.max_networks,
            decisions: self.max_decisions,
            flows: self.max_flows,
            ..CAPACITIES
        }
    }
}
