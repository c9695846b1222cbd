//! What a namespace may take of its nodes with the peers of its policies: the compiler says what the oracle says, whatever came
//! first, and one tenant beyond the limits costs nobody else anything.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bulkhead_graph::{Address, Digest, Direction, Stance};
use bulkhead_policy::engine::{Engine, EngineConfig, Finding};
use bulkhead_policy::eval::{Flow, World, eval};
use bulkhead_policy::model::{
    Action, Event, Interned, Kind, LabelSelector, Mode, NamedPort, Namespace, NamespaceScope,
    Object, ObjectRef, Operator, Peer, PeerLimits, Peers, Phase, Policy, Port, Ports, Protocol,
    Requirement, Rule, SortedMap, SortedSet, Subject, Tier, Timestamp, Workload, WorkloadSelector,
};

const NAMESPACES: [&str; 3] = ["a", "b", "c"];
const APPS: [&str; 4] = ["w", "x", "y", "z"];
const PORT_NAMES: [&str; 2] = ["http", "sql"];

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

fn address(number: usize) -> IpAddr {
    IpAddr::from(Ipv4Addr::from(0x0a00_0001 + u32::try_from(number).unwrap()))
}

fn pod(number: usize, numbers: &mut Numbers) -> Object {
    let named_ports = (0..numbers.below(3)).map(|at| NamedPort {
        name: PORT_NAMES[at].into(),
        protocol: Protocol::Tcp,
        port: numbers.one(&[80, 81]),
    });
    let named_ports = named_ports.collect();
    let phase = match numbers.below(8) {
        0 => Phase::Completed,
        _ => Phase::Running,
    };
    let workload = Workload {
        uid: format!("uid-{number}").into(),
        owners: SortedSet::new(),
        namespace: NAMESPACES[number % 3].into(),
        name: format!("pod-{number}").into(),
        labels: SortedMap::from([("app".into(), numbers.one(&APPS).into())]),
        service_account: "default".into(),
        node: Some(numbers.one(&["n1", "n2"]).into()),
        addresses: [address(number)].into(),
        named_ports,
        phase,
        host_network: false,
        interface: None,
    };
    Object::Workload(Kind::Pod, Box::new(workload))
}

fn selector(numbers: &mut Numbers) -> WorkloadSelector {
    let namespaces = match numbers.below(4) {
        0 => NamespaceScope::Named(numbers.one(&NAMESPACES).into()),
        1 => NamespaceScope::Matching(LabelSelector::labels([("team", "red")])),
        _ => NamespaceScope::Matching(LabelSelector::everything()),
    };
    let apps: SortedSet<Interned> = (0..1 + numbers.below(2))
        .map(|_| Interned::from(numbers.one(&APPS)))
        .collect();
    let operator = match numbers.below(3) {
        0 => Operator::In(apps),
        _ => Operator::NotIn(apps),
    };
    WorkloadSelector {
        namespaces,
        labels: LabelSelector::new([Requirement {
            key: "app".into(),
            operator,
        }]),
        service_accounts: None,
    }
}

fn rule(numbers: &mut Numbers) -> Rule {
    let peers = match numbers.below(6) {
        0 => Peers::Any,
        _ => Peers::Of(
            (0..1 + numbers.below(2))
                .map(|_| Peer::Workloads(selector(numbers)))
                .collect(),
        ),
    };
    let ports = match numbers.below(2) {
        0 => Ports::Any,
        _ => Ports::Of(vec![Port::Named {
            protocol: Protocol::Tcp,
            name: numbers.one(&PORT_NAMES).into(),
        }]),
    };
    Rule {
        name: "".into(),
        action: numbers.one(&[Action::Allow, Action::Allow, Action::Deny]),
        peers,
        ports,
    }
}

fn policy(number: usize, numbers: &mut Numbers) -> Object {
    let namespace = NAMESPACES[number % 3];
    let everybody = WorkloadSelector {
        namespaces: NamespaceScope::Named(namespace.into()),
        ..WorkloadSelector::everything()
    };
    let rules = |numbers: &mut Numbers| -> Vec<Rule> {
        (0..numbers.below(3)).map(|_| rule(numbers)).collect()
    };
    let later = (numbers.below(8) == 0).then_some(Timestamp(5));
    Object::Policy(Arc::new(Policy {
        object: ObjectRef::namespaced(Kind::SegmentationPolicy, namespace, &format!("p{number}")),
        tier: Tier::Namespace,
        subjects: vec![Subject::Selected(everybody)],
        isolates: [numbers.one(&[Direction::Ingress, Direction::Egress])].into(),
        mode: numbers.one(&[Mode::Enforce, Mode::Enforce, Mode::Audit]),
        active_from: later,
        expires_at: None,
        max_staleness: None,
        ingress: rules(numbers),
        egress: rules(numbers),
    }))
}

