//! WORKLOADS: one local workload by slot, and ALLOWANCES: what it has used of its budgets.

use super::{Address, Class, Lane, Lanes, Mac, RuleSet, plain::plain};

/// Addresses that a workload may have in each family.
pub const ADDRESSES_PER_FAMILY: usize = 4;

/// The workload is not known yet: everything is denied but what the node's host originates.
pub const WORKLOAD_PENDING: u32 = 1;
/// The workload routes or holds virtual addresses: foreign source and destination addresses are its business.
pub const WORKLOAD_MAY_ROUTE: u32 = 2;

/// What of a workload depends on the revision.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkloadLane {
    /// Judges what the workload opens.
    pub egress: RuleSet,
    /// Judges what others open towards it.
    pub ingress: RuleSet,
    /// How rule sets of *peers* see it (needed to judge the other end's half here; may be none).
    pub class: Class,
}

/// One local workload.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkloadValue {
    /// The interface that the slot belongs to; the program compares it (I5).
    pub ifindex: u32,
    /// `WORKLOAD_*` bits.
    pub flags: u32,
    /// Rule sets and class, by lane.
    pub lanes: Lanes<WorkloadLane>,
    /// The workload's own Ethernet address.
    pub mac: Mac,
    /// Counts the owners of this slot, so that a flow never outlives its workload.
    pub incarnation: u8,
    /// Zero.
    pub reserved: u8,
    /// Own IPv4 addresses (mapped); unused places are [`Address::UNSPECIFIED`].
    pub v4: [Address; ADDRESSES_PER_FAMILY],
    /// Own IPv6 addresses. The link-local address that follows from `mac` need not be listed.
    pub v6: [Address; ADDRESSES_PER_FAMILY],
}

const MAC_OFFSET: usize = core::mem::offset_of!(WorkloadValue, mac);
const _: () = assert!(
    MAC_OFFSET.is_multiple_of(8) && core::mem::offset_of!(WorkloadValue, v4) == MAC_OFFSET + 8
);

impl WorkloadValue {
    /// The workload's own Ethernet address as [`Mac::word`], in one load.
    #[inline(always)]
    pub const fn mac_word(&self) -> u64 {
        let bytes = core::ptr::from_ref(self).cast::<u8>();
        // SAFETY: address, incarnation and reserved byte are eight bytes of this value, at a multiple of eight.
        Mac::word_of(unsafe { bytes.add(MAC_OFFSET).cast::<u64>().read() })
    }

    /// The rule sets and class of one lane.
    #[inline(always)]
    pub fn lane(&self, lane: Lane) -> WorkloadLane {
        self.lanes.read(lane)
    }
}

impl Default for WorkloadValue {
    fn default() -> Self {
        super::Plain::zeroed()
    }
}

/// What one workload has used of its budgets. The programs add, the agent's sweep subtracts; both atomically.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllowanceValue {
    /// Flows opened by the workload.
    pub by_workload: u64,
    /// Flows opened to the workload.
    pub to_workload: u64,
    /// Flows opened by the node's host.
    pub by_host: u64,
    /// First fragments remembered.
    pub fragments: u64,
    /// Events reported in `event_tick`.
    pub events: u64,
    /// The tick that `events` counts.
    pub event_tick: u64,
}

plain! {
    WorkloadLane: 12, align 4;
    WorkloadValue: 168, align 8;
    AllowanceValue: 48, align 8;
}
