//! EVENTS: what happened once, for those who watch. Losing one costs no packet (I12) and is counted.

use super::{Address, Class, Generation, RuleSet, WorkloadSlot, plain::plain};

/// What happened.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A flow was allowed and remembered.
    Opened = 1,
    /// A packet was dropped.
    Denied = 2,
    /// A flow was allowed which the intended policy denies.
    WouldDeny = 3,
    /// A packet was dropped which the intended policy allows.
    WouldAllow = 4,
    /// A flow ended: its ends said so, or it was judged again and denied.
    Closed = 5,
}

impl EventKind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => EventKind::Opened,
            2 => EventKind::Denied,
            3 => EventKind::WouldDeny,
            4 => EventKind::WouldAllow,
            5 => EventKind::Closed,
            _ => return None,
        })
    }
}

/// One record. Rules are named by the agent, from generation, rule set, class and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventRecord {
    /// Monotonic time, nanoseconds.
    pub time_ns: u64,
    /// The revision that judged.
    pub generation: Generation,
    /// The other end.
    pub peer: Address,
    /// The workload's side of the tuple.
    pub local: Address,
    /// The local workload.
    pub slot: WorkloadSlot,
    /// The rule set that decided; of the half that denied, else the workload's own.
    pub rule_set: RuleSet,
    /// The class it decided about.
    pub class: Class,
    /// Bytes of the frame.
    pub length: u32,
    /// The workload's port (ICMP: identifier).
    pub local_port: u16,
    /// The peer's port (ICMP: type × 256 + code).
    pub peer_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// [`EventKind`] as a number.
    pub kind: u8,
    /// [`super::Reason`] as a number.
    pub reason: u8,
    /// [`super::Hook`] as a number.
    pub hook: u8,
}

plain! { EventRecord: 72, align 8; }
