//! From one revision to the next with one 8-byte write: what to write into the kernel, and in which order (pure).
//!
//! A [`Planner`] mirrors what the kernel's tables hold and keeps the agent's own numbers for things. From the mirror
//! and what is desired it makes a [`Plan`]: inserts that nobody can see yet, the idle lane, the flip, and, only after
//! a grace period and the read-back, the other lane and the deletes. [`commit`] and [`settle`] perform it through the
//! [`Kernel`] trait. After every single write each verdict is that of the old or of the new revision (G4), and no
//! number or slot is used again before packets that may have seen its old meaning are gone (I5).

mod commit;
mod decisions;
mod draft;
mod kernel;
mod leases;
mod leftovers;
mod networks;
mod numbers;
mod plan;
mod planner;
mod pool;
mod port_writes;
mod workloads;
mod write;

pub use commit::{CommitError, Committed, clear_away, commit, settle};
pub use kernel::Kernel;
pub use leases::Renewal;
pub use numbers::Numbers;
pub use plan::{Plan, PlanError};
pub(crate) use planner::Pools;
pub use planner::{Attached, Interface, Planner};
pub(crate) use pool::Pool;
pub use write::MapWrite;

#[cfg(test)]
mod tests;
