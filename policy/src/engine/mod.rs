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
mod matching;
mod names;
mod networks;
mod node;
mod policies;
mod port_numbers;
mod profile;
mod refer;
mod segment;
mod selector;
mod service;
mod settle;
mod span;
mod tenant;
mod track;
mod unused;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;

use bulkhead_graph::{Address, NodeGraph, PeerSet, PeerSetPool, Prefix, Timestamp};
use ipnet::IpNet;
use rustc_hash::FxHashMap;

use arena::{Arena, Key};
use compile::Compiled;
use entry::Entries;
use host::Hosts;
use identity::Identities;
use names::{Name, Names};
use node::NodeState;
use policies::{Policies, PolicyState};
use port_numbers::PortNumbers;
use profile::{NamespaceState, Profile, ProfileKey, Profiles};
use segment::SegmentState;
use selector::{Selector, Selectors};
use service::Services;
use tenant::Tenants;
use unused::Leftovers;
use workload::Workloads;

use crate::model::{Event, Interned, Kind, Object, ObjectRef, PeerLimits, Segment, ServiceLimits};

pub use explain::{Explanation, Reason};
pub use findings::Finding;

/// What the compiler is told once.
#[derive(Debug, Clone, Default)]
pub struct EngineConfig {
    /// Ranges of pod addresses beside those that the nodes declare.
    pub cluster_ranges: Vec<IpNet>,
    /// How much of every node the Services of one namespace may take.
    pub service_limits: ServiceLimits,
    /// How much of a node the peers of one namespace's policies may take.
    pub peer_limits: PeerLimits,
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
    /// Lists of peers whose length was found out for a namespace that may be beyond its limits.
    pub lists_weighed: u64,
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
    /// Strings: label keys and values, names of namespaces, accounts and ports.
    pub strings: usize,
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
    policies: Policies,
    tenants: Tenants,
    compiled: Arena<Compiled>,
    segment_objects: BTreeMap<Interned, Arc<Segment>>,
    segments: Arena<SegmentState>,
    segment_keys: BTreeMap<Interned, Key<SegmentState>>,
    services: Services,
    hosts: Hosts,
    port_numbers: PortNumbers,
    /// Incarnations and owners that some policy names, with how often.
    named_marks: FxHashMap<Interned, u32>,
    policies_by_segment: BTreeMap<Interned, BTreeSet<ObjectRef>>,
    /// Those whose egress rules speak of a port's name, by the namespace in which they look for who gives it (`None`: in all).
    policies_by_port_name: BTreeMap<(Option<Interned>, Interned), BTreeSet<ObjectRef>>,
    boundaries: BTreeSet<(Timestamp, ObjectRef)>,
    pool: PeerSetPool,
    /// All addresses with an owner, while some node has to know them.
    known: Option<Arc<PeerSet>>,
    /// Those of them outside `ranges`.
    outsiders: Arc<PeerSet>,
    /// Nodes with rule sets that need to know every workload.
    curious: BTreeSet<Key<NodeState>>,
    /// Cluster ranges and contested addresses; sorted, disjoint.
    ranges: Arc<[Prefix]>,
    /// Of all declared nodes.
    node_addresses: Arc<PeerSet>,
    /// Nobody's graph: what all graphs share, hashed once.
    shared: NodeGraph,
    pending: Pending,
    /// Nodes whose needs are counted.
    counted_nodes: usize,
    dirty_nodes: Vec<Key<NodeState>>,
    gone_nodes: BTreeSet<Interned>,
    leftovers: Leftovers,
    /// The label set that was asked for last, for its room.
    profile_key: Option<ProfileKey>,
    counters: Counters,
}

