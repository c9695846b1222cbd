//! Service addresses at the sender.

use std::net::IpAddr;

use super::fixture::*;
use crate::eval::{Flow, Provenance, World, eval};
use crate::model::*;
use Expected::*;

const CLUSTER_ADDRESS: &str = "172.30.0.1";
const EXTERNAL_ADDRESS: &str = "203.0.113.80";

fn port(port: u16) -> ServicePort {
    ServicePort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port,
    }
}

fn service() -> Object {
    let ip = |address: &str| -> IpAddr { address.parse().unwrap() };
    Object::Service(Box::new(Service {
        namespace: "bank".into(),
        name: "front".into(),
        cluster_addresses: [ip(CLUSTER_ADDRESS)].into(),
        external_addresses: [ip(EXTERNAL_ADDRESS)].into(),
        ports: vec![port(80)],
    }))
}

/// Port 80 of the Service is 8080 there.
fn slice(endpoints: &[&str]) -> Object {
    let endpoints = endpoints.iter().map(|address| Endpoint {
        addresses: [address.parse().unwrap()].into(),
    });
    Object::EndpointSlice(Box::new(EndpointSlice {
        namespace: "bank".into(),
        name: "front-1".into(),
        service: "front".into(),
        ports: vec![port(8080)],
        endpoints: endpoints.collect(),
    }))
}

/// `shop` may open flows to these only.
fn world(endpoints: &[&str], peers: Peers, ports: Ports) -> Fixture {
    Fixture::shop_and_bank()
        .with(service())
        .with(slice(endpoints))
        .policy(upstream("shop/out", &[], &[Direction::Egress]).egress(allow(peers, ports)))
}

fn webs() -> Peers {
    workloads(in_namespace("bank", &[("app", "web")]))
}

const WEB: &str = "10.0.0.3";
const DB: &str = "10.0.1.4";

#[test]
fn an_allowed_endpoint_opens_the_service_on_its_target_port() {
    let world = world(&[WEB], webs(), on(Protocol::Tcp, 8080, 8080));
    check(
        &world,
        world.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Allowed,
    );
}

#[test]
fn the_port_that_clients_use_is_not_the_port_that_is_judged() {
    let world = world(&[WEB], webs(), on(Protocol::Tcp, 80, 80));
    check(
        &world,
        world.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Denied,
    );
}

#[test]
fn every_endpoint_must_be_allowed_because_nobody_else_judges_the_senders_half() {
    let some = world(&[DB, WEB], webs(), Ports::Any);
    check(
        &some,
        some.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Denied,
    );
    let all = world(&[WEB], webs(), Ports::Any);
    check(
        &all,
        all.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Allowed,
    );
    let outside = world(&[WEB, "198.51.100.7"], webs(), Ports::Any);
    check(
        &outside,
        outside.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Denied,
    );
    let both = Peers::Of(vec![
        Peer::Workloads(in_namespace("bank", &[("app", "web")])),
        Peer::Network(network("198.51.100.0/24", &[])),
    ]);
    let both = world(&[WEB, "198.51.100.7"], both, Ports::Any);
    check(
        &both,
        both.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Allowed,
    );
}

/// An admin forbids `shop` the database, which admits everybody. `shop` makes a Service of its own, with one of its own pods
/// and the database behind it.
#[test]
fn g12_a_tenants_service_leads_past_no_admin_rule() {
    let closed = cluster(Tier::Admin(1), "no-db", in_namespace("shop", &[])).egress(deny(
        workloads(in_namespace("bank", &[("app", "db")])),
        Ports::Any,
    ));
    let own = |port_name: &str| ServicePort {
        name: port_name.into(),
        protocol: Protocol::Tcp,
        port: 5432,
    };
    let service = Object::Service(Box::new(Service {
        namespace: "shop".into(),
        name: "lever".into(),
        cluster_addresses: ["172.30.0.9".parse().unwrap()].into(),
        external_addresses: [].into(),
        ports: vec![own("db")],
    }));
    let slice = Object::EndpointSlice(Box::new(EndpointSlice {
        namespace: "shop".into(),
        name: "lever-1".into(),
        service: "lever".into(),
        ports: vec![own("db")],
        endpoints: ["10.0.1.2", "10.0.1.4"]
            .map(|address| Endpoint {
                addresses: [address.parse().unwrap()].into(),
            })
            .into(),
    }));
    let world = Fixture::shop_and_bank()
        .policy(closed)
        .with(service)
        .with(slice);
    let flow = world.flow("shop/web", "172.30.0.9", tcp(5432));
    check(&world, flow, Denied);
    let verdict = eval(&world.0, &flow, NOW);
    assert_eq!(
        verdict.enforced.egress.rule.to_string(),
        "ClusterSegmentationPolicy no-db egress[0], for the endpoint 10.0.1.4 port 5432"
    );
}

