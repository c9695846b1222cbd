//! One packet, two sides.

use super::fixture::*;
use crate::eval::{Provenance, eval};
use crate::model::*;
use Expected::*;

#[test]
fn without_any_policy_everything_passes() {
    let world = Fixture::shop_and_bank();
    check(
        &world,
        world.flow("shop/web", "bank/db", tcp(5432)),
        Allowed,
    );
    check(
        &world,
        world.flow("shop/web", "192.0.2.1", udp(53)),
        Allowed,
    );
    check(
        &world,
        world.flow("192.0.2.1", "shop/web", tcp(80)),
        Allowed,
    );
}

#[test]
fn egress_of_the_source_must_allow() {
    let world = Fixture::shop_and_bank().policy(upstream(
        "shop/quiet",
        &[("app", "web")],
        &[Direction::Egress],
    ));
    check(&world, world.flow("shop/web", "bank/db", tcp(5432)), Denied);
    check(&world, world.flow("bank/db", "shop/web", tcp(80)), Allowed);
}

#[test]
fn ingress_of_the_destination_must_allow() {
    let world = Fixture::shop_and_bank().policy(upstream(
        "bank/safe",
        &[("app", "db")],
        &[Direction::Ingress],
    ));
    check(&world, world.flow("shop/web", "bank/db", tcp(5432)), Denied);
    check(&world, world.flow("bank/db", "shop/web", tcp(80)), Allowed);
}

#[test]
fn one_side_that_allows_is_not_enough() {
    let open =
        upstream("shop/open", &[], &[Direction::Egress]).egress(allow(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank().policy(open).policy(upstream(
        "bank/safe",
        &[],
        &[Direction::Ingress],
    ));
    check(&world, world.flow("shop/web", "bank/db", tcp(5432)), Denied);
}

#[test]
fn a_side_that_is_no_workload_of_ours_allows() {
    let world = Fixture::shop_and_bank().policy(upstream("shop/safe", &[], &[Direction::Ingress]));
    let out = eval(
        &world.0,
        &world.flow("shop/web", "192.0.2.1", tcp(443)),
        NOW,
    );
    assert_eq!(out.enforced.ingress.rule, Provenance::NotOurs);
    assert!(out.allowed());
}

#[test]
fn both_sides_are_answered_also_when_the_first_one_denies() {
    let world = Fixture::shop_and_bank()
        .policy(upstream("shop/quiet", &[], &[Direction::Egress]))
        .policy(upstream("bank/safe", &[], &[Direction::Ingress]));
    let verdict = eval(&world.0, &world.flow("shop/web", "bank/db", tcp(1)), NOW);
    assert_eq!(
        verdict.enforced.egress.rule.to_string(),
        "isolated by NetworkPolicy shop/quiet"
    );
    assert_eq!(
        verdict.enforced.ingress.rule.to_string(),
        "isolated by NetworkPolicy bank/safe"
    );
}

#[test]
fn a_workload_reaches_its_own_address_whatever_the_policies_say() {
    let nothing = cluster(Tier::Admin(0), "nothing", WorkloadSelector::everything())
        .ingress(deny(Peers::Any, Ports::Any))
        .egress(deny(Peers::Any, Ports::Any));
    let quarantined = quarantine("all", Subject::Selected(WorkloadSelector::everything()));
    let world = Fixture::shop_and_bank().policy(nothing).policy(quarantined);
    check(&world, world.flow("shop/web", "shop/web", tcp(80)), Allowed);
    check(&world, world.flow("shop/web", "shop/db", tcp(80)), Denied);
}

#[test]
fn icmp_has_type_and_code_instead_of_a_port() {
    let echo = (Protocol::Icmp, 8 << 8);
    let ping = upstream("bank/ping", &[], &[Direction::Ingress])
        .ingress(allow(Peers::Any, on(Protocol::Icmp, 8 << 8, 8 << 8)));
    let world = Fixture::shop_and_bank().policy(ping);
    check(&world, world.flow("shop/web", "bank/db", echo), Allowed);
    check(
        &world,
        world.flow("shop/web", "bank/db", (Protocol::Icmp, 13 << 8)),
        Denied,
    );
    check(
        &world,
        world.flow("shop/web", "bank/db", (Protocol::Icmpv6, 8 << 8)),
        Denied,
    );
}
