//! The oracle against the programs' own decision function: real frames through the hook of the workload that judges.

use bulkhead_datapath::abi::Hook;
use bulkhead_datapath::parse::Frame;
use bulkhead_datapath::verdict::{Arrival, Scratch, Socket, Tag, run};
use bulkhead_encode::Memory;
use bulkhead_graph::{Direction, WorkloadUid};
use bulkhead_policy::model::{Address, Protocol};
use bulkhead_tests::worlds::search::{Finding, Tally, search, search_tuples};
use bulkhead_tests::worlds::vocabulary::{self, NOW};
use bulkhead_tests::worlds::{SmallWorld, small_world};

use bulkhead_tests::tuples::{
    Compiled, Judged, Question, UPLINK, came_in_by, flows, hook, may_overblock, opener,
};

/// Whether the hook lets it through, and the reason it gives.
fn pass(judged: &Judged<'_>) -> (bool, String) {
    let memory = &judged.node.memory;
    let came_in_by = came_in_by(judged).map_or(UPLINK, |peer| Memory::ifindex(memory.slots[peer]));
    ask(memory, judged.uid, &judged.asked, came_in_by)
}

/// The same of any packet; `came_in_by` is where one to the workload came in.
fn ask(memory: &Memory, uid: &WorkloadUid, asked: &Question, came_in_by: u32) -> (bool, String) {
    let slot = memory.slots[uid];
    let ifindex = Memory::ifindex(slot);
    let frame = opener(asked, Memory::mac(slot));
    let hook = hook(asked);
    let arrival = Arrival {
        hook,
        ifindex,
        ingress_ifindex: match hook {
            Hook::FromWorkload => ifindex,
            Hook::ToWorkload => came_in_by,
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

fn check(case: &SmallWorld, addresses: &[Address], tally: &Tally) -> Finding {
    let world = case.world();
    let compiled = Compiled::build(&mut case.engine(NOW), NOW)?;
    for flow in flows(addresses) {
        let halves = compiled.halves(&world, &flow, NOW);
        if !halves.is_empty() {
            tally.count();
        }
        for judged in halves {
            let (passes, reason) = pass(&judged);
            let Judged {
                node,
                asked,
                enforced,
                ..
            } = judged;
            let overblocks = !passes && may_overblock(&world, &asked);
            if passes != enforced.allowed && !overblocks {
                return Err(format!(
                    "on {}: {asked:?}\noracle: {}, because {}\nprogram: {reason}",
                    node.name, enforced.allowed, enforced.rule
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn g7_frames_pass_the_hooks_exactly_where_the_oracle_allows() {
    let addresses = vocabulary::addresses();
    search_tuples("packets", (220, 100_000), small_world(), |case, tally| {
        check(&case, &addresses, tally)
    });
}

/// A tunnel to a node would be unpacked there, and what it holds be judged as whoever it says it comes from.
#[test]
fn g6_no_workload_opens_a_tunnel_to_any_node() {
    let tunnels = [
        (Protocol::Udp, 8472),
        (Protocol::Udp, 4789),
        (Protocol::Other, 4),
        (Protocol::Other, 47),
    ];
    search("tunnels", 60, small_world(), |case| {
        let world = case.world();
        let to_nodes: Vec<Address> = world
            .nodes()
            .flat_map(|node| &node.addresses)
            .map(|ip| Address::from(*ip))
            .collect();
        let compiled = Compiled::build(&mut case.engine(NOW), NOW)?;
        for node in compiled.nodes() {
            for (uid, workload) in &node.graph.workloads {
                let own = workload.addresses.iter().filter(|own| own.is_ipv4());
                let peers = || to_nodes.iter().filter(|peer| peer.is_ipv4());
                for (own, peer) in own.flat_map(|own| peers().map(|peer| (*own, *peer))) {
                    if workload.addresses.contains(&peer) {
                        continue;
                    }
                    for (protocol, port) in tunnels {
                        let asked = Question {
                            own,
                            peer,
                            direction: Direction::Egress,
                            protocol,
                            port,
                        };
                        let (passes, reason) = ask(&node.memory, uid, &asked, UPLINK);
                        if passes || reason != "tunnel" {
                            return Err(format!("on {}: {asked:?}: {passes} {reason}", node.name));
                        }
                    }
                }
            }
        }
        Ok(())
    });
}
