//! When the controller was last heard, and the leases that count from there.

use std::time::Duration;

use bulkhead_datapath::abi::ExpiryId;
use bulkhead_encode::Clock;
use tracing::error;

use super::State;
use crate::kernel::KernelError;
use crate::lanes::{self, Kernel as _};

/// The element of EXPIRIES that no decision refers to holds when the controller was last heard.
pub(in crate::enforce) const HEARD: u32 = ExpiryId::NONE.0;

/// Leases are not moved by less: it comes with every answer.
const HEARD_STEP_NS: u64 = 500_000_000;

/// What came of hearing the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Every lease counts from then on.
    Renewed,
    /// The next commit has to bring the leases there.
    ToCommit,
    /// It is no news.
    Known,
}

impl State {
    pub(super) fn hearing(&self, clock: Clock) -> Clock {
        Clock {
            heard_ns: self.heard_ns,
            ..clock
        }
    }

    /// When what is enforced was last known to be right; `None` = never since the machine was started.
    pub fn heard_ns(&self) -> Option<u64> {
        (self.heard_ns != 0).then_some(self.heard_ns)
    }

    /// What is enforced was right at `heard_ns`. Kept in the kernel after everything that follows from it: whoever is killed in
    /// between leaves leases that its successor does not take for its own.
    ///
    /// # Errors
    /// If the kernel does not take a store.
    pub fn heard(&mut self, heard_ns: u64, clock: Clock) -> Result<Heard, KernelError> {
        if heard_ns < self.heard_ns.saturating_add(HEARD_STEP_NS) {
            return Ok(Heard::Known);
        }
        // What the leases in the kernel count from, and not what a commit that failed was to bring them to.
        let before = Clock {
            heard_ns: self.kernel.maps.expiries.read(HEARD).unwrap_or(0),
            ..clock
        };
        let after = Clock { heard_ns, ..clock };
        match self.planner.renewal(before, after) {
            lanes::Renewal::Stores(stores) => {
                for store in stores {
                    self.kernel.write(&store)?;
                    self.planner.note(&store);
                }
                self.heard_ns = heard_ns;
                self.keep_heard();
                Ok(Heard::Renewed)
            }
            lanes::Renewal::Anew => {
                self.planner.doubt();
                self.heard_ns = heard_ns;
                Ok(Heard::ToCommit)
            }
        }
    }

    /// Notes in the kernel what the leases in it count from.
    pub(super) fn keep_heard(&mut self) {
        let element = self.kernel.maps.expiries.read(HEARD);
        if element != Some(self.heard_ns) && !self.kernel.maps.expiries.store(HEARD, self.heard_ns)
        {
            error!(
                "when the controller was heard cannot be noted; a restarted agent takes leases for ended"
            );
        }
    }

    /// For how long it has not been known that what is enforced is right.
    pub(super) fn unheard(&self, now_ns: u64) -> Option<Duration> {
        let heard_ns = self.heard_ns()?;
        Some(Duration::from_nanos(now_ns.saturating_sub(heard_ns)))
    }
}
