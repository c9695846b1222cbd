//! How the wall clock of the graph's deadlines and the monotonic clock of the kernel lie to each other.

use bulkhead_graph::{Lease, Timestamp};

use crate::Deadline;

const NS_PER_MS: i128 = 1_000_000;

/// A millisecond.
const NAME_BITS: u64 = (1 << 20) - 1;

/// Both clocks read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Wall clock.
    pub wall: Timestamp,
    /// The clock that the programs compare deadlines with, nanoseconds.
    pub monotonic_ns: u64,
    /// When, by that clock, what is enforced was last known to be right for the controller's inputs; 0 = never.
    pub heard_ns: u64,
}

impl Clock {
    /// The monotonic time of an instant; what lies before the start of that clock is 1, "already over".
    pub fn monotonic_of(&self, at: Timestamp) -> u64 {
        let ahead = (i128::from(at.0) - i128::from(self.wall.0)) * NS_PER_MS;
        let ns = (i128::from(self.monotonic_ns) + ahead).max(1);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// The end of a lease. The wall clock has no part in it. Before anything was heard it is 1, "already over".
    pub fn end_of(&self, Lease(ms): Lease) -> u64 {
        match self.heard_ns {
            0 => 1,
            heard_ns => heard_ns.saturating_add(ms.saturating_mul(1_000_000)),
        }
    }

    /// The monotonic time of a deadline: the earlier of its two. One with a lease ends up to two milliseconds before that, and its
    /// lowest bits name it: several may end at one time, and whoever finds them in a kernel has to tell them apart. A date alone is
    /// exact, for what ends then may be a denial; an end of a lease never opens anything.
    pub fn ends(&self, deadline: &Deadline) -> u64 {
        let date = deadline.until.map(|at| self.monotonic_of(at));
        let lease = deadline.lease.map(|lease| self.end_of(lease));
        let ns = date.into_iter().chain(lease).min().unwrap_or(u64::MAX);
        if deadline.lease.is_none() {
            return ns;
        }
        let before = (ns & !NAME_BITS).saturating_sub(NAME_BITS + 1);
        (before | deadline.name() & NAME_BITS).max(1)
    }

    /// Whether two times in a kernel's table are those of deadlines with one name; of such as have a lease.
    pub const fn is_one_deadline(a_ns: u64, b_ns: u64) -> bool {
        (a_ns ^ b_ns) & NAME_BITS == 0
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
            heard_ns: 0,
        };
        assert_eq!(clock.monotonic_of(Timestamp(10_500)), 5_500_000_000);
        assert_eq!(clock.monotonic_of(Timestamp(9_999)), 4_999_000_000);
        assert_eq!(clock.monotonic_of(Timestamp(-1_000_000)), 1);
        assert_eq!(clock.monotonic_of(Timestamp(i64::MAX)), u64::MAX);
    }

    /// Never later, and hardly earlier.
    fn is_just_before(ns: u64, wanted: u64) -> bool {
        ns < wanted && wanted - ns <= 2 << 20
    }

    #[test]
    fn a_lease_counts_from_what_was_heard_and_no_clock_that_is_set_moves_it() {
        let deadline = Deadline {
            until: None,
            lease: Some(Lease(2_000)),
        };
        let mut clock = Clock {
            wall: Timestamp(10_000),
            monotonic_ns: 5_000_000_000,
            heard_ns: 4_500_000_000,
        };
        let end = clock.ends(&deadline);
        assert!(is_just_before(end, 6_500_000_000), "{end}");
        clock.wall = Timestamp(-99_000);
        assert_eq!(clock.ends(&deadline), end);
        clock.heard_ns = 0;
        assert!(
            clock.ends(&deadline) < 1 << 20,
            "nothing was ever heard, and so it is over"
        );
        clock.heard_ns = u64::MAX - 1;
        assert!(clock.ends(&deadline) > u64::MAX / 2);
    }

    #[test]
    fn the_earlier_end_counts_and_each_has_its_name() {
        let clock = Clock {
            wall: Timestamp(10_000),
            monotonic_ns: 5_000_000_000,
            heard_ns: 5_000_000_000,
        };
        let ends = |until: Option<i64>, lease: Option<u64>| {
            clock.ends(&Deadline {
                until: until.map(Timestamp),
                lease: lease.map(Lease),
            })
        };
        assert!(is_just_before(
            ends(Some(11_000), Some(2_000)),
            6_000_000_000
        ));
        assert!(is_just_before(
            ends(Some(13_000), Some(2_000)),
            7_000_000_000
        ));
        let at_once = [
            ends(None, Some(2_000)),
            ends(Some(12_000), Some(2_000)),
            ends(Some(13_000), Some(2_000)),
        ];
        for (number, one) in at_once.iter().enumerate() {
            for other in &at_once[number + 1..] {
                assert!(!Clock::is_one_deadline(*one, *other));
            }
        }
    }
}
