//! Step 3.

use super::fixture::*;
use crate::model::*;
use Expected::*;

fn from_web() -> Peers {
    workloads(anywhere(&[], &[("app", "web")]))
}

#[test]
fn an_explicit_deny_comes_before_every_allow() {
    let world = Fixture::shop_and_bank()
        .policy(
            upstream("bank/a-open", &[], &[Direction::Ingress])
                .ingress(allow(Peers::Any, Ports::Any)),
        )
        .policy(tenant("bank/z-deny", &[]).ingress(deny(from_web(), Ports::Any)));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/db", "bank/db", tcp(80)), Allowed);
}

#[test]
fn allows_of_several_policies_add_up() {
    let isolating = |name: &str, port| {
        upstream(name, &[], &[Direction::Ingress])
            .ingress(allow(Peers::Any, on(Protocol::Tcp, port, port)))
    };
    let world = Fixture::shop_and_bank()
        .policy(isolating("bank/a", 80))
        .policy(isolating("bank/b", 81));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/web", "bank/db", tcp(81)), Allowed);
    check(&world, world.flow("shop/web", "bank/db", tcp(82)), Denied);
}

#[test]
fn a_policy_of_our_kind_isolates_only_where_it_says_so() {
    let grant = tenant("bank/grant", &[]).ingress(allow(from_web(), Ports::Any));
    let world = Fixture::shop_and_bank().policy(grant.clone());
    check(&world, world.flow("shop/db", "bank/db", tcp(80)), Allowed);
    let world = Fixture::shop_and_bank().policy(grant.isolating(Direction::Ingress));
    check(&world, world.flow("shop/db", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
}

#[test]
fn isolation_for_one_direction_does_not_end_the_other() {
    let base = cluster(Tier::Baseline(0), "base", in_namespace("bank", &[]))
        .egress(deny(Peers::Any, Ports::Any));
    let world = Fixture::shop_and_bank()
        .policy(upstream("bank/in", &[], &[Direction::Ingress]))
        .policy(base);
    // Egress of bank goes on to the baseline, which denies it; ingress is isolated.
    check(&world, world.flow("bank/db", "shop/web", tcp(80)), Denied);
    let world = Fixture::shop_and_bank()
        .policy(upstream("bank/in", &[], &[Direction::Ingress]))
        .segment(closed_segment("bank", in_namespace("bank", &[])));
    check(&world, world.flow("bank/db", "shop/web", tcp(80)), Denied);
    let world = Fixture::shop_and_bank().policy(upstream("bank/in", &[], &[Direction::Ingress]));
    check(&world, world.flow("bank/db", "shop/web", tcp(80)), Allowed);
}

#[test]
fn an_isolating_policy_without_rules_closes_everything() {
    let world =
        Fixture::shop_and_bank().policy(upstream("bank/closed", &[], &[Direction::Ingress]));
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Denied);
}

#[test]
fn a_policy_protects_only_pods_that_its_selector_names() {
    let world = Fixture::shop_and_bank().policy(upstream(
        "bank/closed",
        &[("app", "db")],
        &[Direction::Ingress],
    ));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "bank/web", tcp(80)), Allowed);
}

#[test]
fn nothing_namespaced_changes_a_verdict_outside_its_namespace() {
    let reaching = Policy {
        subjects: vec![
            Subject::Selected(WorkloadSelector::everything()),
            Subject::Segment("all".into()),
        ],
        ..upstream(
            "bank/reaching",
            &[],
            &[Direction::Ingress, Direction::Egress],
        )
    };
    let all = Segment {
        isolation: None,
        ..closed_segment("all", WorkloadSelector::everything())
    };
    let world = Fixture::shop_and_bank().policy(reaching).segment(all);
    check(&world, world.flow("shop/web", "shop/db", tcp(80)), Allowed);
    check(&world, world.flow("bank/web", "192.0.2.1", tcp(80)), Denied);
}

#[test]
fn crafted_labels_do_not_leave_the_namespace() {
    let own = upstream("bank/own", &[], &[Direction::Ingress])
        .ingress(allow(workloads(in_namespace("bank", &[])), Ports::Any));
    let crafted = pod(
        "shop/liar",
        "10.0.0.9",
        &[("kubernetes.io/metadata.name", "bank"), ("team", "bank")],
    );
    let world = Fixture::shop_and_bank().policy(own).workload(crafted);
    check(&world, world.flow("shop/liar", "bank/db", tcp(80)), Denied);
    let by_label = upstream("bank/label", &[], &[Direction::Ingress]).ingress(allow(
        workloads(anywhere(&[("team", "bank")], &[])),
        Ports::Any,
    ));
    let world = world.policy(by_label);
    check(&world, world.flow("shop/liar", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Allowed);
}

/// CVE-2024-7598: in a namespace that is being deleted the policies may go before the pods do.
#[test]
fn g11_while_a_namespace_is_deleted_nothing_in_it_is_open() {
    let open =
        upstream("bank/open", &[], &[Direction::Ingress]).ingress(allow(Peers::Any, Ports::Any));
    let closed = upstream("bank/closed", &[("app", "db")], &[Direction::Ingress]);
    let world = Fixture::shop_and_bank().policy(open).policy(closed);
    check(&world, world.flow("shop/web", "bank/web", tcp(80)), Allowed);
    let closing = world.with(Object::Namespace(Namespace {
        name: "bank".into(),
        labels: labels(&[("kubernetes.io/metadata.name", "bank")]),
        closing: true,
    }));
    let closing = closing.delete(ObjectRef::namespaced(Kind::NetworkPolicy, "bank", "closed"));
    for to in ["bank/web", "bank/db"] {
        check(&closing, closing.flow("shop/web", to, tcp(80)), Denied);
    }
    check(
        &closing,
        closing.flow("bank/web", "shop/web", tcp(80)),
        Denied,
    );
    check(
        &closing,
        closing.flow("shop/web", "shop/db", tcp(80)),
        Allowed,
    );
    // What the cluster's tiers say comes first, as ever.
    let admin = cluster(Tier::Admin(1), "dns", WorkloadSelector::everything())
        .egress(allow(Peers::Any, on(Protocol::Udp, 53, 53)));
    let closing = closing.policy(admin);
    check(
        &closing,
        closing.flow("bank/web", "shop/web", udp(53)),
        Allowed,
    );
    // And it ends with the namespace.
    let gone = closing.delete(ObjectRef::cluster(Kind::Namespace, "bank"));
    check(&gone, gone.flow("shop/web", "bank/db", tcp(80)), Allowed);
}
