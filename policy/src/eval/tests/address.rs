//! Who owns an address.

use super::fixture::*;
use crate::eval::{Owner, World};
use crate::model::*;
use Expected::*;

fn owner<'w>(world: &'w Fixture, address: &str) -> Owner<'w> {
    world
        .0
        .owner(Address::from(address.parse::<std::net::IpAddr>().unwrap()))
}

#[track_caller]
fn check_owner(world: &Fixture, address: &str, path: &str) {
    match owner(world, address) {
        Owner::Workload(w) => assert_eq!(format!("{}/{}", w.namespace, w.name), path),
        other @ (Owner::Unknown | Owner::Contested | Owner::Outside) => {
            panic!("{address} should belong to {path}, not {other:?}")
        }
    }
}

#[test]
fn a_live_workload_owns_its_addresses_of_both_families() {
    let mut dual = pod("a/dual", "10.0.0.5", &[]);
    dual.addresses.insert("fd00::5".parse().unwrap());
    let world = Fixture::new().workload(dual);
    check_owner(&world, "10.0.0.5", "a/dual");
    check_owner(&world, "fd00::5", "a/dual");
}

#[test]
fn a_pod_that_is_over_owns_no_address() {
    let over = Workload {
        phase: Phase::Completed,
        ..pod("a/over", "10.0.0.5", &[])
    };
    let world = Fixture::new().workload(over);
    assert_eq!(owner(&world, "10.0.0.5"), Owner::Unknown);
    let world = world.pod("a/next", "10.0.0.5", &[]);
    check_owner(&world, "10.0.0.5", "a/next");
}

#[test]
fn a_pod_on_the_hosts_network_is_the_host() {
    let host = Workload {
        host_network: true,
        ..pod("a/host", "192.0.2.10", &[])
    };
    let world =
        Fixture::new()
            .workload(host)
            .policy(upstream("a/closed", &[], &[Direction::Ingress]));
    assert_eq!(owner(&world, "192.0.2.10"), Owner::Outside);
    check(
        &world,
        world.flow("192.0.2.1", "192.0.2.10", tcp(80)),
        Allowed,
    );
}

#[test]
fn of_two_claimants_the_running_one_wins() {
    let waiting = Workload {
        phase: Phase::Pending,
        ..pod("a/waiting", "10.0.0.5", &[])
    };
    let world = Fixture::new()
        .workload(waiting)
        .pod("b/running", "10.0.0.5", &[]);
    check_owner(&world, "10.0.0.5", "b/running");
}

#[test]
fn of_two_running_ones_the_one_whose_nodes_range_holds_it_wins() {
    let elsewhere = Workload {
        node: Some("n2".into()),
        ..pod("a/elsewhere", "10.0.0.5", &[])
    };
    let world = Fixture::new()
        .workload(elsewhere)
        .pod("b/here", "10.0.0.5", &[]);
    check_owner(&world, "10.0.0.5", "b/here");
}

#[test]
fn of_two_with_the_same_right_neither_owns_it() {
    let world = Fixture::new()
        .pod("a/one", "10.0.0.5", &[])
        .pod("b/two", "10.0.0.5", &[]);
    assert_eq!(owner(&world, "10.0.0.5"), Owner::Contested);
    let outside_of_every_range =
        Fixture::new()
            .pod("a/one", "172.16.0.5", &[])
            .pod("b/two", "172.16.0.5", &[]);
    assert_eq!(
        owner(&outside_of_every_range, "172.16.0.5"),
        Owner::Contested
    );
}

#[test]
fn a_contested_address_gets_nothing_through() {
    let world =
        Fixture::shop_and_bank()
            .pod("a/one", "10.0.0.5", &[])
            .pod("b/two", "10.0.0.5", &[]);
    check(&world, world.flow("10.0.0.5", "shop/web", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "10.0.0.5", tcp(80)), Denied);
    check(&world, world.flow("10.0.0.5", "192.0.2.1", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "shop/db", tcp(80)), Allowed);
}

#[test]
fn an_address_ends_with_the_object_that_claims_it() {
    let world = Fixture::new()
        .pod("a/one", "10.0.0.5", &[])
        .pod("b/two", "10.0.0.5", &[]);
    let world = world.delete(ObjectRef::namespaced(Kind::Pod, "a", "one"));
    check_owner(&world, "10.0.0.5", "b/two");
}

#[test]
fn a_late_delete_does_not_take_the_new_owner_away() {
    let world = Fixture::new()
        .pod("a/old", "10.0.0.5", &[])
        .pod("a/new", "10.0.0.5", &[]);
    let world = world.delete(ObjectRef::namespaced(Kind::Pod, "a", "old"));
    let world = world.delete(ObjectRef::namespaced(Kind::Pod, "a", "old"));
    check_owner(&world, "10.0.0.5", "a/new");
}

#[test]
fn cluster_ranges_are_configured_or_the_nodes_own() {
    let node = Node {
        name: "n3".into(),
        labels: labels(&[]),
        pod_ranges: [
            "172.16.3.0/24".parse().unwrap(),
            "fd00:3::/64".parse().unwrap(),
        ]
        .into(),
        addresses: ["192.0.2.3".parse().unwrap()].into(),
    };
    let world = Fixture::new();
    assert_eq!(owner(&world, "172.16.3.1"), Owner::Outside);
    let world = world.with(Object::Node(Box::new(node)));
    assert_eq!(owner(&world, "10.0.99.1"), Owner::Unknown);
    assert_eq!(owner(&world, "172.16.3.1"), Owner::Unknown);
    assert_eq!(owner(&world, "fd00:3::1"), Owner::Unknown);
    assert_eq!(owner(&world, "192.0.2.3"), Owner::Outside);
}

#[test]
fn a_range_of_one_family_says_nothing_of_the_other() {
    let world = Fixture(World::new(["::/0".parse().unwrap()]));
    assert_eq!(owner(&world, "2001:db8::1"), Owner::Unknown);
    assert_eq!(owner(&world, "192.0.2.1"), Owner::Outside);
}

#[test]
fn a_relist_replaces_a_whole_kind() {
    let mut world = Fixture::shop_and_bank();
    let only = Object::Workload(Kind::Pod, Box::new(pod("shop/new", "10.0.0.1", &[])));
    world.0.apply(Event::Reset(Kind::Pod, vec![only]));
    check_owner(&world, "10.0.0.1", "shop/new");
    assert_eq!(world.0.workloads().count(), 1);
    assert_eq!(world.0.nodes().count(), 2);
}

fn declared(path: &str, address: &str) -> Object {
    Object::Workload(Kind::Workload, Box::new(pod(path, address, &[])))
}

#[test]
fn g12_a_declared_workload_takes_no_address_from_a_pod() {
    // Neither by its node, nor before the pod runs.
    for phase in [Phase::Running, Phase::Pending] {
        for address in ["10.0.0.5", "172.16.0.5"] {
            let victim = Workload {
                phase,
                ..pod("b/victim", address, &[])
            };
            let world = Fixture::new()
                .workload(victim)
                .with(declared("a/thief", address));
            check_owner(&world, address, "b/victim");
        }
    }
}

#[test]
fn g12_where_there_are_pods_the_nodes_ranges_are_theirs() {
    let world = Fixture::new().with(declared("a/host", "10.0.0.5"));
    check_owner(&world, "10.0.0.5", "a/host");
    let world = world
        .with(declared("a/elsewhere", "172.16.0.5"))
        .pod("b/any", "10.0.1.9", &[]);
    assert_eq!(owner(&world, "10.0.0.5"), Owner::Unknown);
    check_owner(&world, "172.16.0.5", "a/elsewhere");
}
