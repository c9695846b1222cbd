//! Nodes: which parts each one needs, counted by reference, and its graph, patched where something changed.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use bulkhead_graph::{
    LocalWorkload, NodeGraph, PeerSet, PeerSetId, RuleSet, RuleSetId, SharedWorkload, SortedMap,
    WorkloadUid,
};
use ipnet::IpNet;
use rustc_hash::FxHashSet;

use super::Engine;
use super::arena::{Key, Keys, insert_sorted, remove_sorted};
use super::entry::RuleSetState;
use super::selector::Selector;
use super::workload::WorkloadState;
use crate::model::Interned;

pub(super) struct NodeState {
    pub(super) name: Interned,
    /// `false` for a node that only workloads speak of.
    pub(super) declared: bool,
    pub(super) ranges: Vec<IpNet>,
    /// Sorted.
    workloads: Keys<WorkloadState>,
    /// `None` until the node is settled for the first time.
    needs: Option<Needs>,
    graph: Arc<NodeGraph>,
    touched: Touched,
    /// Its graph may have changed since somebody asked last.
    pub(super) dirty: bool,
}

/// How often a part is needed; sorted by key.
type Counts<T> = Vec<(Key<T>, u32)>;

#[derive(Default)]
struct Needs {
    rule_sets: Counts<RuleSetState>,
    peer_sets: Counts<Selector>,
    /// Rule sets that need to know every workload.
    curious: u32,
}

/// One more; `true` if it is the first.
fn count<T>(counts: &mut Counts<T>, key: Key<T>) -> bool {
    match counts.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(at) => {
            counts[at].1 += 1;
            false
        }
        Err(at) => {
            counts.insert(at, (key, 1));
            true
        }
    }
}

/// One less; `true` if it was the last.
fn discount<T>(counts: &mut Counts<T>, key: Key<T>) -> bool {
    let at = counts
        .binary_search_by_key(&key, |(key, _)| *key)
        .expect("what is needed is counted");
    counts[at].1 -= 1;
    let last = counts[at].1 == 0;
    if last {
        counts.remove(at);
    }
    last
}

fn counted<T>(mut keys: Vec<Key<T>>) -> Counts<T> {
    keys.sort_unstable();
    keys.chunk_by(|a, b| a == b)
        .map(|same| (same[0], same.len() as u32))
        .collect()
}

fn is_counted<T>(counts: &Counts<T>, key: Key<T>) -> bool {
    counts.binary_search_by_key(&key, |(key, _)| *key).is_ok()
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
            workloads: Keys::new(),
            needs: None,
            graph: Arc::default(),
            touched: Touched {
                whole: true,
                ..Touched::default()
            },
            dirty: false,
        }
    }

    /// Whether the address lies in the ranges of its pods.
    pub(super) fn holds(&self, ip: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(&ip))
    }

    /// Whether what it needs is counted.
    pub(super) fn is_counted(&self) -> bool {
        self.needs.is_some()
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.declared && self.workloads.is_empty()
    }
}

/// The three maps of a graph that are the node's own.
type GraphParts = (
    SortedMap<WorkloadUid, SharedWorkload>,
    SortedMap<RuleSetId, Arc<RuleSet>>,
    SortedMap<PeerSetId, Arc<PeerSet>>,
);

/// Workloads as a graph has them.
type Locals = Vec<(WorkloadUid, SharedWorkload)>;

/// How a uid begins, in the order of uids. They lie all over the memory: to sort them by it fetches each once.
fn beginning(uid: &WorkloadUid) -> u128 {
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(uid.0.as_bytes())
        .for_each(|(to, from)| *to = *from);
    u128::from_be_bytes(bytes)
}

/// From here on workloads are not looked up node by node.
const MANY_GRAPHS: usize = 16;

/// Less is done sooner than a thread is made.
const WORK_A_THREAD: usize = 8;

