//! Tables in memory, put into the kernel as a whole: for asking the real programs about a world that no node holds.
//!
//! Not for a node in service: nothing here waits for a grace period.

use super::{Kernel, KernelError};
use bulkhead_datapath::abi::{Lane, MapName, Plain};
use bulkhead_datapath::memory::MemoryTables;

impl Kernel {
    /// Replaces everything that an agent would write, and forgets what the programs have written.
    pub fn fill(&mut self, tables: &MemoryTables) -> Result<(), KernelError> {
        self.clear()?;
        self.rewrite(tables)
    }

    /// Brings everything that an agent would write to what the tables say, and leaves alone what the programs have
    /// written. Entries that the tables do not have stay, and so do the programs' answers: the tables need a generation of their own.
    pub fn rewrite(&mut self, tables: &MemoryTables) -> Result<(), KernelError> {
        for (id, time) in &tables.expiries {
            check(
                self.maps.expiries.store(id.0, *time),
                MapName::Expiries,
                id.0,
                self.maps.expiries.length(),
            )?;
        }
        for (key, value) in &tables.decisions {
            if self.maps.decisions.get(key)?.as_ref() != Some(value) {
                self.maps.decisions.remove(key)?;
                self.maps.decisions.insert(key, value)?;
            }
        }
        for (table, lanes) in &tables.ports {
            for lane in [Lane::Even, Lane::Odd] {
                self.maps
                    .ports
                    .write_table(*table as u32, lane, &lanes[lane.index()]);
            }
        }
        for (slot, value) in &tables.network_classes {
            let length = self.maps.network_classes.length();
            check(
                self.maps.network_classes.write(slot.0, value),
                MapName::NetworkClasses,
                slot.0,
                length,
            )?;
        }
        for (key, slot) in &tables.networks {
            self.maps.networks.insert(key, *slot)?;
        }
        for (slot, value) in &tables.classes {
            let length = self.maps.classes.length();
            check(
                self.maps.classes.write(slot.0, value),
                MapName::Classes,
                slot.0,
                length,
            )?;
        }
        for (address, slot) in &tables.peers {
            self.maps.peers.insert(address, slot)?;
        }
        for (address, bits) in &tables.node_addresses {
            self.maps.node_addresses.insert(address, bits)?;
        }
        for (slot, value) in &tables.workloads {
            let length = self.maps.workloads.length();
            check(
                self.maps.workloads.write(slot.0, value),
                MapName::Workloads,
                slot.0,
                length,
            )?;
        }
        for (ifindex, slot) in &tables.interfaces {
            self.maps.interfaces.insert(ifindex, slot)?;
        }
        self.maps.node.write_limits(&tables.node);
        self.maps.node.flip(tables.node.generation);
        Ok(())
    }

    /// Empties every table.
    fn clear(&mut self) -> Result<(), KernelError> {
        let maps = &mut self.maps;
        maps.interfaces.clear()?;
        maps.peers.clear()?;
        maps.decisions.clear()?;
        maps.node_addresses.clear()?;
        maps.flows.clear()?;
        maps.fragments.clear()?;
        maps.talks.drain()?;
        for (key, _) in maps.networks.entries()? {
            maps.networks.remove(&key)?;
        }
        zero(&maps.workloads);
        zero(&maps.allowances);
        zero(&maps.classes);
        zero(&maps.network_classes);
        zero(&maps.expiries);
        zero(&maps.ports);
        self.forget_answers()
    }
}

fn zero<T: Plain>(array: &super::Mapped<T>) {
    for index in 0..array.length() {
        array.write_zero(index);
    }
}

fn check(written: bool, map: MapName, index: u32, length: u32) -> Result<(), KernelError> {
    if written {
        Ok(())
    } else {
        Err(KernelError::Index { map, index, length })
    }
}
