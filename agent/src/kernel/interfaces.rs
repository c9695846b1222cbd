//! INTERFACES, which leads to a workload, and DIRECT, which does so at once where it can.
//!
//! DIRECT never says what INTERFACES does not: it is written after an entry is there and cleared before it goes, so that
//! an agent that is killed in between leaves a place empty, and packets take the longer way.

use super::{Array, Hash, KernelError};
use bulkhead_datapath::abi::{Direct, WorkloadSlot};

/// Both maps as one.
#[derive(Debug)]
pub struct Interfaces {
    pub(super) hash: Hash<u32, WorkloadSlot>,
    pub(super) direct: Array<u64>,
}

impl Interfaces {
    /// The slot of an interface.
    pub fn get(&self, ifindex: &u32) -> Result<Option<WorkloadSlot>, KernelError> {
        self.hash.get(ifindex)
    }

    /// Puts an interface in, never over another (I5); says whether it is new.
    pub fn insert(&mut self, ifindex: &u32, slot: &WorkloadSlot) -> Result<bool, KernelError> {
        let new = self.hash.insert(ifindex, slot)?;
        if new {
            // The newest interface of a place is the one with traffic; the place has one owner, and it is whole.
            self.direct
                .store(Direct::place(*ifindex), Direct::new(*ifindex, *slot).0);
        }
        Ok(new)
    }

    /// Takes an interface out; says whether it was there.
    pub fn remove(&mut self, ifindex: &u32) -> Result<bool, KernelError> {
        let place = Direct::place(*ifindex);
        let held = self.direct.read(place).map(Direct);
        if held.is_some_and(|held| held.slot(*ifindex).is_some()) {
            self.direct.store(place, Direct::default().0);
        }
        self.hash.remove(ifindex)
    }

    /// Takes every interface out.
    pub fn clear(&mut self) -> Result<(), KernelError> {
        for (ifindex, _) in self.entries()? {
            self.remove(&ifindex)?;
        }
        Ok(())
    }

    /// All interfaces.
    pub fn entries(&self) -> Result<Vec<(u32, WorkloadSlot)>, KernelError> {
        self.hash.entries()
    }
}
