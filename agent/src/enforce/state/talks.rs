//! What was denied, by the names that its ends have now.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::{TalkKey, TalkValue, WorkloadSlot};
use bulkhead_graph::{Address, LocalWorkload, NodeGraph};

use super::State;
use crate::events::full_name;
use crate::kernel::KernelError;
use crate::lanes::Planner;
use crate::talks::{Names, Reading};

/// Who is who on this node now.
struct Owners<'a> {
    graph: &'a NodeGraph,
    planner: &'a Planner,
    by_address: BTreeMap<Address, &'a LocalWorkload>,
}

impl Names for Owners<'_> {
    fn workload(&self, slot: WorkloadSlot, incarnation: u8) -> Option<String> {
        let held = self.planner.tables().workloads.get(&slot)?;
        let owner = self.graph.workloads.get(self.planner.owner(slot)?)?;
        (held.incarnation == incarnation).then(|| full_name(owner))
    }

    fn peer(&self, address: Address) -> Option<String> {
        self.by_address.get(&address).map(|owner| full_name(owner))
    }
}

impl State {
    /// Takes up what was denied since the last time.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn read_talks(&mut self) -> Result<Reading, KernelError> {
        let workloads = self.graph.workloads.values();
        let owners = Owners {
            graph: &self.graph,
            planner: &self.planner,
            by_address: workloads
                .flat_map(|workload| workload.addresses.iter().map(move |at| (*at, &**workload)))
                .collect(),
        };
        let talks = &mut self.kernel.maps.talks;
        let sum = |values: Vec<TalkValue>| TalkValue {
            packets: values.iter().map(|value| value.packets).sum(),
            bytes: values.iter().map(|value| value.bytes).sum(),
        };
        // A reading that meets a deletion may begin again, and tell an entry twice.
        let entries: BTreeMap<TalkKey, Vec<TalkValue>> = talks.entries()?.into_iter().collect();
        let entries = entries.into_iter().map(|(key, values)| (key, sum(values)));
        let capacity = self.kernel.maps.capacity.talks;
        let mut reading = self.talks.read(entries.collect(), capacity, &owners);
        for key in &reading.over {
            if let Some(last) = talks.take(key)? {
                reading
                    .added
                    .extend(self.talks.taken(key, sum(last), &owners));
            }
        }
        let here: BTreeSet<String> = self
            .graph
            .workloads
            .values()
            .map(|w| full_name(w))
            .collect();
        reading.gone = self.talks.keep(|workload| here.contains(workload));
        Ok(reading)
    }
}
