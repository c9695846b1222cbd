//! Performing a plan. An ack is earned by reading back, after a grace period, what the kernel holds (I11, G15).

use thiserror::Error;

use super::leftovers::leftovers;
use super::plan::Freed;
use super::planner::Standing;
use super::{Kernel, MapWrite, Plan, Planner};

/// A revision is in force and was read back; what remains is tidying up.
#[derive(Debug)]
#[must_use = "the other lane has to be settled before the next revision"]
pub struct Committed {
    settle: Vec<MapWrite>,
    retire: Vec<MapWrite>,
    freed: Freed,
    /// Writes so far, the flip included.
    pub writes: usize,
    /// Whether another revision began.
    pub flipped: bool,
}

/// Why a plan broke off. The planner knows how far it came; its next plan goes on from there.
#[derive(Debug, Error)]
pub enum CommitError<E: std::error::Error + 'static> {
    /// The kernel refused a write.
    #[error("the kernel refused {write:?}: {reason}")]
    Write {
        /// Which.
        write: Box<MapWrite>,
        /// Why.
        reason: E,
    },
    /// Nobody could say that the packets under way are through.
    #[error("waiting for packets under way failed: {0}")]
    Grace(E),
    /// The kernel could not be asked.
    #[error("reading back failed: {0}")]
    ReadBack(E),
    /// The kernel holds something else than was written.
    #[error(
        "the kernel does not hold {write:?}, which was written a moment ago: somebody else writes these maps"
    )]
    NotHeld {
        /// What was written.
        write: Box<MapWrite>,
    },
}

/// Takes out what the lane that packets read does not lead to: what a plan that broke off left behind, or somebody else put
/// there. No verdict changes. Returns the number of writes; the next plan compares everything.
///
/// # Errors
/// If the kernel refuses, or cannot say that packets under way are through.
pub fn clear_away<K: Kernel>(
    kernel: &mut K,
    planner: &mut Planner,
) -> Result<usize, CommitError<K::Error>> {
    let writes = leftovers(&planner.tables, planner.lanes().0);
    planner.standing = Standing::Unknown;
    // Packets that read the other lane, or saw what a broken plan has retired.
    kernel.grace().map_err(CommitError::Grace)?;
    perform(kernel, planner, &writes)?;
    kernel.grace().map_err(CommitError::Grace)?;
    Ok(writes.len())
}

fn perform<K: Kernel>(
    kernel: &mut K,
    planner: &mut Planner,
    writes: &[MapWrite],
) -> Result<(), CommitError<K::Error>> {
    let (done, error) = kernel.write_all(writes);
    writes[..done].iter().for_each(|write| planner.note(write));
    match error {
        None => Ok(()),
        Some(reason) => Err(CommitError::Write {
            write: Box::new(writes[done]),
            reason,
        }),
    }
}

/// Brings a plan into force: up to the read-back. On success the revision may be acked.
///
/// # Errors
/// If the kernel refuses or does not hold something; the old revision is in force then, or the new one if the flip was
/// the last thing that worked.
pub fn commit<K: Kernel>(
    kernel: &mut K,
    planner: &mut Planner,
    plan: Plan,
) -> Result<Committed, CommitError<K::Error>> {
    let mut writes = plan.prepare.len() + plan.stage.len();
    if plan.wait_first && !plan.is_empty() {
        kernel.grace().map_err(CommitError::Grace)?;
    }
    perform(kernel, planner, &plan.prepare)?;
    perform(kernel, planner, &plan.stage)?;
    if let Some(generation) = plan.flip {
        perform(kernel, planner, &[MapWrite::Generation(generation)])?;
        writes += 1;
        kernel.grace().map_err(CommitError::Grace)?;
    }
    let flip = plan.flip.map(MapWrite::Generation);
    for write in plan.prepare.iter().chain(&plan.stage).chain(&flip) {
        if !kernel.holds(write).map_err(CommitError::ReadBack)? {
            return Err(CommitError::NotHeld {
                write: Box::new(*write),
            });
        }
    }
    let Plan {
        settle,
        retire,
        freed,
        flip,
        ..
    } = plan;
    Ok(Committed {
        settle,
        retire,
        freed,
        writes,
        flipped: flip.is_some(),
    })
}

/// Tidies up after an ack: the other lane, then the deletes, then the wait before anything is used again. Returns the
/// number of writes of the whole plan.
///
/// # Errors
/// If the kernel refuses; the revision is in force all the same.
pub fn settle<K: Kernel>(
    kernel: &mut K,
    planner: &mut Planner,
    committed: Committed,
) -> Result<usize, CommitError<K::Error>> {
    perform(kernel, planner, &committed.settle)?;
    perform(kernel, planner, &committed.retire)?;
    if !committed.retire.is_empty() {
        kernel.grace().map_err(CommitError::Grace)?;
    }
    planner.finish(&committed.freed);
    Ok(committed.writes + committed.settle.len() + committed.retire.len())
}
