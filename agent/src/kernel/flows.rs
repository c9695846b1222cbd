//! Sweeping: flows and fragments that are over are taken out, and what they used of budgets is given back.
//!
//! Which ones are over is a pure function of their state, the time-outs and the time.

use super::{Kernel, KernelError};
use bulkhead_datapath::abi::{
    AllowanceValue, FlowKey, FlowLife, FlowState, FlowValue, FragmentKey, Opener, WorkloadSlot,
};
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
        let mut sweep = Sweep::default();
        for (key, value) in self.maps.flows.entries()? {
            let gone = !is_owner(key.owner.slot(), key.owner.incarnation());
            if !gone && !expired(key.owner.protocol(), value.life, timeouts, now) {
                sweep.live.push((key, value));
            } else if self.maps.flows.remove(&key)? {
                self.release(key.owner.slot(), budget_offset(value.life.opener()));
                sweep.over.push((key, value));
            }
        }
        for (key, value) in self.maps.fragments.entries()? {
            if now.saturating_sub(value.seen) > timeouts.fragment
                && self.maps.fragments.remove(&key)?
            {
                self.release(fragment_slot(&key), offset_of!(AllowanceValue, fragments));
                sweep.fragments += 1;
            }
        }
        Ok(sweep)
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
}
