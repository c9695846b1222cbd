//! Identities: workloads that are protected by the same policies and segments are one subject, whatever else
//! their labels say, and the pipeline is flattened once for each.

use std::collections::BTreeMap;

use bulkhead_graph::{
    Action, Direction, Matched, Mode, PortMatch, Protocol, RuleSetId, Stage, Timestamp,
};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::Engine;
use super::arena::{Arena, ContentHash, Key, Keys, Lookup};
use super::compile::{self, Compiled, CompiledRule};
use super::entry::{Context, EntrySpec, EntryState, Lines, PeerSpec, RuleSetState};
use super::names::Name;
use super::profile::{NamespaceState, Profile};
use super::segment::SegmentState;
use super::selector::{Protector, Selector};
use crate::model::{ObjectRef, Strength};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct IdentityKey {
    /// Sorted.
    pub(super) protectors: SmallVec<[Protector; 2]>,
    /// The subject's own named ports, where a rule of its protectors asks for them.
    pub(super) ports: Vec<(Name, Protocol, u16)>,
}

pub(super) struct Identity {
    pub(super) key: IdentityKey,
    /// By direction.
    pub(super) rule_sets: [Key<RuleSetState>; 2],
    pub(super) rule_set_ids: [RuleSetId; 2],
    references: u32,
}

#[derive(Default)]
pub(super) struct Identities {
    pub(super) arena: Arena<Identity>,
    keys: Lookup<Identity>,
}

/// The selectors through which a label set is protected, and the namespace it is in: more do not matter, but its
/// own ports might.
type Group = (Keys<Selector>, Key<NamespaceState>);

/// Identities by group, within one settling.
pub(super) type Groups = FxHashMap<Group, Key<Identity>>;

/// Fewer are listed sooner than looked up.
const MANY_PROTECTORS: usize = 16;

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

/// Up to here lines are compared one by one.
const FEW_LINES: usize = 16;

type Line = (Key<EntryState>, Source);

/// Lines under construction.
type Draft = SmallVec<[Line; 4]>;

/// The ways in which something isolates.
type Isolating = SmallVec<[(Mode, Option<Timestamp>); 4]>;

/// Who protects an identity, by the stage they speak at.
#[derive(Default)]
struct Parts {
    /// By stage; those of segments and exemptions stay empty.
    policies: [SmallVec<[Key<Compiled>; 4]>; 7],
    segments: SmallVec<[Key<SegmentState>; 4]>,
}

impl Parts {
    fn at(&mut self, stage: Stage) -> &mut SmallVec<[Key<Compiled>; 4]> {
        &mut self.policies[stage as usize - 1]
    }
}

impl Engine {
    /// The identity of a profile, which takes one reference. While nothing else changes, `groups` remembers those with
    /// many protectors by what their members have in common.
    pub(super) fn acquire_identity(
        &mut self,
        profile: Key<Profile>,
        groups: &mut Groups,
    ) -> Key<Identity> {
        let Some(group) = self.group(profile) else {
            let (key, _) = self.identity_key(profile);
            return self.acquire_identity_of(key);
        };
        if let Some(identity) = groups.get(&group) {
            self.identities.arena[*identity].references += 1;
            return *identity;
        }
        let (key, by_its_own_ports) = self.identity_key(profile);
        let identity = self.acquire_identity_of(key);
        if !by_its_own_ports {
            groups.insert(group, identity);
        }
        identity
    }

    fn group(&self, profile: Key<Profile>) -> Option<Group> {
        let state = &self.profiles.arena[profile];
        let protectors = |selector: &Key<Selector>| self.selectors.arena[*selector].protects.len();
        let many = state.matched.iter().map(protectors).sum::<usize>() >= MANY_PROTECTORS;
        many.then(|| {
            let protecting = state.matched.iter().filter(|s| protectors(s) > 0);
            (protecting.copied().collect(), state.namespace)
        })
    }

    fn acquire_identity_of(&mut self, key: IdentityKey) -> Key<Identity> {
        let hash = ContentHash::of(&key);
        let identities = &self.identities;
        let found = identities
            .keys
            .find(hash, |at| identities.arena[at].key == key);
        if let Some(identity) = found {
            self.identities.arena[identity].references += 1;
            return identity;
        }
        self.counters.identities_built += 1;
        let mut parts = self.parts(&key.protectors);
        let mut group = Draft::new();
        let rule_sets = [Direction::Ingress, Direction::Egress].map(|direction| {
            group.clear();
            self.flatten(&mut parts, &key.ports, direction, &mut group);
            let lines: Lines = group.iter().map(|(line, _)| *line).collect();
            let context = Context {
                selectors: &mut self.selectors,
                names: &self.names,
                namespaces: &self.profiles.namespaces,
            };
            let (rule_set, new) = self.entries.rule_set(direction, &lines, context);
            self.counters.rule_sets_built += u64::from(new);
            rule_set
        });
        let identity = self.identities.arena.insert(Identity {
            key,
            rule_sets,
            rule_set_ids: rule_sets.map(|rule_set| self.entries.rule_sets[rule_set].id),
            references: 1,
        });
        self.identities.keys.insert(hash, identity);
        identity
    }

