//! Our kinds, `bulkhead.dev/v1alpha1`. Doc comments are what `kubectl explain` shows.
//!
//! Invariant: the API server drops fields that it does not know. So whatever may be one of several things is
//! checked to be exactly one, and nothing here means *everybody* or *every port* by being absent.

#![allow(
    unreachable_pub,
    reason = "KubeSchema repeats each `pub` type inside the function that makes its schema"
)]
#![allow(
    clippy::duplicated_attributes,
    reason = "the columns of one definition share keys such as `type_`"
)]

mod cluster_segmentation_policy;
mod label_selector;
mod mode;
mod network;
mod node_enforcement;
mod peer;
mod port;
mod quarantine;
mod rule;
mod segment;
mod segmentation_policy;
mod status;
mod time;
mod workload;
mod workload_selector;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::core::CustomResourceExt;

pub use cluster_segmentation_policy::{
    ClusterSegmentationPolicy, ClusterSegmentationPolicySpec, ClusterSubject, PolicyTier,
};
pub use label_selector::{LabelSelector, LabelSelectorOperator, LabelSelectorRequirement};
pub use mode::Mode;
pub use network::Network;
pub use node_enforcement::{
    DeniedSubject, NodeEnforcement, NodeEnforcementSpec, NodeEnforcementStatus, NodeHealth,
    Revision, TableUse,
};
pub use peer::{ClusterPeer, Everyone, NamespacedPeer};
pub use port::{
    EveryPort, IcmpMessage, IpFamily, IpProtocol, NamedPort, PolicyPort, PortNumber, PortProtocol,
    PortRange, WholeProtocol,
};
pub use quarantine::{
    EgressException, Exceptions, IngressException, PodOwner, Quarantine, QuarantineSpec,
    QuarantineSubject,
};
pub use rule::{
    ClusterAction, ClusterEgressRule, ClusterIngressRule, NamespacedAction, NamespacedEgressRule,
    NamespacedIngressRule,
};
pub use segment::{
    IsolationAction, IsolationStrength, Segment, SegmentIsolation, SegmentSpec, Sensitivity,
};
pub use segmentation_policy::{IsolatedDirection, SegmentationPolicy, SegmentationPolicySpec};
pub use status::{Condition, ConditionStatus, NodeCount, PolicyStatus};
pub use workload::{Workload, WorkloadPort, WorkloadSpec};
pub use workload_selector::{ClusterWorkloads, NamespacedWorkloads, SubjectWorkloads};

/// The API group.
pub const GROUP: &str = "bulkhead.dev";

/// The version of the group.
pub const VERSION: &str = "v1alpha1";

/// Every definition, in the order in which they are written to files.
pub fn definitions() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![
        ClusterSegmentationPolicy::crd(),
        NodeEnforcement::crd(),
        Quarantine::crd(),
        Segment::crd(),
        SegmentationPolicy::crd(),
        Workload::crd(),
    ];
    let schemas = definitions
        .iter_mut()
        .flat_map(|definition| &mut definition.spec.versions);
    schemas
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
        .for_each(forbid_null);
    definitions
}

/// An explicit `null` is then dropped before the rules are asked, instead of counting as something that is there.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .for_each(forbid_null);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => forbid_null(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(forbid_null),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        forbid_null(value);
    }
}
