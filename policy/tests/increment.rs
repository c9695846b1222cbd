//! What an event costs, counted and not timed: among 100,000 pods it touches its own label set and what refers to it.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bulkhead_graph::{Digest, NodeGraph};
use bulkhead_policy::engine::{Counters, Engine, EngineConfig, Size};
use bulkhead_policy::model::{
    Action, Direction, Event, Interned, Kind, LabelSelector, Mode, NamedPort, Namespace,
    NamespaceScope, Network, Node, Object, ObjectRef, Operator, Peer, Peers, Phase, Policy, Port,
    Ports, Protocol, Requirement, Rule, SortedMap, SortedSet, Subject, Tier, Workload,
    WorkloadSelector, owner,
};
use ipnet::IpNet;

const NAMESPACES: u32 = 1000;
const PODS_EACH: u32 = 100;
const NODES: u32 = 100;

fn name(text: &str) -> Interned {
    text.into()
}

fn pod(namespace: u32, number: u32) -> Workload {
    let index = namespace * PODS_EACH + number;
    let app = format!("app-{}", number % 10);
    Workload {
        uid: format!("uid-{index}").into(),
        owners: SortedSet::new(),
        namespace: format!("ns-{namespace}").into(),
        name: format!("pod-{number}").into(),
        labels: SortedMap::from([(name("app"), name(&app))]),
        service_account: name("default"),
        node: Some(format!("node-{}", index % NODES).into()),
        addresses: SortedSet::from([IpAddr::from(Ipv4Addr::from(0x0a00_0000 + index))]),
        named_ports: SortedSet::new(),
        phase: Phase::Running,
        host_network: false,
        interface: None,
    }
}

fn select(namespace: &str, app: &str) -> WorkloadSelector {
    WorkloadSelector {
        namespaces: NamespaceScope::Named(name(namespace)),
        labels: LabelSelector::labels([("app", app)]),
        service_accounts: None,
    }
}

/// `app-N` of the namespace admits `from` of the same namespace and nobody else.
fn policy(namespace: u32, app: u32, from: u32) -> Policy {
    let namespace = format!("ns-{namespace}");
    let (app, from) = (format!("app-{app}"), format!("app-{from}"));
    Policy {
        object: ObjectRef::namespaced(Kind::NetworkPolicy, &namespace, &app),
        tier: Tier::Namespace,
        subjects: vec![Subject::Selected(select(&namespace, &app))],
        isolates: SortedSet::from([Direction::Ingress]),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: vec![Rule {
            name: name(""),
            action: Action::Allow,
            peers: Peers::Of(vec![Peer::Workloads(select(&namespace, &from))]),
            ports: Ports::Any,
        }],
        egress: Vec::new(),
    }
}

fn large_cluster() -> Engine {
    let mut engine = Engine::new(EngineConfig {
        cluster_ranges: vec!["10.0.0.0/8".parse().unwrap()],
        ..EngineConfig::default()
    });
    for node in 0..NODES {
        engine.apply(Event::Apply(Object::Node(Box::new(Node {
            name: format!("node-{node}").into(),
            labels: SortedMap::new(),
            pod_ranges: SortedSet::new(),
            addresses: SortedSet::new(),
        }))));
    }
    for namespace in 0..NAMESPACES {
        let labels = SortedMap::from([(name("team"), name(&format!("team-{}", namespace % 7)))]);
        engine.apply(Event::Apply(Object::Namespace(Namespace {
            name: format!("ns-{namespace}").into(),
            labels,
            closing: false,
        })));
        for number in 0..PODS_EACH {
            engine.apply(Event::Apply(Object::Workload(
                Kind::Pod,
                Box::new(pod(namespace, number)),
            )));
        }
        for app in 0..10 {
            engine.apply(Event::Apply(Object::Policy(Arc::new(policy(
                namespace,
                app,
                (app + 1) % 10,
            )))));
        }
    }
    engine.take_dirty();
    engine
        .nodes()
        .iter()
        .for_each(|node| drop(engine.node_graph(node)));
    engine
}

