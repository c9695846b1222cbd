//! The incremental compiler: events in, node graphs out.
//!
//! An event touches what depends on it and nothing else. Primary state (objects, label sets, selectors and their
//! members) is brought up to date at once; what is derived from many objects (identities, rule sets, graphs) is only
//! marked, and [`Engine::take_dirty`] settles it, so that a thousand events at start cost one settling. The outcome is a
//! function of the objects that are there, never of how they came.

mod arena;
mod compile;
mod entry;
mod explain;
mod findings;
mod host;
mod identity;
mod names;
mod node;
mod profile;
mod segment;
mod selector;
mod service;
mod settle;
mod span;
mod track;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use bulkhead_graph::{Address, NodeGraph, PeerSet, Prefix, Protocol, Timestamp};
use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};

use arena::{Arena, Key};
use compile::Compiled;
use entry::Entries;
use host::Hosts;
use identity::Identities;
use names::{Name, Names};
use node::NodeState;
use profile::{NamespaceState, Profile, Profiles};
use segment::SegmentState;
use selector::{Selector, Selectors};
use service::Services;
use workload::Workloads;

use crate::model::{Event, Interned, Kind, Object, ObjectRef, Policy, Segment, ServiceLimits};

pub use explain::{Explanation, Reason};
pub use findings::Finding;

/// What the compiler is told once.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// Ranges of pod addresses beside those that the nodes declare.
    pub cluster_ranges: Vec<IpNet>,
    /// How much of every node the Services of one namespace may take.
    pub service_limits: ServiceLimits,
}

/// What the compiler did; tests hold it against what an event should cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events applied.
    pub events: u64,
    /// Policies compiled.
    pub policies_compiled: u64,
    /// Label sets matched against the selectors.
    pub label_sets_matched: u64,
    /// Selectors matched against the label sets.
    pub selectors_matched: u64,
    /// Label sets whose identity was looked up.
    pub label_sets_settled: u64,
    /// Pipelines flattened.
    pub identities_built: u64,
    /// New rule sets.
    pub rule_sets_built: u64,
    /// Peer sets that got another version.
    pub peer_sets_changed: u64,
    /// Node graphs made anew or patched.
    pub graphs_built: u64,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Workloads, completed ones included.
    pub workloads: usize,
    /// Label sets.
    pub label_sets: usize,
    /// Identities.
    pub identities: usize,
    /// Selectors.
    pub selectors: usize,
    /// Rule sets.
    pub rule_sets: usize,
    /// Policies of every kind.
    pub policies: usize,
    /// Nodes.
    pub nodes: usize,
}

struct PolicyState {
    policy: Arc<Policy>,
    compiled: Option<Key<Compiled>>,
}

/// See the module.
pub struct Engine {
    config: EngineConfig,
    now: Timestamp,
    names: Names,
    metadata_name: Name,
    profiles: Profiles,
    selectors: Selectors,
    entries: Entries,
    identities: Identities,
    workloads: Workloads,
    nodes: Arena<NodeState>,
    node_keys: FxHashMap<Interned, Key<NodeState>>,
    namespaces_declared: BTreeSet<Interned>,
    policies: FxHashMap<ObjectRef, PolicyState>,
    compiled: Arena<Compiled>,
    segment_objects: BTreeMap<Interned, Arc<Segment>>,
    segments: Arena<SegmentState>,
    segment_keys: BTreeMap<Interned, Key<SegmentState>>,
    services: Services,
    hosts: Hosts,
    /// Numbers that workloads give to a port name, with how many label sets do.
    port_numbers: FxHashMap<(Name, Protocol), BTreeMap<u16, u32>>,
    /// Incarnations that some policy names, with how many policies do.
    named_uids: FxHashMap<Interned, u32>,
    policies_by_segment: BTreeMap<Interned, BTreeSet<ObjectRef>>,
    policies_by_port_name: BTreeMap<Interned, BTreeSet<ObjectRef>>,
    boundaries: BTreeSet<(Timestamp, ObjectRef)>,
    /// All addresses with an owner, and those of them outside `ranges`.
    known: Arc<PeerSet>,
    outsiders: Arc<PeerSet>,
    /// Cluster ranges and contested addresses; sorted, disjoint.
    ranges: Arc<[Prefix]>,
    /// Of all declared nodes.
    node_addresses: Arc<PeerSet>,
    pending: Pending,
    dirty_nodes: FxHashSet<Key<NodeState>>,
    gone_nodes: BTreeSet<Interned>,
    counters: Counters,
}

