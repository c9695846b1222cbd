//! Selectors, each once: equal selectors of a thousand policies are one, with one list of members.

use std::sync::Arc;

use bulkhead_graph::{Address, Hasher, PeerSet, PeerSetId, Protocol};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::arena::{Arena, ContentHash, Key, Keys, Lookup, insert_sorted, remove_sorted};
use super::compile::Compiled;
use super::names::{Name, Names};
use super::networks::Networks;
use super::node::NodeState;
use super::profile::{NamespaceState, Profile};
use super::segment::SegmentState;
use crate::model::{
    Interned, LabelSelector, NamespaceScope, Operator, SortedSet, WorkloadSelector,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Condition {
    /// Sorted.
    In(Values),
    /// Sorted.
    NotIn(Values),
    Exists,
    Absent,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Requirement {
    pub(super) key: Name,
    pub(super) condition: Condition,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Scope {
    Namespace(Key<NamespaceState>),
    Namespaces(Vec<Requirement>),
}

/// Values of a label; mostly there is one.
pub(super) type Values = SmallVec<[Name; 1]>;

/// What a workload makes of a port's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum PortName {
    /// It gives this number to it.
    Means(Name, Protocol, u16),
    /// It gives no number to it.
    MeansNothing(Name, Protocol),
}

impl PortName {
    /// `ports` are those of a workload, sorted.
    fn holds(self, ports: &[(Name, Protocol, u16)]) -> bool {
        match self {
            Self::Means(name, protocol, port) => {
                ports.binary_search(&(name, protocol, port)).is_ok()
            }
            Self::MeansNothing(name, protocol) => {
                let from = ports.partition_point(|(own, of, _)| (*own, *of) < (name, protocol));
                !matches!(ports.get(from), Some((own, of, _)) if (*own, *of) == (name, protocol))
            }
        }
    }
}

/// What makes a selector; two are the same exactly if these are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SelectorKey {
    pub(super) scope: Scope,
    pub(super) labels: Vec<Requirement>,
    pub(super) accounts: Option<Vec<Name>>,
    /// Only workloads with this mark.
    pub(super) mark: Option<Name>,
    /// Only workloads with these names of ports.
    pub(super) port_name: Option<PortName>,
    /// Only addresses in one of these networks.
    pub(super) networks: Option<Networks>,
}

impl SelectorKey {
    pub(super) fn everything() -> Self {
        Self {
            scope: Scope::Namespaces(Vec::new()),
            labels: Vec::new(),
            accounts: None,
            mark: None,
            port_name: None,
            networks: None,
        }
    }

    /// The one namespace that it looks into, if it is one.
    pub(super) fn looks_into(&self) -> Option<Key<NamespaceState>> {
        match self.scope {
            Scope::Namespace(namespace) => Some(namespace),
            Scope::Namespaces(_) => None,
        }
    }

    /// Every name it speaks of.
    pub(super) fn names(&self, mut each: impl FnMut(Name)) {
        let of_namespaces = match &self.scope {
            Scope::Namespace(_) => &[][..],
            Scope::Namespaces(requirements) => requirements.as_slice(),
        };
        for requirement in of_namespaces.iter().chain(&self.labels) {
            each(requirement.key);
            match &requirement.condition {
                Condition::In(values) | Condition::NotIn(values) => {
                    values.iter().for_each(|value| each(*value));
                }
                Condition::Exists | Condition::Absent => {}
            }
        }
        self.accounts
            .iter()
            .flatten()
            .chain(&self.mark)
            .for_each(|name| each(*name));
        match self.port_name {
            None => {}
            Some(PortName::Means(name, ..) | PortName::MeansNothing(name, _)) => each(name),
        }
    }

    pub(super) fn matches(&self, profile: &Profile, namespace: &NamespaceState) -> bool {
        let scope = match &self.scope {
            Scope::Namespace(key) => *key == profile.namespace,
            Scope::Namespaces(requirements) => all_match(requirements, &namespace.labels),
        };
        scope
            && all_match(&self.labels, &profile.labels)
            && self
                .accounts
                .as_ref()
                .is_none_or(|a| a.binary_search(&profile.account).is_ok())
            && self
                .mark
                .is_none_or(|mark| profile.marks.binary_search(&mark).is_ok())
            && self.port_name.is_none_or(|port| port.holds(&profile.ports))
    }

    fn content(&self, names: &Names, namespaces: &Arena<NamespaceState>) -> PeerSetId {
        let mut h = Hasher::new("selector/1");
        match &self.scope {
            Scope::Namespace(key) => {
                h.fixed(&[0])
                    .bytes(names.string(namespaces[*key].name).as_bytes());
            }
            Scope::Namespaces(requirements) => {
                h.fixed(&[1]);
                hash_requirements(&mut h, requirements, names);
            }
        }
        hash_requirements(&mut h, &self.labels, names);
        match &self.accounts {
            None => {
                h.fixed(&[0]);
            }
            Some(accounts) => {
                h.fixed(&[1]);
                hash_names(&mut h, accounts, names);
            }
        }
        hash_names(&mut h, self.mark.as_slice(), names);
        match self.port_name {
            None => {}
            Some(PortName::Means(name, protocol, port)) => {
                h.fixed(&[2, protocol as u8]).fixed(&port.to_le_bytes());
                h.bytes(names.string(name).as_bytes());
            }
            Some(PortName::MeansNothing(name, protocol)) => {
                h.fixed(&[4, protocol as u8]);
                h.bytes(names.string(name).as_bytes());
            }
        }
        if let Some(networks) = &self.networks {
            h.fixed(&[3]).fixed(networks.content());
        }
        PeerSetId(h.finish())
    }
}

fn hash_requirements(h: &mut Hasher, requirements: &[Requirement], names: &Names) {
    // Sorted by text when it was normalised, so the order is one of content.
    h.number(requirements.len() as u64);
    for requirement in requirements {
        h.bytes(names.string(requirement.key).as_bytes());
        match &requirement.condition {
            Condition::In(values) => {
                h.fixed(&[0]);
                hash_names(h, values, names);
            }
            Condition::NotIn(values) => {
                h.fixed(&[1]);
                hash_names(h, values, names);
            }
            Condition::Exists => {
                h.fixed(&[2]);
            }
            Condition::Absent => {
                h.fixed(&[3]);
            }
        }
    }
}

fn hash_names(h: &mut Hasher, list: &[Name], names: &Names) {
    // The list is sorted by number, which depends on history; the content must not.
    let mut strings: Vec<&str> = list.iter().map(|name| &**names.string(*name)).collect();
    strings.sort_unstable();
    h.number(strings.len() as u64);
    for string in strings {
        h.bytes(string.as_bytes());
    }
}

fn all_match(requirements: &[Requirement], labels: &[(Name, Name)]) -> bool {
    requirements.iter().all(|requirement| {
        let at = labels.binary_search_by_key(&requirement.key, |(key, _)| *key);
        let value = at.ok().map(|at| labels[at].1);
        match &requirement.condition {
            Condition::In(values) => {
                value.is_some_and(|value| values.binary_search(&value).is_ok())
            }
            Condition::NotIn(values) => {
                value.is_none_or(|value| values.binary_search(&value).is_err())
            }
            Condition::Exists => value.is_some(),
            Condition::Absent => value.is_none(),
        }
    })
}

/// Whether a namespace's labels satisfy the requirements.
pub(super) fn namespace_matches(requirements: &[Requirement], namespace: &NamespaceState) -> bool {
    all_match(requirements, &namespace.labels)
}

fn requirements(selector: &LabelSelector, names: &mut Names) -> Vec<Requirement> {
    let list = |values: &SortedSet<Interned>, names: &mut Names| {
        let mut values: Values = values.iter().map(|value| names.number(value)).collect();
        values.sort_unstable();
        values
    };
    selector
        .requirements()
        .iter()
        .map(|requirement| Requirement {
            key: names.number(&requirement.key),
            condition: match &requirement.operator {
                Operator::In(values) => Condition::In(list(values, names)),
                Operator::NotIn(values) => Condition::NotIn(list(values, names)),
                Operator::Exists => Condition::Exists,
                Operator::DoesNotExist => Condition::Absent,
            },
        })
        .collect()
}

/// The key of a selector of the model.
pub(super) fn selector_key(
    selector: &WorkloadSelector,
    names: &mut Names,
    namespace: impl FnOnce(&mut Names, &crate::model::Interned) -> Key<NamespaceState>,
) -> SelectorKey {
    let scope = match &selector.namespaces {
        NamespaceScope::Named(name) => Scope::Namespace(namespace(names, name)),
        NamespaceScope::Matching(labels) => Scope::Namespaces(requirements(labels, names)),
    };
    SelectorKey {
        scope,
        labels: requirements(&selector.labels, names),
        accounts: selector.service_accounts.as_ref().map(|accounts| {
            let mut accounts: Vec<Name> = accounts
                .iter()
                .map(|account| names.number(account))
                .collect();
            accounts.sort_unstable();
            accounts
        }),
        mark: None,
        port_name: None,
        networks: None,
    }
}

/// Who is protected through a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Protector {
    Policy(Key<Compiled>),
    Segment(Key<SegmentState>),
}

