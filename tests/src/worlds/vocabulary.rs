//! The few words that small worlds are written in.

use std::net::IpAddr;

use bulkhead_policy::model::{Address, Lease, Protocol, Timestamp};
use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::select;

/// When small worlds are judged; dates of policies lie around it.
pub const NOW: Timestamp = Timestamp(10_000);

/// Dates of policies.
pub const DATES: &[Timestamp] = &[
    Timestamp(5_000),
    NOW,
    Timestamp(12_000),
    Timestamp(15_000),
    Timestamp(20_000),
];

/// For how long the controller may be unheard, where a policy says so.
pub const LEASES: &[Lease] = &[Lease(1_500), Lease(4_000)];

/// Namespaces. There may be pods in one that has no object.
pub const NAMESPACES: &[&str] = &["red", "green", "blue"];

/// Label keys of workloads.
pub const LABEL_KEYS: &[&str] = &["app", "env"];

/// Label keys of namespaces.
pub const NAMESPACE_KEYS: &[&str] = &["team", "kubernetes.io/metadata.name"];

/// Values of any label; names of namespaces are among them.
pub const LABEL_VALUES: &[&str] = &["a", "b", "red", "green"];

/// Service accounts.
pub const ACCOUNTS: &[&str] = &["default", "teller"];

/// Names of ports.
pub const PORT_NAMES: &[&str] = &["http", "dns"];

/// Segments; the last one never exists.
pub const SEGMENTS: &[&str] = &["inner", "outer", "partner", "missing"];

/// Nodes; the last one never has an object.
pub const NODES: &[&str] = &["n1", "n2", "n3"];

/// Label keys of nodes.
pub const NODE_KEYS: &[&str] = &["zone", "app"];

/// Addresses of nodes themselves; a workload may claim the last one.
pub const NODE_ADDRESSES: &[&str] = &["198.51.100.1", "198.51.100.2", "2001:db8::2", "172.20.0.1"];

/// Addresses that workloads claim: in the ranges of `n1` and `n2`, in a configured range, and in none.
pub const POD_ADDRESSES: &[&str] = &[
    "10.0.1.1",
    "10.0.1.2",
    "10.0.1.9",
    "10.0.2.1",
    "10.0.2.2",
    "10.0.9.1",
    "172.20.0.1",
    "fd00:1::1",
    "fd00:1::2",
    "fd00:2::1",
];

/// Addresses that are nobody's.
pub const OUTSIDE_ADDRESSES: &[&str] = &["192.0.2.1", "192.0.2.130", "2001:db8::1"];

/// Addresses that Services may have.
pub const CLUSTER_ADDRESSES: &[&str] = &["10.96.0.1", "10.96.0.2", "fd00:96::1"];

/// Load-balancer addresses.
pub const EXTERNAL_ADDRESSES: &[&str] = &["203.0.113.1", "203.0.113.2", "10.96.0.2"];

/// Networks, nested and disjoint, of both families.
pub const NETWORKS: &[&str] = &[
    "0.0.0.0/0",
    "10.0.0.0/8",
    "10.0.1.0/24",
    "10.0.1.0/29",
    "10.0.1.2/32",
    "10.0.0.0/15",
    "172.16.0.0/12",
    "192.0.2.0/24",
    "192.0.2.128/25",
    "192.0.2.1/32",
    "203.0.113.0/24",
    "10.96.0.0/16",
    "::/0",
    "fd00::/16",
    "fd00:1::/64",
    "fd00:1::2/127",
    "2001:db8::/32",
];

/// Port numbers in rules, containers and Services.
pub const PORTS: &[u16] = &[53, 80, 443, 8080];

/// What is asked about: numbers of the vocabulary, their neighbours and both ends.
pub const ASKED: &[(Protocol, u16)] = &[
    (Protocol::Tcp, 0),
    (Protocol::Tcp, 53),
    (Protocol::Tcp, 80),
    (Protocol::Tcp, 81),
    (Protocol::Tcp, 443),
    (Protocol::Tcp, 8080),
    (Protocol::Tcp, 65535),
    (Protocol::Udp, 53),
    (Protocol::Udp, 80),
    (Protocol::Sctp, 80),
    (Protocol::Icmp, 8 << 8),
    (Protocol::Icmp, 13 << 8 | 1),
    (Protocol::Icmpv6, 128 << 8),
    (Protocol::Icmpv6, 200 << 8),
    (Protocol::Other, 2),
    (Protocol::Other, 47),
    (Protocol::Other, 50),
];

/// Every address that a small world may speak of, and a neighbour of some.
pub fn addresses() -> Vec<Address> {
    let claimed = POD_ADDRESSES.iter().chain(OUTSIDE_ADDRESSES);
    let services = CLUSTER_ADDRESSES.iter().chain(EXTERNAL_ADDRESSES);
    let neighbours = ["10.0.1.3", "fd00:1::3", "198.51.100.1"].iter();
    let mut addresses: Vec<Address> = claimed
        .chain(services)
        .chain(NODE_ADDRESSES)
        .chain(neighbours)
        .map(|text| Address::from(ip(text)))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("the vocabulary holds addresses")
}

pub(super) fn net(text: &str) -> IpNet {
    text.parse().expect("the vocabulary holds networks")
}

/// One of the words.
pub(super) fn one(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    select(of)
}
