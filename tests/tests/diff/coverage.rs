//! Random worlds are worth their time only if everything that people may write comes up in them, and decides: each answer
//! of the pipeline, and each construct beside both answers.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bulkhead_policy::eval::{Half, Owner, Provenance, RuleReference, World, eval};
use bulkhead_policy::model::{
    Action, Address, Interned, Kind, LabelSelector, NamespaceScope, Object, ObjectRef, Operator,
    Peer, Peers, Phase, Policy, Port, Ports, Protocol, Rule, Subject, Workload, WorkloadSelector,
};
use bulkhead_tests::worlds::search::{Finding, search};
use bulkhead_tests::worlds::vocabulary::{self, NOW};
use bulkhead_tests::worlds::{SmallWorld, small_world};

use bulkhead_tests::tuples::{Compiled, Judged, flows};

/// Every so many flows, from another one on in each world.
const STEP: usize = 7;

/// What gave an answer, without names.
fn origin(rule: &Provenance) -> String {
    let kind = |object: &ObjectRef| object.kind.name();
    match rule {
        Provenance::Rule(rule) => format!("a rule of {}", kind(&rule.object)),
        Provenance::Isolated { stage, .. } => format!("isolated in {stage:?}"),
        Provenance::Within { stage, .. } => format!("within in {stage:?}"),
        Provenance::Unopposed
        | Provenance::OwnAddress
        | Provenance::NotOurs
        | Provenance::Contested
        | Provenance::JudgedAtEndpoint => format!("{rule:?}"),
        Provenance::LeftOut(_) => "left out".to_owned(),
        Provenance::Endpoint { rule, .. } => format!("endpoint: {}", origin(rule)),
        Provenance::NoEndpoint(_) => "no endpoint".to_owned(),
    }
}

/// `true`: comes up with both answers; `false`: with the one that it can have.
const EXPECTED: &[(&str, bool)] = &[
    // Answers of the pipeline.
    ("JudgedAtEndpoint", false),
    ("left out", false),
    ("endpoint: Unopposed", false),
    ("endpoint: isolated in Namespace", false),
    ("Unopposed", false),
    ("Contested", false),
    ("NotOurs", false),
    ("a rule of ClusterNetworkPolicy", true),
    ("a rule of ClusterSegmentationPolicy", true),
    ("a rule of Namespace", false),
    ("a rule of NetworkPolicy", false),
    ("a rule of Quarantine", false),
    ("a rule of SegmentationPolicy", true),
    ("isolated in Boundary", false),
    ("isolated in Namespace", false),
    ("isolated in Quarantine", false),
    ("isolated in Segment", false),
    ("no endpoint", false),
    ("within in Boundary", false),
    ("within in Segment", true),
    // What the deciding rule says.
    ("peers: any", true),
    ("peers: labels, In", true),
    ("peers: labels, NotIn", true),
    ("peers: labels, Exists", true),
    ("peers: labels, DoesNotExist", true),
    ("peers: namespaces by label", true),
    ("peers: one namespace", true),
    ("peers: service accounts", true),
    ("peers: network of IPv4 with holes", true),
    ("peers: network of IPv6 with holes", true),
    ("peers: segment", true),
    ("peers: nodes", true),
    ("peers: unresolved", false),
    ("peers: missing segment", false),
    ("ports: any", true),
    ("ports: whole protocol", true),
    ("ports: single", true),
    ("ports: range", true),
    ("ports: named", true),
    ("ports: unresolved", false),
    ("subject: by uid", true),
    ("subject: by owner", true),
    ("subject: by segment", true),
    ("subject: by service account", true),
    ("policy: with a beginning", true),
    ("policy: with an end", true),
    ("policy: with a lease", true),
    ("policy: of equal priority with another", true),
    // What was asked.
    ("flow: Sctp", true),
    ("flow: Icmp", true),
    ("flow: Icmpv6", true),
    ("flow: Other", true),
    ("flow: IPv6", true),
    ("flow: to a Service", true),
    ("flow: to a Service with several endpoints", true),
    // Who it was about.
    ("peer: unknown", true),
    ("peer: contested", true),
    ("peer: outside", true),
    ("peer: address of a completed pod", true),
    ("peer: address of a host-network pod", true),
    ("peer: address of a node", true),
    ("peer: of another family's twin", true),
    ("end: dual stack", true),
    ("end: pending", true),
    ("end: declared workload", true),
    ("end: in a namespace without an object", true),
    ("end: names a port that its peer names otherwise", true),
    ("end: in several segments", true),
    ("world: enforced is not intended", true),
    ("world: a segment in Audit", false),
    ("world: a policy in Audit", true),
];

