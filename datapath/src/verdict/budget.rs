//! Who pays for what is remembered, and whether anything is left: each workload has a budget of each kind (G9).
//!
//! A limit goes with its budget from the beginning: found anew from the budget, it doubles the paths that the verifier walks.

use super::Subject;
use super::half::Direction;
use crate::abi::Opener;
use crate::tables::{Budget, Tables};

/// Who opens a flow in this direction, which budget pays for it, and how much that is.
#[inline(always)]
pub(super) const fn of(subject: &Subject<'_>, direction: Direction) -> (Opener, Budget, u32) {
    let node = subject.node;
    match direction {
        Direction::Egress => (Opener::Workload, Budget::ByWorkload, node.flows_by_workload),
        Direction::Ingress => (Opener::Peer, Budget::ToWorkload, node.flows_to_workload),
    }
}

/// Whether one more may be remembered; `None` if there is no such place.
#[inline(always)]
pub(super) fn has_room<T: Tables>(
    tables: &T,
    subject: &Subject<'_>,
    budget: Budget,
    limit: u32,
) -> Option<bool> {
    let used = tables.used(subject.slot, budget);
    used.map(|used| used < u64::from(limit))
}
