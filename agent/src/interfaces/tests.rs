//! Who gets which interface, and what a liar gets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bulkhead_datapath::abi::{Mac, WorkloadSlot, WorkloadValue};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_encode::table_address;
use bulkhead_graph::{Address, LocalWorkload, NodeGraph, RuleSetId, SortedMap, WorkloadUid};

use super::{Far, Found, Link, Links, Proof, Unfound, find, recover};

fn address(last: u8) -> Address {
    Address::from(IpAddr::from([10, 0, 0, last]))
}

fn mac(last: u8) -> Mac {
    Mac {
        octets: [2, 0, 0, 0, 0, last],
    }
}

fn uid(name: &str) -> WorkloadUid {
    WorkloadUid(name.into())
}

fn graph(workloads: &[(&str, Option<&str>, &[u8])]) -> NodeGraph {
    let workloads = workloads.iter().map(|(name, interface, addresses)| {
        let workload = LocalWorkload {
            namespace: "shop".into(),
            name: (*name).into(),
            addresses: addresses.iter().map(|last| address(*last)).collect(),
            interface: interface.map(Into::into),
            egress: RuleSetId::default(),
            ingress: RuleSetId::default(),
        };
        (uid(name), workload.into())
    });
    let workloads = workloads.collect();
    NodeGraph::new(
        workloads,
        SortedMap::new(),
        SortedMap::new(),
        Arc::default(),
        [].into(),
        Arc::default(),
    )
}

fn veth(name: &str, addresses: &[u8]) -> Link {
    let far = Far {
        mac: mac(addresses.first().copied().unwrap_or(0)),
        addresses: addresses.iter().map(|last| address(*last)).collect(),
    };
    Link {
        name: name.to_owned(),
        far: Some(far),
    }
}

fn links(links: &[(u32, Link)], routes: &[(u8, u32)]) -> Links {
    Links {
        by_index: links.iter().cloned().collect(),
        routes: routes
            .iter()
            .map(|(last, ifindex)| (address(*last), *ifindex))
            .collect(),
        own: BTreeSet::new(),
        bridges: BTreeSet::new(),
    }
}

fn check(found: &Found, expected: &[(&str, Result<u32, Unfound>)]) {
    for (name, expected) in expected {
        let bound = found
            .bindings
            .get(&uid(name))
            .map(|binding| binding.ifindex);
        let unfound = found.unfound.get(&uid(name));
        assert_eq!(
            (bound, unfound),
            (expected.clone().ok(), expected.as_ref().err()),
            "{name}"
        );
    }
    assert_eq!(found.bindings.len() + found.unfound.len(), expected.len());
}

#[test]
fn by_name_by_address_or_with_a_reason() {
    let graph = graph(&[
        ("a", Some("va"), &[1]),
        ("b", None, &[2]),
        ("c", None, &[]),
        ("d", Some("gone"), &[4]),
        ("e", Some("eth0"), &[5]),
        ("f", None, &[6]),
    ]);
    let uplink = Link {
        name: "eth0".to_owned(),
        far: None,
    };
    let links = links(
        &[
            (1, uplink),
            (7, veth("va", &[])),
            (8, veth("vb", &[2, 200])),
        ],
        &[],
    );
    let found = find(&graph, &links, &BTreeMap::new());
    check(
        &found,
        &[
            ("a", Ok(7)),
            ("b", Ok(8)),
            ("c", Err(Unfound::NoAddress)),
            ("d", Err(Unfound::NoSuchInterface("gone".into()))),
            ("e", Err(Unfound::NoVeth("eth0".into()))),
            ("f", Err(Unfound::NoneLeadsThere)),
        ],
    );
    assert_eq!(found.bindings[&uid("b")].mac, mac(2));
}

#[test]
fn a_workload_that_takes_anothers_address_does_not_get_its_rules() {
    let graph = graph(&[("honest", None, &[1]), ("liar", None, &[2])]);
    let honest = links(&[(7, veth("v1", &[1])), (8, veth("v2", &[2]))], &[]);
    let before = find(&graph, &honest, &BTreeMap::new());
    let lying = links(&[(7, veth("v1", &[1])), (8, veth("v2", &[2, 1]))], &[]);
    let found = find(&graph, &lying, &before.bindings);
    check(&found, &[("honest", Ok(7)), ("liar", Ok(8))]);

    // Seen for the first time while the lie is told, only the host's route tells them apart.
    let found = find(&graph, &lying, &BTreeMap::new());
    let several = Unfound::Several(vec!["v1".to_owned(), "v2".to_owned()]);
    check(&found, &[("honest", Err(several)), ("liar", Ok(8))]);
    let routed = Links {
        routes: [(address(1), 7), (address(2), 8)].into(),
        ..lying
    };
    let found = find(&graph, &routed, &BTreeMap::new());
    check(&found, &[("honest", Ok(7)), ("liar", Ok(8))]);
}

