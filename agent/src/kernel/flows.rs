//! Sweeping: flows and fragments that are over are taken out, and what they used of budgets is given back.
//!
//! Which ones are over is a pure function of their state, the time-outs and the time. What budgets say is counted anew by each
//! sweep: an agent that is killed between taking an entry out and giving back what it used has leaked that.

use super::{Kernel, KernelError};
use bulkhead_datapath::abi::{
    AllowanceValue, FlowKey, FlowLife, FlowState, FlowValue, FragmentKey, FragmentValue, Opener,
    WorkloadSlot,
};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::offset_of;

/// How long what is silent is kept, in ticks of 2^30 ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and SCTP, established.
    pub stream_established: u32,
    /// TCP and SCTP before the answer, or while closing.
    pub stream_half: u32,
    /// TCP and SCTP, closed.
    pub stream_closed: u32,
    /// TCP and SCTP, revoked: as long as an end may go on trying, so that nothing revives it.
    pub stream_denied: u32,
    /// Others, answered.
    pub datagram_answered: u32,
    /// Others, not answered.
    pub datagram_unanswered: u32,
    /// First fragments.
    pub fragment: u32,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            stream_established: 6 * 3_600,
            stream_half: 120,
            stream_closed: 10,
            stream_denied: 900,
            datagram_answered: 180,
            datagram_unanswered: 30,
            fragment: 30,
        }
    }
}

/// Whether a flow is over at `now` (ticks).
pub fn expired(protocol: u8, life: FlowLife, timeouts: &Timeouts, now: u32) -> bool {
    let stream = bulkhead_datapath::flow::is_stream(protocol);
    let limit = match (life.state(), stream) {
        (FlowState::Established, true) => timeouts.stream_established,
        (FlowState::New | FlowState::Closing, true) => timeouts.stream_half,
        (FlowState::Closed, true) => timeouts.stream_closed,
        (FlowState::Denied, true) => timeouts.stream_denied,
        (FlowState::Established, false) => timeouts.datagram_answered,
        (FlowState::New | FlowState::Closing | FlowState::Closed | FlowState::Denied, false) => {
            timeouts.datagram_unanswered
        }
    };
    now.saturating_sub(life.seen()) > limit
}

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Flows that go on, with their traffic so far.
    pub live: Vec<(FlowKey, FlowValue)>,
    /// Flows taken out, with their traffic to the end.
    pub over: Vec<(FlowKey, FlowValue)>,
    /// First fragments taken out.
    pub fragments: usize,
    /// Budgets that said something else than the tables, and were put right.
    pub corrected: usize,
}

/// Which word of which workload's allowances, and by how much it is too high.
pub(super) type Differences = BTreeMap<(WorkloadSlot, usize), i64>;

/// What the tables hold, by workload and by the word that counts it.
type Counted = BTreeMap<(WorkloadSlot, usize), u64>;

/// Words that count entries.
const WORDS: [usize; 4] = [
    offset_of!(AllowanceValue, by_workload),
    offset_of!(AllowanceValue, to_workload),
    offset_of!(AllowanceValue, by_host),
    offset_of!(AllowanceValue, fragments),
];

/// What is surely wrong. Programs go on while the tables are read: entries that came meanwhile may be counted or not. So a word is
/// too high by what it said before the reading, and too low by what it said after it.
fn differences(before: &Counted, counted: &Counted, after: &Counted) -> Differences {
    let signed = |number: u64| number.cast_signed();
    let of = |said: &Counted, word: &(WorkloadSlot, usize)| said.get(word).copied().unwrap_or(0);
    let wrong = |word: &(WorkloadSlot, usize)| {
        let held = of(counted, word);
        let high = signed(of(before, word).wrapping_sub(held));
        let low = signed(of(after, word).wrapping_sub(held));
        if high > 0 {
            high.min(low.max(0))
        } else {
            low.min(0)
        }
    };
    let words: BTreeSet<(WorkloadSlot, usize)> =
        before.keys().chain(counted.keys()).copied().collect();
    let all = words.into_iter().map(|word| (word, wrong(&word)));
    all.filter(|(_, by)| *by != 0).collect()
}

