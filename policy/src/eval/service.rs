//! What the sender's half says of a flow to a Service: the packet leaves with the Service's address, and which of
//! the endpoints it will reach is decided later.

use super::ports::Wanted;
use super::{Flow, Half, Judge, Owner, Provenance, World, pipeline};
use crate::model::{Address, Direction, Interned, ObjectRef, Protocol, Service};

/// One port of a Service at one of its addresses.
pub(super) struct Entrance<'w> {
    service: &'w Service,
    port_name: &'w Interned,
    is_external: bool,
}

impl World {
    /// The Services that translate this destination. An address of a Service on a port that it does not have is
    /// an address like any other.
    pub(super) fn services_at(
        &self,
        address: Address,
        protocol: Protocol,
        port: u16,
    ) -> Vec<Entrance<'_>> {
        let ip = address.ip();
        // Cluster addresses are given out by the cluster; whoever claims one as external claims it in vain.
        let is_cluster = self.services().any(|s| s.cluster_addresses.contains(&ip));
        let claims = |service: &Service| match is_cluster {
            true => service.cluster_addresses.contains(&ip),
            false => service.external_addresses.contains(&ip),
        };
        let mut entrances = Vec::new();
        for service in self.services().filter(|service| claims(service)) {
            let ports = service
                .ports
                .iter()
                .filter(|p| p.protocol == protocol && p.port == port);
            entrances.extend(ports.map(|p| Entrance {
                service,
                port_name: &p.name,
                is_external: !is_cluster,
            }));
        }
        entrances
    }

    /// Endpoints that may get new connections, with their target ports, of the family of the Service's address.
    fn endpoints(&self, entrance: &Entrance<'_>, flow: &Flow) -> Vec<(Address, u16)> {
        let mut endpoints = Vec::new();
        for slice in self.slices_of(entrance.service) {
            let targets = slice
                .ports
                .iter()
                .filter(|p| p.name == *entrance.port_name && p.protocol == flow.protocol)
                .map(|p| p.port);
            for target in targets {
                let serving = slice.endpoints.iter().filter(|endpoint| endpoint.serving);
                let addresses = serving
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

    /// Whether the endpoint's own node judges what arrives there.
    fn is_guarded(&self, endpoint: Address) -> bool {
        match self.owner(endpoint) {
            Owner::Workload(workload) => workload
                .node
                .as_ref()
                .is_some_and(|n| self.node(n).is_some()),
            Owner::Unknown | Owner::Contested | Owner::Outside => false,
        }
    }
}

impl Judge<'_> {
    /// The sender's half of a flow to a Service: at least one endpoint is allowed, and every endpoint that no
    /// receiver judges is allowed too. An address that a tenant can choose, or that is a workload's, must pass as
    /// what it is as well, so that one tenant's Service does not open another tenant's egress.
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
        let judged: Vec<(Address, Half)> = endpoints
            .into_iter()
            .map(|(address, port)| (address, to(address, port)))
            .collect();
        let open_and_unguarded = judged
            .iter()
            .find(|(address, half)| !half.allowed && !self.world.is_guarded(*address));
        if let Some((_, half)) = open_and_unguarded {
            return half.clone();
        }
        let some_allowed = judged.iter().find(|(_, half)| half.allowed);
        if let Some((_, half)) = some_allowed.or(judged.first()) {
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
