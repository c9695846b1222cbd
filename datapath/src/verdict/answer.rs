//! What policy said lately: a question that was asked a moment ago is not looked up again.
//!
//! An answer holds for one generation, and its question names whatever else it follows from. Only what the tables say is
//! kept, and only where no deadline is in play: what they lack may come, and deadlines may move, without a new generation. So
//! an answer never says what [`decide`](super::half::decide) would not.

use super::half::{Direction, NEVER, Outcome};
use super::{Subject, Trace};
use crate::abi::{
    Address, Class, ExpiryId, FlowLife, Generation, Hook, PeerSlot, RuleSet, WorkloadLane,
};
use crate::tables::Tables;

/// Places for the questions of one hook; a power of two.
const PLACES: u32 = 128;

/// Places of one processor.
pub const ANSWERS: u32 = PLACES * Hook::ALL.len() as u32;

/// What is asked.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Question {
    generation: Generation,
    peer: Address,
    /// The subject's rule set in this direction, and its class.
    own: u64,
    /// Port, protocol and direction.
    port: u64,
}

impl Question {
    /// `own` is what the judgement itself goes by: read once.
    #[inline(always)]
    pub(super) fn new(
        subject: &Subject<'_>,
        own: WorkloadLane,
        direction: Direction,
        peer: &Address,
        protocol: u8,
        number: u16,
    ) -> Self {
        Self {
            generation: subject.generation,
            peer: *peer,
            own: u64::from(direction.rule_set(own).0) << 32 | u64::from(own.class.0),
            port: (direction as u64) << 24 | u64::from(protocol) << 16 | u64::from(number),
        }
    }

    /// Where its answer lies, if anywhere.
    #[inline(always)]
    const fn place(&self, hook: Hook) -> u32 {
        let (high, low) = self.peer.words();
        let mixed = (high ^ low.rotate_left(23) ^ self.own.rotate_left(41) ^ self.port)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hook as u32 * PLACES + (mixed >> 32) as u32 % PLACES
    }
}

/// A question, and what policy said. Zeroes answer none: no rule set has the number 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer {
    question: Question,
    /// The rule set that decided.
    rule_set: RuleSet,
    /// The class that it decided about.
    class: Class,
    /// The other end's place in CLASSES, plus one; 0 = it has none.
    peer: u32,
    /// Why it is denied, as a number of [`Reason`](crate::abi::Reason); 0 = it is allowed.
    denied: u8,
    /// What the intended policy says.
    intended: bool,
}

impl Answer {
    #[inline(always)]
    pub(super) const fn allows(&self) -> bool {
        self.denied == 0
    }

    /// Whether the other end is a workload of this node, which belongs to no generation. In doubt it is, and has to show
    /// where it came from.
    #[inline(always)]
    pub(super) fn peer_is_local<T: Tables>(&self, tables: &T) -> bool {
        if self.peer == 0 {
            return false;
        }
        match tables.class(PeerSlot(self.peer - 1)) {
            Some(value) => value.address != self.question.peer || value.local_workload().is_some(),
            None => true,
        }
    }

    /// What the entry of a flow keeps of it, whose other end is on another node.
    #[inline(always)]
    pub(super) const fn flags(&self) -> u8 {
        if self.intended { 0 } else { FlowLife::AUDITED }
    }

    /// As if it had been looked up.
    #[inline(always)]
    pub(super) fn tell<T: Tables>(&self, tables: &T, trace: &mut Trace) -> Outcome {
        trace.rule_set = self.rule_set;
        trace.class = self.class;
        trace.intended = self.intended;
        Outcome {
            expires_ns: NEVER,
            expiry: ExpiryId::NONE,
            denied: self.denied,
            intended: self.intended,
            peer_is_local: self.allows() && self.peer_is_local(tables),
            both_ways: false,
        }
    }
}

/// The answer to a question, if it was asked lately.
#[inline(always)]
pub(super) fn recall<'a, T: Tables>(
    tables: &'a T,
    hook: Hook,
    question: &Question,
) -> Option<&'a Answer> {
    let answer = tables.answer(question.place(hook))?;
    if answer.question == *question {
        Some(answer)
    } else {
        None
    }
}

/// Keeps an answer that was looked up, and that no deadline ends.
#[inline(always)]
pub(super) fn keep<T: Tables>(
    tables: &T,
    hook: Hook,
    question: Question,
    peer: Option<PeerSlot>,
    outcome: &Outcome,
    trace: &Trace,
) {
    let answer = Answer {
        question,
        rule_set: trace.rule_set,
        class: trace.class,
        peer: match peer {
            Some(slot) => slot.0 + 1,
            None => 0,
        },
        denied: outcome.denied,
        intended: outcome.intended,
    };
    tables.keep_answer(question.place(hook), &answer);
}
