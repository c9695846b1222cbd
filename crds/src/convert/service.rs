//! `Service`.

use std::net::IpAddr;

use bulkhead_policy::model::{Fault, Kind, Object, Service, ServicePort, SortedSet};
use k8s_openapi::api::core::v1::Service as CoreService;

use super::port::{port_number, upstream_protocol};
use super::violation::{Rejection, Violation};
use super::{Converted, metadata, network};

/// What stands in `clusterIP` of a Service without an address.
const HEADLESS: &str = "None";

/// Reads a Service.
///
/// # Errors
/// If it has no name.
pub fn service(object: &CoreService) -> Result<Converted, Rejection> {
    let reference = metadata::namespaced(Kind::Service, &object.metadata)?;
    let mut faults = Vec::new();
    let service = Service {
        cluster_addresses: addresses(cluster_addresses(object), &mut faults),
        external_addresses: addresses(external_addresses(object), &mut faults),
        ports: ports(object, &mut faults),
        namespace: reference.namespace,
        name: reference.name,
    };
    Ok(Converted {
        object: Object::Service(Box::new(service)),
        faults,
    })
}

fn cluster_addresses(object: &CoreService) -> Vec<(String, String)> {
    let spec = object.spec.as_ref();
    let listed = spec
        .and_then(|spec| spec.cluster_ips.as_ref())
        .into_iter()
        .flatten()
        .enumerate();
    let listed = listed.map(|(index, text)| (text.clone(), format!("spec.clusterIPs[{index}]")));
    let single = spec
        .and_then(|spec| spec.cluster_ip.clone())
        .map(|text| (text, "spec.clusterIP".to_owned()));
    listed
        .chain(single)
        .filter(|(text, _)| text != HEADLESS)
        .collect()
}

fn external_addresses(object: &CoreService) -> Vec<(String, String)> {
    let listed = object
        .spec
        .as_ref()
        .and_then(|spec| spec.external_ips.as_ref())
        .into_iter()
        .flatten();
    let listed = listed
        .enumerate()
        .map(|(index, text)| (text.clone(), format!("spec.externalIPs[{index}]")));
    let balancer = object
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let balancer = balancer
        .and_then(|balancer| balancer.ingress.as_ref())
        .into_iter()
        .flatten()
        .enumerate();
    let balancer = balancer.filter_map(|(index, ingress)| {
        Some((
            ingress.ip.clone()?,
            format!("status.loadBalancer.ingress[{index}].ip"),
        ))
    });
    listed.chain(balancer).collect()
}

fn addresses(texts: Vec<(String, String)>, faults: &mut Vec<Fault>) -> SortedSet<IpAddr> {
    let mut addresses = Vec::new();
    for (text, field) in texts.into_iter().filter(|(text, _)| !text.is_empty()) {
        match network::address(&text, &field) {
            Ok(address) => addresses.push(address),
            Err(violation) => faults.push(violation.into()),
        }
    }
    addresses.into_iter().collect()
}

fn ports(object: &CoreService, faults: &mut Vec<Fault>) -> Vec<ServicePort> {
    let ports = object
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_ref())
        .into_iter()
        .flatten()
        .enumerate();
    let read = |(index, port): (usize, &k8s_openapi::api::core::v1::ServicePort)| {
        let field = format!("spec.ports[{index}]");
        let protocol = upstream_protocol(port.protocol.as_deref(), &format!("{field}.protocol"))?;
        let number = port_number(port.port, &format!("{field}.port"))?;
        Ok(ServicePort {
            name: port.name.as_deref().unwrap_or_default().into(),
            protocol,
            port: number,
        })
    };
    let (ports, violations): (Vec<_>, Vec<Result<_, Violation>>) =
        ports.map(read).partition(Result::is_ok);
    faults.extend(
        violations
            .into_iter()
            .filter_map(Result::err)
            .map(Fault::from),
    );
    ports.into_iter().filter_map(Result::ok).collect()
}