fn namespace(at: usize, numbers: &mut Numbers) -> Object {
    let team = numbers.one(&["red", "blue"]);
    Object::Namespace(Namespace {
        name: NAMESPACES[at].into(),
        labels: SortedMap::from([
            ("kubernetes.io/metadata.name".into(), NAMESPACES[at].into()),
            ("team".into(), team.into()),
        ]),
        closing: false,
    })
}

/// Objects of one world, and others of the same names that are there for a while.
fn objects(numbers: &mut Numbers) -> Vec<Object> {
    let mut all: Vec<Object> = (0..3).map(|at| namespace(at, numbers)).collect();
    all.extend((0..12).map(|number| pod(number, numbers)));
    all.extend((0..9).map(|number| policy(number, numbers)));
    all
}

fn limits(numbers: &mut Numbers) -> PeerLimits {
    PeerLimits {
        lists: 1 + numbers.below(12),
        workloads: numbers.below(40),
    }
}

fn new_engine(peer_limits: PeerLimits) -> Engine {
    Engine::new(EngineConfig {
        peer_limits,
        ..EngineConfig::default()
    })
}

fn digests(engine: &mut Engine) -> BTreeMap<Interned, Digest> {
    let nodes = engine.nodes();
    let graphs = engine.node_graphs(nodes, 1.try_into().unwrap());
    let digests = graphs.into_iter();
    digests
        .map(|(node, graph)| (node, graph.digest()))
        .collect()
}

/// The objects in another order, with some of the other world before, between and gone again.
fn by_detours(all: &[Object], limits: PeerLimits, numbers: &mut Numbers) -> Engine {
    let mut engine = new_engine(limits);
    let mut order: Vec<usize> = (0..all.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, numbers.below(at + 1));
    }
    for other in objects(numbers) {
        if numbers.below(2) == 0 {
            engine.apply(Event::Apply(other));
        }
        if numbers.below(4) == 0 {
            digests(&mut engine);
        }
    }
    for at in order {
        if numbers.below(3) == 0 {
            engine.apply(Event::Delete(all[at].reference()));
        }
        if numbers.below(3) == 0 {
            digests(&mut engine);
        }
        engine.apply(Event::Apply(all[at].clone()));
    }
    engine
}

#[test]
fn g7_compiler_and_oracle_agree_on_what_there_is_room_for_whatever_came_first() {
    let (mut asked, mut reduced) = (0, 0);
    for seed in 0..300 {
        let mut numbers = Numbers(seed);
        let (all, limits) = (objects(&mut numbers), limits(&mut numbers));
        let mut world = World::default().with_peer_limits(limits);
        let mut straight = new_engine(limits);
        for object in &all {
            world.apply(Event::Apply(object.clone()));
            straight.apply(Event::Apply(object.clone()));
        }
        let mut detoured = by_detours(&all, limits, &mut numbers);
        assert_eq!(
            digests(&mut straight),
            digests(&mut detoured),
            "seed {seed}"
        );
        assert_eq!(straight.findings(), detoured.findings(), "seed {seed}");
        reduced += straight.findings().len();
        for source in 0..12 {
            for destination in (0..12).filter(|it| *it != source) {
                for port in [80, 81, 82] {
                    asked += compare(&world, &mut straight, (source, destination, port), seed);
                }
            }
        }
    }
    assert!(asked > 100_000, "{asked} halves");
    assert!(reduced > 300, "{reduced} findings");
}

/// Both halves of a flow, enforced and intended; says how many there were.
fn compare(
    world: &World,
    engine: &mut Engine,
    (source, destination, port): (usize, usize, u16),
    seed: u64,
) -> usize {
    let [source, destination] = [source, destination].map(|it| Address::from(address(it)));
    let flow = Flow {
        source,
        destination,
        protocol: Protocol::Tcp,
        port,
    };
    let told = eval(world, &flow, Timestamp::default());
    let mut asked = 0;
    for (subject, direction, peer) in [
        (source, Direction::Egress, destination),
        (destination, Direction::Ingress, source),
    ] {
        for (stance, outcome) in [
            (Stance::Enforced, &told.enforced),
            (Stance::Intended, &told.intended),
        ] {
            let port = (Protocol::Tcp, port);
            let Some(said) = engine.explain(subject, direction, peer, port, stance) else {
                continue;
            };
            let half = match direction {
                Direction::Egress => &outcome.egress,
                Direction::Ingress => &outcome.ingress,
            };
            assert_eq!(
                said.allowed, half.allowed,
                "seed {seed}: {flow:?} {direction:?} {stance:?}: {said:?} and {half:?}"
            );
            asked += 1;
        }
    }
    asked
}

/// Pods `pod-0` to `pod-99` on `n1`, each with an own `app`, a third in each namespace.
fn hundred_pods(engine: &mut Engine) {
    for number in 0..100 {
        let Object::Workload(kind, mut pod) = pod(number, &mut Numbers(1)) else {
            unreachable!("a pod is a workload")
        };
        pod.node = Some("n1".into());
        pod.phase = Phase::Running;
        pod.labels = SortedMap::from([("app".into(), format!("app-{number}").into())]);
        engine.apply(Event::Apply(Object::Workload(kind, pod)));
    }
}

