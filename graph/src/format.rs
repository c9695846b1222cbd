//! Which graphs have which name.

/// Two programs of which this is the same number give a graph the same digest. It goes up with every change after which a graph
/// that there could be before has another name. What only adds graphs leaves it: an older agent refuses those as damaged, and
/// takes all others.
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
    const NAMES: &[(u32, &str)] = &[(1, "5d36e417e8d9db4bf1f0003eff74ce71")];

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
            "192.0.2.0/24".parse().expect("a range"),
            ["192.0.2.8/30".parse().expect("a range")],
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
        let stages = [
            Stage::Quarantine,
            Stage::Exemption,
            Stage::Admin,
            Stage::Boundary,
            Stage::Namespace,
            Stage::Baseline,
            Stage::Segment,
        ];
        let each_stage = stages.map(|stage| Entry {
            stage,
            ..first.clone()
        });
        let ports = Protocol::ALL.map(|protocol| range(protocol, 7, 8));
        let each_protocol = Entry {
            ports: PortMatch::of(ports.to_vec()),
            ..first.clone()
        };
        let mut all = vec![first, second, third, each_protocol];
        all.extend(each_stage);
        all
    }

    /// One of everything there is.
    fn sample() -> NodeGraph {
        let peers = PeerSetId([7; 16]);
        // More than lie in one bucket.
        let members: Vec<Address> = (0..2_000_u32)
            .map(|number| IpAddr::from(Ipv4Addr::from(0x0a01_0000 + number)).into())
            .collect();
        let many = Arc::new(PeerSet::default().with(&members, &[]));
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
        let elsewhere = LocalWorkload {
            interface: None,
            ..workload.clone()
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
            [("u", workload), ("v", elsewhere)]
                .into_iter()
                .map(|(uid, workload)| (WorkloadUid(uid.into()), workload.into()))
                .collect(),
            both.into_iter()
                .map(|rules| (rules.id(), Arc::new(rules)))
                .collect(),
            [(peers, set(&[2, 3])), (PeerSetId([8; 16]), many)]
                .into_iter()
                .collect(),
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