/// What the step did, and the nodes it made dirty.
fn cost(engine: &mut Engine, step: impl FnOnce(&mut Engine)) -> (Counters, BTreeSet<Interned>) {
    let before = engine.counters();
    step(engine);
    let dirty = engine.take_dirty();
    dirty.iter().for_each(|node| drop(engine.node_graph(node)));
    let after = engine.counters();
    let cost = Counters {
        events: after.events - before.events,
        policies_compiled: after.policies_compiled - before.policies_compiled,
        label_sets_matched: after.label_sets_matched - before.label_sets_matched,
        selectors_matched: after.selectors_matched - before.selectors_matched,
        label_sets_settled: after.label_sets_settled - before.label_sets_settled,
        identities_built: after.identities_built - before.identities_built,
        rule_sets_built: after.rule_sets_built - before.rule_sets_built,
        peer_sets_changed: after.peer_sets_changed - before.peer_sets_changed,
        graphs_built: after.graphs_built - before.graphs_built,
        lists_weighed: after.lists_weighed - before.lists_weighed,
    };
    (cost, dirty)
}

#[test]
fn an_event_touches_what_depends_on_it_and_nothing_else() {
    let mut engine = large_cluster();
    let size = engine.size();
    assert_eq!(size.workloads, 100_000);
    assert_eq!(
        size.label_sets, 10_000,
        "ten kinds of pods in each namespace"
    );

    // One more pod of a kind that is there: no label set is matched, no rule set is built, one peer set grows.
    let mut new = pod(3, 4);
    (new.uid, new.name) = (name("uid-new"), name("pod-new"));
    new.addresses = SortedSet::from(["10.200.0.1".parse().unwrap()]);
    let apply = Event::Apply(Object::Workload(Kind::Pod, Box::new(new.clone())));
    let (added, dirty) = cost(&mut engine, |engine| engine.apply(apply));
    let users = dirty.len() as u64;
    assert!(
        users <= 11,
        "the nodes of the pods that admit it, and its own: {dirty:?}"
    );
    let expected = Counters {
        events: 1,
        peer_sets_changed: 1,
        graphs_built: users,
        ..Counters::default()
    };
    assert_eq!(added, expected);

    // The same again is no change.
    let (same, dirty) = cost(&mut engine, |engine| {
        engine.apply(Event::Apply(Object::Workload(
            Kind::Pod,
            Box::new(new.clone()),
        )))
    });
    assert_eq!(
        (same, dirty.len()),
        (
            Counters {
                events: 1,
                ..Counters::default()
            },
            0
        )
    );

    // A label that no selector mentions makes a label set, and no identity.
    let mut relabelled = new.clone();
    relabelled
        .labels
        .insert(name("pod-template-hash"), name("abc"));
    let (cost_of_label, _) = cost(&mut engine, |engine| {
        engine.apply(Event::Apply(Object::Workload(
            Kind::Pod,
            Box::new(relabelled),
        )));
    });
    assert_eq!(
        (
            cost_of_label.label_sets_matched,
            cost_of_label.label_sets_settled
        ),
        (1, 1)
    );
    assert_eq!(
        (
            cost_of_label.identities_built,
            cost_of_label.rule_sets_built
        ),
        (0, 0)
    );
    assert_eq!(
        cost_of_label.peer_sets_changed, 0,
        "it is still the same peer"
    );

    // A policy that admits somebody else touches the subjects it selects: two label sets of this app now.
    let changed = policy(3, 4, 7);
    let (cost_of_policy, dirty) = cost(&mut engine, |engine| {
        engine.apply(Event::Apply(Object::Policy(Arc::new(changed))))
    });
    assert_eq!(cost_of_policy.policies_compiled, 1);
    assert_eq!(cost_of_policy.label_sets_settled, 2);
    // Its subjects are a new identity, but somebody else's rule set says the same to the letter.
    assert_eq!(cost_of_policy.identities_built, 1);
    assert_eq!(cost_of_policy.rule_sets_built, 0);
    assert_eq!(
        cost_of_policy.selectors_matched, 0,
        "both selectors are in use elsewhere"
    );
    assert!(dirty.len() <= 11, "{dirty:?}");

    // A namespace's labels: its own label sets are matched again, and nothing follows, for nothing selects by them.
    let labels = SortedMap::from([(name("team"), name("red"))]);
    let namespace = Namespace {
        name: name("ns-3"),
        labels,
        closing: false,
    };
    let (cost_of_namespace, dirty) = cost(&mut engine, |engine| {
        engine.apply(Event::Apply(Object::Namespace(namespace)))
    });
    assert_eq!(cost_of_namespace.label_sets_matched, 11);
    assert_eq!((cost_of_namespace.identities_built, dirty.len()), (0, 0));

    // A node's address concerns the policies that name nodes, and only where it is another one.
    let mut near = policy(5, 5, 6);
    near.ingress[0].peers = Peers::Of(vec![Peer::Nodes(LabelSelector::everything())]);
    engine.apply(Event::Apply(Object::Policy(Arc::new(near))));
    let node = Node {
        name: name("node-1"),
        labels: SortedMap::new(),
        pod_ranges: SortedSet::new(),
        addresses: SortedSet::from(["192.0.2.1".parse().unwrap()]),
    };
    engine.take_dirty();
    let apply = || Event::Apply(Object::Node(Box::new(node.clone())));
    let (cost_of_address, _) = cost(&mut engine, |engine| engine.apply(apply()));
    assert_eq!(cost_of_address.policies_compiled, 1);
    assert_eq!(cost_of_address.rule_sets_built, 1);
    let (cost_of_heartbeat, dirty) = cost(&mut engine, |engine| engine.apply(apply()));
    assert_eq!(cost_of_heartbeat.policies_compiled, 0);
    assert_eq!(dirty.len(), 0);
}

