//! `Pod`.

use std::net::IpAddr;

use bulkhead_policy::model::{
    Fault, Interned, Kind, NamedPort, Object, Phase, SortedSet, Workload, owner,
};
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::port::{port_number, upstream_protocol};
use super::violation::{Rejection, Violation};
use super::{Converted, metadata, network, syntax};

/// What the pods of a ReplicaSet of a Deployment bear, and no two such ReplicaSets share.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Reads a pod. One that is being deleted keeps its address until it is gone.
///
/// # Errors
/// If it has no name or no spec.
pub fn pod(object: &Pod) -> Result<Converted, Rejection> {
    let reference = metadata::namespaced(Kind::Pod, &object.metadata)?;
    let spec = object.spec.as_ref().ok_or_else(|| {
        Violation::new("spec", "the pod has no spec; add at least its containers")
            .into_rejection(reference.to_string())
    })?;
    let status = object.status.as_ref();
    let mut faults = Vec::new();
    // The older name of the field is still filled in by some who write manifests.
    let account = spec
        .service_account_name
        .as_deref()
        .or(spec.service_account.as_deref());
    let workload = Workload {
        uid: metadata::uid(&object.metadata, &reference),
        owners: owners(&object.metadata, &reference.namespace),
        labels: metadata::labels(&object.metadata),
        service_account: account
            .filter(|name| !name.is_empty())
            .unwrap_or("default")
            .into(),
        node: spec
            .node_name
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(Into::into),
        addresses: addresses(status, &mut faults),
        named_ports: named_ports(
            spec.init_containers.as_deref(),
            &spec.containers,
            &mut faults,
        ),
        phase: phase(status, &mut faults),
        host_network: spec.host_network.unwrap_or_default(),
        interface: None,
        namespace: reference.namespace,
        name: reference.name,
    };
    Ok(Converted {
        object: Object::Workload(Kind::Pod, Box::new(workload)),
        faults,
    })
}

/// Its controller, and the Deployment behind a ReplicaSet, which names the ReplicaSet after itself and after a hash that its
/// pods bear. What no quarantine can name is left out; the API server takes it at any length.
fn owners(metadata: &ObjectMeta, namespace: &str) -> SortedSet<Interned> {
    let mut references = metadata.owner_references.iter().flatten();
    let is_it = |it: &&OwnerReference| {
        let can_be_named = || syntax::kind(&it.kind, "").and(syntax::object_name(&it.name, ""));
        it.controller == Some(true) && can_be_named().is_ok()
    };
    let Some(controller) = references.find(is_it) else {
        return SortedSet::new();
    };
    let deployment = || {
        let hash = metadata.labels.as_ref()?.get(TEMPLATE_HASH)?;
        let name = controller.name.strip_suffix(hash.as_str())?;
        Some(owner(namespace, "Deployment", name.strip_suffix('-')?))
    };
    let behind = (controller.kind == "ReplicaSet").then(deployment).flatten();
    let direct = owner(namespace, &controller.kind, &controller.name);
    behind.into_iter().chain([direct]).collect()
}

fn addresses(status: Option<&PodStatus>, faults: &mut Vec<Fault>) -> SortedSet<IpAddr> {
    let Some(status) = status else {
        return SortedSet::new();
    };
    let listed = status.pod_ips.iter().flatten().enumerate();
    let listed = listed.map(|(index, ip)| (ip.ip.as_str(), format!("status.podIPs[{index}].ip")));
    let single = status
        .pod_ip
        .as_deref()
        .map(|ip| (ip, "status.podIP".to_owned()));
    let mut addresses = Vec::new();
    for (text, field) in listed.chain(single).filter(|(text, _)| !text.is_empty()) {
        match network::address(text, &field) {
            Ok(address) => addresses.push(address),
            Err(violation) => faults.push(violation.into()),
        }
    }
    addresses.into_iter().collect()
}

/// A manifest without a status, as people write it for tests, is a pod that is about to run.
fn phase(status: Option<&PodStatus>, faults: &mut Vec<Fault>) -> Phase {
    match status.and_then(|status| status.phase.as_deref()) {
        None | Some("" | "Pending") => Phase::Pending,
        Some("Running" | "Unknown") => Phase::Running,
        Some("Succeeded" | "Failed") => Phase::Completed,
        Some(other) => {
            let message =
                format!("unknown phase {other:?}; use Pending, Running, Succeeded or Failed");
            faults.push(Fault {
                field: "status.phase".to_owned(),
                message,
            });
            Phase::Running
        }
    }
}

/// Init containers that are restarted run beside the others as sidecars; their ports are the pod's too.
fn named_ports(
    init: Option<&[Container]>,
    containers: &[Container],
    faults: &mut Vec<Fault>,
) -> SortedSet<NamedPort> {
    let sidecars = init.unwrap_or_default().iter().enumerate();
    let sidecars =
        sidecars.filter(|(_, container)| container.restart_policy.as_deref() == Some("Always"));
    let sidecars =
        sidecars.map(|(index, container)| (container, format!("spec.initContainers[{index}]")));
    let containers = containers.iter().enumerate();
    let containers =
        containers.map(|(index, container)| (container, format!("spec.containers[{index}]")));
    let mut ports = Vec::new();
    for (container, field) in containers.chain(sidecars) {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) else {
                continue;
            };
            let field = format!("{field}.ports[{index}]");
            let protocol =
                upstream_protocol(port.protocol.as_deref(), &format!("{field}.protocol"));
            let number = port_number(port.container_port, &format!("{field}.containerPort"));
            match (protocol, number) {
                (Ok(protocol), Ok(port)) => ports.push(NamedPort {
                    name: name.into(),
                    protocol,
                    port,
                }),
                (Err(violation), _) | (_, Err(violation)) => faults.push(violation.into()),
            }
        }
    }
    ports.into_iter().collect()
}
