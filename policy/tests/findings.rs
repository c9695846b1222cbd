//! What the compiler tells people of objects that are in force otherwise than they may think.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::net::IpAddr;
use std::sync::Arc;

use bulkhead_policy::engine::{Engine, EngineConfig};
use bulkhead_policy::model::{
    Action, Direction, Endpoint, EndpointSlice, Event, Kind, Mode, NamedPort, Node, Object,
    ObjectRef, Peers, Phase, Policy, Port, Ports, Protocol, Rule, Service, ServiceLimits,
    ServicePort, SortedMap, SortedSet, Subject, Tier, Timestamp, Workload, WorkloadSelector, owner,
};

fn plain(namespace: &str, name: &str, address: &str) -> Workload {
    Workload {
        uid: format!("{namespace}/{name}").into(),
        owners: SortedSet::new(),
        namespace: namespace.into(),
        name: name.into(),
        labels: SortedMap::new(),
        service_account: "default".into(),
        node: Some("n1".into()),
        addresses: [address.parse().unwrap()].into(),
        named_ports: SortedSet::new(),
        phase: Phase::Running,
        host_network: false,
        interface: None,
    }
}

fn workload(kind: Kind, namespace: &str, name: &str, address: &str) -> Event {
    let workload = plain(namespace, name, address);
    Event::Apply(Object::Workload(kind, Box::new(workload)))
}

fn node() -> Event {
    Event::Apply(Object::Node(Box::new(Node {
        name: "n1".into(),
        labels: SortedMap::new(),
        pod_ranges: ["10.0.1.0/24".parse().unwrap()].into(),
        addresses: SortedSet::new(),
    })))
}

fn service(name: &str, address: &str, ports: &[u16]) -> Event {
    let port = |port: &u16| ServicePort {
        name: format!("p{port}").into(),
        protocol: Protocol::Tcp,
        port: *port,
    };
    Event::Apply(Object::Service(Box::new(Service {
        namespace: "shop".into(),
        name: name.into(),
        cluster_addresses: [address.parse().unwrap()].into(),
        external_addresses: SortedSet::new(),
        ports: ports.iter().map(port).collect(),
    })))
}

