//! `Segment`: a named set of workloads, outside networks and outside names, and what it isolates.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterWorkloads, Mode, Network, PolicyStatus};

/// A named set of workloads, outside networks and outside names. Rules refer to it by name; with `isolation` it also
/// decides what nothing else speaks of.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "bulkhead.dev",
    version = "v1alpha1",
    kind = "Segment",
    derive = "PartialEq",
    status = "PolicyStatus",
    shortname = "seg",
    category = "bulkhead",
    doc = "A named set of workloads, outside networks and outside names, and what it isolates.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Ingress",
        type_ = "string",
        json_path = ".spec.isolation.ingress"
    ),
    printcolumn(
        name = "Egress",
        type_ = "string",
        json_path = ".spec.isolation.egress"
    ),
    printcolumn(
        name = "Enforced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Enforced')].status"
    ),
    printcolumn(
        name = "Owner",
        type_ = "string",
        json_path = ".spec.owner",
        priority = "1"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = Rule::new("has(self.members) || has(self.networks) || has(self.domains)")
    .message("a segment needs members, networks or domains"))]
#[x_kube(validation = Rule::new("!has(self.isolation) || has(self.members)")
    .message("isolation protects members: name them, networks and domains cannot be protected"))]
#[serde(rename_all = "camelCase")]
pub struct SegmentSpec {
    /// Workloads: any of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub members: Option<Vec<ClusterWorkloads>>,
    /// Addresses that belong to it as peers of rules; they are never protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub networks: Option<Vec<Network>>,
    /// Names of the outside world, such as `api.example.org`: their addresses, as the controller is told them by its name
    /// servers, belong to it as peers of rules. While a name has no answer it is nobody in an Allow and everybody in a Deny.
    /// There are no wildcards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 3, max = 253),
            regex(
                pattern = r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
            )
        )
    )]
    pub domains: Option<Vec<String>>,
    /// What happens to flows of members that nothing else decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<SegmentIsolation>,
    /// Whether the isolation acts or is only reported. The members are found in either mode.
    #[serde(default)]
    pub mode: Mode,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub owner: Option<String>,
    /// How much it matters: part of the protect surface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<Sensitivity>,
}

/// What happens to flows that nothing else decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SegmentIsolation {
    /// What is opened to members.
    pub ingress: IsolationAction,
    /// What members open.
    pub egress: IsolationAction,
    /// Between members; decided before the two above. Of several common segments a Deny wins.
    pub within: IsolationAction,
    /// Whether tenants' own policies can open it.
    #[serde(default)]
    pub strength: IsolationStrength,
}

/// What happens to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IsolationAction {
    /// It may pass.
    Allow,
    /// It is dropped.
    Deny,
}

/// Where in the order the isolation speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IsolationStrength {
    /// Last: every policy can open it.
    #[default]
    Default,
    /// Before the tenants' own policies, which cannot open it; the admin tier can.
    Boundary,
}

/// How much a segment matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sensitivity {
    /// Nothing depends on it.
    Low,
    /// The usual.
    Medium,
    /// Worth protecting first.
    High,
    /// What the organisation cannot lose.
    Critical,
}
