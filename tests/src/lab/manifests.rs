//! A plan as the product has to be told of it: nodes, namespaces and workloads.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Plan;

/// All manifests in one JSON List.
pub fn describe(plan: &Plan) -> String {
    list(objects(plan))
}

/// Objects as one document.
pub fn list(items: Vec<Value>) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// Nodes, namespaces and workloads. Each workload is labelled with its name as `app` and has a service account of that name.
pub fn objects(plan: &Plan) -> Vec<Value> {
    let namespaces: BTreeSet<&str> = plan
        .workloads()
        .iter()
        .map(|workload| workload.namespace.as_str())
        .collect();
    let nodes = plan.nodes().iter().map(|node| {
        let ranges = node.ranges().map(|range| range.to_string());
        let addresses = node
            .addresses()
            .both()
            .map(|address| json!({"type": "InternalIP", "address": address}));
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name()},
            "spec": {"podCIDRs": ranges}, "status": {"addresses": addresses},
        })
    });
    let namespaces = namespaces.into_iter().map(|name| {
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"tenant": name}}})
    });
    let workloads = plan.workloads().iter().map(|workload| {
        json!({
            "apiVersion": "bulkhead.dev/v1alpha1", "kind": "Workload",
            "metadata": {"namespace": workload.namespace, "name": workload.name, "labels": {"app": workload.name}},
            "spec": {
                "node": workload.node.name(),
                "interface": workload.interface,
                "addresses": workload.addresses.both(),
                "serviceAccount": workload.name,
            },
        })
    });
    nodes.chain(namespaces).chain(workloads).collect()
}
