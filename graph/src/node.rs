//! The graph of one node, and its digest.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use crate::{
    Address, Digest, Hasher, PeerSet, PeerSetId, Prefix, Protocol, RuleSet, RuleSetId,
    SharedWorkload, SortedMap, WorkloadUid,
};

/// Where a Service sends traffic of one of its ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceBackend {
    /// The endpoint.
    pub address: Address,
    /// The port there.
    pub port: u16,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServicePort {
    /// Transport.
    pub protocol: Protocol,
    /// The port clients use.
    pub port: u16,
    /// Sorted.
    pub backends: Vec<ServiceBackend>,
}

/// What stands behind one Service address. Whoever sends to one of its ports has to be allowed to send to each of that
/// port's backends, because nobody else judges the sender's half; a port without backends is denied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceAddress {
    /// The namespaces whose Services claim it, sorted: who pays for it where there is no room for everything.
    pub namespaces: Vec<Arc<str>>,
    /// Load-balancer and external addresses must also be allowed as the network they are.
    pub external: bool,
    /// Ports were left out for want of room: a port that is not in `ports` is no port of a plain address, but denied.
    pub closed: bool,
    /// Sorted by protocol and port.
    pub ports: Vec<ServicePort>,
}

/// Everything one node needs. Two graphs are the same revision exactly if their digests are equal.
#[derive(Debug, Clone, Default)]
pub struct NodeGraph {
    /// The node's workloads.
    pub workloads: SortedMap<WorkloadUid, SharedWorkload>,
    /// The rule sets of those workloads.
    pub rule_sets: SortedMap<RuleSetId, Arc<RuleSet>>,
    /// The members of every set that those rule sets refer to.
    pub peer_sets: SortedMap<PeerSetId, Arc<PeerSet>>,
    /// Every known workload address, if some rule set tells an unknown workload from a known one that no
    /// selector matches; else only the known ones outside `cluster_ranges`. An address in a peer set is
    /// known as well.
    pub known: Arc<PeerSet>,
    /// Where an address that nobody is known to own is an unknown workload and not the outside world. Sorted.
    pub cluster_ranges: Arc<[Prefix]>,
    /// Service addresses that workloads of this node may use.
    pub services: Arc<BTreeMap<Address, ServiceAddress>>,
    /// Where Service addresses were left out for want of room. An address here that is neither in `services` nor known nor
    /// in the cluster's ranges is denied to senders. Sorted, disjoint.
    pub closed: Arc<[Prefix]>,
    /// The addresses of all nodes, this one's own among them: workloads have no business with tunnels that end there.
    pub node_addresses: Arc<PeerSet>,
    digest: OnceLock<Digest>,
    /// Of what lies in many graphs, see [`NodeGraph::sharing`].
    shared: OnceLock<[u8; 16]>,
}

impl NodeGraph {
    /// A graph from its parts.
    pub fn new(
        workloads: SortedMap<WorkloadUid, SharedWorkload>,
        rule_sets: SortedMap<RuleSetId, Arc<RuleSet>>,
        peer_sets: SortedMap<PeerSetId, Arc<PeerSet>>,
        known: Arc<PeerSet>,
        cluster_ranges: Arc<[Prefix]>,
        services: Arc<BTreeMap<Address, ServiceAddress>>,
    ) -> Self {
        Self {
            workloads,
            rule_sets,
            peer_sets,
            known,
            cluster_ranges,
            services,
            closed: Arc::default(),
            node_addresses: Arc::default(),
            digest: OnceLock::new(),
            shared: OnceLock::new(),
        }
    }

    /// The same graph in a cluster whose nodes have these addresses.
    #[must_use]
    pub fn with_node_addresses(self, node_addresses: Arc<PeerSet>) -> Self {
        Self {
            node_addresses,
            digest: OnceLock::new(),
            ..self
        }
    }

    /// The same graph without the Service addresses in these prefixes that it does not list.
    #[must_use]
    pub fn with_closed(self, closed: Arc<[Prefix]>) -> Self {
        Self {
            closed,
            digest: OnceLock::new(),
            shared: OnceLock::new(),
            ..self
        }
    }

