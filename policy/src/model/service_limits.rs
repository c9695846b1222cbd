//! How much of every node's tables the Services of one namespace may take (I7). Each of them is in the tables of all nodes, so
//! without a limit one tenant could leave no room for anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{EndpointSlice, Kind, ObjectRef, Protocol, Service, ServicePort};

/// Limits for the Services of one namespace together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Different addresses.
    pub addresses: usize,
    /// Different pairs of protocol and port that clients use.
    pub ports: usize,
    /// Endpoints, counted once for each address and port that leads to them.
    pub backends: usize,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            addresses: 4096,
            ports: 256,
            backends: 1 << 18,
        }
    }
}

/// A Service that there was no room for, for whoever wonders why a flow is denied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeftOut {
    /// Which.
    pub service: ObjectRef,
    /// What of it, and how much there may be.
    pub beyond: Beyond,
}

/// What of a Service there was no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Beyond {
    /// Its cluster addresses; a namespace may have so many.
    Addresses(usize),
    /// Some of its ports; a namespace may have so many different ones.
    Ports(usize),
    /// Its cluster addresses, for what stands behind them; a namespace may have so many endpoints, counted once for each address
    /// and port.
    Backends(usize),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, beyond } = self;
        let (what, limit, of) = match beyond {
            Beyond::Addresses(limit) => ("was left out", limit, "addresses"),
            Beyond::Ports(limit) => ("has ports that were left out", limit, "different ports"),
            Beyond::Backends(limit) => ("was left out", limit, BACKENDS),
        };
        write!(
            f,
            "{service} {what}, because the Services of its namespace have more than {limit} {of}; remove Services or spread them"
        )
    }
}

const BACKENDS: &str = "endpoints, counted once for each address and port";

/// The part of a Service that there is room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admitted<'s> {
    /// The Service.
    pub service: &'s Service,
    /// Those of its addresses that lead to its endpoints, in order.
    pub cluster_addresses: Vec<IpAddr>,
    /// The same of the addresses that tenants choose. One that is left out is a plain address.
    pub external_addresses: Vec<IpAddr>,
    /// Those of its ports that lead to its endpoints. One that is left out is denied.
    pub ports: Vec<&'s ServicePort>,
    /// Cluster addresses that are left out, and denied.
    pub left_out: Vec<IpAddr>,
    /// None of its addresses leads to its endpoints, because there are too many of those.
    pub crowded: bool,
}

impl Admitted<'_> {
    /// The name of the Service.
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::namespaced(Kind::Service, &self.service.namespace, &self.service.name)
    }

    /// Whether some address leads to its endpoints.
    pub fn has_addresses(&self) -> bool {
        !(self.cluster_addresses.is_empty() && self.external_addresses.is_empty())
    }

    /// Why an address of its is left out.
    pub fn beyond(&self, limits: ServiceLimits) -> Beyond {
        if self.crowded {
            Beyond::Backends(limits.backends)
        } else {
            Beyond::Addresses(limits.addresses)
        }
    }

    /// How many endpoints its addresses and ports lead to, each counted as often as something leads to it. Of which family the
    /// endpoints are does not count: what the limit is about is work, and that is done for all of them.
    fn backends<'s>(&self, slices: impl IntoIterator<Item = &'s EndpointSlice>) -> usize {
        let of_a_slice = |slice: &EndpointSlice| {
            let leading_to = |target: &ServicePort| {
                let ports = self.ports.iter();
                let same = |port: &&&ServicePort| {
                    port.name == target.name && port.protocol == target.protocol
                };
                ports.filter(same).count()
            };
            let endpoints: usize = slice.endpoints.iter().map(|it| it.addresses.len()).sum();
            let times: usize = slice.ports.iter().map(leading_to).sum();
            endpoints.saturating_mul(times)
        };
        let addresses = self.cluster_addresses.len() + self.external_addresses.len();
        let endpoints: usize = slices.into_iter().map(of_a_slice).sum();
        addresses.saturating_mul(endpoints)
    }

    fn leave_out(&mut self) {
        self.left_out.append(&mut self.cluster_addresses);
        self.left_out.sort_unstable();
        self.external_addresses.clear();
        self.crowded = true;
    }

    /// Whether some port is left out.
    pub fn lacks_ports(&self) -> bool {
        self.ports.len() < self.service.ports.len()
    }

    /// What people have to know of what is left out.
    pub fn problem(&self, limits: ServiceLimits) -> Option<String> {
        let ServiceLimits {
            addresses,
            ports,
            backends,
        } = limits;
        let addresses = if self.crowded {
            format!("{backends} {BACKENDS}")
        } else {
            format!("{addresses} addresses")
        };
        let mut parts = Vec::new();
        if self.lacks_ports() {
            let count = self.service.ports.len() - self.ports.len();
            parts.push(format!(
                "{count} of its ports are denied, because the Services of its namespace have more than {ports} different ports"
            ));
        }
        if !self.left_out.is_empty() {
            parts.push(format!(
                "its cluster addresses are denied, because the Services of its namespace have more than {addresses}"
            ));
        }
        let external = self.service.external_addresses.len() - self.external_addresses.len();
        if external > 0 {
            parts.push(format!(
                "{external} of its external addresses are judged as plain addresses and not by what stands behind them, because the \
                 Services of its namespace have more than {addresses}; keep tenants from choosing external addresses"
            ));
        }
        (!parts.is_empty()).then(|| format!("{}; remove Services or spread them", parts.join("; ")))
    }
}

impl ServiceLimits {
    /// How many prefixes stand for all cluster addresses that are left out.
    pub const LEFT_OUT_PREFIXES: usize = 16;

    /// What there is room for. The Services come in the order of their names, and so does the room: what is there already
    /// may lose it to an earlier name of the same namespace, and to nobody else. `slices` are those of a Service.
    pub fn admit<'s, S: IntoIterator<Item = &'s EndpointSlice>>(
        self,
        services: impl IntoIterator<Item = &'s Service>,
        slices: impl Fn(&'s Service) -> S,
    ) -> Vec<Admitted<'s>> {
        let mut used: BTreeMap<&str, Used> = BTreeMap::new();
        let admit = |service: &'s Service| {
            let used = used.entry(&service.namespace).or_default();
            let mut address = |ip: &&IpAddr| take(&mut used.addresses, **ip, self.addresses);
            let (cluster_addresses, left_out): (Vec<&IpAddr>, Vec<&IpAddr>) =
                service.cluster_addresses.iter().partition(&mut address);
            let external = service.external_addresses.iter().filter(&mut address);
            let external_addresses: Vec<IpAddr> = external.copied().collect();
            let ports = service
                .ports
                .iter()
                .filter(|port| take(&mut used.ports, (port.protocol, port.port), self.ports));
            let mut admitted = Admitted {
                service,
                cluster_addresses: cluster_addresses.into_iter().copied().collect(),
                external_addresses,
                ports: ports.collect(),
                left_out: left_out.into_iter().copied().collect(),
                crowded: false,
            };
            let backends = admitted.backends(slices(service));
            if backends > self.backends - used.backends {
                admitted.leave_out();
            } else {
                used.backends += backends;
            }
            admitted
        };
        services.into_iter().map(admit).collect()
    }
}

/// What the Services of one namespace have so far.
#[derive(Default)]
struct Used {
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<(Protocol, u16)>,
    backends: usize,
}

/// Whether there is room for the item, or it has its place already.
fn take<T: Ord>(used: &mut BTreeSet<T>, item: T, limit: usize) -> bool {
    let is_free = used.len() < limit;
    used.contains(&item) || is_free && used.insert(item)
}
