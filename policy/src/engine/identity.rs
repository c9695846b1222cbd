//! Identities: workloads that are protected by the same policies and segments are one subject, whatever else
//! their labels say, and the pipeline is flattened once for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_graph::{Action, Direction, Matched, Mode, PortMatch, Protocol, Stage, Timestamp};
use rustc_hash::FxHashMap;

use super::Engine;
use super::arena::Key;
use super::compile::{Compiled, CompiledRule};
use super::entry::{EntrySpec, EntryState, PeerSpec, RuleSetState};
use super::names::Name;
use super::profile::Profile;
use super::segment::SegmentState;
use super::selector::Protector;
use crate::model::{Strength, Tier};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct IdentityKey {
    /// Sorted.
    protectors: Vec<Protector>,
    /// The subject's own named ports, where a rule of its protectors asks for them.
    ports: Vec<(Name, Protocol, u16)>,
}

pub(super) struct Identity {
    key: Arc<IdentityKey>,
    /// By direction.
    pub(super) rule_sets: [Key<RuleSetState>; 2],
    references: u32,
}

#[derive(Default)]
pub(super) struct Identities {
    pub(super) arena: super::arena::Arena<Identity>,
    keys: FxHashMap<Arc<IdentityKey>, Key<Identity>>,
}

/// Where a line of a rule set comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A rule of a policy.
    Rule(Key<Compiled>, u32),
    /// The default deny of everything that isolates the subject at this stage.
    Isolation(Stage),
    /// What a segment says of its members among themselves.
    Within(Key<SegmentState>),
    /// Every quarantine excepts it.
    Excepted,
}

type Line = (Key<EntryState>, Source);

impl Engine {
    /// The identity of a profile, which takes one reference.
    pub(super) fn acquire_identity(&mut self, profile: Key<Profile>) -> Key<Identity> {
        let key = self.identity_key(profile);
        if let Some(identity) = self.identities.keys.get(&key) {
            self.identities.arena[*identity].references += 1;
            return *identity;
        }
        self.counters.identities_built += 1;
        let rule_sets = [Direction::Ingress, Direction::Egress].map(|direction| {
            let lines = self
                .flatten(&key, direction)
                .into_iter()
                .map(|(line, _)| line)
                .collect();
            let (rule_set, new) = self.entries.rule_set(direction, lines);
            self.counters.rule_sets_built += u64::from(new);
            rule_set
        });
        let key = Arc::new(key);
        let identity = self.identities.arena.insert(Identity {
            key: key.clone(),
            rule_sets,
            references: 1,
        });
        self.identities.keys.insert(key, identity);
        identity
    }

    pub(super) fn release_identity(&mut self, identity: Key<Identity>) {
        self.identities.arena[identity].references -= 1;
        if self.identities.arena[identity].references == 0 {
            let gone = self.identities.arena.remove(identity);
            self.identities.keys.remove(&gone.key);
            gone.rule_sets
                .into_iter()
                .for_each(|rule_set| self.entries.release_rule_set(rule_set));
        }
    }

    fn identity_key(&self, profile: Key<Profile>) -> IdentityKey {
        let profile = &self.profiles.arena[profile];
        let mut protectors: Vec<Protector> = Vec::new();
        for selector in &profile.matched {
            let protects = self.selectors.arena[*selector].protects.iter();
            protectors.extend(protects.filter(|protector| self.is_in_reach(**protector, profile)));
        }
        protectors.sort_unstable();
        protectors.dedup();
        let named = protectors.iter().any(|protector| match protector {
            Protector::Policy(policy) => self.compiled[*policy].named_ingress,
            Protector::Segment(_) => false,
        });
        IdentityKey {
            protectors,
            ports: if named {
                profile.ports.clone()
            } else {
                Vec::new()
            },
        }
    }

    /// Nothing namespaced protects, or restricts, a workload outside its namespace, whatever it selects.
    fn is_in_reach(&self, protector: Protector, profile: &Profile) -> bool {
        let Protector::Policy(policy) = protector else {
            return true;
        };
        let policy = &self.compiled[policy];
        let namespace = self.profiles.namespaces[profile.namespace].name;
        policy.tier != Tier::Namespace || policy.object.namespace == *self.names.string(namespace)
    }

    /// The lines of an existing identity with their sources; the lines' references stay where they are.
    pub(super) fn sources(&mut self, identity: Key<Identity>, direction: Direction) -> Vec<Source> {
        let key = self.identities.arena[identity].key.clone();
        let lines = self.flatten(&key, direction);
        lines
            .into_iter()
            .map(|(line, source)| {
                self.entries.release(line);
                source
            })
            .collect()
    }

    /// What protects an identity.
    pub(super) fn protectors(&self, identity: Key<Identity>) -> &[Protector] {
        &self.identities.arena[identity].key.protectors
    }

