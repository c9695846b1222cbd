//! What the decision function reads and writes, as a trait: maps in the kernel, [`memory`](crate::memory) on the host.
//!
//! References are to values that the agent may be changing at the same moment; the parts that change are read through
//! [`Lanes::read`](crate::abi::Lanes::read) or [`NodeValue::read_generation`], once each.

use crate::abi::{
    Address, DecisionKey, DecisionValue, EventRecord, ExpiryId, FlowJudged, FlowKey, FlowLife,
    FlowValue, FragmentKey, FragmentValue, Hook, Lane, LossIndex, NetworkSlot, NetworkValue,
    NodeValue, PeerSlot, PeerValue, PortClass, PortTable, TalkKey, WorkloadSlot, WorkloadValue,
};
use crate::verdict::Answer;

/// What became of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The entry is in the table.
    New,
    /// Somebody else put one in for the same key first; it was left alone.
    Present,
    /// The table took no more.
    Full,
}

/// A budget of a workload, in ALLOWANCES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Budget {
    /// Flows opened by the workload.
    ByWorkload,
    /// Flows opened to the workload.
    ToWorkload,
    /// Flows opened by the node's host.
    ByHost,
    /// First fragments.
    Fragments,
}

/// One entry of FLOWS where it lies.
pub trait Flow {
    /// Reads the judged word once.
    fn judged(&self) -> FlowJudged;
    /// Replaces the judged word if it is still `seen`; says whether it was.
    fn restamp(&self, seen: FlowJudged, now: FlowJudged) -> bool;
    /// Reads the life word once.
    fn life(&self) -> FlowLife;
    /// Replaces the life word if it is still `seen`: the element may be another flow's by now, whose opener it would change.
    fn set_life(&self, seen: FlowLife, life: FlowLife);
    /// Counts one packet of the hook's direction.
    fn count(&self, hook: Hook, bytes: u32);
}

/// The tables of a node.
pub trait Tables {
    /// A found entry of FLOWS.
    type Flow<'a>: Flow
    where
        Self: 'a;

    /// NODE.
    fn node(&self) -> Option<&NodeValue>;
    /// INTERFACES.
    fn interface(&self, ifindex: u32) -> Option<WorkloadSlot>;
    /// The same for the interface that the packet is at: every packet asks this once.
    #[inline(always)]
    fn own_interface(&self, ifindex: u32) -> Option<WorkloadSlot> {
        self.interface(ifindex)
    }
    /// WORKLOADS.
    fn workload(&self, slot: WorkloadSlot) -> Option<&WorkloadValue>;
    /// PEERS.
    fn peer(&self, address: &Address) -> Option<PeerSlot>;
    /// CLASSES.
    fn class(&self, slot: PeerSlot) -> Option<&PeerValue>;
    /// NETWORKS: the longest prefix that contains the address.
    fn network(&self, address: &Address) -> Option<NetworkSlot>;
    /// NETWORK_CLASSES.
    fn network_class(&self, slot: NetworkSlot) -> Option<&NetworkValue>;
    /// PORTS.
    fn port_class(&self, table: PortTable, lane: Lane, number: u16) -> Option<PortClass>;
    /// DECISIONS.
    fn decision(&self, key: &DecisionKey) -> Option<&DecisionValue>;
    /// What policy said lately, of one place; none where every question is looked up.
    #[inline(always)]
    fn answer(&self, place: u32) -> Option<&Answer> {
        let _ = place;
        None
    }
    /// Keeps what policy said, in the place of whatever was there.
    #[inline(always)]
    fn keep_answer(&self, place: u32, answer: &Answer) {
        let _ = (place, answer);
    }
    /// EXPIRIES: monotonic nanoseconds.
    fn expiry(&self, id: ExpiryId) -> Option<u64>;
    /// NODE_ADDRESSES: `NODE_ADDRESS_*` bits, 0 if there is no entry.
    fn node_address(&self, address: &Address) -> u32;
    /// Monotonic nanoseconds, to the precision of the timer tick.
    fn now_ns(&self) -> u64;

    /// FLOWS, where the entry lies.
    fn flow(&self, key: &FlowKey) -> Option<Self::Flow<'_>>;
    /// Puts a flow in, never over another.
    fn insert_flow(&self, key: &FlowKey, value: &FlowValue) -> Inserted;
    /// Takes a flow out; says whether it was there.
    fn remove_flow(&self, key: &FlowKey) -> bool;

    /// FRAGMENTS.
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentValue>;
    /// Puts a first fragment in, never over another.
    fn insert_fragment(&self, key: &FragmentKey, value: &FragmentValue) -> Inserted;
    /// Takes a first fragment out; says whether it was there.
    fn remove_fragment(&self, key: &FragmentKey) -> bool;

    /// ALLOWANCES: what a workload has used of a budget.
    fn used(&self, slot: WorkloadSlot, budget: Budget) -> Option<u64>;
    /// Adds one to what a workload has used.
    fn charge(&self, slot: WorkloadSlot, budget: Budget);
    /// Takes one off what a workload has used.
    fn release(&self, slot: WorkloadSlot, budget: Budget);
    /// Counts one event of the workload in `tick` and returns how many there were before.
    fn charge_event(&self, slot: WorkloadSlot, tick: u64) -> u64;

    /// TALKS.
    fn talk(&self, key: &TalkKey, bytes: u32);
    /// EVENTS; says whether there was room.
    fn event(&self, record: &EventRecord) -> bool;
    /// COUNTERS; the reason by its number.
    fn count(&self, hook: Hook, reason: u8, bytes: u32);
    /// LOSSES.
    fn lose(&self, loss: LossIndex);

    /// What was put into `value` has to be read again: in the kernel, what compiler and verifier know of it ends here.
    #[inline(always)]
    fn forget<V>(&self, value: &mut V) {
        let _ = value;
    }
}
