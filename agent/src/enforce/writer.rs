//! Planned writes, performed on the maps of the running kernel.

use bulkhead_datapath::abi::{
    ExpiryId, Lane, MapName, NetworkKey, NetworkSlot, PeerSlot, Plain, PortTable, WorkloadSlot,
};
use bulkhead_datapath::memory::MemoryTables;

use super::state::HEARD;
use crate::kernel::{Array, Kernel, KernelError, Maps};
use crate::lanes::{self, MapWrite};

/// An insert met an entry that nobody here knew of; or a place does not exist.
fn refused(map: MapName, index: u32, length: u32) -> KernelError {
    KernelError::Index { map, index, length }
}

fn checked<T>(done: bool, array: &Array<T>, map: MapName, index: u32) -> Result<(), KernelError>
where
    T: Plain,
{
    if done {
        Ok(())
    } else {
        Err(refused(map, index, array.length()))
    }
}

fn exists(call: &'static str, new: bool) -> Result<(), KernelError> {
    if new {
        return Ok(());
    }
    Err(KernelError::Call {
        call,
        reason: std::io::ErrorKind::AlreadyExists.into(),
    })
}

/// Reads, changes and writes back an element; only words that differ are stored.
fn edit<T: Plain>(
    array: &Array<T>,
    map: MapName,
    index: u32,
    change: impl FnOnce(&mut T),
) -> Result<(), KernelError> {
    let mut value = array
        .read(index)
        .ok_or_else(|| refused(map, index, array.length()))?;
    change(&mut value);
    checked(array.write(index, &value), array, map, index)
}

impl lanes::Kernel for Kernel {
    type Error = KernelError;

    fn write(&mut self, write: &MapWrite) -> Result<(), KernelError> {
        let maps = &mut self.maps;
        match *write {
            MapWrite::Generation(generation) => maps.node.flip(generation),
            MapWrite::Expiry { id, at_ns } => {
                checked(
                    maps.expiries.store(id.0, at_ns),
                    &maps.expiries,
                    MapName::Expiries,
                    id.0,
                )?;
            }
            MapWrite::InsertDecision { key, value } => {
                exists(
                    "insert into DECISIONS",
                    maps.decisions.insert(&key, &value)?,
                )?;
            }
            MapWrite::RemoveDecision(key) => drop(maps.decisions.remove(&key)?),
            MapWrite::Peer { slot, value } => {
                checked(
                    maps.classes.write(slot.0, &value),
                    &maps.classes,
                    MapName::Classes,
                    slot.0,
                )?;
            }
            MapWrite::PeerLane { slot, lane, value } => {
                let done = maps.classes.write_lane(slot.0, lane, &value);
                checked(done, &maps.classes, MapName::Classes, slot.0)?;
            }
            MapWrite::PeerLocal { slot, local } => {
                edit(&maps.classes, MapName::Classes, slot.0, |peer| {
                    peer.set_local_workload(local)
                })?;
            }
            MapWrite::InsertPeer { address, slot } => {
                exists("insert into PEERS", maps.peers.insert(&address, &slot)?)?;
            }
            MapWrite::RemovePeer(address) => drop(maps.peers.remove(&address)?),
            MapWrite::Network { slot, value } => {
                let done = maps.network_classes.write(slot.0, &value);
                checked(done, &maps.network_classes, MapName::NetworkClasses, slot.0)?;
            }
            MapWrite::NetworkLane { slot, lane, class } => {
                let done = maps.network_classes.write_lane(slot.0, lane, &class);
                checked(done, &maps.network_classes, MapName::NetworkClasses, slot.0)?;
            }
            MapWrite::InsertNetwork { key, slot } => {
                exists("insert into NETWORKS", maps.networks.insert(&key, slot)?)?;
            }
            MapWrite::RemoveNetwork(key) => drop(maps.networks.remove(&key)?),
            MapWrite::Ports {
                table,
                lane,
                from,
                to,
                class,
            } => {
                let done = maps.ports.write_run(table as u32, lane, from..=to, class);
                checked(done, &maps.ports, MapName::Ports, table as u32)?;
            }
            MapWrite::Workload { slot, value } => {
                let done = maps.workloads.write(slot.0, &value);
                checked(done, &maps.workloads, MapName::Workloads, slot.0)?;
            }
            MapWrite::WorkloadLane { slot, lane, value } => {
                let done = maps.workloads.write_lane(slot.0, lane, &value);
                checked(done, &maps.workloads, MapName::Workloads, slot.0)?;
            }
            MapWrite::WorkloadOwner {
                slot,
                flags,
                mac,
                incarnation,
                v4,
                v6,
            } => {
                edit(&maps.workloads, MapName::Workloads, slot.0, |workload| {
                    (workload.flags, workload.mac, workload.incarnation) =
                        (flags, mac, incarnation);
                    (workload.v4, workload.v6) = (v4, v6);
                })?;
            }
            MapWrite::InsertInterface { ifindex, slot } => {
                exists(
                    "insert into INTERFACES",
                    maps.interfaces.insert(&ifindex, &slot)?,
                )?;
            }
            MapWrite::RemoveInterface(ifindex) => drop(maps.interfaces.remove(&ifindex)?),
        }
        Ok(())
    }

