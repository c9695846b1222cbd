//! Workloads and who owns which address.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_graph::Address;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::arena::{Arena, ContentHash, Key, Keys, Lookup, insert_sorted, remove_sorted};
use super::node::NodeState;
use super::profile::Profile;
use crate::model::{Interned, Kind, ObjectRef, Phase, SortedSet};

/// What is kept of a workload; its labels and named ports are those of its profile.
pub(super) struct WorkloadState {
    pub(super) kind: Kind,
    pub(super) phase: Phase,
    pub(super) host_network: bool,
    pub(super) uid: Interned,
    pub(super) owners: SortedSet<Interned>,
    pub(super) namespace: Interned,
    pub(super) name: Interned,
    pub(super) interface: Option<Interned>,
    /// `None` for what is no workload in the sense of the pipeline (completed, host network).
    pub(super) profile: Option<Key<Profile>>,
    pub(super) node: Option<Key<NodeState>>,
    /// What it reports, sorted; empty unless it is live.
    pub(super) addresses: Claims,
}

/// What policies may name it by, it alone or with others of one owner.
pub(super) fn marks<'a>(
    uid: &'a Interned,
    owners: &'a SortedSet<Interned>,
) -> impl Iterator<Item = &'a Interned> {
    std::iter::once(uid).chain(owners)
}

/// Workloads by their marks, each list sorted. One owner may have a great many.
#[derive(Default)]
struct Marked(FxHashMap<Interned, Keys<WorkloadState>>);

impl Marked {
    fn add(&mut self, key: Key<WorkloadState>, state: &WorkloadState) {
        for mark in state.marks() {
            match self.0.get_mut(mark) {
                Some(keys) => drop(insert_sorted(keys, key)),
                None => drop(self.0.insert(mark.clone(), Keys::from_slice(&[key]))),
            }
        }
    }

    fn remove(&mut self, key: Key<WorkloadState>, state: &WorkloadState) {
        for mark in state.marks() {
            if let Some(keys) = self.0.get_mut(mark) {
                remove_sorted(keys, &key);
                if keys.is_empty() {
                    self.0.remove(mark);
                }
            }
        }
    }
}

/// An address in the graph's form, and whether the claim to it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) address: Address,
    pub(super) owned: bool,
}

pub(super) type Claims = SmallVec<[Claim; 1]>;

impl WorkloadState {
    /// What names the object that it comes from.
    pub(super) fn object(&self) -> ObjectRef {
        ObjectRef {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    fn marks(&self) -> impl Iterator<Item = &Interned> {
        marks(&self.uid, &self.owners)
    }

    /// The addresses that are its own.
    pub(super) fn owned(&self) -> impl Iterator<Item = Address> + '_ {
        self.addresses
            .iter()
            .filter(|claim| claim.owned)
            .map(|claim| claim.address)
    }

    /// The same as a list.
    pub(super) fn owned_list(&self) -> Box<[Address]> {
        // Mostly all of them are, and then nothing is moved.
        let mut owned = Vec::with_capacity(self.addresses.len());
        owned.extend(self.owned());
        owned.into()
    }

    pub(super) fn claims(&self, address: Address) -> bool {
        self.addresses.iter().any(|claim| claim.address == address)
    }
}

/// Grants or takes back an address, where it is claimed.
pub(super) fn hold(claims: &mut Claims, address: Address, owned: bool) {
    if let Some(claim) = claims.iter_mut().find(|claim| claim.address == address) {
        claim.owned = owned;
    }
}

/// Who owns an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    One(Key<WorkloadState>),
    /// Several claim it and nothing tells who is right: an unknown workload.
    Contested,
}

#[derive(Default)]
pub(super) struct Workloads {
    pub(super) arena: Arena<WorkloadState>,
    objects: Lookup<WorkloadState>,
    /// By uid and by owner; made when the first policy names one.
    marked: Option<Marked>,
    claims: Lookup<WorkloadState>,
    /// Addresses that more than one workload claims.
    shared: BTreeSet<Address>,
    /// How many declared workloads claim an address.
    declared: BTreeMap<Address, u32>,
    /// How many pods there are, of whatever phase.
    pub(super) pods: u32,
    pub(super) contested: BTreeSet<Address>,
}

