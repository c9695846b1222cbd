//! Whole small worlds, and histories that end in them.

use std::sync::Arc;

use std::collections::BTreeMap;

use bulkhead_policy::engine::{Engine, EngineConfig};
use bulkhead_policy::eval::World;
use bulkhead_policy::model::{
    Event, Kind, Lease, Moment, Object, ObjectRef, PeerLimits, ServiceLimits, Timestamp, Workload,
};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::cluster::{namespace, nodes, served, service, slice, workload};
use super::policy::{any_policy, any_segment};
use super::vocabulary::{LEASES, NOW, net};

/// Objects that are there together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallWorld {
    /// Explicit configuration.
    pub cluster_ranges: Vec<IpNet>,
    /// Mostly more than there are Services.
    pub service_limits: ServiceLimits,
    /// More than any policies need, but in [`crowded_world`].
    pub peer_limits: PeerLimits,
    /// No two of the same name, in the order of names.
    pub objects: Vec<Object>,
}

impl SmallWorld {
    pub(super) fn new(
        cluster_ranges: &[&str],
        service_limits: ServiceLimits,
        objects: Vec<Object>,
    ) -> Self {
        let by_name: BTreeMap<ObjectRef, Object> = objects
            .into_iter()
            .map(|object| (object.reference(), object))
            .collect();
        Self {
            cluster_ranges: cluster_ranges.iter().map(|range| net(range)).collect(),
            service_limits,
            peer_limits: PeerLimits::default(),
            objects: by_name.into_values().collect(),
        }
    }

    /// One event for each object.
    pub fn events(&self) -> Vec<Event> {
        self.objects.iter().cloned().map(Event::Apply).collect()
    }

    /// The same objects for the oracle.
    pub fn world(&self) -> World {
        let mut world = World::new(self.cluster_ranges.iter().copied())
            .with_service_limits(self.service_limits)
            .with_peer_limits(self.peer_limits);
        self.events()
            .into_iter()
            .for_each(|event| world.apply(event));
        world
    }

    /// What the compiler is told.
    pub fn config(&self) -> EngineConfig {
        EngineConfig {
            cluster_ranges: self.cluster_ranges.clone(),
            service_limits: self.service_limits,
            peer_limits: self.peer_limits,
        }
    }

    /// The world on nodes that have not heard their controller for just as long as its leases last. Of one length, and without
    /// dates: tables have one end for each decision, and what comes later may be denied with what comes first.
    pub fn unheard(&self) -> (Self, Moment) {
        let Lease(unheard_ms) = LEASES[0];
        let mut world = self.clone();
        for object in &mut world.objects {
            if let Object::Policy(policy) = object {
                let policy = Arc::make_mut(policy);
                policy.expires_at = None;
                policy.max_staleness = policy.max_staleness.map(|_| LEASES[0]);
            }
        }
        let at = Moment {
            now: NOW,
            unheard_ms,
        };
        (world, at)
    }

    /// The same objects for the compiler.
    pub fn engine(&self, now: Timestamp) -> Engine {
        let mut engine = Engine::new(self.config());
        engine.advance(now);
        self.events()
            .into_iter()
            .for_each(|event| engine.apply(event));
        engine
    }
}

fn objects() -> impl Strategy<Value = Vec<Object>> {
    let cluster = (
        vec(namespace(), 0..4),
        vec(workload(), 1..9),
        vec(any_segment().prop_map(Object::from), 0..5),
        vec(any_policy().prop_map(Object::from), 0..8),
        vec(served(), 0..4),
        vec(slice().prop_map(Object::from), 0..2),
    );
    cluster.prop_map(
        |(namespaces, workloads, segments, policies, served, slices)| {
            let mut objects = nodes();
            let services = served.into_iter().flatten().collect();
            objects.extend(
                [namespaces, workloads, segments, policies, services, slices]
                    .into_iter()
                    .flatten(),
            );
            objects
        },
    )
}

/// Explicit configurations of ranges, odd ones among them.
const CONFIGURED: &[&[&str]] = &[
    &[],
    &[],
    &["10.0.0.0/16"],
    &["10.0.0.0/16"],
    &["::/0"],
    &["::ffff:10.0.0.0/104", "fd00::/16"],
];

/// A random world.
pub fn small_world() -> BoxedStrategy<SmallWorld> {
    let limits = prop_oneof![
        3 => Just(ServiceLimits::default()),
        1 => (0_usize..4, 0_usize..3, 0_usize..9).prop_map(|(addresses, ports, backends)| {
            ServiceLimits {
                addresses,
                ports,
                backends,
            }
        }),
    ];
    (select(CONFIGURED), limits, objects())
        .prop_map(|(ranges, limits, objects)| SmallWorld::new(ranges, limits, objects))
        .boxed()
}

/// A random world in which there is no room for all peers of tenants' policies, mostly. Which of them have room depends on all others, so
/// what holds of the world without a policy or with other names need not hold here.
pub fn crowded_world() -> BoxedStrategy<SmallWorld> {
    let limits = (0_usize..12, 0_usize..24);
    let limits = limits.prop_map(|(lists, workloads)| PeerLimits { lists, workloads });
    (small_world(), limits)
        .prop_map(|(world, peer_limits)| SmallWorld {
            peer_limits,
            ..world
        })
        .boxed()
}

