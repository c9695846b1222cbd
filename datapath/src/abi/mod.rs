//! The contract between the agent and its programs: every key, value, name and size of every map.
//!
//! All types are `#[repr(C)]` plain data without hidden padding ([`Plain`]); each size is asserted at compile time.
//! Whoever changes one of them raises [`ABI_VERSION`]: pinned state of another version is never opened.
#![allow(
    unsafe_code,
    reason = "layout is this room's business: byte views and volatile lane reads live here"
)]

mod address;
mod counter;
mod decision;
mod direct;
mod event;
mod flow;
mod fragment;
mod lane;
mod map;
mod network;
mod node;
mod number;
mod peer;
mod plain;
mod port;
mod reason;
mod talk;
mod workload;

pub use address::{Address, Mac};
pub use counter::{CounterIndex, CounterValue, LossIndex};
pub use decision::{DecisionKey, DecisionValue};
pub use direct::{DIRECT_PLACES, Direct};
pub use event::{EventKind, EventRecord};
pub use flow::{
    FlowJudged, FlowKey, FlowLife, FlowOwner, FlowState, FlowTraffic, FlowValue, Opener,
};
pub use fragment::{FragmentKey, FragmentValue};
pub use lane::{Lane, Lanes};
pub use map::{CAPACITIES, Capacity, MapName};
pub use network::{NetworkKey, NetworkValue};
pub use node::{NODE_ADDRESS_OTHER, NODE_ADDRESS_OWN, NodeValue, SWITCH_REPORT_OPENED};
pub use number::{
    Class, ExpiryId, Generation, NetworkSlot, PeerSlot, PortClass, RuleSet, WorkloadSlot,
};
pub use peer::{PeerLane, PeerValue};
pub use plain::Plain;
pub use port::{PORTS_PER_TABLE, PortTable, PortValue};
pub use reason::{Action, Reason};
pub use talk::{TalkKey, TalkValue};
pub use workload::{
    ADDRESSES_PER_FAMILY, AllowanceValue, WORKLOAD_MAY_ROUTE, WORKLOAD_PENDING, WorkloadLane,
    WorkloadValue,
};

/// Version of everything in this module. It is part of the path under which maps and links are pinned.
pub const ABI_VERSION: u32 = 4;

/// Which of the two programs sees the packet. The numbers are part of the ABI (counters, events, talks).
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// The packet leaves a workload (ingress of the host side of its veth).
    FromWorkload = 0,
    /// The packet is about to enter a workload (egress of the host side of its veth).
    ToWorkload = 1,
}

impl Hook {
    /// Both hooks, in the order of their numbers.
    pub const ALL: [Hook; 2] = [Hook::FromWorkload, Hook::ToWorkload];

    /// The stable name of the hook, which is also the name of its program in the object.
    pub const fn name(self) -> &'static str {
        match self {
            Hook::FromWorkload => "from_workload",
            Hook::ToWorkload => "to_workload",
        }
    }
}
