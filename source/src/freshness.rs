//! Until when a source knows its inputs: what it has not heard of may have changed.

use std::sync::{Arc, Mutex, PoisonError};

use crate::BootTime;

/// The moment up to which everything that a source could know is in the updates that it has handed on. Moves also while nothing
/// changes, and stops when the source cannot ask any more.
#[derive(Debug, Clone, Default)]
pub struct Freshness(Arc<Mutex<Option<BootTime>>>);

impl Freshness {
    /// `None` before everything was read once.
    pub fn instant(&self) -> Option<BootTime> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to this moment has been handed on. It never goes back.
    pub fn reached(&self, at: BootTime) {
        let mut instant = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *instant = (*instant).max(Some(at));
    }
}