#[test]
fn an_unknown_endpoint_is_judged_as_unknown() {
    let world = world(&[WEB, "10.0.0.200"], webs(), Ports::Any);
    check(
        &world,
        world.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Denied,
    );
}

#[test]
fn a_service_without_endpoints_is_closed() {
    let open = Fixture::shop_and_bank().with(service());
    check(
        &open,
        open.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Denied,
    );
    let verdict = eval(
        &open.0,
        &open.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        NOW,
    );
    assert_eq!(
        verdict.enforced.egress.rule.to_string(),
        "Service bank/front has no endpoint"
    );
}

#[test]
fn an_external_address_must_pass_as_a_network_too() {
    let closed = world(&[WEB], webs(), Ports::Any);
    check(
        &closed,
        closed.flow("shop/web", EXTERNAL_ADDRESS, tcp(80)),
        Denied,
    );
    let peers = Peers::Of(vec![
        Peer::Workloads(in_namespace("bank", &[("app", "web")])),
        Peer::Network(network("203.0.113.0/24", &[])),
    ]);
    let open = world(&[WEB], peers, Ports::Any);
    check(
        &open,
        open.flow("shop/web", EXTERNAL_ADDRESS, tcp(80)),
        Allowed,
    );
    let only_network = world(&[WEB], networks("203.0.113.0/24", &[]), Ports::Any);
    check(
        &only_network,
        only_network.flow("shop/web", EXTERNAL_ADDRESS, tcp(80)),
        Denied,
    );
}

#[test]
fn a_port_that_the_service_does_not_have_is_an_address_like_any_other() {
    let closed = world(&[WEB], webs(), Ports::Any);
    check(
        &closed,
        closed.flow("shop/web", CLUSTER_ADDRESS, tcp(81)),
        Denied,
    );
    check(
        &closed,
        closed.flow("shop/web", CLUSTER_ADDRESS, udp(80)),
        Denied,
    );
    let open = Fixture::shop_and_bank().with(service());
    check(
        &open,
        open.flow("shop/web", CLUSTER_ADDRESS, tcp(81)),
        Allowed,
    );
}

#[test]
fn the_receivers_half_is_judged_at_the_endpoint() {
    let closed =
        world(&[WEB], webs(), Ports::Any).policy(upstream("bank/in", &[], &[Direction::Ingress]));
    let verdict = eval(
        &closed.0,
        &closed.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        NOW,
    );
    assert_eq!(verdict.enforced.ingress.rule, Provenance::JudgedAtEndpoint);
    assert!(verdict.allowed());
    check(
        &closed,
        closed.flow("shop/web", "bank/web", tcp(8080)),
        Denied,
    );
}

#[test]
fn through_a_service_a_workload_is_its_own_peer() {
    let world = world(&["10.0.0.1"], webs(), Ports::Any);
    check(
        &world,
        world.flow("shop/web", "shop/web", tcp(8080)),
        Allowed,
    );
    check(
        &world,
        world.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Denied,
    );
}

#[test]
fn named_ports_mean_what_the_endpoint_says() {
    let named = Ports::Of(vec![Port::Named {
        protocol: Protocol::Tcp,
        name: "web".into(),
    }]);
    let port = NamedPort {
        name: "web".into(),
        protocol: Protocol::Tcp,
        port: 8080,
    };
    let serving = Workload {
        named_ports: [port].into(),
        ..pod("bank/web", "10.0.0.3", &[("app", "web")])
    };
    let world = world(&[WEB], webs(), named).workload(serving);
    check(
        &world,
        world.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Allowed,
    );
}

