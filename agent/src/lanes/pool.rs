//! Slots of an array: handed out lowest first, and again only after they were given back.

use std::collections::BTreeSet;

#[derive(Debug, Clone, Default)]
pub(crate) struct Pool {
    taken: BTreeSet<u32>,
    free: BTreeSet<u32>,
    next: u32,
    limit: u32,
}

impl Pool {
    /// Slots from `first` to below `limit`, of which some are taken.
    pub(crate) fn new(first: u32, limit: u32, taken: impl Iterator<Item = u32>) -> Self {
        let taken: BTreeSet<u32> = taken.collect();
        let next = taken.last().map_or(first, |last| last + 1).max(first);
        let free = (first..next).filter(|slot| !taken.contains(slot)).collect();
        Self {
            taken,
            free,
            next,
            limit,
        }
    }

    pub(crate) fn take(&mut self) -> Option<u32> {
        let slot = match self.free.pop_first() {
            Some(slot) => slot,
            None if self.next < self.limit => {
                self.next += 1;
                self.next - 1
            }
            None => return None,
        };
        self.taken.insert(slot);
        Some(slot)
    }

    /// Takes back what nobody can see any more.
    pub(crate) fn give(&mut self, slot: u32) {
        if self.taken.remove(&slot) {
            self.free.insert(slot);
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }
}
