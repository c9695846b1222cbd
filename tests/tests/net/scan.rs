//! A port scan: denied, counted, told of at a bounded rate.

use std::time::Duration;

use anyhow::{Result, ensure};
use bulkhead_datapath::frame::SYN;
use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::Flood;
use bulkhead_tests::lab::frame::{self, End};
use bulkhead_tests::lab::{Family, Plan};

use crate::guarded::{Guarded, isolate};

const PATIENCE: Duration = Duration::from_secs(3);
const SCANNED: u16 = 1000;

#[test]
fn a_port_scan_is_denied_and_counted_and_hides_no_other_workloads_denials() {
    let plan = Plan::new(2)
        .workload("shop/scanner", 1, &[])
        .and_then(|plan| plan.workload("shop/web", 1, &[80]))
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .and_then(|plan| plan.workload("shop/cache", 2, &[6379]))
        .unwrap();
    let world = Guarded::start(plan).unwrap();
    for app in ["db", "cache"] {
        world
            .enforce(
                &format!("{app}.json"),
                &isolate("shop", app, &[("web", 80)]),
            )
            .unwrap();
    }
    let db = world.lab.plan().find("shop/db").unwrap().clone();
    let scanner = world.lab.plan().find("shop/scanner").unwrap().clone();
    let events = world.events(db.node).unwrap();
    for family in Family::BOTH {
        let before = world.denied(db.node).unwrap();
        let from = End {
            mac: scanner.mac,
            ip: scanner.addresses.of(family),
            port: 4000,
        };
        let to = End {
            mac: scanner.gateway_mac,
            ip: db.addresses.of(family),
            port: 0,
        };
        let scan = Flood {
            interface: "eth0".to_owned(),
            frame: frame::tcp(from, to, SYN),
            offset: frame::source_port_offset(family) + 2,
            first: 1,
            count: SCANNED,
        };
        let client = world.lab.endpoint("shop/scanner").unwrap();
        client.flood(scan).unwrap();
        world.wait_denied(db.node, before, SCANNED.into()).unwrap();
    }
    // Events are told at a bounded rate for each workload, and what is left out is counted, exactly.
    let number = |prefix: &str| -> Result<u64> {
        let metrics = world.product.ask_agent(db.node, "/metrics")?;
        let line = metrics.lines().find(|line| line.starts_with(prefix));
        Ok(line
            .and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0))
    };
    Deadline::after(PATIENCE)
        .until("every denial told of or counted as left out", || {
            let told = number("bulkhead_agent_events_total{kind=\"denied\"}")?;
            let lost = number("bulkhead_agent_observations_lost{what=\"event_rate_limited\"}")?;
            ensure!(
                told + lost == 2 * u64::from(SCANNED),
                "{told} denials told, {lost} only counted"
            );
            ensure!(lost > 0, "the scan is faster than what is told");
            println!("{told} denials told, {lost} only counted");
            Ok(Some(()))
        })
        .unwrap();
    // Whoever else is denied something is told of, also while db's scan fills everything that db is granted.
    world.expect_silence("shop/web", "shop/cache", 22).unwrap();
    let told = std::iter::from_fn(|| events.recv_timeout(PATIENCE).ok())
        .any(|event| event["kind"] == "denied" && event["destination"]["workload"] == "shop/cache");
    assert!(told, "the denial of another workload was told of");
}
