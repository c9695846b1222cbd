//! One side of a flow: steps 1 to 5, the first decision wins.
//!
//! Each step either decides or asks the next one. Of a peer that is not known a condition may hold or not; then a
//! `Deny` counts, an `Allow` does not, and after a `Pass` both ways have to allow.

use bulkhead_graph::{Matched, Stage, Stance};

use super::peers::{OtherEnd, both};
use super::ports::{self, Wanted};
use super::{Half, Judge, Owner, Provenance, RuleReference};
use crate::model::{
    Action, Direction, Isolation, Kind, Mode, ObjectRef, PeerRoom, Policy, Rule, Segment, Strength,
    Tier, Workload,
};

/// Judges the half of `subject`.
pub(super) fn judge(
    judge: Judge<'_>,
    subject: &Workload,
    direction: Direction,
    peer: OtherEnd<'_>,
    wanted: Wanted,
) -> Half {
    let side = Side {
        judge,
        subject,
        direction,
        peer,
        wanted,
    };
    let segment = || side.segment_isolation();
    let baseline = || side.cluster_tier(Stage::Baseline, &segment);
    let namespace = || side.namespace_tier(&baseline);
    let boundary = || side.segment_boundary(&namespace);
    let admin = || side.cluster_tier(Stage::Admin, &boundary);
    side.quarantine(&admin)
}

struct Side<'w> {
    judge: Judge<'w>,
    subject: &'w Workload,
    direction: Direction,
    peer: OtherEnd<'w>,
    wanted: Wanted,
}

/// A rule of a policy that protects the subject, and whether it speaks of this flow.
struct Candidate<'w> {
    policy: &'w Policy,
    index: usize,
    rule: &'w Rule,
    action: Action,
    matched: Matched,
}

impl Candidate<'_> {
    fn provenance(&self, direction: Direction) -> Provenance {
        let Self {
            policy,
            index,
            rule,
            ..
        } = self;
        let name = rule.name.clone();
        Provenance::Rule(RuleReference {
            object: policy.object.clone(),
            direction,
            index: *index,
            name,
        })
    }

    /// A `Deny` counts unless it cannot match.
    fn denies(&self) -> bool {
        self.action == Action::Deny && self.matched != Matched::No
    }

    /// An `Allow` counts only if it matches for certain.
    fn allows(&self) -> bool {
        self.action == Action::Allow && self.matched == Matched::Yes
    }
}

/// The later steps.
type GoOn<'a> = &'a dyn Fn() -> Half;

impl<'w> Side<'w> {
    /// Step 1: whoever is quarantined may have what every one of the quarantines excepts, and nothing else. What one of them
    /// closes, no exception of another one opens.
    fn quarantine(&self, go_on: GoOn<'_>) -> Half {
        let quarantines = self.policies(Stage::Quarantine);
        if quarantines.is_empty() {
            return go_on();
        }
        let exceptions: Vec<Option<Provenance>> = quarantines
            .iter()
            .map(|quarantine| {
                let candidates = self.candidates(&[*quarantine]);
                let exception = candidates.iter().find(|exception| exception.allows())?;
                Some(exception.provenance(self.direction))
            })
            .collect();
        let by_all: Option<Vec<Provenance>> = exceptions.into_iter().collect();
        match by_all.and_then(|by_all| by_all.into_iter().next()) {
            Some(first) => Half::allowed(first),
            None => self.isolated(
                Stage::Quarantine,
                quarantines.iter().map(|q| q.object.clone()).collect(),
            ),
        }
    }

    /// Steps 2 and 4: rules in order of priority, kind, name and index.
    fn cluster_tier(&self, stage: Stage, go_on: GoOn<'_>) -> Half {
        for rule in self.candidates(&self.policies(stage)) {
            match (rule.action, rule.matched) {
                (Action::Allow, Matched::Yes) => {
                    return Half::allowed(rule.provenance(self.direction));
                }
                (Action::Deny, Matched::Yes | Matched::Maybe) => {
                    return Half::denied(rule.provenance(self.direction));
                }
                (Action::Pass, Matched::Yes) => return go_on(),
                (Action::Pass, Matched::Maybe) => {
                    let passed = go_on();
                    if !passed.allowed {
                        return passed;
                    }
                }
                (Action::Allow, Matched::Maybe) | (_, Matched::No) => {}
            }
        }
        go_on()
    }

    /// Step 2b: a boundary only closes. What it does not close is for the tenants and the later steps to judge, so
    /// that `within: Allow` exempts from the boundary and from nothing else.
    fn segment_boundary(&self, go_on: GoOn<'_>) -> Half {
        match self.isolation(Strength::Boundary) {
            Some(half) if !half.allowed => half,
            Some(_) | None => go_on(),
        }
    }

    /// Step 3: explicit denials, then admissions, then isolation.
    fn namespace_tier(&self, go_on: GoOn<'_>) -> Half {
        let policies = self.policies(Stage::Namespace);
        let candidates = self.candidates(&policies);
        if let Some(rule) = candidates.iter().find(|rule| rule.denies()) {
            return Half::denied(rule.provenance(self.direction));
        }
        if let Some(rule) = candidates.iter().find(|rule| rule.allows()) {
            return Half::allowed(rule.provenance(self.direction));
        }
        let isolating: Vec<ObjectRef> = policies
            .iter()
            .filter(|policy| policy.isolates.contains(&self.direction))
            .map(|policy| policy.object.clone())
            .collect();
        if isolating.is_empty() {
            go_on()
        } else {
            self.isolated(Stage::Namespace, isolating)
        }
    }