/// What an agent has written: ifindex, the addresses that the intent gave, the far end's Ethernet address.
fn tables(workloads: &[(u32, &[u8], u8)]) -> MemoryTables {
    let mut tables = MemoryTables::default();
    for (slot, (ifindex, addresses, last)) in (0..).map(WorkloadSlot).zip(workloads) {
        let mut value = WorkloadValue {
            ifindex: *ifindex,
            mac: mac(*last),
            ..WorkloadValue::default()
        };
        for (place, last) in value.v4.iter_mut().zip(*addresses) {
            *place = table_address(address(*last));
        }
        tables.interfaces.insert(*ifindex, slot);
        tables.workloads.insert(slot, value);
    }
    tables
}

#[test]
fn g6_a_lie_told_while_the_agent_was_down_changes_no_binding() {
    let graph = graph(&[("honest", None, &[1]), ("liar", None, &[2])]);
    let lying = links(&[(7, veth("v1", &[1])), (8, veth("v2", &[2, 1]))], &[]);
    let held = tables(&[(7, &[1], 1), (8, &[2], 2)]);
    let before = recover(&graph, &lying, &held, &[7, 8].into());
    check(
        &find(&graph, &lying, &before),
        &[("honest", Ok(7)), ("liar", Ok(8))],
    );
    // Another Ethernet address, too.
    let held = tables(&[(7, &[1], 1), (8, &[2], 9)]);
    let before = recover(&graph, &lying, &held, &[7, 8].into());
    let found = find(&graph, &lying, &before);
    assert_eq!(found.bindings[&uid("liar")].mac, mac(9));
    assert_eq!(found.bindings[&uid("liar")].proof, Proof::Address);
}

#[test]
fn what_is_not_certain_is_not_recovered() {
    let graph = graph(&[("a", None, &[1]), ("b", None, &[2])]);
    let links = links(&[(7, veth("v1", &[1])), (8, veth("v2", &[2]))], &[]);
    let none = |held: &MemoryTables, guarded: &[u32]| {
        let guarded = guarded.iter().copied().collect();
        recover(&graph, &links, held, &guarded).is_empty()
    };
    assert!(
        none(&tables(&[(7, &[1], 1)]), &[8]),
        "an interface without our hooks may be another"
    );
    assert!(
        none(&tables(&[(9, &[1], 1)]), &[9]),
        "an interface that is gone"
    );
    assert!(
        none(&tables(&[(7, &[1], 1), (8, &[1], 1)]), &[7, 8]),
        "two interfaces of one workload"
    );
    assert!(
        none(&tables(&[(7, &[1, 2], 1)]), &[7]),
        "one interface of two workloads"
    );
    assert!(!none(&tables(&[(7, &[1], 1)]), &[7]));
}

#[test]
fn a_new_interface_replaces_one_that_is_gone() {
    let graph = graph(&[("a", None, &[1])]);
    let before = find(
        &graph,
        &links(&[(7, veth("v1", &[1]))], &[]),
        &BTreeMap::new(),
    );
    let found = find(
        &graph,
        &links(&[(9, veth("v9", &[1]))], &[]),
        &before.bindings,
    );
    check(&found, &[("a", Ok(9))]);
    // The same number under another name is another interface.
    let found = find(
        &graph,
        &links(&[(7, veth("other", &[]))], &[]),
        &before.bindings,
    );
    check(&found, &[("a", Err(Unfound::NoneLeadsThere))]);
}

#[test]
fn a_far_end_that_is_still_set_up_is_looked_at_again() {
    let graph = graph(&[("a", Some("v1"), &[1])]);
    let far = |last: u8, addresses: &[u8]| {
        let addresses = addresses.iter().map(|last| address(*last)).collect();
        links(
            &[(
                7,
                Link {
                    name: "v1".to_owned(),
                    far: Some(Far {
                        mac: mac(last),
                        addresses,
                    }),
                },
            )],
            &[],
        )
    };
    let first = find(&graph, &far(1, &[]), &BTreeMap::new());
    assert!(first.is_waiting());
    let second = find(&graph, &far(2, &[1]), &first.bindings);
    assert_eq!(
        second.bindings[&uid("a")].mac,
        mac(2),
        "the far end got another Ethernet address"
    );
    assert!(!second.is_waiting());
    let third = find(&graph, &far(3, &[1]), &second.bindings);
    assert_eq!(
        third.bindings[&uid("a")].mac,
        mac(2),
        "and from then on it is the workload's doing"
    );
}

#[test]
fn g12_who_names_the_interface_of_another_does_not_get_it() {
    let graph = graph(&[("pod", None, &[1]), ("thief", Some("v1"), &[])]);
    let taken = Unfound::Taken("v1".to_owned());
    let expected = [("pod", Ok(7)), ("thief", Err(taken))];
    let there = links(&[(7, veth("v1", &[1]))], &[]);
    check(&find(&graph, &there, &BTreeMap::new()), &expected);

    // Also not by having named it before the pod got its address.
    let early = links(&[(7, veth("v1", &[]))], &[]);
    let before = find(&graph, &early, &BTreeMap::new());
    assert_eq!(before.bindings[&uid("thief")].ifindex, 7);
    check(&find(&graph, &there, &before.bindings), &expected);
}
