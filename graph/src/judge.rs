//! Reading a rule set for one peer and port: the one place that knows what an ordered list of entries says.
//!
//! Used to fill decision tables and to explain a verdict. It is three-valued: of an unknown workload nobody can
//! say in which peer sets it is, and then an `Allow` counts only if it matches whatever the answer, a `Deny`
//! counts unless it cannot match, and a `Pass` counts only if both ways allow.

use crate::{
    Action, Address, Entry, Mode, Moment, PeerMatch, PeerSetId, Protocol, RuleSet, Workloads,
};

/// What is known of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Known {
    /// A workload, with its identity.
    Workload,
    /// An address of the cluster whose owner is not known.
    Unknown,
    /// No workload.
    Outside,
}

/// The other end of a flow.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    /// Its address, for networks.
    pub address: Address,
    /// Whether its identity is known.
    pub known: Known,
    /// The peer sets it is in, sorted; empty unless it is a known workload.
    pub sets: &'a [PeerSetId],
}

/// Which of the two verdicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// What the kernel acts on: entries in audit are absent.
    Enforced,
    /// What it would act on if every object were enforced.
    Intended,
}

/// Whether an entry matches a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matched {
    /// Whatever its identity.
    Yes,
    /// Depends on an identity that is not known.
    Maybe,
    /// Cannot match.
    No,
}

/// The answer and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// May the flow pass this half.
    pub allow: bool,
    /// Index of the deciding entry; `None` when the list ran out.
    pub entry: Option<usize>,
}

impl Matched {
    /// The same where it is not sure that it is meant.
    #[must_use]
    pub fn perhaps(self) -> Self {
        match self {
            Self::Yes | Self::Maybe => Self::Maybe,
            Self::No => Self::No,
        }
    }
}

impl PeerMatch {
    /// Whether the peer is one of these.
    pub fn matches(&self, peer: &Peer<'_>) -> Matched {
        let (workloads, networks) = match self {
            Self::Any => return Matched::Yes,
            Self::Of {
                workloads,
                networks,
            } => (workloads, networks),
            Self::Perhaps(peers) => return peers.matches(peer).perhaps(),
        };
        if networks
            .iter()
            .any(|network| network.contains(peer.address))
        {
            return Matched::Yes;
        }
        match (workloads, peer.known) {
            (_, Known::Outside) => Matched::No,
            (Workloads::All, Known::Workload | Known::Unknown) => Matched::Yes,
            (Workloads::Sets(sets), Known::Workload) => {
                if sets.iter().any(|set| peer.sets.binary_search(set).is_ok()) {
                    Matched::Yes
                } else {
                    Matched::No
                }
            }
            (Workloads::Sets(sets), Known::Unknown) if sets.is_empty() => Matched::No,
            (Workloads::Sets(_), Known::Unknown) => Matched::Maybe,
        }
    }
}

impl Entry {
    /// Whether it speaks of the peer once its lease may have ended: of an `Allow` nothing is left then, and a `Pass` holds or
    /// does not.
    pub fn matches_at(&self, peer: &Peer<'_>, at: Moment) -> Matched {
        let matched = self.peers.matches(peer);
        match (self.action, at.is_past(self.lease)) {
            (Action::Allow, true) => Matched::No,
            (Action::Pass, true) => matched.perhaps(),
            (Action::Deny, true) | (_, false) => matched,
        }
    }
}

/// Judges one half of a flow at the moment `at`; an instant alone is one at which the controller has just been heard.
pub fn judge(
    rules: &RuleSet,
    peer: &Peer<'_>,
    protocol: Protocol,
    port: u16,
    stance: Stance,
    at: impl Into<Moment>,
) -> Judgement {
    let at = at.into();
    let applies = |entry: &Entry| {
        (stance == Stance::Intended || entry.mode == Mode::Enforce)
            && entry.until.is_none_or(|until| at.now < until)
            && entry.ports.contains(protocol, port)
    };
    let matched = |entry: &Entry| entry.matches_at(peer, at);
    judge_from(rules, 0, &matched, &applies)
}

fn judge_from(
    rules: &RuleSet,
    mut index: usize,
    matched: &impl Fn(&Entry) -> Matched,
    applies: &impl Fn(&Entry) -> bool,
) -> Judgement {
    while let Some(entry) = rules.entries.get(index) {
        if applies(entry) {
            match (entry.action, matched(entry)) {
                (Action::Allow, Matched::Yes) => {
                    return Judgement {
                        allow: true,
                        entry: Some(index),
                    };
                }
                (Action::Deny, Matched::Yes | Matched::Maybe) => {
                    return Judgement {
                        allow: false,
                        entry: Some(index),
                    };
                }
                (Action::Pass, Matched::Yes) => {
                    index = next_stage(rules, index);
                    continue;
                }
                (Action::Pass, Matched::Maybe) => {
                    // Either way may be the true one: first as if it passed, then, by going on, as if not.
                    // The depth is bounded by the number of stages, since each call starts in a later one.
                    let passed = judge_from(rules, next_stage(rules, index), matched, applies);
                    if !passed.allow {
                        return passed;
                    }
                }
                (Action::Allow, Matched::Maybe) | (_, Matched::No) => {}
            }
        }
        index += 1;
    }
    Judgement {
        allow: true,
        entry: None,
    }
}

fn next_stage(rules: &RuleSet, from: usize) -> usize {
    let stage = rules.entries[from].stage;
    from + rules.entries[from..]
        .iter()
        .take_while(|entry| entry.stage == stage)
        .count()
}
