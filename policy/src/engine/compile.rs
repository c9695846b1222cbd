//! One version of one policy, with its selectors found and its references resolved.
//!
//! A new version is a new value: what was compiled is never changed, so whoever holds its key knows what it says.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_graph::{
    Action, Direction, Matched, Mode, Network, PortMatch, PortRange, Protocol, Stage, Timestamp,
};

use super::Engine;
use super::arena::{Key, Keys};
use super::entry::{EntrySpec, Lines, PeerSpec};
use super::names::Name;
use super::networks::Networks;
use super::profile::NamespaceState;
use super::selector::{PortName, Protector, Selector, SelectorKey};
use crate::model::{Peer, Peers, Policy, Port, Ports, Rule, Subject, Tier};

pub(super) struct Compiled {
    pub(super) policy: Arc<Policy>,
    /// Of a policy of the namespace tier: it concerns nobody else, whatever it selects.
    pub(super) only_in: Option<Key<NamespaceState>>,
    stage: Stage,
    pub(super) mode: Mode,
    pub(super) until: Option<Timestamp>,
    isolates: [bool; 2],
    /// In order, by direction.
    rules: [Vec<CompiledRule>; 2],
    /// One reference each; its subjects are registered with them.
    pub(super) subjects: Keys<Selector>,
    /// One reference each.
    pub(super) peers: Keys<Selector>,
    /// Its rules towards a subject depend on what that subject's ports are called.
    pub(super) named_ingress: bool,
}

impl Compiled {
    pub(super) fn isolates(&self, direction: Direction) -> bool {
        self.isolates[index(direction)]
    }

    pub(super) fn rules(&self, direction: Direction) -> &[CompiledRule] {
        &self.rules[index(direction)]
    }

    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Names of ports that it speaks of.
    pub(super) fn names(&self, mut each: impl FnMut(Name)) {
        for named in self.rules.iter().flatten().flat_map(|rule| &rule.named) {
            named.names.iter().for_each(|(name, _)| each(*name));
        }
    }
}

pub(super) fn index(direction: Direction) -> usize {
    match direction {
        Direction::Ingress => 0,
        Direction::Egress => 1,
    }
}

fn stage(tier: Tier) -> Stage {
    match tier {
        Tier::Quarantine => Stage::Quarantine,
        Tier::Admin(_) => Stage::Admin,
        Tier::Namespace => Stage::Namespace,
        Tier::Baseline(_) => Stage::Baseline,
    }
}

pub(super) struct CompiledRule {
    /// Index in the policy.
    pub(super) index: u32,
    pub(super) action: Action,
    /// The same for every subject; one reference each.
    pub(super) lines: Lines,
    /// What depends on the names of the subject's ports.
    pub(super) named: Option<Box<NamedLine>>,
}

/// An entry on ports of these names, as the subject gives them numbers, beside those of the entry.
pub(super) struct NamedLine {
    spec: EntrySpec,
    names: Vec<(Name, Protocol)>,
}

impl NamedLine {
    /// The entries for a subject with these ports. Of a name that it does not give, any port of the protocol may be meant.
    pub(super) fn at(&self, ports: &[(Name, Protocol, u16)]) -> Vec<EntrySpec> {
        let mut ranges = match &self.spec.ports {
            PortMatch::Of(ranges) => ranges.clone(),
            PortMatch::Any => Vec::new(),
        };
        let mut perhaps = Vec::new();
        for (name, protocol) in &self.names {
            let before = ranges.len();
            // Sorted, as the key of the label set is.
            let from = ports.partition_point(|(own, of, _)| (own, of) < (name, protocol));
            let own = ports[from..].iter();
            let own = own.take_while(|(own, of, _)| (own, of) == (name, protocol));
            ranges.extend(own.map(|(_, _, port)| range(*protocol, *port, *port)));
            if ranges.len() > before {
                continue;
            }
            match self.spec.action {
                Action::Allow => {}
                Action::Deny => ranges.push(range(*protocol, 0, u16::MAX)),
                Action::Pass => perhaps.push(range(*protocol, 0, u16::MAX)),
            }
        }
        let sure = EntrySpec {
            ports: PortMatch::of(ranges),
            ..self.spec.clone()
        };
        let unsure = EntrySpec {
            ports: PortMatch::of(perhaps),
            certainty: Matched::Maybe,
            ..self.spec.clone()
        };
        let mut specs = vec![sure, unsure];
        specs.retain(|spec| !matches_nobody(spec));
        specs
    }
}

