//! `EndpointSlice`.

use bulkhead_policy::model::{Endpoint, EndpointSlice, Fault, Kind, Object, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint as CoreEndpoint, EndpointSlice as CoreSlice};

use super::port::{port_number, upstream_protocol};
use super::violation::Rejection;
use super::{Converted, metadata, network};

/// The label that ties a slice to its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// Reads a slice. One that belongs to no Service has an empty service name and means nothing to anybody.
///
/// # Errors
/// If it has no name.
pub fn endpoint_slice(object: &CoreSlice) -> Result<Converted, Rejection> {
    let reference = metadata::namespaced(Kind::EndpointSlice, &object.metadata)?;
    let mut faults = Vec::new();
    let labels = object.metadata.labels.as_ref();
    let service = labels
        .and_then(|labels| labels.get(SERVICE_LABEL))
        .map(String::as_str)
        .unwrap_or_default();
    // Slices of host names have no addresses.
    let endpoints = if object.address_type == "FQDN" {
        &[]
    } else {
        object.endpoints.as_deref().unwrap_or_default()
    };
    let endpoints = endpoints.iter().enumerate();
    let slice = EndpointSlice {
        service: service.into(),
        ports: ports(object, &mut faults),
        endpoints: endpoints
            .map(|(index, it)| endpoint(it, index, &mut faults))
            .collect(),
        namespace: reference.namespace,
        name: reference.name,
    };
    Ok(Converted {
        object: Object::EndpointSlice(Box::new(slice)),
        faults,
    })
}

fn endpoint(endpoint: &CoreEndpoint, index: usize, faults: &mut Vec<Fault>) -> Endpoint {
    let mut addresses = Vec::new();
    for (position, text) in endpoint.addresses.iter().enumerate() {
        match network::address(text, &format!("endpoints[{index}].addresses[{position}]")) {
            Ok(address) => addresses.push(address),
            Err(violation) => faults.push(violation.into()),
        }
    }
    Endpoint {
        addresses: addresses.into_iter().collect(),
    }
}

fn ports(object: &CoreSlice, faults: &mut Vec<Fault>) -> Vec<ServicePort> {
    let mut ports = Vec::new();
    for (index, port) in object.ports.iter().flatten().enumerate() {
        let field = format!("ports[{index}]");
        // A slice without a number means every port; Services never make such slices.
        let Some(number) = port.port else { continue };
        let protocol = upstream_protocol(port.protocol.as_deref(), &format!("{field}.protocol"));
        match (protocol, port_number(number, &format!("{field}.port"))) {
            (Ok(protocol), Ok(port_number)) => ports.push(ServicePort {
                name: port.name.as_deref().unwrap_or_default().into(),
                protocol,
                port: port_number,
            }),
            (Err(violation), _) | (_, Err(violation)) => faults.push(violation.into()),
        }
    }
    ports
}
