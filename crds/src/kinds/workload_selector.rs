//! Selectors of workloads. Three types, because what an absent `namespaces` means depends on where it stands:
//! a cluster-scoped object has to say it, a namespaced one means its own.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;

/// Workloads of the policy's own namespace. All given conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.pods) || has(self.serviceAccounts)")
    .message("say whom: pods, serviceAccounts, or both; `pods: {}` is every workload of the namespace"))]
#[serde(rename_all = "camelCase")]
pub struct SubjectWorkloads {
    /// By the labels of the pod or declared workload; `{}` is every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<LabelSelector>,
    /// By the name of the service account: any of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    pub service_accounts: Option<Vec<String>>,
}

/// Workloads as seen from a namespace. All given conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.namespaces) || has(self.pods) || has(self.serviceAccounts)")
    .message("say whom: namespaces, pods, serviceAccounts; `pods: {}` is every workload of this namespace"))]
#[serde(rename_all = "camelCase")]
pub struct NamespacedWorkloads {
    /// In namespaces with such labels; absent: in the policy's own namespace. `{}` is every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<LabelSelector>,
    /// By the labels of the pod or declared workload; absent or `{}`: every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<LabelSelector>,
    /// By the name of the service account: any of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    pub service_accounts: Option<Vec<String>>,
}

/// Workloads as seen from the cluster. All given conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterWorkloads {
    /// In namespaces with such labels. `{}` is every namespace; one namespace by its name is
    /// `matchLabels: {kubernetes.io/metadata.name: NAME}`.
    pub namespaces: LabelSelector,
    /// By the labels of the pod or declared workload; absent or `{}`: every one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<LabelSelector>,
    /// By the name of the service account: any of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    pub service_accounts: Option<Vec<String>>,
}
