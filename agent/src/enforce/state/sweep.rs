//! Flows that are over are taken out, and budgets put right.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::WorkloadSlot;

use super::State;
use crate::kernel::{KernelError, Timeouts};
use crate::metrics::Swept;

impl State {
    /// Takes out flows that are over, and puts budgets right.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn sweep(&mut self, timeouts: &Timeouts, tick: u32) -> Result<Swept, KernelError> {
        let tables = self.planner.tables();
        let owned: BTreeSet<WorkloadSlot> = tables.interfaces.values().copied().collect();
        let incarnations: BTreeMap<WorkloadSlot, u8> = tables
            .workloads
            .iter()
            .map(|(slot, workload)| (*slot, workload.incarnation))
            .collect();
        let is_owner = |slot: WorkloadSlot, incarnation: u8| {
            owned.contains(&slot) && incarnations.get(&slot) == Some(&incarnation)
        };
        let sweep = self.kernel.sweep(timeouts, tick, is_owner)?;
        Ok(Swept {
            live: sweep.live.len(),
            over: sweep.over.len(),
            corrected: sweep.corrected,
        })
    }
}
