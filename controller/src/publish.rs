//! What to send to one agent next: the newest state, less what the agent has acknowledged.
//!
//! State, not a log: whatever happened in between is gone, and a slow agent costs nobody anything. At most one revision
//! is under way. Pure: time is an argument, counted from an arbitrary beginning.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_graph::{Delta, Digest, NodeGraph};
use bulkhead_wire::{Answer, Frontier, Refusal, Revision};

/// How patient a publisher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// After a revision was sent, changes are gathered for so long; the first change goes out at once.
    pub gather: Duration,
    /// Between two confirmations of an unchanged revision.
    pub confirm: Duration,
    /// How long an agent may take for a revision.
    pub ack: Duration,
    /// After the first refusal of a revision; doubled with each further one.
    pub retry: Duration,
    /// The longest such wait.
    pub retry_most: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(10),
            confirm: Duration::from_secs(1),
            ack: bulkhead_wire::limits::ACK,
            retry: Duration::from_millis(200),
            retry_most: Duration::from_secs(30),
        }
    }
}

/// What to do now.
#[derive(Debug)]
pub enum Step {
    /// Send this revision.
    Send(Box<Revision>),
    /// Tell the agent that its revision is right for newer inputs too.
    Confirm {
        /// The revision.
        digest: Digest,
        /// The inputs.
        frontier: Frontier,
        /// To the newest question, if there was one.
        answer: Option<Answer>,
    },
    /// Nothing until then, or until something happens.
    Wait(Option<Duration>),
    /// The agent has not answered in time: give the connection up.
    Overdue,
}

/// A revision has become real on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Realised {
    /// Which.
    pub digest: Digest,
    /// From the first change it contains to the acknowledgement.
    pub since_change: Duration,
    /// From sending to the acknowledgement.
    pub since_sent: Duration,
}

#[derive(Debug)]
struct Newest {
    graph: Arc<NodeGraph>,
    frontier: Frontier,
    /// When it was last known to be made of all inputs there were.
    known_at: Option<Duration>,
    /// When the node first ought to have had something other than what it has.
    changed_at: Duration,
}

#[derive(Debug)]
struct UnderWay {
    graph: Arc<NodeGraph>,
    frontier: Frontier,
    known_at: Option<Duration>,
    changed_at: Duration,
    sent_at: Duration,
}

#[derive(Debug)]
struct Refusals {
    digest: Digest,
    times: u32,
    until: Duration,
}

/// The state of one agent as its controller sees it.
#[derive(Debug)]
pub struct Publisher {
    pace: Pace,
    /// The revision that the agent says it enforces.
    acked: Option<Digest>,
    /// The graph of that revision, where it is known here: what a delta can start from.
    base: Option<Arc<NodeGraph>>,
    confirmed: Option<Frontier>,
    newest: Option<Newest>,
    under_way: Option<UnderWay>,
    refusals: Option<Refusals>,
    sent_at: Option<Duration>,
    confirmed_at: Option<Duration>,
    /// The newest question that has no answer yet, by the agent's clock.
    asked: Option<u64>,
    /// When what the agent has was last known to be right.
    right_at: Option<Duration>,
}

impl Publisher {
    /// An agent that has just said what it enforces.
    pub fn new(pace: Pace, realised: Option<(Digest, Frontier)>) -> Self {
        let (acked, confirmed) = realised.unzip();
        Self {
            pace,
            acked,
            base: None,
            confirmed,
            newest: None,
            under_way: None,
            refusals: None,
            sent_at: None,
            confirmed_at: None,
            asked: None,
            right_at: None,
        }
    }

    /// The agent asks whether what it enforces is right. Only its newest question is answered.
    pub fn asked(&mut self, at: u64) {
        self.asked = Some(at);
    }

    /// What was offered last is made of all inputs there were at that moment, as far as the source knows.
    pub fn known(&mut self, at: Option<Duration>) {
        let Some(newest) = &mut self.newest else {
            return;
        };
        newest.known_at = at;
        let digest = newest.graph.digest();
        if let Some(sent) = self.under_way.as_mut()
            && sent.graph.digest() == digest
        {
            sent.known_at = at;
        }
        if self.acked == Some(digest) {
            self.right_at = at;
        }
    }

    /// The node's newest state.
    pub fn offer(&mut self, graph: Arc<NodeGraph>, frontier: Frontier, now: Duration) {
        let waiting = self
            .newest
            .as_ref()
            .filter(|newest| Some(newest.graph.digest()) != self.heading());
        let changed_at = waiting.map_or(now, |newest| newest.changed_at);
        if Some(graph.digest()) == self.acked && self.base.is_none() {
            self.base = Some(graph.clone());
        }
        self.newest = Some(Newest {
            graph,
            frontier,
            known_at: None,
            changed_at,
        });
    }

    /// What the agent has, or will have once it answers.
    fn heading(&self) -> Option<Digest> {
        self.under_way
            .as_ref()
            .map(|sent| sent.graph.digest())
            .or(self.acked)
    }

