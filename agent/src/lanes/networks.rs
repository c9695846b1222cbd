//! NETWORKS and NETWORK_CLASSES: a prefix comes and goes as what the prefix around it is.

use std::collections::BTreeMap;

use bulkhead_datapath::abi::{Class, NetworkKey, NetworkSlot, NetworkValue};
use bulkhead_encode::table_address;
use bulkhead_graph::{Address, Prefix};

use super::MapWrite;
use super::draft::Draft;
use super::plan::PlanError;

impl Draft<'_> {
    pub(crate) fn plan_networks(&mut self) -> Result<(), PlanError> {
        let mut wanted: BTreeMap<NetworkKey, Class> = BTreeMap::new();
        for region in self.desired.regions() {
            let class = self.planner.numbers.class_for(region.class);
            wanted.insert(network_key(&region.prefix), class);
        }
        let lengths: Vec<u32> = {
            let mut lengths: Vec<u32> = self
                .planner
                .tables
                .networks
                .keys()
                .map(|key| key.prefix_length)
                .collect();
            lengths.dedup();
            lengths
        };
        for (key, class) in &wanted {
            match self.planner.tables.networks.get(key).copied() {
                Some(slot) => self.change_network(*key, slot, *class),
                None => self.insert_network(*key, *class, &lengths)?,
            }
        }
        let gone: Vec<(NetworkKey, NetworkSlot)> = self
            .planner
            .tables
            .networks
            .iter()
            .filter(|(key, _)| !wanted.contains_key(key))
            .map(|(key, slot)| (*key, *slot))
            .collect();
        for (key, slot) in gone {
            // Until it is gone it says what the prefix around it says.
            let around = self.desired.region_around(&prefix(&key)).class;
            let class = self.planner.numbers.class_for(around);
            self.change_network(key, slot, class);
            self.plan.retire.push(MapWrite::RemoveNetwork(key));
            self.plan.freed.networks.push(slot.0);
        }
        Ok(())
    }

    fn insert_network(
        &mut self,
        key: NetworkKey,
        class: Class,
        lengths: &[u32],
    ) -> Result<(), PlanError> {
        let pool = &mut self.planner.pools.networks;
        let slot = NetworkSlot(
            pool.take()
                .ok_or_else(|| Self::too_small("NETWORKS", pool.limit()))?,
        );
        // In the lane that is read, it says what the prefix around it says.
        let mut value = self.network_value(&key, self.class_around(&key, lengths));
        value.lanes.set(self.idle, class);
        self.plan.prepare.push(MapWrite::Network { slot, value });
        self.plan
            .prepare
            .push(MapWrite::InsertNetwork { key, slot });
        if value.lanes.read(self.active) != class {
            self.to_active.push(MapWrite::NetworkLane {
                slot,
                lane: self.active,
                class,
            });
        }
        Ok(())
    }

    fn network_value(&self, key: &NetworkKey, class: Class) -> NetworkValue {
        let mut value = NetworkValue {
            prefix: bulkhead_datapath::abi::Address::from_octets(key.octets),
            prefix_length: key.prefix_length,
            ..NetworkValue::default()
        };
        value.lanes.set(self.active, class);
        value
    }

    /// The class of the longest prefix around a key, in the lane that is read. `lengths` ascend.
    fn class_around(&self, key: &NetworkKey, lengths: &[u32]) -> Class {
        let shorter = lengths
            .iter()
            .rev()
            .filter(|length| **length < key.prefix_length);
        for length in shorter {
            let around = network_key(&shortened(prefix(key), *length));
            if let Some(slot) = self.planner.tables.networks.get(&around) {
                let held = self.planner.tables.network_classes.get(slot);
                return held.map_or(Class::NONE, |value| value.lanes.read(self.active));
            }
        }
        Class::NONE
    }

    fn change_network(&mut self, key: NetworkKey, slot: NetworkSlot, class: Class) {
        let held = self
            .planner
            .tables
            .network_classes
            .get(&slot)
            .copied()
            .unwrap_or_default();
        let fresh = self.network_value(&key, Class::NONE);
        if (held.prefix, held.prefix_length) != (fresh.prefix, fresh.prefix_length) {
            // Somebody else's element: it is passed over as it stands, and so it stays until the flip.
            let mut value = fresh;
            value.lanes.set(self.idle, class);
            self.plan.prepare.push(MapWrite::Network { slot, value });
            self.to_active.push(MapWrite::NetworkLane {
                slot,
                lane: self.active,
                class,
            });
            return;
        }
        if held.lanes.read(self.idle) != class {
            self.to_idle.push(MapWrite::NetworkLane {
                slot,
                lane: self.idle,
                class,
            });
        }
        if held.lanes.read(self.active) != class {
            self.to_active.push(MapWrite::NetworkLane {
                slot,
                lane: self.active,
                class,
            });
        }
    }
}

fn network_key(prefix: &Prefix) -> NetworkKey {
    NetworkKey::new(table_address(prefix.address), u32::from(prefix.length))
}

fn prefix(key: &NetworkKey) -> Prefix {
    Prefix {
        address: Address(key.octets),
        length: u8::try_from(key.prefix_length).unwrap_or(128),
    }
}

/// The prefix of fewer bits around a prefix.
fn shortened(prefix: Prefix, length: u32) -> Prefix {
    let mask = if length == 0 {
        0
    } else {
        u128::MAX << (128 - length.min(128))
    };
    let address = u128::from_be_bytes(prefix.address.0) & mask;
    Prefix {
        address: Address(address.to_be_bytes()),
        length: u8::try_from(length).unwrap_or(128),
    }
}
