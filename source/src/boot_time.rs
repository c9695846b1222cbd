//! A clock that goes on while the machine sleeps: what was known before has aged when it wakes.

use std::ops::Add;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment of this run of the machine, by `CLOCK_BOOTTIME` (Linux 2.6.39).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootTime(Duration);

impl BootTime {
    /// This moment.
    ///
    /// # Panics
    /// If the kernel lacks the clock, which no kernel does that runs eBPF.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::CLOCK_BOOTTIME);
        Self(time.expect("a kernel with eBPF has this clock").into())
    }

    /// The time from an earlier moment to this one; zero if that is the later one.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The time from this moment to now.
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }
}

impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}
