//! How the wall clock of the graph's deadlines and the monotonic clock of the kernel lie to each other.

use bulkhead_graph::Timestamp;

const NS_PER_MS: i128 = 1_000_000;

/// Both clocks read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Wall clock.
    pub wall: Timestamp,
    /// The clock that the programs compare deadlines with, nanoseconds.
    pub monotonic_ns: u64,
}

impl Clock {
    /// The monotonic time of an instant; what lies before the start of that clock is 1, "already over".
    pub fn monotonic_of(&self, at: Timestamp) -> u64 {
        let ahead = (i128::from(at.0) - i128::from(self.wall.0)) * NS_PER_MS;
        let ns = (i128::from(self.monotonic_ns) + ahead).max(1);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_keep_their_distance_and_the_past_is_over() {
        let clock = Clock {
            wall: Timestamp(10_000),
            monotonic_ns: 5_000_000_000,
        };
        assert_eq!(clock.monotonic_of(Timestamp(10_500)), 5_500_000_000);
        assert_eq!(clock.monotonic_of(Timestamp(9_999)), 4_999_000_000);
        assert_eq!(clock.monotonic_of(Timestamp(-1_000_000)), 1);
        assert_eq!(clock.monotonic_of(Timestamp(i64::MAX)), u64::MAX);
    }
}
