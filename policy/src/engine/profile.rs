//! Label sets: workloads that no selector can tell apart share one *profile* (namespace, labels, service account,
//! named ports, marks), and everything but addresses is computed once for it.

use bulkhead_graph::Protocol;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::arena::{Arena, ContentHash, Key, Keys, Lookup, insert_sorted, remove_sorted};
use super::identity::Identity;
use super::names::Name;
use super::selector::{Requirement, Scope, Selector, SelectorKey, namespace_matches, telling};
use super::workload::WorkloadState;

/// What tells single workloads from others with their labels: an incarnation, an owner.
pub(super) type Marks = SmallVec<[Name; 1]>;

pub(super) struct NamespaceState {
    pub(super) name: Name,
    pub(super) declared: bool,
    /// Sorted; there is always `kubernetes.io/metadata.name`.
    pub(super) labels: Vec<(Name, Name)>,
    pub(super) profiles: Members,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ProfileKey {
    pub(super) namespace: Key<NamespaceState>,
    /// Sorted.
    pub(super) labels: Vec<(Name, Name)>,
    pub(super) account: Name,
    /// Sorted.
    pub(super) ports: Vec<(Name, Protocol, u16)>,
    /// Which of its marks some policy names; sorted.
    pub(super) marks: Marks,
}

pub(super) struct Profile {
    key: ProfileKey,
    /// Sorted.
    pub(super) workloads: Keys<WorkloadState>,
    /// Selectors that match; sorted.
    pub(super) matched: Keys<Selector>,
    /// What it is as a subject; `None` until it is settled.
    pub(super) identity: Option<Key<Identity>>,
    /// Its identity is to be looked up.
    pub(super) pending: bool,
}

impl Profile {
    /// Whether this is the label set.
    pub(super) fn is(&self, key: &ProfileKey) -> bool {
        self.key == *key
    }
}

impl std::ops::Deref for Profile {
    type Target = ProfileKey;
    fn deref(&self) -> &ProfileKey {
        &self.key
    }
}

/// Below this a scan is cheaper than postings.
const SCAN_PROFILES: usize = 48;

/// By label key and value, and by label key alone; sorted.
struct Postings<T>(FxHashMap<(Name, Option<Name>), Keys<T>>);

/// Profiles of one namespace, and from some number on postings by label.
#[derive(Default)]
pub(super) struct Members {
    /// Sorted.
    profiles: Keys<Profile>,
    postings: Option<Box<Postings<Profile>>>,
}

impl Members {
    pub(super) fn profiles(&self) -> &[Key<Profile>] {
        &self.profiles
    }

    fn insert(&mut self, key: Key<Profile>, labels: &[(Name, Name)]) {
        insert_sorted(&mut self.profiles, key);
        if let Some(postings) = &mut self.postings {
            postings.post(key, labels);
        }
    }

    fn remove(&mut self, key: Key<Profile>, labels: &[(Name, Name)]) {
        remove_sorted(&mut self.profiles, &key);
        if let Some(postings) = &mut self.postings {
            postings.unpost(key, labels);
        }
    }

