//! Workloads and who owns which address.

use std::collections::BTreeSet;
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
    pub(super) contested: BTreeSet<Address>,
}

enum Claim {
    One(Key<WorkloadState>),
    Several(Vec<Key<WorkloadState>>),
}

impl Workloads {
    pub(super) fn claim(&mut self, address: Address, workload: Key<WorkloadState>) {
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

    /// Addresses that more than one workload claims.
    pub(super) fn disputed(&self) -> Vec<Address> {
        let several = self
            .claims
            .iter()
            .filter(|(_, claim)| matches!(claim, Claim::Several(_)));
        let mut disputed: Vec<Address> = several.map(|(address, _)| *address).collect();
        disputed.sort_unstable();
        disputed
    }

    /// The running one wins; of several, the one whose node's range holds the address.
    pub(super) fn owner(&self, address: Address, nodes: &Arena<NodeState>) -> Owner {
        let all = match self.claimants(address) {
            [] => return Owner::Nobody,
            [one] => return Owner::One(*one),
            all => all,
        };
        let running: Vec<Key<WorkloadState>> = all
            .iter()
            .copied()
            .filter(|one| self.arena[*one].workload.phase == Phase::Running)
            .collect();
        let candidates = if running.is_empty() {
            all.to_vec()
        } else {
            running
        };
        if let [one] = candidates[..] {
            return Owner::One(one);
        }
        let ip = address.ip();
        let mut at_home = candidates.into_iter().filter(|one| {
            let node = self.arena[*one].node.map(|node| &nodes[node]);
            node.is_some_and(|node| node.ranges.iter().any(|range| range.contains(&ip)))
        });
        match (at_home.next(), at_home.next()) {
            (Some(one), None) => Owner::One(one),
            (Some(_), Some(_)) | (None, _) => Owner::Contested,
        }
    }
}