impl Kernel {
    /// Takes out what is over. `is_owner` says whether a slot still belongs to an incarnation: flows of workloads that
    /// are gone end at once.
    pub fn sweep(
        &mut self,
        timeouts: &Timeouts,
        now: u32,
        is_owner: impl Fn(WorkloadSlot, u8) -> bool,
    ) -> Result<Sweep, KernelError> {
        let before = self.allowed();
        // A reading that meets a deletion may begin again, and tell an entry twice.
        let flows: BTreeMap<FlowKey, FlowValue> = self.maps.flows.entries()?.into_iter().collect();
        let fragments: BTreeMap<FragmentKey, FragmentValue> =
            self.maps.fragments.entries()?.into_iter().collect();
        let after = self.allowed();
        let mut counted = Counted::new();
        for (key, value) in &flows {
            let word = (key.owner.slot(), budget_offset(value.life.opener()));
            *counted.entry(word).or_default() += 1;
        }
        for key in fragments.keys() {
            let word = (fragment_slot(key), offset_of!(AllowanceValue, fragments));
            *counted.entry(word).or_default() += 1;
        }
        let mut sweep = Sweep {
            corrected: self.correct(differences(&before, &counted, &after)),
            ..Sweep::default()
        };
        for (key, value) in flows {
            let gone = !is_owner(key.owner.slot(), key.owner.incarnation());
            if !gone && !expired(key.owner.protocol(), value.life, timeouts, now) {
                sweep.live.push((key, value));
            } else if self.maps.flows.remove(&key)? {
                self.release(key.owner.slot(), budget_offset(value.life.opener()));
                sweep.over.push((key, value));
            }
        }
        for (key, value) in fragments {
            if now.saturating_sub(value.seen) > timeouts.fragment
                && self.maps.fragments.remove(&key)?
            {
                self.release(fragment_slot(&key), offset_of!(AllowanceValue, fragments));
                sweep.fragments += 1;
            }
        }
        Ok(sweep)
    }

    /// What the budgets say at this moment.
    fn allowed(&self) -> Counted {
        let array = &self.maps.allowances;
        let slots = (0..array.length()).filter_map(|slot| Some((slot, array.read(slot)?)));
        let words = slots.flat_map(|(slot, value)| {
            let said = [
                value.by_workload,
                value.to_workload,
                value.by_host,
                value.fragments,
            ];
            let words = WORDS.map(|word| (WorkloadSlot(slot), word));
            words.into_iter().zip(said)
        });
        words.filter(|(_, said)| *said != 0).collect()
    }

    /// Puts right what was wrong at the sweep before, too: what packets under way make look wrong does not stay. Should a word
    /// ever be put wrong, the next two sweeps put it right.
    fn correct(&mut self, wrong: Differences) -> usize {
        let earlier = std::mem::take(&mut self.differences);
        let mut corrected = 0;
        for (word, by) in wrong {
            let held = earlier.get(&word).copied().unwrap_or(0);
            if held.signum() == by.signum() {
                let (slot, offset) = word;
                let least = if held.abs() < by.abs() { held } else { by };
                let allowances = &self.maps.allowances;
                allowances.release(slot.0, offset, least.cast_unsigned());
                corrected += 1;
            } else {
                self.differences.insert(word, by);
            }
        }
        corrected
    }

    fn release(&self, slot: WorkloadSlot, offset: usize) {
        self.maps.allowances.release(slot.0, offset, 1);
    }
}

const fn budget_offset(opener: Opener) -> usize {
    match opener {
        Opener::Workload => offset_of!(AllowanceValue, by_workload),
        Opener::Peer => offset_of!(AllowanceValue, to_workload),
        Opener::Host => offset_of!(AllowanceValue, by_host),
    }
}

const fn fragment_slot(key: &FragmentKey) -> WorkloadSlot {
    WorkloadSlot(key.owner >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_ends_flows_by_their_state() {
        let timeouts = Timeouts::default();
        for (protocol, state, limit) in [
            (6, FlowState::New, 120),
            (6, FlowState::Established, 21_600),
            (132, FlowState::Closing, 120),
            (6, FlowState::Closed, 10),
            (6, FlowState::Denied, 900),
            (17, FlowState::New, 30),
            (17, FlowState::Established, 180),
        ] {
            let life = FlowLife::new(Opener::Peer, state, 0, 1_000);
            assert!(
                !expired(protocol, life, &timeouts, 1_000 + limit),
                "{protocol} {state:?}"
            );
            assert!(
                expired(protocol, life, &timeouts, 1_001 + limit),
                "{protocol} {state:?}"
            );
            assert!(
                !expired(protocol, life, &timeouts, 0),
                "a clock that went back ends nothing"
            );
        }
    }

    #[test]
    fn a_budget_is_wrong_only_by_what_no_packet_under_way_explains() {
        let word = (WorkloadSlot(3), WORDS[0]);
        let said = |number: u64| -> Counted { [(word, number)].into() };
        let by = |before: u64, counted: u64, after: u64| {
            let wrong = differences(&said(before), &said(counted), &said(after));
            wrong.get(&word).copied().unwrap_or(0)
        };
        assert_eq!(by(5, 5, 5), 0);
        assert_eq!(by(7, 5, 7), 2, "leaked");
        assert_eq!(by(3, 5, 3), -2, "given back twice");
        assert_eq!(by(u64::MAX, 0, u64::MAX), -1, "given back twice at zero");
        // Two came while the tables were read; none, one or both were seen.
        for counted in 5..=7 {
            assert_eq!(by(5, counted, 7), 0);
        }
        assert_eq!(by(7, 5, 5), 0, "two went");
    }
}
