//! FRAGMENTS: the ports of a datagram's first fragment, for those that follow it.

use super::{Address, plain::plain};

/// Which datagram, at which workload and hook.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentKey {
    /// Source of the datagram.
    pub source: Address,
    /// Destination of the datagram.
    pub destination: Address,
    /// Identification (16 bits in IPv4, 32 in IPv6).
    pub identification: u32,
    /// Slot × 65,536 + hook × 256 + protocol.
    pub owner: u32,
}

/// What the first fragment said.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FragmentValue {
    /// Source port (ICMP: identifier).
    pub source_port: u16,
    /// Destination port (ICMP: type × 256 + code).
    pub destination_port: u16,
    /// When, in ticks of 2^30 ns.
    pub seen: u32,
    /// Protocol number of the transport header.
    pub protocol: u8,
    /// Whether it asks or answers (ICMP), as a number of [`crate::parse::Query`].
    pub query: u8,
    /// Zero.
    pub reserved: [u8; 2],
}

plain! {
    FragmentKey: 40, align 8;
    FragmentValue: 12, align 4;
}
