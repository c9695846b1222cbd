//! What a namespace may take of its nodes with the peers of its policies.

use super::fixture::*;
use crate::model::*;
use Expected::*;

/// Four pods, and room for as many: each beyond is one of somebody else.
fn tight(workloads: usize) -> Fixture {
    let limits = PeerLimits {
        lists: 4,
        workloads,
    };
    Fixture(Fixture::shop_and_bank().0.with_peer_limits(limits))
}

/// Everybody whose `app` is none of these.
fn all_but(apps: &[&str]) -> Peers {
    let apps = apps.iter().map(|app| Interned::from(*app));
    workloads(WorkloadSelector {
        labels: LabelSelector::new([Requirement {
            key: "app".into(),
            operator: Operator::NotIn(apps.collect()),
        }]),
        ..WorkloadSelector::everything()
    })
}

fn shop_web() -> Peers {
    workloads(in_namespace("shop", &[("app", "web")]))
}

fn closed(path: &str) -> Policy {
    upstream(path, &[], &[Direction::Ingress])
}

#[test]
fn g8_peers_beyond_the_limit_are_nobody_in_an_allow_and_the_smallest_stay() {
    let world = |room| {
        tight(room)
            .policy(closed("bank/a").ingress(allow(all_but(&["x"]), Ports::Any)))
            .policy(closed("bank/b").ingress(allow(shop_web(), Ports::Any)))
    };
    for (room, others) in [(5, Allowed), (4, Denied), (1, Denied)] {
        let world = world(room);
        check(&world, world.flow("shop/db", "bank/db", tcp(80)), others);
        check(&world, world.flow("shop/web", "bank/db", tcp(80)), Allowed);
    }
    let world = world(0);
    check(&world, world.flow("shop/web", "bank/db", tcp(80)), Denied);
}

#[test]
fn g8_peers_beyond_the_limit_are_everybody_in_a_deny() {
    let policy = tenant("bank/a", &[]).ingress(deny(all_but(&["web"]), Ports::Any));
    for (room, web) in [(2, Allowed), (1, Denied)] {
        let world = tight(room).policy(policy.clone());
        check(&world, world.flow("shop/web", "bank/db", tcp(80)), web);
        check(&world, world.flow("shop/db", "bank/db", tcp(80)), Denied);
        // Nobody else's subject is concerned.
        check(&world, world.flow("bank/db", "shop/web", tcp(80)), Allowed);
    }
}

#[test]
fn g8_what_one_namespace_has_no_room_for_others_have() {
    let greedy = |number: u32| {
        let app = format!("x{number}");
        let name = format!("bank/{number}");
        closed(&name).ingress(allow(all_but(&[app.as_str()]), Ports::Any))
    };
    let admin = cluster(Tier::Admin(1), "admin", in_namespace("bank", &[]))
        .ingress(allow(all_but(&["web", "x1"]), Ports::Any));
    let world = (0..9).map(greedy).fold(tight(4), Fixture::policy);
    let world = world
        .policy(closed("shop/a").ingress(allow(all_but(&["x1"]), Ports::Any)))
        .policy(admin);
    check(&world, world.flow("bank/db", "shop/web", tcp(80)), Allowed);
    check(&world, world.flow("shop/db", "bank/db", tcp(80)), Allowed);
}

#[test]
fn g8_of_too_many_different_peers_the_first_have_room() {
    let policy = ["a", "b", "c", "d", "e"]
        .iter()
        .fold(closed("bank/a"), |policy, app| {
            let peers = workloads(in_namespace("shop", &[("app", app)]));
            policy.ingress(allow(peers, Ports::Any))
        });
    let pods = |world: Fixture| {
        world.pod("shop/a", "10.0.0.10", &[("app", "a")]).pod(
            "shop/e",
            "10.0.0.11",
            &[("app", "e")],
        )
    };
    let world = pods(tight(100)).policy(policy.clone());
    check(&world, world.flow("shop/a", "bank/db", tcp(80)), Allowed);
    check(&world, world.flow("shop/e", "bank/db", tcp(80)), Denied);
    // The same one again is none more, and everybody is none at all.
    let mut fewer = policy;
    fewer.ingress[1] = fewer.ingress[0].clone();
    let world = pods(tight(100)).policy(fewer.clone());
    check(&world, world.flow("shop/e", "bank/db", tcp(80)), Allowed);
    let everybody = workloads(WorkloadSelector::everything());
    let world = pods(tight(0)).policy(closed("bank/a").ingress(allow(everybody, Ports::Any)));
    check(&world, world.flow("shop/e", "bank/db", tcp(80)), Allowed);
}

#[test]
fn g8_names_of_ports_on_egress_are_lists_too() {
    let sql = |protocol| {
        Ports::Of(vec![Port::Named {
            protocol,
            name: "sql".into(),
        }])
    };
    let named = |action: fn(Peers, Ports) -> Rule| {
        let policy = tenant("shop/a", &[("app", "web")]).isolating(Direction::Egress);
        policy.egress(action(Peers::Any, sql(Protocol::Tcp)))
    };
    let world = |room| {
        let mut db = pod("bank/sql", "10.0.1.9", &[]);
        db.named_ports = [NamedPort {
            name: "sql".into(),
            protocol: Protocol::Tcp,
            port: 5432,
        }]
        .into();
        tight(room).workload(db)
    };
    // One gives the name.
    for (room, expected) in [(1, Allowed), (0, Denied)] {
        let world = world(room).policy(named(allow));
        check(
            &world,
            world.flow("shop/web", "bank/sql", tcp(5432)),
            expected,
        );
    }
    // In a Deny those count who do not: it closes the whole protocol to them. Without room it closes everything.
    let open = tenant("shop/b", &[]).egress(allow(Peers::Any, Ports::Any));
    for (room, expected) in [(5, Allowed), (4, Denied)] {
        let world = world(room).policy(named(deny)).policy(open.clone());
        check(
            &world,
            world.flow("shop/web", "bank/sql", tcp(80)),
            expected,
        );
        check(
            &world,
            world.flow("shop/web", "bank/sql", tcp(5432)),
            Denied,
        );
    }
}

#[test]
fn peers_of_policies_count_before_these_are_in_force() {
    let later = Policy {
        active_from: Some(Timestamp(NOW.0 + 1)),
        ..closed("bank/a").ingress(allow(all_but(&["db", "web"]), Ports::Any))
    };
    let now = closed("bank/b").ingress(allow(all_but(&["web"]), Ports::Any));
    let small = later.clone().ingress(allow(shop_web(), Ports::Any));
    for (first, expected) in [(later, Allowed), (small, Denied)] {
        let world = tight(2).policy(first).policy(now.clone());
        check(&world, world.flow("shop/db", "bank/db", tcp(80)), expected);
    }
}
