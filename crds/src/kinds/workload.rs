//! `Workload`: what is no pod.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::PortProtocol;

/// A host, a virtual machine or a process of a standalone node. Selectors see its `metadata.labels`.
#[derive(
    Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema,
)]
#[kube(
    group = "bulkhead.dev",
    version = "v1alpha1",
    kind = "Workload",
    namespaced,
    derive = "PartialEq",
    shortname = "wl",
    category = "bulkhead",
    doc = "A host, a virtual machine or a process of a standalone node.",
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.node"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadSpec {
    /// What it uses as source, IPv4 and IPv6.
    #[x_kube(validation = Rule::new("self.all(a, isIP(a))").message("addresses are like 10.1.2.3 or 2001:db8::1, without a length"))]
    #[schemars(length(min = 1, max = 16), inner(length(min = 2, max = 45)))]
    pub addresses: Vec<String>,
    /// The node that enforces for it; absent: nobody does, it is a peer only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node: Option<String>,
    /// The host-side network interface; absent: the node finds it by address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub interface: Option<String>,
    /// The service account it counts as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account: Option<String>,
    /// Ports with names, for rules that name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub ports: Vec<WorkloadPort>,
}

/// A port with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadPort {
    /// The name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The protocol.
    pub protocol: PortProtocol,
    /// The number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}
