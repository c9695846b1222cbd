//! Large random worlds: the words of the small ones, and so many objects that every rule meets somebody.

use std::sync::Arc;

use bulkhead_policy::model::{Address, Object, Policy, Segment, ServiceLimits, Workload};
use proptest::collection::vec;
use proptest::prelude::*;

use super::SmallWorld;
use super::cluster::{namespace, nodes, served, workload};
use super::policy::{any_policy, any_segment};
use super::vocabulary::{self, NODES, SEGMENTS};

/// One workload in so many keeps an address of the vocabulary, which others claim too.
const CROWDED: usize = 8;

fn name(prefix: &str, number: usize) -> std::sync::Arc<str> {
    format!("{prefix}{number}").as_str().into()
}

/// A name of its own, and mostly addresses of its own, in the range of its node.
fn settled(number: usize, object: Object) -> Object {
    let Object::Workload(kind, workload) = object else {
        return object;
    };
    let uid = name("uid-", number);
    let workload = Workload {
        name: name("w", number),
        uid,
        ..*workload
    };
    if number.is_multiple_of(CROWDED) {
        return Object::Workload(kind, workload.into());
    }
    let node = workload.node.as_deref();
    let range = 1 + NODES.iter().position(|n| node == Some(n)).unwrap_or(8);
    let last = 16 + number;
    let texts = [
        format!("10.0.{range}.{last}"),
        format!("fd00:{range}::{last:x}"),
    ];
    // Both families, or one.
    let families = [&texts[..], &texts[..1], &texts[1..]][number % 3];
    let addresses = families.iter().map(|text| vocabulary::ip(text)).collect();
    Object::Workload(
        kind,
        Box::new(Workload {
            addresses,
            ..workload
        }),
    )
}

/// The first ones have names that policies refer to.
fn segment(number: usize, segment: Segment) -> Object {
    let known = SEGMENTS[..SEGMENTS.len() - 1].get(number);
    let name = known.map_or_else(|| name("segment-", number), |known| (*known).into());
    Object::Segment(Box::new(Segment { name, ..segment }))
}

fn policy(number: usize, mut policy: Policy) -> Object {
    policy.object.name = name("p", number);
    Object::Policy(Arc::new(policy))
}

/// A random world of about two hundred objects.
pub fn large_world() -> BoxedStrategy<SmallWorld> {
    let objects = (
        vec(namespace(), 3..6),
        vec(workload(), 40..120),
        vec(any_segment(), 3..9),
        vec(any_policy(), 20..60),
        vec(served(), 4..12),
    );
    (any::<bool>(), objects)
        .prop_map(
            |(configured, (namespaces, workloads, segments, policies, served))| {
                let mut objects = nodes();
                objects.extend(namespaces);
                objects.extend(served.into_iter().flatten());
                let numbered = |objects: Vec<Object>| objects.into_iter().enumerate();
                objects.extend(numbered(workloads).map(|(n, object)| settled(n, object)));
                objects.extend(segments.into_iter().enumerate().map(|(n, s)| segment(n, s)));
                objects.extend(policies.into_iter().enumerate().map(|(n, p)| policy(n, p)));
                let ranges: &[&str] = if configured { &["10.0.0.0/16"] } else { &[] };
                SmallWorld::new(ranges, ServiceLimits::default(), objects)
            },
        )
        .boxed()
}

/// Every address that somebody in the world claims, and those of the vocabulary.
pub fn addresses_of(world: &SmallWorld) -> Vec<Address> {
    let claimed = world.objects.iter().flat_map(|object| match object {
        Object::Workload(_, workload) => workload.addresses.iter().copied().collect(),
        Object::Service(service) => service
            .cluster_addresses
            .iter()
            .chain(&service.external_addresses)
            .copied()
            .collect(),
        Object::Namespace(_)
        | Object::Node(_)
        | Object::EndpointSlice(_)
        | Object::Segment(_)
        | Object::Policy(_) => Vec::new(),
    });
    let mut addresses: Vec<Address> = claimed.map(Address::from).collect();
    addresses.extend(vocabulary::addresses());
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