pub(super) struct Selector {
    pub(super) key: SelectorKey,
    /// Sorted.
    pub(super) members: Keys<Profile>,
    /// Policies and segments whose subjects it names; sorted, once each.
    pub(super) protects: SmallVec<[Protector; 2]>,
    /// `protects` is another than when its members were settled last.
    pub(super) protects_anew: bool,
    references: u32,
    /// Its name as a peer set, from the first time that somebody asked.
    id: Option<PeerSetId>,
    /// Present members, while some node looks at them.
    pub(super) peers: Option<Arc<PeerSet>>,
    /// Members that came or went since, the last word on each last.
    pub(super) pending: Vec<(Address, bool)>,
    /// Nodes that use it as a peer; sorted.
    pub(super) nodes: Keys<NodeState>,
}

impl Selector {
    /// Its name as a peer set, if somebody asked before.
    pub(super) fn id(&self) -> Option<PeerSetId> {
        self.id
    }

    /// Whether an address of one of its members is in the peer set as well.
    pub(super) fn holds(&self, address: Address) -> bool {
        self.key
            .networks
            .as_ref()
            .is_none_or(|networks| networks.contains(address))
    }
}

/// Where a selector is looked for when a new label set appears. A selector lies under one anchor for each value
/// of its most telling requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Anchor {
    Everywhere,
    Mark(Name),
    Port(Name, Protocol, u16),
    Label(Name, Name),
    LabelKey(Name),
    Namespace(Key<NamespaceState>),
    NamespaceAndLabel(Key<NamespaceState>, Name, Name),
    NamespaceAndKey(Key<NamespaceState>, Name),
    NamespaceLabel(Name, Name),
    NamespaceLabelKey(Name),
}