/// What is to be settled. What is listed may be gone by then, and listed twice.
#[derive(Default)]
struct Pending {
    segments: BTreeSet<Interned>,
    policies: Vec<Key<PolicyState>>,
    profiles: Vec<Key<Profile>>,
    /// Those whose members are protected otherwise than before.
    protecting: Vec<Key<Selector>>,
    /// Those whose members came or went.
    selectors: Vec<Key<Selector>>,
    nodes: Vec<Key<NodeState>>,
    /// The last word on an address is the last in the list. Not kept where everything is looked at anyway.
    known: Vec<(Address, bool)>,
    known_changed: bool,
    ranges: bool,
    node_addresses: bool,
    /// Versions that say nothing any more but still hold what they refer to.
    retired: Vec<Key<Compiled>>,
    retired_segments: Vec<Key<SegmentState>>,
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
            policies: Policies::default(),
            tenants: Tenants::default(),
            compiled: Arena::default(),
            segment_objects: BTreeMap::new(),
            segments: Arena::default(),
            segment_keys: BTreeMap::new(),
            services: Services::default(),
            hosts: Hosts::default(),
            port_numbers: PortNumbers::default(),
            named_marks: FxHashMap::default(),
            policies_by_segment: BTreeMap::new(),
            policies_by_port_name: BTreeMap::new(),
            boundaries: BTreeSet::new(),
            pool: PeerSetPool::default(),
            known: None,
            outsiders: Arc::default(),
            curious: BTreeSet::new(),
            ranges: Arc::from([]),
            node_addresses: Arc::default(),
            shared: NodeGraph::default(),
            pending: Pending {
                ranges: true,
                ..Pending::default()
            },
            counted_nodes: 0,
            dirty_nodes: Vec::new(),
            gone_nodes: BTreeSet::new(),
            leftovers: Leftovers::default(),
            profile_key: None,
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
            Object::Service(service) => self.services.apply_service(*service),
            Object::EndpointSlice(slice) => self.services.apply_slice(*slice),
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
        }
    }

    fn objects_of(&self, kind: Kind) -> Vec<ObjectRef> {
        let cluster = |name: &Interned| ObjectRef::cluster(kind, name);
        let namespaced = |(ns, name): &(Interned, Interned)| ObjectRef::namespaced(kind, ns, name);
        match kind {
            Kind::Namespace => {
                let namespaces = self.profiles.namespaces.iter();
                let declared = namespaces.filter(|(_, namespace)| namespace.declared);
                declared
                    .map(|(_, namespace)| cluster(self.names.string(namespace.name)))
                    .collect()
            }
            Kind::Pod | Kind::Workload => self.workloads.objects(kind),
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
            | Kind::Quarantine => self.policies.objects(kind),
        }
    }

    /// Time goes on to `now`; it never goes back.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some((at, object)) = self.boundaries.first() {
            if *at > self.now {
                break;
            }
            self.policies.mark(object, &mut self.pending.policies);
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
        for key in std::mem::take(&mut self.dirty_nodes) {
            if let Some(node) = self.nodes.get_mut(key)
                && std::mem::take(&mut node.dirty)
            {
                dirty.insert(node.name.clone());
            }
        }
        dirty
    }

    /// The graphs of these nodes, as of now; empty ones of nodes that nothing speaks of. Their digests are computed.
    pub fn node_graphs(
        &mut self,
        nodes: BTreeSet<Interned>,
        threads: NonZeroUsize,
    ) -> Vec<(Interned, Arc<NodeGraph>)> {
        self.settle();
        let keys: Vec<Key<NodeState>> = nodes
            .iter()
            .filter_map(|node| self.node_keys.get(node).copied())
            .collect();
        self.build_graphs(&keys, threads);
        let graph = |node: Interned| {
            let key = self.node_keys.get(&node);
            let graph = key.map_or_else(Arc::default, |key| self.built_graph(*key));
            (node, graph)
        };
        nodes.into_iter().map(graph).collect()
    }

    /// The graph of a node, as of now; `None` for a node that nothing speaks of.
    pub fn node_graph(&mut self, node: &str) -> Option<Arc<NodeGraph>> {
        self.settle();
        let node = *self.node_keys.get(node)?;
        self.build_graphs(&[node], NonZeroUsize::MIN);
        Some(self.built_graph(node))
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
            policies: self.policies.arena.len(),
            nodes: self.nodes.len(),
            strings: self.names.len(),
        }
    }

    /// Of how many pieces all large peer sets are made. Counts them.
    pub fn peer_pieces(&self) -> usize {
        self.pool.len()
    }

    /// Addresses that several live workloads claim and that therefore belong to nobody.
    pub fn contested(&mut self) -> BTreeSet<Address> {
        self.settle();
        self.workloads.contested.clone()
    }

    fn mark_dirty(&mut self, node: Key<NodeState>) {
        if !std::mem::replace(&mut self.nodes[node].dirty, true) {
            self.dirty_nodes.push(node);
        }
    }

    /// The namespace of that name, which probably is one at hand.
    fn namespace_near(
        &mut self,
        name: &Interned,
        near: Option<Key<NamespaceState>>,
    ) -> Key<NamespaceState> {
        if let Some(near) = near
            && let Some(state) = self.profiles.namespaces.get(near)
            && **self.names.string(state.name) == **name
        {
            return near;
        }
        let name = self.names.number(name);
        self.profiles.namespace(name, self.metadata_name)
    }
}
