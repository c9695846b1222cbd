//! Rules: four types, by scope (who may be named, and whether `Pass` makes sense) and direction (`from` or `to`).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterPeer, NamespacedPeer, PolicyPort};

/// What a namespaced rule does with the flows that it matches. A Deny goes before every Allow of the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacedAction {
    /// The flow may pass.
    Allow,
    /// The flow is dropped.
    Deny,
}

/// What a cluster-scoped rule does with the flows that it matches. The first match decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterAction {
    /// The flow may pass; nothing after this tier is asked.
    Allow,
    /// The flow is dropped.
    Deny,
    /// This tier is done; the next one decides.
    Pass,
}

/// A rule on what is opened to the subjects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedIngressRule {
    /// A name for people; `explain` and flow records show it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 100))]
    pub name: String,
    /// What to do.
    pub action: NamespacedAction,
    /// Who opens: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub from: Vec<NamespacedPeer>,
    /// On which ports: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub ports: Vec<PolicyPort>,
}

/// A rule on what the subjects open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedEgressRule {
    /// A name for people; `explain` and flow records show it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 100))]
    pub name: String,
    /// What to do.
    pub action: NamespacedAction,
    /// To whom: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub to: Vec<NamespacedPeer>,
    /// On which ports: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub ports: Vec<PolicyPort>,
}

/// A rule on what is opened to the subjects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterIngressRule {
    /// A name for people; `explain` and flow records show it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 100))]
    pub name: String,
    /// What to do.
    pub action: ClusterAction,
    /// Who opens: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub from: Vec<ClusterPeer>,
    /// On which ports: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub ports: Vec<PolicyPort>,
}

/// A rule on what the subjects open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterEgressRule {
    /// A name for people; `explain` and flow records show it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 100))]
    pub name: String,
    /// What to do.
    pub action: ClusterAction,
    /// To whom: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub to: Vec<ClusterPeer>,
    /// On which ports: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub ports: Vec<PolicyPort>,
}
