//! PEERS and CLASSES: who is behind an address.
//!
//! PEERS (address → slot) is never overwritten. What changes lies in CLASSES by slot, beside the address it belongs to,
//! which the program compares (I5).

use super::{Address, Class, Lane, Lanes, RuleSet, WorkloadSlot, plain::plain};

/// What of a peer depends on the revision.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerLane {
    /// How this node's rule sets see the peer. None = go on with NETWORKS.
    pub class: Class,
    /// The peer's own egress rule set, when this node knows it; none = its own node judges that half.
    pub egress: RuleSet,
    /// The peer's own ingress rule set, when this node knows it; none = its own node judges that half.
    pub ingress: RuleSet,
}

/// One element of CLASSES.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerValue {
    /// The address that the slot belongs to.
    pub address: Address,
    /// Class and rule sets, by lane.
    pub lanes: Lanes<PeerLane>,
    /// Slot of the local workload that owns the address, plus one; 0 = the peer is not on this node.
    pub local: u32,
    /// Zero.
    pub reserved: u32,
}

impl PeerValue {
    /// Class and rule sets of one lane.
    #[inline(always)]
    pub fn lane(&self, lane: Lane) -> PeerLane {
        self.lanes.read(lane)
    }

    /// The local workload that owns the address.
    #[inline(always)]
    pub const fn local_workload(&self) -> Option<WorkloadSlot> {
        match self.local {
            0 => None,
            number => Some(WorkloadSlot(number - 1)),
        }
    }

    /// Says which local workload owns the address.
    pub const fn set_local_workload(&mut self, slot: Option<WorkloadSlot>) {
        self.local = match slot {
            Some(slot) => slot.0 + 1,
            None => 0,
        };
    }
}

plain! {
    PeerLane: 12, align 4;
    PeerValue: 48, align 8;
}
