//! The oracle against the programs' own decision function: real frames through the hook of the workload that judges.

use bulkhead_datapath::abi::Hook;
use bulkhead_datapath::frame::{IpFrame, Payload, SYN};
use bulkhead_datapath::parse::Frame;
use bulkhead_datapath::verdict::{Arrival, Scratch, Socket, Tag, run};
use bulkhead_encode::{Desired, Memory};
use bulkhead_graph::{Direction, NodeGraph, WorkloadUid};
use bulkhead_policy::model::Protocol;
use bulkhead_tests::worlds::search::{Finding, search};
use bulkhead_tests::worlds::vocabulary::NOW;
use bulkhead_tests::worlds::{SmallWorld, small_world};

use crate::compiled::{CLOCK, may_overblock};
use crate::halves::{Question, graphs, questions};

/// Where packets from other nodes come in.
const UPLINK: u32 = 9_999;

/// The packet that opens the flow.
fn opener(asked: &Question) -> Payload {
    let [kind, code] = asked.port.to_be_bytes();
    match asked.protocol {
        Protocol::Tcp => Payload::Tcp {
            source: 40_000,
            destination: asked.port,
            flags: SYN,
        },
        Protocol::Udp => Payload::Udp {
            source: 40_000,
            destination: asked.port,
        },
        // INIT opens an association (RFC 9260, section 3.2).
        Protocol::Sctp => Payload::Sctp {
            source: 40_000,
            destination: asked.port,
            chunk: 1,
        },
        Protocol::Icmp | Protocol::Icmpv6 => Payload::Icmp {
            kind,
            code,
            rest: [0, 1, 0, 1],
            body: vec![0; 8],
        },
        Protocol::Other => Payload::Raw {
            protocol: code,
            bytes: vec![0; 16],
        },
    }
}

/// Whether the hook lets it through, and the reason it gives.
fn pass(
    memory: &Memory,
    graph: &NodeGraph,
    subject: &WorkloadUid,
    asked: &Question,
) -> (bool, String) {
    let slot = memory.slots[subject];
    let local_peer = graph
        .workloads
        .iter()
        .find(|(_, w)| w.addresses.contains(&asked.peer));
    let from = local_peer.map_or(UPLINK, |(uid, _)| Memory::ifindex(memory.slots[uid]));
    let hook = match asked.direction {
        Direction::Egress => Hook::FromWorkload,
        Direction::Ingress => Hook::ToWorkload,
    };
    let flow = asked.flow();
    let mac = Memory::mac(slot);
    let frame = IpFrame::new(mac, flow.source.ip(), flow.destination.ip(), opener(asked)).build();
    let arrival = Arrival {
        hook,
        ifindex: Memory::ifindex(slot),
        ingress_ifindex: if hook == Hook::FromWorkload {
            Memory::ifindex(slot)
        } else {
            from
        },
        socket: Socket::None,
        tag: Tag::None,
    };
    memory.tables.written.forget();
    let reason = run(
        &memory.tables,
        &Frame(&frame),
        &arrival,
        &mut Scratch::default(),
    );
    (reason.passes(), reason.name().to_owned())
}

fn check(case: SmallWorld) -> Finding {
    let world = case.world();
    for (node, graph) in graphs(&mut case.engine(NOW)) {
        let memory = Memory::new(&Desired::build(&graph, NOW), CLOCK)
            .ok_or_else(|| format!("{node}: more port classes than numbers"))?;
        for (uid, workload) in &graph.workloads {
            for asked in questions(workload) {
                let Some((enforced, _)) = asked.oracle(&world, NOW) else {
                    continue;
                };
                let (passes, reason) = pass(&memory, &graph, uid, &asked);
                let overblocks = !passes && may_overblock(&world, &asked);
                if passes != enforced.allowed && !overblocks {
                    return Err(format!(
                        "on {node}: {asked:?}\noracle: {}, because {}\nprogram: {reason}",
                        enforced.allowed, enforced.rule
                    ));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn frames_pass_the_hooks_exactly_where_the_oracle_allows() {
    search("packets", 120, small_world(), check);
}