/// What is to be settled.
#[derive(Default)]
struct Pending {
    segments: BTreeSet<Interned>,
    policies: FxHashSet<ObjectRef>,
    profiles: FxHashSet<Key<Profile>>,
    selectors: FxHashSet<Key<Selector>>,
    known: FxHashMap<Address, bool>,
    ranges: bool,
    node_addresses: bool,
    /// Versions that say nothing any more but still hold what they refer to.
    retired: Vec<Key<Compiled>>,
    retired_segments: Vec<Key<SegmentState>>,
}

/// Fewer are named sooner than a thread is made.
const GRAPHS_A_THREAD: usize = 8;

/// Computes digests where they are made, and not where somebody waits for them.
fn name(graphs: &[(Interned, Arc<NodeGraph>)]) {
    for (_, graph) in graphs {
        graph.digest();
    }
}

impl Engine {
    /// An engine that knows of nothing, at the beginning of time.
    pub fn new(config: EngineConfig) -> Self {
        let mut names = Names::default();
        let metadata_name = names.number(&"kubernetes.io/metadata.name".into());
        Self {
            config,
            now: Timestamp::default(),
            names,
            metadata_name,
            profiles: Profiles::default(),
            selectors: Selectors::default(),
            entries: Entries::default(),
            identities: Identities::default(),
            workloads: Workloads::default(),
            nodes: Arena::default(),
            node_keys: FxHashMap::default(),
            namespaces_declared: BTreeSet::new(),
            policies: FxHashMap::default(),
            compiled: Arena::default(),
            segment_objects: BTreeMap::new(),
            segments: Arena::default(),
            segment_keys: BTreeMap::new(),
            services: Services::default(),
            hosts: Hosts::default(),
            port_numbers: FxHashMap::default(),
            named_uids: FxHashMap::default(),
            policies_by_segment: BTreeMap::new(),
            policies_by_port_name: BTreeMap::new(),
            boundaries: BTreeSet::new(),
            known: Arc::default(),
            outsiders: Arc::default(),
            ranges: Arc::from([]),
            node_addresses: Arc::default(),
            pending: Pending {
                ranges: true,
                ..Pending::default()
            },
            dirty_nodes: FxHashSet::default(),
            gone_nodes: BTreeSet::new(),
            counters: Counters::default(),
        }
    }

    /// Takes in one change of intent. Cannot fail: what could was sorted out by the conversion.
    pub fn apply(&mut self, event: Event) {
        self.counters.events += 1;
        match event {
            Event::Apply(object) => self.apply_object(object),
            Event::Delete(object) => self.delete_object(&object),
            Event::Reset(kind, objects) => {
                let present: BTreeSet<ObjectRef> = objects.iter().map(Object::reference).collect();
                let gone = self
                    .objects_of(kind)
                    .into_iter()
                    .filter(|object| !present.contains(object));
                gone.collect::<Vec<_>>()
                    .iter()
                    .for_each(|object| self.delete_object(object));
                objects
                    .into_iter()
                    .for_each(|object| self.apply_object(object));
            }
        }
    }

    fn apply_object(&mut self, object: Object) {
        match object {
            Object::Namespace(namespace) => self.apply_namespace(&namespace),
            Object::Workload(kind, workload) => self.apply_workload(kind, workload),
            Object::Node(node) => self.apply_node(&node),
            Object::Service(service) => self.services.apply_service(service),
            Object::EndpointSlice(slice) => self.services.apply_slice(slice),
            Object::Segment(segment) => self.apply_segment(segment),
            Object::Policy(policy) => self.apply_policy(policy),
        }
    }

    fn delete_object(&mut self, object: &ObjectRef) {
        let name = || (object.namespace.clone(), object.name.clone());
        match object.kind {
            Kind::Namespace => self.delete_namespace(&object.name),
            Kind::Pod | Kind::Workload => self.delete_workload(object),
            Kind::Node => self.delete_node(&object.name),
            Kind::Service => self.services.delete_service(&name()),
            Kind::EndpointSlice => self.services.delete_slice(&name()),
            Kind::Segment => self.delete_segment(&object.name),
            Kind::ClusterNetworkPolicy
            | Kind::ClusterSegmentationPolicy
            | Kind::NetworkPolicy
            | Kind::SegmentationPolicy
            | Kind::Quarantine => self.delete_policy(object),
            // No verdict depends on the object: workloads name their service account themselves.
            Kind::ServiceAccount => {}
        }
    }