fn range(protocol: Protocol, from: u16, to: u16) -> PortRange {
    PortRange { protocol, from, to }
}

impl Engine {
    /// Compiles a policy as it is at the present instant; outside its time it is a policy without subjects.
    pub(super) fn compile(&mut self, policy: Arc<Policy>) -> Key<Compiled> {
        let active = policy.is_active(self.now);
        let (mut subjects, mut peers) = (Keys::new(), Keys::new());
        let mut named_ingress = false;
        let mut rules = [Vec::new(), Vec::new()];
        if active {
            for direction in [Direction::Ingress, Direction::Egress] {
                let into = &mut rules[index(direction)];
                into.reserve_exact(policy.rules(direction).len());
                for (number, rule) in (0..).zip(policy.rules(direction)) {
                    let rule = &self.tenants.reduce(&policy, rule, direction);
                    let (lines, named) = self.compile_rule(&policy, direction, rule, &mut peers);
                    named_ingress |= named.is_some();
                    into.push(CompiledRule {
                        index: number,
                        action: self.action(rule),
                        lines,
                        named,
                    });
                }
            }
            for subject in &policy.subjects {
                self.compile_subject(subject, &mut subjects);
            }
            self.keep_once(&mut subjects);
        }
        let only_in = (policy.tier == Tier::Namespace)
            .then(|| self.namespace_near(&policy.object.namespace, None));
        let key = self.compiled.insert(Compiled {
            only_in,
            stage: stage(policy.tier),
            mode: policy.mode,
            until: policy.expires_at,
            isolates: [Direction::Ingress, Direction::Egress].map(|d| policy.isolates.contains(&d)),
            policy,
            rules,
            subjects,
            peers,
            named_ingress,
        });
        for at in 0..self.compiled[key].subjects.len() {
            let subject = self.compiled[key].subjects[at];
            self.protect(subject, Protector::Policy(key));
        }
        key
    }

    /// Two subjects that are the same selector are one registration; the spare reference goes back.
    fn keep_once(&mut self, subjects: &mut Keys<Selector>) {
        subjects.sort_unstable();
        let mut last = None;
        subjects.retain(|selector| {
            let first = last.replace(*selector) != Some(*selector);
            if !first {
                self.release_selector(*selector);
            }
            first
        });
    }

    fn compile_subject(&mut self, subject: &Subject, into: &mut Keys<Selector>) {
        match subject {
            Subject::Selected(selector) => into.push(self.acquire_model_selector(selector)),
            Subject::Workload(mark) | Subject::Owner(mark) => {
                let mark = self.names.number(mark);
                into.push(self.acquire_selector(SelectorKey {
                    mark: Some(mark),
                    ..SelectorKey::everything()
                }));
            }
            Subject::Segment(name) => {
                if let Some(segment) = self.segment_keys.get(name) {
                    for selector in &self.segments[*segment].selectors {
                        self.selectors.retain(*selector);
                        into.push(*selector);
                    }
                }
            }
        }
    }

    fn compile_rule(
        &mut self,
        policy: &Policy,
        direction: Direction,
        rule: &Rule,
        peers: &mut Keys<Selector>,
    ) -> (Lines, Option<Box<NamedLine>>) {
        let action = self.action(rule);
        let peer_spec = self.compile_peers(rule, action, peers);
        let (ports, names) = self.compile_ports(rule, action);
        let spec = EntrySpec {
            stage: stage(policy.tier),
            action,
            mode: policy.mode,
            peers: peer_spec,
            certainty: Matched::Yes,
            ports,
            until: policy.expires_at,
            lease: policy.max_staleness.filter(|_| action != Action::Deny),
        };
        if direction == Direction::Ingress && !names.is_empty() {
            return (Lines::new(), Some(Box::new(NamedLine { spec, names })));
        }
        let mut specs = Vec::new();
        if !names.is_empty() {
            let keys = self.keys_of_peers(&spec.peers);
            for (name, protocol) in names {
                self.name_the_peers(&spec, &keys, name, protocol, peers, &mut specs);
            }
        }
        specs.push(spec);
        specs.retain(|spec| !matches_nobody(spec));
        let lines = specs.into_iter().map(|spec| self.acquire_entry(spec));
        (lines.collect(), None)
    }

