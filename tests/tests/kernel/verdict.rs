//! The decision function on the host against the programs in the kernel, packet by packet and table by table (G7).

use bulkhead_agent::kernel::{Kernel, Options, Skb};
use bulkhead_datapath::abi::{EventRecord, FlowKey, FlowLife, FlowValue, Hook, Reason};
use bulkhead_datapath::parse::Frame;
use bulkhead_datapath::verdict::{Arrival, Scratch, Socket, Tag, run};
use bulkhead_tests::packets::{Frames, LOCAL_INTERFACE, World};
use fastrand::Rng;
use std::collections::BTreeMap;

const WORLDS: u64 = 60;
const PACKETS_PER_WORLD: usize = 2_000;

/// One packet in so many begins a new revision.
const PACKETS_PER_REVISION: usize = 150;

/// The clock that the programs read, to the tick.
fn now_ns() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE)
        .expect("the clock exists");
    u64::try_from(time.tv_sec()).expect("after boot") * 1_000_000_000
        + u64::try_from(time.tv_nsec()).expect("positive")
}

fn judge(world: &World, hook: Hook, ingress_ifindex: u32, frame: &[u8]) -> Reason {
    // A test-run packet always has a socket.
    let arrival = Arrival {
        hook,
        ifindex: LOCAL_INTERFACE,
        ingress_ifindex,
        socket: Socket::Some,
        tag: Tag::None,
    };
    run(
        &world.tables,
        &Frame(frame),
        &arrival,
        &mut Scratch::default(),
    )
}

/// A flow without the moment it was last seen, which the two clocks may put on either side of a tick.
fn timeless((key, mut value): (FlowKey, FlowValue)) -> (FlowKey, FlowValue) {
    value.life = FlowLife(value.life.0 & 0xffff_ffff);
    (key, value)
}

/// An event without its moment.
fn momentless(mut event: EventRecord) -> EventRecord {
    event.time_ns = 0;
    event
}

/// The kernel refuses to run an IP frame without the whole fixed header.
fn is_runnable(frame: &[u8]) -> bool {
    match frame.get(12..14) {
        Some([8, 0]) => frame.len() >= 34,
        Some([0x86, 0xdd]) => frame.len() >= 54,
        Some(_) => true,
        None => false,
    }
}

#[test]
fn host_and_kernel_agree_on_random_packets() {
    let first_seed = std::env::var("BULKHEAD_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    let mut kernel = super::kernel(&Options {
        pins: None,
        capacity: World::CAPACITY,
    });
    let mut reasons: BTreeMap<Reason, u64> = BTreeMap::new();
    for seed in first_seed..first_seed + WORLDS {
        play(&mut kernel, seed, &mut reasons);
    }
    let packets: u64 = reasons.values().sum();
    println!(
        "seeds {first_seed}..{}: {packets} packets agree",
        first_seed + WORLDS
    );
    for (reason, count) in &reasons {
        println!("{count:>8} {}", reason.name());
    }
    assert!(packets >= 100_000, "only {packets} packets were compared");
    let unseen: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !reasons.contains_key(reason) && **reason != Reason::Internal)
        .map(|reason| reason.name())
        .collect();
    assert!(unseen.is_empty(), "no packet met {unseen:?}");
}

fn play(kernel: &mut Kernel, seed: u64, reasons: &mut BTreeMap<Reason, u64>) {
    let mut rng = Rng::with_seed(seed);
    let mut world = World::generate(&mut rng, now_ns());
    kernel.fill(&world.tables).expect("a generated world fits");
    kernel.events.drain(usize::MAX);
    let mut frames = Frames::default();
    let mut expected_events = Vec::new();
    let mut events = Vec::new();
    for number in 0..PACKETS_PER_WORLD {
        if number % PACKETS_PER_REVISION == PACKETS_PER_REVISION - 1 {
            world.advance(&mut rng);
            kernel
                .rewrite(&world.tables)
                .expect("a generated world fits");
        }
        let (hook, frame) = frames.next(&mut rng, &world);
        let ingress_ifindex = world.interfaces[rng.usize(..world.interfaces.len())];
        if !is_runnable(&frame) {
            continue;
        }
        world.tables.now_ns = now_ns();
        let expected = judge(&world, hook, ingress_ifindex, &frame);
        let ran = kernel
            .run(
                hook,
                &frame,
                Skb {
                    ifindex: LOCAL_INTERFACE,
                    ingress_ifindex,
                },
            )
            .expect("a test-run");
        assert_eq!(
            (ran.reason, ran.action),
            (expected, expected.action()),
            "seed {seed}, packet {number}, {hook:?}, ingress {ingress_ifindex}, frame {frame:02x?}"
        );
        *reasons.entry(expected).or_insert(0) += 1;
        expected_events.extend(world.tables.written.take_events());
        events.extend(kernel.events.drain(usize::MAX));
    }
    compare(kernel, &world, seed);
    assert_eq!(
        events.into_iter().map(momentless).collect::<Vec<_>>(),
        expected_events
            .into_iter()
            .map(momentless)
            .collect::<Vec<_>>(),
        "seed {seed}: events"
    );
}

/// What the programs wrote, table by table.
fn compare(kernel: &mut Kernel, world: &World, seed: u64) {
    let expected: BTreeMap<_, _> = world
        .tables
        .written
        .flows()
        .into_iter()
        .map(timeless)
        .collect();
    let flows: BTreeMap<_, _> = kernel
        .maps
        .flows
        .entries()
        .expect("flows")
        .into_iter()
        .map(timeless)
        .collect();
    assert_eq!(flows, expected, "seed {seed}: flows");
    let fragments: BTreeMap<_, _> = kernel
        .maps
        .fragments
        .entries()
        .expect("fragments")
        .into_iter()
        .collect();
    let ports = |value: &bulkhead_datapath::abi::FragmentValue| {
        (
            value.source_port,
            value.destination_port,
            value.protocol,
            value.query,
        )
    };
    assert_eq!(
        fragments
            .iter()
            .map(|(key, value)| (*key, ports(value)))
            .collect::<Vec<_>>(),
        world
            .tables
            .written
            .fragments()
            .iter()
            .map(|(key, value)| (*key, ports(value)))
            .collect::<Vec<_>>(),
        "seed {seed}: fragments"
    );
    let talks: BTreeMap<_, _> = kernel
        .maps
        .talks
        .drain()
        .expect("talks")
        .into_iter()
        .map(|(key, values)| {
            (
                key,
                values.iter().fold((0, 0), |sum, value| {
                    (sum.0 + value.packets, sum.1 + value.bytes)
                }),
            )
        })
        .collect();
    let expected: BTreeMap<_, _> = world
        .tables
        .written
        .talks()
        .into_iter()
        .map(|(key, value)| (key, (value.packets, value.bytes)))
        .collect();
    assert_eq!(talks, expected, "seed {seed}: talks");
    for slot in world.tables.workloads.keys() {
        use bulkhead_datapath::tables::{Budget, Tables};
        let value = kernel.maps.allowances.read(slot.0).expect("a slot");
        for (budget, used) in [
            (Budget::ByWorkload, value.by_workload),
            (Budget::ToWorkload, value.to_workload),
            (Budget::ByHost, value.by_host),
            (Budget::Fragments, value.fragments),
        ] {
            assert_eq!(
                Some(used),
                world.tables.used(*slot, budget),
                "seed {seed}: {budget:?}"
            );
        }
    }
}