#[derive(Default)]
struct Seen(BTreeMap<String, [u64; 2]>);

impl Seen {
    fn add(&mut self, construct: impl Into<String>, allowed: bool) {
        self.0.entry(construct.into()).or_default()[usize::from(allowed)] += 1;
    }
}

fn labels(selector: &LabelSelector, said: &mut Vec<&'static str>) {
    for requirement in selector.requirements() {
        said.push(match requirement.operator {
            Operator::In(_) => "peers: labels, In",
            Operator::NotIn(_) => "peers: labels, NotIn",
            Operator::Exists => "peers: labels, Exists",
            Operator::DoesNotExist => "peers: labels, DoesNotExist",
        });
    }
}

fn workloads(selector: &WorkloadSelector, said: &mut Vec<&'static str>) {
    labels(&selector.labels, said);
    match &selector.namespaces {
        NamespaceScope::Named(_) => said.push("peers: one namespace"),
        NamespaceScope::Matching(_) => said.push("peers: namespaces by label"),
    }
    if selector.service_accounts.is_some() {
        said.push("peers: service accounts");
    }
}

/// What a rule says.
fn of_rule(rule: &Rule, world: &World) -> Vec<&'static str> {
    let mut said = Vec::new();
    let (peers, ports) = match (&rule.peers, &rule.ports) {
        (Peers::Any, Ports::Any) => (&[][..], &[][..]),
        (Peers::Of(peers), Ports::Any) => (&peers[..], &[][..]),
        (Peers::Any, Ports::Of(ports)) => (&[][..], &ports[..]),
        (Peers::Of(peers), Ports::Of(ports)) => (&peers[..], &ports[..]),
    };
    if rule.peers == Peers::Any {
        said.push("peers: any");
    }
    if rule.ports == Ports::Any {
        said.push("ports: any");
    }
    for peer in peers {
        match peer {
            Peer::Workloads(selector) => workloads(selector, &mut said),
            Peer::Network(network) if network.except.is_empty() => {}
            Peer::Network(network) if network.cidr.addr().is_ipv4() => {
                said.push("peers: network of IPv4 with holes");
            }
            Peer::Network(_) => said.push("peers: network of IPv6 with holes"),
            Peer::Segment(name) if world.segment(name).is_none() => {
                said.push("peers: missing segment");
            }
            Peer::Segment(_) => said.push("peers: segment"),
            Peer::Nodes(_) => said.push("peers: nodes"),
            Peer::Unresolved => said.push("peers: unresolved"),
        }
    }
    for port in ports {
        said.push(match port {
            Port::Protocol(_) => "ports: whole protocol",
            Port::Range { from, to, .. } if from == to => "ports: single",
            Port::Range { .. } => "ports: range",
            Port::Named { .. } => "ports: named",
            Port::Unresolved => "ports: unresolved",
        });
    }
    said
}

fn of_policy(policy: &Policy, world: &World) -> Vec<&'static str> {
    let mut said = Vec::new();
    for subject in &policy.subjects {
        match subject {
            Subject::Workload(_) => said.push("subject: by uid"),
            Subject::Owner(_) => said.push("subject: by owner"),
            Subject::Segment(_) => said.push("subject: by segment"),
            Subject::Selected(selector) if selector.service_accounts.is_some() => {
                said.push("subject: by service account");
            }
            Subject::Selected(_) => {}
        }
    }
    if policy.active_from.is_some() {
        said.push("policy: with a beginning");
    }
    if policy.expires_at.is_some() {
        said.push("policy: with an end");
    }
    if policy.max_staleness.is_some() {
        said.push("policy: with a lease");
    }
    let mut others = world.policies().filter(|other| {
        other.tier == policy.tier
            && other.object != policy.object
            && other.subjects == policy.subjects
    });
    let in_a_tier = policy.object.namespace.is_empty() && policy.object.kind != Kind::Quarantine;
    if in_a_tier && others.next().is_some() {
        said.push("policy: of equal priority with another");
    }
    said
}

