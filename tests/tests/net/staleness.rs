//! What a policy with `maxStaleness` allows ends in the kernel alone once the controller is silent, and comes back by itself.

use std::time::Duration;

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::NodeNumber;
use bulkhead_tests::lab::endpoint::now;
use serde_json::Value;

use crate::granted::{GRANTED, Streams, after, before, expect_over, grant, start};
use crate::guarded::Guarded;

/// The shortest there is.
const LEASE: Duration = Duration::from_secs(60);
/// How long before a silence begins the last answer may have been asked for, and how old the inputs may have been then.
const UNHEARD: Duration = Duration::from_secs(20);
const LIMIT: Duration = Duration::from_secs(100);

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
    let mut world = start().unwrap();
    let nodes = world.lab.plan().nodes().to_vec();
    world
        .enforce("grant.json", &grant("maxStaleness", "1m"))
        .unwrap();
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

    let streams = Streams::open(&world, 100).unwrap();
    let silent_from = now();
    world.product.kill_controller().unwrap();
    let silent = now();
    for node in &nodes {
        world.product.kill_agent(*node).unwrap();
    }
    streams.expect_flowing(&world).unwrap();
    let earliest = before(after(silent_from, LEASE), UNHEARD);
    streams.expect_end(&world, earliest, after(silent, LEASE));

    // An agent alone, however often it is started, makes nothing of it.
    for node in &nodes {
        world.product.start_agent(*node).unwrap();
    }
    expect_over(&world).unwrap();
    Deadline::after(LIMIT)
        .until("an answer of both agents", || {
            let answers = |node: &NodeNumber| world.product.ask_agent(*node, "/metrics").is_ok();
            Ok(nodes.iter().all(answers).then_some(()))
        })
        .unwrap();
    for node in &nodes {
        assert!(unheard_seconds(&world, *node) >= LEASE.as_secs_f64());
    }
    expect_over(&world).unwrap();
    world.product.start_controller().unwrap();
    Deadline::after(LIMIT)
        .until("the grant to come back", || {
            let reached = world.expect_reached("shop/web", "shop/db", GRANTED);
            Ok(reached.is_ok().then_some(()))
        })
        .unwrap();
    streams.expect_permanent(&world);
}