    /// Adds a superset of the profiles that satisfy the requirements.
    fn candidates(
        &mut self,
        requirements: &[Requirement],
        profiles: &Arena<Profile>,
        into: &mut Vec<Key<Profile>>,
    ) {
        let few = self.profiles.len() <= SCAN_PROFILES;
        let Some((label, values)) = telling(requirements).filter(|_| !few) else {
            into.extend_from_slice(&self.profiles);
            return;
        };
        let members = &self.profiles;
        let postings = self.postings.get_or_insert_with(|| {
            let labels = |key: &Key<Profile>| (*key, &*profiles[*key].labels);
            Box::new(Postings::of(members.iter().map(labels)))
        });
        postings.listed(label, values, into);
    }
}

impl<T> Postings<T> {
    fn of<'a>(all: impl Iterator<Item = (Key<T>, &'a [(Name, Name)])>) -> Self {
        let mut postings = Self(FxHashMap::default());
        all.for_each(|(key, labels)| postings.post(key, labels));
        postings
    }

    fn post(&mut self, key: Key<T>, labels: &[(Name, Name)]) {
        for (label, value) in labels {
            insert_sorted(self.0.entry((*label, Some(*value))).or_default(), key);
            insert_sorted(self.0.entry((*label, None)).or_default(), key);
        }
    }

    fn unpost(&mut self, key: Key<T>, labels: &[(Name, Name)]) {
        for (label, value) in labels {
            for posting in [(*label, Some(*value)), (*label, None)] {
                let list = self
                    .0
                    .get_mut(&posting)
                    .expect("everything is posted under its labels");
                remove_sorted(list, &key);
                if list.is_empty() {
                    self.0.remove(&posting);
                }
            }
        }
    }

    /// What has the label with one of the values, or with any.
    fn listed(&self, label: Name, values: Option<&[Name]>, into: &mut Vec<Key<T>>) {
        let mut add = |value: Option<Name>| {
            if let Some(list) = self.0.get(&(label, value)) {
                into.extend_from_slice(list);
            }
        };
        match values {
            None => add(None),
            Some(values) => values.iter().for_each(|value| add(Some(*value))),
        }
    }
}

#[derive(Default)]
pub(super) struct Profiles {
    pub(super) arena: Arena<Profile>,
    keys: Lookup<Profile>,
    /// The one that was asked for last: pods that are listed one after the other mostly have the same labels.
    last: Option<Key<Profile>>,
    pub(super) namespaces: Arena<NamespaceState>,
    namespace_names: FxHashMap<Name, Key<NamespaceState>>,
    /// Of all namespaces, from the first selector on that looks in all of them for a label.
    everywhere: Option<Postings<Profile>>,
    /// From the first selector on that looks for namespaces by label.
    namespace_labels: Option<Postings<NamespaceState>>,
}

impl Profiles {
    /// The namespace of that name; one that nobody declared has only the label every namespace has.
    pub(super) fn namespace(&mut self, name: Name, metadata_name: Name) -> Key<NamespaceState> {
        if let Some(key) = self.namespace_names.get(&name) {
            return *key;
        }
        let labels = vec![(metadata_name, name)];
        let key = self.namespaces.insert(NamespaceState {
            name,
            declared: false,
            labels: labels.clone(),
            profiles: Members::default(),
        });
        self.namespace_names.insert(name, key);
        if let Some(postings) = &mut self.namespace_labels {
            postings.post(key, &labels);
        }
        key
    }

    /// Gives a namespace other labels.
    pub(super) fn relabel(&mut self, namespace: Key<NamespaceState>, labels: Vec<(Name, Name)>) {
        let state = &mut self.namespaces[namespace];
        if let Some(postings) = &mut self.namespace_labels {
            postings.unpost(namespace, &state.labels);
            postings.post(namespace, &labels);
        }
        state.labels = labels;
    }

    /// Forgets namespaces that nobody declares, is in or looks into.
    pub(super) fn keep_namespaces(&mut self, looked_into: impl Fn(Key<NamespaceState>) -> bool) {
        for key in self.namespaces.keys() {
            let namespace = &self.namespaces[key];
            if !namespace.declared && namespace.profiles.profiles.is_empty() && !looked_into(key) {
                let gone = self.namespaces.remove(key);
                self.namespace_names.remove(&gone.name);
                if let Some(postings) = &mut self.namespace_labels {
                    postings.unpost(key, &gone.labels);
                }
            }
        }
    }

