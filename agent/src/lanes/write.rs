//! One change of one element of one map, as data.

use bulkhead_datapath::abi::{
    ADDRESSES_PER_FAMILY, Address, Class, DecisionKey, DecisionValue, ExpiryId, Generation, Lane,
    Mac, NetworkKey, NetworkSlot, NetworkValue, PORTS_PER_TABLE, PeerLane, PeerSlot, PeerValue,
    PortClass, PortTable, WorkloadLane, WorkloadSlot, WorkloadValue,
};
use bulkhead_datapath::memory::MemoryTables;

/// A change. Each is one hash operation, or stores of aligned words through a mapping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MapWrite {
    /// NODE: the revision that packets read. One 8-byte store with release order.
    Generation(Generation),
    /// EXPIRIES: one 8-byte store, monotonic nanoseconds.
    Expiry {
        /// Which.
        id: ExpiryId,
        /// When.
        at_ns: u64,
    },
    /// DECISIONS: a new key.
    InsertDecision {
        /// Which.
        key: DecisionKey,
        /// What it says, for ever.
        value: DecisionValue,
    },
    /// DECISIONS: a key that no lane leads to any more.
    RemoveDecision(DecisionKey),
    /// CLASSES: a whole element that PEERS does not lead to.
    Peer {
        /// Which element.
        slot: PeerSlot,
        /// The whole of it.
        value: PeerValue,
    },
    /// CLASSES: one lane of an element.
    PeerLane {
        /// Which element.
        slot: PeerSlot,
        /// Which half.
        lane: Lane,
        /// The half.
        value: PeerLane,
    },
    /// CLASSES: which local workload an address belongs to.
    PeerLocal {
        /// Which element.
        slot: PeerSlot,
        /// The workload of this node, if it is one.
        local: Option<WorkloadSlot>,
    },
    /// PEERS: a new key.
    InsertPeer {
        /// The key.
        address: Address,
        /// Its element of CLASSES.
        slot: PeerSlot,
    },
    /// PEERS: a key that no lane says anything about.
    RemovePeer(Address),
    /// NETWORK_CLASSES: a whole element that NETWORKS does not lead to.
    Network {
        /// Which element.
        slot: NetworkSlot,
        /// The whole of it.
        value: NetworkValue,
    },
    /// NETWORK_CLASSES: one lane of an element.
    NetworkLane {
        /// Which element.
        slot: NetworkSlot,
        /// Which half.
        lane: Lane,
        /// The half.
        class: Class,
    },
    /// NETWORKS: a new key.
    InsertNetwork {
        /// The key.
        key: NetworkKey,
        /// Its element of NETWORK_CLASSES.
        slot: NetworkSlot,
    },
    /// NETWORKS: a key that says what the prefix around it says.
    RemoveNetwork(NetworkKey),
    /// PORTS: one run of ports in one lane.
    Ports {
        /// Which table.
        table: PortTable,
        /// Which half.
        lane: Lane,
        /// First port.
        from: u16,
        /// Last port.
        to: u16,
        /// The class of all of them.
        class: PortClass,
    },
    /// WORKLOADS: a whole element that INTERFACES does not lead to.
    Workload {
        /// Which element.
        slot: WorkloadSlot,
        /// The whole of it.
        value: WorkloadValue,
    },
    /// WORKLOADS: one lane of an element.
    WorkloadLane {
        /// Which element.
        slot: WorkloadSlot,
        /// Which half.
        lane: Lane,
        /// The half.
        value: WorkloadLane,
    },
    /// WORKLOADS: who the workload is. Not by lane: it steers what the workload may claim to be, not policy.
    WorkloadOwner {
        /// Which element.
        slot: WorkloadSlot,
        /// `WORKLOAD_*` bits.
        flags: u32,
        /// Its Ethernet address.
        mac: Mac,
        /// Which owner of the slot.
        incarnation: u8,
        /// Its IPv4 addresses.
        v4: [Address; ADDRESSES_PER_FAMILY],
        /// Its IPv6 addresses.
        v6: [Address; ADDRESSES_PER_FAMILY],
    },
    /// INTERFACES: a new key.
    InsertInterface {
        /// The key.
        ifindex: u32,
        /// Its element of WORKLOADS.
        slot: WorkloadSlot,
    },
    /// INTERFACES: the interface is no workload's any more.
    RemoveInterface(u32),
}

fn set<K: Ord, V: Copy>(
    map: &mut std::collections::BTreeMap<K, V>,
    key: K,
    zero: impl FnOnce() -> V,
    change: impl FnOnce(&mut V),
) {
    change(map.entry(key).or_insert_with(zero));
}