    /// What to do at this moment. Answers with `Send` and `Confirm` count as done.
    pub fn step(&mut self, now: Duration) -> Step {
        if let Some(sent) = &self.under_way {
            let deadline = sent.sent_at + self.pace.ack;
            return if now >= deadline {
                Step::Overdue
            } else {
                Step::Wait(Some(deadline))
            };
        }
        let Some(newest) = &self.newest else {
            return Step::Wait(None);
        };
        let digest = newest.graph.digest();
        if self.acked == Some(digest) {
            let frontier = newest.frontier.clone();
            let is_told = self.confirmed.as_ref() == Some(&frontier);
            let earliest = self.earliest_confirmation();
            return if is_told && !self.has_answer() {
                Step::Wait(None)
            } else if now < earliest {
                Step::Wait(Some(earliest))
            } else {
                self.confirm(digest, frontier, now)
            };
        }
        // What the agent has was right when it was sent. Where something changes in every round trip, nothing better can ever be
        // said of it, and this is the only moment for it.
        if let (Some(acked), Some(frontier)) = (self.acked, self.confirmed.clone())
            && self.has_answer()
            && now >= self.earliest_confirmation()
        {
            return self.confirm(acked, frontier, now);
        }
        let gathered = self
            .sent_at
            .map_or(Duration::ZERO, |sent_at| sent_at + self.pace.gather);
        let refused = self
            .refusals
            .as_ref()
            .filter(|refusals| refusals.digest == digest);
        let earliest = refused.map_or(gathered, |refusals| refusals.until.max(gathered));
        if now < earliest {
            return Step::Wait(Some(earliest));
        }
        let delta = match &self.base {
            Some(base) => Delta::between(base, &newest.graph),
            None => Delta::snapshot(&newest.graph),
        };
        let frontier = newest.frontier.clone();
        self.under_way = Some(UnderWay {
            graph: newest.graph.clone(),
            frontier: frontier.clone(),
            known_at: newest.known_at,
            changed_at: newest.changed_at,
            sent_at: now,
        });
        self.sent_at = Some(now);
        Step::Send(Box::new(Revision { delta, frontier }))
    }

    /// The revision under way has been sent to its last part: from now on the agent is waited for.
    pub fn sent(&mut self, now: Duration) {
        if let Some(sent) = &mut self.under_way {
            sent.sent_at = now;
        }
    }

    /// Whether there is a question, and something to say to it: a controller that has never heard of all its inputs has no answer.
    fn has_answer(&self) -> bool {
        self.asked.is_some() && self.right_at.is_some()
    }

    fn earliest_confirmation(&self) -> Duration {
        self.confirmed_at
            .map_or(Duration::ZERO, |at| at + self.pace.confirm)
    }

    fn confirm(&mut self, digest: Digest, frontier: Frontier, now: Duration) -> Step {
        self.confirmed_at = Some(now);
        self.confirmed = Some(frontier.clone());
        let answer = self.right_at.and_then(|right_at| {
            let age = now.saturating_sub(right_at).as_millis();
            let age_ms = u64::try_from(age).unwrap_or(u64::MAX);
            self.asked.take().map(|at| Answer { at, age_ms })
        });
        Step::Confirm {
            digest,
            frontier,
            answer,
        }
    }

    /// The agent enforces `digest`. Says what became real by it, unless it only repeats itself.
    pub fn acked(&mut self, digest: Digest, now: Duration) -> Option<Realised> {
        if let Some(sent) = self.under_way.take_if(|sent| sent.graph.digest() == digest) {
            self.acked = Some(digest);
            self.base = Some(sent.graph);
            self.confirmed = Some(sent.frontier);
            self.right_at = sent.known_at;
            self.refusals = None;
            let since_change = now.saturating_sub(sent.changed_at);
            return Some(Realised {
                digest,
                since_change,
                since_sent: now.saturating_sub(sent.sent_at),
            });
        }
        if self.acked != Some(digest) {
            // Something that this controller never sent: only a snapshot is safe now, and not at any pace that an agent
            // may dictate.
            self.acked = Some(digest);
            self.base = None;
            self.confirmed = None;
            self.right_at = None;
            if let Some(newest) = self.newest.as_ref().map(|newest| newest.graph.digest()) {
                self.hold_back(newest, now);
            }
        }
        None
    }

    /// The agent did not take `digest` and still enforces what it did.
    pub fn refused(&mut self, digest: Digest, refusal: Refusal, now: Duration) {
        if self
            .under_way
            .take_if(|sent| sent.graph.digest() == digest)
            .is_none()
        {
            return;
        }
        self.hold_back(digest, now);
        match refusal {
            Refusal::Base | Refusal::Damaged => self.base = None,
            Refusal::Older | Refusal::Kernel => {}
        }
    }

    /// Sends a revision again only after a pause, which doubles.
    fn hold_back(&mut self, digest: Digest, now: Duration) {
        let times = self
            .refusals
            .as_ref()
            .filter(|r| r.digest == digest)
            .map_or(0, |r| r.times)
            + 1;
        let wait = self.pace.retry * 2_u32.saturating_pow(times - 1);
        self.refusals = Some(Refusals {
            digest,
            times,
            until: now + wait.min(self.pace.retry_most),
        });
    }

    /// What the agent enforces, as far as is known.
    pub fn realised(&self) -> Option<Digest> {
        self.acked
    }
}

#[cfg(test)]
mod tests;
