//! Why a half of a flow is judged as it is: the same list that the node gets, read for one peer and port, with the
//! objects behind its lines.

use std::fmt;

use bulkhead_graph::{
    Action, Address, Direction, Entry, Judgement, Known, Matched, Peer, PeerSetId, Protocol, Stage,
    Stance, judge,
};

use super::Engine;
use super::arena::Key;
use super::compile::Compiled;
use super::identity::{Identity, Source};
use super::selector::Protector;
use super::workload::Owner;
use crate::model::{Interned, Kind, Mode, ObjectRef, Strength, Tier};

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// A rule of a policy: its index in the direction and its name, if it has one.
    Rule {
        /// The policy.
        policy: ObjectRef,
        /// Seen from the subject.
        direction: Direction,
        /// Index in the list of that direction.
        index: u32,
        /// May be empty.
        name: Interned,
    },
    /// Nothing allows it and these isolate the subject.
    Isolated {
        /// Policies or segments, sorted.
        by: Vec<ObjectRef>,
    },
    /// What a segment says of its members among themselves.
    Within {
        /// The segment.
        segment: ObjectRef,
    },
    /// No policy speaks of it.
    Unisolated,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule {
                policy,
                direction,
                index,
                name,
            } => {
                let direction = match direction {
                    Direction::Ingress => "ingress",
                    Direction::Egress => "egress",
                };
                write!(f, "{policy} {direction}[{index}]")?;
                if name.is_empty() {
                    Ok(())
                } else {
                    write!(f, " ({name})")
                }
            }
            Self::Isolated { by } => {
                f.write_str("isolated by ")?;
                for (at, object) in by.iter().enumerate() {
                    write!(f, "{}{object}", if at == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Self::Within { segment } => write!(f, "{segment} within"),
            Self::Unisolated => f.write_str("no policy isolates it"),
        }
    }
}

/// One half of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// May it pass this half.
    pub allowed: bool,
    /// What decided.
    pub reason: Reason,
}

impl Engine {
    /// Judges the half of `subject` (an address) for a flow with `peer`, as the compiled rule set does. `None` if no workload of
    /// ours owns the address, and then nothing judges that half.
    pub fn explain(
        &mut self,
        subject: Address,
        direction: Direction,
        peer: Address,
        (protocol, port): (Protocol, u16),
        stance: Stance,
    ) -> Option<Explanation> {
        self.settle();
        let Owner::One(owner) = self.workloads.owner(subject, &self.nodes) else {
            return None;
        };
        let identity = self.profiles.arena[self.workloads.arena[owner].profile?].identity?;
        let rule_set = self.identities.arena[identity].rule_sets[super::compile::index(direction)];
        let rules = self.entries.rule_sets[rule_set].rules.clone();
        let (known, sets) = self.peer(peer);
        let peer = Peer {
            address: peer,
            known,
            sets: &sets,
        };
        let Judgement { allow, entry } = judge(&rules, &peer, protocol, port, stance, self.now);
        let reason = match entry {
            None => Reason::Unisolated,
            Some(entry) => {
                let sources = self.sources(identity, direction);
                // What all quarantines except is named by the first exception that they were passed on by.
                let applies = |entry: &Entry| {
                    (stance == Stance::Intended || entry.mode == Mode::Enforce)
                        && entry.until.is_none_or(|until| self.now < until)
                        && entry.ports.contains(protocol, port)
                        && entry.peers.matches(&peer) == Matched::Yes
                };
                let source = match sources[entry] {
                    Source::Excepted => {
                        let before = rules.entries[..entry].iter();
                        let first = before
                            .zip(&sources)
                            .find(|(line, _)| line.action == Action::Pass && applies(line));
                        first.map_or(Source::Excepted, |(_, source)| *source)
                    }
                    source @ (Source::Rule(..) | Source::Isolation(_) | Source::Within(_)) => {
                        source
                    }
                };
                self.reason(source, direction, stance, identity)
            }
        };
        Some(Explanation {
            allowed: allow,
            reason,
        })
    }

    fn reason(
        &self,
        source: Source,
        direction: Direction,
        stance: Stance,
        identity: Key<Identity>,
    ) -> Reason {
        match source {
            Source::Rule(policy, index) => {
                let policy = self.compiled[policy].object.clone();
                let rules = self.policies[&policy].policy.rules(direction);
                let name = rules
                    .get(index as usize)
                    .map(|rule| rule.name.clone())
                    .unwrap_or_default();
                Reason::Rule {
                    policy,
                    direction,
                    index,
                    name,
                }
            }
            // Without any exception there is nothing to pass on, so this is no more than a name for the impossible.
            Source::Excepted => Reason::Unisolated,
            Source::Within(segment) => Reason::Within {
                segment: ObjectRef::cluster(Kind::Segment, &self.segments[segment].name),
            },
            Source::Isolation(stage) => {
                let protectors = self.protectors(identity).iter();
                let mut by: Vec<ObjectRef> = protectors
                    .filter_map(|protector| self.isolates(*protector, stage, direction, stance))
                    .collect();
                by.sort();
                Reason::Isolated { by }
            }
        }
    }

    /// The object, if it isolates its subjects at that stage.
    fn isolates(
        &self,
        protector: Protector,
        stage: Stage,
        direction: Direction,
        stance: Stance,
    ) -> Option<ObjectRef> {
        let counts = |mode: Mode| stance == Stance::Intended || mode == Mode::Enforce;
        match protector {
            Protector::Policy(policy) => {
                let policy: &Compiled = &self.compiled[policy];
                let isolates = policy.tier == Tier::Quarantine || policy.isolates(direction);
                (policy.stage() == stage && isolates && counts(policy.mode))
                    .then(|| policy.object.clone())
            }
            Protector::Segment(segment) => {
                let segment = &self.segments[segment];
                let isolation = segment.isolation?;
                let speaks_at = match isolation.strength {
                    Strength::Boundary => Stage::Boundary,
                    Strength::Default => Stage::Segment,
                };
                let towards = match direction {
                    Direction::Ingress => isolation.ingress,
                    Direction::Egress => isolation.egress,
                };
                (speaks_at == stage && towards == Action::Deny && counts(segment.mode))
                    .then(|| ObjectRef::cluster(Kind::Segment, &segment.name))
            }
        }
    }

    fn peer(&self, address: Address) -> (Known, Vec<PeerSetId>) {
        match self.workloads.owner(address, &self.nodes) {
            Owner::One(owner) => {
                let profile = self.workloads.arena[owner].profile;
                let matched = profile
                    .map(|p| self.profiles.arena[p].matched.as_slice())
                    .unwrap_or_default();
                let inside = |key: &&super::arena::Key<super::selector::Selector>| {
                    let network = self.selectors.arena[**key].key.network.as_ref();
                    network.is_none_or(|network| network.contains(address))
                };
                let mut sets: Vec<PeerSetId> = matched
                    .iter()
                    .filter(inside)
                    .map(|key| {
                        self.selectors
                            .content(*key, &self.names, &self.profiles.namespaces)
                    })
                    .collect();
                sets.sort_unstable();
                (Known::Workload, sets)
            }
            Owner::Contested => (Known::Unknown, Vec::new()),
            Owner::Nobody if self.ranges.iter().any(|range| range.contains(address)) => {
                (Known::Unknown, Vec::new())
            }
            Owner::Nobody => (Known::Outside, Vec::new()),
        }
    }
}
