//! `networking.k8s.io/v1 NetworkPolicy`, with upstream's meaning of *missing* and *empty*.
//!
//! All its rules are Allows, so a part that cannot be read matches nobody, and the policy isolates all the same.

use bulkhead_policy::model::{
    Action, Direction, Fault, Interned, Kind, LabelSelector, Mode, NamespaceScope, ObjectRef, Peer,
    Peers, Policy, Port, Ports, Protocol, Rule, SortedSet, Subject, Tier, WorkloadSelector,
};
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::port::{port_number, upstream_protocol};
use super::violation::{Checked, Rejection, Violation};
use super::{Converted, labels, metadata, network};

/// Reads an upstream policy.
///
/// # Errors
/// If it is not clear whom it protects.
pub fn network_policy(object: &NetworkPolicy) -> Result<Converted, Rejection> {
    let reference = metadata::namespaced(Kind::NetworkPolicy, &object.metadata)?;
    Converted::policy(reference, |reference, faults| {
        let missing = || Violation::new("spec", "the policy has no spec; add at least podSelector");
        policy(
            &reference,
            object.spec.as_ref().ok_or_else(missing)?,
            faults,
        )
    })
}

fn policy(
    object: &ObjectRef,
    spec: &NetworkPolicySpec,
    faults: &mut Vec<Fault>,
) -> Checked<Policy> {
    let labels = match &spec.pod_selector {
        Some(selector) => labels::upstream(selector, "spec.podSelector")?,
        None => LabelSelector::everything(),
    };
    let namespace = &object.namespace;
    let subject = WorkloadSelector {
        namespaces: NamespaceScope::Named(namespace.clone()),
        labels,
        service_accounts: None,
    };
    let isolates = policy_types(spec, faults);
    // Rules of a direction that the policy does not speak about do not exist.
    let ingress = spec
        .ingress
        .iter()
        .flatten()
        .filter(|_| isolates.contains(&Direction::Ingress));
    let egress = spec
        .egress
        .iter()
        .flatten()
        .filter(|_| isolates.contains(&Direction::Egress));
    Ok(Policy {
        object: object.clone(),
        tier: Tier::Namespace,
        subjects: vec![Subject::Selected(subject)],
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: ingress
            .enumerate()
            .map(|(index, rule)| {
                let field = format!("spec.ingress[{index}]");
                let peers = peers(
                    rule.from.as_deref(),
                    namespace,
                    &format!("{field}.from"),
                    faults,
                );
                allow(
                    peers,
                    ports(rule.ports.as_deref(), &format!("{field}.ports"), faults),
                )
            })
            .collect(),
        egress: egress
            .enumerate()
            .map(|(index, rule)| {
                let field = format!("spec.egress[{index}]");
                let peers = peers(
                    rule.to.as_deref(),
                    namespace,
                    &format!("{field}.to"),
                    faults,
                );
                allow(
                    peers,
                    ports(rule.ports.as_deref(), &format!("{field}.ports"), faults),
                )
            })
            .collect(),
        isolates,
    })
}

fn allow(peers: Peers, ports: Ports) -> Rule {
    Rule {
        name: "".into(),
        action: Action::Allow,
        peers,
        ports,
    }
}

/// Without `policyTypes`: always ingress, and egress if there is an egress rule.
fn policy_types(spec: &NetworkPolicySpec, faults: &mut Vec<Fault>) -> SortedSet<Direction> {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    if types.is_empty() {
        let egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        return SortedSet::from_iter(
            std::iter::once(Direction::Ingress).chain(egress.then_some(Direction::Egress)),
        );
    }
    let mut directions = Vec::new();
    for (index, name) in types.iter().enumerate() {
        match name.as_str() {
            "Ingress" => directions.push(Direction::Ingress),
            "Egress" => directions.push(Direction::Egress),
            other => {
                directions.extend([Direction::Ingress, Direction::Egress]);
                faults.push(Fault {
                    field: format!("spec.policyTypes[{index}]"),
                    message: format!("unknown policy type {other:?}; use Ingress or Egress"),
                });
            }
        }
    }
    directions.into_iter().collect()
}

