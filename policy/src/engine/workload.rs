//! Workloads and who owns which address.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_graph::Address;
use rustc_hash::FxHashMap;

use super::arena::{Arena, Key};
use super::node::NodeState;
use super::profile::Profile;
use crate::model::{Interned, Kind, ObjectRef, Phase, Workload};

pub(super) struct WorkloadState {
    pub(super) kind: Kind,
    pub(super) workload: Arc<Workload>,
    /// `None` for what is no workload in the sense of the pipeline (completed, host network).
    pub(super) profile: Option<Key<Profile>>,
    pub(super) node: Option<Key<NodeState>>,
    /// What it reports, in the graph's form, sorted; empty unless it is live.
    pub(super) addresses: Vec<Address>,
}

impl WorkloadState {
    /// What names the object that it comes from.
    pub(super) fn object(&self) -> ObjectRef {
        ObjectRef {
            kind: self.kind,
            namespace: self.workload.namespace.clone(),
            name: self.workload.name.clone(),
        }
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
    pub(super) by_object: FxHashMap<ObjectRef, Key<WorkloadState>>,
    pub(super) by_uid: FxHashMap<Interned, Key<WorkloadState>>,
    claims: FxHashMap<Address, Claim>,
    /// How many declared workloads claim an address.
    declared: BTreeMap<Address, u32>,
    /// How many pods there are, of whatever phase.
    pub(super) pods: u32,
    pub(super) contested: BTreeSet<Address>,
}

enum Claim {
    One(Key<WorkloadState>),
    Several(Vec<Key<WorkloadState>>),
}

impl Workloads {
    /// Claiming twice is claiming once.
    pub(super) fn claim(&mut self, address: Address, workload: Key<WorkloadState>) {
        if self.arena[workload].kind != Kind::Pod && !self.claimants(address).contains(&workload) {
            *self.declared.entry(address).or_default() += 1;
        }
        match self.claims.get_mut(&address) {
            None => {
                self.claims.insert(address, Claim::One(workload));
            }
            Some(claim @ Claim::One(_)) => {
                if let Claim::One(first) = *claim
                    && first != workload
                {
                    *claim = Claim::Several(vec![first, workload]);
                }
            }
            Some(Claim::Several(all)) => {
                if !all.contains(&workload) {
                    all.push(workload);
                }
            }
        }
    }

    pub(super) fn disclaim(&mut self, address: Address, workload: Key<WorkloadState>) {
        if self.arena[workload].kind != Kind::Pod
            && self.claimants(address).contains(&workload)
            && let Some(count) = self.declared.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                self.declared.remove(&address);
            }
        }
        match self.claims.get_mut(&address) {
            Some(Claim::One(one)) if *one == workload => {
                self.claims.remove(&address);
            }
            Some(Claim::Several(all)) => {
                all.retain(|one| *one != workload);
                if let [one] = all[..] {
                    self.claims.insert(address, Claim::One(one));
                }
            }
            Some(Claim::One(_)) | None => {}
        }
    }

    /// Everybody who claims it.
    pub(super) fn claimants(&self, address: Address) -> &[Key<WorkloadState>] {
        match self.claims.get(&address) {
            None => &[],
            Some(Claim::One(one)) => std::slice::from_ref(one),
            Some(Claim::Several(all)) => all,
        }
    }

    /// Addresses whose owner depends on the nodes' ranges: more than one workload claims them, or a declared one does.
    pub(super) fn disputed(&self) -> Vec<Address> {
        let several = self
            .claims
            .iter()
            .filter(|(_, claim)| matches!(claim, Claim::Several(_)));
        let mut disputed: Vec<Address> = several.map(|(address, _)| *address).collect();
        disputed.extend(self.declared.keys());
        disputed.sort_unstable();
        disputed.dedup();
        disputed
    }

    /// Addresses that some declared workload claims.
    pub(super) fn declared(&self) -> Vec<Address> {
        self.declared.keys().copied().collect()
    }

    /// Pods before declared workloads, which get nothing in the nodes' ranges where there are pods. Then the running one
    /// wins; of several, the one whose node's range holds the address.
    pub(super) fn owner(&self, address: Address, nodes: &Arena<NodeState>) -> Owner {
        let is_pod = |one: &Key<WorkloadState>| self.arena[*one].kind == Kind::Pod;
        let all = match self.claimants(address) {
            [] => return Owner::Nobody,
            [one] if is_pod(one) => return Owner::One(*one),
            all => all,
        };
        let ip = address.ip();
        let pods: Vec<Key<WorkloadState>> = all.iter().copied().filter(is_pod).collect();
        let all = if !pods.is_empty() {
            pods
        } else if self.pods > 0 && nodes.iter().any(|(_, node)| node.holds(ip)) {
            return Owner::Nobody;
        } else {
            all.to_vec()
        };
        let running: Vec<Key<WorkloadState>> = all
            .iter()
            .copied()
            .filter(|one| self.arena[*one].workload.phase == Phase::Running)
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
