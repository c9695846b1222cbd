//! G1 and G9: what is revoked is dead once the node has acknowledged it, on established flows too, and stays dead.

use std::time::Duration;

use bulkhead_tests::lab::endpoint::{Instant, Intake, Transport, now};
use bulkhead_tests::lab::{Family, Plan};

use crate::guarded::{Guarded, SILENCE, Stream, isolate};

/// From the write of the file to the answer of the controller that every node has read it back. The published bound; the machine
/// that runs the tests may be busy with other things.
const CONVERGENCE_BOUND: Duration = Duration::from_secs(2);
/// How long a packet may take from the last hook to the receiving process.
const QUEUES: Duration = Duration::from_millis(50);
const ROUNDS: u32 = 5;

fn plan() -> Plan {
    Plan::new(2)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 2, &[22, 5432]))
        .and_then(|plan| plan.workload("shop/cart", 1, &[7070]))
        .unwrap()
}

fn between(from: Instant, to: Instant) -> Duration {
    Duration::from_nanos(to.0.saturating_sub(from.0))
}

/// What had passed both hooks before the acknowledgement may still lie in a queue of the receiver's kernel for a moment, where the
/// machine is busy. After that moment nothing arrives, although the sender tries again and again; and nothing at all that was
/// sent after the acknowledgement.
pub(crate) fn assert_no_byte_after(acknowledged: Instant, intake: &dyn Fn() -> Intake) {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap();
    let mut late = Vec::new();
    let mut before = None;
    // Longer than TCP waits before it tries again, twice.
    while now().0 < acknowledged.0 + nanoseconds(QUEUES + 2 * SILENCE) {
        let seen = intake();
        if before.is_some_and(|before: Intake| before.bytes != seen.bytes) {
            late.push((between(acknowledged, now()), seen.bytes, seen.newest_record));
        }
        before = Some(seen);
    }
    let newest = before.and_then(|intake| intake.newest_record);
    assert!(
        newest.is_none_or(|sent| sent <= acknowledged),
        "a record that was sent {:?} after the acknowledgement has arrived: {late:?}",
        newest.map(|sent| between(acknowledged, sent))
    );
    assert!(
        late.iter().all(|(after, ..)| *after < QUEUES),
        "bytes arrived after the acknowledgement at {acknowledged:?}: {late:?}"
    );
}

#[test]
fn g1_a_revoked_edge_cuts_an_established_flow_and_nothing_arrives_after_the_ack() {
    let world = Guarded::start(plan()).unwrap();
    let (open, closed) = (
        isolate("shop", "db", &[("web", 5432)]),
        isolate("shop", "db", &[("cart", 5432)]),
    );
    let (web, db) = (
        world.lab.endpoint("shop/web").unwrap(),
        world.lab.endpoint("shop/db").unwrap(),
    );
    let from = world.lab.addresses("shop/web").unwrap();
    for round in 0..ROUNDS {
        world.enforce("db.json", &open).unwrap();
        let flow = |transport, family, records_per_second| Stream {
            source: "shop/web",
            destination: "shop/db",
            transport,
            family,
            from_port: 0,
            port: 5432,
            records_per_second,
        };
        let family = if round % 2 == 0 {
            Family::V4
        } else {
            Family::V6
        };
        let tcp = world.open(&flow(Transport::Tcp, family, 1000)).unwrap();
        let udp = world.open(&flow(Transport::Udp, family, 10_000)).unwrap();
        let (written, acknowledged) = world
            .product
            .settle_timed(
                || world.product.apply("db.json", &closed.to_string()),
                |_| true,
            )
            .unwrap();
        assert_no_byte_after(acknowledged, &|| {
            db.intake(Transport::Tcp, 5432, from.of(family)).unwrap()
        });
        let newest = db
            .intake(Transport::Udp, 5432, from.of(family))
            .unwrap()
            .newest_record
            .unwrap();
        assert!(
            web.stream(udp).unwrap().records > 1000,
            "datagrams were really sent"
        );
        assert!(
            newest <= acknowledged,
            "round {round}: a datagram sent after the acknowledgement has arrived"
        );
        let took = between(written, acknowledged);
        println!(
            "round {round}: last datagram {:?}, acknowledgement {took:?} after the file was written",
            between(written, newest)
        );
        assert!(
            took < CONVERGENCE_BOUND,
            "round {round}: {took:?} from the file to the acknowledgement"
        );
        web.close(tcp).unwrap();
        web.close(udp).unwrap();
    }
}

#[test]
fn g9_a_revoked_flow_stays_dead_beside_an_allowed_reverse_direction() {
    let world = Guarded::start(plan()).unwrap();
    // db may always open web:443; web may open db:22, at first.
    world
        .enforce("web.json", &isolate("shop", "web", &[("db", 443)]))
        .unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 22)]))
        .unwrap();
    let (web, db) = (
        world.lab.endpoint("shop/web").unwrap(),
        world.lab.endpoint("shop/db").unwrap(),
    );
    let from = world.lab.addresses("shop/web").unwrap();
    let flow = |transport, family| Stream {
        source: "shop/web",
        destination: "shop/db",
        transport,
        family,
        from_port: 443,
        port: 22,
        records_per_second: 500,
    };
    let flows: Vec<_> = [
        (Transport::Tcp, Family::V4),
        (Transport::Tcp, Family::V6),
        (Transport::Udp, Family::V6),
    ]
    .into_iter()
    .map(|(transport, family)| flow(transport, family))
    .map(|stream| (stream, world.open(&stream).unwrap()))
    .collect();
    world
        .enforce("db.json", &isolate("shop", "db", &[("cart", 22)]))
        .unwrap();
    let acknowledged = now();
    let intake = |stream: &Stream<'_>| {
        db.intake(stream.transport, 22, from.of(stream.family))
            .unwrap()
    };
    // The reverse direction is open: nobody listens there, and the refusal comes back.
    for _ in 0..3 {
        world.expect_reached("shop/db", "shop/web", 443).unwrap();
    }
    for (stream, _) in flows
        .iter()
        .filter(|(stream, _)| stream.transport == Transport::Tcp)
    {
        assert_no_byte_after(acknowledged, &|| intake(stream));
    }
    for (stream, id) in &flows {
        if stream.transport == Transport::Udp {
            assert!(
                intake(stream).newest_record.unwrap() <= acknowledged,
                "{stream:?} has come back to life"
            );
        }
        web.close(*id).unwrap();
    }
}
