//! Step 1.

use super::fixture::*;
use crate::model::*;
use Expected::*;

fn shop() -> Subject {
    Subject::Selected(in_namespace("shop", &[]))
}

#[test]
fn a_quarantine_cuts_both_directions() {
    let world = Fixture::shop_and_bank().policy(quarantine("q", shop()));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("bank/db", "shop/web", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "shop/db", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "192.0.2.1", tcp(80)), Denied);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Allowed);
}

#[test]
fn its_exceptions_pass_in_their_direction_only() {
    let forensics = quarantine("q", shop()).ingress(allow(
        networks("192.0.2.0/24", &[]),
        on(Protocol::Tcp, 22, 22),
    ));
    let world = Fixture::shop_and_bank().policy(forensics);
    check(
        &world,
        world.flow("192.0.2.9", "shop/web", tcp(22)),
        Allowed,
    );
    check(&world, world.flow("192.0.2.9", "shop/web", tcp(23)), Denied);
    check(&world, world.flow("shop/web", "192.0.2.9", tcp(22)), Denied);
}

#[test]
fn an_exception_comes_before_every_other_step() {
    let closed = cluster(Tier::Admin(0), "closed", WorkloadSelector::everything())
        .ingress(deny(Peers::Any, Ports::Any));
    let q = quarantine("q", shop()).ingress(allow(networks("192.0.2.0/24", &[]), Ports::Any));
    let world = Fixture::shop_and_bank().policy(closed).policy(q);
    check(
        &world,
        world.flow("192.0.2.9", "shop/web", tcp(22)),
        Allowed,
    );
    check(&world, world.flow("192.0.2.9", "bank/web", tcp(22)), Denied);
}

#[test]
fn no_admin_allow_opens_a_quarantine() {
    let open = cluster(Tier::Admin(0), "open", WorkloadSelector::everything())
        .ingress(allow(Peers::Any, Ports::Any))
        .egress(allow(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank()
        .policy(open)
        .policy(quarantine("q", shop()));
    check(&world, world.flow("bank/db", "shop/web", tcp(80)), Denied);
}

#[test]
fn a_single_incarnation_can_be_quarantined() {
    let one = quarantine("q", Subject::Workload("uid-of-shop/web".into()));
    let world = Fixture::shop_and_bank().policy(one);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/db", "bank/db", tcp(80)), Allowed);
}

#[test]
fn whatever_an_owner_made_is_quarantined_now_and_later() {
    let cart = owner("shop", "ReplicaSet", "cart");
    let of = |owners: &[&Interned], path, address| Workload {
        owners: owners.iter().map(|owner| Interned::clone(owner)).collect(),
        ..pod(path, address, &[])
    };
    let both = of(
        &[&owner("shop", "Deployment", "x"), &cart],
        "shop/a",
        "10.0.0.7",
    );
    let other = of(
        &[&owner("shop", "ReplicaSet", "other")],
        "shop/b",
        "10.0.0.8",
    );
    let world = Fixture::shop_and_bank()
        .policy(quarantine("q", Subject::Owner(cart.clone())))
        .workload(both)
        .workload(other);
    check(&world, world.flow("shop/a", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("bank/db", "shop/a", tcp(80)), Denied);
    check(&world, world.flow("shop/b", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);

    let world = world.workload(of(&[&cart], "shop/replacement", "10.0.0.9"));
    let replaced = world.flow("shop/replacement", "bank/db", tcp(80));
    check(&world, replaced, Denied);
}

#[test]
fn a_new_incarnation_is_another_workload() {
    let one = quarantine("q", Subject::Workload("uid-of-shop/web".into()));
    let again = Workload {
        uid: "another".into(),
        ..pod("shop/web", "10.0.0.1", &[("app", "web")])
    };
    let world = Fixture::shop_and_bank().policy(one).workload(again);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
}

#[test]
fn what_one_quarantine_closes_no_exception_of_another_opens() {
    let strict = quarantine("a", shop());
    let wide = quarantine("b", shop()).egress(allow(networks("192.0.2.0/24", &[]), Ports::Any));
    let narrow = quarantine("c", shop()).egress(allow(Peers::Any, on(Protocol::Tcp, 22, 22)));
    let world = Fixture::shop_and_bank().policy(wide).policy(narrow);
    for (to, port, expected) in [
        ("192.0.2.9", 22, Allowed),
        ("192.0.2.9", 23, Denied),
        ("198.51.100.1", 22, Denied),
    ] {
        check(&world, world.flow("shop/web", to, tcp(port)), expected);
    }
    let world = world.policy(strict);
    check(&world, world.flow("shop/web", "192.0.2.9", tcp(22)), Denied);
}

#[test]
fn a_quarantine_that_is_over_or_in_audit_closes_nothing() {
    let over = Policy {
        expires_at: Some(NOW),
        ..quarantine("a", shop())
    };
    let tried = quarantine("b", shop()).audited();
    let in_force = quarantine("c", shop()).egress(allow(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank()
        .policy(over)
        .policy(tried)
        .policy(in_force);
    check(
        &world,
        world.flow("shop/web", "192.0.2.9", tcp(22)),
        WouldDeny,
    );
}

#[test]
fn a_segment_can_be_quarantined() {
    let members = closed_segment("tier", in_namespace("shop", &[]));
    let name_only = Segment {
        isolation: None,
        ..members
    };
    let world = Fixture::shop_and_bank()
        .segment(name_only)
        .policy(quarantine("q", Subject::Segment("tier".into())));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Allowed);
}
