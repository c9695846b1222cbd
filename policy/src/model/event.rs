//! What sources tell the compiler and the oracle: objects that appear, change and go.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    EndpointSlice, Interned, Namespace, Node, ObjectRef, Policy, Segment, Service, Workload,
};

/// The kinds of objects. The order is that of equal priorities in a cluster tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// `policy.networking.k8s.io`.
    ClusterNetworkPolicy,
    /// Ours.
    ClusterSegmentationPolicy,
    /// `networking.k8s.io/v1`.
    NetworkPolicy,
    /// Ours.
    SegmentationPolicy,
    /// Ours.
    Quarantine,
    /// Ours.
    Segment,
    /// Core.
    Namespace,
    /// Core pods.
    Pod,
    /// Ours: what is no pod.
    Workload,
    /// Core.
    Node,
    /// Core.
    Service,
    /// `discovery.k8s.io/v1`.
    EndpointSlice,
}

impl Kind {
    /// As in a manifest's `kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::ClusterSegmentationPolicy => "ClusterSegmentationPolicy",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::SegmentationPolicy => "SegmentationPolicy",
            Self::Quarantine => "Quarantine",
            Self::Segment => "Segment",
            Self::Namespace => "Namespace",
            Self::Pod => "Pod",
            Self::Workload => "Workload",
            Self::Node => "Node",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
        }
    }
}

/// One object, converted. What is large lies elsewhere: there are lists of a hundred thousand of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// A namespace.
    Namespace(Namespace),
    /// A pod or a declared workload; `Kind` says which.
    Workload(Kind, Box<Workload>),
    /// A node.
    Node(Box<Node>),
    /// A Service.
    Service(Box<Service>),
    /// Its endpoints.
    EndpointSlice(Box<EndpointSlice>),
    /// A segment.
    Segment(Box<Segment>),
    /// A policy of any kind.
    Policy(Arc<Policy>),
}

impl Object {
    /// What names it.
    pub fn reference(&self) -> ObjectRef {
        let named = |kind, namespace: &Interned, name: &Interned| ObjectRef {
            kind,
            namespace: namespace.clone(),
            name: name.clone(),
        };
        match self {
            Self::Namespace(o) => ObjectRef::cluster(Kind::Namespace, &o.name),
            Self::Workload(kind, o) => named(*kind, &o.namespace, &o.name),
            Self::Node(o) => ObjectRef::cluster(Kind::Node, &o.name),
            Self::Service(o) => named(Kind::Service, &o.namespace, &o.name),
            Self::EndpointSlice(o) => named(Kind::EndpointSlice, &o.namespace, &o.name),
            Self::Segment(o) => ObjectRef::cluster(Kind::Segment, &o.name),
            Self::Policy(o) => o.object.clone(),
        }
    }
}

macro_rules! object_from {
    ($($kind:ident),*) => {$(
        impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(object.into())
            }
        }
    )*};
}

object_from!(Namespace, Node, Service, EndpointSlice, Segment, Policy);

/// One change of intent. Applying what is there already, or deleting what is not, changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// There, as it is now.
    Apply(Object),
    /// Gone.
    Delete(ObjectRef),
    /// These and no others of the kind: a relist, as one replacement.
    Reset(Kind, Vec<Object>),
}