    pub(super) fn release_identity(&mut self, identity: Key<Identity>) {
        self.identities.arena[identity].references -= 1;
        if self.identities.arena[identity].references == 0 {
            let gone = self.identities.arena.remove(identity);
            self.identities
                .keys
                .remove(ContentHash::of(&gone.key), identity);
            gone.rule_sets
                .into_iter()
                .for_each(|rule_set| self.entries.release_rule_set(rule_set));
        }
    }

    /// What the identity is made of, and whether the subject's own ports could count.
    fn identity_key(&self, profile: Key<Profile>) -> (IdentityKey, bool) {
        let profile = &self.profiles.arena[profile];
        let mut protectors = SmallVec::new();
        for selector in &profile.matched {
            let protects = self.selectors.arena[*selector].protects.iter().copied();
            protectors.extend(protects.filter(|protector| self.is_in_reach(*protector, profile)));
        }
        protectors.sort_unstable();
        protectors.dedup();
        let named = protectors.iter().any(|protector| match protector {
            Protector::Policy(policy) => self.compiled[*policy].named_ingress,
            Protector::Segment(_) => false,
        });
        let ports = if named {
            profile.ports.clone()
        } else {
            Vec::new()
        };
        (IdentityKey { protectors, ports }, named)
    }

    /// Nothing namespaced protects, or restricts, a workload outside its namespace, whatever it selects.
    fn is_in_reach(&self, protector: Protector, profile: &Profile) -> bool {
        let Protector::Policy(policy) = protector else {
            return true;
        };
        let only_in = self.compiled[policy].only_in;
        only_in.is_none_or(|namespace| namespace == profile.namespace)
    }

