//! The ends of the flows that are asked about.

use std::net::IpAddr;

use anyhow::{Result, bail};
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
    let mut endpoints = live(objects)
        .map(|(kind, workload)| endpoint(kind, workload))
        .collect::<Result<Vec<Endpoint>>>()?;
    endpoints.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(endpoints)
}

fn live(objects: &[Object]) -> impl Iterator<Item = (Kind, &Workload)> {
    objects.iter().filter_map(|object| match object {
        Object::Workload(kind, workload) if workload.is_live() => Some((*kind, &**workload)),
        Object::Workload(..)
        | Object::Namespace(_)
        | Object::Node(_)
        | Object::Service(_)
        | Object::EndpointSlice(_)
        | Object::Segment(_)
        | Object::Policy(_) => None,
    })
}

fn full_name(workload: &Workload) -> String {
    format!("{}/{}", workload.namespace, workload.name)
}

fn endpoint(kind: Kind, workload: &Workload) -> Result<Endpoint> {
    let name = full_name(workload);
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
///
/// # Errors
/// If it names nobody, several, or a workload without an address.
pub(crate) fn find(text: &str, objects: &[Object]) -> Result<Endpoint> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Endpoint::external(address));
    }
    let is_meant = |(_, workload): &(Kind, &Workload)| {
        workload.name.as_ref() == text || full_name(workload) == text
    };
    let meant: Vec<(Kind, &Workload)> = live(objects).filter(is_meant).collect();
    match meant[..] {
        [(kind, workload)] => endpoint(kind, workload),
        [] => bail!(
            "there is no workload {text}; write NAMESPACE/NAME or an address: {}",
            those_there_are(objects)
        ),
        _ => {
            let mut names: Vec<String> = meant
                .iter()
                .map(|(_, workload)| full_name(workload))
                .collect();
            names.sort();
            bail!("{text} may be {}; write NAMESPACE/NAME", names.join(" or "))
        }
    }
}

fn those_there_are(objects: &[Object]) -> String {
    /// More would scroll the message away.
    const SHOWN: usize = 10;
    let mut names: Vec<String> = live(objects)
        .map(|(_, workload)| full_name(workload))
        .collect();
    names.sort();
    let rest = if names.len() > SHOWN { ", …" } else { "" };
    names.truncate(SHOWN);
    if names.is_empty() {
        return "the manifests hold no workload".to_owned();
    }
    format!("the manifests hold {}{rest}", names.join(", "))
}
