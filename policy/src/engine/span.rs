//! On which nodes an object has to be in force.

use std::collections::BTreeSet;

use super::Engine;
use super::arena::Key;
use super::workload::WorkloadState;
use crate::model::{Interned, Kind, ObjectRef};

impl Engine {
    /// The nodes that have a workload which the policy or segment speaks of as its subject or member, and so the ones on which
    /// it is realised or not. Empty for other kinds.
    pub fn nodes_of(&mut self, object: &ObjectRef) -> BTreeSet<Interned> {
        self.settle();
        self.subjects_of(object)
            .filter_map(|workload| self.workloads.arena[workload].node)
            .map(|node| self.nodes[node].name.clone())
            .collect()
    }

    /// Those of the named workloads (`namespace/name`) that the policy or segment speaks of as its subjects or members.
    pub fn subjects_among(
        &mut self,
        object: &ObjectRef,
        names: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        self.settle();
        if names.is_empty() {
            return BTreeSet::new();
        }
        self.subjects_of(object)
            .map(|workload| &self.workloads.arena[workload])
            .map(|workload| format!("{}/{}", workload.namespace, workload.name))
            .filter(|name| names.contains(name))
            .collect()
    }

    fn subjects_of(&self, object: &ObjectRef) -> impl Iterator<Item = Key<WorkloadState>> {
        let selectors = if object.kind == Kind::Segment {
            let segment = self.segment_keys.get(&object.name);
            segment.map_or(&[][..], |key| &self.segments[*key].selectors)
        } else {
            let compiled = self
                .policies
                .find(object)
                .and_then(|policy| self.policies.arena[policy].compiled);
            compiled.map_or(&[][..], |key| &self.compiled[key].subjects)
        };
        let profiles = selectors
            .iter()
            .flat_map(|selector| &self.selectors.arena[*selector].members);
        profiles
            .flat_map(|profile| &self.profiles.arena[*profile].workloads)
            .copied()
    }
}
