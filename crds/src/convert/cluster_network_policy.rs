//! `policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy`, failing closed as its API says: a rule of which something is
//! not understood matches no traffic if it accepts, and denies all traffic if it denies or passes.

use bulkhead_policy::model::{
    Action, Fault, Kind, LabelSelector, Mode, NamespaceScope, Network, ObjectRef, Peer, Peers,
    Policy, Port, Ports, Protocol, Rule, SortedSet, Subject, Tier, WorkloadSelector,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as UpstreamSelector;

use super::cluster_segmentation_policy::priority;
use super::limits::{bounded, filled, named};
use super::port::port_number;
use super::violation::{Checked, Rejection, Violation};
use super::{Converted, labels, metadata, network};
use crate::upstream::{
    ClusterNetworkPolicy, ClusterNetworkPolicyEgressRule, ClusterNetworkPolicyIngressRule,
    ClusterNetworkPolicyPeer, ClusterNetworkPolicyProtocol, ClusterNetworkPolicySpec,
    ClusterNetworkPolicySubject, ClusterNetworkPolicyTransport, NamespacedPod,
};

/// Most rules in one direction, and most peers, protocols or networks in one list.
const LIST: usize = 25;

/// Longest name of a rule, in characters.
const NAME: usize = 100;

/// Reads an administrator's policy of the upstream kind.
///
/// # Errors
/// If it is not clear whom it protects or where in the order it stands.
pub fn cluster_network_policy(object: &ClusterNetworkPolicy) -> Result<Converted, Rejection> {
    let reference = metadata::cluster(Kind::ClusterNetworkPolicy, &object.metadata)?;
    Converted::policy(reference, |reference, faults| {
        policy(reference, &object.spec, faults)
    })
}

fn policy(
    object: ObjectRef,
    spec: &ClusterNetworkPolicySpec,
    faults: &mut Vec<Fault>,
) -> Checked<Policy> {
    let priority = priority(spec.priority)?;
    let tier = match spec.tier.as_str() {
        "Admin" => Tier::Admin(priority),
        "Baseline" => Tier::Baseline(priority),
        other => {
            let message = format!("unknown tier {other:?}; use Admin or Baseline");
            return Err(Violation::new("spec.tier", message));
        }
    };
    let ingress = spec.ingress.as_deref().unwrap_or_default();
    bounded(ingress, "spec.ingress", LIST)?;
    let egress = spec.egress.as_deref().unwrap_or_default();
    bounded(egress, "spec.egress", LIST)?;
    Ok(Policy {
        object,
        tier,
        subjects: vec![Subject::Selected(subject(&spec.subject)?)],
        isolates: SortedSet::new(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: rules(ingress, "spec.ingress", faults),
        egress: rules(egress, "spec.egress", faults),
    })
}

pub(super) fn subject(subject: &ClusterNetworkPolicySubject) -> Checked<WorkloadSelector> {
    match (&subject.namespaces, &subject.pods) {
        (Some(namespaces), None) => in_namespaces(namespaces, "spec.subject.namespaces"),
        (None, Some(pods)) => namespaced_pods(pods, "spec.subject.pods"),
        (None, None) => Err(Violation::new(
            "spec.subject",
            "nothing known is set; set exactly one of namespaces, pods",
        )),
        (Some(_), Some(_)) => Err(Violation::new(
            "spec.subject",
            "several are set; set exactly one of namespaces, pods",
        )),
    }
}

/// What the rules of both directions have in common.
trait Direction {
    /// The field that holds the peers.
    const PEERS: &'static str;
    /// Which fields of a peer exist.
    const UNION: &'static str;
    fn name(&self) -> Option<&str>;
    fn action(&self) -> &str;
    fn peers(&self) -> &[ClusterNetworkPolicyPeer];
    fn protocols(&self) -> Option<&[ClusterNetworkPolicyProtocol]>;
}

impl Direction for ClusterNetworkPolicyIngressRule {
    const PEERS: &'static str = "from";
    const UNION: &'static str = "exactly one of namespaces, pods";
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
    fn action(&self) -> &str {
        &self.action
    }
    fn peers(&self) -> &[ClusterNetworkPolicyPeer] {
        &self.from
    }
    fn protocols(&self) -> Option<&[ClusterNetworkPolicyProtocol]> {
        self.protocols.as_deref()
    }
}

impl Direction for ClusterNetworkPolicyEgressRule {
    const PEERS: &'static str = "to";
    const UNION: &'static str = "exactly one of namespaces, pods, nodes, networks";
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
    fn action(&self) -> &str {
        &self.action
    }
    fn peers(&self) -> &[ClusterNetworkPolicyPeer] {
        &self.to
    }
    fn protocols(&self) -> Option<&[ClusterNetworkPolicyProtocol]> {
        self.protocols.as_deref()
    }
}

fn rules<R: Direction>(rules: &[R], field: &str, faults: &mut Vec<Fault>) -> Vec<Rule> {
    let read = |(index, it): (usize, &R)| rule(it, &format!("{field}[{index}]"), faults);
    rules.iter().enumerate().map(read).collect()
}

fn rule<R: Direction>(rule: &R, field: &str, faults: &mut Vec<Fault>) -> Rule {
    let action = match rule.action() {
        "Accept" => Action::Allow,
        "Deny" => Action::Deny,
        "Pass" => Action::Pass,
        other => {
            // Whatever it does, it cannot open more than denying what it speaks of.
            let message = format!("unknown action {other:?}; use Accept, Deny or Pass");
            faults.push(Violation::new(format!("{field}.action"), message).into());
            Action::Deny
        }
    };
    let name = rule.name().unwrap_or_default();
    if name.chars().count() > NAME {
        let message = format!("the name is longer than {NAME} characters; shorten it");
        faults.push(Violation::new(format!("{field}.name"), message).into());
    }
    let before = faults.len();
    let peers = peers(rule, field, faults);
    let ports = ports(rule.protocols(), &format!("{field}.protocols"), faults);
    let understood = faults.len() == before;
    let (action, peers, ports) = match (understood, action) {
        (true, _) => (action, Peers::Of(peers), ports),
        (false, Action::Allow) => (Action::Allow, Peers::Of(Vec::new()), ports),
        (false, Action::Deny | Action::Pass) => (Action::Deny, Peers::Any, Ports::Any),
    };
    Rule {
        name: name.into(),
        action,
        peers,
        ports,
    }
}

fn peers<R: Direction>(rule: &R, field: &str, faults: &mut Vec<Fault>) -> Vec<Peer> {
    let field = format!("{field}.{}", R::PEERS);
    let mut peers = Vec::new();
    if let Err(violation) = filled(rule.peers(), &field, LIST) {
        faults.push(violation.into());
    }
    let named_ports = rule
        .protocols()
        .into_iter()
        .flatten()
        .any(|protocol| protocol.destination_named_port.is_some());
    for (index, it) in rule.peers().iter().enumerate() {
        let field = format!("{field}[{index}]");
        let read = peer::<R>(it, &field).and_then(|read| {
            let by_address = read
                .iter()
                .any(|it| matches!(it, Peer::Network(_) | Peer::Nodes(_)));
            if named_ports && by_address {
                let message =
                    "networks and nodes have no named ports; give numbers, or a rule of their own";
                return Err(Violation::new(field, message));
            }
            Ok(read)
        });
        match read {
            Ok(read) => peers.extend(read),
            Err(violation) => faults.push(violation.into()),
        }
    }
    peers
}

fn peer<R: Direction>(peer: &ClusterNetworkPolicyPeer, field: &str) -> Checked<Vec<Peer>> {
    let ClusterNetworkPolicyPeer {
        namespaces,
        pods,
        nodes,
        networks,
        domain_names,
    } = peer;
    let is_ingress = R::PEERS == "from";
    if is_ingress && (nodes.is_some() || networks.is_some() || domain_names.is_some()) {
        let message = format!("who opens connections is {}", R::UNION);
        return Err(Violation::new(field, message));
    }
    let one = match (namespaces, pods, nodes, networks, domain_names) {
        (Some(namespaces), None, None, None, None) => {
            in_namespaces(namespaces, &format!("{field}.namespaces")).map(Peer::Workloads)
        }
        (None, Some(pods), None, None, None) => {
            namespaced_pods(pods, &format!("{field}.pods")).map(Peer::Workloads)
        }
        (None, None, Some(nodes), None, None) => {
            labels::upstream(nodes, &format!("{field}.nodes")).map(Peer::Nodes)
        }
        (None, None, None, Some(networks), None) => {
            return ranges(networks, &format!("{field}.networks"));
        }
        (None, None, None, None, Some(_)) => Err(Violation::new(
            format!("{field}.domainNames"),
            "names are not supported; write the addresses as networks",
        )),
        (None, None, None, None, None) => Err(Violation::new(
            field,
            format!("nothing known is set; set {}", R::UNION),
        )),
        _ => Err(Violation::new(
            field,
            format!("several are set; set {}", R::UNION),
        )),
    };
    Ok(vec![one?])
}

fn ranges(networks: &[String], field: &str) -> Checked<Vec<Peer>> {
    filled(networks, field, LIST)?;
    let one = |(index, text): (usize, &String)| {
        let range = network::cidr(text, &format!("{field}[{index}]"))?;
        Ok(Peer::Network(Network::new(range, [])))
    };
    networks.iter().enumerate().map(one).collect()
}

fn in_namespaces(namespaces: &UpstreamSelector, field: &str) -> Checked<WorkloadSelector> {
    Ok(WorkloadSelector {
        namespaces: NamespaceScope::Matching(labels::upstream(namespaces, field)?),
        labels: LabelSelector::everything(),
        service_accounts: None,
    })
}

fn namespaced_pods(pods: &NamespacedPod, field: &str) -> Checked<WorkloadSelector> {
    let namespaces = labels::upstream(
        &pods.namespace_selector,
        &format!("{field}.namespaceSelector"),
    )?;
    Ok(WorkloadSelector {
        namespaces: NamespaceScope::Matching(namespaces),
        labels: labels::upstream(&pods.pod_selector, &format!("{field}.podSelector"))?,
        service_accounts: None,
    })
}

/// Absent is every protocol and port; a list that is there must say something.
fn ports(
    protocols: Option<&[ClusterNetworkPolicyProtocol]>,
    field: &str,
    faults: &mut Vec<Fault>,
) -> Ports {
    let Some(protocols) = protocols else {
        return Ports::Any;
    };
    if let Err(violation) = filled(protocols, field, LIST) {
        faults.push(violation.into());
    }
    let mut ports = Vec::new();
    for (index, it) in protocols.iter().enumerate() {
        match protocol(it, &format!("{field}[{index}]")) {
            Ok(read) => ports.extend(read),
            Err(violation) => faults.push(violation.into()),
        }
    }
    Ports::Of(ports)
}

fn protocol(protocol: &ClusterNetworkPolicyProtocol, field: &str) -> Checked<Vec<Port>> {
    const UNION: &str = "exactly one of tcp, udp, sctp, destinationNamedPort";
    let ClusterNetworkPolicyProtocol {
        tcp,
        udp,
        sctp,
        destination_named_port,
    } = protocol;
    match (tcp, udp, sctp, destination_named_port) {
        (Some(it), None, None, None) => transport(Protocol::Tcp, it, &format!("{field}.tcp")),
        (None, Some(it), None, None) => transport(Protocol::Udp, it, &format!("{field}.udp")),
        (None, None, Some(it), None) => transport(Protocol::Sctp, it, &format!("{field}.sctp")),
        (None, None, None, Some(name)) => {
            named(name, &format!("{field}.destinationNamedPort"))?;
            // The container that declares the port says which protocol it has.
            let with = |protocol| Port::Named {
                protocol,
                name: name.as_str().into(),
            };
            Ok([Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
                .map(with)
                .into())
        }
        (None, None, None, None) => Err(Violation::new(
            field,
            format!("nothing known is set; set {UNION}"),
        )),
        _ => Err(Violation::new(
            field,
            format!("several are set; set {UNION}"),
        )),
    }
}

fn transport(
    protocol: Protocol,
    transport: &ClusterNetworkPolicyTransport,
    field: &str,
) -> Checked<Vec<Port>> {
    let Some(port) = &transport.destination_port else {
        let message = "nothing known is set; set destinationPort, from 1 to 65535 for every port";
        return Err(Violation::new(field, message));
    };
    let field = format!("{field}.destinationPort");
    let (from, to) = match (&port.number, &port.range) {
        (Some(number), None) => {
            let number = port_number(*number, &format!("{field}.number"))?;
            (number, number)
        }
        (None, Some(range)) => {
            let from = port_number(range.start, &format!("{field}.range.start"))?;
            let to = port_number(range.end, &format!("{field}.range.end"))?;
            if from >= to {
                let message = format!(
                    "start must be less than end, and {from} is not less than {to}; use number for one port"
                );
                return Err(Violation::new(format!("{field}.range"), message));
            }
            (from, to)
        }
        (None, None) | (Some(_), Some(_)) => {
            let message = "set exactly one of number, range";
            return Err(Violation::new(field, message));
        }
    };
    Ok(vec![Port::Range { protocol, from, to }])
}
