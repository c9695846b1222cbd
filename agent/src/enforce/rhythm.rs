//! What is done because time has passed.

use std::time::{Duration, Instant};

use bulkhead_encode::Clock;
use tracing::{debug, error, warn};

use super::{EnforceError, Enforcer};
use crate::clock;
use crate::kernel::Timeouts;

/// The wall clock may be slewed by this much before deadlines are computed again.
const CLOCK_STEP_MS: u64 = 500;

/// How often what is done by the clock is done.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    /// Between two sweeps of flows.
    pub sweep: Duration,
    /// Between two looks for drift.
    pub audit: Duration,
}

impl Enforcer {
    pub(super) fn by_the_clock(&mut self) {
        let offset_ms = offset_ms(clock::now());
        if offset_ms.abs_diff(self.clock_offset_ms) > CLOCK_STEP_MS {
            self.clock_offset_ms = offset_ms;
            warn!("the wall clock was set; deadlines are computed again");
            if let Err(error) = self.state.reread() {
                error!(%error, "the kernel's tables cannot be read");
            }
            self.again("the clock was set");
        }
        if self.state.deadline_passed(clock::now().wall) {
            self.again("a deadline passed");
        }
        if self.swept.elapsed() >= self.rhythm.sweep {
            self.swept = Instant::now();
            match self
                .state
                .sweep(&Timeouts::default(), clock::tick(clock::monotonic_ns()))
            {
                Ok(swept) => self.outputs.metrics.swept(&swept),
                Err(error) => warn!(%error, "flows that are over could not be taken out"),
            }
            match self.state.read_talks() {
                Ok(reading) => self.outputs.metrics.talked(&reading),
                Err(error) => warn!(%error, "what was denied could not be read"),
            }
        }
        if self.audited.elapsed() >= self.rhythm.audit {
            self.audited = Instant::now();
            self.audit();
        }
    }

    /// Reads the kernel back and repairs what is not as it should be.
    fn audit(&mut self) {
        // Bookmarks can wait, and would wait for a disk that hangs.
        if !self.is_writing() {
            self.mark();
            self.save();
            self.report_disk();
        }
        self.audit_hooks();
        if !self.state.has_graph() {
            return;
        }
        let repaired: Result<usize, EnforceError> = self
            .state
            .reread()
            .map_err(EnforceError::from)
            .and_then(|()| self.lead());
        match repaired {
            Ok(0) => debug!("the kernel holds what it should"),
            Ok(writes) => {
                self.outputs.metrics.repaired(writes);
                warn!(
                    writes,
                    "somebody else changed the kernel's tables; they are repaired"
                );
            }
            Err(error) => error!(%error, "the kernel's tables cannot be compared or repaired"),
        }
    }

    fn audit_hooks(&mut self) {
        match self.state.check_hooks() {
            Ok(0) => {}
            Ok(hooks) => {
                self.outputs.metrics.repaired(hooks);
                warn!(hooks, "hooks were missing; they are put back");
            }
            Err(error) => error!(%error, "hooks cannot be checked"),
        }
    }
}

/// How the wall clock lies to the monotonic one.
pub(super) fn offset_ms(clock: Clock) -> i64 {
    clock.wall.0 - i64::try_from(clock.monotonic_ns / 1_000_000).unwrap_or(0)
}
