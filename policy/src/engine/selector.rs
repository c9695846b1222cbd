//! Selectors, each once: equal selectors of a thousand policies are one, with one list of members.

use std::sync::Arc;

use bulkhead_graph::{Address, Hasher, Network, PeerSet, PeerSetId, Protocol};
use rustc_hash::FxHashMap;

use super::arena::{Arena, Key, insert_sorted, remove_sorted};
use super::compile::Compiled;
use super::names::{Name, Names};
use super::node::NodeState;
use super::profile::{NamespaceState, Profile};
use super::segment::SegmentState;
use crate::model::{LabelSelector, NamespaceScope, Operator, WorkloadSelector};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Condition {
    In(Vec<Name>),
    NotIn(Vec<Name>),
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
            Self::MeansNothing(name, protocol) => !ports
                .iter()
                .any(|(own, of, _)| (*own, *of) == (name, protocol)),
        }
    }
}

/// What makes a selector; two are the same exactly if these are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SelectorKey {
    pub(super) scope: Scope,
    pub(super) labels: Vec<Requirement>,
    pub(super) accounts: Option<Vec<Name>>,
    /// Only this incarnation.
    pub(super) uid: Option<Name>,
    /// Only workloads with these names of ports.
    pub(super) port_name: Option<PortName>,
    /// Only addresses in this network.
    pub(super) network: Option<Network>,
}

