//! What stands behind Service addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_graph::{Address, ServiceAddress, ServiceBackend, ServicePort};

use crate::model::{EndpointSlice, Interned, Service};

/// Who is behind an address, as far as a Service cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backend {
    /// A workload whose own node judges what arrives.
    Guarded,
    /// A workload on no node that we know.
    Unguarded,
    /// No workload.
    Stranger,
}

type ObjectName = (Interned, Interned);

#[derive(Default)]
pub(super) struct Services {
    services: BTreeMap<ObjectName, Service>,
    slices: BTreeMap<ObjectName, EndpointSlice>,
    /// Addresses whose owner the map depends on.
    watched: BTreeSet<Address>,
    map: Arc<BTreeMap<Address, ServiceAddress>>,
    stale: bool,
}

impl Services {
    pub(super) fn map(&self) -> Arc<BTreeMap<Address, ServiceAddress>> {
        self.map.clone()
    }

    pub(super) fn service_names(&self) -> Vec<ObjectName> {
        self.services.keys().cloned().collect()
    }

    pub(super) fn slice_names(&self) -> Vec<ObjectName> {
        self.slices.keys().cloned().collect()
    }

    pub(super) fn apply_service(&mut self, service: Service) {
        let name = (service.namespace.clone(), service.name.clone());
        if self.services.get(&name) != Some(&service) {
            self.services.insert(name, service);
            self.stale = true;
        }
    }

    pub(super) fn delete_service(&mut self, name: &ObjectName) {
        self.stale |= self.services.remove(name).is_some();
    }

    pub(super) fn apply_slice(&mut self, slice: EndpointSlice) {
        let name = (slice.namespace.clone(), slice.name.clone());
        if self.slices.get(&name) != Some(&slice) {
            self.slices.insert(name, slice);
            self.stale = true;
        }
    }

    pub(super) fn delete_slice(&mut self, name: &ObjectName) {
        self.stale |= self.slices.remove(name).is_some();
    }

    /// A node appeared or went.
    pub(super) fn nodes_changed(&mut self) {
        self.stale = true;
    }

    /// An address may be judged by its own node now, or no longer.
    pub(super) fn owner_changed(&mut self, address: Address) {
        self.stale |= self.watched.contains(&address);
    }

    /// Makes the map anew where something changed; `true` if it is another.
    pub(super) fn settle(&mut self, owner: impl Fn(Address) -> Backend) -> bool {
        if !std::mem::take(&mut self.stale) {
            return false;
        }
        let mut slices: BTreeMap<(&Interned, &Interned), Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in self.slices.values() {
            slices
                .entry((&slice.namespace, &slice.service))
                .or_default()
                .push(slice);
        }
        let mut map = BTreeMap::new();
        let mut cluster = BTreeSet::new();
        for service in self.services.values() {
            let slices = slices
                .get(&(&service.namespace, &service.name))
                .map(Vec::as_slice);
            let ports: Vec<ServicePort> = ports(service, slices.unwrap_or_default(), &owner);
            let given = service
                .cluster_addresses
                .iter()
                .map(|ip| (Address::from(*ip), true));
            let claimed = service
                .external_addresses
                .iter()
                .map(|ip| (Address::from(*ip), false));
            for (address, by_cluster) in given.chain(claimed) {
                // Cluster addresses are given out by the cluster; whoever claims one as external does so in vain.
                if by_cluster && cluster.insert(address) {
                    map.remove(&address);
                } else if !by_cluster && cluster.contains(&address) {
                    continue;
                }
                let external = !by_cluster || owner(address) != Backend::Stranger;
                let entry = map.entry(address).or_insert_with(|| ServiceAddress {
                    external,
                    ports: Vec::new(),
                });
                entry.ports.extend(of_family(&ports, address));
            }
        }
        map.values_mut()
            .for_each(|service: &mut ServiceAddress| merge_ports(&mut service.ports));
        self.watched = map
            .values()
            .flat_map(|service| service.ports.iter().flat_map(|port| port.backends.iter()))
            .map(|backend| backend.address)
            .chain(map.keys().copied())
            .collect();
        if map == *self.map {
            return false;
        }
        self.map = Arc::new(map);
        true
    }
}

/// Where two Services claim one address, or name one port twice, either's endpoints may be meant.
fn merge_ports(ports: &mut Vec<ServicePort>) {
    ports.sort();
    ports.dedup_by(|next, first| {
        let same = (next.protocol, next.port) == (first.protocol, first.port);
        if same {
            first.backends.append(&mut next.backends);
            first.backends.sort();
            first.backends.dedup();
        }
        same
    });
}

/// An address forwards to endpoints of its own family only.
fn of_family(ports: &[ServicePort], address: Address) -> Vec<ServicePort> {
    let mut ports = ports.to_vec();
    for port in &mut ports {
        port.backends
            .retain(|backend| backend.address.is_ipv4() == address.is_ipv4());
    }
    ports
}

fn ports(
    service: &Service,
    slices: &[&EndpointSlice],
    owner: &impl Fn(Address) -> Backend,
) -> Vec<ServicePort> {
    let ports = service.ports.iter().map(|port| {
        let mut backends: Vec<ServiceBackend> = Vec::new();
        for slice in slices {
            let same = |target: &&crate::model::ServicePort| {
                target.name == port.name && target.protocol == port.protocol
            };
            for target in slice.ports.iter().filter(same) {
                let serving = slice.endpoints.iter().filter(|endpoint| endpoint.serving);
                backends.extend(serving.flat_map(|endpoint| &endpoint.addresses).map(|ip| {
                    let address = Address::from(*ip);
                    ServiceBackend {
                        address,
                        port: target.port,
                        guarded: owner(address) == Backend::Guarded,
                    }
                }));
            }
        }
        backends.sort();
        backends.dedup();
        ServicePort {
            protocol: port.protocol,
            port: port.port,
            backends,
        }
    });
    ports.collect()
}
