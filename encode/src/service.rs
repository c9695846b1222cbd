//! Service addresses: the sender sees them before translation, so it judges what may stand behind them.
//!
//! A Service's class is named by what its backends are, not by who they are: pods that come and go behind it change
//! nothing as long as they are of the same classes.

use std::sync::Arc;

use bulkhead_graph::{Hasher, Matched, Protocol, ServiceAddress};

use crate::peer_match::MatchIndex;
use crate::ports::Ports;
use crate::{Class, ClassKey};

/// What stands behind addresses of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceClass {
    /// What the address is when it is not taken for a Service: on ports without one, and for ingress.
    pub(crate) itself: Itself,
    /// What becomes of a port that is not in `ports`.
    pub(crate) others: Others,
    /// By protocol and port.
    pub(crate) ports: Vec<ServiceClassPort>,
}

/// Whether the address must also be allowed as what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Itself {
    /// Load-balancer and external addresses, and those that a workload owns: a tenant's object opens nothing.
    Counts,
    /// Cluster addresses are nothing by themselves.
    IsNothing,
}

/// What becomes of a port that leads to no backends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Others {
    /// It is a port of the address as what it is.
    Plain,
    /// It may lead to backends that there was no room for.
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceClassPort {
    /// Position of the port's own class.
    pub(crate) position: usize,
    protocol: Protocol,
    port: u16,
    /// Ascending by name.
    pub(crate) backends: Vec<BackendClass>,
}

/// Backends that no rule set tells apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackendClass {
    pub(crate) class: ClassKey,
    /// What rule sets see of it.
    pub(crate) seen: Arc<[(MatchIndex, Matched)]>,
    /// Position of the class of the port there.
    pub(crate) position: usize,
}

impl ServiceClass {
    /// `own` is the address's class as what it is; `class_of` gives the class of a backend's address.
    pub(crate) fn of(
        service: &ServiceAddress,
        own: &(ClassKey, Class),
        itself: Itself,
        ports: &Ports,
        mut class_of: impl FnMut(bulkhead_graph::Address) -> (ClassKey, Class),
    ) -> (ClassKey, Class) {
        let mut class_ports: Vec<ServiceClassPort> = Vec::with_capacity(service.ports.len());
        for port in &service.ports {
            let mut backends: Vec<BackendClass> = port
                .backends
                .iter()
                .map(|backend| {
                    let (class, content) = class_of(backend.address);
                    let position = ports.class_of(port.protocol, backend.port);
                    BackendClass {
                        class,
                        seen: content.seen,
                        position,
                    }
                })
                .collect();
            backends.sort_by_key(|b| (b.class, b.position));
            backends.dedup();
            let position = ports.class_of(port.protocol, port.port);
            class_ports.push(ServiceClassPort {
                position,
                protocol: port.protocol,
                port: port.port,
                backends,
            });
        }
        let others = if service.closed {
            Others::Closed
        } else {
            Others::Plain
        };
        let service = Self {
            itself,
            others,
            ports: class_ports,
        };
        let key = service.key(own.0, ports);
        (
            key,
            Class {
                seen: own.1.seen.clone(),
                service: Some(Arc::new(service)),
            },
        )
    }

    /// The class of addresses that Services may have for whom there was no room: nothing may be sent there.
    pub(crate) fn nowhere(own: (ClassKey, Class), ports: &Ports) -> (ClassKey, Class) {
        let nowhere = Self {
            itself: Itself::Counts,
            others: Others::Closed,
            ports: Vec::new(),
        };
        let class = Class {
            seen: own.1.seen,
            service: Some(Arc::new(nowhere.clone())),
        };
        (nowhere.key(own.0, ports), class)
    }

    fn key(&self, own: ClassKey, ports: &Ports) -> ClassKey {
        let mut h = Hasher::new("service-class/2");
        h.fixed(&own.0)
            .fixed(&[
                u8::from(self.itself == Itself::Counts),
                u8::from(self.others == Others::Closed),
            ])
            .number(self.ports.len() as u64);
        for port in &self.ports {
            h.fixed(&[port.protocol as u8])
                .fixed(&port.port.to_le_bytes());
            h.number(port.backends.len() as u64);
            for backend in &port.backends {
                h.fixed(&backend.class.0)
                    .fixed(&ports.classes[backend.position].key.0);
            }
        }
        ClassKey(h.finish())
    }
}
