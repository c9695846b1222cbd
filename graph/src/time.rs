//! Points in time as data: nothing in the pure crates reads a clock.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Whole seconds since the epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds * 1000)
    }
}

/// For how long something holds after the node's controller was last heard, milliseconds. Counted on the node, by a clock
/// that nobody sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lease(pub u64);

/// An instant on a node: what time it is, and for how long the node's controller has not been heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment {
    /// What time it is.
    pub now: Timestamp,
    /// For how long the controller has not been heard, milliseconds.
    pub unheard_ms: u64,
}

impl Moment {
    /// Whether a lease has ended.
    pub fn is_past(&self, lease: Option<Lease>) -> bool {
        lease.is_some_and(|Lease(ms)| ms <= self.unheard_ms)
    }
}

/// The controller has just been heard.
impl From<Timestamp> for Moment {
    fn from(now: Timestamp) -> Self {
        Self { now, unheard_ms: 0 }
    }
}
