//! G1 under faults: numbered probes at a high rate, edges revoked and granted at random, agents and controller killed in the
//! middle of it. What was sent after the acknowledgement of a revocation never arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::endpoint::{Instant, StreamId, Transport, now};
use bulkhead_tests::lab::{Family, NodeNumber, Plan};
use fastrand::Rng;

use crate::guarded::{Guarded, Stream, isolate};

const ROUNDS: u32 = 16;
/// Two streams of datagrams and one connection on each of the ports; ten thousand datagrams a second in all.
const PORTS: [u16; 3] = [5001, 5002, 5003];
const DATAGRAMS_PER_SECOND: u32 = 1_700;
const SEGMENTS_PER_SECOND: u32 = 300;
/// For how long a revoked edge is watched before the next change may open it again.
const WATCHED: Duration = Duration::from_millis(250);
const LIMIT: Duration = Duration::from_secs(10);

/// What goes wrong while a revision travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    AgentOfSender,
    AgentOfReceiver,
    Controller,
    Everything,
}

impl Fault {
    const ALL: [Self; 5] = [
        Self::Nothing,
        Self::AgentOfSender,
        Self::AgentOfReceiver,
        Self::Controller,
        Self::Everything,
    ];

    /// Kills whom the fault concerns, and starts it again.
    fn strike(self, world: &mut Guarded, sender: NodeNumber, receiver: NodeNumber) {
        let (controller, agents): (bool, &[NodeNumber]) = match self {
            Self::Nothing => (false, &[]),
            Self::AgentOfSender => (false, &[sender]),
            Self::AgentOfReceiver => (false, &[receiver]),
            Self::Controller => (true, &[]),
            Self::Everything => (true, &[sender, receiver]),
        };
        if controller {
            world.product.kill_controller().unwrap();
        }
        for node in agents {
            world.product.kill_agent(*node).unwrap();
        }
        if controller {
            world.product.start_controller().unwrap();
        }
        for node in agents {
            world.product.start_agent(*node).unwrap();
        }
    }
}

/// Datagrams go on whatever becomes of them; a connection has to be opened anew once it was cut for long.
struct Probe {
    stream: Stream<'static>,
    id: StreamId,
}

fn streams(port: u16) -> impl Iterator<Item = Stream<'static>> {
    let stream = move |transport, family, records_per_second| Stream {
        source: "shop/web",
        destination: "shop/db",
        transport,
        family,
        from_port: 0,
        port,
        records_per_second,
    };
    [
        stream(Transport::Udp, Family::V4, DATAGRAMS_PER_SECOND),
        stream(Transport::Udp, Family::V6, DATAGRAMS_PER_SECOND),
        stream(Transport::Tcp, Family::V4, SEGMENTS_PER_SECOND),
    ]
    .into_iter()
}

