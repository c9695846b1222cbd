//! One policy that many pods of one node share.

use std::sync::Arc;

use std::net::{IpAddr, Ipv4Addr};

use bulkhead_policy::model::{
    Action, Direction, Event, Interned, Kind, LabelSelector, Mode, Namespace, Node, Object,
    ObjectRef, Peer, Peers, Phase, Policy, Port, Ports, Protocol, Rule, SortedMap, SortedSet,
    Subject, Tier, Workload,
};

use super::plan::inside;

/// The node that all pods of [`one_policy`] run on.
pub const ONE_POLICY_NODE: &str = "here";

/// Clients of the policy's rules, each admitted on a port of its own.
const CLIENTS: u16 = 64;

/// Pods of one deployment on one node, and a policy with a rule for each of their clients, which run elsewhere.
pub fn one_policy(pods: u32) -> Vec<Event> {
    let node = |name: &str| {
        Event::Apply(Object::Node(Box::new(Node {
            name: name.into(),
            labels: SortedMap::new(),
            pod_ranges: ["10.0.0.0/16".parse().expect("a network")].into(),
            addresses: SortedSet::new(),
        })))
    };
    let namespace = Event::Apply(Object::Namespace(Namespace {
        name: "shop".into(),
        labels: SortedMap::new(),
        closing: false,
    }));
    let servers = (0..pods).map(|n| pod(&format!("server-{n}"), "server", ONE_POLICY_NODE, n + 1));
    let clients = (0..u32::from(CLIENTS)).map(|n| {
        let app = format!("client-{n}");
        pod(&app, &app, "there", 0x1000 + n)
    });
    [node(ONE_POLICY_NODE), node("there"), namespace, policy()]
        .into_iter()
        .chain(servers)
        .chain(clients)
        .collect()
}

fn pod(name: &str, app: &str, node: &str, number: u32) -> Event {
    let address = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
    let workload = Workload {
        uid: name.into(),
        owners: SortedSet::new(),
        namespace: "shop".into(),
        name: name.into(),
        labels: SortedMap::from([("app".into(), Interned::from(app))]),
        service_account: "default".into(),
        node: Some(node.into()),
        addresses: [address].into(),
        named_ports: SortedSet::new(),
        phase: Phase::Running,
        host_network: false,
        interface: None,
    };
    Event::Apply(Object::Workload(Kind::Pod, Box::new(workload)))
}

fn policy() -> Event {
    let rule = |n: u16| {
        let app = format!("client-{n}");
        let port = 8_000 + n;
        Rule {
            name: "".into(),
            action: Action::Allow,
            peers: Peers::Of(vec![Peer::Workloads(inside(
                "shop",
                LabelSelector::labels([("app", app.as_str())]),
            ))]),
            ports: Ports::Of(vec![Port::Range {
                protocol: Protocol::Tcp,
                from: port,
                to: port,
            }]),
        }
    };
    Event::Apply(Object::Policy(Arc::new(Policy {
        object: ObjectRef::namespaced(Kind::NetworkPolicy, "shop", "server"),
        tier: Tier::Namespace,
        subjects: vec![Subject::Selected(inside(
            "shop",
            LabelSelector::labels([("app", "server")]),
        ))],
        isolates: [Direction::Ingress].into(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: (0..CLIENTS).map(rule).collect(),
        egress: Vec::new(),
    })))
}