#[test]
fn what_is_gone_leaves_nothing_behind() {
    let mut engine = Engine::new(EngineConfig::default());
    let empty = engine.size();
    let mut events = Vec::new();
    for number in 0..20 {
        events.push(Object::Workload(Kind::Pod, Box::new(pod(0, number))));
    }
    (0..10).for_each(|app| events.push(Object::Policy(Arc::new(policy(0, app, (app + 1) % 10)))));
    for object in &events {
        engine.apply(Event::Apply(object.clone()));
    }
    assert_eq!(engine.take_dirty().len(), 20);
    events
        .iter()
        .for_each(|object| engine.apply(Event::Delete(object.reference())));
    assert_eq!(
        engine.take_dirty().len(),
        20,
        "the nodes that are gone are named"
    );
    // Strings are given back later, see below.
    let strings = engine.size().strings;
    assert_eq!(engine.size(), Size { strings, ..empty });
}

/// A rollout gives every pod another value of one label, again and again.
#[test]
fn strings_that_nobody_has_any_more_are_given_back() {
    let mut engine = Engine::new(EngineConfig::default());
    let mut largest = 0;
    for rollout in 0..100 {
        for number in 0..100 {
            let mut pod = pod(0, number);
            let hash = format!("hash-{rollout}-{number}");
            pod.labels.insert(name("pod-template-hash"), name(&hash));
            engine.apply(Event::Apply(Object::Workload(Kind::Pod, Box::new(pod))));
            let only_here = format!("namespace-{rollout}-{number}");
            engine.apply(Event::Apply(Object::Policy(Arc::new(policy_in(
                &only_here,
            )))));
            engine.take_dirty();
            engine.apply(Event::Delete(policy_in(&only_here).object));
        }
        engine.take_dirty();
        largest = largest.max(engine.size().strings);
    }
    assert!(
        largest < 3000,
        "{largest} strings were held at once, of 20,000 that came"
    );
    // Those that are in use are still what they were.
    engine.apply(Event::Apply(Object::Policy(Arc::new(policy(0, 4, 5)))));
    let nodes = engine.nodes();
    let graphs = engine.node_graphs(nodes, 1.try_into().unwrap());
    let members = graphs
        .iter()
        .flat_map(|(_, graph)| graph.peer_sets.values());
    let members: Vec<usize> = members.map(|set| set.len()).collect();
    assert!(!members.is_empty() && members.iter().all(|count| *count == 10));
}

