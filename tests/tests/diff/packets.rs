//! The oracle against the programs' own decision function: real frames through the hook of the workload that judges.

use bulkhead_datapath::abi::Hook;
use bulkhead_datapath::parse::Frame;
use bulkhead_datapath::verdict::{Arrival, Scratch, Socket, run};
use bulkhead_encode::Memory;
use bulkhead_policy::model::Address;
use bulkhead_tests::worlds::search::{Finding, Tally, search_tuples};
use bulkhead_tests::worlds::vocabulary::{self, NOW};
use bulkhead_tests::worlds::{SmallWorld, small_world};

use bulkhead_tests::tuples::{Compiled, Judged, UPLINK, came_in_by, flows, hook, opener};

use bulkhead_tests::tuples::may_overblock;

/// Whether the hook lets it through, and the reason it gives.
fn pass(judged: &Judged<'_>) -> (bool, String) {
    let memory = &judged.node.memory;
    let slot = memory.slots[judged.uid];
    let ifindex = Memory::ifindex(slot);
    let frame = opener(&judged.asked, Memory::mac(slot));
    let hook = hook(&judged.asked);
    let arrival = Arrival {
        hook,
        ifindex,
        ingress_ifindex: match hook {
            Hook::FromWorkload => ifindex,
            Hook::ToWorkload => {
                came_in_by(judged).map_or(UPLINK, |peer| Memory::ifindex(memory.slots[peer]))
            }
        },
        socket: Socket::None,
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
