//! Addresses of the graph as the tables hold them.

use bulkhead_datapath::abi;
use bulkhead_graph::Address;

/// The same 16 bytes in the tables' type.
pub fn table_address(address: Address) -> abi::Address {
    abi::Address::from_octets(address.0)
}