    fn grace(&mut self) -> Result<(), KernelError> {
        self.grace.wait()
    }

    fn holds(&mut self, write: &MapWrite) -> Result<bool, KernelError> {
        let maps = &self.maps;
        Ok(match *write {
            MapWrite::Generation(generation) => maps.node.generation() == generation,
            MapWrite::Expiry { id, at_ns } => maps.expiries.read(id.0) == Some(at_ns),
            MapWrite::InsertDecision { key, value } => maps.decisions.get(&key)? == Some(value),
            MapWrite::RemoveDecision(key) => maps.decisions.get(&key)?.is_none(),
            MapWrite::Peer { slot, value } => maps.classes.read(slot.0) == Some(value),
            MapWrite::PeerLane { slot, lane, value } => maps
                .classes
                .read(slot.0)
                .is_some_and(|peer| peer.lane(lane) == value),
            MapWrite::PeerLocal { slot, local } => maps
                .classes
                .read(slot.0)
                .is_some_and(|peer| peer.local_workload() == local),
            MapWrite::InsertPeer { address, slot } => maps.peers.get(&address)? == Some(slot),
            MapWrite::RemovePeer(address) => maps.peers.get(&address)?.is_none(),
            MapWrite::Network { slot, value } => maps.network_classes.read(slot.0) == Some(value),
            MapWrite::NetworkLane { slot, lane, class } => maps
                .network_classes
                .read(slot.0)
                .is_some_and(|network| network.lanes.read(lane) == class),
            MapWrite::InsertNetwork { key, slot } => held_network(maps, &key)? == Some(slot),
            MapWrite::RemoveNetwork(key) => held_network(maps, &key)?.is_none(),
            MapWrite::Ports {
                table,
                lane,
                from,
                to,
                class,
            } => maps.ports.holds_run(table as u32, lane, from..=to, class),
            MapWrite::Workload { slot, value } => maps.workloads.read(slot.0) == Some(value),
            MapWrite::WorkloadLane { slot, lane, value } => maps
                .workloads
                .read(slot.0)
                .is_some_and(|workload| workload.lane(lane) == value),
            MapWrite::WorkloadOwner {
                slot,
                flags,
                mac,
                incarnation,
                v4,
                v6,
            } => maps.workloads.read(slot.0).is_some_and(|workload| {
                (workload.flags, workload.mac, workload.incarnation) == (flags, mac, incarnation)
                    && (workload.v4, workload.v6) == (v4, v6)
            }),
            MapWrite::InsertInterface { ifindex, slot } => {
                maps.interfaces.get(&ifindex)? == Some(slot)
            }
            MapWrite::RemoveInterface(ifindex) => maps.interfaces.get(&ifindex)?.is_none(),
        })
    }

