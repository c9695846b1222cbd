//! What leads from one graph to another: only the parts that differ.
//!
//! A delta names the graph it starts from and the one it ends in; applied to any other graph, or damaged on the
//! way, it yields an error and no graph.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Address, Digest, NodeGraph, PeerSet, PeerSetId, Prefix, RuleSet, RuleSetId, ServiceAddress,
    SharedWorkload, SortedMap, WorkloadUid,
};

/// Members that come and go in one peer set. A set that the base does not have starts empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// Sorted.
    pub added: Vec<Address>,
    /// Sorted.
    pub removed: Vec<Address>,
}

/// The difference between two graphs. A snapshot is a delta from the empty graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Digest of the graph it applies to.
    pub base: Digest,
    /// Digest of the graph it makes.
    pub target: Digest,
    /// New or changed workloads.
    pub workloads: BTreeMap<WorkloadUid, SharedWorkload>,
    /// Workloads that are gone.
    pub workloads_gone: Vec<WorkloadUid>,
    /// New rule sets. Rule sets never change: another content is another id.
    pub rule_sets: BTreeMap<RuleSetId, Arc<RuleSet>>,
    /// Rule sets no longer needed.
    pub rule_sets_gone: Vec<RuleSetId>,
    /// New or changed peer sets.
    pub peer_sets: BTreeMap<PeerSetId, MemberChange>,
    /// Peer sets no longer needed.
    pub peer_sets_gone: Vec<PeerSetId>,
    /// Change of [`NodeGraph::known`].
    pub known: MemberChange,
    /// The whole list, if it changed.
    pub cluster_ranges: Option<Arc<[Prefix]>>,
    /// New or changed Service addresses.
    pub services: BTreeMap<Address, ServiceAddress>,
    /// Service addresses that are gone.
    pub services_gone: Vec<Address>,
    /// The whole list of [`NodeGraph::closed`], if it changed.
    pub closed: Option<Arc<[Prefix]>>,
    /// Change of [`NodeGraph::node_addresses`].
    pub node_addresses: MemberChange,
}

/// Why a delta was not applied. The graph it was to change is untouched.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DeltaError {
    /// It starts from another graph.
    #[error(
        "the delta starts from revision {expected}, this node holds {held}; a snapshot is needed"
    )]
    WrongBase {
        /// What the delta names.
        expected: Digest,
        /// What is there.
        held: Digest,
    },
    /// The outcome is not what the sender named.
    #[error(
        "the delta ends in revision {actual} instead of the announced {announced}: it was damaged on the way"
    )]
    WrongDigest {
        /// What the sender named.
        announced: Digest,
        /// What came out.
        actual: Digest,
    },
    /// A rule set's content does not have the id it came with.
    #[error("rule set {0} does not have the content it is named by: it was damaged on the way")]
    WrongRuleSet(RuleSetId),
    /// A workload refers to a rule set that is not in the graph.
    #[error("workload {workload} refers to rule set {rule_set}, which the revision lacks")]
    MissingRuleSet {
        /// `namespace/name`.
        workload: String,
        /// The reference.
        rule_set: RuleSetId,
    },
    /// A rule set refers to a peer set that is not in the graph.
    #[error("rule set {rule_set} refers to peer set {peer_set}, which the revision lacks")]
    MissingPeerSet {
        /// Who refers.
        rule_set: RuleSetId,
        /// The reference.
        peer_set: PeerSetId,
    },
}

/// What differs between two maps, each in the order of its keys.
fn map_changes<'a, K: Ord + Clone + 'a, V: Clone + PartialEq + 'a>(
    old: impl IntoIterator<Item = (&'a K, &'a V)>,
    new: impl IntoIterator<Item = (&'a K, &'a V)>,
) -> (BTreeMap<K, V>, Vec<K>) {
    let (mut set, mut gone) = (BTreeMap::new(), Vec::new());
    let mut old = old.into_iter().peekable();
    for (key, value) in new {
        while let Some((before, _)) = old.next_if(|(other, _)| *other < key) {
            gone.push(before.clone());
        }
        let same = old.next_if(|(other, _)| *other == key);
        if same.is_none_or(|(_, had)| had != value) {
            set.insert(key.clone(), value.clone());
        }
    }
    gone.extend(old.map(|(key, _)| key.clone()));
    (set, gone)
}

/// The map without what is gone, and with what is new.
fn changed<K: Ord + Clone, V: Clone>(
    base: &SortedMap<K, V>,
    gone: &[K],
    set: &BTreeMap<K, V>,
) -> SortedMap<K, V> {
    let gone = gone.iter().map(|key| (key.clone(), None));
    let set = set.iter();
    base.with(gone.chain(set.map(|(key, value)| (key.clone(), Some(value.clone())))))
}

fn member_change(old: Option<&PeerSet>, new: &PeerSet) -> MemberChange {
    let (added, removed) = old.unwrap_or(&PeerSet::default()).diff(new);
    MemberChange { added, removed }
}