    /// Step 5: what nobody has spoken of.
    fn segment_isolation(&self) -> Half {
        self.isolation(Strength::Default)
            .unwrap_or(Half::allowed(Provenance::Unopposed))
    }

    /// What the subject's segments of one strength say: of peers in a common segment its inside decides, and of
    /// several such segments one `Deny` is enough; else one segment that closes this direction is enough.
    fn isolation(&self, strength: Strength) -> Option<Half> {
        let stage = match strength {
            Strength::Boundary => Stage::Boundary,
            Strength::Default => Stage::Segment,
        };
        let segments = self.segments(strength);
        let named = |chosen: &dyn Fn(&Segment, &Isolation) -> bool| -> Vec<ObjectRef> {
            let chosen = segments
                .iter()
                .filter(|(segment, isolation)| chosen(segment, isolation));
            chosen
                .map(|(segment, _)| ObjectRef::cluster(Kind::Segment, &segment.name))
                .collect()
        };
        let common = |segment: &Segment| {
            self.judge
                .world
                .matches_members(&segment.members, self.peer)
        };
        let within = |by| Provenance::Within {
            stage,
            direction: self.direction,
            by,
        };

        let closed =
            named(&|segment, i| i.within == Action::Deny && common(segment) != Matched::No);
        if !closed.is_empty() {
            return Some(Half::denied(within(closed)));
        }
        let open = named(&|segment, i| i.within != Action::Deny && common(segment) == Matched::Yes);
        if !open.is_empty() {
            return Some(Half::allowed(within(open)));
        }
        let isolating = named(&|_, isolation| match self.direction {
            Direction::Ingress => isolation.ingress == Action::Deny,
            Direction::Egress => isolation.egress == Action::Deny,
        });
        if isolating.is_empty() {
            None
        } else {
            Some(self.isolated(stage, isolating))
        }
    }

    fn isolated(&self, stage: Stage, by: Vec<ObjectRef>) -> Half {
        Half::denied(Provenance::Isolated {
            stage,
            direction: self.direction,
            by,
        })
    }

    /// The policies of a step that protect the subject now, strongest first.
    fn policies(&self, stage: Stage) -> Vec<&'w Policy> {
        let rank = |policy: &Policy| match policy.tier {
            Tier::Quarantine => (Stage::Quarantine, 0),
            Tier::Admin(priority) => (Stage::Admin, priority),
            Tier::Namespace => (Stage::Namespace, 0),
            Tier::Baseline(priority) => (Stage::Baseline, priority),
        };
        let Judge { world, at, .. } = self.judge;
        let mut policies: Vec<&'w Policy> = world
            .policies()
            .filter(|policy| rank(policy).0 == stage)
            .filter(|policy| policy.is_active(at.now) && self.counts(policy.mode))
            .filter(|policy| world.is_subject(policy, self.subject))
            .collect();
        policies.sort_by_key(|policy| (rank(policy), &policy.object));
        policies
    }

    /// The segments that the subject is in and that isolate with this strength, in the order of names.
    fn segments(&self, strength: Strength) -> Vec<(&'w Segment, &'w Isolation)> {
        let world = self.judge.world;
        world
            .segments()
            .filter(|segment| {
                self.counts(segment.mode) && world.is_member(&segment.members, self.subject)
            })
            .filter_map(|segment| {
                segment
                    .isolation
                    .as_ref()
                    .map(|isolation| (segment, isolation))
            })
            .filter(|(_, isolation)| isolation.strength == strength)
            .collect()
    }

    /// The enforced verdict is that of a world without the objects in Audit.
    fn counts(&self, mode: Mode) -> bool {
        mode == Mode::Enforce || self.judge.stance == Stance::Intended
    }

    fn candidates(&self, policies: &[&'w Policy]) -> Vec<Candidate<'w>> {
        let world = self.judge.world;
        let is_tenants = policies.iter().any(|it| it.tier == Tier::Namespace);
        let room = match is_tenants {
            true => world.peer_room(&self.subject.namespace),
            false => PeerRoom::All,
        };
        let mut candidates = Vec::new();
        for policy in policies {
            for (index, rule) in policy.rules(self.direction).iter().enumerate() {
                let counts = room.reduce(rule, self.direction);
                let action = world.action(&counts);
                let peers = world.matches_peers(&counts.peers, action, self.peer);
                let ports = ports::matches(&counts.ports, action, self.wanted, self.destination());
                candidates.push(Candidate {
                    policy,
                    index,
                    rule,
                    action,
                    matched: self.once_stale(policy, action, both(peers, ports)),
                });
            }
        }
        candidates
    }

    /// Once the controller has not been heard for longer than the policy wants: what it allows is over, its exceptions from
    /// later denials are not sure any more, and what it denies stays.
    fn once_stale(&self, policy: &Policy, action: Action, matched: Matched) -> Matched {
        let is_stale = self.judge.at.is_past(policy.max_staleness);
        match action {
            Action::Allow if is_stale => Matched::No,
            Action::Pass if is_stale => matched.perhaps(),
            Action::Allow | Action::Pass | Action::Deny => matched,
        }
    }

    /// Who gives names to ports: the end at which the flow arrives.
    fn destination(&self) -> Owner<'_> {
        match self.direction {
            Direction::Ingress => Owner::Workload(self.subject),
            Direction::Egress => self.peer.owner,
        }
    }
}
