//! When the answers may change by themselves.

use super::World;
use crate::model::Timestamp;

/// The next instant after `now` at which a policy begins or ends.
pub fn next_boundary(world: &World, now: Timestamp) -> Option<Timestamp> {
    world
        .policies()
        .flat_map(|policy| [policy.active_from, policy.expires_at])
        .flatten()
        .filter(|instant| *instant > now)
        .min()
}
