//! Peers that are not known (yet): each end judges its own half, three-valued and biased to deny.

use super::fixture::*;
use crate::eval::{Provenance, eval};
use crate::model::*;
use Expected::*;

const UNKNOWN: &str = "10.0.0.200";

fn admitting(peers: Peers) -> Fixture {
    let policy = upstream("bank/p", &[], &[Direction::Ingress]).ingress(allow(peers, Ports::Any));
    Fixture::shop_and_bank().policy(policy)
}

fn denying(peers: Peers) -> Fixture {
    Fixture::shop_and_bank().policy(tenant("bank/p", &[]).ingress(deny(peers, Ports::Any)))
}

#[test]
fn it_is_not_the_world() {
    let world = denying(workloads(WorkloadSelector::everything()));
    check(&world, world.flow(UNKNOWN, "bank/db", tcp(80)), Denied);
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Allowed);
}

#[test]
fn its_own_half_is_judged_by_its_own_node() {
    let verdict = |world: &Fixture| eval(&world.0, &world.flow(UNKNOWN, "bank/db", tcp(80)), NOW);
    let world = admitting(Peers::Any);
    assert_eq!(verdict(&world).enforced.egress.rule, Provenance::NotOurs);
    assert!(verdict(&world).allowed());
}

#[test]
fn an_allow_counts_only_if_it_matches_whatever_the_labels() {
    for (peers, expected) in [
        (Peers::Any, Allowed),
        (workloads(WorkloadSelector::everything()), Allowed),
        (networks("10.0.0.0/24", &[]), Allowed),
        (networks("10.0.0.0/24", &["10.0.0.200/32"]), Denied),
        (workloads(in_namespace("bank", &[])), Denied),
        (workloads(anywhere(&[], &[("app", "web")])), Denied),
        (Peers::Of(vec![]), Denied),
    ] {
        let world = admitting(peers);
        check(&world, world.flow(UNKNOWN, "bank/db", tcp(80)), expected);
    }
}

#[test]
fn a_deny_counts_unless_it_cannot_match() {
    for (peers, expected) in [
        (workloads(in_namespace("shop", &[("app", "web")])), Denied),
        (networks("10.0.0.0/24", &[]), Denied),
        (networks("10.0.1.0/24", &[]), Allowed),
        (Peers::Of(vec![]), Allowed),
    ] {
        let world = denying(peers);
        check(&world, world.flow(UNKNOWN, "bank/db", tcp(80)), expected);
    }
}

#[test]
fn after_a_pass_that_may_match_both_ways_have_to_allow() {
    let admin = |second: Rule| {
        cluster(Tier::Admin(0), "p", in_namespace("bank", &[]))
            .ingress(pass(workloads(in_namespace("shop", &[])), Ports::Any))
            .ingress(second)
    };
    let allow_all = || allow(Peers::Any, Ports::Any);
    let deny_all = || deny(Peers::Any, Ports::Any);
    let closed = || upstream("bank/closed", &[], &[Direction::Ingress]);
    // Passed: no tenant speaks, allowed. Not passed: the next rule.
    let world = Fixture::shop_and_bank().policy(admin(allow_all()));
    check(&world, world.flow(UNKNOWN, "bank/db", tcp(80)), Allowed);
    let world = Fixture::shop_and_bank().policy(admin(deny_all()));
    check(&world, world.flow(UNKNOWN, "bank/db", tcp(80)), Denied);
    // Passed: the tenant isolates.
    let world = Fixture::shop_and_bank()
        .policy(admin(allow_all()))
        .policy(closed());
    check(&world, world.flow(UNKNOWN, "bank/db", tcp(80)), Denied);
    // A pass of everybody is no question.
    let certain = cluster(Tier::Admin(0), "p", in_namespace("bank", &[]))
        .ingress(pass(Peers::Any, Ports::Any))
        .ingress(deny_all());
    let world = Fixture::shop_and_bank().policy(certain);
    check(&world, world.flow(UNKNOWN, "bank/db", tcp(80)), Allowed);
}

#[test]
fn it_may_be_in_a_common_segment_or_not() {
    let bank = |within, outside| {
        closed_segment("bank", in_namespace("bank", &[]))
            .isolation(move |i| (i.within, i.ingress, i.egress) = (within, outside, outside))
    };
    for (within, outside, expected) in [
        (Action::Allow, Action::Allow, Allowed),
        (Action::Allow, Action::Deny, Denied),
        (Action::Deny, Action::Allow, Denied),
        (Action::Deny, Action::Deny, Denied),
    ] {
        for strength in [Strength::Default, Strength::Boundary] {
            let segment = bank(within, outside).isolation(|i| i.strength = strength);
            let world = Fixture::shop_and_bank().segment(segment);
            check(&world, world.flow(UNKNOWN, "bank/db", tcp(80)), expected);
        }
    }
}

#[test]
fn a_contested_address_is_an_unknown_peer() {
    let contested = |world: Fixture| world.pod("a/one", UNKNOWN, &[]).pod("b/two", UNKNOWN, &[]);
    let world = contested(denying(workloads(in_namespace("shop", &[]))));
    let verdict = eval(&world.0, &world.flow("bank/db", UNKNOWN, tcp(80)), NOW);
    assert!(verdict.enforced.egress.allowed && !verdict.enforced.ingress.allowed);
    let world = contested(denying(workloads(in_namespace("shop", &[]))));
    let verdict = eval(&world.0, &world.flow(UNKNOWN, "bank/db", tcp(80)), NOW);
    assert!(!verdict.enforced.egress.allowed && !verdict.enforced.ingress.allowed);
}
