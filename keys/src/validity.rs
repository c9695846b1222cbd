//! From when to when a certificate is valid, and when its end is near.

use bulkhead_graph::Timestamp;

/// An end that is nearer than this is warned of.
const SOON_MS: i64 = 30 * DAY_MS;

const DAY_MS: i64 = 24 * 3_600_000;

/// From, and until before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: Timestamp,
    /// The first one in which it is valid no more.
    pub until: Timestamp,
}

impl Validity {
    /// Days that are left, if they are few: of one that lives for weeks only, the last quarter. Whoever renews in good time
    /// has done so by then.
    pub(crate) fn few_days_left(self, now: Timestamp) -> Option<i64> {
        let left_ms = self.until.0 - now.0;
        let soon_ms = SOON_MS.min((self.until.0 - self.from.0) / 4);
        (left_ms < soon_ms).then(|| left_ms.div_euclid(DAY_MS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp(day * DAY_MS)
    }

    #[test]
    fn an_end_is_near_for_a_month_or_a_quarter_of_a_short_life() {
        let of = |days| Validity {
            from: day(0),
            until: day(days),
        };
        assert_eq!(of(365).few_days_left(day(335)), None);
        assert_eq!(of(365).few_days_left(day(336)), Some(29));
        // Renewed by others after two thirds of its time.
        assert_eq!(of(90).few_days_left(day(61)), None);
        assert_eq!(of(90).few_days_left(day(68)), Some(22));
        assert_eq!(of(90).few_days_left(day(91)), Some(-1));
    }
}