/// A tenant may send names of ports without end, and take each policy away again.
#[test]
fn names_of_ports_that_nobody_speaks_of_any_more_are_given_back() {
    let mut engine = Engine::new(EngineConfig::default());
    engine.apply(Event::Apply(Object::Workload(
        Kind::Pod,
        Box::new(pod(0, 1)),
    )));
    let mut largest = 0;
    for number in 0..10_000 {
        let mut policy = policy(0, 1, 2);
        policy.subjects = vec![Subject::Selected(WorkloadSelector::everything())];
        for rules in [&mut policy.ingress, &mut policy.egress] {
            *rules = vec![Rule {
                name: name(""),
                action: Action::Allow,
                peers: Peers::Any,
                ports: Ports::Of(vec![Port::Named {
                    protocol: Protocol::Tcp,
                    name: format!("port-{number}").into(),
                }]),
            }];
        }
        let object = policy.object.clone();
        engine.apply(Event::Apply(Object::Policy(Arc::new(policy))));
        engine.take_dirty();
        engine.apply(Event::Delete(object));
        engine.take_dirty();
        largest = largest.max(engine.size().strings);
    }
    assert!(
        largest < 3000,
        "{largest} strings were held at once, of 10,000 that came"
    );
}

/// Names of ports beside networks: a selector for each number that somebody gives, and not for each number in each network.
#[test]
fn networks_do_not_multiply_names_of_ports() {
    let (names, numbers, networks) = (3, 40, 500);
    let mut engine = Engine::new(EngineConfig::default());
    for number in 0..numbers {
        let mut pod = pod(0, number);
        let named = (0..names).map(|port| NamedPort {
            name: format!("port-{port}").into(),
            protocol: Protocol::Tcp,
            port: 8000 + number as u16,
        });
        pod.named_ports = named.collect();
        engine.apply(Event::Apply(Object::Workload(Kind::Pod, Box::new(pod))));
    }
    let mut policy = policy(0, 1, 2);
    let network = |n: u32| {
        let first = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n * 2));
        Peer::Network(Network::new(IpNet::new(first, 31).unwrap(), []))
    };
    policy.egress = vec![Rule {
        name: name(""),
        action: Action::Allow,
        peers: Peers::Of((0..networks).map(network).collect()),
        ports: Ports::Of(
            (0..names)
                .map(|port| Port::Named {
                    protocol: Protocol::Tcp,
                    name: format!("port-{port}").into(),
                })
                .collect(),
        ),
    }];
    engine.apply(Event::Apply(policy.into()));
    let nodes = engine.take_dirty();
    let graphs = engine.node_graphs(nodes, 1.try_into().unwrap());
    let selectors = engine.size().selectors;
    assert!(
        selectors < 2 * (names * numbers) as usize,
        "{selectors} selectors for {} names and numbers",
        names * numbers
    );
    // All pods are in the networks, so each is a peer by each of its names.
    let of_names = graphs.iter().flat_map(|(_, graph)| graph.peer_sets.iter());
    let of_names: BTreeMap<_, _> = of_names.map(|(id, set)| (*id, set.len())).collect();
    let members: usize = of_names.values().sum();
    assert!(members >= (names * numbers) as usize, "{members} members");
}