impl Delta {
    /// What leads from `old` to `new`.
    pub fn between(old: &NodeGraph, new: &NodeGraph) -> Self {
        let (workloads, workloads_gone) = map_changes(&old.workloads, &new.workloads);
        let (rule_sets, rule_sets_gone) = map_changes(&old.rule_sets, &new.rule_sets);
        let (peer_sets, peer_sets_gone) = map_changes(&old.peer_sets, &new.peer_sets);
        let peer_sets = peer_sets
            .into_iter()
            .map(|(id, set)| {
                (
                    id,
                    member_change(old.peer_sets.get(&id).map(Arc::as_ref), &set),
                )
            })
            .collect();
        let (services, services_gone) = if Arc::ptr_eq(&old.services, &new.services) {
            Default::default()
        } else {
            map_changes(&*old.services, &*new.services)
        };
        Self {
            base: old.digest(),
            target: new.digest(),
            workloads,
            workloads_gone,
            rule_sets,
            rule_sets_gone,
            peer_sets,
            peer_sets_gone,
            known: member_change(Some(&old.known), &new.known),
            cluster_ranges: (old.cluster_ranges != new.cluster_ranges)
                .then(|| new.cluster_ranges.clone()),
            services,
            services_gone,
            closed: (old.closed != new.closed).then(|| new.closed.clone()),
            node_addresses: member_change(Some(&old.node_addresses), &new.node_addresses),
        }
    }

    /// The whole of `new`, as a delta from nothing.
    pub fn snapshot(new: &NodeGraph) -> Self {
        Self::between(&NodeGraph::default(), new)
    }

    /// How many things it carries, as a measure of how long it will be: members of peer sets, entries of rule sets and
    /// what has an address count one each.
    pub fn size(&self) -> usize {
        let members = |change: &MemberChange| change.added.len() + change.removed.len();
        let of_sets: usize = self.peer_sets.values().map(members).sum();
        let of_rules: usize = self.rule_sets.values().map(|set| set.entries.len()).sum();
        of_sets + of_rules + members(&self.known) + self.workloads.len() + self.services.len()
    }

    /// The graph this delta makes of `base`.
    ///
    /// # Errors
    /// If `base` is not the graph it starts from, or the outcome is not whole or not what was announced.
    pub fn apply(&self, base: &NodeGraph) -> Result<NodeGraph, DeltaError> {
        if base.digest() != self.base {
            return Err(DeltaError::WrongBase {
                expected: self.base,
                held: base.digest(),
            });
        }
        let graph = self.whole(base)?;
        if graph.digest() != self.target {
            return Err(DeltaError::WrongDigest {
                announced: self.target,
                actual: graph.digest(),
            });
        }
        Ok(graph)
    }

    /// The graph of a snapshot, whatever its digests are: one that was kept by a version that computes them otherwise.
    ///
    /// # Errors
    /// If it is not whole.
    pub fn unpacked(&self) -> Result<NodeGraph, DeltaError> {
        self.whole(&NodeGraph::default())
    }

    fn whole(&self, base: &NodeGraph) -> Result<NodeGraph, DeltaError> {
        if let Some((id, _)) = self.rule_sets.iter().find(|(id, rules)| rules.id() != **id) {
            return Err(DeltaError::WrongRuleSet(*id));
        }
        let workloads = changed(&base.workloads, &self.workloads_gone, &self.workloads);
        let rule_sets = changed(&base.rule_sets, &self.rule_sets_gone, &self.rule_sets);
        let grown = self.peer_sets.iter().map(|(id, change)| {
            let old = base.peer_sets.get(id).cloned().unwrap_or_default();
            (*id, Arc::new(old.with(&change.added, &change.removed)))
        });
        let peer_sets = changed(&base.peer_sets, &self.peer_sets_gone, &grown.collect());
        let known = Arc::new(base.known.with(&self.known.added, &self.known.removed));
        let ranges = self
            .cluster_ranges
            .clone()
            .unwrap_or_else(|| base.cluster_ranges.clone());
        let mut services = base.services.clone();
        if !(self.services.is_empty() && self.services_gone.is_empty()) {
            let services = Arc::make_mut(&mut services);
            self.services_gone
                .iter()
                .for_each(|address| drop(services.remove(address)));
            services.extend(
                self.services
                    .iter()
                    .map(|(address, s)| (*address, s.clone())),
            );
        }
        let graph = NodeGraph::new(workloads, rule_sets, peer_sets, known, ranges, services)
            .with_closed(self.closed.clone().unwrap_or_else(|| base.closed.clone()))
            .sharing(base)
            .with_node_addresses(Arc::new(
                base.node_addresses
                    .with(&self.node_addresses.added, &self.node_addresses.removed),
            ));
        graph.check_references()?;
        Ok(graph)
    }
}

impl NodeGraph {
    /// Whether everything that is referred to is there.
    ///
    /// # Errors
    /// Names the first reference that leads nowhere.
    pub fn check_references(&self) -> Result<(), DeltaError> {
        for workload in self.workloads.values() {
            for rule_set in [workload.egress, workload.ingress] {
                if !self.rule_sets.contains_key(&rule_set) {
                    let workload = format!("{}/{}", workload.namespace, workload.name);
                    return Err(DeltaError::MissingRuleSet { workload, rule_set });
                }
            }
        }
        for (rule_set, rules) in &self.rule_sets {
            if let Some(peer_set) = rules
                .peer_sets()
                .find(|id| !self.peer_sets.contains_key(id))
            {
                return Err(DeltaError::MissingPeerSet {
                    rule_set: *rule_set,
                    peer_set,
                });
            }
        }
        Ok(())
    }
}
