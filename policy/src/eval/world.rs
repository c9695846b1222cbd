//! The objects that are there, by name, and what can be read off them.

use std::collections::BTreeMap;

use ipnet::IpNet;

use crate::model::{
    Admitted, EndpointSlice, Event, Interned, Kind, Namespace, Node, Object, ObjectRef, PeerLimits,
    Policy, Segment, Service, ServiceLimits, SortedMap, Workload,
};

/// Everything that is known of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    configured_ranges: Vec<IpNet>,
    service_limits: ServiceLimits,
    peer_limits: PeerLimits,
    objects: BTreeMap<ObjectRef, Object>,
    /// What stands for the policies of namespaces that are being deleted.
    closed: Vec<Policy>,
}

impl World {
    /// An empty world. The ranges are those in which every address is a workload's, beside the nodes' own.
    pub fn new(cluster_ranges: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            configured_ranges: cluster_ranges.into_iter().collect(),
            service_limits: ServiceLimits::default(),
            peer_limits: PeerLimits::default(),
            objects: BTreeMap::new(),
            closed: Vec::new(),
        }
    }

    /// The same world with other limits.
    #[must_use]
    pub fn with_service_limits(self, service_limits: ServiceLimits) -> Self {
        Self {
            service_limits,
            ..self
        }
    }

    /// The same world with other limits for the peers of tenants' policies.
    #[must_use]
    pub fn with_peer_limits(self, peer_limits: PeerLimits) -> Self {
        Self {
            peer_limits,
            ..self
        }
    }

    /// Takes a change in.
    pub fn apply(&mut self, event: Event) {
        let kind = match &event {
            Event::Apply(object) => object.reference().kind,
            Event::Delete(reference) => reference.kind,
            Event::Reset(kind, _) => *kind,
        };
        match event {
            Event::Apply(object) => drop(self.objects.insert(object.reference(), object)),
            Event::Delete(reference) => drop(self.objects.remove(&reference)),
            Event::Reset(kind, objects) => {
                self.objects.retain(|reference, _| reference.kind != kind);
                self.objects.extend(
                    objects
                        .into_iter()
                        .map(|object| (object.reference(), object)),
                );
            }
        }
        if kind != Kind::Namespace {
            return;
        }
        let namespaces = self.objects.values().filter_map(|object| match object {
            Object::Namespace(namespace) => namespace.closed(),
            Object::Workload(..)
            | Object::Node(_)
            | Object::Service(_)
            | Object::EndpointSlice(_)
            | Object::Segment(_)
            | Object::Policy(_) => None,
        });
        self.closed = namespaces.collect();
    }

    /// Every object, in the order of names.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// Pods and declared workloads.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.objects().filter_map(|object| match object {
            Object::Workload(_, workload) => Some(&**workload),
            Object::Namespace(_)
            | Object::Node(_)
            | Object::Service(_)
            | Object::EndpointSlice(_)
            | Object::Segment(_)
            | Object::Policy(_) => None,
        })
    }

    /// Pods, or declared workloads.
    pub fn workloads_of(&self, kind: Kind) -> impl Iterator<Item = &Workload> {
        self.objects().filter_map(move |object| match object {
            Object::Workload(of, workload) if *of == kind => Some(&**workload),
            Object::Workload(..)
            | Object::Namespace(_)
            | Object::Node(_)
            | Object::Service(_)
            | Object::EndpointSlice(_)
            | Object::Segment(_)
            | Object::Policy(_) => None,
        })
    }

    /// Policies of all kinds, and what stands for those of namespaces that are being deleted.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        let written = self.objects().filter_map(|object| {
            if let Object::Policy(policy) = object {
                Some(&**policy)
            } else {
                None
            }
        });
        written.chain(&self.closed)
    }

    /// All segments.
    pub fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.objects().filter_map(|object| {
            if let Object::Segment(s) = object {
                Some(&**s)
            } else {
                None
            }
        })
    }

    /// One segment.
    pub fn segment(&self, name: &str) -> Option<&Segment> {
        self.segments().find(|segment| &*segment.name == name)
    }

    /// All Services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.objects().filter_map(|object| {
            if let Object::Service(s) = object {
                Some(&**s)
            } else {
                None
            }
        })
    }

    pub(super) fn service_limits(&self) -> ServiceLimits {
        self.service_limits
    }

    pub(super) fn peer_limits(&self) -> PeerLimits {
        self.peer_limits
    }

    /// What there is room for of each Service.
    pub(super) fn admitted_services(&self) -> Vec<Admitted<'_>> {
        self.service_limits
            .admit(self.services(), |service| self.slices_of(service))
    }

    /// The slices of one Service.
    pub fn slices_of<'w>(
        &'w self,
        service: &'w Service,
    ) -> impl Iterator<Item = &'w EndpointSlice> {
        self.objects()
            .filter_map(|object| {
                if let Object::EndpointSlice(slice) = object {
                    Some(&**slice)
                } else {
                    None
                }
            })
            .filter(|slice| slice.namespace == service.namespace && slice.service == service.name)
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.objects().filter_map(|object| {
            if let Object::Node(node) = object {
                Some(&**node)
            } else {
                None
            }
        })
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes().find(|node| &*node.name == name)
    }

    /// The labels of a namespace. Of one that has no object, only the name is known, and that is a label too.
    pub fn namespace_labels(&self, name: &str) -> SortedMap<Interned, Interned> {
        match self.objects.get(&ObjectRef::cluster(Kind::Namespace, name)) {
            Some(Object::Namespace(Namespace { labels, .. })) => labels.clone(),
            Some(_) | None => {
                SortedMap::from([("kubernetes.io/metadata.name".into(), name.into())])
            }
        }
    }

    /// Explicit configuration, and the nodes' ranges.
    pub fn cluster_ranges(&self) -> impl Iterator<Item = &IpNet> {
        self.configured_ranges
            .iter()
            .chain(self.nodes().flat_map(|node| &node.pod_ranges))
    }
}
