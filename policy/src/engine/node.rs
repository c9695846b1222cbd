//! Nodes: which parts each one needs, counted by reference, and its graph, patched where something changed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bulkhead_graph::{LocalWorkload, NodeGraph, PeerSetId, RuleSetId, WorkloadUid};
use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};

use super::Engine;
use super::arena::{Key, insert_sorted, remove_sorted};
use super::entry::RuleSetState;
use super::selector::Selector;
use super::workload::{Owner, WorkloadState};
use crate::model::Interned;

pub(super) struct NodeState {
    pub(super) name: Interned,
    /// `None` for a node that only workloads speak of.
    pub(super) declared: bool,
    pub(super) ranges: Vec<IpNet>,
    /// Sorted.
    workloads: Vec<Key<WorkloadState>>,
    rule_sets: FxHashMap<Key<RuleSetState>, u32>,
    peer_sets: FxHashMap<Key<Selector>, u32>,
    /// Rule sets that need to know every workload.
    curious: u32,
    graph: Arc<NodeGraph>,
    touched: Touched,
}

/// What of the graph may not be as it should.
#[derive(Default)]
struct Touched {
    /// Everything: the graph is made from scratch, and the lists below are not kept.
    whole: bool,
    workloads: FxHashSet<Key<WorkloadState>>,
    workloads_gone: Vec<Interned>,
    rule_sets: FxHashSet<(Key<RuleSetState>, RuleSetId)>,
    peer_sets: FxHashSet<(Key<Selector>, PeerSetId)>,
    rest: bool,
}

impl Touched {
    fn rule_set(&mut self, key: Key<RuleSetState>, id: RuleSetId) {
        if !self.whole {
            self.rule_sets.insert((key, id));
        }
    }

    fn peer_set(&mut self, key: Key<Selector>, id: PeerSetId) {
        if !self.whole {
            self.peer_sets.insert((key, id));
        }
    }

    fn is_empty(&self) -> bool {
        !self.whole
            && !self.rest
            && self.workloads.is_empty()
            && self.workloads_gone.is_empty()
            && self.rule_sets.is_empty()
            && self.peer_sets.is_empty()
    }
}

impl NodeState {
    pub(super) fn new(name: Interned) -> Self {
        Self {
            name,
            declared: false,
            ranges: Vec::new(),
            workloads: Vec::new(),
            rule_sets: FxHashMap::default(),
            peer_sets: FxHashMap::default(),
            curious: 0,
            graph: Arc::default(),
            touched: Touched {
                whole: true,
                ..Touched::default()
            },
        }
    }

    /// Whether the address lies in the ranges of its pods.
    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(&ip))
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.declared && self.workloads.is_empty()
    }
}

impl Engine {
    pub(super) fn is_curious(&self, node: Key<NodeState>) -> bool {
        self.nodes[node].curious > 0
    }

    pub(super) fn touch_rest(&mut self, node: Key<NodeState>) {
        self.nodes[node].touched.rest = true;
        self.mark_dirty(node);
    }

    pub(super) fn touch_peer_set(
        &mut self,
        node: Key<NodeState>,
        selector: Key<Selector>,
        id: PeerSetId,
    ) {
        self.nodes[node].touched.peer_set(selector, id);
        self.mark_dirty(node);
    }

    /// What the graph says of a workload may have changed.
    pub(super) fn touch_workload(&mut self, workload: Key<WorkloadState>) {
        if let Some(node) = self.workloads.arena[workload].node {
            if !self.nodes[node].touched.whole {
                self.nodes[node].touched.workloads.insert(workload);
            }
            self.mark_dirty(node);
        }
    }

    pub(super) fn place(&mut self, workload: Key<WorkloadState>, node: Key<NodeState>) {
        insert_sorted(&mut self.nodes[node].workloads, workload);
        self.touch_workload(workload);
    }