/// The beginnings of all findings, which say of whom and what they are.
fn check(events: Vec<Event>, expected: &[&str]) {
    let mut engine = Engine::new(EngineConfig {
        service_limits: ServiceLimits {
            addresses: 2,
            ports: 2,
            backends: 4,
        },
        ..EngineConfig::default()
    });
    events.into_iter().for_each(|event| engine.apply(event));
    let found: Vec<String> = engine
        .findings()
        .into_iter()
        .map(|finding| format!("{}: {}", finding.object, finding.message))
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn addresses_with_two_owners_are_named_with_both() {
    check(
        vec![
            workload(Kind::Pod, "a", "one", "172.16.0.5"),
            workload(Kind::Pod, "b", "two", "172.16.0.5"),
            workload(Kind::Pod, "b", "three", "172.16.0.6"),
        ],
        &["Pod a/one: Pod b/two also claims 172.16.0.5; the address belongs to nobody"],
    );
}

fn quarantine(subjects: Vec<Subject>, expires_at: Option<Timestamp>) -> Event {
    Event::Apply(Object::Policy(Arc::new(Policy {
        object: ObjectRef::cluster(Kind::Quarantine, "q"),
        tier: Tier::Quarantine,
        subjects,
        isolates: [Direction::Ingress, Direction::Egress].into(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at,
        max_staleness: None,
        ingress: Vec::new(),
        egress: Vec::new(),
    })))
}

#[test]
fn a_quarantine_of_who_is_not_there_is_told() {
    let subjects = || {
        vec![
            Subject::Workload("a/one".into()),
            Subject::Workload("a/gone".into()),
            Subject::Owner(owner("a", "Deployment", "web")),
        ]
    };
    let pod = || workload(Kind::Pod, "a", "one", "172.16.0.5");
    check(
        vec![pod(), quarantine(subjects(), None)],
        &[
            "Quarantine q: subjects[1] cuts nobody off: no workload has the uid a/gone now",
            "Quarantine q: subjects[2] cuts nobody off: Deployment a/web has no pod now",
        ],
    );
    let host = Event::Apply(Object::Workload(
        Kind::Pod,
        Box::new(Workload {
            host_network: true,
            ..plain("a", "one", "172.16.0.5")
        }),
    ));
    let one = vec![Subject::Workload("a/one".into())];
    check(
        vec![host, quarantine(one, None)],
        &[
            "Quarantine q: subjects[0] cuts nobody off: whatever is a/one is over or on its node's own network",
        ],
    );
    let over = quarantine(subjects(), Some(Timestamp::default()));
    check(vec![pod(), over], &[]);
}

#[test]
fn declared_workloads_without_a_right_are_told() {
    check(
        vec![
            node(),
            workload(Kind::Pod, "b", "pod", "172.16.0.5"),
            workload(Kind::Workload, "a", "early", "10.0.1.9"),
            workload(Kind::Workload, "a", "host", "172.16.0.9"),
            workload(Kind::Workload, "a", "thief", "172.16.0.5"),
        ],
        &[
            "Workload a/early: its claim on 10.0.1.9 counts for nothing, because it lies in the range of a node's pods",
            "Workload a/thief: its claim on 172.16.0.5 counts for nothing, because Pod b/pod has it",
        ],
    );
}

#[test]
fn g8_services_with_too_many_endpoints_are_told() {
    let slice = |service: &str| {
        let endpoint = |last: u8| Endpoint {
            addresses: [IpAddr::from([10, 0, 0, last])].into(),
        };
        Event::Apply(Object::from(EndpointSlice {
            namespace: "shop".into(),
            name: format!("{service}-1").into(),
            service: service.into(),
            ports: vec![ServicePort {
                name: "p80".into(),
                protocol: Protocol::Tcp,
                port: 8080,
            }],
            endpoints: (1..4).map(endpoint).collect(),
        }))
    };
    check(
        vec![
            service("a", "10.96.0.1", &[80]),
            slice("a"),
            service("b", "10.96.0.2", &[80]),
            slice("b"),
        ],
        &[
            "Service shop/b: its cluster addresses are denied, because the Services of its namespace have more than 4 endpoints, \
             counted once for each address and port; remove Services or spread them",
        ],
    );
}

#[test]
fn g8_services_that_there_is_no_room_for_are_told_how_much_is_left_out() {
    check(
        vec![
            service("a", "10.96.0.1", &[80]),
            service("b", "10.96.0.2", &[80, 81, 82]),
            service("c", "10.96.0.3", &[80]),
        ],
        &[
            "Service shop/b: 1 of its ports are denied, because the Services of its namespace have more than 2 different ports",
            "Service shop/c: its cluster addresses are denied, because the Services of its namespace have more than 2 addresses",
        ],
    );
}

/// A pod that calls its port `sql`, or nothing at all.
fn pod(name: &str, address: &str, has_port: bool) -> Event {
    let Event::Apply(Object::Workload(kind, mut pod)) = workload(Kind::Pod, "db", name, address)
    else {
        unreachable!()
    };
    let port = NamedPort {
        name: "sql".into(),
        protocol: Protocol::Tcp,
        port: 5432,
    };
    pod.named_ports = has_port.then_some(port).into_iter().collect();
    Event::Apply(Object::Workload(kind, pod))
}

/// One rule in each direction, on `sql`.
fn named(action: Action) -> Event {
    let rule = Rule {
        name: "".into(),
        action,
        peers: Peers::Any,
        ports: Ports::Of(vec![Port::Named {
            protocol: Protocol::Tcp,
            name: "sql".into(),
        }]),
    };
    Event::Apply(Object::Policy(Arc::new(Policy {
        object: ObjectRef::cluster(Kind::ClusterSegmentationPolicy, "p"),
        tier: Tier::Admin(1),
        subjects: vec![Subject::Selected(WorkloadSelector::everything())],
        isolates: SortedSet::new(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: vec![rule.clone()],
        egress: vec![rule],
    })))
}

#[test]
fn a_denied_port_name_that_a_destination_does_not_give_is_told() {
    let with = pod("with", "172.16.0.5", true);
    let without = pod("without", "172.16.0.6", false);
    let told = [
        "ClusterSegmentationPolicy p: egress[0] denies the whole protocol to those destinations that call no port sql",
        "ClusterSegmentationPolicy p: ingress[0] denies the whole protocol to those destinations that call no port sql",
    ];
    let both = |action| vec![with.clone(), without.clone(), named(action)];
    check(both(Action::Deny), &told);
    let mut ingress_only = named(Action::Deny);
    if let Event::Apply(Object::Policy(policy)) = &mut ingress_only {
        Arc::make_mut(policy).egress.clear();
    }
    check(
        vec![with.clone(), without.clone(), ingress_only],
        &told[1..],
    );
    check(both(Action::Pass), &[]);
    check(both(Action::Allow), &[]);
    check(vec![with.clone(), named(Action::Deny)], &[]);
}
