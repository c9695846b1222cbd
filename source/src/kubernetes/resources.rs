//! The kinds that are watched, and where the API has them.

use bulkhead_crds::upstream;
use bulkhead_policy::model::Kind;
use kube::core::{ApiResource, GroupVersionKind};

/// Every kind that intent or placement comes from.
pub(super) const KINDS: [Kind; 12] = [
    Kind::ClusterNetworkPolicy,
    Kind::ClusterSegmentationPolicy,
    Kind::NetworkPolicy,
    Kind::SegmentationPolicy,
    Kind::Quarantine,
    Kind::Segment,
    Kind::Namespace,
    Kind::Pod,
    Kind::Workload,
    Kind::Node,
    Kind::Service,
    Kind::EndpointSlice,
];

/// The name of the definition of a kind that a cluster need not have.
pub(super) fn optional_definition(kind: Kind) -> Option<String> {
    let resource = resource(kind);
    (kind == Kind::ClusterNetworkPolicy).then(|| format!("{}.{}", resource.plural, resource.group))
}

/// Where a kind is served.
pub(super) fn resource(kind: Kind) -> ApiResource {
    let (group, version, plural) = match kind {
        Kind::ClusterNetworkPolicy => {
            (upstream::GROUP, upstream::VERSION, "clusternetworkpolicies")
        }
        Kind::ClusterSegmentationPolicy => {
            ("bulkhead.dev", "v1alpha1", "clustersegmentationpolicies")
        }
        Kind::NetworkPolicy => ("networking.k8s.io", "v1", "networkpolicies"),
        Kind::SegmentationPolicy => ("bulkhead.dev", "v1alpha1", "segmentationpolicies"),
        Kind::Quarantine => ("bulkhead.dev", "v1alpha1", "quarantines"),
        Kind::Segment => ("bulkhead.dev", "v1alpha1", "segments"),
        Kind::Namespace => ("", "v1", "namespaces"),
        Kind::Pod => ("", "v1", "pods"),
        Kind::Workload => ("bulkhead.dev", "v1alpha1", "workloads"),
        Kind::Node => ("", "v1", "nodes"),
        Kind::Service => ("", "v1", "services"),
        Kind::EndpointSlice => ("discovery.k8s.io", "v1", "endpointslices"),
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.name()), plural)
}
