//! Programs that only benchmarks load: a test-run repeats one frame, and these make different frames of it.

use crate::{enter, maps};
use aya_ebpf::bindings::{BPF_NOEXIST, TC_ACT_UNSPEC};
use aya_ebpf::helpers::bpf_get_route_realm;
use aya_ebpf::macros::{classifier, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::TcContext;
use bulkhead_datapath::abi::{
    Address, Class, DecisionKey, FlowKey, FlowOwner, FlowValue, Hook, RuleSet, TalkKey,
    WorkloadSlot,
};

/// How many runs there were on this processor.
#[map]
static RUNS: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Offset of the source port behind an Ethernet and a plain IPv4 header.
const SOURCE_PORT: usize = 34;

/// Odd, so that its multiples visit all 65,536 ports, each once, in an order that no cache foresees.
const STEP: u64 = 40_503;

/// The port of the first run.
const FIRST_PORT: u16 = STEP as u16;

/// Look-ups in one run of [`bench_decision`].
const LOOKUPS: u64 = 16;

/// Calls in one run of [`bench_calls`].
const CALLS: u64 = 16;

/// Rule sets and classes among which [`bench_decision`] chooses: 128 × 128 decisions.
const RULE_SETS: u64 = 128;

/// [`crate::from_workload`] on a frame from another port each time.
#[classifier]
#[inline(always)]
pub(crate) fn bench_from_workload(context: TcContext) -> i32 {
    let _ = change_port(&context);
    enter(&context, Hook::FromWorkload)
}

/// What a test-run costs by itself.
#[classifier]
#[inline(always)]
pub(crate) fn bench_empty(_: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// Calls of a helper that does next to nothing: what a call costs.
#[classifier]
#[inline(always)]
pub(crate) fn bench_calls(context: TcContext) -> i32 {
    let mut sum = 0;
    for _ in 0..CALLS {
        // SAFETY: the context is valid for the program's run.
        sum += unsafe { bpf_get_route_realm(context.skb.skb) };
    }
    sum as i32
}

/// What changing the port costs by itself.
#[classifier]
#[inline(always)]
pub(crate) fn bench_port(context: TcContext) -> i32 {
    let _ = change_port(&context);
    TC_ACT_UNSPEC
}

/// Look-ups in DECISIONS, and what the loop around them costs where the map is empty is measured likewise.
#[classifier]
#[inline(always)]
pub(crate) fn bench_decision(_: TcContext) -> i32 {
    let Some(runs) = next_run() else { return 0 };
    let mut sum = 0;
    for number in 0..LOOKUPS {
        let random = (runs * LOOKUPS + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let key = DecisionKey {
            rule_set: RuleSet((random % RULE_SETS) as u32 + 1),
            class: Class((random / RULE_SETS % RULE_SETS) as u32 + 1),
            block: 0,
        };
        // SAFETY: as in the programs in service.
        if let Some(decision) = unsafe { maps::DECISIONS.get(key) } {
            sum += decision.enforced as i32;
        }
    }
    sum
}

/// What an established packet cannot do without: its flow is looked up, the same each time.
#[classifier]
#[inline(always)]
pub(crate) fn bench_flow_hot(_: TcContext) -> i32 {
    flow_word(&flow(FIRST_PORT)) as i32
}

/// The same for another flow each time, in the order of [`bench_from_workload`].
#[classifier]
#[inline(always)]
pub(crate) fn bench_flow_random(_: TcContext) -> i32 {
    let Some(port) = next_port() else { return 0 };
    flow_word(&flow(port)) as i32
}

/// What a denied packet cannot do without: that there is no flow, and the sum it is counted in.
#[classifier]
#[inline(always)]
pub(crate) fn bench_denied(_: TcContext) -> i32 {
    let key = FlowKey {
        peer_port: FIRST_PORT,
        ..flow(FIRST_PORT)
    };
    let talk = TalkKey {
        peer: key.peer,
        server_port: FIRST_PORT,
        ..TalkKey::default()
    };
    let mut sum = flow_word(&key);
    if let Some(talk) = maps::TALKS.get_ptr(talk) {
        // SAFETY: as above.
        sum += unsafe { (*talk).packets };
    }
    sum as i32
}

/// What a new flow cannot do without: its entry.
#[classifier]
#[inline(always)]
pub(crate) fn bench_insert(_: TcContext) -> i32 {
    let Some(port) = next_port() else { return 0 };
    i32::from(
        maps::FLOWS
            .insert(flow(port), FlowValue::default(), u64::from(BPF_NOEXIST))
            .is_ok(),
    )
}

/// Something of a flow's entry, so that it is looked up indeed.
#[inline(always)]
fn flow_word(key: &FlowKey) -> u64 {
    // SAFETY: as in the programs in service.
    match unsafe { maps::FLOWS.get(key) } {
        Some(flow) => flow.judged.0,
        None => 0,
    }
}

/// The flow of the benchmark's world with this port.
#[inline(always)]
fn flow(port: u16) -> FlowKey {
    FlowKey {
        peer: Address::from_wire_v4(u32::from_ne_bytes([10, 0, 1, 1])),
        local_port: port,
        peer_port: 80,
        owner: FlowOwner::new(WorkloadSlot(0), 0, 0, 6),
    }
}

#[inline(always)]
fn next_port() -> Option<u16> {
    Some(next_run()?.wrapping_mul(STEP) as u16)
}

#[inline(always)]
fn next_run() -> Option<u64> {
    let runs = RUNS.get_ptr_mut(0)?;
    // SAFETY: this processor's own value.
    unsafe {
        *runs += 1;
        Some(*runs)
    }
}

#[inline(always)]
fn change_port(context: &TcContext) -> Option<()> {
    let [high, low] = next_port()?.to_be_bytes();
    let start = context.data();
    if start + SOURCE_PORT + 2 > context.data_end() {
        return None;
    }
    let place = (start + SOURCE_PORT) as *mut u8;
    // SAFETY: both bytes lie inside the packet, as just compared.
    unsafe {
        place.write(high);
        place.add(1).write(low);
    }
    Some(())
}