/// A tenant may write policies without end whose peers are everybody but a few.
#[test]
fn peers_that_are_nearly_everybody_are_not_held_once_for_each_policy() {
    let policies = 60;
    let mut engine = Engine::new(EngineConfig::default());
    for number in 0..1_000 {
        let mut pod = pod(0, number);
        let label = format!("pod-{number}");
        pod.labels = SortedMap::from([(name("name"), name(&label)), (name("app"), name("app-1"))]);
        engine.apply(Event::Apply(Object::Workload(Kind::Pod, Box::new(pod))));
    }
    for number in 0..policies {
        let mut policy = policy(0, 1, 2);
        policy.object.name = format!("all-but-{number}").into();
        let labels = LabelSelector::new([Requirement {
            key: name("name"),
            operator: Operator::NotIn([name(&format!("pod-{number}"))].into()),
        }]);
        policy.ingress[0].peers = Peers::Of(vec![Peer::Workloads(WorkloadSelector {
            labels,
            ..WorkloadSelector::everything()
        })]);
        engine.apply(Event::Apply(policy.into()));
    }
    let buckets = |engine: &mut Engine| {
        let nodes = engine.take_dirty();
        let graphs = engine.node_graphs(nodes, 1.try_into().unwrap());
        let sets = graphs.iter().flat_map(|(_, graph)| graph.peer_sets.iter());
        let sets: BTreeMap<_, _> = sets.map(|(id, set)| (*id, set.len())).collect();
        assert_eq!(sets.len(), policies as usize);
        assert!(sets.values().all(|len| *len >= 999));
        engine.peer_pieces()
    };
    let at_first = buckets(&mut engine);
    assert!(at_first <= 256 + policies as usize, "{at_first} buckets");
    // What changes in all of them is made once, too.
    for number in 1_000..1_010 {
        engine.apply(Event::Apply(Object::Workload(
            Kind::Pod,
            Box::new(pod(0, number)),
        )));
    }
    let later = buckets(&mut engine);
    assert!(later <= at_first + 10, "{later} buckets");
}

/// Everybody in the cluster, again and again: a thousand million members, of which two million have room.
#[test]
fn g8_ten_thousand_peers_of_everybody_build_no_list_beyond_the_room_of_their_namespace() {
    let (policies, each) = (100, 100);
    let mut engine = large_cluster();
    let before = engine.size();
    let everybody_but = |number: u32| {
        Peer::Workloads(WorkloadSelector {
            labels: LabelSelector::new([Requirement {
                key: name("app"),
                operator: Operator::NotIn([name(&format!("none-{number}"))].into()),
            }]),
            ..WorkloadSelector::everything()
        })
    };
    let hostile = |number: u32| {
        let mut hostile = policy(7, 1, 2);
        hostile.object.name = format!("hostile-{number}").into();
        let peers = number * each..(number + 1) * each;
        hostile.ingress[0].peers = Peers::Of(peers.map(everybody_but).collect());
        hostile
    };
    let (written, _) = cost(&mut engine, |engine| {
        for number in 0..policies {
            engine.apply(Event::Apply(hostile(number).into()));
        }
    });
    // Twenty lists of 100,000 have room, beside the ten small ones of the namespace's own.
    assert!(written.lists_weighed <= 4096, "{written:?}");
    let selectors = u64::from(2 * each + 20);
    assert!(written.selectors_matched <= selectors, "{written:?}");
    assert_eq!(engine.size().selectors, before.selectors + 20);
    let nodes = engine.nodes();
    let graphs = engine.node_graphs(nodes, 1.try_into().unwrap());
    let sets = graphs.iter().flat_map(|(_, graph)| graph.peer_sets.iter());
    let lengths: BTreeMap<_, _> = sets.map(|(id, set)| (*id, set.len())).collect();
    let large = lengths.values().filter(|len| **len > 1_000);
    assert_eq!(large.count(), 20);
    assert_eq!(engine.findings().len(), policies as usize);

    // One more pod is in those twenty and in the one of its neighbours, and nothing is compiled for it.
    let mut new = pod(3, 4);
    (new.uid, new.name) = (name("uid-new"), name("pod-new"));
    new.addresses = SortedSet::from(["10.200.0.1".parse().unwrap()]);
    let (added, _) = cost(&mut engine, |engine| {
        engine.apply(Event::Apply(Object::Workload(Kind::Pod, Box::new(new))));
    });
    let expected = Counters {
        events: 1,
        peer_sets_changed: 1 + 20,
        graphs_built: added.graphs_built,
        ..Counters::default()
    };
    assert_eq!(added, expected);

    for number in 0..policies {
        engine.apply(Event::Delete(hostile(number).object));
    }
    engine.take_dirty();
    assert!(engine.findings().is_empty());
    assert_eq!(engine.size().selectors, before.selectors);
}

/// A quarantine of everything that one owner makes.
fn quarantine(owner: &Interned) -> Policy {
    Policy {
        object: ObjectRef::cluster(Kind::Quarantine, "q"),
        tier: Tier::Quarantine,
        subjects: vec![Subject::Owner(owner.clone())],
        isolates: SortedSet::from([Direction::Ingress, Direction::Egress]),
        ingress: Vec::new(),
        ..policy(0, 0, 1)
    }
}

