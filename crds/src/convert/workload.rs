//! `Workload`.

use std::net::IpAddr;

use bulkhead_policy::model::{Kind, NamedPort, Object, ObjectRef, Phase, SortedSet, Workload};

use super::limits::{LIST, bounded, filled, named};
use super::port::{port_number, with_ports};
use super::violation::{Checked, Rejection};
use super::{Converted, metadata, network};
use crate::kinds::{self, WorkloadSpec};

/// Most addresses of one workload.
const ADDRESSES: usize = 16;

/// Reads a declared workload.
///
/// # Errors
/// If it breaks a rule of its schema.
pub fn workload(object: &kinds::Workload) -> Result<Converted, Rejection> {
    let reference = metadata::namespaced(Kind::Workload, &object.metadata)?;
    let workload = read(object, &reference);
    let workload = workload.map_err(|violation| violation.into_rejection(reference.to_string()))?;
    Ok(Converted {
        object: Object::Workload(Kind::Workload, Box::new(workload)),
        faults: Vec::new(),
    })
}

fn read(object: &kinds::Workload, reference: &ObjectRef) -> Checked<Workload> {
    let spec = &object.spec;
    Ok(Workload {
        uid: metadata::uid(&object.metadata, reference),
        owners: SortedSet::new(),
        namespace: reference.namespace.clone(),
        name: reference.name.clone(),
        labels: metadata::labels(&object.metadata),
        service_account: spec.service_account.as_deref().unwrap_or_default().into(),
        node: spec.node.as_deref().map(Into::into),
        addresses: addresses(spec)?,
        named_ports: named_ports(spec)?,
        phase: Phase::Running,
        host_network: false,
        interface: spec.interface.as_deref().map(Into::into),
    })
}

fn addresses(spec: &WorkloadSpec) -> Checked<SortedSet<IpAddr>> {
    filled(&spec.addresses, "spec.addresses", ADDRESSES)?;
    let addresses = spec.addresses.iter().enumerate();
    addresses
        .map(|(index, text)| network::address(text, &format!("spec.addresses[{index}]")))
        .collect()
}

fn named_ports(spec: &WorkloadSpec) -> Checked<SortedSet<NamedPort>> {
    bounded(&spec.ports, "spec.ports", LIST)?;
    let one = |(index, port): (usize, &kinds::WorkloadPort)| {
        named(&port.name, &format!("spec.ports[{index}].name"))?;
        let number = port_number(port.port, &format!("spec.ports[{index}].port"))?;
        Ok(NamedPort {
            name: port.name.as_str().into(),
            protocol: with_ports(port.protocol),
            port: number,
        })
    };
    spec.ports.iter().enumerate().map(one).collect()
}
