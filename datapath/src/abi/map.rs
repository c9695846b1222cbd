//! The maps by name, and how much each holds unless the agent asks for another size when it creates them.

/// A map of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapName {
    /// Array of one [`super::NodeValue`].
    Node,
    /// Hash: interface index → [`super::WorkloadSlot`].
    Interfaces,
    /// Array of [`super::Direct`] by the low bits of the interface index.
    Direct,
    /// Array of [`super::WorkloadValue`] by slot.
    Workloads,
    /// Array of [`super::AllowanceValue`] by slot.
    Allowances,
    /// Hash: [`super::Address`] → [`super::PeerSlot`].
    Peers,
    /// Array of [`super::PeerValue`] by slot.
    Classes,
    /// Longest-prefix trie: [`super::NetworkKey`] → [`super::NetworkSlot`].
    Networks,
    /// Array of [`super::NetworkValue`] by slot.
    NetworkClasses,
    /// Array of [`super::PortValue`] by [`super::PortTable`].
    Ports,
    /// Hash: [`super::DecisionKey`] → [`super::DecisionValue`].
    Decisions,
    /// Array of `u64` by [`super::ExpiryId`]: monotonic nanoseconds; 0 = already over.
    Expiries,
    /// Hash: [`super::Address`] → `u32` of `NODE_ADDRESS_*` bits.
    NodeAddresses,
    /// Hash: [`super::FlowKey`] → [`super::FlowValue`].
    Flows,
    /// Hash: [`super::FragmentKey`] → [`super::FragmentValue`].
    Fragments,
    /// Per-CPU hash: [`super::TalkKey`] → [`super::TalkValue`].
    Talks,
    /// Ring of [`super::EventRecord`].
    Events,
    /// Per-CPU array of [`super::CounterValue`] by [`super::CounterIndex`].
    Counters,
    /// Per-CPU array of `u64` by [`super::LossIndex`].
    Losses,
}

impl MapName {
    /// All maps.
    pub const ALL: [MapName; 19] = [
        MapName::Node,
        MapName::Interfaces,
        MapName::Direct,
        MapName::Workloads,
        MapName::Allowances,
        MapName::Peers,
        MapName::Classes,
        MapName::Networks,
        MapName::NetworkClasses,
        MapName::Ports,
        MapName::Decisions,
        MapName::Expiries,
        MapName::NodeAddresses,
        MapName::Flows,
        MapName::Fragments,
        MapName::Talks,
        MapName::Events,
        MapName::Counters,
        MapName::Losses,
    ];

    /// The name of the map in the object and of its pin.
    pub const fn name(self) -> &'static str {
        match self {
            MapName::Node => "NODE",
            MapName::Interfaces => "INTERFACES",
            MapName::Direct => "DIRECT",
            MapName::Workloads => "WORKLOADS",
            MapName::Allowances => "ALLOWANCES",
            MapName::Peers => "PEERS",
            MapName::Classes => "CLASSES",
            MapName::Networks => "NETWORKS",
            MapName::NetworkClasses => "NETWORK_CLASSES",
            MapName::Ports => "PORTS",
            MapName::Decisions => "DECISIONS",
            MapName::Expiries => "EXPIRIES",
            MapName::NodeAddresses => "NODE_ADDRESSES",
            MapName::Flows => "FLOWS",
            MapName::Fragments => "FRAGMENTS",
            MapName::Talks => "TALKS",
            MapName::Events => "EVENTS",
            MapName::Counters => "COUNTERS",
            MapName::Losses => "LOSSES",
        }
    }
}

/// How many entries (EVENTS: bytes) a map has by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Local workloads: WORKLOADS, ALLOWANCES; INTERFACES has twice as many, for deletes that are still waiting.
    pub workloads: u32,
    /// Addresses known by identity: PEERS and CLASSES.
    pub peers: u32,
    /// Prefixes: NETWORKS and NETWORK_CLASSES.
    pub networks: u32,
    /// Decisions of the old and the new revision together.
    pub decisions: u32,
    /// Deadlines, at most 65,536 because a flow keeps 16 bits of the number.
    pub expiries: u32,
    /// Addresses of nodes.
    pub node_addresses: u32,
    /// Flows of all workloads.
    pub flows: u32,
    /// First fragments of all workloads.
    pub fragments: u32,
    /// Talks between two readings.
    pub talks: u32,
    /// Bytes of the event ring; a power of two.
    pub event_bytes: u32,
}

/// The sizes that the object is built with.
pub const CAPACITIES: Capacity = Capacity {
    workloads: 1_024,
    peers: 65_536,
    networks: 16_384,
    decisions: 131_072,
    expiries: 4_096,
    node_addresses: 16_384,
    flows: 131_072,
    fragments: 8_192,
    talks: 16_384,
    event_bytes: 1 << 20,
};

impl Capacity {
    /// How many entries (EVENTS: bytes) this gives one map.
    pub const fn of(&self, map: MapName) -> u32 {
        match map {
            MapName::Node => 1,
            MapName::Interfaces => self.workloads * 2,
            MapName::Direct => super::DIRECT_PLACES,
            MapName::Workloads | MapName::Allowances => self.workloads,
            MapName::Peers | MapName::Classes => self.peers,
            MapName::Networks | MapName::NetworkClasses => self.networks,
            MapName::Ports => super::PortTable::ALL.len() as u32,
            MapName::Decisions => self.decisions,
            MapName::Expiries => self.expiries,
            MapName::NodeAddresses => self.node_addresses,
            MapName::Flows => self.flows,
            MapName::Fragments => self.fragments,
            MapName::Talks => self.talks,
            MapName::Events => self.event_bytes,
            MapName::Counters => super::CounterIndex::LIMIT,
            MapName::Losses => super::LossIndex::ALL.len() as u32,
        }
    }
}
