//! The clocks, for the shell.

use std::time::{SystemTime, UNIX_EPOCH};

use bulkhead_encode::Clock;
use bulkhead_graph::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Both clocks at one moment; what was heard when is not theirs to know.
pub fn now() -> Clock {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let wall = Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    Clock {
        wall,
        monotonic_ns: monotonic_ns(),
        heard_ns: 0,
    }
}

/// The clock of the programs.
pub fn monotonic_ns() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_MONOTONIC) else {
        return 0;
    };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let ns = u64::try_from(time.tv_nsec()).unwrap_or(0);
    seconds * 1_000_000_000 + ns
}

/// The same in the ticks (2^30 ns) that flows are dated in.
pub fn tick(monotonic_ns: u64) -> u32 {
    // 2^32 ticks are 146 years.
    u32::try_from(monotonic_ns >> 30).unwrap_or(u32::MAX)
}

/// Names this run of the machine.
pub fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
