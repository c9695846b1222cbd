//! Workloads: pods, and declared hosts and virtual machines.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Interned, Protocol, SortedMap, SortedSet};

/// Where a workload is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Not started; it may have an address already.
    Pending,
    /// Running, or terminating and not gone yet.
    Running,
    /// Succeeded or failed: owns no address any more.
    Completed,
}

/// A port with a name, as a container declares it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamedPort {
    /// Unique together with the protocol.
    pub name: Interned,
    /// Transport.
    pub protocol: Protocol,
    /// Number.
    pub port: u16,
}

/// One incarnation of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Names the incarnation; unique in the cluster.
    pub uid: Interned,
    /// Who made it and would replace it, each named as by [`owner`]; empty for what nobody replaces.
    pub owners: SortedSet<Interned>,
    /// Its namespace.
    pub namespace: Interned,
    /// Its name, unique in the namespace.
    pub name: Interned,
    /// Its labels.
    pub labels: SortedMap<Interned, Interned>,
    /// Its service account's name; empty where there is none.
    pub service_account: Interned,
    /// Where it is bound to; `None` until it is scheduled.
    pub node: Option<Interned>,
    /// Both families; empty until it has one.
    pub addresses: SortedSet<IpAddr>,
    /// The ports that its containers name.
    pub named_ports: SortedSet<NamedPort>,
    /// Its phase.
    pub phase: Phase,
    /// Host-network pods are the host: no subject, no peer, and the node's address is not theirs.
    pub host_network: bool,
    /// The host-side interface, where the manifest names it.
    pub interface: Option<Interned>,
}

/// How an owner of workloads is named in them. No uid that is read is like that: none has a blank.
pub fn owner(namespace: &str, kind: &str, name: &str) -> Interned {
    format!("{kind} {namespace}/{name}").into()
}

impl Workload {
    /// Whether it is a workload in the sense of the pipeline, with the addresses it reports.
    pub fn is_live(&self) -> bool {
        self.phase != Phase::Completed && !self.host_network
    }
}
