//! `SegmentationPolicy`: a tenant's rules for the workloads of one namespace.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::time::{STALENESS, STALENESS_MESSAGE, date_time, duration};
use super::{Mode, NamespacedEgressRule, NamespacedIngressRule, PolicyStatus, SubjectWorkloads};

/// Allow and deny rules for workloads of one namespace. Nothing in it changes a verdict for a workload of another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "bulkhead.dev",
    version = "v1alpha1",
    kind = "SegmentationPolicy",
    plural = "segmentationpolicies",
    namespaced,
    derive = "PartialEq",
    status = "PolicyStatus",
    shortname = "segpol",
    category = "bulkhead",
    doc = "Allow and deny rules for workloads of one namespace.",
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Isolates", type_ = "string", json_path = ".spec.isolates"),
    printcolumn(name = "Expires", type_ = "date", json_path = ".spec.expiresAt"),
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
#[x_kube(validation = Rule::new("!(has(self.isolates) && has(self.expiresAt))")
    .message("isolates and expiresAt exclude each other: isolation that expires would open by itself; use two policies"))]
#[x_kube(validation = Rule::new("!has(self.activeFrom) || !has(self.expiresAt) || self.activeFrom < self.expiresAt")
    .message("activeFrom must be before expiresAt"))]
#[x_kube(validation = Rule::new("has(self.isolates) || has(self.ingress) || has(self.egress)")
    .message("a policy needs isolates, ingress or egress"))]
#[x_kube(validation = Rule::new(STALENESS).message(STALENESS_MESSAGE))]
#[serde(rename_all = "camelCase")]
pub struct SegmentationPolicySpec {
    /// Whom the policy protects: any of these, all in the policy's own namespace.
    #[schemars(length(min = 1, max = 64))]
    pub subjects: Vec<SubjectWorkloads>,
    /// Directions in which the subjects may do only what some rule of the namespace allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub isolates: Option<Vec<IsolatedDirection>>,
    /// Whether it acts or is only reported.
    #[serde(default)]
    pub mode: Mode,
    /// In force from this instant on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub active_from: Option<Time>,
    /// No longer in force from this instant on, also where the controller is not reachable: a just-in-time grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub expires_at: Option<Time>,
    /// On a node that has not heard its controller for so long, what this policy allows ends, live connections included; what it
    /// denies stays. It comes back when the controller is heard again. Between `1m` and `720h`, like `10m` or `1h30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub max_staleness: Option<String>,
    /// Rules on what is opened to the subjects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub ingress: Option<Vec<NamespacedIngressRule>>,
    /// Rules on what the subjects open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub egress: Option<Vec<NamespacedEgressRule>>,
}

/// A direction, seen from the subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum IsolatedDirection {
    /// What is opened to it.
    Ingress,
    /// What it opens.
    Egress,
}