#[test]
fn g1_random_revocations_with_faults_let_nothing_pass_after_their_acknowledgement() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[])
        .and_then(|plan| plan.workload("shop/db", 2, &PORTS))
        .and_then(|plan| plan.workload("shop/other", 1, &[]))
        .unwrap();
    let (sender, receiver) = (plan.nodes()[0], plan.nodes()[1]);
    let mut world = Guarded::start(plan).unwrap();
    let all: Vec<(&str, u16)> = PORTS.map(|port| ("web", port)).into();
    world
        .enforce("db.json", &isolate("shop", "db", &all))
        .unwrap();
    let mut probes: Vec<Probe> = PORTS
        .into_iter()
        .flat_map(streams)
        .map(|stream| Probe {
            id: world.open(&stream).unwrap(),
            stream,
        })
        .collect();
    let seed = std::env::var("BULKHEAD_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("BULKHEAD_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let (mut allowed, mut refused) = (BTreeSet::from(PORTS), 0);
    for round in 0..ROUNDS {
        let fault = Fault::ALL[rng.usize(..Fault::ALL.len())];
        // At least one edge changes in each round.
        let changed = rng.u8(1..8);
        for (bit, port) in PORTS.into_iter().enumerate() {
            if changed >> bit & 1 == 1 && !allowed.remove(&port) {
                allowed.insert(port);
            }
        }
        let rules: Vec<(&str, u16)> = PORTS
            .into_iter()
            .map(|port| {
                let peer = if allowed.contains(&port) {
                    "web"
                } else {
                    "other"
                };
                (peer, port)
            })
            .collect();
        let policy = isolate("shop", "db", &rules).to_string();
        let (before, written) = (world.product.status().unwrap(), now());
        world.product.apply("db.json", &policy).unwrap();
        fault.strike(&mut world, sender, receiver);
        world
            .product
            .wait("the change in force on both nodes", |status| {
                status.is_newer(&before) && status.is_settled(2)
            })
            .unwrap();
        let acknowledged = now();
        let took = Duration::from_nanos(acknowledged.0 - written.0);
        println!("round {round}: {allowed:?} open, {fault:?}, {took:?} to the acknowledgement");
        refused += watch_revoked(&world, &probes, &allowed, acknowledged, round);
        for probe in &mut probes {
            if allowed.contains(&probe.stream.port) {
                revive(&world, probe);
            }
        }
    }
    println!("{refused} records were sent on revoked edges after the acknowledgement");
    assert!(refused > 1000, "the probes were really sent: {refused}");
}

/// Nothing that was sent after the acknowledgement has arrived on any revoked port. Answers with the number of records sent meanwhile.
fn watch_revoked(
    world: &Guarded,
    probes: &[Probe],
    allowed: &BTreeSet<u16>,
    acknowledged: Instant,
    round: u32,
) -> u64 {
    let revoked = || {
        probes
            .iter()
            .filter(|probe| !allowed.contains(&probe.stream.port))
    };
    if revoked().next().is_none() {
        return 0;
    }
    let web = world.lab.endpoint("shop/web").unwrap();
    let db = world.lab.endpoint("shop/db").unwrap();
    let from = world.lab.addresses("shop/web").unwrap();
    let sent = || -> u64 {
        revoked()
            .map(|probe| web.stream(probe.id).unwrap().records)
            .sum()
    };
    let before = sent();
    let until = acknowledged.0 + u64::try_from(WATCHED.as_nanos()).unwrap();
    let mut late: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    while now().0 < until {
        for Probe { stream, .. } in revoked() {
            let intake = db
                .intake(stream.transport, stream.port, from.of(stream.family))
                .unwrap();
            let newest = intake.newest_record.unwrap_or_default();
            if newest > acknowledged {
                let after = Duration::from_nanos(newest.0 - acknowledged.0);
                late.entry(format!("{stream:?}")).or_default().push(after);
            }
        }
    }
    assert!(
        late.is_empty(),
        "round {round}: sent so long after the acknowledgement, and arrived: {late:#?}\n{:#?}\n{}",
        world.product.status(),
        world.product.logs()
    );
    sent() - before
}

/// What is allowed flows: else the next revocation would show nothing.
fn revive(world: &Guarded, probe: &mut Probe) {
    let web = world.lab.endpoint("shop/web").unwrap();
    if probe.stream.transport == Transport::Tcp {
        let state = web.stream(probe.id).unwrap();
        let flows = || {
            Ok(
                (web.stream(probe.id)?.echoed > state.echoed || state.error.is_some())
                    .then_some(()),
            )
        };
        // TCP waits longer and longer before it tries again; it is not waited for.
        if Deadline::after(Duration::from_millis(50))
            .until("an echo", flows)
            .is_ok()
            && state.error.is_none()
        {
            return;
        }
        web.close(probe.id).unwrap();
        probe.id = world.open(&probe.stream).unwrap();
        return;
    }
    let echoed = web.stream(probe.id).unwrap().echoed;
    Deadline::after(LIMIT)
        .until("datagrams coming back", || {
            Ok((web.stream(probe.id)?.echoed > echoed + 20).then_some(()))
        })
        .unwrap_or_else(|error| panic!("{:?}: {error:#}", probe.stream));
}
