//! What the programs have to know beside the node's workloads.

use std::collections::BTreeMap;

use bulkhead_datapath::abi::{NODE_ADDRESS_OTHER, NODE_ADDRESS_OWN, WorkloadSlot};
use bulkhead_encode::table_address;
use bulkhead_graph::PeerSet;

use crate::interfaces::Links;
use crate::kernel::{Kernel, KernelError};

/// The node's own addresses, those of all nodes, and its bridges.
/// Before there is a graph nobody knows the other nodes, and what stands there of them stays.
pub(super) fn write_surroundings(
    kernel: &mut Kernel,
    nodes: Option<&PeerSet>,
    links: &Links,
) -> Result<(), KernelError> {
    let others = nodes.into_iter().flat_map(PeerSet::iter);
    let mut wanted: BTreeMap<_, u32> = others
        .map(|address| (table_address(address), NODE_ADDRESS_OTHER))
        .collect();
    let own = links.own.iter();
    wanted.extend(own.map(|address| (table_address(*address), NODE_ADDRESS_OWN)));
    let map = &mut kernel.maps.node_addresses;
    for (address, bits) in map.entries()? {
        if wanted.get(&address) == Some(&bits) {
            wanted.remove(&address);
        } else if nodes.is_some() || bits & NODE_ADDRESS_OWN != 0 || wanted.contains_key(&address) {
            map.remove(&address)?;
        }
    }
    for (address, bits) in wanted {
        map.insert(&address, &bits)?;
    }
    for ifindex in &links.bridges {
        kernel
            .maps
            .interfaces
            .insert(ifindex, &WorkloadSlot::BRIDGE)?;
    }
    Ok(())
}
