//! NETWORKS and NETWORK_CLASSES: the longest prefix that contains an address which CLASSES does not settle.

use super::{Address, Class, Lanes, plain::plain};

/// Key of NETWORKS as the kernel's longest-prefix trie wants it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkKey {
    /// Significant bits of the mapped address: 96 + n for an IPv4 prefix of n bits.
    pub prefix_length: u32,
    /// The address in network order.
    pub octets: [u8; 16],
}

impl NetworkKey {
    /// The key that matches one address by its longest prefix, or names a prefix.
    pub const fn new(address: Address, prefix_length: u32) -> Self {
        Self {
            prefix_length,
            octets: address.octets(),
        }
    }
}

/// One element of NETWORK_CLASSES.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkValue {
    /// The prefix that the slot belongs to; the program compares it (I5).
    pub prefix: Address,
    /// Significant bits of `prefix`, of 128.
    pub prefix_length: u32,
    /// Class by lane. A new prefix starts with its parent's class in the active lane; none = nothing known: deny.
    pub lanes: Lanes<Class>,
    /// Zero.
    pub reserved: u32,
}

plain! {
    NetworkKey: 20, align 4;
    NetworkValue: 32, align 8;
}