    /// The workload goes, or goes elsewhere: from now on the node knows it by its name only.
    pub(super) fn displace(&mut self, workload: Key<WorkloadState>, node: Key<NodeState>) {
        let state = &mut self.nodes[node];
        remove_sorted(&mut state.workloads, &workload);
        state.touched.workloads.remove(&workload);
        if !state.touched.whole {
            let uid = &self.workloads.arena[workload].workload.uid;
            state.touched.workloads_gone.push(uid.clone());
        }
        self.mark_dirty(node);
    }

    /// One more workload of the node is judged by this rule set.
    pub(super) fn need_rule_set(&mut self, node: Key<NodeState>, rule_set: Key<RuleSetState>) {
        let count = self.nodes[node].rule_sets.entry(rule_set).or_default();
        *count += 1;
        if *count > 1 {
            return;
        }
        let RuleSetState {
            id,
            peers,
            tells_unknown_from_known,
            ..
        } = &self.entries.rule_sets[rule_set];
        let (id, peers, curious) = (*id, peers.clone(), *tells_unknown_from_known);
        self.nodes[node].touched.rule_set(rule_set, id);
        if curious {
            self.nodes[node].curious += 1;
            self.nodes[node].touched.rest = true;
        }
        for selector in peers {
            let count = self.nodes[node].peer_sets.entry(selector).or_default();
            *count += 1;
            if *count == 1 {
                let id = self.peer_set_id(selector);
                insert_sorted(&mut self.selectors.arena[selector].nodes, node);
                self.nodes[node].touched.peer_set(selector, id);
            }
        }
        self.mark_dirty(node);
    }

    pub(super) fn need_rule_set_no_more(
        &mut self,
        node: Key<NodeState>,
        rule_set: Key<RuleSetState>,
    ) {
        let count = self.nodes[node]
            .rule_sets
            .get_mut(&rule_set)
            .expect("what is needed is counted");
        *count -= 1;
        if *count > 0 {
            return;
        }
        self.nodes[node].rule_sets.remove(&rule_set);
        let RuleSetState {
            id,
            peers,
            tells_unknown_from_known,
            ..
        } = &self.entries.rule_sets[rule_set];
        let (id, peers, curious) = (*id, peers.clone(), *tells_unknown_from_known);
        self.nodes[node].touched.rule_set(rule_set, id);
        if curious {
            self.nodes[node].curious -= 1;
            self.nodes[node].touched.rest = true;
        }
        for selector in peers {
            let count = self.nodes[node]
                .peer_sets
                .get_mut(&selector)
                .expect("what is needed is counted");
            *count -= 1;
            if *count == 0 {
                let id = self.peer_set_id(selector);
                self.nodes[node].peer_sets.remove(&selector);
                let state = &mut self.selectors.arena[selector];
                remove_sorted(&mut state.nodes, &node);
                if state.nodes.is_empty() {
                    // Nobody looks at the members; they are found again if somebody does.
                    state.peers = None;
                    state.pending.clear();
                }
                self.nodes[node].touched.peer_set(selector, id);
            }
        }
        self.mark_dirty(node);
    }

