//! G9: a flood costs whoever makes it, and nobody else a flow. Tables are small here, so that floods can be as well.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bulkhead_tests::lab::endpoint::{Flood, Question, Transport};
use bulkhead_tests::lab::frame::{self, End};
use bulkhead_tests::lab::{Family, Plan};

use crate::guarded::{Guarded, Stream, isolate};

/// Of all workloads of a node together.
const FLOWS: u16 = 2048;
const FLAGS: [&str; 2] = ["--max-flows", "2048"];
/// How many times the capacity one workload tries to fill.
const FACTORS: [u16; 3] = [1, 2, 8];
/// Connections that somebody else opens under each flood.
const CONNECTIONS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(3);

fn stream(
    source: &'static str,
    destination: &'static str,
    transport: Transport,
    port: u16,
) -> Stream<'static> {
    Stream {
        source,
        destination,
        transport,
        family: Family::V4,
        from_port: 0,
        port,
        records_per_second: 200,
    }
}

/// Datagrams from ever new ports, as fast as it goes.
fn flood(world: &Guarded, source: &str, destination: &str, port: u16, count: u16) {
    let own = world.lab.plan().find(source).unwrap();
    let from = End {
        mac: own.mac,
        ip: own.addresses.of(Family::V4),
        port: 0,
    };
    let to = End {
        mac: own.gateway_mac,
        ip: world.lab.addresses(destination).unwrap().of(Family::V4),
        port,
    };
    let flood = Flood {
        interface: "eth0".to_owned(),
        frame: frame::udp(from, to, b""),
        offset: frame::source_port_offset(Family::V4),
        first: 20_000,
        count,
    };
    world.lab.endpoint(source).unwrap().flood(flood).unwrap();
}

/// Every one of many new connections is answered.
fn connections_are_served(world: &Guarded, source: &str, destination: &str, port: u16) {
    let to = SocketAddr::new(
        world.lab.addresses(destination).unwrap().of(Family::V4),
        port,
    );
    let question = Question {
        transport: Transport::Tcp,
        to,
    };
    let client = world.lab.endpoint(source).unwrap();
    let outcomes = client.probe(&[question; CONNECTIONS], PATIENCE).unwrap();
    let refused = outcomes.iter().filter(|o| !o.is_reached()).count();
    assert_eq!(
        refused, 0,
        "{refused} of {CONNECTIONS} connections {source} -> {destination}:{port} were not served"
    );
}

#[test]
fn g9_floods_of_one_two_and_eight_times_the_capacity_cost_nobody_else_a_flow() {
    let plan = Plan::new(2)
        .workload("shop/hog", 1, &[80])
        .and_then(|plan| plan.workload("shop/web", 1, &[80]))
        .and_then(|plan| plan.workload("shop/near", 1, &[80]))
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .and_then(|plan| plan.workload("shop/sink", 2, &[9]))
        .unwrap();
    let world = Guarded::with_agent_flags(plan, &FLAGS).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    let bystanders: Vec<_> = [
        stream("shop/web", "shop/db", Transport::Tcp, 5432),
        stream("shop/web", "shop/near", Transport::Udp, 80),
        stream("shop/near", "shop/sink", Transport::Tcp, 9),
    ]
    .map(|stream| (stream, world.open(&stream).unwrap()))
    .into();
    let node = world.lab.plan().nodes()[0];
    for factor in FACTORS {
        let started = Instant::now();
        let refused = world.counted(node, "budget_by_workload").unwrap();
        // To one that is far and one that is near: tables of both nodes are aimed at.
        for destination in ["shop/sink", "shop/near"] {
            flood(&world, "shop/hog", destination, 9, factor * FLOWS);
        }
        connections_are_served(&world, "shop/web", "shop/db", 5432);
        connections_are_served(&world, "shop/near", "shop/sink", 9);
        connections_are_served(&world, "shop/db", "shop/near", 80);
        let refused = world.counted(node, "budget_by_workload").unwrap() - refused;
        println!(
            "{factor} times: {refused} packets of the flood refused, all in {:?}",
            started.elapsed()
        );
        assert!(refused > 0, "whoever floods is refused");
        for (stream, id) in &bystanders {
            world.wait_echoes(stream.source, *id, 20).unwrap();
        }
    }
    assert_eq!(world.counted(node, "flow_table_full").unwrap(), 0);
    for (stream, id) in &bystanders {
        let state = world
            .lab
            .endpoint(stream.source)
            .unwrap()
            .stream(*id)
            .unwrap();
        assert_eq!((&state.error, state.disorder), (&None, 0), "{stream:?}");
    }
}

#[test]
fn g9_a_name_server_under_one_clients_flood_still_answers_the_others() {
    let plan = Plan::new(2)
        .workload("kube/dns", 1, &[53])
        .and_then(|plan| plan.workload("kube/twin", 1, &[53]))
        .and_then(|plan| plan.workload("shop/hog", 2, &[]))
        .and_then(|plan| plan.workload("shop/web", 2, &[80]))
        .and_then(|plan| plan.workload("shop/near", 1, &[80]))
        .unwrap();
    let world = Guarded::with_agent_flags(plan, &FLAGS).unwrap();
    // An isolated server: what is not judged as a question to it does not pass.
    let mut policy = isolate("kube", "dns", &[("nobody", 53)]);
    policy["spec"]["ingress"][0]["from"] = serde_json::json!([{"everyone": {}}]);
    policy["spec"]["isolates"] = serde_json::json!(["Ingress", "Egress"]);
    world.enforce("dns.json", &policy).unwrap();
    let (server, clients) = (world.lab.plan().nodes()[0], world.lab.plan().nodes()[1]);
    // The client's own budget keeps most of its flood at home; the rest is as much as the server's budget holds.
    flood(&world, "shop/hog", "kube/dns", 53, 8 * FLOWS);
    assert!(world.counted(clients, "budget_by_workload").unwrap() > 0);
    let asks = |source: &str, family: Family| {
        let to = SocketAddr::new(world.lab.addresses("kube/dns").unwrap().of(family), 53);
        let question = |transport| Question { transport, to };
        let questions = [question(Transport::Udp); 32];
        let client = world.lab.endpoint(source).unwrap();
        let outcomes = client.probe(&questions, PATIENCE).unwrap();
        let missing = outcomes.iter().filter(|o| !o.is_reached()).count();
        assert_eq!(
            missing, 0,
            "{source} misses {missing} answers over {family}"
        );
        let tcp = client.probe(&[question(Transport::Tcp)], PATIENCE).unwrap();
        assert!(tcp[0].is_reached(), "{source} over {family}: {tcp:?}");
    };
    let unremembered = world.counted(server, "unremembered").unwrap();
    for source in ["shop/web", "shop/near"] {
        for family in Family::BOTH {
            asks(source, family);
        }
    }
    assert!(
        world.counted(server, "unremembered").unwrap() > unremembered,
        "the server's budget was really used up"
    );
    // An answer needs a question: the server itself may open nothing, budget or not.
    world.expect_silence("kube/dns", "shop/web", 80).unwrap();
    // Its neighbour has its own budget.
    connections_are_served(&world, "shop/web", "kube/twin", 53);
}
