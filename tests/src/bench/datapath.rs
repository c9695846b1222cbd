//! Row H: what the real programs cost a packet, with all telemetry on.
//!
//! A test-run repeats one frame; where frames have to differ, a program of the object changes the source port first, and
//! what that costs by itself is measured and taken off. Of many short batches the fastest counts: the others tell about
//! the machine. Needs root.

use super::report::{Figure, Unit};
use anyhow::{Context, Result, ensure};
use bulkhead_agent::kernel::{Kernel, Options, Skb};
use bulkhead_datapath::abi::{
    Capacity, Class, DecisionKey, DecisionValue, Hook, Lane, Lanes, Mac, PeerLane, PeerSlot,
    PeerValue, PortClass, PortTable, Reason, RuleSet, WorkloadLane, WorkloadSlot, WorkloadValue,
};
use bulkhead_datapath::frame::{ACK, IpFrame, Payload, SYN};
use bulkhead_datapath::memory::MemoryTables;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::net::{IpAddr, Ipv4Addr};

const MAC: Mac = Mac {
    octets: [0x02, 0, 0, 0, 0, 1],
};
const ME: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1));
const SKB: Skb = Skb {
    ifindex: 1,
    ingress_ifindex: 1,
};
const WEB: u16 = 80;
const DENIED: u16 = 81;
const WEB_CLASS: PortClass = PortClass(1);
const FLOWS: u32 = 65_536;
const SLICES: u32 = 16;
const LOOKUPS: f64 = 16.0;

/// A figure of a whole program contains what the kernel itself takes: the test-run, and each look-up in a hash, whose returns go
/// through thunks on some processors and not on others. `program` does only that, in the same run; `anchor` is what it takes, in
/// nanoseconds, on the machine that the targets come from. What is left on either side is the program's own work.
struct Floor {
    program: &'static str,
    anchor: f64,
}

const HOT: Floor = Floor {
    program: "bench_flow_hot",
    anchor: 18.0,
};
const RANDOM: Floor = Floor {
    program: "bench_flow_random",
    anchor: 78.0,
};
const REFUSED: Floor = Floor {
    program: "bench_denied",
    anchor: 29.0,
};
const NEW: Floor = Floor {
    program: "bench_insert",
    anchor: 154.0,
};

/// Measures all of row H.
///
/// # Errors
/// Where the programs cannot be loaded or run.
pub fn run() -> Result<Vec<Figure>> {
    stay_on_this_processor()?;
    let capacity = Capacity {
        flows: 2 * FLOWS,
        ..bulkhead_datapath::abi::CAPACITIES
    };
    let programs = [
        "bench_empty",
        "bench_decision",
        "bench_port",
        "bench_from_workload",
        HOT.program,
        RANDOM.program,
        REFUSED.program,
        NEW.program,
    ];
    let mut kernel = Kernel::open_with(
        &Options {
            pins: None,
            capacity,
        },
        &programs,
    )?;
    let mut figures = Vec::new();
    let mut add = |what: &str, ns: f64, target: f64| {
        figures.push(Figure::new("H", what, ns, Unit::Ns, target))
    };
    let empty = named(&kernel, "bench_empty", ACK)?;
    add(
        "an empty program: what a test-run costs by itself",
        empty,
        0.0,
    );
    kernel.fill(&world(16_384))?;
    let full = named(&kernel, "bench_decision", ACK)?;
    add(
        "policy look-up among 16,384 decisions",
        full / LOOKUPS,
        40.0,
    );

    kernel.fill(&world(16))?;
    let port = named(&kernel, "bench_port", SYN)?;
    let mut whole = |what: &str, ns: f64, target: f64, floor: &Floor, alone: f64| {
        add(what, ns, target);
        add(&format!("{what}: the kernel's part"), alone, floor.anchor);
        add(
            &format!("{what}: the program's own work"),
            ns - alone,
            target - floor.anchor,
        );
    };
    let change = port - empty;
    let [inserted, new] = each_new(&mut kernel, [NEW.program, "bench_from_workload"])?;
    let new = new - change;
    whole("new flow judged and remembered", new, 300.0, &NEW, inserted);
    let established = tcp(WEB, ACK);
    let run = |program| {
        Ok(kernel
            .run_named(program, &established, SKB, FLOWS)?
            .as_nanos())
    };
    let (random, alone) = side_by_side(|| run("bench_from_workload"), || run(RANDOM.program))?;
    let what = "established, at random over 65,536 flows";
    whole(what, random - change, 150.0, &RANDOM, alone);
    let (hot, alone) = side_by_side(
        || repeated(&kernel, &established, Reason::Established),
        || run(HOT.program),
    )?;
    whole("established, one hot flow", hot, 60.0, &HOT, alone);
    let (denied, alone) = side_by_side(
        || repeated(&kernel, &tcp(DENIED, SYN), Reason::EgressDenied),
        || run(REFUSED.program),
    )?;
    whole("denied", denied, 100.0, &REFUSED, alone);
    let spoofed = IpFrame {
        source_mac: Mac::default(),
        ..frame(WEB, SYN)
    }
    .build();
    let spoofed = fastest(60, || repeated(&kernel, &spoofed, Reason::SourceMacSpoofed))?;
    add("spoofed", spoofed, 100.0);
    Ok(figures)
}

