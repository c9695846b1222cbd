//! What is enforced on a machine that was restarted while its controller is away. Pure.
//!
//! The rules of the last graph are for workloads of the past: an address may have gone to another since. So nobody gets
//! them; but what the graph lets recognise as a workload is closed, not open, until the controller has spoken.

use std::collections::BTreeSet;
use std::sync::Arc;

use bulkhead_graph::{Address, LocalWorkload, NodeGraph, RuleSetId, SortedMap, WorkloadUid};

use crate::interfaces::{Far, Link, Links};

/// A graph in which every interface that may be a workload's by what `last` says is one that nothing is allowed to: its
/// name is one that the intent gave, or its far end holds the address of a workload, or one out of the workloads' ranges.
pub(super) fn closed(last: &NodeGraph, links: &Links) -> NodeGraph {
    let names: BTreeSet<&str> = last
        .workloads
        .values()
        .filter_map(|workload| workload.interface.as_deref())
        .collect();
    let addresses: BTreeSet<Address> = last
        .workloads
        .values()
        .flat_map(|workload| workload.addresses.iter().copied())
        .collect();
    let is_workload = |link: &Link, far: &Far| {
        let holds = |address: &Address| {
            let mut ranges = last.cluster_ranges.iter();
            addresses.contains(address) || ranges.any(|range| range.contains(*address))
        };
        names.contains(link.name.as_str()) || far.addresses.iter().any(holds)
    };
    let workloads = links.by_index.iter().filter_map(|(ifindex, link)| {
        let far = link.far.as_ref().filter(|far| is_workload(link, far))?;
        let workload = LocalWorkload {
            namespace: "".into(),
            name: link.name.as_str().into(),
            addresses: far.addresses.iter().copied().collect(),
            interface: Some(link.name.as_str().into()),
            // There are none of that name, and what has no rules is denied.
            egress: RuleSetId::default(),
            ingress: RuleSetId::default(),
        };
        let uid = WorkloadUid(format!("interface {ifindex} {}", link.name).into());
        Some((uid, workload.into()))
    });
    NodeGraph::new(
        workloads.collect(),
        SortedMap::new(),
        SortedMap::new(),
        Arc::default(),
        [].into(),
        Arc::default(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use bulkhead_datapath::abi::Mac;
    use bulkhead_graph::Prefix;

    fn address(third: u8, last: u8) -> Address {
        Address::from(std::net::IpAddr::from([10, 0, third, last]))
    }

    fn link(name: &str, far: Option<&[Address]>) -> Link {
        Link {
            name: name.to_owned(),
            far: far.map(|addresses| Far {
                mac: Mac::default(),
                addresses: addresses.iter().copied().collect(),
            }),
        }
    }

    #[test]
    fn whatever_may_be_a_workload_is_closed_and_nothing_else() {
        let workload = |interface: Option<&str>, addresses: &[Address]| {
            LocalWorkload {
                namespace: "shop".into(),
                name: "web".into(),
                addresses: addresses.into(),
                interface: interface.map(Into::into),
                egress: RuleSetId::default(),
                ingress: RuleSetId::default(),
            }
            .into()
        };
        let last = NodeGraph::new(
            [
                (WorkloadUid("a".into()), workload(Some("named"), &[])),
                (WorkloadUid("b".into()), workload(None, &[address(9, 9)])),
            ]
            .into(),
            SortedMap::new(),
            SortedMap::new(),
            Arc::default(),
            [Prefix::from("10.0.1.0/24".parse::<ipnet::IpNet>().unwrap())].into(),
            Arc::default(),
        );
        let links = Links {
            by_index: [
                (2, link("eth0", None)),
                (3, link("named", Some(&[]))),
                (4, link("held", Some(&[address(7, 1), address(9, 9)]))),
                (5, link("ranged", Some(&[address(1, 44)]))),
                (6, link("uplink", Some(&[address(7, 2)]))),
                (7, link("bare", Some(&[]))),
            ]
            .into(),
            ..Links::default()
        };
        let closed = closed(&last, &links);
        let found: Vec<_> = closed.workloads.values().collect();
        let names: Vec<&str> = found.iter().map(|workload| &*workload.name).collect();
        assert_eq!(names, ["named", "held", "ranged"]);
        assert_eq!(*found[1].addresses, [address(7, 1), address(9, 9)]);
        assert!(closed.rule_sets.is_empty());
    }
}