fn all_but(number: usize) -> WorkloadSelector {
    WorkloadSelector {
        labels: LabelSelector::new([Requirement {
            key: "app".into(),
            operator: Operator::NotIn([format!("app-{number}").into()].into()),
        }]),
        ..WorkloadSelector::everything()
    }
}

fn ingress(object: ObjectRef, tier: Tier, subject: WorkloadSelector, rule: Rule) -> Policy {
    Policy {
        object,
        tier,
        subjects: vec![Subject::Selected(subject)],
        isolates: [Direction::Ingress].into(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: vec![rule],
        egress: Vec::new(),
    }
}

fn allow(from: WorkloadSelector) -> Rule {
    Rule {
        name: "".into(),
        action: Action::Allow,
        peers: Peers::Of(vec![Peer::Workloads(from)]),
        ports: Ports::Any,
    }
}

fn of_namespace(namespace: &str) -> WorkloadSelector {
    WorkloadSelector {
        namespaces: NamespaceScope::Named(namespace.into()),
        ..WorkloadSelector::everything()
    }
}

/// `a` writes what would be a thousand lists of everybody but one; `b` has a policy, and an admin quarantines in `c`.
#[test]
fn g8_a_namespace_that_names_everybody_again_and_again_takes_its_room_and_costs_others_nothing() {
    let limits = PeerLimits {
        lists: 200,
        workloads: 98,
    };
    let mut engine = new_engine(limits);
    hundred_pods(&mut engine);
    let policy = |namespace: &str, name: &str, from: WorkloadSelector| {
        let object = ObjectRef::namespaced(Kind::NetworkPolicy, namespace, name);
        ingress(
            object,
            Tier::Namespace,
            of_namespace(namespace),
            allow(from),
        )
    };
    let one = |namespace: &str, app: &str| WorkloadSelector {
        labels: LabelSelector::labels([("app", app)]),
        ..of_namespace(namespace)
    };
    for policy in [
        policy("a", "small", one("b", "app-1")),
        policy("b", "all", of_namespace("b")),
    ] {
        engine.apply(Event::Apply(policy.into()));
    }
    let hostile = |number: usize| policy("a", &format!("p{number}"), all_but(number));
    for number in 0..1_000 {
        engine.apply(Event::Apply(hostile(number).into()));
    }
    let object = ObjectRef::cluster(Kind::Quarantine, "q");
    let mut quarantine = ingress(
        object,
        Tier::Quarantine,
        one("c", "app-2"),
        allow(all_but(0)),
    );
    quarantine.ingress.clear();
    engine.apply(Event::Apply(quarantine.into()));

    let lengths = |engine: &mut Engine| -> Vec<usize> {
        let graph = engine.node_graph("n1").unwrap();
        let mut lengths: Vec<usize> = graph.peer_sets.values().map(|set| set.len()).collect();
        lengths.sort_unstable();
        lengths
    };
    assert_eq!(
        lengths(&mut engine),
        [1, 33],
        "the small one of `a`, and that of `b`"
    );
    let passes = |engine: &mut Engine, from: usize, to: usize| {
        let [from, to] = [from, to].map(|it| Address::from(address(it)));
        let port = (Protocol::Tcp, 80);
        let told = engine.explain(to, Direction::Ingress, from, port, Stance::Enforced);
        told.unwrap().allowed
    };
    // 0 is in `a`, 1 and 4 in `b`, 2 and 5 in `c`, of which 2 is quarantined.
    for (from, to, expected, why) in [
        (1, 0, true, "the small rule of `a` goes on working"),
        (4, 0, false, "the others of `a` let nobody in"),
        (4, 1, true, "`b` has its own room"),
        (4, 5, true, "nothing speaks of the others in `c`"),
        (4, 2, false, "the quarantine is in force"),
    ] {
        assert_eq!(passes(&mut engine, from, to), expected, "{why}");
    }

    let findings = engine.findings();
    assert_eq!(findings.len(), 1_000, "one for each policy without room");
    let Finding { object, message } = &findings[0];
    assert_eq!(object.to_string(), "NetworkPolicy a/p0");
    assert!(
        message.starts_with(
            "1 of its peers and ports, the first in ingress[0], are nobody in an Allow and everybody in a Deny, because the policies of \
             its namespace need 1001 different lists of peers, of 200 that there may be, and name "
        ),
        "{message}"
    );

    // With fewer of them there is room, and what is gone is forgotten.
    let size = engine.size();
    for number in 0..1_000 {
        engine.apply(Event::Delete(hostile(number).object));
    }
    assert!(engine.findings().is_empty());
    assert_eq!(engine.size().selectors, size.selectors);
    assert_eq!(lengths(&mut engine), [1, 33]);
}
