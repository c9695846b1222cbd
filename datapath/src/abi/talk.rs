//! TALKS: sums of what was denied, and of what audit would decide otherwise. (What is allowed is counted in its flow.)

use super::{Address, WorkloadSlot, plain::plain};

/// Who talked to whom, and what became of it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TalkKey {
    /// The other end.
    pub peer: Address,
    /// The local workload.
    pub slot: WorkloadSlot,
    /// Port of the end that was addressed (ICMP: type × 256 + code; others: 0).
    pub server_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// [`super::Hook`] as a number.
    pub hook: u8,
    /// [`super::Reason`] as a number.
    pub reason: u8,
    /// Slot's incarnation, so that a successor is not charged.
    pub incarnation: u8,
    /// 1 if the intended verdict is to allow.
    pub intended: u16,
    /// Zero.
    pub reserved: u32,
}

/// How much.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TalkValue {
    /// Packets.
    pub packets: u64,
    /// Bytes of the frames.
    pub bytes: u64,
}

plain! {
    TalkKey: 32, align 8;
    TalkValue: 16, align 8;
}