fn decided_by<'w>(world: &'w World, rule: &RuleReference) -> Option<(&'w Policy, &'w Rule)> {
    let policy = world
        .policies()
        .find(|policy| policy.object == rule.object)?;
    Some((policy, policy.rules(rule.direction).get(rule.index)?))
}

fn claims(workload: &Workload, address: Address) -> bool {
    workload.addresses.contains(&address.ip())
}

fn of_peer(world: &World, peer: Address) -> Vec<&'static str> {
    let mut said = Vec::new();
    match world.owner(peer) {
        Owner::Unknown => said.push("peer: unknown"),
        Owner::Contested => said.push("peer: contested"),
        Owner::Outside => said.push("peer: outside"),
        Owner::Workload(workload) => {
            let twin = workload
                .addresses
                .iter()
                .any(|ip| ip.is_ipv4() != peer.is_ipv4());
            if twin {
                said.push("peer: of another family's twin");
            }
            return said;
        }
    }
    for workload in world.workloads().filter(|workload| claims(workload, peer)) {
        if workload.phase == Phase::Completed {
            said.push("peer: address of a completed pod");
        }
        if workload.host_network {
            said.push("peer: address of a host-network pod");
        }
    }
    if world
        .nodes()
        .any(|node| node.addresses.contains(&peer.ip()))
    {
        said.push("peer: address of a node");
    }
    said
}

