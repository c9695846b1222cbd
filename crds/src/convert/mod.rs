//! From objects of Kubernetes to objects of the policy model: one function per kind, used by every caller.
//!
//! Invariant: whatever is not understood fails closed. As far as an object can still be read, it comes out with
//! [`Fault`]s, its Allows matching nobody and its Denies everybody; if it is not even clear whom it protects or
//! where it stands, it is a [`Rejection`] and the caller keeps the last good version, or what [`stand_in`] makes of it.

mod cluster_network_policy;
mod cluster_segmentation_policy;
mod domain;
mod endpoint_slice;
mod instant;
mod kind;
mod labels;
mod limits;
mod metadata;
mod namespace;
mod network;
mod network_policy;
mod node;
mod peer;
mod pod;
mod port;
mod quarantine;
mod rule;
mod segment;
mod segmentation_policy;
mod service;
mod staleness;
mod stand_in;
mod syntax;
mod unknown_field;
mod violation;
mod workload;
mod workload_selector;

use std::sync::Arc;

use bulkhead_policy::model::{Fault, Object, ObjectRef, Policy};

use violation::Checked;

pub use cluster_network_policy::cluster_network_policy;
pub use cluster_segmentation_policy::cluster_segmentation_policy;
pub use endpoint_slice::endpoint_slice;
pub use kind::{Input, InputKind, input_kind, object, plain_object};
pub use namespace::namespace;
pub use network_policy::network_policy;
pub use node::node;
pub use pod::pod;
pub use quarantine::quarantine;
pub use segment::segment;
pub use segmentation_policy::segmentation_policy;
pub use service::service;
pub use stand_in::{StandIn, reference, stand_in};
pub use violation::Rejection;
pub use workload::workload;

/// An object of the model, and what in its source could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// As far as it is understood, failing closed.
    pub object: Object,
    /// What is not; an API server with our definitions would have refused each of them.
    pub faults: Vec<Fault>,
}

impl Converted {
    /// A policy, or a rejection in its name.
    fn policy(
        reference: ObjectRef,
        read: impl FnOnce(ObjectRef, &mut Vec<Fault>) -> Checked<Policy>,
    ) -> Result<Self, Rejection> {
        let name = reference.to_string();
        let mut faults = Vec::new();
        let policy = read(reference, &mut faults).map_err(|it| it.into_rejection(name))?;
        Ok(Self {
            object: Object::Policy(Arc::new(policy)),
            faults,
        })
    }
}
