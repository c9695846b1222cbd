//! WORKLOADS and INTERFACES: whose packets come through which interface, and by which rule sets they are judged.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::{
    self, ADDRESSES_PER_FAMILY, Lanes, RuleSet, WorkloadLane, WorkloadSlot, WorkloadValue,
};
use bulkhead_encode::table_address;
use bulkhead_graph::{Address, LocalWorkload, RuleSetId, WorkloadUid};

use super::MapWrite;
use super::draft::Draft;
use super::plan::PlanError;
use super::planner::Interface;

type Places = [abi::Address; ADDRESSES_PER_FAMILY];

impl Draft<'_> {
    /// Plans the workloads and returns which address belongs to which.
    pub(crate) fn plan_workloads(&mut self) -> Result<BTreeMap<Address, WorkloadSlot>, PlanError> {
        let mut locals = BTreeMap::new();
        let mut guarded: BTreeSet<u32> = BTreeSet::new();
        let workloads = self.desired.graph().workloads.clone();
        for (uid, workload) in &workloads {
            let Some(interface) = self.attached.get(uid) else {
                continue;
            };
            // An interface has one owner; the second to claim it has no hook of its own.
            if !guarded.insert(interface.ifindex) {
                continue;
            }
            let lane = WorkloadLane {
                egress: self.rule_set(workload.egress),
                ingress: self.rule_set(workload.ingress),
                class: abi::Class::NONE,
            };
            let slot = match self
                .planner
                .tables
                .interfaces
                .get(&interface.ifindex)
                .copied()
            {
                Some(slot) if slot != WorkloadSlot::BRIDGE => {
                    self.change_workload(slot, uid, workload, interface, lane);
                    slot
                }
                Some(_) => continue,
                None => self.insert_workload(workload, interface, lane)?,
            };
            self.planner.owners.insert(slot, uid.clone());
            locals.extend(workload.addresses.iter().map(|address| (*address, slot)));
        }
        self.retire_workloads(&guarded);
        Ok(locals)
    }

    fn rule_set(&self, id: RuleSetId) -> RuleSet {
        let key = self.desired.rule_sets().get(&id).map(|rules| rules.key);
        key.and_then(|key| self.planner.numbers.rule_sets.get(&key))
            .copied()
            .unwrap_or(RuleSet::NONE)
    }

    fn insert_workload(
        &mut self,
        workload: &LocalWorkload,
        interface: &Interface,
        lane: WorkloadLane,
    ) -> Result<WorkloadSlot, PlanError> {
        let pool = &mut self.planner.pools.workloads;
        let capacity = pool.limit() as usize;
        let slot = pool.take().ok_or(PlanError::TooSmall {
            table: "WORKLOADS",
            needed: capacity + 1,
            capacity,
        })?;
        let slot = WorkloadSlot(slot);
        let before = self
            .planner
            .tables
            .workloads
            .get(&slot)
            .map_or(0, |workload| workload.incarnation);
        let [v4, v6] = places(
            [[abi::Address::UNSPECIFIED; ADDRESSES_PER_FAMILY]; 2],
            workload,
        )
        .0;
        let mut value = WorkloadValue {
            ifindex: interface.ifindex,
            flags: interface.flags,
            lanes: Lanes::default(),
            mac: interface.mac,
            incarnation: before.wrapping_add(1),
            reserved: 0,
            v4,
            v6,
        };
        value.lanes.set(self.idle, lane);
        self.plan.prepare.push(MapWrite::Workload { slot, value });
        self.plan.prepare.push(MapWrite::InsertInterface {
            ifindex: interface.ifindex,
            slot,
        });
        self.to_active.push(MapWrite::WorkloadLane {
            slot,
            lane: self.active,
            value: lane,
        });
        Ok(slot)
    }

    fn change_workload(
        &mut self,
        slot: WorkloadSlot,
        uid: &WorkloadUid,
        workload: &LocalWorkload,
        interface: &Interface,
        lane: WorkloadLane,
    ) {
        let held = self
            .planner
            .tables
            .workloads
            .get(&slot)
            .copied()
            .unwrap_or_default();
        let ([v4, v6], kept) = places([held.v4, held.v6], workload);
        let same_owner = self
            .planner
            .owners
            .get(&slot)
            .is_none_or(|owner| owner == uid);
        // Flows name an address by its place: none may be found under another owner or address.
        let goes_on = same_owner && kept == Kept::All && held.mac == interface.mac;
        let incarnation = if goes_on {
            held.incarnation
        } else {
            held.incarnation.wrapping_add(1)
        };
        let value = WorkloadValue {
            flags: interface.flags,
            mac: interface.mac,
            incarnation,
            v4,
            v6,
            ..held
        };
        if held.ifindex != interface.ifindex {
            // Somebody else's element: nothing passes through the interface as it stands.
            let mut value = WorkloadValue {
                ifindex: interface.ifindex,
                lanes: Lanes::default(),
                ..value
            };
            value.lanes.set(self.idle, lane);
            self.plan.prepare.push(MapWrite::Workload { slot, value });
            self.to_active.push(MapWrite::WorkloadLane {
                slot,
                lane: self.active,
                value: lane,
            });
            return;
        }
        if value != held {
            let WorkloadValue {
                flags,
                mac,
                incarnation,
                v4,
                v6,
                ..
            } = value;
            self.plan.prepare.push(MapWrite::WorkloadOwner {
                slot,
                flags,
                mac,
                incarnation,
                v4,
                v6,
            });
        }
        if held.lane(self.idle) != lane {
            self.to_idle.push(MapWrite::WorkloadLane {
                slot,
                lane: self.idle,
                value: lane,
            });
        }
        if held.lane(self.active) != lane {
            self.to_active.push(MapWrite::WorkloadLane {
                slot,
                lane: self.active,
                value: lane,
            });
        }
    }

    /// Closes and then forgets the interfaces that no workload of the graph has any more.
    fn retire_workloads(&mut self, guarded: &BTreeSet<u32>) {
        let held = self.planner.tables.interfaces.iter();
        let gone: Vec<(u32, WorkloadSlot)> = held
            .filter(|(ifindex, slot)| **slot != WorkloadSlot::BRIDGE && !guarded.contains(ifindex))
            .map(|(ifindex, slot)| (*ifindex, *slot))
            .collect();
        for (ifindex, slot) in gone {
            let held = self
                .planner
                .tables
                .workloads
                .get(&slot)
                .copied()
                .unwrap_or_default();
            let closed = WorkloadLane::default();
            for (lane, writes) in [
                (self.idle, &mut self.to_idle),
                (self.active, &mut self.to_active),
            ] {
                if held.lane(lane) != closed {
                    writes.push(MapWrite::WorkloadLane {
                        slot,
                        lane,
                        value: closed,
                    });
                }
            }
            self.plan.retire.push(MapWrite::RemoveInterface(ifindex));
            self.plan.freed.workloads.push(slot.0);
            self.planner.owners.remove(&slot);
        }
    }
}

/// Whether an address lost its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    All,
    NotAll,
}

/// Puts a workload's addresses into places, by family. Those that have a place keep it. What finds none is left out:
/// the workload may not use it.
fn places(mut held: [Places; 2], workload: &LocalWorkload) -> ([Places; 2], Kept) {
    let wanted: BTreeSet<Address> = workload.addresses.iter().copied().collect();
    let mut kept = Kept::All;
    for place in held
        .iter_mut()
        .flatten()
        .filter(|place| **place != abi::Address::UNSPECIFIED)
    {
        if !wanted.contains(&Address(place.octets())) {
            *place = abi::Address::UNSPECIFIED;
            kept = Kept::NotAll;
        }
    }
    for address in wanted {
        let family = &mut held[usize::from(!address.is_ipv4())];
        let address = table_address(address);
        if !family.contains(&address)
            && let Some(place) = family
                .iter_mut()
                .find(|place| **place == abi::Address::UNSPECIFIED)
        {
            *place = address;
        }
    }
    (held, kept)
}
