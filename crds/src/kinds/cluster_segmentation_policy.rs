//! `ClusterSegmentationPolicy`: rules of the cluster's administrators, before or after those of the tenants.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::time::{STALENESS, STALENESS_MESSAGE, date_time, duration};
use super::{ClusterEgressRule, ClusterIngressRule, ClusterWorkloads, Mode, PolicyStatus};

/// Rules over any workloads, read in order before (`Admin`) or after (`Baseline`) the policies of the namespaces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "bulkhead.dev",
    version = "v1alpha1",
    kind = "ClusterSegmentationPolicy",
    plural = "clustersegmentationpolicies",
    derive = "PartialEq",
    status = "PolicyStatus",
    shortname = "csegpol",
    category = "bulkhead",
    doc = "Rules over any workloads, before or after the policies of the namespaces.",
    printcolumn(name = "Tier", type_ = "string", json_path = ".spec.tier"),
    printcolumn(name = "Priority", type_ = "integer", json_path = ".spec.priority"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(
        name = "Enforced",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Enforced')].status"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = Rule::new("!has(self.activeFrom) || !has(self.expiresAt) || self.activeFrom < self.expiresAt")
    .message("activeFrom must be before expiresAt"))]
#[x_kube(validation = Rule::new("has(self.ingress) || has(self.egress)")
    .message("a policy needs ingress or egress rules"))]
#[x_kube(validation = Rule::new(STALENESS).message(STALENESS_MESSAGE))]
#[serde(rename_all = "camelCase")]
pub struct ClusterSegmentationPolicySpec {
    /// Before or after the policies of the namespaces.
    pub tier: PolicyTier,
    /// 0 is the strongest. Of equal priorities the name decides.
    #[schemars(range(min = 0, max = 1000))]
    pub priority: i32,
    /// Whom the policy speaks about: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub subjects: Vec<ClusterSubject>,
    /// Whether it acts or is only reported.
    #[serde(default)]
    pub mode: Mode,
    /// In force from this instant on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub active_from: Option<Time>,
    /// No longer in force from this instant on, also where the controller is not reachable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub expires_at: Option<Time>,
    /// On a node that has not heard its controller for so long, what this policy allows ends, live connections included; what it
    /// passes on goes on unless anything else denies it, and what it denies stays. What ended comes back when the controller is
    /// heard again. Between `1m` and `720h`, like `10m` or `1h30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub max_staleness: Option<String>,
    /// Rules on what is opened to the subjects; the first match decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub ingress: Option<Vec<ClusterIngressRule>>,
    /// Rules on what the subjects open; the first match decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub egress: Option<Vec<ClusterEgressRule>>,
}

/// Whom a cluster-scoped policy speaks about: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.workloads), has(self.segment)].exists_one(x, x)")
    .message("a subject is exactly one of workloads, segment"))]
#[serde(rename_all = "camelCase")]
pub struct ClusterSubject {
    /// Workloads by their identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<ClusterWorkloads>,
    /// The members of the segment of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub segment: Option<String>,
}

/// Where in the order a cluster-scoped policy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyTier {
    /// Before the policies of the namespaces.
    Admin,
    /// After the policies of the namespaces, where these say nothing.
    Baseline,
}
