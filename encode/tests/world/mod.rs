//! Small random graphs in which everything meets everything: few addresses, few ports, nested networks, all actions.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bulkhead_graph::{
    Action, Address, Direction, Entry, Lease, LocalWorkload, Mode, Network, NodeGraph, PeerMatch,
    PeerSet, PeerSetId, PortMatch, PortRange, Prefix, Protocol, RuleSet, ServiceAddress,
    ServiceBackend, ServicePort, Stage, Timestamp, WorkloadUid, Workloads,
};
use proptest::prelude::*;

pub(crate) const ADDRESSES: [&str; 12] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.1.1",
    "10.0.1.2",
    "10.9.0.1",
    "192.0.2.7",
    "192.0.2.200",
    "fd00::1",
    "fd00::2",
    "fd00:0:0:1::1",
    "2001:db8::7",
];
pub(crate) const SERVICE_ADDRESSES: [&str; 3] = ["10.96.0.1", "10.96.0.2", "192.0.2.7"];
pub(crate) const NETWORKS: [&str; 12] = [
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.2/32",
    "10.0.1.0/24",
    "192.0.2.0/24",
    "192.0.2.128/25",
    "::/0",
    "fd00::/16",
    "fd00::/64",
    "fd00::2/128",
    "::ffff:0:0/96",
];
pub(crate) const RANGES: [&str; 4] = ["10.0.0.0/16", "10.0.1.0/24", "fd00::/16", "fd00::/64"];
/// Where Service addresses were left out. Never in two of these at once.
pub(crate) const CLOSED: [&str; 4] = [
    "10.96.0.0/24",
    "192.0.2.0/25",
    "10.0.0.0/23",
    "2001:db8::/64",
];
pub(crate) const PORTS: [u16; 7] = [0, 53, 80, 81, 443, 8080, 65_535];
pub(crate) const DEADLINES: [i64; 4] = [1_000, 2_000, 3_000, 4_000];
pub(crate) const LEASES: [u64; 3] = [500, 1_500, 2_500];
pub(crate) const SETS: u8 = 5;

pub(crate) fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

pub(crate) fn everybody() -> Vec<Address> {
    let extra = [
        "10.0.0.77",
        "10.0.1.77",
        "172.16.0.1",
        "fd00::77",
        "2001:db8::77",
        "::1",
        "::5",
    ];
    ADDRESSES
        .iter()
        .chain(&SERVICE_ADDRESSES)
        .chain(&extra)
        .map(|text| address(text))
        .collect()
}

pub(crate) fn set(number: u8) -> PeerSetId {
    PeerSetId([number; 16])
}

fn network() -> impl Strategy<Value = Network> {
    (
        prop::sample::select(&NETWORKS[..]),
        prop::collection::vec(prop::sample::select(&NETWORKS[..]), 0..3),
    )
        .prop_map(|(cidr, holes)| {
            let cidr: ipnet::IpNet = cidr.parse().unwrap();
            let inside = holes
                .into_iter()
                .map(|h| h.parse().unwrap())
                .filter(|h| cidr.contains(h) && *h != cidr);
            Network::new(cidr, inside)
        })
}

fn peers() -> impl Strategy<Value = PeerMatch> {
    let workloads = prop_oneof![
        1 => Just(Workloads::All),
        4 => prop::collection::btree_set(0..SETS, 0..3).prop_map(|s| Workloads::Sets(s.into_iter().map(set).collect())),
    ];
    let networks =
        prop::collection::btree_set(network(), 0..3).prop_map(|n| n.into_iter().collect());
    let certain = prop_oneof![
        1 => Just(PeerMatch::Any),
        5 => (workloads, networks).prop_map(|(workloads, networks)| PeerMatch::Of { workloads, networks }),
    ];
    (certain, prop::bool::weighted(0.2)).prop_map(|(peers, perhaps)| match perhaps {
        true => PeerMatch::Perhaps(Box::new(peers)),
        false => peers,
    })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop::sample::select(&[Protocol::Tcp, Protocol::Udp, Protocol::Icmp][..])
}

fn ports() -> impl Strategy<Value = PortMatch> {
    let port = prop::sample::select(&PORTS[..]);
    let range = (protocol(), port.clone(), port).prop_map(|(protocol, a, b)| PortRange {
        protocol,
        from: a.min(b),
        to: a.max(b),
    });
    prop_oneof![1 => Just(PortMatch::Any), 3 => prop::collection::vec(range, 0..3).prop_map(PortMatch::of)]
}

