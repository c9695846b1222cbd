//! A grant ends on time with every other part dead: the deadline lies in the kernel.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::{Instant, StreamId, Transport, now};
use bulkhead_tests::lab::{Family, Plan};
use serde_json::{Value, json};

use crate::guarded::{Guarded, Stream, isolate};

/// From the opening of the streams on; everything has to be in force, killed and flowing by then.
const GRANTED: Duration = Duration::from_secs(4);
/// What the deadline may be missed by.
const LATE: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(20);

/// Whole seconds, as people write them.
fn in_seconds(until: SystemTime) -> i64 {
    i64::try_from(until.duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// `web` may open TCP and UDP port 22 of `db` until then.
fn grant(until: i64) -> Value {
    let ports =
        ["TCP", "UDP"].map(|protocol| json!({"port": {"protocol": protocol, "number": 22}}));
    json!({
        "apiVersion": "bulkhead.dev/v1alpha1", "kind": "SegmentationPolicy",
        "metadata": {"namespace": "shop", "name": "grant"},
        "spec": {
            "subjects": [{"pods": {"matchLabels": {"app": "db"}}}],
            "expiresAt": jiff::Timestamp::from_second(until).unwrap().to_string(),
            "ingress": [{
                "action": "Allow",
                "from": [{"workloads": {"pods": {"matchLabels": {"app": "web"}}}}],
                "ports": ports,
            }],
        },
    })
}

#[test]
fn a_grant_ends_on_time_in_the_kernel_alone_beside_a_permanent_port_of_the_same_rule_set() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 2, &[22, 5432]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    world.expect_silence("shop/web", "shop/db", 22).unwrap();

    // Both clocks at one moment: deadlines are of the wall clock, records of the monotonic one.
    let (wall, monotonic) = (SystemTime::now(), now());
    let until = in_seconds(wall + GRANTED);
    let ahead = UNIX_EPOCH + Duration::from_secs(u64::try_from(until).unwrap());
    let ahead = ahead.duration_since(wall).unwrap();
    let deadline = Instant(monotonic.0 + u64::try_from(ahead.as_nanos()).unwrap());
    world.enforce("grant.json", &grant(until)).unwrap();
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
            records_per_second: 500,
        })
        .map(|stream| (stream, world.open(&stream).unwrap()))
        .into()
    };
    let (granted, permanent) = (open(22), open(5432));
    world.product.kill_controller().unwrap();
    for node in world.lab.plan().nodes().to_vec() {
        world.product.kill_agent(node).unwrap();
    }
    for (stream, id) in granted.iter().chain(&permanent) {
        world.wait_echoes(stream.source, *id, 20).unwrap();
    }
    assert!(now() < deadline, "the machine is too busy for this test");

    let late = Instant(deadline.0 + u64::try_from(LATE.as_nanos()).unwrap());
    Deadline::after(LIMIT)
        .until("the deadline", || Ok((now() >= late).then_some(())))
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
        world.wait_echoes(stream.source, *id, 200).unwrap();
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
        let offset = i128::from(newest.0) - i128::from(deadline.0);
        println!(
            "{:?} over {}: the last record was sent {} ms after the deadline",
            stream.transport,
            stream.family,
            offset / 1_000_000
        );
        assert!(newest <= late, "{stream:?} outlived its grant");
        assert!(
            offset > -i128::try_from(LATE.as_nanos()).unwrap(),
            "{stream:?} was cut before its deadline"
        );
        assert_eq!(
            web.stream(*id).unwrap().echoed,
            before,
            "{stream:?} goes on after its deadline"
        );
    }
    world.expect_silence("shop/web", "shop/db", 22).unwrap();
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
}