    /// The same graph, which takes over what the other one knows of the hash of ranges and Services, where the two hold
    /// the very same: they may be long, and a thousand graphs would each hash them anew.
    #[must_use]
    pub fn sharing(mut self, other: &Self) -> Self {
        let same = Arc::ptr_eq(&self.cluster_ranges, &other.cluster_ranges)
            && Arc::ptr_eq(&self.services, &other.services)
            && Arc::ptr_eq(&self.closed, &other.closed);
        if same {
            self.shared = OnceLock::from(other.shared_hash());
        }
        self
    }

    /// Names the revision. Computed once; workloads are hashed by their hashes, other parts by their ids, members by their buckets.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| self.compute_digest())
    }

    fn compute_digest(&self) -> Digest {
        let room =
            96 * self.workloads.len() + 16 * self.rule_sets.len() + 32 * self.peer_sets.len();
        let mut h = Hasher::with_room("node-graph/4", room);
        h.number(self.workloads.len() as u64);
        for (uid, workload) in &self.workloads {
            h.bytes(uid.0.as_bytes()).fixed(workload.hash());
            h.fixed(&workload.egress.0).fixed(&workload.ingress.0);
        }
        h.number(self.rule_sets.len() as u64);
        self.rule_sets.keys().for_each(|id| {
            h.fixed(&id.0);
        });
        h.number(self.peer_sets.len() as u64);
        for (id, set) in &self.peer_sets {
            h.fixed(&id.0).fixed(&set.digest().0);
        }
        h.fixed(&self.known.digest().0);
        h.fixed(&self.shared_hash());
        h.fixed(&self.node_addresses.digest().0);
        Digest(h.finish())
    }

    /// Of the parts that are long and the same on many nodes.
    fn shared_hash(&self) -> [u8; 16] {
        *self.shared.get_or_init(|| {
            let mut h = Hasher::new("shared-parts/1");
            h.number(self.cluster_ranges.len() as u64);
            for range in self.cluster_ranges.iter() {
                h.fixed(&range.address.0).fixed(&[range.length]);
            }
            h.number(self.services.len() as u64);
            for (address, service) in self.services.iter() {
                h.fixed(&address.0)
                    .fixed(&[u8::from(service.external), u8::from(service.closed)]);
                h.number(service.namespaces.len() as u64);
                service.namespaces.iter().for_each(|namespace| {
                    h.bytes(namespace.as_bytes());
                });
                h.number(service.ports.len() as u64);
                for port in &service.ports {
                    h.fixed(&[port.protocol as u8])
                        .fixed(&port.port.to_le_bytes());
                    h.number(port.backends.len() as u64);
                    for backend in &port.backends {
                        h.fixed(&backend.address.0)
                            .fixed(&backend.port.to_le_bytes());
                    }
                }
            }
            h.number(self.closed.len() as u64);
            for prefix in self.closed.iter() {
                h.fixed(&prefix.address.0).fixed(&[prefix.length]);
            }
            h.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn in_ranges(ranges: &Arc<[Prefix]>) -> NodeGraph {
        let (known, services) = (Arc::default(), Arc::default());
        let parts = (SortedMap::new(), SortedMap::new(), SortedMap::new());
        NodeGraph::new(parts.0, parts.1, parts.2, known, ranges.clone(), services)
    }

    #[test]
    fn what_graphs_share_makes_no_other_digest() {
        let range = |last| Prefix::host(Address::from(IpAddr::from(Ipv4Addr::new(10, 0, 0, last))));
        let (one, two): (Arc<[Prefix]>, Arc<[Prefix]>) = ([range(1)].into(), [range(2)].into());
        // Each is asked with what another graph knows, of the same ranges or of others.
        for (own, others) in [(&one, &one), (&one, &two), (&two, &one)] {
            let other = in_ranges(others);
            other.digest();
            let sharing = in_ranges(own).sharing(&other);
            assert_eq!(sharing.digest(), in_ranges(own).digest());
            assert_eq!(sharing.digest() == other.digest(), own == others);
            // What changes afterwards is not what was shared.
            let closed = sharing.with_closed(others.clone());
            assert_eq!(
                closed.digest(),
                in_ranges(own).with_closed(others.clone()).digest()
            );
        }
    }
}
