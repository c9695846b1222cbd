//! A plan in the making: compares the mirror with what is desired, table by table.

use std::collections::BTreeMap;

use bulkhead_datapath::abi::{
    Class, ExpiryId, Generation, Lane, PeerLane, PeerSlot, PeerValue, WorkloadSlot,
};
use bulkhead_encode::{Changes, Clock, Deadline, Desired, table_address};
use bulkhead_graph::Address;

use super::plan::{Plan, PlanError};
use super::planner::{Attached, Planner, Standing};
use super::port_writes::port_writes;
use super::{MapWrite, decisions};

/// Deadlines are rewritten when the wall clock stepped by more than this; slewing and rounding stay below.
const CLOCK_TOLERANCE_NS: u64 = 20_000_000;

pub(crate) struct Draft<'a> {
    pub(crate) planner: &'a mut Planner,
    pub(crate) desired: &'a Desired,
    pub(crate) attached: &'a Attached,
    pub(crate) changes: &'a Changes,
    pub(crate) standing: Standing,
    pub(crate) clock: Clock,
    pub(crate) plan: Plan,
    pub(crate) active: Lane,
    pub(crate) idle: Lane,
    /// What the idle lane lacks.
    pub(crate) to_idle: Vec<MapWrite>,
    /// What the active lane lacks; if there is any, another revision begins.
    pub(crate) to_active: Vec<MapWrite>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(
        planner: &'a mut Planner,
        desired: &'a Desired,
        attached: &'a Attached,
        changes: &'a Changes,
        standing: Standing,
        clock: Clock,
    ) -> Self {
        let (active, idle) = planner.lanes();
        Self {
            planner,
            desired,
            attached,
            changes,
            standing,
            clock,
            plan: Plan {
                wait_first: standing == Standing::Unknown,
                ..Plan::default()
            },
            active,
            idle,
            to_idle: Vec::new(),
            to_active: Vec::new(),
        }
    }

    pub(crate) fn everything(&self) -> bool {
        *self.changes == Changes::Everything
    }

    pub(crate) fn finish(mut self) -> Result<Plan, PlanError> {
        let layout = decisions::plan(&mut self)?;
        self.plan_expiries();
        if self.everything() {
            let classes = self.desired.port_classes();
            self.to_idle.extend(port_writes(
                &self.planner.tables,
                self.idle,
                classes,
                &layout,
            ));
            self.to_active.extend(port_writes(
                &self.planner.tables,
                self.active,
                classes,
                &layout,
            ));
            self.plan_networks()?;
        }
        let locals = self.plan_workloads()?;
        self.plan_peers(&locals)?;
        self.planner.locals = locals;
        if self.to_active.is_empty() {
            // The revision in force is the desired one; only the lane that nobody reads is behind.
            self.plan.settle.splice(0..0, self.to_idle);
        } else {
            self.plan.stage = self.to_idle;
            self.plan.settle.splice(0..0, self.to_active);
            self.plan.flip = Some(Generation(self.planner.generation().0 + 1));
        }
        Ok(self.plan)
    }

    pub(crate) fn too_small(table: &'static str, capacity: u32) -> PlanError {
        let capacity = capacity as usize;
        PlanError::TooSmall {
            table,
            needed: capacity + 1,
            capacity,
        }
    }

    /// The number of a deadline that some decision refers to.
    pub(crate) fn expiry_for(&mut self, at: Deadline) -> Result<ExpiryId, PlanError> {
        if let Some(id) = self.planner.numbers.expiries.get(&at) {
            return Ok(*id);
        }
        let pool = &mut self.planner.pools.expiries;
        let id = ExpiryId(
            pool.take()
                .ok_or_else(|| Self::too_small("EXPIRIES", pool.limit()))?,
        );
        self.planner.numbers.expiries.insert(at, id);
        Ok(id)
    }

    /// Deadlines come before the decisions that refer to them: one that is not there is over.
    fn plan_expiries(&mut self) {
        let deadlines = self.desired.deadlines();
        let mut writes = Vec::new();
        for (at, id) in &self.planner.numbers.expiries {
            let at_ns = self.clock.ends(at);
            let held = self.planner.tables.expiries.get(id);
            if !deadlines.contains(at) {
                self.plan.freed.expiries.push(id.0);
            } else if held.is_none_or(|held| held.abs_diff(at_ns) > CLOCK_TOLERANCE_NS) {
                writes.push(MapWrite::Expiry { id: *id, at_ns });
            }
        }
        self.planner
            .numbers
            .expiries
            .retain(|at, _| deadlines.contains(at));
        self.plan.prepare.splice(0..0, writes);
    }

    fn plan_peers(&mut self, locals: &BTreeMap<Address, WorkloadSlot>) -> Result<(), PlanError> {
        let mut addresses = self.planner.remarked(locals);
        match self.changes {
            Changes::Peers {
                addresses: changed, ..
            } => addresses.extend(changed),
            Changes::Everything => {
                let held = self
                    .planner
                    .tables
                    .peers
                    .keys()
                    .map(|address| Address(address.octets()));
                addresses.extend(held);
                addresses.extend(self.desired.peers().keys());
            }
        }
        for address in addresses {
            self.plan_peer(address, locals.get(&address).copied())?;
        }
        Ok(())
    }

    fn plan_peer(
        &mut self,
        address: Address,
        local: Option<WorkloadSlot>,
    ) -> Result<(), PlanError> {
        let wanted = self
            .desired
            .peers()
            .get(&address)
            .map(|key| self.planner.numbers.class_for(*key));
        let lane = PeerLane {
            class: wanted.unwrap_or(Class::NONE),
            ..PeerLane::default()
        };
        let key = table_address(address);
        let slot = match (self.planner.tables.peers.get(&key).copied(), wanted) {
            (None, None) => return Ok(()),
            (Some(slot), _) => slot,
            (None, Some(_)) => {
                let pool = &mut self.planner.pools.peers;
                let slot = PeerSlot(
                    pool.take()
                        .ok_or_else(|| Self::too_small("PEERS", pool.limit()))?,
                );
                self.plan.prepare.push(MapWrite::Peer {
                    slot,
                    value: self.peer_value(address, lane, local),
                });
                self.plan
                    .prepare
                    .push(MapWrite::InsertPeer { address: key, slot });
                self.to_active.push(MapWrite::PeerLane {
                    slot,
                    lane: self.active,
                    value: lane,
                });
                return Ok(());
            }
        };
        let held = self
            .planner
            .tables
            .classes
            .get(&slot)
            .copied()
            .unwrap_or_default();
        if held.address != key {
            // Somebody else's element: the address is passed over as it stands, and so it is until the flip.
            self.plan.prepare.push(MapWrite::Peer {
                slot,
                value: self.peer_value(address, lane, local),
            });
            self.to_active.push(MapWrite::PeerLane {
                slot,
                lane: self.active,
                value: lane,
            });
        } else {
            if held.lane(self.idle) != lane {
                self.to_idle.push(MapWrite::PeerLane {
                    slot,
                    lane: self.idle,
                    value: lane,
                });
            }
            if held.lane(self.active) != lane {
                self.to_active.push(MapWrite::PeerLane {
                    slot,
                    lane: self.active,
                    value: lane,
                });
            }
            match (held.local_workload(), local) {
                (held, wanted) if held == wanted => {}
                (_, Some(_)) => self.plan.prepare.push(MapWrite::PeerLocal { slot, local }),
                (_, None) => self.plan.settle.push(MapWrite::PeerLocal { slot, local }),
            }
        }
        if wanted.is_none() {
            self.plan.retire.push(MapWrite::RemovePeer(key));
            self.plan.freed.peers.push(slot.0);
        }
        Ok(())
    }

    /// An element that says nothing in the lane that is read: packets go on with NETWORKS.
    fn peer_value(
        &self,
        address: Address,
        lane: PeerLane,
        local: Option<WorkloadSlot>,
    ) -> PeerValue {
        let mut value = PeerValue {
            address: table_address(address),
            ..PeerValue::default()
        };
        value.lanes.set(self.idle, lane);
        value.set_local_workload(local);
        value
    }
}
