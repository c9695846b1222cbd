//! NODE: the generation and the node's limits, in one array element.

use super::{Generation, plain::plain};

/// Report every opened flow as an event.
pub const SWITCH_REPORT_OPENED: u32 = 1;

/// NODE_ADDRESSES: the address is this node's own (it may originate traffic to its workloads).
pub const NODE_ADDRESS_OWN: u32 = 1;
/// NODE_ADDRESSES: the address belongs to another node of the cluster (tunnels to it are not for workloads).
pub const NODE_ADDRESS_OTHER: u32 = 2;

/// The one element of NODE. The generation is first, so that it is aligned and one store changes the revision.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeValue {
    /// Which revision packets are judged by; its lowest bit chooses the lane.
    pub generation: Generation,
    /// Until this moment (monotonic, nanoseconds) TCP connections older than the programs are adopted when policy allows.
    pub adopt_until_ns: u64,
    /// `SWITCH_*` bits.
    pub switches: u32,
    /// Flows that one workload may have open towards others.
    pub flows_by_workload: u32,
    /// Flows that others may have open towards one workload.
    pub flows_to_workload: u32,
    /// Flows that the node's host may have open towards one workload.
    pub flows_by_host: u32,
    /// First fragments remembered for one workload.
    pub fragments: u32,
    /// Events of one workload in each tick (2^30 ns).
    pub events_per_tick: u32,
}

impl NodeValue {
    /// What a node starts with: lane `Even`, default budgets, opened flows reported.
    pub const DEFAULT: NodeValue = NodeValue {
        generation: Generation(0),
        adopt_until_ns: 0,
        switches: SWITCH_REPORT_OPENED,
        flows_by_workload: 8_192,
        flows_to_workload: 8_192,
        flows_by_host: 1_024,
        fragments: 64,
        events_per_tick: 256,
    };

    /// The generation as it is at this moment; a packet reads it exactly once (I6).
    #[inline(always)]
    pub fn read_generation(&self) -> Generation {
        // SAFETY: a live reference to an aligned word, which the agent replaces with single stores.
        unsafe { core::ptr::read_volatile(&raw const self.generation) }
    }
}

plain! { NodeValue: 40, align 8; }