    /// The profile, and whether it is new and its selectors are still to be found.
    pub(super) fn acquire(
        &mut self,
        key: &ProfileKey,
        workload: Key<WorkloadState>,
    ) -> (Key<Profile>, bool) {
        let is = |at: Key<Profile>| self.arena[at].key == *key;
        if let Some(last) = self.last.filter(|last| is(*last)) {
            insert_sorted(&mut self.arena[last].workloads, workload);
            return (last, false);
        }
        let hash = ContentHash::of(key);
        if let Some(profile) = self.keys.find(hash, is) {
            insert_sorted(&mut self.arena[profile].workloads, workload);
            self.last = Some(profile);
            return (profile, false);
        }
        let profile = self.arena.insert(Profile {
            key: key.clone(),
            workloads: Keys::from_slice(&[workload]),
            matched: Keys::new(),
            identity: None,
            pending: false,
        });
        self.namespaces[key.namespace]
            .profiles
            .insert(profile, &key.labels);
        if let Some(postings) = &mut self.everywhere {
            postings.post(profile, &key.labels);
        }
        self.keys.insert(hash, profile);
        self.last = Some(profile);
        (profile, true)
    }

    /// Takes a workload out; the last one yields the profile, which is gone from then on.
    pub(super) fn release(
        &mut self,
        profile: Key<Profile>,
        workload: Key<WorkloadState>,
    ) -> Option<Profile> {
        remove_sorted(&mut self.arena[profile].workloads, &workload);
        if !self.arena[profile].workloads.is_empty() {
            return None;
        }
        let gone = self.arena.remove(profile);
        self.last = self.last.filter(|last| *last != profile);
        self.keys.remove(ContentHash::of(&gone.key), profile);
        self.namespaces[gone.namespace]
            .profiles
            .remove(profile, &gone.key.labels);
        if let Some(postings) = &mut self.everywhere {
            postings.unpost(profile, &gone.key.labels);
        }
        Some(gone)
    }

    /// All profiles that a selector matches, sorted.
    pub(super) fn matching(&mut self, key: &SelectorKey) -> Keys<Profile> {
        let mut found = Vec::new();
        match &key.scope {
            Scope::Namespace(namespace) => self.namespaces[*namespace].profiles.candidates(
                &key.labels,
                &self.arena,
                &mut found,
            ),
            Scope::Namespaces(requirements) if requirements.is_empty() => {
                self.everywhere(&key.labels, &mut found);
            }
            Scope::Namespaces(requirements) => {
                for namespace in self.namespaces_matching(requirements) {
                    self.namespaces[namespace].profiles.candidates(
                        &key.labels,
                        &self.arena,
                        &mut found,
                    );
                }
            }
        }
        let mut matching: Keys<Profile> = found
            .into_iter()
            .filter(|profile| {
                let profile = &self.arena[*profile];
                key.matches(profile, &self.namespaces[profile.namespace])
            })
            .collect();
        matching.sort_unstable();
        matching
    }

    fn namespaces_matching(&mut self, requirements: &[Requirement]) -> Vec<Key<NamespaceState>> {
        let namespaces = &self.namespaces;
        let mut found = Vec::new();
        match telling(requirements) {
            None => found.extend(namespaces.iter().map(|(key, _)| key)),
            Some((label, values)) => self
                .namespace_labels
                .get_or_insert_with(|| {
                    Postings::of(namespaces.iter().map(|(key, ns)| (key, &*ns.labels)))
                })
                .listed(label, values, &mut found),
        }
        found.retain(|key| namespace_matches(requirements, &namespaces[*key]));
        found
    }

    fn everywhere(&mut self, requirements: &[Requirement], into: &mut Vec<Key<Profile>>) {
        let Some((label, values)) = telling(requirements) else {
            into.extend(self.arena.iter().map(|(key, _)| key));
            return;
        };
        let arena = &self.arena;
        let postings = self.everywhere.get_or_insert_with(|| {
            Postings::of(
                arena
                    .iter()
                    .map(|(key, profile)| (key, &*profile.key.labels)),
            )
        });
        postings.listed(label, values, into);
    }
}
