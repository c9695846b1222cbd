//! The rest of the cluster that verdicts depend on.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Action, Direction, Interned, Kind, Mode, NamespaceScope, ObjectRef, Peers, Policy, Ports,
    Protocol, Rule, SortedMap, SortedSet, Subject, Tier, WorkloadSelector,
};

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Its name.
    pub name: Interned,
    /// Its labels; conversion makes sure that `kubernetes.io/metadata.name` is its name.
    pub labels: SortedMap<Interned, Interned>,
    /// It is being deleted, and its policies may be gone before its workloads are.
    pub closing: bool,
}

impl Namespace {
    /// What stands for policies that may be gone: until the namespace is, nobody in it is admitted anywhere, nor is anybody
    /// admitted to it, by anything that stands in a namespace.
    pub fn closed(&self) -> Option<Policy> {
        let rule = Rule {
            name: "the namespace is being deleted".into(),
            action: Action::Deny,
            peers: Peers::Any,
            ports: Ports::Any,
        };
        let everybody = WorkloadSelector {
            namespaces: NamespaceScope::Named(self.name.clone()),
            ..WorkloadSelector::everything()
        };
        self.closing.then(|| Policy {
            object: self.closed_as(),
            tier: Tier::Namespace,
            subjects: vec![Subject::Selected(everybody)],
            isolates: SortedSet::from([Direction::Ingress, Direction::Egress]),
            mode: Mode::Enforce,
            active_from: None,
            expires_at: None,
            max_staleness: None,
            ingress: vec![rule.clone()],
            egress: vec![rule],
        })
    }

    /// The name of that policy: the namespace itself, as something in it.
    pub fn closed_as(&self) -> ObjectRef {
        Self::closed_by_name(&self.name)
    }

    /// The same for a namespace of that name.
    pub fn closed_by_name(name: &str) -> ObjectRef {
        ObjectRef::namespaced(Kind::Namespace, name, name)
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: Interned,
    /// Its labels.
    pub labels: SortedMap<Interned, Interned>,
    /// The ranges from which its pods get their addresses.
    pub pod_ranges: SortedSet<IpNet>,
    /// Its own addresses.
    pub addresses: SortedSet<IpAddr>,
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
    pub cluster_addresses: SortedSet<IpAddr>,
    /// Load-balancer and external addresses.
    pub external_addresses: SortedSet<IpAddr>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// One endpoint of a slice, in whatever condition: which of them new flows are sent to changes faster than anybody hears of
/// it, and old flows go on to those that get no new ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Where traffic goes.
    pub addresses: SortedSet<IpAddr>,
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
