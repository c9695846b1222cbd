//! PORTS: from protocol and port, or ICMP type and code, to the class that decisions are made for.

use super::{Lane, PortClass, plain::plain};

/// Numbers in one table.
pub const PORTS_PER_TABLE: usize = 65_536;

/// The tables of PORTS, by index.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortTable {
    /// By destination port.
    Tcp = 0,
    /// By destination port.
    Udp = 1,
    /// By destination port.
    Sctp = 2,
    /// By type × 256 + code.
    Icmp = 3,
    /// By type × 256 + code.
    Icmpv6 = 4,
    /// By protocol number.
    Other = 5,
}

impl PortTable {
    /// All tables in the order of their indices.
    pub const ALL: [PortTable; 6] = [
        PortTable::Tcp,
        PortTable::Udp,
        PortTable::Sctp,
        PortTable::Icmp,
        PortTable::Icmpv6,
        PortTable::Other,
    ];

    /// The table of an IP protocol number.
    #[inline(always)]
    pub const fn of_protocol(protocol: u8) -> Self {
        match protocol {
            6 => PortTable::Tcp,
            17 => PortTable::Udp,
            132 => PortTable::Sctp,
            1 => PortTable::Icmp,
            58 => PortTable::Icmpv6,
            _ => PortTable::Other,
        }
    }
}

/// One element of PORTS: both lanes of all numbers of one table.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PortValue {
    /// Port classes by lane, then by number.
    pub lanes: [[PortClass; PORTS_PER_TABLE]; 2],
}

impl PortValue {
    /// Byte offset of a number inside the element.
    #[inline(always)]
    pub const fn offset(lane: Lane, number: u16) -> usize {
        lane.index() * PORTS_PER_TABLE * size_of::<PortClass>()
            + number as usize * size_of::<PortClass>()
    }
}

plain! { PortValue: 262_144, align 2; }
