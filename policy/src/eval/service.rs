//! What the sender's half says of a flow to a Service: the packet leaves with the Service's address, and which of
//! the endpoints it will reach is decided later.

use std::collections::BTreeSet;

use bulkhead_graph::cover;

use super::ports::Wanted;
use super::{Flow, Half, Judge, Owner, Provenance, World, pipeline};
use crate::model::{
    Address, Admitted, Beyond, Direction, Interned, LeftOut, ObjectRef, Protocol, Service,
    ServiceLimits,
};

/// One port of a Service at one of its addresses.
pub(super) struct Entrance<'w> {
    service: &'w Service,
    port_name: &'w Interned,
    is_external: bool,
}

/// What a destination is, for whoever sends to it.
pub(super) enum Destination<'w> {
    /// An address like any other. That is also an address of a Service on a port that it does not have.
    Plain,
    /// These translate it; at least one.
    Services(Vec<Entrance<'w>>),
    /// A Service for which there was no room may translate it.
    LeftOut(LeftOut),
}

impl World {
    /// What the Services make of a destination.
    pub(super) fn destination(
        &self,
        address: Address,
        protocol: Protocol,
        port: u16,
    ) -> Destination<'_> {
        let ip = address.ip();
        // Cluster addresses are given out by the cluster; whoever claims one as external claims it in vain.
        let is_cluster = self.services().any(|s| s.cluster_addresses.contains(&ip));
        let all = self.admitted_services();
        let here: Vec<&Admitted<'_>> = all
            .iter()
            .filter(|admitted| match is_cluster {
                true => admitted.cluster_addresses.contains(&ip),
                false => admitted.external_addresses.contains(&ip),
            })
            .collect();
        let mut entrances = Vec::new();
        for admitted in &here {
            let ports = admitted
                .ports
                .iter()
                .filter(|p| p.protocol == protocol && p.port == port);
            entrances.extend(ports.map(|p| Entrance {
                service: admitted.service,
                port_name: &p.name,
                is_external: !is_cluster,
            }));
        }
        if !entrances.is_empty() {
            return Destination::Services(entrances);
        }
        let limits = self.service_limits();
        let left_out = if here.is_empty() {
            let is_outside = self.owner(address) == Owner::Outside;
            is_outside.then(|| behind(&all, address, limits)).flatten()
        } else {
            let beyond = Beyond::Ports(limits.ports);
            let lacking = lacking(&here, protocol, port);
            lacking.map(|service| LeftOut { service, beyond })
        };
        left_out.map_or(Destination::Plain, Destination::LeftOut)
    }

    /// Endpoints with their target ports, of the family of the Service's address.
    fn endpoints(&self, entrance: &Entrance<'_>, flow: &Flow) -> Vec<(Address, u16)> {
        let mut endpoints = Vec::new();
        for slice in self.slices_of(entrance.service) {
            let targets = slice
                .ports
                .iter()
                .filter(|p| p.name == *entrance.port_name && p.protocol == flow.protocol)
                .map(|p| p.port);
            for target in targets {
                let addresses = slice
                    .endpoints
                    .iter()
                    .flat_map(|e| &e.addresses)
                    .map(|ip| Address::from(*ip));
                let family = addresses.filter(|a| a.is_ipv4() == flow.destination.is_ipv4());
                endpoints.extend(family.map(|address| (address, target)));
            }
        }
        endpoints.sort_unstable();
        endpoints.dedup();
        endpoints
    }
}

/// The Service without room that an address belongs to, or may belong to: of those near it, the first by name.
fn behind(all: &[Admitted<'_>], address: Address, limits: ServiceLimits) -> Option<LeftOut> {
    let addresses = |admitted: &Admitted<'_>| -> BTreeSet<Address> {
        let left_out = admitted.left_out.iter();
        left_out.map(|ip| Address::from(*ip)).collect()
    };
    let first = |is_meant: &dyn Fn(Address) -> bool| {
        let meant = all
            .iter()
            .filter(|admitted| addresses(admitted).into_iter().any(is_meant));
        let left_out = meant.map(|admitted| LeftOut {
            service: admitted.reference(),
            beyond: admitted.beyond(limits),
        });
        left_out.min()
    };
    let every: BTreeSet<Address> = all.iter().flat_map(addresses).collect();
    let closed = cover(&every, ServiceLimits::LEFT_OUT_PREFIXES);
    let prefix = closed.iter().find(|prefix| prefix.contains(address))?;
    first(&|other| other == address).or_else(|| first(&|other| prefix.contains(other)))
}

/// Of the Services at an address that lack ports, the first that lacks this one, or any.
fn lacking(here: &[&Admitted<'_>], protocol: Protocol, port: u16) -> Option<ObjectRef> {
    let lacking = || here.iter().filter(|admitted| admitted.lacks_ports());
    let has = |admitted: &&&Admitted<'_>| {
        let mut ports = admitted.service.ports.iter();
        ports.any(|it| it.protocol == protocol && it.port == port)
    };
    let named = lacking().filter(has).map(|admitted| admitted.reference());
    named
        .min()
        .or_else(|| lacking().map(|admitted| admitted.reference()).min())
}

impl Judge<'_> {
    /// The sender's half of a flow to a Service: every endpoint is allowed, and there is one. Which of them the flow reaches
    /// is decided after this, and nobody else judges the sender's half (decision 10). An address that a tenant can choose, or
    /// that is a workload's, must pass as what it is as well, so that one tenant's Service does not open another tenant's
    /// egress.
    pub(super) fn through_service(
        self,
        source: Owner<'_>,
        entrances: &[Entrance<'_>],
        flow: &Flow,
    ) -> Half {
        let Owner::Workload(subject) = source else {
            return self.side(source, Direction::Egress, flow.destination, flow);
        };
        let to = |address: Address, port: u16| {
            let wanted = Wanted {
                protocol: flow.protocol,
                port,
            };
            pipeline::judge(
                self,
                subject,
                Direction::Egress,
                self.world.peer(address),
                wanted,
            )
        };
        let is_owned = matches!(self.world.owner(flow.destination), Owner::Workload(_));
        if is_owned || entrances.iter().any(|entrance| entrance.is_external) {
            let itself = to(flow.destination, flow.port);
            if !itself.allowed {
                return itself;
            }
        }
        let mut endpoints: Vec<(Address, u16)> = entrances
            .iter()
            .flat_map(|entrance| self.world.endpoints(entrance, flow))
            .collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        let judged: Vec<Half> = endpoints
            .into_iter()
            .map(|(address, port)| {
                let Half { allowed, rule } = to(address, port);
                let rule = Box::new(rule);
                let rule = Provenance::Endpoint {
                    address,
                    port,
                    rule,
                };
                Half { allowed, rule }
            })
            .collect();
        let forbidden = judged.iter().find(|half| !half.allowed);
        if let Some(half) = forbidden.or(judged.first()) {
            return half.clone();
        }
        let names = entrances.iter().map(|Entrance { service, .. }| {
            ObjectRef::namespaced(
                crate::model::Kind::Service,
                &service.namespace,
                &service.name,
            )
        });
        names
            .min()
            .map_or(Half::allowed(Provenance::Unopposed), |name| {
                Half::denied(Provenance::NoEndpoint(name))
            })
    }
}
