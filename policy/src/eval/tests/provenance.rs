//! Every verdict names the rule that gave it.

use super::fixture::*;
use crate::eval::eval;
use crate::model::*;

#[track_caller]
fn check_reasons(world: &Fixture, from: &str, to: &str, egress: &str, ingress: &str) {
    let verdict = eval(&world.0, &world.flow(from, to, tcp(80)), NOW);
    assert_eq!(verdict.enforced.egress.rule.to_string(), egress);
    assert_eq!(verdict.enforced.ingress.rule.to_string(), ingress);
}

#[test]
fn a_rule_is_named_by_object_direction_index_and_name() {
    let mut second = allow(workloads(in_namespace("shop", &[])), Ports::Any);
    second.name = "shoppers".into();
    let policy = upstream("bank/in", &[], &[Direction::Ingress])
        .ingress(allow(Peers::Any, on(Protocol::Udp, 53, 53)))
        .ingress(second);
    let world = Fixture::shop_and_bank().policy(policy);
    let reason = "NetworkPolicy bank/in ingress[1] (shoppers)";
    check_reasons(
        &world,
        "shop/web",
        "bank/db",
        "no policy isolates it",
        reason,
    );
}

#[test]
fn a_default_deny_names_all_that_isolate() {
    let world = Fixture::shop_and_bank()
        .policy(upstream("bank/in", &[], &[Direction::Ingress]))
        .policy(tenant("bank/own", &[]).isolating(Direction::Ingress))
        .policy(upstream("bank/out", &[], &[Direction::Egress]));
    let reason = "isolated by NetworkPolicy bank/in, SegmentationPolicy bank/own";
    check_reasons(
        &world,
        "shop/web",
        "bank/db",
        "no policy isolates it",
        reason,
    );
}

#[test]
fn segments_are_named() {
    let world = Fixture::shop_and_bank()
        .segment(closed_segment("bank", in_namespace("bank", &[])))
        .segment(closed_segment("dbs", anywhere(&[], &[("app", "db")])));
    check_reasons(
        &world,
        "bank/web",
        "bank/db",
        "Segment bank within",
        "Segment bank within",
    );
    let reason = "isolated by Segment bank, Segment dbs";
    check_reasons(
        &world,
        "shop/web",
        "bank/db",
        "no policy isolates it",
        reason,
    );
}

#[test]
fn a_quarantine_is_named() {
    let world = Fixture::shop_and_bank().policy(quarantine(
        "q",
        Subject::Selected(in_namespace("shop", &[])),
    ));
    check_reasons(
        &world,
        "shop/web",
        "bank/db",
        "isolated by Quarantine q",
        "no policy isolates it",
    );
}

#[test]
fn other_ends_say_what_they_are() {
    let world =
        Fixture::shop_and_bank()
            .pod("a/one", "10.0.0.5", &[])
            .pod("b/two", "10.0.0.5", &[]);
    check_reasons(
        &world,
        "shop/web",
        "192.0.2.1",
        "no policy isolates it",
        "no known workload",
    );
    check_reasons(&world, "shop/web", "shop/web", "own address", "own address");
    check_reasons(
        &world,
        "shop/web",
        "10.0.0.5",
        "no policy isolates it",
        "address claimed by several workloads",
    );
}
