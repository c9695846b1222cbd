//! `Node`.

use bulkhead_policy::model::{Fault, Kind, Node, Object};
use k8s_openapi::api::core::v1::Node as CoreNode;

use super::violation::Rejection;
use super::{Converted, metadata, network};

/// Kinds of node addresses that are IP addresses and not names.
const ADDRESS_TYPES: [&str; 2] = ["InternalIP", "ExternalIP"];

/// Reads a node.
///
/// # Errors
/// If it has no name.
pub fn node(object: &CoreNode) -> Result<Converted, Rejection> {
    let reference = metadata::cluster(Kind::Node, &object.metadata)?;
    let mut faults: Vec<Fault> = Vec::new();
    let spec = object.spec.as_ref();
    let listed = spec
        .and_then(|spec| spec.pod_cidrs.as_ref())
        .into_iter()
        .flatten()
        .enumerate();
    let listed = listed.map(|(index, text)| (text, format!("spec.podCIDRs[{index}]")));
    let single = spec
        .and_then(|spec| spec.pod_cidr.as_ref())
        .map(|text| (text, "spec.podCIDR".to_owned()));
    let mut pod_ranges = Vec::new();
    for (text, field) in listed.chain(single).filter(|(text, _)| !text.is_empty()) {
        match network::cidr(text, &field) {
            Ok(range) => pod_ranges.push(range),
            Err(violation) => faults.push(violation.into()),
        }
    }
    let status = object
        .status
        .as_ref()
        .and_then(|status| status.addresses.as_ref());
    let mut addresses = Vec::new();
    for (index, address) in status.into_iter().flatten().enumerate() {
        if ADDRESS_TYPES.contains(&address.type_.as_str()) {
            match network::address(
                &address.address,
                &format!("status.addresses[{index}].address"),
            ) {
                Ok(address) => addresses.push(address),
                Err(violation) => faults.push(violation.into()),
            }
        }
    }
    let labels = metadata::labels(&object.metadata);
    Ok(Converted {
        object: Object::Node(Box::new(Node {
            name: reference.name,
            labels,
            pod_ranges: pod_ranges.into_iter().collect(),
            addresses: addresses.into_iter().collect(),
        })),
        faults,
    })
}