/// One detour on the way to a world.
#[derive(Debug, Clone)]
enum Detour {
    /// Some object is there for a while, or an object has another content for a while.
    Visit(Box<Object>),
    /// Some object is gone for a while.
    Leave(usize),
    /// It is said again.
    Repeat(usize),
    /// A kind is listed again.
    Relist(usize),
}

fn detour() -> impl Strategy<Value = Detour> {
    let any_object = prop_oneof![
        2 => namespace(),
        4 => workload(),
        2 => any_segment().prop_map(Object::from),
        4 => any_policy().prop_map(Object::from),
        1 => service().prop_map(Object::from),
        1 => slice().prop_map(Object::from),
        1 => proptest::sample::select(nodes()),
    ];
    prop_oneof![
        4 => (any_object, any::<bool>()).prop_map(|(object, another)| {
            Detour::Visit(Box::new(if another { reborn(object) } else { object }))
        }),
        3 => any::<prop::sample::Index>().prop_map(|at| Detour::Leave(at.index(1000))),
        1 => any::<prop::sample::Index>().prop_map(|at| Detour::Repeat(at.index(1000))),
        1 => any::<prop::sample::Index>().prop_map(|at| Detour::Relist(at.index(1000))),
    ]
}

/// The same name, another incarnation.
fn reborn(object: Object) -> Object {
    match object {
        Object::Workload(kind, workload) => {
            let uid = format!("{} again", workload.uid).into();
            Object::Workload(kind, Box::new(Workload { uid, ..*workload }))
        }
        Object::Namespace(_)
        | Object::Node(_)
        | Object::Service(_)
        | Object::EndpointSlice(_)
        | Object::Segment(_)
        | Object::Policy(_) => object,
    }
}

const KINDS: &[Kind] = &[
    Kind::ClusterNetworkPolicy,
    Kind::ClusterSegmentationPolicy,
    Kind::NetworkPolicy,
    Kind::SegmentationPolicy,
    Kind::Quarantine,
    Kind::Segment,
    Kind::Namespace,
    Kind::Pod,
    Kind::Workload,
    Kind::Node,
    Kind::Service,
    Kind::EndpointSlice,
];

/// A world and a history that ends in it: events in another order, repeated, undone, relisted.
pub fn history() -> BoxedStrategy<(SmallWorld, Vec<Event>)> {
    history_of(small_world())
}

/// The same of worlds of a kind.
pub fn history_of(worlds: BoxedStrategy<SmallWorld>) -> BoxedStrategy<(SmallWorld, Vec<Event>)> {
    let shuffled = worlds.prop_flat_map(|world| {
        let order = Just(world.objects.clone()).prop_shuffle();
        (Just(world), order)
    });
    (
        shuffled,
        vec(detour(), 0..12),
        vec(any::<prop::sample::Index>(), 12),
    )
        .prop_map(|((world, order), detours, places)| {
            let mut events: Vec<Event> = order.into_iter().map(Event::Apply).collect();
            for (detour, place) in detours.into_iter().zip(places) {
                let place = place.index(events.len() + 1);
                let tail = events.split_off(place);
                events.extend(detour.events(&world));
                events.extend(tail);
            }
            events.extend(mend(&world, &events));
            (world, events)
        })
        .boxed()
}

impl Detour {
    fn events(self, end: &SmallWorld) -> Vec<Event> {
        let object = |at: usize| end.objects[at % end.objects.len()].clone();
        match self {
            Self::Visit(object) => vec![Event::Apply(*object)],
            Self::Leave(at) => vec![Event::Delete(object(at).reference())],
            Self::Repeat(at) => vec![Event::Apply(object(at)), Event::Apply(object(at))],
            Self::Relist(at) => {
                let kind = KINDS[at % KINDS.len()];
                let listed = end
                    .objects
                    .iter()
                    .filter(|object| object.reference().kind == kind)
                    .cloned();
                vec![Event::Reset(kind, listed.collect())]
            }
        }
    }
}

/// What is still missing or wrong after the events, so that they end in the world.
fn mend(end: &SmallWorld, events: &[Event]) -> Vec<Event> {
    let mut there: BTreeMap<ObjectRef, Object> = BTreeMap::new();
    for event in events {
        match event {
            Event::Apply(object) => drop(there.insert(object.reference(), object.clone())),
            Event::Delete(reference) => drop(there.remove(reference)),
            Event::Reset(kind, objects) => {
                there.retain(|reference, _| reference.kind != *kind);
                there.extend(
                    objects
                        .iter()
                        .map(|object| (object.reference(), object.clone())),
                );
            }
        }
    }
    let wanted: BTreeMap<ObjectRef, &Object> = end
        .objects
        .iter()
        .map(|object| (object.reference(), object))
        .collect();
    let gone = there
        .keys()
        .filter(|reference| !wanted.contains_key(reference))
        .cloned()
        .map(Event::Delete);
    let other = wanted
        .iter()
        .filter(|(reference, object)| there.get(reference) != Some(object))
        .map(|(_, object)| Event::Apply((*object).clone()));
    gone.chain(other).collect()
}
