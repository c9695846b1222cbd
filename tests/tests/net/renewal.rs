//! A certificate is renewed while the agent runs, and no program is started anew for that.

use std::time::Duration;

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::{NodeNumber, Plan};

use crate::guarded::{Guarded, isolate};

const LIMIT: Duration = Duration::from_secs(30);

/// When the certificate ends that a node's agent uses, seconds since the epoch.
fn end(world: &Guarded, node: NodeNumber) -> i64 {
    let metrics = world.product.ask_agent(node, "/metrics").unwrap();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("bulkhead_agent_certificate_expiry_timestamp_seconds "));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn a_running_agent_takes_up_a_renewed_certificate() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432, 5433]))
        .unwrap();
    let world = Guarded::start(plan).unwrap();
    let node = world.lab.plan().nodes()[0];
    let before = end(&world, node);
    world.product.renew_keys(node).unwrap();
    Deadline::after(LIMIT)
        .until("a connection with the new keys", || {
            let logs = world.product.logs();
            Ok(logs.contains("connected with the new keys").then_some(()))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", world.product.logs()));
    assert!(
        end(&world, node) > before,
        "the metric tells of the old one"
    );
    // What the controller says comes over it.
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
    world.expect_silence("shop/web", "shop/db", 5433).unwrap();
}
