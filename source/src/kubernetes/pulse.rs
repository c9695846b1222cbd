//! Whether this process ran all along. One that was stopped, by a signal, a freezer or a machine that slept, reads afterwards what
//! was said long before, and nothing in that tells its age. What answers a request that was begun since then is newer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::BootTime;

const BEAT: Duration = Duration::from_secs(1);

/// A beat that is later than this was held up, and everything else with it.
pub(super) const LATE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse(Mutex<Beats>);

#[derive(Debug)]
struct Beats {
    /// When this process was last seen to run, by a beat or by somebody who reads.
    last: BootTime,
    /// The end of the last gap.
    gap_until: Option<BootTime>,
}

impl Pulse {
    pub(super) fn new(now: BootTime) -> Self {
        Self(Mutex::new(Beats {
            last: now,
            gap_until: None,
        }))
    }

    /// Beats for ever, in the runtime of those that read.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut beats = tokio::time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            beats.tick().await;
            self.beat(BootTime::now());
        }
    }

    /// Runs `now`. Gives the end of the last gap.
    fn beat(&self, now: BootTime) -> Option<BootTime> {
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(beats.last) > BEAT + LATE {
            beats.gap_until = Some(now);
        }
        beats.last = beats.last.max(now);
        beats.gap_until
    }

    /// Whether what is read `now`, of what a request asked for that was begun at `began`, was said just before. Does not depend
    /// on who wakes first after a gap, the one who beats or the one who reads.
    pub(super) fn is_unbroken_since(&self, began: BootTime, now: BootTime) -> bool {
        self.beat(now).is_none_or(|until| began > until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pulse, and the moments by its seconds.
    fn pulse() -> (Pulse, impl Fn(u64) -> BootTime) {
        let start = BootTime::now();
        let at = move |second| start + Duration::from_secs(second);
        (Pulse::new(start), at)
    }

    #[test]
    fn beats_on_time_and_a_little_late_break_nothing() {
        let (pulse, at) = pulse();
        for second in [1, 2, 8, 9, 15] {
            pulse.beat(at(second));
        }
        assert!(pulse.is_unbroken_since(at(0), at(21)));
    }

    #[test]
    fn what_was_asked_for_before_a_gap_counts_for_nothing_whoever_wakes_first() {
        let (reader_first, at) = pulse();
        reader_first.beat(at(1));
        assert!(!reader_first.is_unbroken_since(at(1), at(3_600)));
        reader_first.beat(at(3_600));
        assert!(!reader_first.is_unbroken_since(at(1), at(3_601)));

        let (beat_first, at) = pulse();
        beat_first.beat(at(1));
        beat_first.beat(at(3_600));
        assert!(!beat_first.is_unbroken_since(at(1), at(3_600)));
        // However long ago it was.
        for second in 3_601..3_700 {
            beat_first.beat(at(second));
        }
        assert!(!beat_first.is_unbroken_since(at(1), at(3_700)));
    }

    #[test]
    fn what_was_asked_for_after_a_gap_counts() {
        let (pulse, at) = pulse();
        pulse.beat(at(3_600));
        assert!(pulse.is_unbroken_since(at(3_601), at(3_602)));
        assert!(
            !pulse.is_unbroken_since(at(3_601), at(3_609)),
            "the next gap"
        );
    }

    #[test]
    fn a_gap_ends_when_it_is_noticed_however_late_the_next_beat() {
        let (pulse, at) = pulse();
        assert!(!pulse.is_unbroken_since(at(1), at(3_600)));
        assert!(pulse.is_unbroken_since(at(3_601), at(3_602)));
        assert!(!pulse.is_unbroken_since(at(1), at(3_602)));
    }
}
