//! A node of the kernel rung: small tables, and interfaces for workloads that go by their numbers.

use bulkhead_datapath::abi::{Capacity, Mac};

use crate::place::ip;

/// Small, so that a kernel takes tables in and gives them out at once.
pub(crate) const CAPACITY: Capacity = Capacity {
    workloads: 16,
    peers: 256,
    networks: 128,
    decisions: 4_096,
    expiries: 64,
    node_addresses: 16,
    flows: 4_096,
    fragments: 64,
    talks: 4_096,
    event_bytes: 1 << 16,
};

const FIRST_INTERFACE: u32 = 11;

/// Ethernet address of a workload.
pub(crate) fn mac(number: usize) -> Mac {
    Mac {
        octets: [2, 0, 0, 0, 1, u8::try_from(number).unwrap()],
    }
}

/// Interface of a workload.
pub(crate) fn ifindex(number: usize) -> u32 {
    FIRST_INTERFACE + u32::try_from(number).unwrap()
}

/// Makes the workloads' interfaces in this thread's network.
pub(crate) fn wire(workloads: usize) {
    for number in 0..workloads {
        let (near, far) = (format!("near{number}"), format!("far{number}"));
        let octets = mac(number).octets.map(|octet| format!("{octet:02x}"));
        ip(&[
            "link",
            "add",
            &near,
            "index",
            &ifindex(number).to_string(),
            "type",
            "veth",
            "peer",
            "name",
            &far,
            "address",
            &octets.join(":"),
        ]);
    }
}