    /// Brings the node's graph up to date.
    pub(super) fn build_graph(&mut self, node: Key<NodeState>) -> Arc<NodeGraph> {
        let touched = std::mem::take(&mut self.nodes[node].touched);
        if touched.is_empty() {
            return self.nodes[node].graph.clone();
        }
        self.counters.graphs_built += 1;
        let state = &self.nodes[node];
        let old = &state.graph;
        let patch = !touched.whole && old.rule_sets.len() > 2 * touched.rule_sets.len();
        let (workloads, rule_sets, peer_sets) = if patch {
            let mut workloads = old.workloads.clone();
            for uid in touched.workloads_gone {
                workloads.remove(&WorkloadUid(uid));
            }
            for key in &touched.workloads {
                if let Some(local) = self.local_workload(node, *key) {
                    let uid = WorkloadUid(self.workloads.arena[*key].workload.uid.clone());
                    workloads.insert(uid, Arc::new(local));
                }
            }
            // First what goes: its successor may have the same name under another key.
            let mut rule_sets = old.rule_sets.clone();
            let needed = |key: &Key<RuleSetState>, id: &RuleSetId| {
                let set = self
                    .entries
                    .rule_sets
                    .get(*key)
                    .filter(|set| set.id == *id)?;
                state.rule_sets.contains_key(key).then(|| set.rules.clone())
            };
            for (key, id) in &touched.rule_sets {
                if needed(key, id).is_none() {
                    rule_sets.remove(id);
                }
            }
            for (key, id) in &touched.rule_sets {
                if let Some(rules) = needed(key, id) {
                    rule_sets.insert(*id, rules);
                }
            }
            let mut peer_sets = old.peer_sets.clone();
            for (key, id) in &touched.peer_sets {
                if self.peers_of(node, *key, *id).is_none() {
                    peer_sets.remove(id);
                }
            }
            for (key, id) in &touched.peer_sets {
                if let Some(set) = self.peers_of(node, *key, *id) {
                    peer_sets.insert(*id, set);
                }
            }
            (workloads, rule_sets, peer_sets)
        } else {
            self.whole_graph(node)
        };
        let known = if state.curious > 0 {
            &self.known
        } else {
            &self.outsiders
        };
        let graph = NodeGraph::new(
            workloads,
            rule_sets,
            peer_sets,
            known.clone(),
            self.ranges.clone(),
            self.services.map(),
        );
        let graph = graph
            .with_closed(self.services.closed())
            .with_node_addresses(self.node_addresses.clone());
        let graph = Arc::new(graph);
        self.nodes[node].graph = graph.clone();
        graph
    }

    fn peers_of(
        &self,
        node: Key<NodeState>,
        selector: Key<Selector>,
        id: PeerSetId,
    ) -> Option<Arc<bulkhead_graph::PeerSet>> {
        if !self.nodes[node].peer_sets.contains_key(&selector) {
            return None;
        }
        let (now, peers) = self.selectors.arena.get(selector)?.peers.as_ref()?;
        (*now == id).then(|| peers.clone())
    }

    #[expect(
        clippy::type_complexity,
        reason = "the three maps of a graph, named by their types"
    )]
    fn whole_graph(
        &self,
        node: Key<NodeState>,
    ) -> (
        BTreeMap<WorkloadUid, Arc<LocalWorkload>>,
        BTreeMap<RuleSetId, Arc<bulkhead_graph::RuleSet>>,
        BTreeMap<PeerSetId, Arc<bulkhead_graph::PeerSet>>,
    ) {
        let state = &self.nodes[node];
        let workloads = state.workloads.iter().filter_map(|workload| {
            let local = self.local_workload(node, *workload)?;
            let uid = WorkloadUid(self.workloads.arena[*workload].workload.uid.clone());
            Some((uid, Arc::new(local)))
        });
        let rule_sets = state.rule_sets.keys().map(|key| {
            let set = &self.entries.rule_sets[*key];
            (set.id, set.rules.clone())
        });
        let peer_sets = state
            .peer_sets
            .keys()
            .filter_map(|key| self.selectors.arena[*key].peers.clone());
        (
            workloads.collect(),
            rule_sets.collect(),
            peer_sets.collect(),
        )
    }

    fn local_workload(
        &self,
        node: Key<NodeState>,
        key: Key<WorkloadState>,
    ) -> Option<LocalWorkload> {
        let state = &self.workloads.arena[key];
        if state.node != Some(node) {
            return None;
        }
        let identity = self.profiles.arena[state.profile?].identity?;
        let [ingress, egress] = self.identities.arena[identity].rule_sets;
        let owned = |address: &bulkhead_graph::Address| {
            self.workloads.owner(*address, &self.nodes) == Owner::One(key)
        };
        Some(LocalWorkload {
            namespace: state.workload.namespace.clone(),
            name: state.workload.name.clone(),
            addresses: state.addresses.iter().copied().filter(owned).collect(),
            interface: state.workload.interface.clone(),
            egress: self.entries.rule_sets[egress].id,
            ingress: self.entries.rule_sets[ingress].id,
        })
    }
}
