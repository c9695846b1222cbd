//! What a policy with `maxStaleness` allows ends in the kernel alone once the controller is silent, and comes back by itself.

use std::time::Duration;

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::{Instant, StreamId, Transport, now};
use bulkhead_tests::lab::{Family, NodeNumber, Plan};
use serde_json::{Value, json};

use crate::guarded::{Guarded, Stream, isolate};

/// The shortest there is.
const LEASE: Duration = Duration::from_secs(60);
/// How long before a silence begins the last answer may have been asked for, and how old the inputs may have been then.
const UNHEARD: Duration = Duration::from_secs(20);
/// What the end may be missed by.
const LATE: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(100);

/// `web` may open TCP and UDP port 22 of `db` while the controller is heard.
fn grant() -> Value {
    let ports =
        ["TCP", "UDP"].map(|protocol| json!({"port": {"protocol": protocol, "number": 22}}));
    json!({
        "apiVersion": "bulkhead.dev/v1alpha1", "kind": "SegmentationPolicy",
        "metadata": {"namespace": "shop", "name": "grant"},
        "spec": {
            "subjects": [{"pods": {"matchLabels": {"app": "db"}}}],
            "maxStaleness": "1m",
            "ingress": [{
                "action": "Allow",
                "from": [{"workloads": {"pods": {"matchLabels": {"app": "web"}}}}],
                "ports": ports,
            }],
        },
    })
}

fn after(instant: Instant, more: Duration) -> Instant {
    Instant(instant.0 + u64::try_from(more.as_nanos()).unwrap())
}

/// Of a node's metrics.
fn unheard_seconds(world: &Guarded, node: NodeNumber) -> f64 {
    let metrics = world.product.ask_agent(node, "/metrics").unwrap();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("bulkhead_agent_unheard_seconds "));
    match line.unwrap().trim() {
        "+Inf" | "inf" => f64::INFINITY,
        number => number.parse().unwrap(),
    }
}

#[test]
fn what_a_stale_policy_allows_ends_in_the_kernel_alone_and_comes_back_when_the_controller_does() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 2, &[22, 5432]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    let nodes = world.lab.plan().nodes().to_vec();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    world.enforce("grant.json", &grant()).unwrap();
    Deadline::after(LIMIT)
        .until("both nodes to have heard that they are right", || {
            let heard = nodes
                .iter()
                .all(|node| unheard_seconds(&world, *node) < UNHEARD.as_secs_f64());
            Ok(heard.then_some(()))
        })
        .unwrap();
    let status = world.product.ask_controller("/status").unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    for node in status["nodes"].as_array().unwrap() {
        assert!(node["heard_at_ms"].as_i64().unwrap() > 0, "{node}");
    }

    let open = |port: u16| -> Vec<(Stream<'static>, StreamId)> {
        [
            (Transport::Tcp, Family::V4),
            (Transport::Tcp, Family::V6),
            (Transport::Udp, Family::V4),
        ]
        .map(|(transport, family)| Stream {
            source: "shop/web",
            destination: "shop/db",
            transport,
            family,
            from_port: 0,
            port,
            records_per_second: 100,
        })
        .map(|stream| (stream, world.open(&stream).unwrap()))
        .into()
    };
    let (granted, permanent) = (open(22), open(5432));
    let silent_from = now();
    world.product.kill_controller().unwrap();
    let silent = now();
    for node in &nodes {
        world.product.kill_agent(*node).unwrap();
    }
    for (stream, id) in granted.iter().chain(&permanent) {
        world.wait_echoes(stream.source, *id, 20).unwrap();
    }

    let (end, late) = (after(silent, LEASE), after(after(silent, LEASE), LATE));
    let earliest =
        Instant(after(silent_from, LEASE).0 - u64::try_from(UNHEARD.as_nanos()).unwrap());
    Deadline::after(LIMIT)
        .until("the end of the lease", || Ok((now() >= late).then_some(())))
        .unwrap();
    let (web, db) = (
        world.lab.endpoint("shop/web").unwrap(),
        world.lab.endpoint("shop/db").unwrap(),
    );
    let from = world.lab.addresses("shop/web").unwrap();
    let echoed: Vec<u64> = granted
        .iter()
        .map(|(_, id)| web.stream(*id).unwrap().echoed)
        .collect();
    for (stream, id) in &permanent {
        world.wait_echoes(stream.source, *id, 100).unwrap();
        let state = web.stream(*id).unwrap();
        assert_eq!(state.error, None, "{stream:?}");
        assert!(
            Duration::from_nanos(state.longest_gap_ns) < LATE,
            "{stream:?} was held up: {state:?}"
        );
    }
    for ((stream, id), before) in granted.iter().zip(echoed) {
        let intake = db
            .intake(stream.transport, 22, from.of(stream.family))
            .unwrap();
        let newest = intake.newest_record.unwrap();
        println!(
            "{:?} over {}: the last record was sent {} ms before the longest it may",
            stream.transport,
            stream.family,
            (i128::from(end.0) - i128::from(newest.0)) / 1_000_000
        );
        assert!(newest <= late, "{stream:?} outlived its lease");
        assert!(newest >= earliest, "{stream:?} was cut too early");
        assert_eq!(
            web.stream(*id).unwrap().echoed,
            before,
            "{stream:?} goes on after its lease"
        );
    }
    world.expect_silence("shop/web", "shop/db", 22).unwrap();

    // An agent alone, however often it is started, makes nothing of it.
    for node in &nodes {
        world.product.start_agent(*node).unwrap();
    }
    world.expect_silence("shop/web", "shop/db", 22).unwrap();
    Deadline::after(LIMIT)
        .until("an answer of both agents", || {
            let answers = |node: &NodeNumber| world.product.ask_agent(*node, "/metrics").is_ok();
            Ok(nodes.iter().all(answers).then_some(()))
        })
        .unwrap();
    for node in &nodes {
        assert!(unheard_seconds(&world, *node) >= LEASE.as_secs_f64());
    }
    world.expect_silence("shop/web", "shop/db", 22).unwrap();
    world.product.start_controller().unwrap();
    Deadline::after(LIMIT)
        .until("the grant to come back", || {
            let reached = world.expect_reached("shop/web", "shop/db", 22);
            Ok(reached.is_ok().then_some(()))
        })
        .unwrap();
    for (stream, id) in &permanent {
        world.wait_echoes(stream.source, *id, 20).unwrap();
        assert_eq!(
            world
                .lab
                .endpoint("shop/web")
                .unwrap()
                .stream(*id)
                .unwrap()
                .error,
            None
        );
    }
}
