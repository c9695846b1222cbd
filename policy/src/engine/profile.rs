//! Label sets: workloads that no selector can tell apart share one *profile* (namespace, labels, service account,
//! named ports), and everything but addresses is computed once for it.

use bulkhead_graph::Protocol;
use rustc_hash::FxHashMap;

use super::arena::{Arena, Key, insert_sorted, remove_sorted};
use super::identity::Identity;
use super::names::Name;
use super::selector::{Requirement, Scope, Selector, SelectorKey, namespace_matches, telling};
use super::workload::WorkloadState;

pub(super) struct NamespaceState {
    pub(super) name: Name,
    /// Sorted; there is always `kubernetes.io/metadata.name`.
    pub(super) labels: Vec<(Name, Name)>,
    pub(super) profiles: Index,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ProfileKey {
    pub(super) namespace: Key<NamespaceState>,
    /// Sorted.
    pub(super) labels: Vec<(Name, Name)>,
    pub(super) account: Name,
    /// Sorted.
    pub(super) ports: Vec<(Name, Protocol, u16)>,
    /// Only where some policy names this very incarnation.
    pub(super) uid: Option<Name>,
}

pub(super) struct Profile {
    key: ProfileKey,
    /// Sorted.
    pub(super) workloads: Vec<Key<WorkloadState>>,
    /// Selectors that match; sorted.
    pub(super) matched: Vec<Key<Selector>>,
    /// What it is as a subject; `None` until it is settled.
    pub(super) identity: Option<Key<Identity>>,
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
type Postings = FxHashMap<(Name, Option<Name>), Vec<Key<Profile>>>;

/// Profiles, and from some number on postings by label.
#[derive(Default)]
pub(super) struct Index {
    /// Sorted.
    members: Vec<Key<Profile>>,
    postings: Option<Postings>,
}

impl Index {
    pub(super) fn members(&self) -> &[Key<Profile>] {
        &self.members
    }

    fn insert(&mut self, key: Key<Profile>, labels: &[(Name, Name)]) {
        insert_sorted(&mut self.members, key);
        if let Some(postings) = &mut self.postings {
            post(postings, key, labels);
        }
    }

    fn remove(&mut self, key: Key<Profile>, labels: &[(Name, Name)]) {
        remove_sorted(&mut self.members, &key);
        if let Some(postings) = &mut self.postings {
            for (label, value) in labels {
                for posting in [(*label, Some(*value)), (*label, None)] {
                    let list = postings
                        .get_mut(&posting)
                        .expect("a profile is posted under its labels");
                    remove_sorted(list, &key);
                    if list.is_empty() {
                        postings.remove(&posting);
                    }
                }
            }
        }
    }

    /// A superset of the profiles that satisfy the requirements.
    fn candidates(
        &mut self,
        requirements: &[Requirement],
        profiles: &Arena<Profile>,
    ) -> Vec<Key<Profile>> {
        if self.members.len() <= SCAN_PROFILES {
            return self.members.clone();
        }
        let Some((label, values)) = telling(requirements) else {
            return self.members.clone();
        };
        let members = &self.members;
        let postings = self.postings.get_or_insert_with(|| {
            let mut postings = Postings::default();
            members
                .iter()
                .for_each(|key| post(&mut postings, *key, &profiles[*key].labels));
            postings
        });
        let listed =
            |value: Option<Name>| postings.get(&(label, value)).cloned().unwrap_or_default();
        match values {
            None => listed(None),
            Some(values) => values
                .iter()
                .flat_map(|value| listed(Some(*value)))
                .collect(),
        }
    }
}

fn post(postings: &mut Postings, key: Key<Profile>, labels: &[(Name, Name)]) {
    for (label, value) in labels {
        insert_sorted(postings.entry((*label, Some(*value))).or_default(), key);
        insert_sorted(postings.entry((*label, None)).or_default(), key);
    }
}

#[derive(Default)]
pub(super) struct Profiles {
    pub(super) arena: Arena<Profile>,
    keys: FxHashMap<ProfileKey, Key<Profile>>,
    pub(super) namespaces: Arena<NamespaceState>,
    namespace_names: FxHashMap<Name, Key<NamespaceState>>,
    everywhere: Index,
}

impl Profiles {
    /// The namespace of that name; one that nobody declared has only the label every namespace has.
    pub(super) fn namespace(&mut self, name: Name, metadata_name: Name) -> Key<NamespaceState> {
        *self.namespace_names.entry(name).or_insert_with(|| {
            self.namespaces.insert(NamespaceState {
                name,
                labels: vec![(metadata_name, name)],
                profiles: Index::default(),
            })
        })
    }

    /// The profile, and whether it is new and its selectors are still to be found.
    pub(super) fn acquire(
        &mut self,
        key: ProfileKey,
        workload: Key<WorkloadState>,
    ) -> (Key<Profile>, bool) {
        if let Some(profile) = self.keys.get(&key) {
            insert_sorted(&mut self.arena[*profile].workloads, workload);
            return (*profile, false);
        }
        let profile = self.arena.insert(Profile {
            key: key.clone(),
            workloads: vec![workload],
            matched: Vec::new(),
            identity: None,
        });
        self.namespaces[key.namespace]
            .profiles
            .insert(profile, &key.labels);
        self.everywhere.insert(profile, &key.labels);
        self.keys.insert(key, profile);
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
        self.keys.remove(&gone.key);
        self.namespaces[gone.namespace]
            .profiles
            .remove(profile, &gone.key.labels);
        self.everywhere.remove(profile, &gone.key.labels);
        Some(gone)
    }

    /// All profiles that a selector matches, sorted.
    pub(super) fn matching(&mut self, key: &SelectorKey) -> Vec<Key<Profile>> {
        let candidates = match &key.scope {
            Scope::Namespace(namespace) => self.namespaces[*namespace]
                .profiles
                .candidates(&key.labels, &self.arena),
            Scope::Namespaces(requirements) if requirements.is_empty() => {
                self.everywhere.candidates(&key.labels, &self.arena)
            }
            Scope::Namespaces(requirements) => {
                let matching: Vec<Key<NamespaceState>> = self
                    .namespaces
                    .iter()
                    .filter(|(_, namespace)| namespace_matches(requirements, namespace))
                    .map(|(namespace, _)| namespace)
                    .collect();
                let mut found = Vec::new();
                for namespace in matching {
                    found.extend(
                        self.namespaces[namespace]
                            .profiles
                            .candidates(&key.labels, &self.arena),
                    );
                }
                found
            }
        };
        let mut matching: Vec<Key<Profile>> = candidates
            .into_iter()
            .filter(|profile| {
                let profile = &self.arena[*profile];
                key.matches(profile, &self.namespaces[profile.namespace])
            })
            .collect();
        matching.sort_unstable();
        matching
    }
}
