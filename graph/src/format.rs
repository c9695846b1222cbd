//! Which graphs have which name.

/// Two programs of which this is the same number give a graph the same digest. It goes up with every change after which a graph
/// that there could be before has another name; what only adds graphs leaves it.
pub const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use super::*;
    use crate::{
        Action, Address, Direction, Entry, Lease, LocalWorkload, Mode, Network, NodeGraph,
        PeerMatch, PeerSet, PeerSetId, PortMatch, PortRange, Prefix, Protocol, RuleSet,
        ServiceAddress, ServiceBackend, ServicePort, Stage, Timestamp, WorkloadUid, Workloads,
    };

    /// What the graph below is called, by format.
    const NAMES: &[(u32, &str)] = &[(1, "?")];

    fn address(last: u8) -> Address {
        IpAddr::from(Ipv4Addr::new(10, 0, 0, last)).into()
    }

    fn set(last: &[u8]) -> Arc<PeerSet> {
        let addresses: Vec<Address> = last.iter().copied().map(address).collect();
        Arc::new(PeerSet::default().with(&addresses, &[]))
    }

    fn prefix(last: u8) -> Prefix {
        Prefix {
            address: address(last),
            length: 128,
        }
    }

    /// Entries of every kind.
    fn entries(peers: PeerSetId) -> Vec<Entry> {
        let range = |protocol, from, to| PortRange { protocol, from, to };
        let network = Network::new(
            "192.0.2.0/24".parse().unwrap(),
            ["192.0.2.8/30".parse().unwrap()],
        );
        let by_name = PeerMatch::Of {
            workloads: Workloads::Sets(vec![peers]),
            networks: vec![network],
        };
        let everywhere = PeerMatch::Of {
            workloads: Workloads::All,
            networks: Vec::new(),
        };
        let first = Entry {
            stage: Stage::Admin,
            action: Action::Pass,
            mode: Mode::Enforce,
            peers: PeerMatch::Perhaps(Box::new(everywhere.clone())),
            ports: PortMatch::Any,
            until: None,
            lease: None,
        };
        let second = Entry {
            stage: Stage::Namespace,
            action: Action::Allow,
            mode: Mode::Audit,
            peers: by_name,
            ports: PortMatch::of(vec![
                range(Protocol::Tcp, 80, 89),
                range(Protocol::Icmpv6, 1, 1),
            ]),
            until: Some(Timestamp(1_000)),
            lease: Some(Lease(60_000)),
        };
        let third = Entry {
            stage: Stage::Segment,
            action: Action::Deny,
            peers: PeerMatch::Any,
            ..first.clone()
        };
        vec![first, second, third]
    }

    /// One of everything there is.
    fn sample() -> NodeGraph {
        let peers = PeerSetId([7; 16]);
        let both = [Direction::Egress, Direction::Ingress].map(|direction| RuleSet {
            direction,
            entries: entries(peers),
        });
        let [egress, ingress] = both.each_ref().map(RuleSet::id);
        let workload = LocalWorkload {
            namespace: "shop".into(),
            name: "web".into(),
            addresses: [address(1)].into(),
            interface: Some("veth0".into()),
            egress,
            ingress,
        };
        let service = ServiceAddress {
            namespaces: vec!["shop".into()],
            external: true,
            closed: true,
            ports: vec![ServicePort {
                protocol: Protocol::Udp,
                port: 53,
                backends: vec![ServiceBackend {
                    address: address(2),
                    port: 5353,
                }],
            }],
        };
        let graph = NodeGraph::new(
            [(WorkloadUid("u".into()), workload.into())]
                .into_iter()
                .collect(),
            both.into_iter()
                .map(|rules| (rules.id(), Arc::new(rules)))
                .collect(),
            [(peers, set(&[2, 3]))].into_iter().collect(),
            set(&[1, 2, 3]),
            [prefix(0)].into(),
            Arc::new(BTreeMap::from([(address(9), service)])),
        );
        graph
            .with_node_addresses(set(&[200]))
            .with_closed([prefix(4)].into())
    }

    /// If this fails, agents and controllers on both sides of your change refuse each other's graphs: give the format the next
    /// number, and add what the graph is called now.
    #[test]
    fn what_changes_names_changes_the_format() {
        let name = sample().digest().to_string();
        assert_eq!(NAMES.last(), Some(&(FORMAT, &*name)));
    }
}