impl SelectorKey {
    pub(super) fn everything() -> Self {
        Self {
            scope: Scope::Namespaces(Vec::new()),
            labels: Vec::new(),
            accounts: None,
            uid: None,
            port_name: None,
            network: None,
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
            && self.uid.is_none_or(|uid| profile.uid == Some(uid))
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
        hash_names(&mut h, self.uid.as_slice(), names);
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
        if let Some(network) = &self.network {
            h.fixed(&[3]).bytes(network.cidr.to_string().as_bytes());
            h.number(network.except.len() as u64);
            for hole in &network.except {
                h.bytes(hole.to_string().as_bytes());
            }
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
    let mut list = |values: &std::collections::BTreeSet<crate::model::Interned>| {
        let mut values: Vec<Name> = values.iter().map(|value| names.number(value)).collect();
        values.sort_unstable();
        values
    };
    let conditions: Vec<Condition> = selector
        .requirements()
        .iter()
        .map(|requirement| match &requirement.operator {
            Operator::In(values) => Condition::In(list(values)),
            Operator::NotIn(values) => Condition::NotIn(list(values)),
            Operator::Exists => Condition::Exists,
            Operator::DoesNotExist => Condition::Absent,
        })
        .collect();
    selector
        .requirements()
        .iter()
        .zip(conditions)
        .map(|(requirement, condition)| Requirement {
            key: names.number(&requirement.key),
            condition,
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
        uid: None,
        port_name: None,
        network: None,
    }
}

/// Who is protected through a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Protector {
    Policy(Key<Compiled>),
    Segment(Key<SegmentState>),
}

pub(super) struct Selector {
    pub(super) key: Arc<SelectorKey>,
    /// Sorted.
    pub(super) members: Vec<Key<Profile>>,
    /// Policies and segments whose subjects it names; sorted, one entry a use.
    pub(super) protects: Vec<Protector>,
    references: u32,
    /// Name and present members, from the first use as a peer on.
    pub(super) peers: Option<(PeerSetId, Arc<PeerSet>)>,
    /// Members that came or went since.
    pub(super) pending: FxHashMap<Address, bool>,
    /// Nodes that use it as a peer; sorted.
    pub(super) nodes: Vec<Key<NodeState>>,
}

/// Where a selector is looked for when a new label set appears. A selector lies under one anchor for each value
/// of its most telling requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Anchor {
    Everywhere,
    Uid(Name),
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
    keys: FxHashMap<Arc<SelectorKey>, Key<Selector>>,
    anchors: FxHashMap<Anchor, Vec<Key<Selector>>>,
}

impl Selectors {
    /// The selector, and whether it is new and its members are still to be found.
    pub(super) fn acquire(&mut self, key: SelectorKey) -> (Key<Selector>, bool) {
        if let Some(selector) = self.keys.get(&key) {
            self.arena[*selector].references += 1;
            return (*selector, false);
        }
        let key = Arc::new(key);
        let selector = self.arena.insert(Selector {
            key: key.clone(),
            members: Vec::new(),
            protects: Vec::new(),
            references: 1,
            peers: None,
            pending: FxHashMap::default(),
            nodes: Vec::new(),
        });
        for anchor in anchors_of(&key) {
            insert_sorted(self.anchors.entry(anchor).or_default(), selector);
        }
        self.keys.insert(key, selector);
        (selector, true)
    }

    /// Gives back one reference; the last one yields the selector, which is gone from then on.
    pub(super) fn release(&mut self, selector: Key<Selector>) -> Option<Selector> {
        self.arena[selector].references -= 1;
        if self.arena[selector].references > 0 {
            return None;
        }
        let gone = self.arena.remove(selector);
        self.keys.remove(&gone.key);
        for anchor in anchors_of(&gone.key) {
            let list = self
                .anchors
                .get_mut(&anchor)
                .expect("a selector lies under its anchors");
            remove_sorted(list, &selector);
            if list.is_empty() {
                self.anchors.remove(&anchor);
            }
        }
        Some(gone)
    }

    /// All selectors that match, sorted.
    pub(super) fn matching(
        &self,
        profile: &Profile,
        namespace: &NamespaceState,
    ) -> Vec<Key<Selector>> {
        let mut found = Vec::new();
        let mut look = |anchor: Anchor| {
            let candidates = self
                .anchors
                .get(&anchor)
                .map(Vec::as_slice)
                .unwrap_or_default();
            found.extend(
                candidates
                    .iter()
                    .filter(|s| self.arena[**s].key.matches(profile, namespace)),
            );
        };
        look(Anchor::Everywhere);
        profile
            .uid
            .into_iter()
            .for_each(|uid| look(Anchor::Uid(uid)));
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
        &self,
        selector: Key<Selector>,
        names: &Names,
        namespaces: &Arena<NamespaceState>,
    ) -> PeerSetId {
        let selector = &self.arena[selector];
        selector
            .peers
            .as_ref()
            .map_or_else(|| selector.key.content(names, namespaces), |(id, _)| *id)
    }
}

/// Values of an `In` beyond this are not worth an anchor each.
const ANCHORED_VALUES: usize = 16;

fn anchors_of(key: &SelectorKey) -> Vec<Anchor> {
    if let Some(uid) = key.uid {
        return vec![Anchor::Uid(uid)];
    }
    let namespace = match &key.scope {
        Scope::Namespace(namespace) => Some(*namespace),
        Scope::Namespaces(_) => None,
    };
    if let Some((name, values)) = telling(&key.labels) {
        return match (namespace, values) {
            (Some(ns), Some(values)) => values
                .iter()
                .map(|v| Anchor::NamespaceAndLabel(ns, name, *v))
                .collect(),
            (Some(ns), None) => vec![Anchor::NamespaceAndKey(ns, name)],
            (None, Some(values)) => values.iter().map(|v| Anchor::Label(name, *v)).collect(),
            (None, None) => vec![Anchor::LabelKey(name)],
        };
    }
    match &key.scope {
        Scope::Namespace(namespace) => vec![Anchor::Namespace(*namespace)],
        Scope::Namespaces(requirements) => match telling(requirements) {
            Some((name, Some(values))) => values
                .iter()
                .map(|value| Anchor::NamespaceLabel(name, *value))
                .collect(),
            Some((name, None)) => vec![Anchor::NamespaceLabelKey(name)],
            None => vec![Anchor::Everywhere],
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
