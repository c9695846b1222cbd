//! The way from what the kernel holds to what it should hold.

use bulkhead_datapath::abi::Generation;
use thiserror::Error;

use super::MapWrite;

/// Writes in their order, with the places where packets have to be waited for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// The tables are as somebody else left them, or a plan broke off: packets may be under way that saw what was there
    /// before that.
    pub wait_first: bool,
    /// What nobody can see yet: decisions under new numbers, new elements, keys that say what is true already.
    pub prepare: Vec<MapWrite>,
    /// The lane that packets do not read.
    pub stage: Vec<MapWrite>,
    /// The revision's number, if another one begins. Then comes a grace period, the read-back and the ack.
    pub flip: Option<Generation>,
    /// The lane that was read before, and what is not by lane.
    pub settle: Vec<MapWrite>,
    /// Deletes of what neither lane leads to. Then comes another grace period.
    pub retire: Vec<MapWrite>,
    pub(crate) freed: Freed,
}

/// What can be used again after the last grace period.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Freed {
    pub(crate) workloads: Vec<u32>,
    pub(crate) peers: Vec<u32>,
    pub(crate) networks: Vec<u32>,
    pub(crate) expiries: Vec<u32>,
}

impl Plan {
    /// Whether the kernel is already as desired.
    pub fn is_empty(&self) -> bool {
        self.flip.is_none()
            && [&self.prepare, &self.stage, &self.settle, &self.retire]
                .iter()
                .all(|writes| writes.is_empty())
    }

    /// Number of writes, the flip included.
    pub fn len(&self) -> usize {
        self.writes().count()
    }

    /// All writes in their order.
    pub fn writes(&self) -> impl Iterator<Item = MapWrite> + '_ {
        let before = self.prepare.iter().chain(&self.stage).copied();
        let after = self.settle.iter().chain(&self.retire).copied();
        before
            .chain(self.flip.map(MapWrite::Generation))
            .chain(after)
    }
}

/// Why there is no way. The revision in force stays in force.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum PlanError {
    /// Old and new revision do not fit beside each other. The capacity arithmetic (`encode::fit`) prevents this.
    #[error(
        "{table} has room for {capacity} entries, the change needs {needed}: raise the table's size"
    )]
    TooSmall {
        /// Name of the map.
        table: &'static str,
        /// With the old and the new revision.
        needed: usize,
        /// What it holds.
        capacity: usize,
    },
}
