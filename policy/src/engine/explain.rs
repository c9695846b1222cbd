//! Why a half of a flow is judged as it is: the same list that the node gets, read for one peer and port, with the
//! objects behind its lines.

use std::fmt;

use bulkhead_graph::{
    Action, Address, Direction, Entry, Judgement, Known, Matched, Moment, Peer, PeerSetId,
    Protocol, Stage, Stance, judge,
};

use super::Engine;
use super::arena::Key;
use super::compile::Compiled;
use super::identity::{Identity, Source};
use super::selector::Protector;
use super::workload::Owner;
use crate::model::{Beyond, Interned, Kind, LeftOut, Mode, ObjectRef, Strength, Tier};

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
    /// A Service that there was no room for stands behind the peer, or may.
    LeftOut(LeftOut),
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
            Self::LeftOut(service) => write!(f, "{service}"),
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
        port: (Protocol, u16),
        stance: Stance,
    ) -> Option<Explanation> {
        self.explain_unheard(subject, direction, peer, port, stance, 0)
    }

    /// The same on nodes that have not heard their controller for so long, milliseconds.
    pub fn explain_unheard(
        &mut self,
        subject: Address,
        direction: Direction,
        peer: Address,
        (protocol, port): (Protocol, u16),
        stance: Stance,
        unheard_ms: u64,
    ) -> Option<Explanation> {
        self.settle();
        let at = Moment {
            now: self.now,
            unheard_ms,
        };
        let Owner::One(owner) = self.workloads.owner(subject, &self.nodes) else {
            return None;
        };
        let identity = self.profiles.arena[self.workloads.arena[owner].profile?].identity?;
        let rule_set = self.identities.arena[identity].rule_sets[super::compile::index(direction)];
        let rules = self.entries.rule_sets[rule_set].rules.clone();
        let (known, sets) = self.peer(peer);
        let left_out = match direction {
            Direction::Egress => self.left_out(peer, known, protocol, port),
            Direction::Ingress => None,
        };
        if let Some(service) = left_out {
            return Some(Explanation {
                allowed: false,
                reason: Reason::LeftOut(service),
            });
        }
        let peer = Peer {
            address: peer,
            known,
            sets: &sets,
        };
        let Judgement { allow, entry } = judge(&rules, &peer, protocol, port, stance, at);
        let reason = match entry {
            None => Reason::Unisolated,
            Some(entry) => {
                let sources = self.sources(identity, direction);
                // What all quarantines except is named by the first exception that they were passed on by.
                let applies = |entry: &Entry| {
                    (stance == Stance::Intended || entry.mode == Mode::Enforce)
                        && entry.until.is_none_or(|until| at.now < until)
                        && entry.ports.contains(protocol, port)
                        && entry.matches_at(&peer, at) == Matched::Yes
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

    /// The endpoints that a Service leads a flow to; `None` where no Service has the address and port.
    pub fn endpoints(
        &mut self,
        address: Address,
        protocol: Protocol,
        port: u16,
    ) -> Option<Vec<(Address, u16)>> {
        self.settle();
        let services = self.services.map();
        let mut ports = services.get(&address)?.ports.iter();
        let port = ports.find(|it| (it.protocol, it.port) == (protocol, port))?;
        let backends = port.backends.iter();
        Some(backends.map(|it| (it.address, it.port)).collect())
    }

    /// What a node's tables close because there was no room for a Service.
    fn left_out(
        &self,
        address: Address,
        known: Known,
        protocol: Protocol,
        port: u16,
    ) -> Option<LeftOut> {
        let limits = self.config.service_limits;
        let Some(there) = self.services.map().get(&address).cloned() else {
            let left_out = self.services.left_out_at(address)?.clone();
            return (known == Known::Outside).then_some(left_out);
        };
        let is_port = |it: &bulkhead_graph::ServicePort| (it.protocol, it.port) == (protocol, port);
        if there.ports.iter().any(is_port) {
            return None;
        }
        let service = self.services.lacking_at(address, protocol, port)?.clone();
        let beyond = Beyond::Ports(limits.ports);
        Some(LeftOut { service, beyond })
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
                let policy = &self.compiled[policy].policy;
                let name = policy
                    .rules(direction)
                    .get(index as usize)
                    .map(|rule| rule.name.clone())
                    .unwrap_or_default();
                Reason::Rule {
                    policy: policy.object.clone(),
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
                let isolates = policy.policy.tier == Tier::Quarantine || policy.isolates(direction);
                (policy.stage() == stage && isolates && counts(policy.mode))
                    .then(|| policy.policy.object.clone())
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

    fn peer(&mut self, address: Address) -> (Known, Vec<PeerSetId>) {
        match self.workloads.owner(address, &self.nodes) {
            Owner::One(owner) => {
                let profile = self.workloads.arena[owner].profile;
                let mut matched = profile
                    .map(|p| self.profiles.arena[p].matched.clone())
                    .unwrap_or_default();
                matched.retain(|selector| self.selectors.arena[*selector].holds(address));
                let mut sets: Vec<PeerSetId> = matched
                    .into_iter()
                    .map(|selector| self.peer_set_id(selector))
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
