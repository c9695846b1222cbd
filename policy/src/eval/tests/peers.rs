//! Empty is not any, and networks match by address.

use super::fixture::*;
use crate::model::*;
use Expected::*;

fn admitting(peers: Peers) -> Fixture {
    let policy = upstream("bank/p", &[("app", "db")], &[Direction::Ingress])
        .ingress(allow(peers, Ports::Any));
    Fixture::shop_and_bank().policy(policy)
}

fn denying(peers: Peers, ports: Ports) -> Fixture {
    Fixture::shop_and_bank().policy(tenant("bank/p", &[("app", "db")]).ingress(deny(peers, ports)))
}

#[test]
fn missing_peers_are_everybody_outside_included() {
    let world = admitting(Peers::Any);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Allowed);
}

#[test]
fn an_empty_list_of_peers_is_nobody() {
    let world = admitting(Peers::Of(vec![]));
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
    let world = denying(Peers::Of(vec![]), Ports::Any);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Allowed);
}

#[test]
fn an_empty_selector_is_every_workload_and_nothing_outside() {
    let world = admitting(workloads(WorkloadSelector::everything()));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Denied);
}

#[test]
fn an_empty_group_is_nobody() {
    let nobody = WorkloadSelector {
        service_accounts: Some([].into()),
        ..WorkloadSelector::everything()
    };
    let world = admitting(workloads(nobody));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn a_missing_segment_is_nobody_in_an_allow_and_everybody_in_a_deny() {
    let world = admitting(in_segment("none"));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    let world = denying(in_segment("none"), on(Protocol::Tcp, 80, 80));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "bank/db", tcp(81)), Allowed);
}

#[test]
fn an_unresolved_peer_is_nobody_in_an_allow_and_everybody_in_a_deny() {
    let world = admitting(Peers::Of(vec![Peer::Unresolved]));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    let world = denying(Peers::Of(vec![Peer::Unresolved]), on(Protocol::Tcp, 80, 80));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "bank/db", tcp(81)), Allowed);
}

#[test]
fn a_pass_of_which_something_is_unresolved_denies_on_its_ports() {
    let shop = || Peer::Workloads(in_namespace("shop", &[]));
    let admin = |peers: Vec<Peer>, ports: Ports| {
        let admin = cluster(Tier::Admin(0), "p", in_namespace("bank", &[]))
            .ingress(pass(Peers::Of(peers), ports))
            .ingress(allow(Peers::Any, Ports::Any));
        Fixture::shop_and_bank().policy(admin)
    };
    for lost in [Peer::Unresolved, Peer::Segment("none".into())] {
        let world = admin(vec![shop(), lost], on(Protocol::Tcp, 80, 80));
        check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
        check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Denied);
        check(&world, world.flow("shop/web", "bank/db", tcp(81)), Allowed);
    }
    let unread = Ports::Of(vec![Port::Unresolved, Port::Protocol(Protocol::Udp)]);
    let world = admin(vec![shop()], unread);
    check(&world, world.flow("shop/web", "bank/db", tcp(81)), Denied);
    check(&world, world.flow("bank/web", "bank/db", tcp(81)), Allowed);
}