/// What one run of a program takes that treats every frame alike.
fn named(kernel: &Kernel, program: &'static str, flags: u8) -> Result<f64> {
    fastest(40, || {
        Ok(kernel
            .run_named(program, &tcp(WEB, flags), SKB, 20_000)?
            .as_nanos())
    })
}

/// What one run takes of programs that put a flow in, 65,536 of them into an empty table, by turns: the sum of the fastest
/// run of each slice, since a table that fills gets slower.
fn each_new<const N: usize>(kernel: &mut Kernel, programs: [&'static str; N]) -> Result<[f64; N]> {
    let mut best = [[f64::MAX; SLICES as usize]; N];
    for _ in 0..8 {
        for (program, best) in programs.into_iter().zip(&mut best) {
            kernel.maps.flows.clear()?;
            kernel.maps.allowances.write_zero(0);
            for slice in best {
                let ran = kernel.run_named(program, &tcp(WEB, SYN), SKB, FLOWS / SLICES)?;
                *slice = slice.min(ran.as_nanos() as f64);
            }
            let flows = kernel.maps.flows.entries()?.len();
            ensure!(
                flows == FLOWS as usize,
                "{program}: {flows} flows were remembered of {FLOWS}"
            );
        }
    }
    Ok(best.map(|slices| slices.iter().sum::<f64>() / f64::from(SLICES)))
}

/// The programs count runs for each processor; elsewhere the ports would begin again.
fn stay_on_this_processor() -> Result<()> {
    let mut processors = CpuSet::new();
    processors.set(0)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &processors)?)
}

/// The fastest of many batches, in nanoseconds.
fn fastest(batches: u32, mut batch: impl FnMut() -> Result<u128>) -> Result<f64> {
    let mut best = u128::MAX;
    for _ in 0..batches {
        best = best.min(batch()?);
    }
    Ok(best as f64)
}

/// The fastest batches of two, measured by turns: what disturbs one disturbs the other.
fn side_by_side(
    mut one: impl FnMut() -> Result<u128>,
    mut other: impl FnMut() -> Result<u128>,
) -> Result<(f64, f64)> {
    let mut best = (u128::MAX, u128::MAX);
    for _ in 0..60 {
        best = (best.0.min(one()?), best.1.min(other()?));
    }
    Ok((best.0 as f64, best.1 as f64))
}

/// One batch of one frame again and again, which has to meet this reason.
fn repeated(kernel: &Kernel, frame: &[u8], reason: Reason) -> Result<u128> {
    let ran = kernel
        .run_repeatedly(Hook::FromWorkload, frame, SKB, 20_000)
        .context("a test-run")?;
    ensure!(
        ran.reason == reason,
        "{} instead of {}",
        ran.reason.name(),
        reason.name()
    );
    Ok(ran.duration.as_nanos())
}

fn frame(port: u16, flags: u8) -> IpFrame {
    // The first port that the changing program makes, so that its flow is there.
    let source = 40_503;
    IpFrame::new(
        MAC,
        ME,
        PEER,
        Payload::Tcp {
            source,
            destination: port,
            flags,
        },
    )
}

fn tcp(port: u16, flags: u8) -> Vec<u8> {
    frame(port, flags).build()
}

/// One workload that may open port 80 of one peer, among `decisions` decisions.
fn world(decisions: u32) -> MemoryTables {
    let mut tables = MemoryTables::default();
    tables.node.flows_by_workload = 2 * FLOWS;
    tables.interfaces.insert(SKB.ifindex, WorkloadSlot(0));
    let mut workload = WorkloadValue {
        ifindex: SKB.ifindex,
        mac: MAC,
        ..WorkloadValue::default()
    };
    workload.v4[0] = ME.into();
    workload.lanes = Lanes::both(WorkloadLane {
        egress: RuleSet(1),
        ingress: RuleSet(1),
        class: Class::NONE,
    });
    tables.workloads.insert(WorkloadSlot(0), workload);
    let lanes = Lanes::both(PeerLane {
        class: Class(1),
        ..PeerLane::default()
    });
    tables.set_peer(
        PeerSlot(0),
        PeerValue {
            address: PEER.into(),
            lanes,
            ..PeerValue::default()
        },
    );
    for lane in [Lane::Even, Lane::Odd] {
        tables.set_port_class(PortTable::Tcp, lane, WEB, WEB_CLASS);
        tables.set_port_class(PortTable::Tcp, lane, DENIED, PortClass(2));
    }
    let allowed = 1 << WEB_CLASS.0;
    for number in 0..decisions {
        let key = DecisionKey {
            rule_set: RuleSet(number % 128 + 1),
            class: Class(number / 128 + 1),
            block: 0,
        };
        let value = DecisionValue {
            enforced: allowed,
            intended: allowed,
            ..DecisionValue::default()
        };
        tables.decisions.insert(key, value);
    }
    tables
}