#[derive(Default)]
pub(super) struct Selectors {
    pub(super) arena: Arena<Selector>,
    keys: Lookup<Selector>,
    anchors: FxHashMap<Anchor, Keys<Selector>>,
}

impl Selectors {
    /// The selector, and whether it is new and its members are still to be found.
    pub(super) fn acquire(&mut self, key: SelectorKey) -> (Key<Selector>, bool) {
        if let Some(selector) = self.find(&key) {
            self.retain(selector);
            return (selector, false);
        }
        let selector = self.arena.insert(Selector {
            key,
            members: Keys::new(),
            protects: SmallVec::new(),
            protects_anew: false,
            references: 1,
            id: None,
            peers: None,
            pending: Vec::new(),
            nodes: Keys::new(),
        });
        let anchors = &mut self.anchors;
        anchors_of(&self.arena[selector].key, |anchor| {
            insert_sorted(anchors.entry(anchor).or_default(), selector);
        });
        let hash = ContentHash::of(&self.arena[selector].key);
        self.keys.insert(hash, selector);
        (selector, true)
    }

    /// The selector, if somebody has it.
    pub(super) fn find(&self, key: &SelectorKey) -> Option<Key<Selector>> {
        self.keys
            .find(ContentHash::of(key), |at| self.arena[at].key == *key)
    }

    /// One more reference.
    pub(super) fn retain(&mut self, selector: Key<Selector>) {
        self.arena[selector].references += 1;
    }

    /// Gives back one reference; the last one yields the selector, which is gone from then on.
    pub(super) fn release(&mut self, selector: Key<Selector>) -> Option<Selector> {
        self.arena[selector].references -= 1;
        if self.arena[selector].references > 0 {
            return None;
        }
        let gone = self.arena.remove(selector);
        self.keys.remove(ContentHash::of(&gone.key), selector);
        let anchors = &mut self.anchors;
        anchors_of(&gone.key, |anchor| {
            let list = anchors
                .get_mut(&anchor)
                .expect("a selector lies under its anchors");
            remove_sorted(list, &selector);
            if list.is_empty() {
                anchors.remove(&anchor);
            }
        });
        Some(gone)
    }