    fn objects_of(&self, kind: Kind) -> Vec<ObjectRef> {
        let cluster = |name: &Interned| ObjectRef::cluster(kind, name);
        let namespaced = |(ns, name): &(Interned, Interned)| ObjectRef::namespaced(kind, ns, name);
        match kind {
            Kind::Namespace => self.namespaces_declared.iter().map(cluster).collect(),
            Kind::Pod | Kind::Workload => {
                let mut objects: Vec<ObjectRef> = self
                    .workloads
                    .by_object
                    .keys()
                    .filter(|object| object.kind == kind)
                    .cloned()
                    .collect();
                objects.sort_unstable();
                objects
            }
            Kind::Node => {
                let declared = self.nodes.iter().filter(|(_, node)| node.declared);
                declared.map(|(_, node)| cluster(&node.name)).collect()
            }
            Kind::Service => self
                .services
                .service_names()
                .iter()
                .map(namespaced)
                .collect(),
            Kind::EndpointSlice => self.services.slice_names().iter().map(namespaced).collect(),
            Kind::Segment => self.segment_objects.keys().map(cluster).collect(),
            Kind::ClusterNetworkPolicy
            | Kind::ClusterSegmentationPolicy
            | Kind::NetworkPolicy
            | Kind::SegmentationPolicy
            | Kind::Quarantine => self
                .policies
                .keys()
                .filter(|object| object.kind == kind)
                .cloned()
                .collect(),
            Kind::ServiceAccount => Vec::new(),
        }
    }

    /// Time goes on to `now`; it never goes back.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some((at, object)) = self.boundaries.first() {
            if *at > self.now {
                break;
            }
            self.pending.policies.insert(object.clone());
            self.boundaries.pop_first();
        }
    }

    /// The next instant at which the answer changes without an event.
    pub fn next_boundary(&self) -> Option<Timestamp> {
        self.boundaries.first().map(|(at, _)| *at)
    }

    /// Nodes whose graph may have changed since the last call, nodes that are gone included.
    pub fn take_dirty(&mut self) -> BTreeSet<Interned> {
        self.settle();
        let mut dirty = std::mem::take(&mut self.gone_nodes);
        dirty.extend(
            self.dirty_nodes
                .drain()
                .map(|node| self.nodes[node].name.clone()),
        );
        dirty
    }

    /// The graph of a node, as of now; `None` for a node that nothing speaks of.
    pub fn node_graph(&mut self, node: &str) -> Option<Arc<NodeGraph>> {
        self.settle();
        let node = *self.node_keys.get(node)?;
        Some(self.build_graph(node))
    }

    /// The graphs of these nodes, as of now, with their digests computed on so many threads; empty ones of nodes that
    /// nothing speaks of. The outcome is the same with any number of threads.
    pub fn node_graphs(
        &mut self,
        nodes: BTreeSet<Interned>,
        threads: NonZeroUsize,
    ) -> Vec<(Interned, Arc<NodeGraph>)> {
        self.settle();
        let mut graphs = Vec::with_capacity(nodes.len());
        for node in nodes {
            let key = self.node_keys.get(&node).copied();
            let graph = key.map_or_else(Arc::default, |key| self.build_graph(key));
            graphs.push((node, graph));
        }
        let share = graphs.len().div_ceil(threads.get()).max(GRAPHS_A_THREAD);
        std::thread::scope(|scope| {
            for graphs in graphs.chunks(share).skip(1) {
                scope.spawn(move || name(graphs));
            }
            graphs.chunks(share).take(1).for_each(name);
        });
        graphs
    }

    /// Every node that is declared or has a workload.
    pub fn nodes(&self) -> BTreeSet<Interned> {
        self.node_keys.keys().cloned().collect()
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How much there is.
    pub fn size(&self) -> Size {
        Size {
            workloads: self.workloads.arena.len(),
            label_sets: self.profiles.arena.len(),
            identities: self.identities.arena.len(),
            selectors: self.selectors.arena.len(),
            rule_sets: self.entries.rule_sets.len(),
            policies: self.policies.len(),
            nodes: self.nodes.len(),
        }
    }

    /// Addresses that several live workloads claim and that therefore belong to nobody.
    pub fn contested(&mut self) -> BTreeSet<Address> {
        self.settle();
        self.workloads.contested.clone()
    }

    fn mark_dirty(&mut self, node: Key<NodeState>) {
        self.dirty_nodes.insert(node);
    }

    fn namespace(&mut self, name: &Interned) -> Key<NamespaceState> {
        let name = self.names.number(name);
        self.profiles.namespace(name, self.metadata_name)
    }
}
