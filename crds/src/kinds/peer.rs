//! The other end of a flow, as rules name it: exactly one of several things.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterWorkloads, LabelSelector, NamespacedWorkloads, Network};

/// Everybody, addresses outside the cluster included. Written `everyone: {}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Everyone {}

/// A peer in a namespaced policy: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "[has(self.workloads), has(self.segment), has(self.network), has(self.nodes), has(self.everyone)].exists_one(x, x)"
).message("a peer is exactly one of workloads, segment, network, nodes, everyone"))]
#[serde(rename_all = "camelCase")]
pub struct NamespacedPeer {
    /// Workloads by their identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<NamespacedWorkloads>,
    /// The members and networks of the segment of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub segment: Option<String>,
    /// A range of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Addresses of the nodes with such labels, `{}` of all of them: the hosts themselves and what shares their network,
    /// never the pods that have addresses of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<LabelSelector>,
    /// Everybody, addresses outside the cluster included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everyone: Option<Everyone>,
}

/// A peer in a cluster-scoped policy: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new(
    "[has(self.workloads), has(self.segment), has(self.network), has(self.nodes), has(self.everyone)].exists_one(x, x)"
).message("a peer is exactly one of workloads, segment, network, nodes, everyone"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterPeer {
    /// Workloads by their identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<ClusterWorkloads>,
    /// The members and networks of the segment of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub segment: Option<String>,
    /// A range of addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// Addresses of the nodes with such labels, `{}` of all of them: the hosts themselves and what shares their network,
    /// never the pods that have addresses of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<LabelSelector>,
    /// Everybody, addresses outside the cluster included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub everyone: Option<Everyone>,
}
