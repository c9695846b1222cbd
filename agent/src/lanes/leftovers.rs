//! Entries that packets cannot be led to, found from the tables alone: no graph has to be known for it.
//!
//! An apply that broke off leaves what it had prepared. Usually the next plan takes it out after its own inserts; where that
//! would need more room than there is, it has to go first, or nothing would ever change again (G8).

use std::collections::BTreeSet;

use bulkhead_datapath::abi::{
    Address, Class, DecisionKey, Lane, NetworkKey, NetworkSlot, PeerLane, PeerSlot, RuleSet,
    WorkloadLane, WorkloadSlot,
};
use bulkhead_datapath::memory::MemoryTables;

use super::MapWrite;
use super::port_writes::blocks_led_to;

/// Deletes that change no verdict in `active`.
pub(super) fn leftovers(tables: &MemoryTables, active: Lane) -> Vec<MapWrite> {
    let led_to = LedTo::of(tables, active);
    let decisions = tables.decisions.keys().filter(|key| !led_to.decides(key));
    let peers = tables
        .peers
        .iter()
        .filter(|(address, slot)| says_nothing(tables, active, address, **slot))
        .map(|(address, _)| MapWrite::RemovePeer(*address));
    let networks = tables
        .networks
        .iter()
        .filter(|(key, slot)| adds_nothing(tables, active, key, **slot))
        .map(|(key, _)| MapWrite::RemoveNetwork(*key));
    let interfaces = tables
        .interfaces
        .iter()
        .filter(|(ifindex, slot)| is_nobodys(tables, **ifindex, **slot))
        .map(|(ifindex, _)| MapWrite::RemoveInterface(*ifindex));
    decisions
        .copied()
        .map(MapWrite::RemoveDecision)
        .chain(peers)
        .chain(networks)
        .chain(interfaces)
        .collect()
}

/// What packets can come to.
struct LedTo {
    rule_sets: BTreeSet<RuleSet>,
    classes: BTreeSet<Class>,
    blocks: BTreeSet<u32>,
}

impl LedTo {
    fn of(tables: &MemoryTables, active: Lane) -> Self {
        let workloads = tables.interfaces.values();
        let workloads = workloads.filter_map(|slot| tables.workloads.get(slot));
        let workloads: Vec<WorkloadLane> =
            workloads.map(|workload| workload.lane(active)).collect();
        let peers = tables.peers.values();
        let peers = peers.filter_map(|slot| tables.classes.get(slot));
        let peers: Vec<PeerLane> = peers.map(|peer| peer.lane(active)).collect();
        let networks = tables.networks.values();
        let networks = networks.filter_map(|slot| tables.network_classes.get(slot));
        let own = workloads
            .iter()
            .flat_map(|lane| [lane.egress, lane.ingress]);
        let others = peers.iter().flat_map(|lane| [lane.egress, lane.ingress]);
        let classes = workloads.iter().map(|lane| lane.class);
        Self {
            rule_sets: own.chain(others).collect(),
            classes: classes
                .chain(peers.iter().map(|lane| lane.class))
                .chain(networks.map(|network| network.lanes.read(active)))
                .collect(),
            blocks: blocks_led_to(tables, active).collect(),
        }
    }

    fn decides(&self, key: &DecisionKey) -> bool {
        self.rule_sets.contains(&key.rule_set)
            && self.classes.contains(&key.class)
            && self.blocks.contains(&key.block)
    }
}

/// Whether packets go on with NETWORKS although the address is there.
fn says_nothing(tables: &MemoryTables, active: Lane, address: &Address, slot: PeerSlot) -> bool {
    let held = tables.classes.get(&slot);
    // A mark of a local workload alone is one that was prepared: whoever is in force has a class.
    held.is_none_or(|peer| peer.address != *address || peer.lane(active) == PeerLane::default())
}

/// Whether the prefix around it says the same.
fn adds_nothing(tables: &MemoryTables, active: Lane, key: &NetworkKey, slot: NetworkSlot) -> bool {
    let class_of = |key: &NetworkKey, slot: &NetworkSlot| {
        let held = tables.network_classes.get(slot)?;
        let is_its = held.prefix.octets() == key.octets && held.prefix_length == key.prefix_length;
        is_its.then(|| held.lanes.read(active))
    };
    let Some(own) = class_of(key, &slot) else {
        return true;
    };
    let around = (0..key.prefix_length).rev().find_map(|length| {
        let wider = shortened(key, length);
        let slot = tables.networks.get(&wider)?;
        Some(class_of(&wider, slot))
    });
    around == Some(Some(own))
}

/// The prefix of this length around another.
fn shortened(key: &NetworkKey, prefix_length: u32) -> NetworkKey {
    let bits = u128::from_be_bytes(key.octets);
    let mask = u128::MAX.checked_shl(128 - prefix_length).unwrap_or(0);
    NetworkKey {
        prefix_length,
        octets: (bits & mask).to_be_bytes(),
    }
}

/// Whether a packet of this interface finds no workload.
fn is_nobodys(tables: &MemoryTables, ifindex: u32, slot: WorkloadSlot) -> bool {
    let held = tables.workloads.get(&slot);
    slot != WorkloadSlot::BRIDGE && held.is_none_or(|workload| workload.ifindex != ifindex)
}