fn of_subject(world: &World, subject: &Workload, judged: &Judged<'_>) -> Vec<&'static str> {
    let mut said = Vec::new();
    let families = |v4: bool| subject.addresses.iter().any(|ip| ip.is_ipv4() == v4);
    if families(true) && families(false) {
        said.push("end: dual stack");
    }
    if subject.phase == Phase::Pending {
        said.push("end: pending");
    }
    let is_declared = |object: &Object| matches!(object, Object::Workload(Kind::Workload, it) if it.uid == subject.uid);
    if world.objects().any(is_declared) {
        said.push("end: declared workload");
    }
    let is_namespace =
        |object: &Object| matches!(object, Object::Namespace(it) if it.name == subject.namespace);
    if !world.objects().any(is_namespace) {
        said.push("end: in a namespace without an object");
    }
    if let Owner::Workload(peer) = world.owner(judged.asked.peer) {
        let number = |workload: &Workload, name: &Interned| {
            let mut named = workload.named_ports.iter();
            named.find(|port| port.name == *name).map(|port| port.port)
        };
        let differs = |name: &Interned| {
            let (own, other) = (number(subject, name), number(peer, name));
            own.is_some() && other.is_some() && own != other
        };
        if subject.named_ports.iter().any(|port| differs(&port.name)) {
            said.push("end: names a port that its peer names otherwise");
        }
    }
    said
}

fn of_flow(judged: &Judged<'_>) -> Vec<&'static str> {
    let mut said = Vec::new();
    let asked = &judged.asked;
    match asked.protocol {
        Protocol::Sctp => said.push("flow: Sctp"),
        Protocol::Icmp => said.push("flow: Icmp"),
        Protocol::Icmpv6 => said.push("flow: Icmpv6"),
        Protocol::Other => said.push("flow: Other"),
        Protocol::Tcp | Protocol::Udp => {}
    }
    if !asked.own.is_ipv4() {
        said.push("flow: IPv6");
    }
    let graph = &judged.node.graph;
    let is_egress = asked.direction == bulkhead_graph::Direction::Egress;
    if let Some(service) = graph.services.get(&asked.peer).filter(|_| is_egress) {
        let mut ports = service.ports.iter();
        let port = ports.find(|it| it.protocol == asked.protocol && it.port == asked.port);
        if let Some(port) = port {
            said.push("flow: to a Service");
            if port.backends.len() > 1 {
                said.push("flow: to a Service with several endpoints");
            }
        }
    }
    said
}

/// Kinds of the objects that gave an answer.
fn speaks(provenance: &Provenance) -> Vec<Kind> {
    match provenance {
        Provenance::Rule(rule) => vec![rule.object.kind],
        Provenance::Within { by, .. } | Provenance::Isolated { by, .. } => {
            by.iter().map(|object| object.kind).collect()
        }
        Provenance::NoEndpoint(service) => vec![service.kind],
        Provenance::LeftOut(left_out) => vec![left_out.service.kind],
        Provenance::Endpoint { rule, .. } => speaks(rule),
        Provenance::Unopposed
        | Provenance::OwnAddress
        | Provenance::NotOurs
        | Provenance::Contested
        | Provenance::JudgedAtEndpoint => Vec::new(),
    }
}

fn add(seen: &mut Seen, world: &World, judged: &Judged<'_>) {
    let half: &Half = &judged.enforced;
    let mut said = of_flow(judged);
    said.extend(of_peer(world, judged.asked.peer));
    if let Provenance::Rule(rule) = &half.rule
        && let Some((policy, rule)) = decided_by(world, rule)
        && rule.action != Action::Pass
    {
        said.extend(of_rule(rule, world));
        said.extend(of_policy(policy, world));
    }
    if let Owner::Workload(subject) = world.owner(judged.asked.own) {
        said.extend(of_subject(world, subject, judged));
    }
    if let Provenance::Within { by, .. } | Provenance::Isolated { by, .. } = &half.rule
        && by.len() > 1
        && by.iter().all(|object| object.kind == Kind::Segment)
    {
        said.push("end: in several segments");
    }
    if half.allowed != judged.intended.allowed {
        said.push("world: enforced is not intended");
        said.push(
            match speaks(&judged.intended.rule).contains(&Kind::Segment) {
                true => "world: a segment in Audit",
                false => "world: a policy in Audit",
            },
        );
    }
    said.sort_unstable();
    said.dedup();
    for construct in said {
        seen.add(construct, half.allowed);
    }
}

fn missing(seen: &Seen) -> Vec<&'static str> {
    let is_missing = |(construct, both): &&(&'static str, bool)| {
        let [denied, allowed] = seen.0.get(*construct).copied().unwrap_or_default();
        if *both {
            denied == 0 || allowed == 0
        } else {
            denied + allowed == 0
        }
    };
    EXPECTED
        .iter()
        .filter(is_missing)
        .map(|(construct, _)| *construct)
        .collect()
}

/// So many worlds at a time, and so often until everything has been seen: what does not come up in them is not made.
const WORLDS: u32 = 250;
const BATCHES: usize = 40;

#[test]
fn every_construct_comes_up_and_decides_both_ways() {
    let seen: RefCell<Seen> = RefCell::default();
    let addresses = vocabulary::addresses();
    let mut batches = 0;
    while batches == 0 || (batches < BATCHES && !missing(&seen.borrow()).is_empty()) {
        let first = batches % STEP;
        batches += 1;
        search(
            &format!("coverage {batches}"),
            WORLDS,
            small_world(),
            |case| look(&mut seen.borrow_mut(), &case, &addresses, first),
        );
    }
    let seen = seen.into_inner();
    for (construct, [denied, allowed]) in &seen.0 {
        println!("{construct}: {denied} denied, {allowed} allowed");
    }
    let missing = missing(&seen);
    assert!(
        missing.is_empty(),
        "never came up, or only one way: {missing:?}"
    );
}

fn look(seen: &mut Seen, case: &SmallWorld, addresses: &[Address], first: usize) -> Finding {
    let world = case.world();
    let compiled = Compiled::build(&mut case.engine(NOW), NOW)?;
    for flow in flows(addresses).skip(first).step_by(STEP) {
        for judged in compiled.halves(&world, &flow, NOW) {
            add(seen, &world, &judged);
            let half = &judged.enforced;
            seen.add(origin(&half.rule), half.allowed);
        }
    }
    // Halves that no node judges have their answers, too.
    for flow in flows(addresses).skip(first).step_by(STEP * 11) {
        let outcome = eval(&world, &flow, NOW).enforced;
        for half in [&outcome.egress, &outcome.ingress] {
            seen.add(origin(&half.rule), half.allowed);
        }
    }
    Ok(())
}
