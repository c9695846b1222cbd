//! What the sender's half says of a flow to a Service: the packet leaves with the Service's address, and which of
//! the endpoints it will reach is decided later.

use std::collections::BTreeSet;

use bulkhead_graph::cover;

use super::ports::Wanted;
use super::{Flow, Half, Judge, Owner, Provenance, World, pipeline};
use crate::model::{
    Address, Admitted, Direction, Interned, ObjectRef, Protocol, Service, ServiceLimits,
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
    LeftOut,
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
        let left_out = || -> BTreeSet<Address> {
            let addresses = all.iter().flat_map(|admitted| &admitted.left_out);
            addresses.map(|ip| Address::from(*ip)).collect()
        };
        let is_left_out = if here.is_empty() {
            self.owner(address) == Owner::Outside
                && cover(&left_out(), ServiceLimits::LEFT_OUT_PREFIXES)
                    .iter()
                    .any(|prefix| prefix.contains(address))
        } else {
            here.iter().any(|admitted| admitted.lacks_ports())
        };
        if is_left_out {
            Destination::LeftOut
        } else {
            Destination::Plain
        }
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
