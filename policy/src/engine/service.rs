//! What stands behind Service addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_graph::{Address, Prefix, ServiceAddress, ServiceBackend, ServicePort, cover};

use crate::model::{EndpointSlice, Interned, LeftOut, ObjectRef, Protocol, Service, ServiceLimits};

type ObjectName = (Interned, Interned);

#[derive(Default)]
pub(super) struct Services {
    services: BTreeMap<ObjectName, Service>,
    slices: BTreeMap<ObjectName, EndpointSlice>,
    map: Arc<BTreeMap<Address, ServiceAddress>>,
    /// Around the cluster addresses that are left out.
    closed: Arc<[Prefix]>,
    problems: BTreeMap<ObjectRef, String>,
    /// Cluster addresses that are left out, with the first Service that has them.
    left_out: BTreeMap<Address, LeftOut>,
    /// Services some ports of which are left out, by the addresses that are not.
    lacking: BTreeMap<Address, Vec<Lacking>>,
    stale: bool,
}

/// A Service, and all of its ports.
struct Lacking {
    service: ObjectRef,
    ports: Vec<(Protocol, u16)>,
}

impl Services {
    pub(super) fn map(&self) -> Arc<BTreeMap<Address, ServiceAddress>> {
        self.map.clone()
    }

    pub(super) fn closed(&self) -> Arc<[Prefix]> {
        self.closed.clone()
    }

    /// What people have to know of Services that there is no room for.
    pub(super) fn problems(&self) -> &BTreeMap<ObjectRef, String> {
        &self.problems
    }

    /// The Service without room that an address beside the map belongs to, or may belong to: of those near it, the first.
    pub(super) fn left_out_at(&self, address: Address) -> Option<&LeftOut> {
        let prefix = self.closed.iter().find(|it| it.contains(address))?;
        self.left_out.get(&address).or_else(|| {
            let near = self.left_out.iter().filter(|(it, _)| prefix.contains(**it));
            near.map(|(_, left_out)| left_out).min()
        })
    }

    /// The Service whose port it may be that was left out at an address of the map.
    pub(super) fn lacking_at(
        &self,
        address: Address,
        protocol: Protocol,
        port: u16,
    ) -> Option<&ObjectRef> {
        let lacking = self.lacking.get(&address)?;
        let has = |it: &&Lacking| it.ports.contains(&(protocol, port));
        lacking
            .iter()
            .find(has)
            .or(lacking.first())
            .map(|it| &it.service)
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

    /// An address belongs to a workload now, or no longer.
    pub(super) fn owner_changed(&mut self, address: Address) {
        self.stale |= self.map.contains_key(&address);
    }

    /// Makes the map anew where something changed; `true` if it is another.
    pub(super) fn settle(
        &mut self,
        limits: ServiceLimits,
        is_owned: impl Fn(Address) -> bool,
    ) -> bool {
        if !std::mem::take(&mut self.stale) {
            return false;
        }
        let mut slices = SlicesByService::new();
        for slice in self.slices.values() {
            slices
                .entry((&slice.namespace, &slice.service))
                .or_default()
                .push(slice);
        }
        let mut map = BTreeMap::new();
        let mut problems = BTreeMap::new();
        let mut lacking: BTreeMap<Address, Vec<Lacking>> = BTreeMap::new();
        let (mut cluster, mut left_out) = (BTreeSet::new(), BTreeMap::new());
        let slices_of = |service| of_service(&slices, service);
        for admitted in limits.admit(self.services.values(), slices_of) {
            let service = admitted.service;
            if let Some(problem) = admitted.problem(limits) {
                problems.insert(admitted.reference(), problem);
            }
            for address in admitted.left_out.iter().map(|ip| Address::from(*ip)) {
                left_out.entry(address).or_insert_with(|| LeftOut {
                    service: admitted.reference(),
                    beyond: admitted.beyond(limits),
                });
                if cluster.insert(address) {
                    map.remove(&address);
                    lacking.remove(&address);
                }
            }
            if !admitted.has_addresses() {
                continue;
            }
            let slices: Vec<&EndpointSlice> = slices_of(service).collect();
            let ports: Vec<ServicePort> = ports(&admitted.ports, &slices);
            let given = admitted
                .cluster_addresses
                .iter()
                .map(|ip| (Address::from(*ip), true));
            let claimed = admitted
                .external_addresses
                .iter()
                .map(|ip| (Address::from(*ip), false));
            for (address, by_cluster) in given.chain(claimed) {
                // Cluster addresses are given out by the cluster; whoever claims one as external does so in vain.
                if by_cluster && cluster.insert(address) {
                    map.remove(&address);
                    lacking.remove(&address);
                } else if !by_cluster && cluster.contains(&address) {
                    continue;
                }
                let entry = map.entry(address).or_insert_with(|| ServiceAddress {
                    namespaces: Vec::new(),
                    external: !by_cluster || is_owned(address),
                    closed: false,
                    ports: Vec::new(),
                });
                // Services come in the order of their namespaces.
                if entry.namespaces.last() != Some(&service.namespace) {
                    entry.namespaces.push(service.namespace.clone());
                }
                if admitted.lacks_ports() {
                    entry.closed = true;
                    let ports = service.ports.iter().map(|it| (it.protocol, it.port));
                    lacking.entry(address).or_default().push(Lacking {
                        service: admitted.reference(),
                        ports: ports.collect(),
                    });
                }
                entry.ports.extend(of_family(&ports, address));
            }
        }
        map.values_mut()
            .for_each(|service: &mut ServiceAddress| merge_ports(&mut service.ports));
        (self.problems, self.lacking) = (problems, lacking);
        let addresses: BTreeSet<Address> = left_out.keys().copied().collect();
        let closed = cover(&addresses, ServiceLimits::LEFT_OUT_PREFIXES);
        self.left_out = left_out;
        if map == *self.map && *closed == *self.closed {
            return false;
        }
        self.map = Arc::new(map);
        self.closed = closed.into();
        true
    }
}

type SlicesByService<'s> = BTreeMap<(&'s Interned, &'s Interned), Vec<&'s EndpointSlice>>;

fn of_service<'s>(
    slices: &'s SlicesByService<'s>,
    service: &'s Service,
) -> impl Iterator<Item = &'s EndpointSlice> {
    let slices = slices.get(&(&service.namespace, &service.name));
    slices.into_iter().flatten().copied()
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

fn ports(admitted: &[&crate::model::ServicePort], slices: &[&EndpointSlice]) -> Vec<ServicePort> {
    let ports = admitted.iter().map(|port| {
        let mut backends: Vec<ServiceBackend> = Vec::new();
        for slice in slices {
            let same = |target: &&crate::model::ServicePort| {
                target.name == port.name && target.protocol == port.protocol
            };
            for target in slice.ports.iter().filter(same) {
                let addresses = slice.endpoints.iter().flat_map(|e| &e.addresses);
                backends.extend(addresses.map(|ip| ServiceBackend {
                    address: Address::from(*ip),
                    port: target.port,
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
