//! What the kernel says of the node's links, as data.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_datapath::abi::Mac;
use bulkhead_graph::Address;

/// The other end of a veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Far {
    /// Its Ethernet address.
    pub mac: Mac,
    /// What it holds, without link-local addresses.
    pub addresses: BTreeSet<Address>,
}

/// A link of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// For a veth whose other end can be seen.
    pub far: Option<Far>,
}

/// Links, and where the host itself routes single addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Links {
    /// By interface index.
    pub by_index: BTreeMap<u32, Link>,
    /// Routes for one address each, with their interface.
    pub routes: BTreeMap<Address, u32>,
    /// The host's own addresses.
    pub own: BTreeSet<Address>,
    /// Bridges, which stand between a veth and the host.
    pub bridges: BTreeSet<u32>,
}