#[test]
fn nodes_are_their_addresses_and_not_their_pods() {
    let gateway = Object::Node(Box::new(Node {
        name: "n3".into(),
        labels: labels(&[("role", "gateway")]),
        pod_ranges: [].into(),
        addresses: ["192.0.2.9".parse().unwrap(), "2001:db8::9".parse().unwrap()].into(),
    }));
    let nodes = |with| Peers::Of(vec![Peer::Nodes(LabelSelector::labels(with))]);
    let world = admitting(nodes([("role", "gateway")])).with(gateway.clone());
    check(&world, world.flow("192.0.2.9", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("192.0.2.8", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
    let world = admitting(nodes([("role", "worker")])).with(gateway.clone());
    check(&world, world.flow("192.0.2.9", "bank/db", tcp(80)), Denied);
    let world = denying(nodes([("role", "gateway")]), Ports::Any).with(gateway);
    check(&world, world.flow("192.0.2.9", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
}

#[test]
fn of_a_segment_that_is_read_in_part_an_allow_finds_the_certain_members_and_a_deny_everybody() {
    let mut shop = Segment {
        isolation: None,
        ..closed_segment("shop", in_namespace("shop", &[]))
    };
    shop.members.partial = true;
    let world = admitting(in_segment("shop")).segment(shop.clone());
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
    let world = denying(in_segment("shop"), on(Protocol::Tcp, 80, 80)).segment(shop);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(81)), Allowed);
}

#[test]
fn an_unresolved_peer_does_not_spoil_those_beside_it() {
    let peers = vec![Peer::Unresolved, Peer::Workloads(in_namespace("shop", &[]))];
    let world = admitting(Peers::Of(peers));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn a_segment_as_peer_is_its_members_and_its_networks() {
    let mut shop = Segment {
        isolation: None,
        ..closed_segment("shop", in_namespace("shop", &[]))
    };
    shop.members.networks = vec![network("192.0.2.0/24", &[])];
    let world = admitting(in_segment("shop")).segment(shop);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn networks_match_pods_by_address_and_except_cuts_out() {
    let world = admitting(networks("10.0.0.0/24", &["10.0.0.2/31"]));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("shop/db", "bank/db", tcp(80)), Denied);
}

#[test]
fn what_one_network_excepts_another_may_hold() {
    let peers = vec![
        Peer::Network(network("192.0.2.0/24", &["192.0.2.0/28"])),
        Peer::Network(network("192.0.2.1/32", &[])),
    ];
    let world = admitting(Peers::Of(peers));
    check(&world, world.flow("192.0.2.1", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("192.0.2.2", "bank/db", tcp(80)), Denied);
    check(
        &world,
        world.flow("192.0.2.16", "bank/db", tcp(80)),
        Allowed,
    );
}

#[test]
fn families_do_not_match_each_other() {
    let six = pod("shop/six", "fd00::1", &[]);
    let world = admitting(networks("::/0", &[])).workload(six);
    check(&world, world.flow("shop/six", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn the_ipv6_path_has_policy_too() {
    let six = pod("bank/six", "fd00::2", &[("app", "db")]);
    let world = admitting(workloads(in_namespace("bank", &[]))).workload(six);
    check(
        &world,
        world.flow("2001:db8::1", "bank/six", tcp(80)),
        Denied,
    );
}

#[test]
fn every_operator_of_a_selector_counts() {
    let requirement = |operator| {
        workloads(WorkloadSelector {
            labels: LabelSelector::new([Requirement {
                key: "app".into(),
                operator,
            }]),
            ..WorkloadSelector::everything()
        })
    };
    let bare = || pod("shop/bare", "10.0.0.8", &[]);
    for (operator, web, plain) in [
        (
            Operator::In(["web".into(), "x".into()].into()),
            Allowed,
            Denied,
        ),
        (Operator::NotIn(["web".into()].into()), Denied, Allowed),
        (Operator::NotIn(["db".into()].into()), Allowed, Allowed),
        (Operator::Exists, Allowed, Denied),
        (Operator::DoesNotExist, Denied, Allowed),
    ] {
        let world = admitting(requirement(operator)).workload(bare());
        check(&world, world.flow("shop/web", "bank/db", tcp(80)), web);
        check(&world, world.flow("shop/bare", "bank/db", tcp(80)), plain);
    }
}

#[test]
fn namespaces_are_selected_by_their_labels() {
    let world = admitting(workloads(anywhere(&[("team", "shop")], &[("app", "web")])));
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/db", "bank/db", tcp(80)), Denied);
    check(&world, world.flow("bank/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn a_namespace_without_an_object_is_known_by_its_name_alone() {
    let named = anywhere(&[("kubernetes.io/metadata.name", "lost")], &[]);
    let world = admitting(workloads(named)).pod("lost/pod", "10.0.0.8", &[]);
    check(&world, world.flow("lost/pod", "bank/db", tcp(80)), Allowed);
    let world =
        admitting(workloads(anywhere(&[("team", "shop")], &[]))).pod("lost/pod", "10.0.0.8", &[]);
    check(&world, world.flow("lost/pod", "bank/db", tcp(80)), Denied);
}

#[test]
fn service_accounts_are_identity() {
    let tellers = WorkloadSelector {
        service_accounts: Some(["teller".into()].into()),
        ..in_namespace("shop", &[])
    };
    let teller = Workload {
        service_account: "teller".into(),
        ..pod("shop/teller", "10.0.0.5", &[])
    };
    let world = admitting(workloads(tellers)).workload(teller);
    check(
        &world,
        world.flow("shop/teller", "bank/db", tcp(80)),
        Allowed,
    );
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}
