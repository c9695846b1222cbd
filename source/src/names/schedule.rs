//! When which name is asked for. Pure: names, outcomes and the time in, names to ask for out.
//!
//! Invariant: of the names that are wanted each is due at some time or being asked for, and at most [`AT_ONCE`] are asked for at
//! once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bulkhead_policy::model::Interned;
use tokio::time::Instant;

/// Questions under way.
pub(super) const AT_ONCE: usize = 16;

/// An answer is asked for again when its time to live is over, but not sooner than this, and not later.
const SOONEST: Duration = Duration::from_secs(5);
const LATEST: Duration = Duration::from_mins(5);

/// The pause after a first failure doubles with each further one, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    names: BTreeMap<Interned, Turn>,
    under_way: usize,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    state: State,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due(Instant),
    Asked,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All was answered, and holds for so long.
    Answered(Duration),
    /// Something was not.
    Failed,
}

impl Schedule {
    /// These and no others are wanted; new ones at once.
    pub(super) fn want(&mut self, wanted: &BTreeSet<Interned>, now: Instant) {
        self.names.retain(|name, _| wanted.contains(name));
        for name in wanted {
            self.names.entry(name.clone()).or_insert(Turn {
                state: State::Due(now),
                failures: 0,
            });
        }
    }

    /// Those to ask for now, the longest due first. Each has to be [`Self::done`].
    pub(super) fn due(&mut self, now: Instant) -> Vec<Interned> {
        let mut due: Vec<(Instant, Interned)> = self
            .names
            .iter()
            .filter_map(|(name, turn)| match turn.state {
                State::Due(at) if at <= now => Some((at, name.clone())),
                State::Due(_) | State::Asked => None,
            })
            .collect();
        due.sort();
        due.truncate(AT_ONCE.saturating_sub(self.under_way));
        for (_, name) in &due {
            if let Some(turn) = self.names.get_mut(name) {
                turn.state = State::Asked;
            }
        }
        self.under_way += due.len();
        due.into_iter().map(|(_, name)| name).collect()
    }

    /// A question has ended. The name may be wanted no more.
    pub(super) fn done(&mut self, name: &str, outcome: Outcome, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        let Some(turn) = self.names.get_mut(name) else {
            return;
        };
        let pause = match outcome {
            Outcome::Answered(lives) => {
                turn.failures = 0;
                lives.clamp(SOONEST, LATEST)
            }
            Outcome::Failed => {
                let doubled = FIRST_PAUSE.saturating_mul(1 << turn.failures.min(16));
                turn.failures += 1;
                doubled.min(LONGEST_PAUSE)
            }
        };
        turn.state = State::Due(now + pause);
    }

    /// When somebody has to look again; `None` while only an answer or another wish can bring anything.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.under_way >= AT_ONCE {
            return None;
        }
        let due = self.names.values().filter_map(|turn| match turn.state {
            State::Due(at) => Some(at),
            State::Asked => None,
        });
        due.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn names(names: impl IntoIterator<Item = usize>) -> BTreeSet<Interned> {
        let names = names.into_iter();
        names.map(|number| format!("h{number}.b").into()).collect()
    }

    #[test]
    fn an_answer_is_asked_for_again_when_its_time_is_over_within_bounds() {
        let start = Instant::now();
        for (lives, pause) in [(0, 5), (4, 5), (30, 30), (86_400, 300)] {
            let mut schedule = Schedule::default();
            schedule.want(&names([1]), start);
            assert_eq!(schedule.due(start).len(), 1);
            assert_eq!((schedule.due(start).len(), schedule.next()), (0, None));
            schedule.done("h1.b", Outcome::Answered(lives * SECOND), start);
            assert_eq!(schedule.next(), Some(start + pause * SECOND));
            assert_eq!(schedule.due(start + (pause - 1) * SECOND), []);
            assert_eq!(schedule.due(start + pause * SECOND).len(), 1);
        }
    }

    #[test]
    fn pauses_after_failures_double_up_to_a_minute_and_an_answer_ends_them() {
        let (mut schedule, mut now) = (Schedule::default(), Instant::now());
        schedule.want(&names([1]), now);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(schedule.due(now).len(), 1);
            schedule.done("h1.b", Outcome::Failed, now);
            assert_eq!(schedule.next(), Some(now + pause * SECOND));
            now += pause * SECOND;
        }
        schedule.due(now);
        schedule.done("h1.b", Outcome::Answered(SECOND), now);
        now += 5 * SECOND;
        schedule.due(now);
        schedule.done("h1.b", Outcome::Failed, now);
        assert_eq!(schedule.next(), Some(now + SECOND));
    }

    #[test]
    fn only_so_many_are_asked_for_at_once_and_none_is_forgotten() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.want(&names(0..40), now);
        let mut asked = BTreeSet::new();
        let mut under_way = schedule.due(now);
        assert_eq!((under_way.len(), schedule.next()), (AT_ONCE, None));
        while let Some(name) = under_way.pop() {
            schedule.done(&name, Outcome::Answered(SECOND), now);
            assert!(asked.insert(name));
            under_way.extend(schedule.due(now));
            assert!(under_way.len() <= AT_ONCE);
        }
        assert_eq!(asked, names(0..40));
    }

    #[test]
    fn what_is_wanted_no_more_is_asked_for_no_more_and_what_stays_keeps_its_turn() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.want(&names([1, 2]), now);
        assert_eq!(schedule.due(now).len(), 2);
        schedule.done("h2.b", Outcome::Answered(60 * SECOND), now);
        schedule.want(&names([2, 3]), now);
        schedule.done("h1.b", Outcome::Failed, now);
        assert_eq!(schedule.due(now), ["h3.b".into()]);
        assert_eq!(schedule.next(), Some(now + 60 * SECOND));
    }
}
