//! The oracle against the programs in the kernel (G7): worlds are compiled, put into the tables of a node, and the packet
//! that opens each flow is run through the real hooks.
//!
//! A test-run needs an interface that exists: the workload that is asked about is put on the loopback for that.

use bulkhead_agent::kernel::{Kernel, Options, Skb};
use bulkhead_datapath::abi::{Capacity, Hook, Reason, WorkloadSlot};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_encode::Memory;
use bulkhead_graph::Direction;
use bulkhead_policy::eval::World;
use bulkhead_policy::model::Interned;
use bulkhead_tests::packets::LOCAL_INTERFACE;
use bulkhead_tests::tuples::{
    CLOCK, Compiled, Judged, UPLINK, came_in_by, flows, hook, may_overblock, opener,
};
use bulkhead_tests::worlds::search::{Tally, search_tuples};
use bulkhead_tests::worlds::small_world;
use bulkhead_tests::worlds::vocabulary::{self, NOW};

/// What small worlds need, and flows for every tuple of a workload.
const CAPACITY: Capacity = Capacity {
    workloads: 64,
    peers: 256,
    networks: 1_024,
    decisions: 16_384,
    expiries: 64,
    node_addresses: 64,
    flows: 4_096,
    fragments: 16,
    talks: 8_192,
    event_bytes: 1 << 16,
};

/// Interfaces of the workloads that are not asked about.
const OTHERS: u32 = 100;

fn ifindex(slot: WorkloadSlot, asked: WorkloadSlot) -> u32 {
    if slot == asked {
        LOCAL_INTERFACE
    } else {
        OTHERS + slot.0
    }
}

/// Longer than this test runs.
const HOUR_NS: u64 = 3_600_000_000_000;

/// The node's tables with one workload on the loopback. The kernel's clock is another than the world's, and it runs: what
/// is still to come in the world does not come while the test runs.
fn tables_for(memory: &Memory, asked: WorkloadSlot) -> MemoryTables {
    let mut tables = memory.tables.clone();
    tables.interfaces.clear();
    for time in tables.expiries.values_mut() {
        if *time > CLOCK.monotonic_ns {
            *time = super::verdict::now_ns() + HOUR_NS;
        }
    }
    for (slot, workload) in &mut tables.workloads {
        workload.ifindex = ifindex(*slot, asked);
        tables.interfaces.insert(workload.ifindex, *slot);
    }
    tables
}

fn run(kernel: &Kernel, judged: &Judged<'_>) -> Reason {
    let memory = &judged.node.memory;
    let slot = memory.slots[judged.uid];
    let hook = hook(&judged.asked);
    let frame = opener(&judged.asked, Memory::mac(slot));
    let ingress_ifindex = match hook {
        Hook::FromWorkload => LOCAL_INTERFACE,
        Hook::ToWorkload => {
            came_in_by(judged).map_or(UPLINK, |peer| ifindex(memory.slots[peer], slot))
        }
    };
    let skb = Skb {
        ifindex: LOCAL_INTERFACE,
        ingress_ifindex,
    };
    let ran = kernel.run(hook, &frame, skb).expect("a test-run");
    assert_eq!(ran.reason.action(), ran.action);
    ran.reason
}

/// Everything that one workload is asked about in one direction: tables filled once, flows of earlier questions gone.
fn compare(
    kernel: &mut Kernel,
    world: &World,
    group: &[Judged<'_>],
    tally: &Tally,
) -> Result<(), String> {
    let Some(first) = group.first() else {
        return Ok(());
    };
    let memory = &first.node.memory;
    let tables = tables_for(memory, memory.slots[first.uid]);
    kernel.fill(&tables).expect("a small world fits");
    for judged in group {
        let reason = run(kernel, judged);
        tally.count();
        let overblocks = !reason.passes() && may_overblock(world, &judged.asked);
        if reason.passes() != judged.enforced.allowed && !overblocks {
            return Err(format!(
                "on {}: {:?}\noracle: {}, because {}\nkernel: {}",
                judged.node.name,
                judged.asked,
                judged.enforced.allowed,
                judged.enforced.rule,
                reason.name()
            ));
        }
    }
    Ok(())
}

#[test]
fn g7_kernel_and_oracle_agree_on_every_tuple() {
    let kernel = super::kernel(&Options {
        pins: None,
        capacity: CAPACITY,
    });
    let kernel = std::cell::RefCell::new(kernel);
    let addresses = vocabulary::addresses();
    search_tuples("kernel", (150, 80_000), small_world(), |case, tally| {
        // Of every second world, once its leases have ended.
        let (case, at) = match case.objects.len() % 2 {
            0 => (case, NOW.into()),
            _ => case.unheard(),
        };
        let world = case.world();
        let compiled = Compiled::build(&mut case.engine(NOW), at)?;
        let mut all: Vec<Judged<'_>> = flows(&addresses)
            .flat_map(|flow| compiled.halves(&world, &flow, at))
            .collect();
        type Key = (Interned, bulkhead_graph::WorkloadUid, Direction);
        let key = |judged: &Judged<'_>| -> Key {
            let direction = judged.asked.direction;
            (judged.node.name.clone(), judged.uid.clone(), direction)
        };
        all.sort_by_key(key);
        all.chunk_by(|a, b| key(a) == key(b))
            .try_for_each(|group| compare(&mut kernel.borrow_mut(), &world, group, tally))
    });
}
