//! Ports, by number and by name.

use super::fixture::*;
use crate::model::*;
use Expected::*;

fn named(name: &str) -> Ports {
    Ports::Of(vec![Port::Named {
        protocol: Protocol::Tcp,
        name: name.into(),
    }])
}

fn serving(path: &str, address: &str, port: u16) -> Workload {
    let port = NamedPort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port,
    };
    Workload {
        named_ports: [port].into(),
        ..pod(path, address, &[("app", "web")])
    }
}

fn admitting(ports: Ports) -> Fixture {
    let policy = upstream("bank/p", &[("app", "db")], &[Direction::Ingress])
        .ingress(allow(Peers::Any, ports));
    Fixture::shop_and_bank().policy(policy)
}

#[test]
fn missing_ports_are_every_protocol_and_port() {
    let world = admitting(Ports::Any);
    check(&world, world.flow("shop/web", "bank/db", tcp(0)), Allowed);
    check(
        &world,
        world.flow("shop/web", "bank/db", (Protocol::Other, 47)),
        Allowed,
    );
}

#[test]
fn an_empty_list_of_ports_is_no_port() {
    let world = admitting(Ports::Of(vec![]));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn ranges_hold_both_ends_and_one_protocol() {
    let world = admitting(on(Protocol::Tcp, 80, 90));
    for (port, expected) in [(79, Denied), (80, Allowed), (90, Allowed), (91, Denied)] {
        check(
            &world,
            world.flow("shop/web", "bank/db", tcp(port)),
            expected,
        );
    }
    check(&world, world.flow("shop/web", "bank/db", udp(80)), Denied);
}

#[test]
fn a_protocol_is_all_its_ports() {
    let world = admitting(Ports::Of(vec![
        Port::Protocol(Protocol::Sctp),
        Port::Protocol(Protocol::Other),
    ]));
    check(
        &world,
        world.flow("shop/web", "bank/db", (Protocol::Sctp, 65535)),
        Allowed,
    );
    check(
        &world,
        world.flow("shop/web", "bank/db", (Protocol::Other, 47)),
        Allowed,
    );
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn an_unreadable_port_is_none_in_an_allow_and_every_one_in_a_deny() {
    let world = admitting(Ports::Of(vec![Port::Unresolved]));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    let web = workloads(anywhere(&[], &[("app", "web")]));
    let denying = tenant("bank/p", &[]).ingress(deny(web, Ports::Of(vec![Port::Unresolved])));
    let world = Fixture::shop_and_bank().policy(denying);
    check(&world, world.flow("shop/web", "bank/db", udp(9)), Denied);
    check(&world, world.flow("shop/db", "bank/db", udp(9)), Allowed);
}

#[test]
fn a_name_means_what_each_destination_says() {
    let out =
        upstream("shop/out", &[], &[Direction::Egress]).egress(allow(Peers::Any, named("http")));
    let world = Fixture::shop_and_bank()
        .workload(serving("bank/one", "10.0.0.11", 8080))
        .workload(serving("bank/two", "10.0.0.12", 9090))
        .policy(out);
    check(
        &world,
        world.flow("shop/web", "bank/one", tcp(8080)),
        Allowed,
    );
    check(
        &world,
        world.flow("shop/web", "bank/one", tcp(9090)),
        Denied,
    );
    check(
        &world,
        world.flow("shop/web", "bank/two", tcp(9090)),
        Allowed,
    );
    check(
        &world,
        world.flow("shop/web", "bank/two", tcp(8080)),
        Denied,
    );
}

#[test]
fn at_ingress_the_destination_is_the_subject() {
    let inward =
        upstream("bank/in", &[], &[Direction::Ingress]).ingress(allow(Peers::Any, named("http")));
    let world = Fixture::shop_and_bank()
        .workload(serving("bank/one", "10.0.0.11", 8080))
        .policy(inward);
    check(
        &world,
        world.flow("shop/web", "bank/one", tcp(8080)),
        Allowed,
    );
    check(&world, world.flow("shop/web", "bank/db", tcp(8080)), Denied);
}

#[test]
fn g11_who_does_not_give_the_name_is_denied_the_whole_protocol() {
    let out = tenant("shop/out", &[]).egress(deny(Peers::Any, named("http")));
    let world = Fixture::shop_and_bank()
        .workload(serving("bank/one", "10.0.0.11", 8080))
        .policy(out);
    check(
        &world,
        world.flow("shop/web", "bank/one", tcp(8080)),
        Denied,
    );
    check(
        &world,
        world.flow("shop/web", "bank/one", tcp(8081)),
        Allowed,
    );
    check(&world, world.flow("shop/web", "bank/db", tcp(8080)), Denied);
    check(&world, world.flow("shop/web", "bank/db", tcp(9)), Denied);
    check(&world, world.flow("shop/web", "bank/db", udp(9)), Allowed);
    check(
        &world,
        world.flow("shop/web", "192.0.2.1", tcp(8080)),
        Allowed,
    );
}

#[test]
fn a_name_belongs_to_its_protocol() {
    let out = upstream("shop/out", &[], &[Direction::Egress]).egress(allow(
        Peers::Any,
        Ports::Of(vec![Port::Named {
            protocol: Protocol::Udp,
            name: "http".into(),
        }]),
    ));
    let world = Fixture::shop_and_bank()
        .workload(serving("bank/one", "10.0.0.11", 8080))
        .policy(out);
    check(
        &world,
        world.flow("shop/web", "bank/one", udp(8080)),
        Denied,
    );
    check(
        &world,
        world.flow("shop/web", "bank/one", tcp(8080)),
        Denied,
    );
}

#[test]
fn an_unknown_destination_may_give_a_name_to_any_port() {
    let out = |rule| {
        Fixture::shop_and_bank().policy(
            tenant("shop/out", &[])
                .isolating(Direction::Egress)
                .egress(rule),
        )
    };
    let world = out(allow(Peers::Any, named("http")));
    check(
        &world,
        world.flow("shop/web", "10.0.0.200", tcp(8080)),
        Denied,
    );
    let denying = tenant("shop/out", &[]).egress(deny(Peers::Any, named("http")));
    let world = Fixture::shop_and_bank().policy(denying);
    check(
        &world,
        world.flow("shop/web", "10.0.0.200", tcp(8080)),
        Denied,
    );
    check(
        &world,
        world.flow("shop/web", "10.0.0.200", udp(8080)),
        Allowed,
    );
}

#[test]
fn another_name_of_the_same_number_does_not_match() {
    let out =
        upstream("shop/out", &[], &[Direction::Egress]).egress(allow(Peers::Any, named("metrics")));
    let world = Fixture::shop_and_bank()
        .workload(serving("bank/one", "10.0.0.11", 8080))
        .policy(out);
    check(
        &world,
        world.flow("shop/web", "bank/one", tcp(8080)),
        Denied,
    );
}

/// The admin's rule is towards the tenant's pods; the tenant takes the name off them.
#[test]
fn g11_a_tenant_does_not_leave_an_admins_rule_by_forgetting_a_name() {
    let admin = cluster(Tier::Admin(1), "no-http", in_namespace("bank", &[]))
        .ingress(deny(Peers::Any, named("http")));
    let world = Fixture::shop_and_bank()
        .policy(admin)
        .workload(serving("bank/web", "10.0.0.3", 8080));
    check(
        &world,
        world.flow("shop/web", "bank/web", tcp(8080)),
        Denied,
    );
    check(&world, world.flow("shop/web", "bank/web", tcp(22)), Allowed);
    let forgotten = world.pod("bank/web", "10.0.0.3", &[("app", "web")]);
    for port in [8080, 22] {
        check(
            &forgotten,
            forgotten.flow("shop/web", "bank/web", tcp(port)),
            Denied,
        );
    }
}

#[test]
fn g11_a_pass_by_a_name_that_nobody_gives_opens_nothing() {
    let admin = cluster(
        Tier::Admin(1),
        "http-is-the-tenants",
        in_namespace("bank", &[]),
    )
    .ingress(pass(Peers::Any, named("http")))
    .ingress(allow(Peers::Any, Ports::Any));
    let closed = upstream("bank/closed", &[], &[Direction::Ingress]);
    let world = Fixture::shop_and_bank().policy(admin).policy(closed);
    check(
        &world,
        world.flow("shop/web", "bank/web", tcp(8080)),
        Denied,
    );
    check(
        &world,
        world.flow("shop/web", "bank/web", udp(8080)),
        Allowed,
    );
}