impl Workloads {
    pub(super) fn of_object(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Option<Key<WorkloadState>> {
        self.objects
            .find(ContentHash::of(&(kind, namespace, name)), |key| {
                let state = &self.arena[key];
                state.kind == kind && *state.name == *name && *state.namespace == *namespace
            })
    }

    /// A workload that is not there yet.
    pub(super) fn insert(&mut self, state: WorkloadState) -> Key<WorkloadState> {
        let object = ContentHash::of(&(state.kind, &*state.namespace, &*state.name));
        let key = self.arena.insert(state);
        self.objects.insert(object, key);
        if let Some(marked) = &mut self.marked {
            marked.add(key, &self.arena[key]);
        }
        key
    }

    pub(super) fn remove(&mut self, key: Key<WorkloadState>) -> WorkloadState {
        let state = self.arena.remove(key);
        let object = ContentHash::of(&(state.kind, &*state.namespace, &*state.name));
        self.objects.remove(object, key);
        if let Some(marked) = &mut self.marked {
            marked.remove(key, &state);
        }
        state
    }

    /// A workload may be given away while it lives.
    pub(super) fn change_owners(&mut self, key: Key<WorkloadState>, owners: SortedSet<Interned>) {
        let state = &mut self.arena[key];
        if state.owners == owners {
            return;
        }
        if let Some(marked) = &mut self.marked {
            marked.remove(key, state);
        }
        state.owners = owners;
        if let Some(marked) = &mut self.marked {
            marked.add(key, state);
        }
    }

    /// Workloads of that incarnation or owner, sorted.
    pub(super) fn of_mark(
        &mut self,
        mark: &str,
    ) -> impl ExactSizeIterator<Item = (Key<WorkloadState>, &WorkloadState)> {
        let arena = &self.arena;
        let marked = self.marked.get_or_insert_with(|| {
            let mut marked = Marked::default();
            for (key, state) in arena.iter() {
                marked.add(key, state);
            }
            marked
        });
        let keys = marked.0.get(mark).map_or(&[][..], |keys| keys.as_slice());
        keys.iter().map(|key| (*key, &arena[*key]))
    }

    /// Objects of a kind, sorted.
    pub(super) fn objects(&self, kind: Kind) -> Vec<ObjectRef> {
        let mut objects: Vec<ObjectRef> = self
            .arena
            .iter()
            .filter(|(_, state)| state.kind == kind)
            .map(|(_, state)| state.object())
            .collect();
        objects.sort_unstable();
        objects
    }

    /// Lays claim to an address that the workload lists and had not claimed; `shared` if somebody else does as well.
    pub(super) fn claim(&mut self, address: Address, workload: Key<WorkloadState>, shared: bool) {
        if self.arena[workload].kind != Kind::Pod {
            *self.declared.entry(address).or_default() += 1;
        }
        self.claims.insert(ContentHash::of(&address), workload);
        if shared {
            self.shared.insert(address);
        }
    }

    /// Takes the claim back; the workload still lists the address.
    pub(super) fn disclaim(&mut self, address: Address, workload: Key<WorkloadState>) {
        if self.arena[workload].kind != Kind::Pod
            && let Some(count) = self.declared.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.declared.remove(&address);
            }
        }
        self.claims.remove(ContentHash::of(&address), workload);
        if self.shared.contains(&address) && self.claimants(address).len() < 2 {
            self.shared.remove(&address);
        }
    }

    /// Addresses whose owner depends on the nodes' ranges: more than one workload claims them, or a declared one does.
    pub(super) fn disputed(&self) -> Vec<Address> {
        let mut disputed: Vec<Address> = self.shared.iter().copied().collect();
        disputed.extend(self.declared.keys());
        disputed.sort_unstable();
        disputed.dedup();
        disputed
    }

    /// Addresses that some declared workload claims.
    pub(super) fn declared(&self) -> Vec<Address> {
        self.declared.keys().copied().collect()
    }

    /// Everybody who claims it, in no particular order.
    pub(super) fn claimants(&self, address: Address) -> SmallVec<[Key<WorkloadState>; 4]> {
        let mut claimants = SmallVec::new();
        for key in self.claims.all(ContentHash::of(&address)) {
            // Two addresses of one workload may share a hash.
            if self.arena[key].claims(address) && !claimants.contains(&key) {
                claimants.push(key);
            }
        }
        claimants
    }

    /// Pods before declared workloads, which get nothing in the nodes' ranges where there are pods. Then the running one
    /// wins; of several, the one whose node's range holds the address.
    pub(super) fn owner(&self, address: Address, nodes: &Arena<NodeState>) -> Owner {
        let is_pod = |one: &Key<WorkloadState>| self.arena[*one].kind == Kind::Pod;
        let mut all = self.claimants(address);
        match all[..] {
            [] => return Owner::Nobody,
            [one] if is_pod(&one) => return Owner::One(one),
            _ => {}
        }
        let ip = address.ip();
        if all.iter().any(is_pod) {
            all.retain(|one| is_pod(one));
        } else if self.pods > 0 && nodes.iter().any(|(_, node)| node.holds(ip)) {
            return Owner::Nobody;
        }
        let running: SmallVec<[Key<WorkloadState>; 4]> = all
            .iter()
            .copied()
            .filter(|one| self.arena[*one].phase == Phase::Running)
            .collect();
        let candidates = if running.is_empty() { all } else { running };
        if let [one] = candidates[..] {
            return Owner::One(one);
        }
        let mut at_home = candidates.into_iter().filter(|one| {
            let node = self.arena[*one].node.map(|node| &nodes[node]);
            node.is_some_and(|node| node.holds(ip))
        });
        match (at_home.next(), at_home.next()) {
            (Some(one), None) => Owner::One(one),
            (Some(_), Some(_)) | (None, _) => Owner::Contested,
        }
    }
}
