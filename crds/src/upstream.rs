//! `policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy`, as the network-policy-api project publishes it (v0.2.0, the
//! experimental channel, which holds all of the standard one).
//!
//! Invariant: whatever an enum or a union may hold in a version that is not known here can be read, so that it is the
//! conversion that decides what closes, rule by rule, and not the parser for the object as a whole.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde_json::Value;

/// The API group.
pub const GROUP: &str = "policy.networking.k8s.io";

/// The version of the group.
pub const VERSION: &str = "v1alpha2";

/// Rules of the cluster's administrators, before or after `NetworkPolicy`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ClusterNetworkPolicy {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ClusterNetworkPolicySpec,
    /// What implementations write; nothing is read from it.
    #[serde(default)]
    pub status: Option<Value>,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ClusterNetworkPolicySpec {
    /// `Admin` or `Baseline`.
    pub tier: String,
    /// 0 is the strongest, 1000 the weakest.
    pub priority: i32,
    /// To which pods the policy applies.
    pub subject: ClusterNetworkPolicySubject,
    /// The first match decides; at most 25.
    #[serde(default)]
    pub ingress: Option<Vec<ClusterNetworkPolicyIngressRule>>,
    /// The first match decides; at most 25.
    #[serde(default)]
    pub egress: Option<Vec<ClusterNetworkPolicyEgressRule>>,
}

/// Exactly one of the fields.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ClusterNetworkPolicySubject {
    /// All pods of namespaces with such labels.
    #[serde(default)]
    pub namespaces: Option<LabelSelector>,
    /// Pods with such labels in such namespaces.
    #[serde(default)]
    pub pods: Option<NamespacedPod>,
}

/// Pods by the labels of their namespace and their own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedPod {
    /// Empty and absent are every namespace.
    #[serde(default)]
    pub namespace_selector: LabelSelector,
    /// Empty is every pod.
    pub pod_selector: LabelSelector,
}

/// A rule on what is opened to the subject.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ClusterNetworkPolicyIngressRule {
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// `Accept`, `Deny` or `Pass`.
    pub action: String,
    /// Any of these; of [`ClusterNetworkPolicyPeer`] only the first two exist here.
    pub from: Vec<ClusterNetworkPolicyPeer>,
    /// Any of these; absent is every protocol and port.
    #[serde(default)]
    pub protocols: Option<Vec<ClusterNetworkPolicyProtocol>>,
}

/// A rule on what the subject opens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ClusterNetworkPolicyEgressRule {
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// `Accept`, `Deny` or `Pass`.
    pub action: String,
    /// Any of these.
    pub to: Vec<ClusterNetworkPolicyPeer>,
    /// Any of these; absent is every protocol and port.
    #[serde(default)]
    pub protocols: Option<Vec<ClusterNetworkPolicyProtocol>>,
}

/// Exactly one of the fields; none of them is a peer of a newer version.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterNetworkPolicyPeer {
    /// All pods of namespaces with such labels.
    #[serde(default)]
    pub namespaces: Option<LabelSelector>,
    /// Pods with such labels in such namespaces.
    #[serde(default)]
    pub pods: Option<NamespacedPod>,
    /// Addresses of nodes with such labels; egress only.
    #[serde(default)]
    pub nodes: Option<LabelSelector>,
    /// Ranges of addresses, those of pods included; egress only.
    #[serde(default)]
    pub networks: Option<Vec<String>>,
    /// Names of the outside world; egress only.
    #[serde(default)]
    pub domain_names: Option<Vec<String>>,
}

/// Exactly one of the fields; none of them is a protocol of a newer version.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterNetworkPolicyProtocol {
    /// TCP.
    #[serde(default)]
    pub tcp: Option<ClusterNetworkPolicyTransport>,
    /// UDP.
    #[serde(default)]
    pub udp: Option<ClusterNetworkPolicyTransport>,
    /// SCTP.
    #[serde(default)]
    pub sctp: Option<ClusterNetworkPolicyTransport>,
    /// What the destination's containers call so, in whatever protocol.
    #[serde(default)]
    pub destination_named_port: Option<String>,
}

/// Conditions on a protocol with ports; none of them is a condition of a newer version.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterNetworkPolicyTransport {
    /// The destination port.
    #[serde(default)]
    pub destination_port: Option<ClusterNetworkPolicyPort>,
}

/// Exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct ClusterNetworkPolicyPort {
    /// One port.
    #[serde(default)]
    pub number: Option<i32>,
    /// Several.
    #[serde(default)]
    pub range: Option<ClusterNetworkPolicyPortRange>,
}

/// From one port to another, both included.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ClusterNetworkPolicyPortRange {
    /// The first.
    pub start: i32,
    /// The last, greater than the first.
    pub end: i32,
}