impl MapWrite {
    /// Does the same to tables in memory.
    pub fn perform(&self, tables: &mut MemoryTables) {
        match *self {
            Self::Generation(generation) => tables.node.generation = generation,
            Self::Expiry { id, at_ns } => {
                tables.expiries.insert(id, at_ns);
            }
            Self::InsertDecision { key, value } => {
                tables.decisions.insert(key, value);
            }
            Self::RemoveDecision(key) => {
                tables.decisions.remove(&key);
            }
            Self::Peer { slot, value } => {
                tables.classes.insert(slot, value);
            }
            Self::PeerLane { slot, lane, value } => {
                set(&mut tables.classes, slot, PeerValue::default, |peer| {
                    peer.lanes.set(lane, value)
                });
            }
            Self::PeerLocal { slot, local } => {
                set(&mut tables.classes, slot, PeerValue::default, |peer| {
                    peer.set_local_workload(local)
                });
            }
            Self::InsertPeer { address, slot } => {
                tables.peers.insert(address, slot);
            }
            Self::RemovePeer(address) => {
                tables.peers.remove(&address);
            }
            Self::Network { slot, value } => {
                tables.network_classes.insert(slot, value);
            }
            Self::NetworkLane { slot, lane, class } => {
                let zero = NetworkValue::default;
                set(&mut tables.network_classes, slot, zero, |network| {
                    network.lanes.set(lane, class)
                });
            }
            Self::InsertNetwork { key, slot } => {
                tables.networks.insert(key, slot);
            }
            Self::RemoveNetwork(key) => {
                tables.networks.remove(&key);
            }
            Self::Ports {
                table,
                lane,
                from,
                to,
                class,
            } => fill_ports(tables, table, lane, from, to, class),
            Self::Workload { slot, value } => {
                tables.workloads.insert(slot, value);
            }
            Self::WorkloadLane { slot, lane, value } => {
                set(&mut tables.workloads, slot, WorkloadValue::default, |w| {
                    w.lanes.set(lane, value)
                });
            }
            Self::WorkloadOwner {
                slot,
                flags,
                mac,
                incarnation,
                v4,
                v6,
            } => {
                set(&mut tables.workloads, slot, WorkloadValue::default, |w| {
                    *w = WorkloadValue {
                        flags,
                        mac,
                        incarnation,
                        v4,
                        v6,
                        ..*w
                    };
                });
            }
            Self::InsertInterface { ifindex, slot } => {
                tables.interfaces.insert(ifindex, slot);
            }
            Self::RemoveInterface(ifindex) => {
                tables.interfaces.remove(&ifindex);
            }
        }
    }

    /// Whether tables in memory are as this write leaves them.
    pub fn is_performed(&self, tables: &MemoryTables) -> bool {
        match *self {
            Self::Generation(generation) => tables.node.generation == generation,
            Self::Expiry { id, at_ns } => tables.expiries.get(&id) == Some(&at_ns),
            Self::InsertDecision { key, value } => tables.decisions.get(&key) == Some(&value),
            Self::RemoveDecision(key) => !tables.decisions.contains_key(&key),
            Self::Peer { slot, value } => tables.classes.get(&slot) == Some(&value),
            Self::PeerLane { slot, lane, value } => tables
                .classes
                .get(&slot)
                .is_some_and(|peer| peer.lane(lane) == value),
            Self::PeerLocal { slot, local } => tables
                .classes
                .get(&slot)
                .is_some_and(|peer| peer.local_workload() == local),
            Self::InsertPeer { address, slot } => tables.peers.get(&address) == Some(&slot),
            Self::RemovePeer(address) => !tables.peers.contains_key(&address),
            Self::Network { slot, value } => tables.network_classes.get(&slot) == Some(&value),
            Self::NetworkLane { slot, lane, class } => tables
                .network_classes
                .get(&slot)
                .is_some_and(|network| network.lanes.read(lane) == class),
            Self::InsertNetwork { key, slot } => tables.networks.get(&key) == Some(&slot),
            Self::RemoveNetwork(key) => !tables.networks.contains_key(&key),
            Self::Ports {
                table,
                lane,
                from,
                to,
                class,
            } => tables.ports.get(&table).is_some_and(|lanes| {
                lanes[lane.index()][usize::from(from)..=usize::from(to)]
                    .iter()
                    .all(|one| *one == class)
            }),
            Self::Workload { slot, value } => tables.workloads.get(&slot) == Some(&value),
            Self::WorkloadLane { slot, lane, value } => tables
                .workloads
                .get(&slot)
                .is_some_and(|workload| workload.lane(lane) == value),
            Self::WorkloadOwner {
                slot,
                flags,
                mac,
                incarnation,
                v4,
                v6,
            } => tables.workloads.get(&slot).is_some_and(|workload| {
                *workload
                    == WorkloadValue {
                        flags,
                        mac,
                        incarnation,
                        v4,
                        v6,
                        ..*workload
                    }
            }),
            Self::InsertInterface { ifindex, slot } => {
                tables.interfaces.get(&ifindex) == Some(&slot)
            }
            Self::RemoveInterface(ifindex) => !tables.interfaces.contains_key(&ifindex),
        }
    }
}

fn fill_ports(
    tables: &mut MemoryTables,
    table: PortTable,
    lane: Lane,
    from: u16,
    to: u16,
    class: PortClass,
) {
    let empty = || {
        [
            vec![PortClass::NONE; PORTS_PER_TABLE],
            vec![PortClass::NONE; PORTS_PER_TABLE],
        ]
    };
    let lanes = tables.ports.entry(table).or_insert_with(empty);
    lanes[lane.index()][usize::from(from)..=usize::from(to)].fill(class);
}