/// Does the work on several threads. The outcome has the order of the work.
fn shared_out<T: Send, R: Send>(
    threads: NonZeroUsize,
    mut work: Vec<T>,
    each: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let threads = threads.get().min(work.len() / WORK_A_THREAD).max(1);
    let share = work.len().div_ceil(threads);
    let each = &each;
    let all = move |work: Vec<T>| -> Vec<R> { work.into_iter().map(each).collect() };
    std::thread::scope(|scope| {
        let mut others = Vec::new();
        while work.len() > share {
            let last = work.split_off(work.len() - share);
            others.push(scope.spawn(move || all(last)));
        }
        let mut done = all(work);
        for other in others.into_iter().rev() {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}

/// What is gone first: its successor may have the same name under another key.
fn goes_before_comes<K, V>(changes: impl Iterator<Item = (K, Option<V>)>) -> Vec<(K, Option<V>)> {
    let (comes, mut goes): (Vec<_>, Vec<_>) = changes.partition(|(_, value)| value.is_some());
    goes.extend(comes);
    goes
}

impl Engine {
    fn is_curious(&self, node: Key<NodeState>) -> bool {
        self.curious.contains(&node)
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
            let uid = &self.workloads.arena[workload].uid;
            state.touched.workloads_gone.push(uid.clone());
        }
        self.mark_dirty(node);
    }

    /// One more workload of the node is judged by this rule set.
    pub(super) fn need_rule_set(&mut self, node: Key<NodeState>, rule_set: Key<RuleSetState>) {
        let state = &mut self.nodes[node];
        let Some(needs) = &mut state.needs else {
            return;
        };
        if !count(&mut needs.rule_sets, rule_set) {
            return;
        }
        let set = &self.entries.rule_sets[rule_set];
        state.touched.rule_set(rule_set, set.id);
        if set.tells_unknown_from_known {
            needs.curious += 1;
            state.touched.rest = true;
            self.curious.insert(node);
        }
        for at in 0..set.peers.len() {
            let selector = self.entries.rule_sets[rule_set].peers[at];
            let needs = self.nodes[node].needs.get_or_insert_default();
            if count(&mut needs.peer_sets, selector) {
                let id = self.look_at(selector, node);
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
        let state = &mut self.nodes[node];
        let Some(needs) = &mut state.needs else {
            return;
        };
        if !discount(&mut needs.rule_sets, rule_set) {
            return;
        }
        let set = &self.entries.rule_sets[rule_set];
        state.touched.rule_set(rule_set, set.id);
        if set.tells_unknown_from_known {
            needs.curious -= 1;
            state.touched.rest = true;
            if needs.curious == 0 {
                self.curious.remove(&node);
            }
        }
        for at in 0..set.peers.len() {
            let selector = self.entries.rule_sets[rule_set].peers[at];
            let needs = self.nodes[node].needs.get_or_insert_default();
            if discount(&mut needs.peer_sets, selector) {
                let id = self.look_away(selector, node);
                self.nodes[node].touched.peer_set(selector, id);
            }
        }
        self.mark_dirty(node);
    }

    /// The node's graph is going to hold the peer set.
    fn look_at(&mut self, selector: Key<Selector>, node: Key<NodeState>) -> PeerSetId {
        insert_sorted(&mut self.selectors.arena[selector].nodes, node);
        self.find_peers(selector);
        self.peer_set_id(selector)
    }

    fn look_away(&mut self, selector: Key<Selector>, node: Key<NodeState>) -> PeerSetId {
        let state = &mut self.selectors.arena[selector];
        remove_sorted(&mut state.nodes, &node);
        if state.nodes.is_empty() {
            // Nobody looks at the members; they are found again if somebody does.
            state.peers = None;
            state.pending.clear();
        }
        self.peer_set_id(selector)
    }

    /// Counts what new nodes need. Every label set has its identity by now.
    pub(super) fn settle_new_nodes(&mut self) {
        let mut nodes = std::mem::take(&mut self.pending.nodes);
        nodes.retain(|node| {
            self.nodes
                .get(*node)
                .is_some_and(|node| node.needs.is_none())
        });
        let mut judged_by = self.rule_sets_of_many(&nodes);
        let mut wanted = Vec::new();
        for (at, node) in nodes.into_iter().enumerate() {
            let rule_sets = match judged_by.get_mut(at) {
                Some(rule_sets) => std::mem::take(rule_sets),
                None => self.rule_sets_of(node),
            };
            let needs = self.needs_of(rule_sets);
            self.counted_nodes += 1;
            for (selector, _) in &needs.peer_sets {
                let state = &mut self.selectors.arena[*selector];
                if state.peers.is_none() && state.nodes.is_empty() {
                    wanted.push(*selector);
                }
                insert_sorted(&mut state.nodes, node);
            }
            if needs.curious > 0 {
                self.curious.insert(node);
            }
            self.nodes[node].needs = Some(needs);
        }
        // In the order in which they lie in memory: there may be very many.
        wanted.sort_unstable();
        for selector in wanted {
            self.find_peers(selector);
            self.peer_set_id(selector);
        }
    }

    /// What a workload is judged by.
    fn judges(&self, workload: &WorkloadState) -> Option<[Key<RuleSetState>; 2]> {
        let identity = self.profiles.arena[workload.profile?].identity?;
        Some(self.identities.arena[identity].rule_sets)
    }

    /// What the workloads of a node are judged by, two for each of them.
    fn rule_sets_of(&self, node: Key<NodeState>) -> Vec<Key<RuleSetState>> {
        let workloads = self.nodes[node].workloads.iter();
        let judges = workloads.filter_map(|key| self.judges(&self.workloads.arena[*key]));
        judges.flatten().collect()
    }

    /// The same of many nodes, read in the order in which workloads lie in memory; empty for a few.
    fn rule_sets_of_many(&self, nodes: &[Key<NodeState>]) -> Vec<Vec<Key<RuleSetState>>> {
        if nodes.len() < MANY_GRAPHS {
            return Vec::new();
        }
        let mut places = self.nodes.places(None);
        let mut all = Vec::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            places[node.place()] = Some(at);
            all.push(Vec::with_capacity(2 * self.nodes[*node].workloads.len()));
        }
        for (_, workload) in self.workloads.arena.iter() {
            if let Some(at) = workload.node.and_then(|node| places[node.place()])
                && let Some(judges) = self.judges(workload)
            {
                all[at].extend(judges);
            }
        }
        all
    }

    fn needs_of(&self, rule_sets: Vec<Key<RuleSetState>>) -> Needs {
        let rule_sets = counted(rule_sets);
        let sets = || {
            let sets = rule_sets.iter();
            sets.map(|(rule_set, _)| &self.entries.rule_sets[*rule_set])
        };
        let curious = sets().filter(|set| set.tells_unknown_from_known).count() as u32;
        let peer_sets = counted(sets().flat_map(|set| set.peers.iter().copied()).collect());
        Needs {
            rule_sets,
            peer_sets,
            curious,
        }
    }

    /// Brings the graphs of some nodes up to date, on so many threads.
    pub(super) fn build_graphs(&mut self, nodes: &[Key<NodeState>], threads: NonZeroUsize) {
        let take = |node: &Key<NodeState>| {
            let touched = std::mem::take(&mut self.nodes[*node].touched);
            (!touched.is_empty()).then_some((*node, touched))
        };
        let work: Vec<(Key<NodeState>, Touched)> = nodes.iter().filter_map(take).collect();
        self.counters.graphs_built += work.len() as u64;
        if work.is_empty() {
            return;
        }
        self.shared = self
            .graph_of(GraphParts::default(), Arc::default())
            .sharing(&self.shared);
        let engine = &*self;
        let whole = work.iter().filter(|(_, touched)| touched.whole).count();
        let locals = if whole < MANY_GRAPHS {
            Vec::new()
        } else {
            engine.locals_of(work.iter().map(|(node, _)| *node), threads)
        };
        let locals = locals.into_iter().map(Some).chain(std::iter::repeat(None));
        let work = work.into_iter().zip(locals).collect();
        let build = |((node, touched), locals)| {
            let graph = engine.graph(node, touched, locals);
            // Where it is made, and not where somebody waits for it.
            graph.digest();
            (node, Arc::new(graph))
        };
        for (node, graph) in shared_out(threads, work, build) {
            self.nodes[node].graph = graph;
        }
    }

    /// The workloads of many nodes, read in the order in which they lie in memory.
    fn locals_of(
        &self,
        nodes: impl Iterator<Item = Key<NodeState>>,
        threads: NonZeroUsize,
    ) -> Vec<Locals> {
        let mut places = self.nodes.places(None);
        let mut locals = Vec::new();
        for (at, node) in nodes.enumerate() {
            places[node.place()] = Some(at);
            locals.push(Locals::with_capacity(self.nodes[node].workloads.len()));
        }
        let found = shared_out(threads, self.workloads.arena.pieces().collect(), |piece| {
            let of_a_workload = |(key, state): (_, &WorkloadState)| {
                let node = state.node?;
                let at = places[node.place()]?;
                Some((at, self.local_workload(node, key)?))
            };
            piece.filter_map(of_a_workload).collect::<Vec<_>>()
        });
        for (at, local) in found.into_iter().flatten() {
            locals[at].push(local);
        }
        locals
    }

    pub(super) fn built_graph(&self, node: Key<NodeState>) -> Arc<NodeGraph> {
        self.nodes[node].graph.clone()
    }

    /// The graph as it is now, of which `touched` may differ from the last one. `locals` are its workloads, where somebody
    /// found them already.
    fn graph(&self, node: Key<NodeState>, touched: Touched, locals: Option<Locals>) -> NodeGraph {
        let state = &self.nodes[node];
        let old = &state.graph;
        let patch = !touched.whole && old.rule_sets.len() > 2 * touched.rule_sets.len();
        let parts = if patch {
            self.patched_parts(node, touched)
        } else {
            self.whole_parts(node, locals)
        };
        let known = match &self.known {
            Some(known) if self.is_curious(node) => known,
            Some(_) | None => &self.outsiders,
        };
        self.graph_of(parts, known.clone())
            .with_node_addresses(self.node_addresses.clone())
            .sharing(&self.shared)
    }

    fn graph_of(
        &self,
        (workloads, rule_sets, peer_sets): GraphParts,
        known: Arc<PeerSet>,
    ) -> NodeGraph {
        let (ranges, services) = (self.ranges.clone(), self.services.map());
        NodeGraph::new(workloads, rule_sets, peer_sets, known, ranges, services)
            .with_closed(self.services.closed())
    }

    fn patched_parts(&self, node: Key<NodeState>, touched: Touched) -> GraphParts {
        let old = &self.nodes[node].graph;
        let gone = touched.workloads_gone.into_iter();
        let there = touched.workloads.iter();
        let there = there.filter_map(|key| self.local_workload(node, *key));
        let workloads = gone
            .map(|uid| (WorkloadUid(uid), None))
            .chain(there.map(|(uid, local)| (uid, Some(local))));
        let rule_sets = touched.rule_sets.into_iter();
        let rule_sets = rule_sets.map(|(key, id)| (id, self.rules_of(node, key, id)));
        let peer_sets = touched.peer_sets.into_iter();
        let peer_sets = peer_sets.map(|(key, id)| (id, self.peers_of(node, key, id)));
        (
            old.workloads.with(workloads),
            old.rule_sets.with(goes_before_comes(rule_sets)),
            old.peer_sets.with(goes_before_comes(peer_sets)),
        )
    }

    fn rules_of(
        &self,
        node: Key<NodeState>,
        rule_set: Key<RuleSetState>,
        id: RuleSetId,
    ) -> Option<Arc<RuleSet>> {
        let needs = self.nodes[node].needs.as_ref()?;
        let set = self.entries.rule_sets.get(rule_set)?;
        (set.id == id && is_counted(&needs.rule_sets, rule_set)).then(|| set.rules.clone())
    }

    fn peers_of(
        &self,
        node: Key<NodeState>,
        selector: Key<Selector>,
        id: PeerSetId,
    ) -> Option<Arc<PeerSet>> {
        let needs = self.nodes[node].needs.as_ref()?;
        let state = self.selectors.arena.get(selector)?;
        (state.id() == Some(id) && is_counted(&needs.peer_sets, selector))
            .then(|| state.peers.clone())?
    }

    fn whole_parts(&self, node: Key<NodeState>, locals: Option<Locals>) -> GraphParts {
        let state = &self.nodes[node];
        let mut locals = locals.unwrap_or_else(|| {
            let workloads = state.workloads.iter();
            workloads
                .filter_map(|workload| self.local_workload(node, *workload))
                .collect()
        });
        locals.sort_by_cached_key(|(uid, _)| beginning(uid));
        let workloads = locals.into_iter().collect();
        let Some(needs) = &state.needs else {
            return (workloads, SortedMap::new(), SortedMap::new());
        };
        let rule_sets = needs.rule_sets.iter().map(|(key, _)| {
            let set = &self.entries.rule_sets[*key];
            (set.id, set.rules.clone())
        });
        let peer_sets = needs.peer_sets.iter().filter_map(|(key, _)| {
            let selector = &self.selectors.arena[*key];
            Some((selector.id()?, selector.peers.clone()?))
        });
        (workloads, rule_sets.collect(), peer_sets.collect())
    }

    fn local_workload(
        &self,
        node: Key<NodeState>,
        key: Key<WorkloadState>,
    ) -> Option<(WorkloadUid, SharedWorkload)> {
        let state = &self.workloads.arena[key];
        if state.node != Some(node) {
            return None;
        }
        let identity = self.profiles.arena[state.profile?].identity?;
        let [ingress, egress] = self.identities.arena[identity].rule_set_ids;
        let local = LocalWorkload {
            namespace: state.namespace.clone(),
            name: state.name.clone(),
            addresses: state.owned_list(),
            interface: state.interface.clone(),
            egress,
            ingress,
        };
        Some((WorkloadUid(state.uid.clone()), local.into()))
    }
}