#[test]
fn a_quarantine_of_an_owner_touches_its_pods_and_follows_them_as_they_come_and_are_given_away() {
    let mut engine = large_cluster();
    let made_by = owner("ns-3", "ReplicaSet", "four");
    let apply = |engine: &mut Engine, pod: Workload| {
        engine.apply(Event::Apply(Object::Workload(Kind::Pod, Box::new(pod))));
    };
    let of = |number: u32, owners: &[&Interned]| Workload {
        owners: owners.iter().map(|owner| Interned::clone(owner)).collect(),
        ..pod(3, number)
    };
    // Two of the hundred pods of that app; who made them is no event for anybody.
    let (told, dirty) = cost(&mut engine, |engine| {
        apply(engine, of(4, &[&made_by]));
        apply(
            engine,
            of(14, &[&made_by, &owner("ns-3", "Deployment", "f")]),
        );
    });
    assert_eq!((told.label_sets_matched, dirty.len()), (0, 0));

    let (cut_off, dirty) = cost(&mut engine, |engine| {
        engine.apply(Event::Apply(Object::Policy(Arc::new(quarantine(&made_by)))));
    });
    assert_eq!(
        cut_off.label_sets_matched, 1,
        "those two are another label set now"
    );
    assert_eq!(cut_off.identities_built, 1);
    let at_home = |number: u32| pod(3, number).node.unwrap();
    assert_eq!(
        cut_off.peer_sets_changed, 0,
        "they are still the same peers"
    );
    assert_eq!(dirty, BTreeSet::from([at_home(4), at_home(14)]));

    // One is given away, and another is taken on.
    let size = engine.size();
    let (moved, dirty) = cost(&mut engine, |engine| {
        apply(engine, of(4, &[]));
        apply(engine, of(24, &[&made_by]));
    });
    assert_eq!((moved.label_sets_matched, moved.identities_built), (0, 0));
    assert!(dirty.contains(&at_home(4)) && dirty.contains(&at_home(24)));
    assert_eq!(engine.size(), size);

    let gone = ObjectRef::cluster(Kind::Quarantine, "q");
    let (freed, _) = cost(&mut engine, |engine| engine.apply(Event::Delete(gone)));
    assert_eq!(
        (freed.label_sets_matched, engine.size().label_sets),
        (0, 10_000)
    );
}

fn policy_in(namespace: &str) -> Policy {
    let mut policy = policy(0, 1, 2);
    policy.object = ObjectRef::namespaced(Kind::NetworkPolicy, namespace, "only");
    policy.subjects = vec![Subject::Selected(select(namespace, "app-1"))];
    policy
}

#[test]
fn any_number_of_threads_makes_the_same_graphs() {
    let digests = |threads: usize| -> Vec<(Interned, Digest)> {
        let mut engine = Engine::new(EngineConfig::default());
        for number in 0..PODS_EACH {
            engine.apply(Event::Apply(Object::Workload(
                Kind::Pod,
                Box::new(pod(0, number)),
            )));
        }
        for app in 0..10 {
            engine.apply(Event::Apply(Object::Policy(Arc::new(policy(
                0,
                app,
                (app + 1) % 10,
            )))));
        }
        let nodes = engine.nodes();
        let graphs = engine.node_graphs(nodes, threads.try_into().unwrap());
        assert_eq!(graphs.len(), NODES as usize);
        let each = graphs.into_iter();
        each.map(|(node, graph)| (node, graph.digest())).collect()
    };
    let one = digests(1);
    for threads in [2, 3, 12] {
        assert_eq!(digests(threads), one, "{threads} threads");
    }
    let gone = [name("gone")].into();
    let nobody = Engine::new(EngineConfig::default()).node_graphs(gone, 2.try_into().unwrap());
    assert_eq!(
        nobody[0].1.digest(),
        NodeGraph::default().digest(),
        "a node that nothing speaks of has the empty graph"
    );
}
