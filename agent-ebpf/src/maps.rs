//! The maps. Names, types and sizes are the ABI's; the agent may create them with other sizes.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::LpmTrie;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use bulkhead_datapath::abi::{
    Address, AllowanceValue, CAPACITIES, CounterValue, DecisionKey, DecisionValue, Direct, FlowKey,
    FlowValue, FragmentKey, FragmentValue, Hook, MapName, NetworkValue, NodeValue, PeerValue,
    PortValue, TalkKey, TalkValue, WorkloadValue,
};
use bulkhead_datapath::verdict::{ANSWERS as ANSWER_PLACES, Answer, Scratch};

/// The agent changes words in place through a mapping.
const MAPPED: u32 = BPF_F_MMAPABLE;
const BPF_F_NO_PREALLOC: u32 = 1;

const fn size(map: MapName) -> u32 {
    CAPACITIES.of(map)
}

#[map]
pub(crate) static NODE: Array<NodeValue> = Array::with_max_entries(size(MapName::Node), MAPPED);
#[map]
pub(crate) static INTERFACES: HashMap<u32, u32> =
    HashMap::with_max_entries(size(MapName::Interfaces), 0);
#[map]
pub(crate) static DIRECT: Array<Direct> = Array::with_max_entries(size(MapName::Direct), MAPPED);
#[map]
pub(crate) static WORKLOADS: Array<WorkloadValue> =
    Array::with_max_entries(size(MapName::Workloads), MAPPED);
#[map]
pub(crate) static ALLOWANCES: Array<AllowanceValue> =
    Array::with_max_entries(size(MapName::Allowances), MAPPED);
#[map]
pub(crate) static PEERS: HashMap<Address, u32> = HashMap::with_max_entries(size(MapName::Peers), 0);
#[map]
pub(crate) static CLASSES: Array<PeerValue> =
    Array::with_max_entries(size(MapName::Classes), MAPPED);
#[map]
pub(crate) static NETWORKS: LpmTrie<[u8; 16], u32> =
    LpmTrie::with_max_entries(size(MapName::Networks), BPF_F_NO_PREALLOC);
#[map]
pub(crate) static NETWORK_CLASSES: Array<NetworkValue> =
    Array::with_max_entries(size(MapName::NetworkClasses), MAPPED);
#[map]
pub(crate) static PORTS: Array<PortValue> = Array::with_max_entries(size(MapName::Ports), MAPPED);
#[map]
pub(crate) static DECISIONS: HashMap<DecisionKey, DecisionValue> =
    HashMap::with_max_entries(size(MapName::Decisions), 0);
#[map]
pub(crate) static EXPIRIES: Array<u64> = Array::with_max_entries(size(MapName::Expiries), MAPPED);
#[map]
pub(crate) static NODE_ADDRESSES: HashMap<Address, u32> =
    HashMap::with_max_entries(size(MapName::NodeAddresses), BPF_F_NO_PREALLOC);
#[map]
pub(crate) static FLOWS: HashMap<FlowKey, FlowValue> =
    HashMap::with_max_entries(size(MapName::Flows), 0);
#[map]
pub(crate) static FRAGMENTS: HashMap<FragmentKey, FragmentValue> =
    HashMap::with_max_entries(size(MapName::Fragments), 0);
#[map]
pub(crate) static TALKS: PerCpuHashMap<TalkKey, TalkValue> =
    PerCpuHashMap::with_max_entries(size(MapName::Talks), 0);
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(size(MapName::Events), 0);
#[map]
pub(crate) static COUNTERS: PerCpuArray<CounterValue> =
    PerCpuArray::with_max_entries(size(MapName::Counters), 0);
#[map]
pub(crate) static LOSSES: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(size(MapName::Losses), 0);

/// Private to the programs: what one packet needs while it is judged, for each processor and hook.
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(Hook::ALL.len() as u32, 0);

/// Private likewise: what policy said lately.
#[map]
pub(crate) static ANSWERS: PerCpuArray<Answer> = PerCpuArray::with_max_entries(ANSWER_PLACES, 0);

/// This processor's scratch value of a hook.
#[inline(always)]
pub(crate) fn scratch(hook: Hook) -> Option<&'static mut Scratch> {
    // SAFETY: only this processor uses the value, and a hook's program does not interrupt itself; zeroes are valid.
    SCRATCH
        .get_ptr_mut(hook as u32)
        .map(|scratch| unsafe { &mut *scratch })
}