    fn read(&mut self) -> Result<MemoryTables, KernelError> {
        read_tables(&self.maps)
    }
}

/// Everything that an agent writes, as it is now.
///
/// # Errors
/// If some of it cannot be read.
pub fn read_tables(maps: &Maps) -> Result<MemoryTables, KernelError> {
    let mut tables = MemoryTables {
        capacity: maps.capacity,
        node: maps
            .node
            .read(0)
            .ok_or_else(|| refused(MapName::Node, 0, maps.node.length()))?,
        interfaces: maps.interfaces.entries()?.into_iter().collect(),
        workloads: elements(&maps.workloads)
            .map(|(slot, value)| (WorkloadSlot(slot), value))
            .collect(),
        peers: maps.peers.entries()?.into_iter().collect(),
        classes: elements(&maps.classes)
            .map(|(slot, value)| (PeerSlot(slot), value))
            .collect(),
        networks: maps.networks.entries()?.into_iter().collect(),
        network_classes: elements(&maps.network_classes)
            .map(|(slot, value)| (NetworkSlot(slot), value))
            .collect(),
        decisions: maps.decisions.entries()?.into_iter().collect(),
        expiries: elements(&maps.expiries)
            .filter(|(id, _)| *id != HEARD)
            .map(|(id, at_ns)| (ExpiryId(id), at_ns))
            .collect(),
        node_addresses: maps.node_addresses.entries()?.into_iter().collect(),
        ..MemoryTables::default()
    };
    for table in PortTable::ALL {
        let missing = || refused(MapName::Ports, table as u32, maps.ports.length());
        let read = |lane| maps.ports.read_lane(table as u32, lane).ok_or_else(missing);
        let lanes = [read(Lane::Even)?, read(Lane::Odd)?];
        if lanes.iter().flatten().any(|class| !class.is_none()) {
            tables.ports.insert(table, lanes);
        }
    }
    Ok(tables)
}

/// The slot of exactly this prefix: the trie may answer with a shorter one that covers it.
fn held_network(maps: &Maps, key: &NetworkKey) -> Result<Option<NetworkSlot>, KernelError> {
    let slot = maps.networks.get(key)?;
    let is_this = |slot: &NetworkSlot| {
        let value = maps.network_classes.read(slot.0);
        value.is_some_and(|value| {
            value.prefix.octets() == key.octets && value.prefix_length == key.prefix_length
        })
    };
    Ok(slot.filter(is_this))
}

/// Elements that are not all zero.
fn elements<T: Plain>(array: &Array<T>) -> impl Iterator<Item = (u32, T)> + '_ {
    let all = (0..array.length()).filter_map(|index| array.read(index).map(|value| (index, value)));
    all.filter(|(_, value)| value.as_bytes().iter().any(|byte| *byte != 0))
}

/// The same, noting when the revision changed.
pub(super) struct Timed<'a> {
    pub(super) kernel: &'a mut Kernel,
    pub(super) flipped_at: Option<std::time::Instant>,
}

impl lanes::Kernel for Timed<'_> {
    type Error = KernelError;

    fn write(&mut self, write: &MapWrite) -> Result<(), KernelError> {
        lanes::Kernel::write(self.kernel, write)?;
        if matches!(write, MapWrite::Generation(_)) {
            self.flipped_at = Some(std::time::Instant::now());
        }
        Ok(())
    }

    fn grace(&mut self) -> Result<(), KernelError> {
        lanes::Kernel::grace(self.kernel)
    }

    fn holds(&mut self, write: &MapWrite) -> Result<bool, KernelError> {
        lanes::Kernel::holds(self.kernel, write)
    }

    fn read(&mut self) -> Result<MemoryTables, KernelError> {
        lanes::Kernel::read(self.kernel)
    }
}