    /// The lines of an existing identity with their sources; the lines' references stay where they are.
    pub(super) fn sources(&mut self, identity: Key<Identity>, direction: Direction) -> Vec<Source> {
        let key = self.identities.arena[identity].key.clone();
        let mut lines = Draft::new();
        let mut parts = self.parts(&key.protectors);
        self.flatten(&mut parts, &key.ports, direction, &mut lines);
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

    fn parts(&self, protectors: &[Protector]) -> Parts {
        let mut parts = Parts::default();
        for protector in protectors {
            match protector {
                Protector::Policy(policy) => {
                    let stage = self.compiled[*policy].stage();
                    parts.at(stage).push(*policy);
                }
                Protector::Segment(segment) => parts.segments.push(*segment),
            }
        }
        parts
    }

    /// The pipeline as one list, one reference a line.
    fn flatten(
        &mut self,
        parts: &mut Parts,
        ports: &[(Name, Protocol, u16)],
        direction: Direction,
        lines: &mut Draft,
    ) {
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
                Stage::Quarantine if parts.at(stage).len() > 1 => {
                    self.quarantines(parts.at(stage), direction, ports, lines);
                    by_turns = lines.len();
                }
                // The second half of the step before.
                Stage::Exemption => {}
                Stage::Quarantine | Stage::Namespace => {
                    self.isolating_stage(stage, parts.at(stage), direction, ports, lines);
                }
                Stage::Admin | Stage::Baseline => {
                    self.ordered_stage(parts.at(stage), direction, ports, lines);
                }
                Stage::Boundary => {
                    let strength = Strength::Boundary;
                    self.segment_stage(stage, strength, &parts.segments, direction, lines);
                }
                Stage::Segment => {
                    let strength = Strength::Default;
                    self.segment_stage(stage, strength, &parts.segments, direction, lines);
                }
            }
        }
        self.keep_first(lines, by_turns);
    }

    /// A line that stands further up already says the same earlier.
    fn keep_first(&mut self, lines: &mut Draft, from: usize) {
        let few = lines.len() <= FEW_LINES;
        let mut seen = FxHashSet::default();
        let mut kept = from;
        for at in from..lines.len() {
            let (line, source) = lines[at];
            let first = if few {
                lines[from..kept].iter().all(|(other, _)| *other != line)
            } else {
                seen.insert(line)
            };
            if first {
                lines[kept] = (line, source);
                kept += 1;
            } else {
                self.entries.release(line);
            }
        }
        lines.truncate(kept);
    }

    /// Several quarantines: each passes on what it excepts and denies the rest, and what all have passed on is allowed. Each
    /// is a stage of its own, for a Pass leads to the next stage.
    fn quarantines(
        &mut self,
        policies: &mut [Key<Compiled>],
        direction: Direction,
        ports: &[(Name, Protocol, u16)],
        into: &mut Draft,
    ) {
        policies.sort_by(|a, b| {
            let [a, b] = [a, b].map(|policy| &self.compiled[*policy].policy.object);
            a.cmp(b)
        });
        let mut turns = [Stage::Quarantine, Stage::Exemption].into_iter().cycle();
        let mut ends: BTreeMap<Mode, Option<Timestamp>> = BTreeMap::new();
        for (policy, stage) in policies.iter().copied().zip(&mut turns) {
            let mut exceptions = Draft::new();
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
                    ..self.entries.arena[line].spec.clone()
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
        into: &mut Draft,
    ) {
        if policies.is_empty() {
            return;
        }
        let mut group = Draft::new();
        // Exceptions are all that a quarantine says.
        let actions: &[Action] = if stage == Stage::Quarantine {
            &[Action::Allow]
        } else {
            &[Action::Deny, Action::Allow]
        };
        group.reserve(policies.len());
        for action in actions {
            for policy in policies {
                for at in 0..self.compiled[*policy].rules(direction).len() {
                    let rule = &self.compiled[*policy].rules(direction)[at];
                    if rule.action == *action {
                        let source = Source::Rule(*policy, rule.index);
                        self.rule_lines(*policy, direction, at, ports, source, &mut group);
                    }
                }
            }
            self.push_unordered(&mut group, into);
        }
        let isolating = policies.iter().map(|policy| &self.compiled[*policy]);
        let isolating = isolating
            .filter(|policy| stage == Stage::Quarantine || policy.isolates(direction))
            .map(|policy| (policy.mode, policy.until))
            .collect();
        self.push_isolation(stage, isolating, into);
    }

    /// By priority, then kind, then name, then index.
    fn ordered_stage(
        &mut self,
        policies: &mut [Key<Compiled>],
        direction: Direction,
        ports: &[(Name, Protocol, u16)],
        into: &mut Draft,
    ) {
        policies.sort_by(|a, b| {
            let [a, b] = [a, b].map(|policy| &self.compiled[*policy].policy);
            (a.tier, &a.object).cmp(&(b.tier, &b.object))
        });
        for policy in policies.iter().copied() {
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
        into: &mut Draft,
    ) {
        if segments.is_empty() {
            return;
        }
        let mut isolating = Isolating::new();
        let [mut denied, mut allowed] = [Draft::new(), Draft::new()];
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
                lease: None,
            };
            if compile::matches_nobody(&spec) {
                continue;
            }
            let line = self.acquire_entry(spec);
            let group = if denies { &mut denied } else { &mut allowed };
            group.push((line, Source::Within(*key)));
        }
        self.push_unordered(&mut denied, into);
        self.push_unordered(&mut allowed, into);
        self.push_isolation(stage, isolating, into);
    }

    /// One line of "deny the rest" for each way in which it ends; one that never ends makes the others needless.
    fn push_isolation(&mut self, stage: Stage, mut isolating: Isolating, into: &mut Draft) {
        isolating.sort_unstable();
        isolating.dedup();
        if isolating.contains(&(Mode::Enforce, None)) {
            isolating = Isolating::from_slice(&[(Mode::Enforce, None)]);
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
        into: &mut Draft,
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

    /// Lines whose order means nothing, once each and ordered by content; of equal ones the first by name stands for
    /// all. Leaves the group empty.
    fn push_unordered(&mut self, group: &mut Draft, into: &mut Draft) {
        if group.len() > 1 {
            group.sort_unstable_by_key(|(line, _)| *line);
            let mut last = 0;
            for at in 1..group.len() {
                let (line, source) = group[at];
                if line == group[last].0 {
                    if self.source_order(source) < self.source_order(group[last].1) {
                        group[last].1 = source;
                    }
                    self.entries.release(line);
                } else {
                    last += 1;
                    group[last] = (line, source);
                }
            }
            group.truncate(last + 1);
            group.sort_unstable_by_key(|(line, _)| self.entries.arena[*line].hash);
        }
        into.reserve(group.len());
        into.extend(group.drain(..));
    }

    fn source_order(&self, source: Source) -> (Option<&ObjectRef>, u32, &str) {
        match source {
            Source::Rule(policy, index) => (Some(&self.compiled[policy].policy.object), index, ""),
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
        lease: None,
    }
}
