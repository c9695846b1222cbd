//! The ends of the flows that are asked about.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use bulkhead_graph::Address;
use bulkhead_policy::model::{Kind, Object, Workload};

/// A workload or an outside address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `namespace/name`, or the address.
    pub(crate) name: String,
    /// IPv4 before IPv6; never empty.
    pub(crate) addresses: Vec<Address>,
    /// What it is.
    pub(crate) kind: EndpointKind,
}

/// What an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointKind {
    /// Pod or declared workload.
    Workload,
    /// Named by its address.
    External,
}

impl Endpoint {
    /// An address that is no workload's, or is asked about as if it were not.
    pub(crate) fn external(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            name: address.to_string(),
            addresses: vec![address.into()],
            kind: EndpointKind::External,
        }
    }

    /// The addresses by which one end reaches the other, one pair for each family that both have.
    pub(crate) fn pairs(&self, other: &Self) -> Vec<(Address, Address)> {
        let first = |end: &Self, is_ipv4: bool| {
            end.addresses
                .iter()
                .copied()
                .find(|it| it.is_ipv4() == is_ipv4)
        };
        [true, false]
            .iter()
            .filter_map(|family| Some((first(self, *family)?, first(other, *family)?)))
            .collect()
    }
}

/// Every workload that takes part, in the order of names.
///
/// # Errors
/// Names the first one without an address: nobody can say what it may reach.
pub(crate) fn workloads(objects: &[Object]) -> Result<Vec<Endpoint>> {
    let mut endpoints = Vec::new();
    for object in objects {
        let Object::Workload(kind, workload) = object else {
            continue;
        };
        if workload.is_live() {
            endpoints.push(endpoint(*kind, workload)?);
        }
    }
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(endpoints)
}

fn endpoint(kind: Kind, workload: &Workload) -> Result<Endpoint> {
    let name = format!("{}/{}", workload.namespace, workload.name);
    if workload.addresses.is_empty() {
        let field = if kind == Kind::Pod {
            "status.podIP"
        } else {
            "spec.addresses"
        };
        bail!(
            "{} {name}: {field}: it has no address, so no flow of it can be judged; give it one",
            kind.name()
        );
    }
    // The order of addresses puts IPv4 first.
    let addresses = workload
        .addresses
        .iter()
        .map(|address| Address::from(*address))
        .collect();
    Ok(Endpoint {
        name,
        addresses,
        kind: EndpointKind::Workload,
    })
}

/// One end by what a person typed: `namespace/name`, `name` if only one namespace has it, or an address.
pub(crate) fn find(text: &str, workloads: &[Endpoint]) -> Result<Endpoint> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Endpoint::external(address));
    }
    if let Some(found) = workloads.iter().find(|endpoint| endpoint.name == text) {
        return Ok(found.clone());
    }
    let is_named = |endpoint: &&Endpoint| {
        endpoint
            .name
            .rsplit_once('/')
            .is_some_and(|(_, name)| name == text)
    };
    let named: Vec<&Endpoint> = workloads.iter().filter(is_named).collect();
    match named[..] {
        [only] => Ok(only.clone()),
        [] => nearest(text, workloads).with_context(|| {
            format!("there is no workload {text}; write NAMESPACE/NAME or an address")
        }),
        _ => {
            let names: Vec<&str> = named
                .iter()
                .map(|endpoint| endpoint.name.as_str())
                .collect();
            bail!("{text} may be {}; write NAMESPACE/NAME", names.join(" or "))
        }
    }
}

fn nearest(text: &str, workloads: &[Endpoint]) -> Result<Endpoint> {
    let names: Vec<&str> = workloads
        .iter()
        .map(|endpoint| endpoint.name.as_str())
        .take(10)
        .collect();
    if names.is_empty() {
        bail!("the manifests hold no workload ({text} or other)");
    }
    bail!(
        "the manifests hold {}{}",
        names.join(", "),
        if workloads.len() > names.len() {
            ", …"
        } else {
            ""
        }
    )
}