/// Upstream, a missing list of peers and an empty one both mean everybody.
fn peers(
    list: Option<&[NetworkPolicyPeer]>,
    namespace: &Interned,
    field: &str,
    faults: &mut Vec<Fault>,
) -> Peers {
    let list = list.unwrap_or_default();
    if list.is_empty() {
        return Peers::Any;
    }
    let read = |(index, it): (usize, &NetworkPolicyPeer)| {
        peer(it, namespace, &format!("{field}[{index}]")).unwrap_or_else(|violation| {
            faults.push(violation.into());
            Peer::Unresolved
        })
    };
    Peers::Of(list.iter().enumerate().map(read).collect())
}

fn peer(peer: &NetworkPolicyPeer, namespace: &Interned, field: &str) -> Checked<Peer> {
    match (&peer.ip_block, &peer.namespace_selector, &peer.pod_selector) {
        (Some(block), None, None) => {
            let except = block.except.as_deref().unwrap_or_default();
            network::block(&block.cidr, except, &format!("{field}.ipBlock")).map(Peer::Network)
        }
        (Some(_), _, _) => Err(Violation::new(
            field,
            "ipBlock stands beside a selector; use one peer for each",
        )),
        (None, None, None) => Err(Violation::new(
            field,
            "the peer is empty; name podSelector, namespaceSelector or ipBlock",
        )),
        (None, namespaces, pods) => {
            let namespaces = match namespaces {
                Some(selector) => NamespaceScope::Matching(labels::upstream(
                    selector,
                    &format!("{field}.namespaceSelector"),
                )?),
                None => NamespaceScope::Named(namespace.clone()),
            };
            let labels = match pods {
                Some(selector) => labels::upstream(selector, &format!("{field}.podSelector"))?,
                None => LabelSelector::everything(),
            };
            Ok(Peer::Workloads(WorkloadSelector {
                namespaces,
                labels,
                service_accounts: None,
            }))
        }
    }
}

/// Upstream, a missing list of ports and an empty one both mean every port.
fn ports(list: Option<&[NetworkPolicyPort]>, field: &str, faults: &mut Vec<Fault>) -> Ports {
    let list = list.unwrap_or_default();
    if list.is_empty() {
        return Ports::Any;
    }
    let read = |(index, it): (usize, &NetworkPolicyPort)| {
        port(it, &format!("{field}[{index}]")).unwrap_or_else(|violation| {
            faults.push(violation.into());
            Port::Unresolved
        })
    };
    Ports::Of(list.iter().enumerate().map(read).collect())
}

fn port(port: &NetworkPolicyPort, field: &str) -> Checked<Port> {
    let protocol = upstream_protocol(port.protocol.as_deref(), &format!("{field}.protocol"))?;
    match (&port.port, port.end_port) {
        (None, None) => Ok(Port::Protocol(protocol)),
        (Some(IntOrString::Int(from)), end) => range(protocol, *from, end.unwrap_or(*from), field),
        (Some(IntOrString::String(name)), None) if !name.is_empty() => Ok(Port::Named {
            protocol,
            name: name.as_str().into(),
        }),
        (Some(IntOrString::String(_)), None) => Err(Violation::new(
            format!("{field}.port"),
            "the port name is empty; name a port or give a number",
        )),
        (None | Some(IntOrString::String(_)), Some(_)) => Err(Violation::new(
            format!("{field}.endPort"),
            "endPort needs a number in port; give one or remove endPort",
        )),
    }
}

fn range(protocol: Protocol, from: i32, to: i32, field: &str) -> Checked<Port> {
    let from = port_number(from, &format!("{field}.port"))?;
    let to = port_number(to, &format!("{field}.endPort"))?;
    if from > to {
        let message =
            format!("the range {from}–{to} runs backwards; endPort must not be smaller than port");
        return Err(Violation::new(format!("{field}.endPort"), message));
    }
    Ok(Port::Range { protocol, from, to })
}
