//! `NodeEnforcement`: what one node enforces, written by the controller. Numbers and names only, never the graph.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;
use super::time::date_time;

/// What one node enforces. Its name is the node's. The controller writes it; nobody else needs to.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "bulkhead.dev",
    version = "v1alpha1",
    kind = "NodeEnforcement",
    derive = "PartialEq",
    status = "NodeEnforcementStatus",
    shortname = "nenf",
    category = "bulkhead",
    doc = "What one node enforces, as read back from its kernel.",
    printcolumn(name = "Health", type_ = "string", json_path = ".status.health"),
    printcolumn(
        name = "Desired",
        type_ = "string",
        json_path = ".status.desired.digest"
    ),
    printcolumn(
        name = "Realised",
        type_ = "string",
        json_path = ".status.realised.digest"
    ),
    printcolumn(name = "Workloads", type_ = "integer", json_path = ".status.workloads"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct NodeEnforcementSpec {}

/// What one node enforces now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeEnforcementStatus {
    /// The revision that the controller compiled for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Revision>,
    /// The revision that it has read back from its kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realised: Option<Revision>,
    /// Whether it is where it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<NodeHealth>,
    /// Workloads that it protects.
    #[serde(default)]
    pub workloads: i32,
    /// How full its kernel tables are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tables: Vec<TableUse>,
    /// Subjects that did not fit and are cut off; the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub denied: Vec<DeniedSubject>,
    /// Subjects that did not fit, in all.
    #[serde(default)]
    pub denied_count: i32,
    /// Details for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A compiled state, named by its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Its name.
    #[schemars(length(max = 64))]
    pub digest: String,
    /// Since when.
    #[schemars(schema_with = "date_time")]
    pub since: Time,
}

/// Whether a node is where it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeHealth {
    /// It enforces what it should.
    Realised,
    /// It is on the way to a newer revision.
    Updating,
    /// It enforces, but not for everyone or not everything.
    Degraded,
    /// Its agent does not report; the kernel goes on with the last revision.
    Silent,
}

/// How full one kernel table is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TableUse {
    /// The table.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Entries in use.
    pub used: i64,
    /// Entries there are.
    pub capacity: i64,
}

/// A subject that did not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeniedSubject {
    /// `NAMESPACE/NAME` of the workload.
    #[schemars(length(max = 317))]
    pub workload: String,
    /// Which table was full and what it would have needed.
    #[schemars(length(max = 1024))]
    pub reason: String,
}
