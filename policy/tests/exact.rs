//! Corners in which the compiler once said something else than the objects do.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use std::net::IpAddr;

use bulkhead_graph::{Address, Direction, Stance};
use bulkhead_policy::engine::{Engine, EngineConfig, Explanation};
use bulkhead_policy::eval::{Flow, World, eval};
use bulkhead_policy::model::{
    Action, Event, Isolation, Kind, Membership, Mode, NamedPort, NamespaceScope, Network, Object,
    ObjectRef, Peer, Peers, Phase, Policy, Port, Ports, Protocol, Rule, Segment, SortedMap,
    SortedSet, Strength, Subject, Tier, Timestamp, Workload, WorkloadSelector,
};

fn pod(name: &str, address: &str) -> Object {
    Object::Workload(
        Kind::Pod,
        Box::new(Workload {
            uid: name.into(),
            owners: SortedSet::new(),
            namespace: "shop".into(),
            name: name.into(),
            labels: SortedMap::new(),
            service_account: "default".into(),
            node: Some("n1".into()),
            addresses: SortedSet::from([address.parse().unwrap()]),
            named_ports: SortedSet::new(),
            phase: Phase::Running,
            host_network: false,
            interface: None,
        }),
    )
}

fn address(text: &str) -> Address {
    Address::from(text.parse::<IpAddr>().unwrap())
}

fn engine(objects: impl IntoIterator<Item = Object>) -> Engine {
    let mut engine = Engine::new(EngineConfig::default());
    for object in objects {
        engine.apply(Event::Apply(object));
        engine.take_dirty();
    }
    engine
}

fn http(engine: &mut Engine) -> Explanation {
    let (web, db) = (address("10.0.0.1"), address("10.0.0.2"));
    let port = (Protocol::Tcp, 80);
    engine
        .explain(db, Direction::Ingress, web, port, Stance::Enforced)
        .unwrap()
}

/// The conversion makes no such rule; what the model can say has one meaning all the same.
#[test]
fn a_quarantine_says_nothing_but_exceptions() {
    let rule = |action| Rule {
        name: "".into(),
        action,
        peers: Peers::Any,
        ports: Ports::Any,
    };
    let quarantine = Policy {
        object: ObjectRef::cluster(Kind::Quarantine, "q"),
        tier: Tier::Quarantine,
        subjects: vec![Subject::Selected(WorkloadSelector::everything())],
        isolates: SortedSet::new(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: vec![rule(Action::Deny), rule(Action::Allow)],
        egress: vec![rule(Action::Allow)],
    };
    let objects = [
        pod("web", "10.0.0.1"),
        pod("db", "10.0.0.2"),
        Object::Policy(Arc::new(quarantine)),
    ];
    let mut world = World::default();
    objects
        .iter()
        .for_each(|object| world.apply(Event::Apply(object.clone())));
    let flow = Flow {
        source: address("10.0.0.1"),
        destination: address("10.0.0.2"),
        protocol: Protocol::Tcp,
        port: 80,
    };
    let told = eval(&world, &flow, Timestamp::default()).enforced.ingress;
    assert_eq!(http(&mut engine(objects)).allowed, told.allowed);
}

/// Two segments that say the same are one line, and the first by name stands for both.
#[test]
fn explanations_do_not_depend_on_which_segment_came_first() {
    let network = |text: &str| Network::new(text.parse().unwrap(), []);
    let segment = |name: &str, networks: Vec<Network>| {
        Object::Segment(Box::new(Segment {
            name: name.into(),
            members: Membership {
                selectors: vec![WorkloadSelector::everything()],
                networks,
                partial: false,
                domains: Vec::new(),
                unread: false,
            },
            isolation: Some(Isolation {
                ingress: Action::Deny,
                egress: Action::Allow,
                within: Action::Allow,
                strength: Strength::Default,
            }),
            mode: Mode::Enforce,
        }))
    };
    let (one, other) = (network("192.0.2.0/24"), network("198.51.100.0/24"));
    let a = segment("a", vec![one.clone(), other.clone()]);
    let b = segment("b", vec![other, one]);
    let pods = [pod("web", "10.0.0.1"), pod("db", "10.0.0.2")];
    let told = |first: &Object, second: &Object| {
        let segments = [first.clone(), second.clone()];
        http(&mut engine(pods.iter().cloned().chain(segments)))
    };
    assert_eq!(told(&a, &b), told(&b, &a));
}

/// What another tenant calls its ports is no line of a rule that looks in its own namespace.
#[test]
fn ports_of_other_namespaces_do_not_enter_a_rule() {
    let with_port = |namespace: &str, name: &str, address: &str, number: u16| {
        let Object::Workload(kind, workload) = pod(name, address) else {
            unreachable!("a pod is a workload")
        };
        Object::Workload(
            kind,
            Box::new(Workload {
                namespace: namespace.into(),
                uid: format!("{namespace}/{name}").into(),
                node: Some(format!("node-of-{namespace}").into()),
                named_ports: SortedSet::from([NamedPort {
                    name: "dns".into(),
                    protocol: Protocol::Udp,
                    port: number,
                }]),
                ..*workload
            }),
        )
    };
    let selector = WorkloadSelector {
        namespaces: NamespaceScope::Named("shop".into()),
        ..WorkloadSelector::everything()
    };
    let policy = Policy {
        object: ObjectRef::namespaced(Kind::NetworkPolicy, "shop", "p"),
        tier: Tier::Namespace,
        subjects: vec![Subject::Selected(selector.clone())],
        isolates: SortedSet::from([Direction::Egress]),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: Vec::new(),
        egress: vec![Rule {
            name: "".into(),
            action: Action::Allow,
            peers: Peers::Of(vec![Peer::Workloads(selector)]),
            ports: Ports::Of(vec![Port::Named {
                protocol: Protocol::Udp,
                name: "dns".into(),
            }]),
        }],
    };
    let own = [
        Object::Policy(Arc::new(policy)),
        with_port("shop", "dns", "10.0.0.1", 53),
    ];
    let mut alone = engine(own.clone());
    let others = (0..200).map(|number| {
        let address = format!("10.1.0.{number}");
        with_port("other", &format!("p{number}"), &address, 1000 + number)
    });
    let others: Vec<Object> = others.collect();
    let mut beside = engine(own.iter().chain(&others).cloned());
    let mut after = engine(others.into_iter().chain(own));
    let rules = |engine: &mut Engine| -> Vec<_> {
        let graph = engine.node_graph("node-of-shop").unwrap();
        graph.rule_sets.keys().copied().collect()
    };
    assert_eq!(rules(&mut alone), rules(&mut beside));
    assert_eq!(rules(&mut alone), rules(&mut after));
    // One of its own is, whenever it comes.
    beside.apply(Event::Apply(with_port("shop", "dns2", "10.0.0.3", 5353)));
    assert_ne!(rules(&mut alone), rules(&mut beside));
}
