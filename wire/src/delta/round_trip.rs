//! What is written is what is read, whole or not at all.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::IpAddr;
use std::sync::Arc;

use bulkhead_graph::{
    Action, Address, Delta, Direction, Entry, Lease, LocalWorkload, Mode, Network, NodeGraph,
    PeerMatch, PeerSet, PeerSetId, PortMatch, PortRange, Prefix, Protocol, RuleSet, ServiceAddress,
    ServiceBackend, ServicePort, SortedMap, Stage, Timestamp, WorkloadUid, Workloads,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::{Assembly, FromController, Frontier, Revision, decode_delta, encode_delta};

fn address() -> impl Strategy<Value = Address> {
    any::<IpAddr>().prop_map(Address::from)
}

fn network() -> impl Strategy<Value = Network> {
    let net = |v4: u32, length: u8| ipnet::Ipv4Net::new(v4.into(), length).unwrap().into();
    (any::<u32>(), 1..=30_u8, vec(31..=32_u8, 0..3)).prop_map(move |(v4, length, holes)| {
        Network::new(net(v4, length), holes.into_iter().map(|hole| net(v4, hole)))
    })
}

fn ports() -> impl Strategy<Value = PortMatch> {
    let range =
        (select(&Protocol::ALL[..]), any::<u16>(), any::<u16>()).prop_map(|(protocol, a, b)| {
            PortRange {
                protocol,
                from: a.min(b),
                to: a.max(b),
            }
        });
    prop_oneof![
        Just(PortMatch::Any),
        vec(range, 0..4).prop_map(PortMatch::of)
    ]
}

fn peers(sets: Vec<PeerSetId>) -> impl Strategy<Value = PeerMatch> {
    let some = vec(select(sets), 0..3).prop_map(|mut sets| {
        sets.sort();
        sets.dedup();
        Workloads::Sets(sets)
    });
    let workloads = prop_oneof![Just(Workloads::All), some];
    let of = (workloads, vec(network(), 0..3)).prop_map(|(workloads, networks)| PeerMatch::Of {
        workloads,
        networks,
    });
    let certain = prop_oneof![1 => Just(PeerMatch::Any), 3 => of];
    (certain, any::<bool>()).prop_map(|(peers, perhaps)| match perhaps {
        true => PeerMatch::Perhaps(Box::new(peers)),
        false => peers,
    })
}

fn rule_set(sets: Vec<PeerSetId>) -> impl Strategy<Value = RuleSet> {
    const STAGES: [Stage; 7] = [
        Stage::Quarantine,
        Stage::Exemption,
        Stage::Admin,
        Stage::Boundary,
        Stage::Namespace,
        Stage::Baseline,
        Stage::Segment,
    ];
    let entry = (
        select(&STAGES[..]),
        select(&[Action::Allow, Action::Deny, Action::Pass][..]),
        select(&[Mode::Enforce, Mode::Audit][..]),
        peers(sets),
        ports(),
        proptest::option::of(any::<i64>().prop_map(Timestamp)),
        proptest::option::of(any::<u64>().prop_map(Lease)),
    )
        .prop_map(|(stage, action, mode, peers, ports, until, lease)| Entry {
            stage,
            action,
            mode,
            peers,
            ports,
            until,
            lease: lease.filter(|_| action != Action::Deny),
        });
    (
        select(&[Direction::Ingress, Direction::Egress][..]),
        vec(entry, 0..5),
    )
        .prop_map(|(direction, entries)| RuleSet { direction, entries })
}

fn service() -> impl Strategy<Value = ServiceAddress> {
    let backend =
        (address(), any::<u16>()).prop_map(|(address, port)| ServiceBackend { address, port });
    let port = (select(&Protocol::ALL[..]), any::<u16>(), vec(backend, 0..3)).prop_map(
        |(protocol, port, backends)| ServicePort {
            protocol,
            port,
            backends,
        },
    );
    let namespaces = btree_set("[a-z]{1,8}", 0..3);
    (namespaces, any::<bool>(), any::<bool>(), vec(port, 0..3)).prop_map(
        |(namespaces, external, closed, ports)| ServiceAddress {
            namespaces: namespaces.into_iter().map(Into::into).collect(),
            external,
            closed,
            ports,
        },
    )
}

prop_compose! {
    fn parts()(
        peer_sets in btree_map(
            any::<[u8; 16]>().prop_map(PeerSetId),
            vec(address(), 0..20).prop_map(|members| Arc::new(members.into_iter().collect::<PeerSet>())),
            1..4,
        )
    )(
        rules in vec(rule_set(peer_sets.keys().copied().collect()), 1..4),
        peer_sets in Just(peer_sets),
        workloads in btree_map(
            "[a-z]{1,8}",
            ("[a-z]{1,8}", btree_set(address(), 0..3), proptest::option::of("veth[0-9]{1,3}"), any::<Index>(), any::<Index>()),
            0..4,
        ),
        known in vec(address(), 0..5),
        ranges in vec(any::<u8>(), 0..3),
        services in btree_map(address(), service(), 0..3),
        closed in vec(any::<u8>(), 0..3),
        nodes in vec(address(), 0..3),
    ) -> NodeGraph {
        let prefixes = |bytes: Vec<u8>| -> Arc<[Prefix]> {
            let host = |byte: u8| Prefix { address: Address([byte; 16]), length: 128 };
            bytes.into_iter().map(host).collect()
        };
        let rule_sets: SortedMap<_, _> = rules.into_iter().map(|rules| (rules.id(), Arc::new(rules))).collect();
        let ids: Vec<_> = rule_sets.keys().copied().collect();
        let workloads = workloads.into_iter().map(|(uid, (name, addresses, interface, egress, ingress))| {
            let workload = LocalWorkload {
                namespace: "shop".into(),
                name: name.into(),
                addresses: addresses.into_iter().collect(),
                interface: interface.map(Into::into),
                egress: *egress.get(&ids),
                ingress: *ingress.get(&ids),
            };
            (WorkloadUid(uid.into()), workload.into())
        });
        NodeGraph::new(
            workloads.collect(),
            rule_sets,
            peer_sets.into(),
            Arc::new(known.into_iter().collect()),
            prefixes(ranges),
            Arc::new(services),
        )
        .with_closed(prefixes(closed))
        .with_node_addresses(Arc::new(nodes.into_iter().collect()))
    }
}

fn transport(revision: &Revision) -> Revision {
    let mut messages = revision.messages().unwrap();
    let Some(FromController::Header(header)) = messages.next() else {
        panic!("no header")
    };
    let mut assembly = Assembly::new(header);
    for message in messages {
        let wire = crate::proto::ControllerMessage::from(message);
        let FromController::Part { offset, content } = wire.try_into().unwrap() else {
            panic!("no part")
        };
        assembly.add(offset, &content).unwrap();
    }
    assert!(assembly.is_complete());
    assembly.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_delta_arrives_as_it_was_sent(old in parts(), new in parts()) {
        let frontier = Frontier::default();
        let snapshot = Revision { delta: Delta::snapshot(&old), frontier: frontier.clone() };
        let held = transport(&snapshot).delta.apply(&NodeGraph::default()).unwrap();
        let delta = Revision { delta: Delta::between(&old, &new), frontier };
        let arrived = transport(&delta);
        prop_assert_eq!(&arrived, &delta);
        prop_assert_eq!(arrived.delta.apply(&held).unwrap().digest(), new.digest());
    }

    #[test]
    fn a_damaged_snapshot_makes_no_other_graph(graph in parts(), at in any::<Index>(), flip in 1..=255_u8) {
        let delta = Delta::snapshot(&graph);
        let mut bytes = encode_delta(&delta);
        prop_assume!(!bytes.is_empty());
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let read = decode_delta(delta.base, delta.target, &bytes);
        // A bit that changes nothing (an order, an unused field number) may pass; another graph never.
        if let Some(Ok(applied)) = read.ok().map(|read| read.apply(&NodeGraph::default())) {
            prop_assert_eq!(applied.digest(), graph.digest());
        }
    }

    #[test]
    fn a_cut_snapshot_makes_no_other_graph(graph in parts(), at in any::<Index>()) {
        let delta = Delta::snapshot(&graph);
        let bytes = encode_delta(&delta);
        prop_assume!(!bytes.is_empty());
        let read = decode_delta(delta.base, delta.target, &bytes[..at.index(bytes.len())]);
        if let Some(Ok(applied)) = read.ok().map(|read| read.apply(&NodeGraph::default())) {
            prop_assert_eq!(applied.digest(), graph.digest());
        }
    }
}

#[test]
fn an_entry_that_lost_its_peers_is_refused_by_name() {
    use crate::proto;
    use prost::Message as _;

    let entry = proto::Entry {
        stage: 1,
        action: 1,
        mode: 1,
        peers: Some(proto::PeerMatch {
            peers: None,
            perhaps: false,
        }),
        ports: Some(proto::PortMatch {
            ports: Some(proto::port_match::Ports::Any(proto::Everyone {})),
        }),
        until_ms: None,
        lease_ms: None,
    };
    let check = |entry: proto::Entry, field: &str, problem: &str| {
        let rules = proto::RuleSet {
            id: vec![0; 16],
            direction: 1,
            entries: vec![entry],
        };
        let delta = proto::Delta {
            rule_sets: vec![rules],
            known: Some(proto::MemberChange::default()),
            ..proto::Delta::default()
        };
        let error = decode_delta(
            Default::default(),
            Default::default(),
            &delta.encode_to_vec(),
        )
        .unwrap_err();
        assert_eq!(
            (error.field.as_str(), error.problem.as_str()),
            (field, problem)
        );
    };
    check(
        entry.clone(),
        "Delta.rule_sets[0].entries[0].peers",
        "is missing",
    );
    let unknown = proto::Entry {
        action: 9,
        ..entry.clone()
    };
    let ending = proto::Entry {
        action: 2,
        lease_ms: Some(60_000),
        ..entry
    };
    check(
        ending,
        "Delta.rule_sets[0].entries[0].lease_ms",
        "what denies does not end",
    );
    check(
        unknown,
        "Delta.rule_sets[0].entries[0].action",
        "9 is no known Action",
    );
}

#[test]
fn parts_out_of_order_or_too_many_are_refused() {
    let members: PeerSet = (0..40_000_u32)
        .map(|n| Address::from(IpAddr::from(n.to_be_bytes())))
        .collect();
    let graph = NodeGraph::new(
        SortedMap::new(),
        SortedMap::new(),
        [(PeerSetId([1; 16]), Arc::new(members))].into(),
        Arc::default(),
        [].into(),
        Arc::default(),
    );
    let revision = Revision {
        delta: Delta::snapshot(&graph),
        frontier: Frontier::default(),
    };
    let messages: Vec<_> = revision.messages().unwrap().collect();
    assert!(messages.len() > 3, "{} messages", messages.len());
    let FromController::Header(header) = &messages[0] else {
        panic!("no header")
    };
    let FromController::Part { content: first, .. } = &messages[1] else {
        panic!("no part")
    };
    let FromController::Part {
        offset,
        content: second,
    } = &messages[2]
    else {
        panic!("no part")
    };

    let mut assembly = Assembly::new(header.clone());
    assembly.add(0, first).unwrap();
    assert!(assembly.add(0, first).is_err(), "the same part twice");
    assert!(assembly.add(offset + 1, second).is_err(), "a gap");
    assembly.add(*offset, second).unwrap();
    assert!(!assembly.is_complete());
    let rest = vec![0; usize::try_from(header.length).unwrap()];
    assert!(
        assembly
            .add((first.len() + second.len()) as u64, &rest)
            .is_err(),
        "a surplus"
    );
}