    /// A `Pass` that leads nowhere denies.
    fn action(&self, rule: &Rule) -> Action {
        let is_lost = |peer: &Peer| match peer {
            Peer::Unresolved => true,
            Peer::Segment(name) => self
                .segment_keys
                .get(name)
                .is_none_or(|segment| self.segments[*segment].partial),
            Peer::Workloads(_) | Peer::Network(_) | Peer::Nodes(_) => false,
        };
        let peers = matches!(&rule.peers, Peers::Of(peers) if peers.iter().any(is_lost));
        let ports = matches!(&rule.ports, Ports::Of(ports) if ports.contains(&Port::Unresolved));
        if rule.action == Action::Pass && (peers || ports) {
            return Action::Deny;
        }
        rule.action
    }

    fn compile_peers(
        &mut self,
        rule: &Rule,
        action: Action,
        references: &mut Keys<Selector>,
    ) -> PeerSpec {
        let Peers::Of(peers) = &rule.peers else {
            return PeerSpec::Any;
        };
        let (mut everybody, mut sets, mut networks) = (false, Keys::new(), Vec::new());
        for peer in peers {
            match peer {
                Peer::Workloads(selector) if selector.is_universal() => everybody = true,
                Peer::Workloads(selector) => {
                    let selector = self.acquire_model_selector(selector);
                    references.push(selector);
                    sets.push(selector);
                }
                Peer::Network(network) => networks.push(network.clone()),
                Peer::Nodes(labels) => networks.extend(self.node_networks(labels)),
                Peer::Segment(name) if self.segment_keys.contains_key(name) => {
                    let segment = &self.segments[self.segment_keys[name]];
                    if segment.partial && action == Action::Deny {
                        return PeerSpec::Any;
                    }
                    everybody |= segment.everybody;
                    networks.extend(segment.networks.iter().cloned());
                    for selector in &segment.selectors {
                        self.selectors.retain(*selector);
                        references.push(*selector);
                        sets.push(*selector);
                    }
                }
                // What cannot be resolved is everybody where that closes, and nobody where it would open.
                Peer::Segment(_) | Peer::Unresolved => match action {
                    Action::Deny => return PeerSpec::Any,
                    Action::Allow | Action::Pass => {}
                },
            }
        }
        if everybody {
            sets.clear();
        }
        sets.sort_unstable();
        sets.dedup();
        networks.sort();
        networks.dedup();
        PeerSpec::Of {
            everybody,
            sets,
            networks,
        }
    }

    fn compile_ports(&mut self, rule: &Rule, action: Action) -> (PortMatch, Vec<(Name, Protocol)>) {
        let Ports::Of(ports) = &rule.ports else {
            return (PortMatch::Any, Vec::new());
        };
        let (mut ranges, mut names) = (Vec::new(), Vec::new());
        for port in ports {
            match port {
                Port::Protocol(protocol) => ranges.push(range(*protocol, 0, u16::MAX)),
                Port::Range { protocol, from, to } => ranges.push(range(*protocol, *from, *to)),
                Port::Named { protocol, name } => names.push((self.names.number(name), *protocol)),
                Port::Unresolved => match action {
                    Action::Deny => return (PortMatch::Any, Vec::new()),
                    Action::Allow | Action::Pass => {}
                },
            }
        }
        (PortMatch::of(ranges), names)
    }