    /// The pipeline as one list, one reference a line.
    fn flatten(&mut self, key: &IdentityKey, direction: Direction) -> Vec<Line> {
        let (mut policies, mut segments) = (Vec::new(), Vec::new());
        for protector in &key.protectors {
            match protector {
                Protector::Policy(policy) => policies.push(*policy),
                Protector::Segment(segment) => segments.push(*segment),
            }
        }
        let of = |stage: Stage, engine: &Self| -> Vec<Key<Compiled>> {
            policies
                .iter()
                .copied()
                .filter(|p| engine.compiled[*p].stage() == stage)
                .collect()
        };
        let mut lines = Vec::new();
        // Lines that say something also where the same stands further up.
        let mut by_turns = 0;
        for stage in [
            Stage::Quarantine,
            Stage::Exemption,
            Stage::Admin,
            Stage::Boundary,
            Stage::Namespace,
            Stage::Baseline,
            Stage::Segment,
        ] {
            match stage {
                Stage::Quarantine if of(stage, self).len() > 1 => {
                    let policies = of(stage, self);
                    self.quarantines(policies, direction, &key.ports, &mut lines);
                    by_turns = lines.len();
                }
                // The second half of the step before.
                Stage::Exemption => {}
                Stage::Quarantine | Stage::Namespace => {
                    let policies = of(stage, self);
                    self.isolating_stage(stage, &policies, direction, &key.ports, &mut lines);
                }
                Stage::Admin | Stage::Baseline => {
                    let policies = of(stage, self);
                    self.ordered_stage(policies, direction, &key.ports, &mut lines);
                }
                Stage::Boundary => {
                    self.segment_stage(stage, Strength::Boundary, &segments, direction, &mut lines);
                }
                Stage::Segment => {
                    self.segment_stage(stage, Strength::Default, &segments, direction, &mut lines);
                }
            }
        }
        // A line that stands further up already says the same earlier.
        let mut seen = rustc_hash::FxHashSet::default();
        let mut at = 0;
        lines.retain(|(line, _)| {
            at += 1;
            let first = at <= by_turns || seen.insert(*line);
            if !first {
                self.entries.release(*line);
            }
            first
        });
        lines
    }

    /// Several quarantines: each passes on what it excepts and denies the rest, and what all have passed on is allowed. Each
    /// is a stage of its own, for a Pass leads to the next stage.
    fn quarantines(
        &mut self,
        mut policies: Vec<Key<Compiled>>,
        direction: Direction,
        ports: &[(Name, Protocol, u16)],
        into: &mut Vec<Line>,
    ) {
        policies.sort_by(|a, b| {
            let [a, b] = [&self.compiled[*a], &self.compiled[*b]];
            a.object.cmp(&b.object)
        });
        let mut turns = [Stage::Quarantine, Stage::Exemption].into_iter().cycle();
        let mut ends: BTreeMap<Mode, Option<Timestamp>> = BTreeMap::new();
        for (policy, stage) in policies.into_iter().zip(&mut turns) {
            let mut exceptions = Vec::new();
            for at in 0..self.compiled[policy].rules(direction).len() {
                let rule = &self.compiled[policy].rules(direction)[at];
                if rule.action == Action::Allow {
                    let source = Source::Rule(policy, rule.index);
                    self.rule_lines(policy, direction, at, ports, source, &mut exceptions);
                }
            }
            for (line, source) in exceptions {
                let spec = EntrySpec {
                    stage,
                    action: Action::Pass,
                    ..(*self.entries.arena[line].spec).clone()
                };
                let pass = self.acquire_entry(spec);
                self.entries.release(line);
                into.push((pass, source));
            }
            let (mode, until) = (self.compiled[policy].mode, self.compiled[policy].until);
            let rest = self.acquire_entry(for_all(stage, Action::Deny, mode, until));
            into.push((rest, Source::Isolation(Stage::Quarantine)));
            let end = ends.entry(mode).or_insert(until);
            // One that never ends outlasts the others.
            *end = end.zip(until).map(|(one, other)| one.max(other));
        }
        let last = turns.next().unwrap_or(Stage::Exemption);
        for (mode, until) in ends {
            let excepted = self.acquire_entry(for_all(last, Action::Allow, mode, until));
            into.push((excepted, Source::Excepted));
        }
    }

    /// Deny before Allow, then what is left is denied if some policy here isolates.
    fn isolating_stage(
        &mut self,
        stage: Stage,
        policies: &[Key<Compiled>],
        direction: Direction,
        ports: &[(Name, Protocol, u16)],
        into: &mut Vec<Line>,
    ) {
        for action in [Action::Deny, Action::Allow] {
            let mut group = Vec::new();
            for policy in policies {
                for at in 0..self.compiled[*policy].rules(direction).len() {
                    let rule = &self.compiled[*policy].rules(direction)[at];
                    if rule.action == action {
                        let source = Source::Rule(*policy, rule.index);
                        self.rule_lines(*policy, direction, at, ports, source, &mut group);
                    }
                }
            }
            self.push_unordered(group, into);
        }
        let isolating = policies.iter().map(|policy| &self.compiled[*policy]);
        let isolating = isolating
            .filter(|policy| policy.tier == Tier::Quarantine || policy.isolates(direction))
            .map(|policy| (policy.mode, policy.until))
            .collect();
        self.push_isolation(stage, isolating, into);
    }