#[test]
fn endpoints_of_the_other_family_are_not_behind_this_address() {
    let world = world(&[WEB, "2001:db8::7"], webs(), Ports::Any);
    check(
        &world,
        world.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Allowed,
    );
}

#[test]
fn who_is_no_workload_has_no_half_to_judge() {
    let world = world(&[WEB], webs(), Ports::Any);
    check(
        &world,
        world.flow("192.0.2.1", CLUSTER_ADDRESS, tcp(80)),
        Allowed,
    );
}

#[test]
fn a_tenant_cannot_take_a_cluster_address_over() {
    let greedy = Service {
        namespace: "aaa".into(),
        name: "greedy".into(),
        cluster_addresses: [].into(),
        external_addresses: [CLUSTER_ADDRESS.parse().unwrap()].into(),
        ports: vec![port(80), port(81)],
    };
    let world = world(&[WEB], webs(), Ports::Any).with(Object::Service(Box::new(greedy)));
    check(
        &world,
        world.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Allowed,
    );
}

#[test]
fn a_workloads_address_must_pass_as_the_workload_whatever_claims_it() {
    let greedy = Service {
        namespace: "bank".into(),
        name: "front".into(),
        cluster_addresses: ["10.0.1.4".parse().unwrap()].into(),
        external_addresses: [].into(),
        ports: vec![port(80)],
    };
    // Behind it stands a web, which is allowed; the address itself is the db's, which is not.
    let world = world(&[WEB], webs(), Ports::Any).with(Object::Service(Box::new(greedy)));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn services_that_share_an_external_address_are_told_apart_by_port() {
    let second = Service {
        namespace: "shop".into(),
        name: "second".into(),
        cluster_addresses: [].into(),
        external_addresses: [EXTERNAL_ADDRESS.parse().unwrap()].into(),
        ports: vec![port(81)],
    };
    let peers = Peers::Of(vec![
        Peer::Workloads(in_namespace("bank", &[("app", "web")])),
        Peer::Network(network("203.0.113.0/24", &[])),
    ]);
    let world = world(&[WEB], peers, Ports::Any).with(Object::Service(Box::new(second)));
    check(
        &world,
        world.flow("shop/web", EXTERNAL_ADDRESS, tcp(80)),
        Allowed,
    );
    // The second one has no endpoints.
    check(
        &world,
        world.flow("shop/web", EXTERNAL_ADDRESS, tcp(81)),
        Denied,
    );
}

/// Room for one address and one port in a namespace.
const TIGHT: ServiceLimits = ServiceLimits {
    addresses: 1,
    ports: 1,
    backends: 100,
};

/// Room for two endpoints in a namespace, each counted once for each address and port.
const CROWDED: ServiceLimits = ServiceLimits {
    addresses: 10,
    ports: 10,
    backends: 2,
};

#[test]
fn a_port_that_there_was_no_room_for_is_denied_and_no_plain_address() {
    let two = Service {
        namespace: "bank".into(),
        name: "front".into(),
        cluster_addresses: [CLUSTER_ADDRESS.parse().unwrap()].into(),
        external_addresses: [].into(),
        ports: vec![port(80), port(81)],
    };
    let world = Fixture(World::new([]).with_service_limits(TIGHT))
        .pod("shop/web", "10.0.0.1", &[])
        .pod("bank/web", "10.0.0.3", &[])
        .with(Object::Service(Box::new(two)))
        .with(slice(&[WEB]));
    check(
        &world,
        world.flow("shop/web", CLUSTER_ADDRESS, tcp(80)),
        Allowed,
    );
    let beyond = world.flow("shop/web", CLUSTER_ADDRESS, tcp(81));
    check(&world, beyond, Denied);
    left_out(
        &world,
        beyond,
        "Service bank/front has ports that were left out, because the Services of its namespace have more than 1 different ports; \
         remove Services or spread them",
    );
}

#[test]
fn g8_a_service_with_more_endpoints_than_there_is_room_for_is_closed_whole() {
    let at = |name: &str, address: &str, numbers: &[u16]| {
        Object::from(Service {
            namespace: "bank".into(),
            name: name.into(),
            cluster_addresses: [address.parse().unwrap()].into(),
            external_addresses: [].into(),
            ports: numbers
                .iter()
                .map(|number| ServicePort {
                    name: format!("p{number}").into(),
                    ..port(*number)
                })
                .collect(),
        })
    };
    let behind = |service: &str, numbers: &[u16], endpoints: &[&str]| {
        let endpoint = |address: &&str| Endpoint {
            addresses: [address.parse().unwrap()].into(),
        };
        Object::from(EndpointSlice {
            namespace: "bank".into(),
            name: format!("{service}-1").into(),
            service: service.into(),
            ports: numbers
                .iter()
                .map(|number| ServicePort {
                    name: format!("p{number}").into(),
                    ..port(8080)
                })
                .collect(),
            endpoints: endpoints.iter().map(endpoint).collect(),
        })
    };
    let world = Fixture(World::new([]).with_service_limits(CROWDED))
        .pod("shop/web", "10.0.0.1", &[])
        .pod("bank/web", "10.0.0.3", &[])
        .with(at("a", "172.30.0.1", &[80]))
        .with(behind("a", &[80], &[WEB]))
        // Two ports, each of which leads to the one endpoint: with the one before, three.
        .with(at("b", "172.30.0.2", &[80, 81]))
        .with(behind("b", &[80, 81], &[WEB]))
        // Who comes later has the room that it did not get.
        .with(at("c", "172.30.0.3", &[80]))
        .with(behind("c", &[80], &[WEB]));
    for (address, expected) in [
        ("172.30.0.1", Allowed),
        ("172.30.0.2", Denied),
        ("172.30.0.3", Allowed),
    ] {
        check(&world, world.flow("shop/web", address, tcp(80)), expected);
    }
    left_out(
        &world,
        world.flow("shop/web", "172.30.0.2", tcp(81)),
        "Service bank/b was left out, because the Services of its namespace have more than 2 endpoints, counted once for each address \
         and port; remove Services or spread them",
    );
}

/// Both sides of the comparison name the Service, the limit and the remedy.
fn left_out(world: &Fixture, flow: Flow, expected: &str) {
    let rule = eval(&world.0, &flow, NOW).enforced.egress.rule;
    assert!(matches!(rule, Provenance::LeftOut(_)), "{rule:?}");
    assert_eq!(rule.to_string(), expected);
}

#[test]
fn g8_services_beyond_the_limit_are_closed_by_name_and_cost_other_namespaces_nothing() {
    let at = |namespace: &str, name: &str, address: &str| {
        Object::Service(Box::new(Service {
            namespace: namespace.into(),
            name: name.into(),
            cluster_addresses: [address.parse().unwrap()].into(),
            external_addresses: [].into(),
            ports: vec![port(80)],
        }))
    };
    let behind = |namespace: &str, service: &str| {
        Object::EndpointSlice(Box::new(EndpointSlice {
            namespace: namespace.into(),
            name: format!("{service}-1").as_str().into(),
            service: service.into(),
            ports: vec![port(8080)],
            endpoints: vec![Endpoint {
                addresses: [WEB.parse().unwrap()].into(),
            }],
        }))
    };
    let world = Fixture(World::new([]).with_service_limits(TIGHT))
        .pod("shop/web", "10.0.0.1", &[])
        .pod("bank/web", "10.0.0.3", &[])
        .with(at("bank", "a", "172.30.0.1"))
        .with(behind("bank", "a"))
        .with(at("bank", "b", "172.30.0.2"))
        .with(behind("bank", "b"))
        .with(at("shop", "c", "172.30.0.3"))
        .with(behind("shop", "c"));
    for (address, expected) in [
        ("172.30.0.1", Allowed),
        ("172.30.0.2", Denied),
        ("172.30.0.3", Allowed),
        ("172.30.0.4", Allowed),
    ] {
        check(&world, world.flow("shop/web", address, tcp(80)), expected);
    }
    left_out(
        &world,
        world.flow("shop/web", "172.30.0.2", tcp(80)),
        "Service bank/b was left out, because the Services of its namespace have more than 1 addresses; remove Services or spread them",
    );
}