    /// Ports are named by the destination, which for egress is the peer: one entry for each number that some
    /// workload gives to the name, with the peers that give it. `keys` are those of the peers.
    fn name_the_peers(
        &mut self,
        spec: &EntrySpec,
        keys: &[SelectorKey],
        name: Name,
        protocol: Protocol,
        references: &mut Keys<Selector>,
        specs: &mut Vec<EntrySpec>,
    ) {
        let mut by_number: BTreeMap<u16, Keys<Selector>> = BTreeMap::new();
        for key in keys {
            let numbers = self.port_numbers.seen_from(&key.scope, name, protocol);
            for number in numbers.collect::<Vec<_>>() {
                let meaning = PortName::Means(name, protocol, number);
                let set = self.peer_that_names(key.clone(), meaning, references);
                by_number.entry(number).or_default().push(set);
            }
        }
        for (number, sets) in by_number {
            let ports = PortMatch::of(vec![range(protocol, number, number)]);
            specs.push(with_sets(spec, sets, ports));
        }
        // Of those that give no number to the name, and of unknown ones, any port of the protocol may be meant.
        if spec.action != Action::Allow && !names_no_peers(&spec.peers) {
            let nothing = PortName::MeansNothing(name, protocol);
            let keys = keys.iter().cloned();
            let sets = keys.map(|key| self.peer_that_names(key, nothing, references));
            let sets = sets.collect();
            let ports = PortMatch::of(vec![range(protocol, 0, u16::MAX)]);
            let mut unnamed = with_sets(spec, sets, ports);
            if spec.action == Action::Pass {
                unnamed.certainty = Matched::Maybe;
            }
            specs.push(unnamed);
        }
    }

    fn peer_that_names(
        &mut self,
        peer: SelectorKey,
        port_name: PortName,
        references: &mut Keys<Selector>,
    ) -> Key<Selector> {
        let selector = self.acquire_selector(SelectorKey {
            port_name: Some(port_name),
            ..peer
        });
        references.push(selector);
        selector
    }

    fn keys_of_peers(&self, peers: &PeerSpec) -> Vec<SelectorKey> {
        let in_networks = |networks: &Vec<Network>| {
            (!networks.is_empty()).then(|| SelectorKey {
                networks: Some(Networks::new(networks)),
                ..SelectorKey::everything()
            })
        };
        match peers {
            PeerSpec::Any
            | PeerSpec::Of {
                everybody: true, ..
            } => vec![SelectorKey::everything()],
            PeerSpec::Of {
                everybody: false,
                sets,
                networks,
            } => sets
                .iter()
                .map(|set| self.selectors.arena[*set].key.clone())
                .chain(in_networks(networks))
                .collect(),
        }
    }

    /// Gives back everything that a retired version of a policy held.
    pub(super) fn release_compiled(&mut self, key: Key<Compiled>) {
        let gone = self.compiled.remove(key);
        self.leftovers.add(1 + named_ports(&gone.policy));
        gone.subjects
            .into_iter()
            .for_each(|subject| self.release_selector(subject));
        gone.peers
            .into_iter()
            .for_each(|peer| self.release_selector(peer));
        for rule in gone.rules.into_iter().flatten() {
            rule.lines
                .into_iter()
                .for_each(|line| self.entries.release(line));
        }
    }
}

/// How often it names a port.
fn named_ports(policy: &Policy) -> usize {
    let rules = policy.ingress.iter().chain(&policy.egress);
    rules
        .map(|rule| match &rule.ports {
            Ports::Any => 0,
            Ports::Of(ports) => {
                let is_named = |port: &&Port| matches!(port, Port::Named { .. });
                ports.iter().filter(is_named).count()
            }
        })
        .sum()
}

fn with_sets(spec: &EntrySpec, mut sets: Keys<Selector>, ports: PortMatch) -> EntrySpec {
    sets.sort_unstable();
    sets.dedup();
    let peers = PeerSpec::Of {
        everybody: false,
        sets,
        networks: Vec::new(),
    };
    EntrySpec {
        peers,
        ports,
        ..spec.clone()
    }
}

fn names_no_peers(peers: &PeerSpec) -> bool {
    match peers {
        PeerSpec::Any => false,
        PeerSpec::Of {
            everybody,
            sets,
            networks,
        } => !everybody && sets.is_empty() && networks.is_empty(),
    }
}

/// An entry that no packet can match needs no line.
pub(super) fn matches_nobody(spec: &EntrySpec) -> bool {
    let no_ports = matches!(&spec.ports, PortMatch::Of(ranges) if ranges.is_empty());
    no_ports || names_no_peers(&spec.peers)
}
