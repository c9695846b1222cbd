//! Keeps the mirror and the numbers, and makes plans.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::{Generation, Lane, Mac, WorkloadSlot};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_encode::{Changes, Clock, Desired};
use bulkhead_graph::{Address, WorkloadUid};

use super::draft::Draft;
use super::plan::{Freed, Plan, PlanError};
use super::pool::Pool;
use super::{MapWrite, Numbers};
use crate::reconcile;

/// The host side of a workload's link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    /// Where the programs are attached.
    pub ifindex: u32,
    /// The workload's own Ethernet address.
    pub mac: Mac,
    /// `WORKLOAD_*` bits.
    pub flags: u32,
}

/// The workloads whose interfaces are guarded. Nothing is written for others: they have no hook.
pub type Attached = BTreeMap<WorkloadUid, Interface>;

/// What the kernel holds, and what the numbers in it mean.
#[derive(Debug)]
pub struct Planner {
    pub(crate) tables: MemoryTables,
    pub(crate) numbers: Numbers,
    pub(crate) pools: Pools,
    /// Who owns a slot, as far as this agent has seen.
    pub(crate) owners: BTreeMap<WorkloadSlot, WorkloadUid>,
    /// Addresses marked as those of local workloads.
    pub(crate) locals: BTreeMap<Address, WorkloadSlot>,
    pub(crate) standing: Standing,
}

/// How the mirror lies to the last desired state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Both lanes say it: the next plan is as large as the change.
    Settled,
    /// A plan was made and not finished, or somebody else wrote: everything is compared.
    Unknown,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Pools {
    pub(crate) workloads: Pool,
    pub(crate) peers: Pool,
    pub(crate) networks: Pool,
    pub(crate) expiries: Pool,
}

impl Planner {
    /// For a kernel that holds `tables`, whoever wrote them.
    pub fn new(tables: MemoryTables) -> Self {
        Self {
            tables,
            numbers: Numbers::default(),
            pools: Pools::default(),
            owners: BTreeMap::new(),
            locals: BTreeMap::new(),
            standing: Standing::Unknown,
        }
    }

    /// Starts from what the kernel really holds: the next plan repairs whatever drifted.
    pub fn reread(&mut self, tables: MemoryTables) {
        self.tables = tables;
        self.standing = Standing::Unknown;
    }

    /// What the kernel holds, as far as this agent knows.
    pub fn tables(&self) -> &MemoryTables {
        &self.tables
    }

    /// What the numbers mean.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The revision that packets are judged by.
    pub fn generation(&self) -> Generation {
        self.tables.node.generation
    }

    /// The slot of a guarded workload.
    pub fn slot(&self, uid: &WorkloadUid) -> Option<WorkloadSlot> {
        self.owners
            .iter()
            .find(|(_, owner)| *owner == uid)
            .map(|(slot, _)| *slot)
    }

    /// Who owns a slot.
    pub fn owner(&self, slot: WorkloadSlot) -> Option<&WorkloadUid> {
        self.owners.get(&slot)
    }

    /// The way to `desired`. `changes` tells what may differ from what was desired when the last plan was settled.
    ///
    /// # Errors
    /// If a table is too small for both revisions. Nothing was written then.
    pub fn plan(
        &mut self,
        desired: &Desired,
        attached: &Attached,
        changes: &Changes,
        clock: Clock,
    ) -> Result<Plan, PlanError> {
        let standing = std::mem::replace(&mut self.standing, Standing::Unknown);
        let everything = Changes::Everything;
        let changes = match standing {
            Standing::Settled => changes,
            Standing::Unknown => {
                reconcile::recover(self, desired, attached, clock);
                &everything
            }
        };
        let plan = Draft::new(self, desired, attached, changes, standing, clock).finish()?;
        if plan.is_empty() {
            self.standing = Standing::Settled;
        }
        Ok(plan)
    }

    /// A write was performed.
    pub(crate) fn note(&mut self, write: &MapWrite) {
        write.perform(&mut self.tables);
    }

    /// A plan was performed to its end: what it freed can be used again.
    pub(crate) fn finish(&mut self, freed: &Freed) {
        freed
            .workloads
            .iter()
            .for_each(|slot| self.pools.workloads.give(*slot));
        freed
            .peers
            .iter()
            .for_each(|slot| self.pools.peers.give(*slot));
        freed
            .networks
            .iter()
            .for_each(|slot| self.pools.networks.give(*slot));
        freed
            .expiries
            .iter()
            .for_each(|slot| self.pools.expiries.give(*slot));
        self.standing = Standing::Settled;
    }

    pub(crate) fn lanes(&self) -> (Lane, Lane) {
        let active = self.tables.node.generation.lane();
        (active, active.other())
    }

    /// Addresses whose mark differs from `now`.
    pub(crate) fn remarked(&self, now: &BTreeMap<Address, WorkloadSlot>) -> BTreeSet<Address> {
        let all = self.locals.keys().chain(now.keys());
        all.filter(|address| self.locals.get(*address) != now.get(*address))
            .copied()
            .collect()
    }
}
