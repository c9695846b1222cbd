//! G3: whatever happens to agents and to other people's policies, an allowed flow does not notice, and what is forbidden stays so.

use std::time::Duration;

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::Transport;
use bulkhead_tests::lab::{Family, Plan};

use crate::guarded::{Guarded, Stream, isolate};

const REVISIONS: u16 = 100;
/// Of each agent and of the controller.
const KILLS: u16 = 10;

#[test]
fn g3_through_a_hundred_revisions_and_thirty_kills_no_flow_is_reset_and_nothing_forbidden_passes() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .and_then(|plan| plan.workload("shop/batch", 1, &[9000]))
        .and_then(|plan| plan.workload("shop/jobs", 2, &[9000]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    let flows: Vec<_> = [
        (Transport::Tcp, Family::V4),
        (Transport::Tcp, Family::V6),
        (Transport::Udp, Family::V4),
    ]
    .into_iter()
    .map(|(transport, family)| Stream {
        source: "shop/web",
        destination: "shop/db",
        transport,
        family,
        from_port: 0,
        port: 5432,
        records_per_second: 500,
    })
    .map(|stream| (stream, world.open(&stream).unwrap()))
    .collect();
    // Somebody knocks at a closed door all the time.
    let forbidden: Vec<_> = Family::BOTH
        .into_iter()
        .map(|family| Stream {
            source: "shop/batch",
            destination: "shop/db",
            transport: Transport::Udp,
            family,
            from_port: 0,
            port: 5432,
            records_per_second: 500,
        })
        .map(|stream| (stream, world.begin(&stream).unwrap()))
        .collect();
    let nodes = world.lab.plan().nodes().to_vec();
    let per_kill = REVISIONS / KILLS;
    for revision in 0..REVISIONS {
        // Other workloads, one on each node, change all the time.
        world
            .enforce(
                "batch.json",
                &isolate("shop", "batch", &[("jobs", 9000 + revision)]),
            )
            .unwrap();
        if revision % per_kill == 0 {
            world.product.kill_controller().unwrap();
            for node in &nodes {
                world.product.kill_agent(*node).unwrap();
            }
            world.expect_silence("shop/batch", "shop/db", 5432).unwrap();
            for (stream, id) in &flows {
                world.wait_echoes(stream.source, *id, 20).unwrap();
            }
            for node in &nodes {
                world.product.start_agent(*node).unwrap();
            }
            world.product.start_controller().unwrap();
            world.product.wait_settled().unwrap();
        }
    }
    let (batch, db) = (
        world.lab.endpoint("shop/batch").unwrap(),
        world.lab.endpoint("shop/db").unwrap(),
    );
    let from = world.lab.addresses("shop/batch").unwrap();
    for (stream, id) in &forbidden {
        let sent = batch.stream(*id).unwrap();
        let intake = db
            .intake(stream.transport, stream.port, from.of(stream.family))
            .unwrap();
        assert!(sent.records > 1000, "{stream:?} was really sent: {sent:?}");
        assert_eq!(intake.bytes, 0, "{stream:?} has arrived: {intake:?}");
        batch.close(*id).unwrap();
    }
    world.expect_silence("shop/batch", "shop/db", 5432).unwrap();
    let web = world.lab.endpoint("shop/web").unwrap();
    for (stream, id) in &flows {
        world.wait_echoes(stream.source, *id, 20).unwrap();
        let sent = web.stream(*id).unwrap();
        println!(
            "{} of {} records came back, longest pause {:?}",
            sent.echoed,
            sent.records,
            Duration::from_nanos(sent.longest_gap_ns)
        );
        assert_eq!(sent.error, None, "{stream:?} was reset");
        assert_eq!(sent.disorder, 0, "{stream:?} has lost records");
        web.close(*id).unwrap();
    }
}

#[test]
fn g3_a_restart_with_nothing_changed_writes_nothing() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    let node = world.lab.plan().nodes()[0];
    world.product.kill_agent(node).unwrap();
    world.product.start_agent(node).unwrap();
    let ready = || world.product.ask_agent(node, "/readyz").map(Some);
    Deadline::after(Duration::from_secs(10))
        .until("the agent ready again", ready)
        .unwrap();
    world.product.wait_settled().unwrap();
    let metrics = world.product.ask_agent(node, "/metrics").unwrap();
    let writes = metrics
        .lines()
        .find(|line| line.starts_with("bulkhead_agent_map_writes_total "));
    assert_eq!(
        writes,
        Some("bulkhead_agent_map_writes_total 0"),
        "{metrics}"
    );
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
}

#[test]
fn the_controller_gone_nothing_opens_and_nothing_is_cut() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432, 5433]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    world.product.kill_controller().unwrap();
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
    world.expect_silence("shop/web", "shop/db", 5433).unwrap();
    world.product.start_controller().unwrap();
    world.product.wait_settled().unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5433)]))
        .unwrap();
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();
    Deadline::after(Duration::from_secs(5))
        .until("the new rule in force", || {
            world.expect_reached("shop/web", "shop/db", 5433).map(Some)
        })
        .unwrap();
}

#[test]
fn g1_a_revocation_outlives_a_failing_disk_a_kill_of_the_agent_and_the_loss_of_the_controller() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
    let node = world.lab.plan().nodes()[0];
    let state = world.lab.folder().join("state").join(node.name());
    // In the place of the file that a graph is written to. The last graph may still be on its way to a slow disk.
    Deadline::after(Duration::from_secs(10))
        .until("no graph being written", || {
            std::fs::create_dir(state.join("graph.new"))?;
            Ok(Some(()))
        })
        .unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[]))
        .unwrap();
    world.product.kill_agent(node).unwrap();
    world.product.kill_controller().unwrap();
    world.product.start_agent(node).unwrap();
    Deadline::after(Duration::from_secs(10))
        .until("the agent up again", || {
            world.product.ask_agent(node, "/healthz").map(Some)
        })
        .unwrap();
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();
    let ready = world.product.ask_agent(node, "/readyz").unwrap_err();
    assert!(
        format!("{ready:#}").contains("no revision that this agent has read back"),
        "{ready:#}"
    );
    std::fs::remove_dir(state.join("graph.new")).unwrap();
    // With the controller back the node goes on as if nothing had been.
    world.product.start_controller().unwrap();
    world.product.wait_settled().unwrap();
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
}