fn entry() -> impl Strategy<Value = Entry> {
    let stage = prop::sample::select(
        &[
            Stage::Quarantine,
            Stage::Admin,
            Stage::Boundary,
            Stage::Namespace,
            Stage::Baseline,
            Stage::Segment,
        ][..],
    );
    let action =
        prop::sample::select(&[Action::Allow, Action::Allow, Action::Deny, Action::Pass][..]);
    let mode = prop::sample::select(&[Mode::Enforce, Mode::Enforce, Mode::Audit][..]);
    let until = prop::option::weighted(
        0.2,
        prop::sample::select(&DEADLINES[..]).prop_map(Timestamp),
    );
    let lease = prop::option::weighted(0.2, prop::sample::select(&LEASES[..]).prop_map(Lease));
    (stage, action, mode, peers(), ports(), until, lease).prop_map(
        |(stage, action, mode, peers, ports, until, lease)| Entry {
            stage,
            action,
            mode,
            peers,
            ports,
            until,
            lease: lease.filter(|_| action != Action::Deny),
        },
    )
}

fn rules(direction: Direction) -> impl Strategy<Value = RuleSet> {
    prop::collection::vec(entry(), 0..7).prop_map(move |mut entries| {
        entries.sort_by_key(|entry| entry.stage);
        RuleSet { direction, entries }
    })
}

fn service() -> impl Strategy<Value = ServiceAddress> {
    let backend = (
        prop::sample::select(&ADDRESSES[..]),
        prop::sample::select(&PORTS[..]),
    )
        .prop_map(|(a, port)| ServiceBackend {
            address: address(a),
            port,
        });
    let backends =
        prop::collection::btree_set(backend, 0..4).prop_map(|b| b.into_iter().collect::<Vec<_>>());
    let port = ((protocol(), prop::sample::select(&PORTS[..])), backends);
    (
        any::<bool>(),
        prop::sample::select(&[false, false, true][..]),
        prop::collection::btree_map(port.0, port.1, 0..3),
    )
        .prop_map(|(external, closed, ports)| ServiceAddress {
            namespaces: vec!["ns0".into()],
            external,
            closed,
            ports: ports
                .into_iter()
                .map(|((protocol, port), backends)| ServicePort {
                    protocol,
                    port,
                    backends,
                })
                .collect(),
        })
}

fn members() -> impl Strategy<Value = PeerSet> {
    prop::collection::btree_set(prop::sample::select(&ADDRESSES[..]), 0..5)
        .prop_map(|members| members.into_iter().map(address).collect())
}

pub(crate) fn parts() -> impl Strategy<Value = NodeGraph> {
    let pair = (rules(Direction::Egress), rules(Direction::Ingress));
    let pairs = prop::collection::vec(pair, 1..4);
    let sets = prop::collection::vec(members(), usize::from(SETS));
    let ranges = prop::collection::btree_set(prop::sample::select(&RANGES[..]), 0..3);
    let services = prop::collection::btree_map(
        prop::sample::select(&SERVICE_ADDRESSES[..]),
        service(),
        0..3,
    );
    let closed = prop::collection::btree_set(prop::sample::select(&CLOSED[..]), 0..2);
    let parts = (pairs, sets, members(), ranges, services, closed);
    parts.prop_map(|(pairs, sets, known, ranges, services, closed)| {
        let locals = ["10.0.0.1", "10.0.0.2", "fd00::1"];
        let mut workloads = BTreeMap::new();
        let mut rule_sets = BTreeMap::new();
        for (number, (egress, ingress)) in pairs.into_iter().enumerate() {
            let workload = LocalWorkload {
                namespace: format!("ns{}", number % 2).into(),
                name: format!("w{number}").into(),
                addresses: [address(locals[number])].into(),
                interface: None,
                egress: egress.id(),
                ingress: ingress.id(),
            };
            workloads.insert(WorkloadUid(format!("uid-{number}").into()), workload.into());
            for rules in [egress, ingress] {
                rule_sets.insert(rules.id(), Arc::new(rules));
            }
        }
        let used: BTreeSet<PeerSetId> = rule_sets
            .values()
            .flat_map(|rules| rules.peer_sets().collect::<Vec<_>>())
            .collect();
        let peer_sets = (0..).map(set).zip(sets).filter(|(id, _)| used.contains(id));
        let peer_sets = peer_sets
            .map(|(id, members)| (id, Arc::new(members)))
            .collect();
        let prefixes = |texts: BTreeSet<&str>| -> Arc<[Prefix]> {
            let parse = |text: &str| text.parse::<ipnet::IpNet>().unwrap().into();
            texts.into_iter().map(parse).collect()
        };
        let services = services
            .into_iter()
            .map(|(a, service)| (address(a), service))
            .collect();
        NodeGraph::new(
            workloads.into(),
            rule_sets.into(),
            peer_sets,
            Arc::new(known),
            prefixes(ranges),
            Arc::new(services),
        )
        .with_closed(prefixes(closed))
    })
}
