//! Steps 2 and 4.

use super::fixture::*;
use crate::model::*;
use Expected::*;

fn everything() -> WorkloadSelector {
    WorkloadSelector::everything()
}

fn from_shop() -> Peers {
    workloads(in_namespace("shop", &[]))
}

#[test]
fn admin_deny_cannot_be_opened_by_a_tenant() {
    let admin = cluster(Tier::Admin(10), "no-shop", in_namespace("bank", &[]))
        .ingress(deny(from_shop(), Ports::Any));
    let open = tenant("bank/open", &[]).ingress(allow(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank().policy(admin).policy(open);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Allowed);
}

#[test]
fn admin_allow_cannot_be_closed_by_a_tenant() {
    let admin = cluster(Tier::Admin(10), "dns", everything())
        .ingress(allow(Peers::Any, on(Protocol::Udp, 53, 53)));
    let closed = upstream("bank/closed", &[], &[Direction::Ingress]);
    let explicit = tenant("bank/deny", &[]).ingress(deny(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank()
        .policy(admin)
        .policy(closed)
        .policy(explicit);
    check(&world, world.flow("shop/web", "bank/db", udp(53)), Allowed);
    check(&world, world.flow("shop/web", "bank/db", tcp(53)), Denied);
}

#[test]
fn pass_goes_on_with_the_namespace_tier() {
    let admin = |name, priority, rule| {
        cluster(Tier::Admin(priority), name, in_namespace("bank", &[])).ingress(rule)
    };
    let world = Fixture::shop_and_bank()
        .policy(admin("pass", 1, pass(from_shop(), Ports::Any)))
        .policy(admin("deny", 2, deny(Peers::Any, Ports::Any)));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
    let world = world.policy(upstream("bank/closed", &[], &[Direction::Ingress]));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn the_smaller_priority_is_the_stronger() {
    let world = Fixture::shop_and_bank()
        .policy(
            cluster(Tier::Admin(1000), "aaa", everything()).ingress(deny(Peers::Any, Ports::Any)),
        )
        .policy(
            cluster(Tier::Admin(0), "zzz", everything()).ingress(allow(from_shop(), Ports::Any)),
        );
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn equal_priorities_are_decided_by_kind_then_name() {
    let with_kind = |kind, name: &str, rule| Policy {
        object: ObjectRef::cluster(kind, name),
        ..cluster(Tier::Admin(5), name, everything()).ingress(rule)
    };
    let (ours, theirs) = (Kind::ClusterSegmentationPolicy, Kind::ClusterNetworkPolicy);
    let by_kind = Fixture::shop_and_bank()
        .policy(with_kind(ours, "a", deny(Peers::Any, Ports::Any)))
        .policy(with_kind(theirs, "z", allow(Peers::Any, Ports::Any)));
    check(
        &by_kind,
        by_kind.flow("shop/web", "bank/db", tcp(80)),
        Allowed,
    );
    let by_name = Fixture::shop_and_bank()
        .policy(with_kind(ours, "b", allow(Peers::Any, Ports::Any)))
        .policy(with_kind(ours, "a", deny(Peers::Any, Ports::Any)));
    check(
        &by_name,
        by_name.flow("shop/web", "bank/db", tcp(80)),
        Denied,
    );
}

#[test]
fn within_a_policy_the_first_rule_that_matches_decides() {
    let rules = cluster(Tier::Admin(5), "rules", everything())
        .ingress(allow(from_shop(), on(Protocol::Tcp, 80, 80)))
        .ingress(deny(Peers::Any, Ports::Any))
        .ingress(allow(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank().policy(rules);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/web", "bank/db", tcp(81)), Denied);
}

#[test]
fn baseline_speaks_where_no_tenant_does() {
    let base =
        cluster(Tier::Baseline(0), "closed", everything()).ingress(deny(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank().policy(base);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    let world = world.policy(tenant("bank/open", &[]).ingress(allow(from_shop(), Ports::Any)));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn baseline_allow_does_not_open_what_a_tenant_isolates() {
    let base =
        cluster(Tier::Baseline(0), "open", everything()).ingress(allow(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank().policy(base).policy(upstream(
        "bank/closed",
        &[],
        &[Direction::Ingress],
    ));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn baseline_allow_ends_before_segment_isolation_and_pass_does_not() {
    let closed =
        || Fixture::shop_and_bank().segment(closed_segment("bank", in_namespace("bank", &[])));
    let base = |rule| cluster(Tier::Baseline(0), "base", everything()).ingress(rule);
    let allowing = closed().policy(base(allow(Peers::Any, Ports::Any)));
    check(
        &allowing,
        allowing.flow("shop/web", "bank/db", tcp(80)),
        Allowed,
    );
    let passing =
        closed().policy(base(pass(Peers::Any, Ports::Any)).ingress(allow(Peers::Any, Ports::Any)));
    check(
        &passing,
        passing.flow("shop/web", "bank/db", tcp(80)),
        Denied,
    );
}

#[test]
fn a_broad_cidr_deny_is_not_ignored_beside_a_narrower_allow() {
    let strong = cluster(Tier::Admin(1), "deny", everything())
        .egress(deny(networks("192.0.0.0/8", &[]), Ports::Any));
    let weak = cluster(Tier::Admin(2), "allow", everything())
        .egress(allow(networks("192.0.2.1/32", &[]), Ports::Any));
    let world = Fixture::shop_and_bank().policy(strong).policy(weak);
    check(&world, world.flow("shop/web", "192.0.2.1", tcp(80)), Denied);
    check(
        &world,
        world.flow("shop/web", "193.0.2.1", tcp(80)),
        Allowed,
    );
}
