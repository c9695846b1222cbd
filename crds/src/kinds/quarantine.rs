//! `Quarantine`: cut off at once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::time::{STALENESS, STALENESS_MESSAGE, date_time, duration};
use super::{ClusterPeer, ClusterWorkloads, PolicyPort, PolicyStatus};

/// Cuts subjects off at once, before everything else, live connections included.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "bulkhead.dev",
    version = "v1alpha1",
    kind = "Quarantine",
    derive = "PartialEq",
    status = "PolicyStatus",
    shortname = "quar",
    category = "bulkhead",
    doc = "Cuts subjects off at once, before everything else, live connections included.",
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
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
#[x_kube(validation = Rule::new(STALENESS).message(STALENESS_MESSAGE))]
#[serde(rename_all = "camelCase")]
pub struct QuarantineSpec {
    /// Whom to cut off: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub subjects: Vec<QuarantineSubject>,
    /// Why, for the records.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// What stays possible, for forensics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceptions: Option<Exceptions>,
    /// Over from this instant on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "date_time")]
    pub expires_at: Option<Time>,
    /// On a node that has not heard its controller for so long, the exceptions end; the quarantine stays. They come back when the
    /// controller is heard again. Between `1m` and `720h`, like `10m` or `1h30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "duration")]
    pub max_staleness: Option<String>,
}

/// Whom to cut off: exactly one of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("[has(self.workloads), has(self.segment), has(self.uid), has(self.owner)].exists_one(x, x)")
    .message("a subject is exactly one of workloads, segment, uid, owner"))]
#[x_kube(validation = Rule::new(
    "!has(self.workloads) || has(self.workloads.serviceAccounts) \
     || has(self.workloads.namespaces.matchLabels) && size(self.workloads.namespaces.matchLabels) > 0 \
     || has(self.workloads.namespaces.matchExpressions) && size(self.workloads.namespaces.matchExpressions) > 0 \
     || has(self.workloads.pods) && (has(self.workloads.pods.matchLabels) && size(self.workloads.pods.matchLabels) > 0 \
     || has(self.workloads.pods.matchExpressions) && size(self.workloads.pods.matchExpressions) > 0)"
).message("this selector is empty and would cut off the whole cluster: name namespaces, pods or serviceAccounts"))]
#[serde(rename_all = "camelCase")]
pub struct QuarantineSubject {
    /// Workloads by their identity; the selector must not be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<ClusterWorkloads>,
    /// The members of the segment of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub segment: Option<String>,
    /// One pod or one declared workload by its `metadata.uid`; in manifests without uids it is `pod/NAMESPACE/NAME` and
    /// `NAMESPACE/NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub uid: Option<String>,
    /// The pods of one owner, those that will replace them included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<PodOwner>,
}

/// Who makes pods and replaces them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("!(self.kind in ['CronJob', 'Pod'])")
    .message("a CronJob is not told by its pods: name its Jobs; a Pod is named by its uid"))]
#[serde(rename_all = "camelCase")]
pub struct PodOwner {
    /// Its namespace, which is also that of its pods.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub namespace: String,
    /// `Deployment`, or the kind of the controller in `metadata.ownerReferences` of the pods: `StatefulSet`, `DaemonSet`, `Job`,
    /// `ReplicaSet`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z][A-Za-z0-9-]*$"))]
    pub kind: String,
    /// Its name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
}

/// What stays possible under quarantine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.ingress) || has(self.egress)")
    .message("exceptions need ingress or egress"))]
#[serde(rename_all = "camelCase")]
pub struct Exceptions {
    /// What may be opened to the subjects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub ingress: Option<Vec<IngressException>>,
    /// What the subjects may open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub egress: Option<Vec<EgressException>>,
}

/// Something that may be opened to the subjects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressException {
    /// Names it in records.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Who opens: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub from: Vec<ClusterPeer>,
    /// On which ports: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub ports: Vec<PolicyPort>,
}

/// Something that the subjects may open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EgressException {
    /// Names it in records.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// To whom: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub to: Vec<ClusterPeer>,
    /// On which ports: any of these.
    #[schemars(length(min = 1, max = 64))]
    pub ports: Vec<PolicyPort>,
}
