//! Two verdicts for every flow.

use super::fixture::*;
use crate::model::*;
use Expected::*;

#[test]
fn a_policy_in_audit_is_absent_and_reported() {
    let closed = upstream("bank/closed", &[], &[Direction::Ingress]).audited();
    let world = Fixture::shop_and_bank().policy(closed);
    check(
        &world,
        world.flow("shop/web", "bank/db", tcp(80)),
        WouldDeny,
    );
}

#[test]
fn a_grant_in_audit_opens_nothing_yet() {
    let grant = tenant("bank/grant", &[])
        .ingress(allow(Peers::Any, Ports::Any))
        .audited();
    let world = Fixture::shop_and_bank()
        .policy(upstream("bank/closed", &[], &[Direction::Ingress]))
        .policy(grant);
    check(
        &world,
        world.flow("shop/web", "bank/db", tcp(80)),
        WouldAllow,
    );
}

#[test]
fn a_segment_in_audit_isolates_nothing_yet_and_its_members_are_found() {
    let shop = Segment {
        mode: Mode::Audit,
        ..closed_segment("shop", in_namespace("shop", &[]))
    };
    let admit = upstream("bank/in", &[], &[Direction::Ingress])
        .ingress(allow(in_segment("shop"), Ports::Any));
    let world = Fixture::shop_and_bank().segment(shop).policy(admit);
    check(
        &world,
        world.flow("shop/web", "192.0.2.1", tcp(80)),
        WouldDeny,
    );
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
    // By membership the shop is admitted; its own isolation would keep it in.
    check(
        &world,
        world.flow("shop/web", "bank/db", tcp(80)),
        WouldDeny,
    );
}

#[test]
fn a_quarantine_and_a_cluster_tier_can_be_tried_in_audit() {
    let q = quarantine("q", Subject::Selected(in_namespace("shop", &[]))).audited();
    let world = Fixture::shop_and_bank().policy(q);
    check(
        &world,
        world.flow("shop/web", "bank/db", tcp(80)),
        WouldDeny,
    );
    let deny = cluster(Tier::Admin(0), "d", WorkloadSelector::everything())
        .ingress(deny(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank().policy(deny.audited());
    check(
        &world,
        world.flow("shop/web", "bank/db", tcp(80)),
        WouldDeny,
    );
}

#[test]
fn two_isolating_audit_policies_together_hold_no_surprise() {
    let one = |name: &str, port| {
        upstream(name, &[], &[Direction::Ingress])
            .ingress(allow(Peers::Any, on(Protocol::Tcp, port, port)))
            .audited()
    };
    let world = Fixture::shop_and_bank()
        .policy(one("bank/a", 80))
        .policy(one("bank/b", 81));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(
        &world,
        world.flow("shop/web", "bank/db", tcp(82)),
        WouldDeny,
    );
    // Turning one of them alone closes what only the other admits.
    let first = Policy {
        mode: Mode::Enforce,
        ..one("bank/a", 80)
    };
    let world = world.policy(first);
    check(
        &world,
        world.flow("shop/web", "bank/db", tcp(81)),
        WouldAllow,
    );
}
