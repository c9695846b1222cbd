//! The rest of the cluster that verdicts depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Interned, Protocol};

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its name.
    pub name: Interned,
    /// Its labels; conversion makes sure that `kubernetes.io/metadata.name` is its name.
    pub labels: BTreeMap<Interned, Interned>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: Interned,
    /// Its labels.
    pub labels: BTreeMap<Interned, Interned>,
    /// The ranges from which its pods get their addresses.
    pub pod_ranges: BTreeSet<IpNet>,
    /// Its own addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServicePort {
    /// Empty where there is one port only.
    pub name: Interned,
    /// Transport.
    pub protocol: Protocol,
    /// The port that clients use.
    pub port: u16,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its namespace.
    pub namespace: Interned,
    /// Its name.
    pub name: Interned,
    /// Cluster addresses; empty for a headless one.
    pub cluster_addresses: BTreeSet<IpAddr>,
    /// Load-balancer and external addresses.
    pub external_addresses: BTreeSet<IpAddr>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// One endpoint of a slice, in whatever condition: which of them new flows are sent to changes faster than anybody hears of
/// it, and old flows go on to those that get no new ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where traffic goes.
    pub addresses: BTreeSet<IpAddr>,
}

/// Endpoints of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// Its namespace.
    pub namespace: Interned,
    /// Its name.
    pub name: Interned,
    /// The Service it belongs to.
    pub service: Interned,
    /// Ports on the endpoints by Service port name; the number here is the target port.
    pub ports: Vec<ServicePort>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
}