    /// By priority, then kind, then name, then index.
    fn ordered_stage(
        &mut self,
        mut policies: Vec<Key<Compiled>>,
        direction: Direction,
        ports: &[(Name, Protocol, u16)],
        into: &mut Vec<Line>,
    ) {
        policies.sort_by(|a, b| {
            let [a, b] = [&self.compiled[*a], &self.compiled[*b]];
            (a.tier, &a.object).cmp(&(b.tier, &b.object))
        });
        for policy in policies {
            for at in 0..self.compiled[policy].rules(direction).len() {
                let source = Source::Rule(policy, self.compiled[policy].rules(direction)[at].index);
                self.rule_lines(policy, direction, at, ports, source, into);
            }
        }
    }

    /// Peers in a common segment first, of several Deny before Allow; then whoever is left.
    ///
    /// A boundary does not decide in favour of its members: within it the tenants' own policies still speak.
    fn segment_stage(
        &mut self,
        stage: Stage,
        strength: Strength,
        segments: &[Key<SegmentState>],
        direction: Direction,
        into: &mut Vec<Line>,
    ) {
        let mut isolating = Vec::new();
        let [mut denied, mut allowed] = [Vec::new(), Vec::new()];
        for key in segments {
            let segment = &self.segments[*key];
            let Some(isolation) = segment.isolation.filter(|i| i.strength == strength) else {
                continue;
            };
            let towards = match direction {
                Direction::Ingress => isolation.ingress,
                Direction::Egress => isolation.egress,
            };
            if towards == Action::Deny {
                isolating.push((segment.mode, None));
            }
            let denies = isolation.within == Action::Deny;
            let action = match (denies, strength) {
                (true, _) => Action::Deny,
                (false, Strength::Boundary) => Action::Pass,
                (false, Strength::Default) => Action::Allow,
            };
            let (mode, peers) = (segment.mode, segment.peers(action));
            let spec = EntrySpec {
                stage,
                action,
                mode,
                peers,
                certainty: Matched::Yes,
                ports: PortMatch::Any,
                until: None,
            };
            if super::compile::matches_nobody(&spec) {
                continue;
            }
            let line = self.acquire_entry(spec);
            let group = if denies { &mut denied } else { &mut allowed };
            group.push((line, Source::Within(*key)));
        }
        self.push_unordered(denied, into);
        self.push_unordered(allowed, into);
        self.push_isolation(stage, isolating, into);
    }

    /// One line of "deny the rest" for each way in which it ends; one that never ends makes the others needless.
    fn push_isolation(
        &mut self,
        stage: Stage,
        mut isolating: Vec<(Mode, Option<Timestamp>)>,
        into: &mut Vec<Line>,
    ) {
        isolating.sort_unstable();
        isolating.dedup();
        if isolating.contains(&(Mode::Enforce, None)) {
            isolating = vec![(Mode::Enforce, None)];
        }
        for (mode, until) in isolating {
            let line = self.acquire_entry(for_all(stage, Action::Deny, mode, until));
            into.push((line, Source::Isolation(stage)));
        }
    }

    fn rule_lines(
        &mut self,
        policy: Key<Compiled>,
        direction: Direction,
        at: usize,
        ports: &[(Name, Protocol, u16)],
        source: Source,
        into: &mut Vec<Line>,
    ) {
        let CompiledRule { lines, named, .. } = &self.compiled[policy].rules(direction)[at];
        for line in lines {
            self.entries.retain(*line);
            into.push((*line, source));
        }
        let specs: Vec<EntrySpec> = named.iter().flat_map(|named| named.at(ports)).collect();
        for spec in specs {
            let line = self.acquire_entry(spec);
            into.push((line, source));
        }
    }

    /// Lines whose order means nothing, once each and ordered by content; of equal ones the first by name stands for all.
    fn push_unordered(&mut self, mut group: Vec<Line>, into: &mut Vec<Line>) {
        group.sort_unstable_by_key(|(line, _)| *line);
        let mut once: Vec<Line> = Vec::with_capacity(group.len().min(8));
        for (line, source) in group {
            match once.last_mut() {
                Some((last, first)) if *last == line => {
                    if self.source_order(source) < self.source_order(*first) {
                        *first = source;
                    }
                    self.entries.release(line);
                }
                Some(_) | None => once.push((line, source)),
            }
        }
        once.sort_unstable_by_key(|(line, _)| self.entries.arena[*line].hash);
        into.append(&mut once);
    }

    fn source_order(&self, source: Source) -> (Option<&crate::model::ObjectRef>, u32, &str) {
        match source {
            Source::Rule(policy, index) => (Some(&self.compiled[policy].object), index, ""),
            Source::Within(segment) => (None, 0, &self.segments[segment].name),
            Source::Isolation(stage) => (None, stage as u32, ""),
            Source::Excepted => (None, 0, ""),
        }
    }
}

/// An entry about every peer and port.
fn for_all(stage: Stage, action: Action, mode: Mode, until: Option<Timestamp>) -> EntrySpec {
    EntrySpec {
        stage,
        action,
        mode,
        peers: PeerSpec::Any,
        certainty: Matched::Yes,
        ports: PortMatch::Any,
        until,
    }
}
