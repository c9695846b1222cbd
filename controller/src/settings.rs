//! What the controller can be told, by flags, environment or file.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use bulkhead_settings::{Logging, Source};
use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;

/// Compiles who may talk to whom and gives every node its part.
#[derive(Debug, Parser)]
#[command(name = "bulkhead-controller", version, about)]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Make the keys of a standalone installation: an authority, the controller's, one for each node's agent. Again: add what
    /// is missing, and make anew what ends soon
    Init(Init),
    /// Run the controller
    Run(Run),
}

/// `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Folder for the keys; what is there already is kept until it ends soon. Its ca.key is needed by `init` only: keep the
    /// folder off the host that serves, and copy ca.crt, controller.crt and controller.key there
    #[arg(long, value_name = "FOLDER")]
    pub keys: PathBuf,
    /// A node whose agent gets a certificate; may be repeated
    #[arg(long = "node", value_name = "NAME")]
    pub nodes: Vec<String>,
    /// A further DNS name for the controller's certificate; may be repeated
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
    /// An address for the controller's certificate; may be repeated. Agents do not need it
    #[arg(long = "address", value_name = "ADDRESS")]
    pub addresses: Vec<IpAddr>,
    /// Days that the certificates are valid; the authority is valid for ten years
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Days before its end at which a certificate is made anew, but never in the first two thirds of its time; the authority is
    /// kept
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=3650))]
    pub renew_days: u32,
}

/// `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The settings file.
    #[command(flatten)]
    pub source: Source,
    /// Read manifests from this folder and follow its changes
    #[arg(
        long,
        value_name = "FOLDER",
        env = "BULKHEAD_FOLDER",
        conflicts_with = "kubernetes"
    )]
    pub folder: Option<PathBuf>,
    /// Read the objects of the Kubernetes cluster that KUBECONFIG or the pod's service account names
    #[arg(long, env = "BULKHEAD_KUBERNETES")]
    pub kubernetes: bool,
    /// Folder for what has to outlive the process: the count of the folder's changes
    #[arg(
        long,
        value_name = "FOLDER",
        env = "BULKHEAD_STATE",
        default_value = "/var/lib/bulkhead-controller"
    )]
    pub state: PathBuf,
    /// Folder with ca.crt, controller.crt and controller.key, as `init` makes them; they are read again when they change.
    /// ca.key does not belong here
    #[arg(
        long,
        value_name = "FOLDER",
        env = "BULKHEAD_KEYS",
        default_value = "/etc/bulkhead/keys"
    )]
    pub keys: PathBuf,
    /// Where agents connect
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "BULKHEAD_LISTEN",
        default_value = "[::]:9443"
    )]
    pub listen: SocketAddr,
    /// Where metrics, health and status are served
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "BULKHEAD_HTTP",
        default_value = "127.0.0.1:9480"
    )]
    pub http: SocketAddr,
    /// Addresses from which pods get theirs, beside the ranges that the nodes declare; may be repeated, or have
    /// commas between
    #[arg(
        long = "cluster-range",
        value_name = "NETWORK",
        env = "BULKHEAD_CLUSTER_RANGE",
        value_delimiter = ','
    )]
    pub cluster_ranges: Vec<IpNet>,
    /// Ask for the names (`domains`) that segments have. Without it they are known to nobody: nobody in an Allow, everybody in a
    /// Deny. Not for production yet: docs/next.md has what is missing
    #[arg(long, env = "BULKHEAD_RESOLVE_NAMES")]
    pub resolve_names: bool,
    /// Name servers that are asked for the names in segments, instead of those of /etc/resolv.conf; the first that answers counts.
    /// May be repeated, or have commas between
    #[arg(
        long = "dns-server",
        value_name = "ADDRESS:PORT",
        env = "BULKHEAD_DNS_SERVER",
        value_delimiter = ','
    )]
    pub dns_servers: Vec<SocketAddr>,
    /// Milliseconds for which further changes of a node are gathered after one was sent
    #[arg(long, value_name = "MS", env = "BULKHEAD_GATHER_MS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub gather_ms: u64,
    /// What is logged.
    #[command(flatten)]
    pub logging: Logging,
}
