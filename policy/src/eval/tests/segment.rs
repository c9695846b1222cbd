//! Steps 2b and 5.

use super::fixture::*;
use crate::model::*;
use Expected::*;

fn bank() -> Segment {
    closed_segment("bank", in_namespace("bank", &[]))
}

fn boundary(isolation: &mut Isolation) {
    isolation.strength = Strength::Boundary;
}

#[test]
fn a_closed_segment_is_open_within_and_closed_around() {
    let world = Fixture::shop_and_bank().segment(bank());
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("bank/web", "shop/db", tcp(80)), Denied);
    check(&world, world.flow("bank/web", "192.0.2.1", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "shop/db", tcp(80)), Allowed);
}

#[test]
fn each_direction_is_isolated_for_itself() {
    let world = Fixture::shop_and_bank().segment(bank().isolation(|i| i.egress = Action::Allow));
    check(&world, world.flow("bank/web", "shop/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/db", "bank/web", tcp(80)), Denied);
}

#[test]
fn within_can_be_closed_while_the_outside_is_open() {
    let open_outside = |i: &mut Isolation| {
        (i.ingress, i.egress, i.within) = (Action::Allow, Action::Allow, Action::Deny);
    };
    let world = Fixture::shop_and_bank().segment(bank().isolation(open_outside));
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
}

#[test]
fn of_several_common_segments_one_deny_is_enough() {
    let strict =
        closed_segment("a-strict", anywhere(&[], &[])).isolation(|i| i.within = Action::Deny);
    let world = Fixture::shop_and_bank().segment(bank()).segment(strict);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn a_common_segment_comes_before_another_that_closes_the_direction() {
    let databases = closed_segment("databases", anywhere(&[], &[("app", "db")]));
    let world = Fixture::shop_and_bank().segment(bank()).segment(databases);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/db", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn one_segment_that_closes_is_enough() {
    let open = |i: &mut Isolation| (i.ingress, i.egress) = (Action::Allow, Action::Allow);
    let databases = closed_segment("databases", anywhere(&[], &[("app", "db")])).isolation(open);
    let world = Fixture::shop_and_bank().segment(bank()).segment(databases);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "shop/db", tcp(80)), Allowed);
}

#[test]
fn a_default_segment_is_opened_by_a_tenant_and_by_the_baseline() {
    let grant =
        tenant("bank/grant", &[]).ingress(allow(workloads(in_namespace("shop", &[])), Ports::Any));
    let world = Fixture::shop_and_bank().segment(bank()).policy(grant);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Denied);
}

#[test]
fn a_boundary_is_not_opened_by_a_tenant() {
    let grant = tenant("bank/grant", &[]).ingress(allow(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank()
        .segment(bank().isolation(boundary))
        .policy(grant);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Allowed);
}

#[test]
fn a_boundary_is_opened_by_an_admin_allow_but_not_by_a_pass() {
    let admin = |rule| cluster(Tier::Admin(0), "admin", in_namespace("bank", &[])).ingress(rule);
    let closed = || Fixture::shop_and_bank().segment(bank().isolation(boundary));
    let allowing = closed().policy(admin(allow(Peers::Any, Ports::Any)));
    check(
        &allowing,
        allowing.flow("shop/web", "bank/db", tcp(80)),
        Allowed,
    );
    let passing = closed().policy(admin(pass(Peers::Any, Ports::Any)));
    check(
        &passing,
        passing.flow("shop/web", "bank/db", tcp(80)),
        Denied,
    );
}

#[test]
fn a_boundary_open_within_leaves_the_inside_to_the_tenants() {
    let isolated = upstream("bank/closed", &[("app", "db")], &[Direction::Ingress]);
    let world = Fixture::shop_and_bank()
        .segment(bank().isolation(boundary))
        .policy(isolated);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("bank/db", "bank/web", tcp(80)), Allowed);
}

#[test]
fn a_boundary_closed_within_is_not_opened_by_a_tenant() {
    let closed_within = |i: &mut Isolation| {
        boundary(i);
        i.within = Action::Deny;
    };
    let grant = tenant("bank/grant", &[]).ingress(allow(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank()
        .segment(bank().isolation(closed_within))
        .policy(grant);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn a_segment_without_isolation_is_a_name_only() {
    let name = Segment {
        isolation: None,
        ..bank()
    };
    let world = Fixture::shop_and_bank().segment(name);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
}

#[test]
fn networks_of_a_segment_are_peers_and_never_subjects() {
    let mut partner = bank();
    partner.members.networks = vec![
        network("192.0.2.0/24", &["192.0.2.7/32"]),
        network("10.0.0.1/32", &[]),
    ];
    let world = Fixture::shop_and_bank().segment(partner);
    // Outside addresses in its networks are inside of it ...
    check(
        &world,
        world.flow("bank/web", "192.0.2.1", tcp(80)),
        Allowed,
    );
    check(&world, world.flow("bank/web", "192.0.2.7", tcp(80)), Denied);
    // ... and a workload that only has such an address is a peer, but not itself isolated.
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/web", "shop/db", tcp(80)), Allowed);
}

#[test]
fn who_is_in_a_segment_is_a_matter_of_identity() {
    let by_account = WorkloadSelector {
        service_accounts: Some(["teller".into()].into()),
        ..WorkloadSelector::everything()
    };
    let teller = Workload {
        service_account: "teller".into(),
        ..pod("bank/teller", "10.0.0.5", &[])
    };
    let world = Fixture::shop_and_bank()
        .segment(closed_segment("tellers", by_account))
        .workload(teller);
    check(
        &world,
        world.flow("bank/web", "bank/teller", tcp(80)),
        Denied,
    );
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Allowed);
}
