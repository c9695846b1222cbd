//! Whose interface it was before the agent was restarted: by what the kernel holds, not by what far ends say now (I9).

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi;
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_graph::{Address, NodeGraph, WorkloadUid};

use super::{Binding, Links, Proof, holds};

/// Bindings that the last agent wrote into the kernel. `guarded` are interfaces that still carry its hooks, so they are the same
/// ones. What two workloads or two interfaces could claim is left to be found anew.
pub(crate) fn recover(
    graph: &NodeGraph,
    links: &Links,
    tables: &MemoryTables,
    guarded: &BTreeSet<u32>,
) -> BTreeMap<WorkloadUid, Binding> {
    let mut owners: BTreeMap<Address, BTreeSet<&WorkloadUid>> = BTreeMap::new();
    for (uid, workload) in &graph.workloads {
        for address in &workload.addresses {
            owners.entry(*address).or_default().insert(uid);
        }
    }
    let mut claims: BTreeMap<&WorkloadUid, Vec<Binding>> = BTreeMap::new();
    for (ifindex, slot) in &tables.interfaces {
        let held = tables.workloads.get(slot);
        let (Some(held), Some(link)) = (
            held.filter(|held| held.ifindex == *ifindex && guarded.contains(ifindex)),
            links.by_index.get(ifindex),
        ) else {
            continue;
        };
        let addresses = held.v4.iter().chain(&held.v6);
        let uids: BTreeSet<&WorkloadUid> = addresses
            .filter(|address| **address != abi::Address::UNSPECIFIED)
            .filter_map(|address| owners.get(&Address(address.octets())))
            .flatten()
            .copied()
            .collect();
        let (Some(uid), 1) = (uids.first(), uids.len()) else {
            continue;
        };
        let leads_there = link
            .far
            .as_ref()
            .is_some_and(|far| holds(far, &graph.workloads[*uid]));
        claims.entry(*uid).or_default().push(Binding {
            ifindex: *ifindex,
            name: link.name.clone(),
            mac: held.mac,
            proof: if leads_there {
                Proof::Address
            } else {
                Proof::Name
            },
        });
    }
    let single = claims.into_iter().filter_map(|(uid, mut bindings)| {
        let binding = bindings.pop()?;
        bindings.is_empty().then(|| (uid.clone(), binding))
    });
    single.collect()
}
