//! Streams over a port that is granted until a moment and over one of the same rule set that is permanent, and how the grant ends.

use std::time::Duration;

use anyhow::Result;
use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::{Instant, StreamId, Transport, now};
use bulkhead_tests::lab::{Family, Plan};
use serde_json::{Value, json};

use crate::guarded::{Guarded, Stream, isolate};

const SOURCE: &str = "shop/web";
const DESTINATION: &str = "shop/db";
/// The port that is granted.
pub(crate) const GRANTED: u16 = 22;
/// The port that is open as long as there is policy.
pub(crate) const PERMANENT: u16 = 5432;
/// What the end may be missed by.
pub(crate) const LATE: Duration = Duration::from_secs(1);

/// A world in which `web` may open the permanent port of `db`, on another node, and nothing else.
pub(crate) fn start() -> Result<Guarded> {
    let plan = Plan::new(2).workload(SOURCE, 1, &[8080])?.workload(
        DESTINATION,
        2,
        &[GRANTED, PERMANENT],
    )?;
    let world = Guarded::start(plan)?;
    world.enforce("db.json", &isolate("shop", "db", &[("web", PERMANENT)]))?;
    Ok(world)
}

/// `web` may open TCP and UDP of the granted port of `db`; `field` of the policy says until when.
pub(crate) fn grant(field: &str, until: &str) -> Value {
    let ports =
        ["TCP", "UDP"].map(|protocol| json!({"port": {"protocol": protocol, "number": GRANTED}}));
    let mut policy = json!({
        "apiVersion": "bulkhead.dev/v1alpha1", "kind": "SegmentationPolicy",
        "metadata": {"namespace": "shop", "name": "grant"},
        "spec": {
            "subjects": [{"pods": {"matchLabels": {"app": "db"}}}],
            "ingress": [{
                "action": "Allow",
                "from": [{"workloads": {"pods": {"matchLabels": {"app": "web"}}}}],
                "ports": ports,
            }],
        },
    });
    policy["spec"][field] = until.into();
    policy
}

/// A moment so much later.
pub(crate) fn after(instant: Instant, more: Duration) -> Instant {
    Instant(instant.0 + nanos(more))
}

/// A moment so much earlier.
pub(crate) fn before(instant: Instant, less: Duration) -> Instant {
    Instant(instant.0 - nanos(less))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap()
}

/// That nothing comes back from the granted port.
pub(crate) fn expect_over(world: &Guarded) -> Result<()> {
    world.expect_silence(SOURCE, DESTINATION, GRANTED)
}

/// Streams of `web` over both ports, of every transport.
pub(crate) struct Streams {
    granted: Vec<(Stream<'static>, StreamId)>,
    permanent: Vec<(Stream<'static>, StreamId)>,
}

impl Streams {
    /// Opens them; records come back on each.
    pub(crate) fn open(world: &Guarded, records_per_second: u32) -> Result<Self> {
        let open = |port: u16| {
            [
                (Transport::Tcp, Family::V4),
                (Transport::Tcp, Family::V6),
                (Transport::Udp, Family::V4),
            ]
            .map(|(transport, family)| Stream {
                source: SOURCE,
                destination: DESTINATION,
                transport,
                family,
                from_port: 0,
                port,
                records_per_second,
            })
            .into_iter()
            .map(|stream| Ok((stream, world.open(&stream)?)))
            .collect::<Result<_>>()
        };
        Ok(Self {
            granted: open(GRANTED)?,
            permanent: open(PERMANENT)?,
        })
    }

    /// Waits until more records have come back on each.
    pub(crate) fn expect_flowing(&self, world: &Guarded) -> Result<()> {
        for (stream, id) in self.granted.iter().chain(&self.permanent) {
            world.wait_echoes(stream.source, *id, 20)?;
        }
        Ok(())
    }

    /// Waits for the end of the grant: the last record over the granted port was sent between `earliest` and shortly after `end`,
    /// and the permanent one was not held up.
    pub(crate) fn expect_end(&self, world: &Guarded, earliest: Instant, end: Instant) {
        let late = after(end, LATE);
        let left = Duration::from_nanos(late.0.saturating_sub(now().0));
        Deadline::after(left + LATE)
            .until("the end of the grant", || Ok((now() >= late).then_some(())))
            .unwrap();
        let web = world.lab.endpoint(SOURCE).unwrap();
        let db = world.lab.endpoint(DESTINATION).unwrap();
        let from = world.lab.addresses(SOURCE).unwrap();
        let echoed: Vec<u64> = self
            .granted
            .iter()
            .map(|(_, id)| web.stream(*id).unwrap().echoed)
            .collect();
        for (stream, id) in &self.permanent {
            // A second of them.
            let more = stream.records_per_second.into();
            world.wait_echoes(stream.source, *id, more).unwrap();
            let state = web.stream(*id).unwrap();
            assert!(
                Duration::from_nanos(state.longest_gap_ns) < LATE,
                "{stream:?} was held up: {state:?}"
            );
        }
        self.expect_permanent(world);
        for ((stream, id), before) in self.granted.iter().zip(echoed) {
            let intake = db
                .intake(stream.transport, GRANTED, from.of(stream.family))
                .unwrap();
            let newest = intake.newest_record.unwrap();
            println!(
                "{:?} over {}: the last record was sent {} ms after the end of the grant",
                stream.transport,
                stream.family,
                (i128::from(newest.0) - i128::from(end.0)) / 1_000_000
            );
            assert!(newest <= late, "{stream:?} outlived its grant");
            assert!(newest >= earliest, "{stream:?} was cut too early");
            assert_eq!(
                web.stream(*id).unwrap().echoed,
                before,
                "{stream:?} goes on after its grant"
            );
        }
        expect_over(world).unwrap();
    }

    /// That records come back over the permanent port, and always have.
    pub(crate) fn expect_permanent(&self, world: &Guarded) {
        let web = world.lab.endpoint(SOURCE).unwrap();
        for (stream, id) in &self.permanent {
            world.wait_echoes(stream.source, *id, 20).unwrap();
            assert_eq!(web.stream(*id).unwrap().error, None, "{stream:?}");
        }
    }
}