    /// All selectors that match, sorted.
    pub(super) fn matching(&self, profile: &Profile, namespace: &NamespaceState) -> Keys<Selector> {
        let mut found = Keys::new();
        if self.anchors.is_empty() {
            return found;
        }
        let mut look = |anchor: Anchor| {
            let candidates = self.anchors.get(&anchor).into_iter().flatten();
            found.extend(
                candidates
                    .copied()
                    .filter(|s| self.arena[*s].key.matches(profile, namespace)),
            );
        };
        look(Anchor::Everywhere);
        for mark in profile.marks.iter().copied() {
            look(Anchor::Mark(mark));
        }
        for (name, protocol, port) in profile.ports.iter().copied() {
            look(Anchor::Port(name, protocol, port));
        }
        look(Anchor::Namespace(profile.namespace));
        for (key, value) in profile.labels.iter().copied() {
            look(Anchor::Label(key, value));
            look(Anchor::LabelKey(key));
            look(Anchor::NamespaceAndLabel(profile.namespace, key, value));
            look(Anchor::NamespaceAndKey(profile.namespace, key));
        }
        for (key, value) in namespace.labels.iter().copied() {
            look(Anchor::NamespaceLabel(key, value));
            look(Anchor::NamespaceLabelKey(key));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The selector's name as a peer set.
    pub(super) fn content(
        &mut self,
        selector: Key<Selector>,
        names: &Names,
        namespaces: &Arena<NamespaceState>,
    ) -> PeerSetId {
        let selector = &mut self.arena[selector];
        *selector
            .id
            .get_or_insert_with(|| selector.key.content(names, namespaces))
    }
}

/// Values of an `In` beyond this are not worth an anchor each.
const ANCHORED_VALUES: usize = 16;

fn anchors_of(key: &SelectorKey, mut each: impl FnMut(Anchor)) {
    if let Some(mark) = key.mark {
        return each(Anchor::Mark(mark));
    }
    if let Some(PortName::Means(name, protocol, port)) = key.port_name {
        return each(Anchor::Port(name, protocol, port));
    }
    let namespace = match &key.scope {
        Scope::Namespace(namespace) => Some(*namespace),
        Scope::Namespaces(_) => None,
    };
    if let Some((name, values)) = telling(&key.labels) {
        return match (namespace, values) {
            (Some(ns), Some(values)) => values
                .iter()
                .for_each(|v| each(Anchor::NamespaceAndLabel(ns, name, *v))),
            (Some(ns), None) => each(Anchor::NamespaceAndKey(ns, name)),
            (None, Some(values)) => values.iter().for_each(|v| each(Anchor::Label(name, *v))),
            (None, None) => each(Anchor::LabelKey(name)),
        };
    }
    match &key.scope {
        Scope::Namespace(namespace) => each(Anchor::Namespace(*namespace)),
        Scope::Namespaces(requirements) => match telling(requirements) {
            Some((name, Some(values))) => values
                .iter()
                .for_each(|value| each(Anchor::NamespaceLabel(name, *value))),
            Some((name, None)) => each(Anchor::NamespaceLabelKey(name)),
            None => each(Anchor::Everywhere),
        },
    }
}

/// The requirement that excludes most: a key with few values, else a key that must be there.
pub(super) fn telling(requirements: &[Requirement]) -> Option<(Name, Option<&[Name]>)> {
    let by_value = requirements
        .iter()
        .find_map(|requirement| match &requirement.condition {
            Condition::In(values) if values.len() <= ANCHORED_VALUES => {
                Some((requirement.key, Some(values.as_slice())))
            }
            Condition::In(_) | Condition::NotIn(_) | Condition::Exists | Condition::Absent => None,
        });
    by_value.or_else(|| {
        requirements
            .iter()
            .find_map(|requirement| match &requirement.condition {
                Condition::In(_) | Condition::Exists => Some((requirement.key, None)),
                Condition::NotIn(_) | Condition::Absent => None,
            })
    })
}
