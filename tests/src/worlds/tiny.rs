//! Tiny worlds that can be counted through: two pods, a stranger, an unknown, and at each step of the pipeline one of a
//! few things that people write there. A number names a world.

use std::sync::Arc;

use bulkhead_policy::model::{
    Action, Address, Direction, Isolation, Kind, LabelSelector, Membership, Mode, NamedPort,
    NamespaceScope, Network, Node, Object, ObjectRef, Peer, Peers, Phase, Policy, Port, Ports,
    Protocol, Rule, Segment, ServiceLimits, SortedMap, SortedSet, Strength, Subject, Tier,
    Workload, WorkloadSelector,
};

use super::SmallWorld;
use super::vocabulary::{ip, net};

const UNKNOWN: &str = "10.0.1.9";
const OUTSIDE: &str = "192.0.2.1";
const PODS: [(&str, &str, u16); 2] = [("red", "10.0.1.1", 80), ("green", "10.0.2.1", 8080)];

/// A step's choices, each nothing or something.
type Choices = Vec<Vec<Object>>;

/// How many there are.
pub fn tiny_worlds() -> u64 {
    steps().iter().map(|choices| choices.len() as u64).product()
}

/// The addresses of all of them: both pods, a stranger, an unknown workload.
pub fn tiny_addresses() -> Vec<Address> {
    let pods = PODS.iter().map(|(_, address, _)| *address);
    pods.chain([UNKNOWN, OUTSIDE])
        .map(|text| ip(text).into())
        .collect()
}

/// The world of a number below [`tiny_worlds`].
pub fn tiny_world(mut number: u64) -> SmallWorld {
    let mut objects: Vec<Object> = PODS.iter().map(|pod| workload(*pod)).collect();
    objects.extend((1..=2).map(node));
    for choices in steps() {
        let length = choices.len() as u64;
        let at = usize::try_from(number % length).expect("few choices");
        number /= length;
        objects.extend(choices[at].iter().cloned());
    }
    SmallWorld::new(&["10.0.0.0/16"], ServiceLimits::default(), objects)
}

fn node(number: u8) -> Object {
    Object::Node(Box::new(Node {
        name: format!("n{number}").as_str().into(),
        labels: SortedMap::new(),
        pod_ranges: [net(&format!("10.0.{number}.0/24"))].into(),
        addresses: [].into(),
    }))
}

fn workload((namespace, address, http): (&str, &str, u16)) -> Object {
    let node = if namespace == "red" { "n1" } else { "n2" };
    let named = NamedPort {
        name: "http".into(),
        protocol: Protocol::Tcp,
        port: http,
    };
    let workload = Workload {
        uid: namespace.into(),
        owners: SortedSet::new(),
        namespace: namespace.into(),
        name: "pod".into(),
        labels: [("app".into(), namespace.into())].into(),
        service_account: "default".into(),
        node: Some(node.into()),
        addresses: [ip(address)].into(),
        named_ports: [named].into(),
        phase: Phase::Running,
        host_network: false,
        interface: None,
    };
    Object::Workload(Kind::Pod, Box::new(workload))
}

fn pods_of(namespace: &str) -> WorkloadSelector {
    WorkloadSelector {
        namespaces: NamespaceScope::Named(namespace.into()),
        labels: LabelSelector::default(),
        service_accounts: None,
    }
}

fn pods(namespace: &str) -> Peers {
    Peers::Of(vec![Peer::Workloads(pods_of(namespace))])
}

fn network(cidr: &str, hole: Option<&str>) -> Peers {
    Peers::Of(vec![Peer::Network(Network::new(net(cidr), hole.map(net)))])
}

fn http() -> Ports {
    Ports::Of(vec![Port::Named {
        protocol: Protocol::Tcp,
        name: "http".into(),
    }])
}

fn tcp(from: u16, to: u16) -> Ports {
    let protocol = Protocol::Tcp;
    Ports::Of(vec![Port::Range { protocol, from, to }])
}

fn rule(action: Action, peers: Peers, ports: Ports) -> Rule {
    Rule {
        name: "".into(),
        action,
        peers,
        ports,
    }
}

/// A policy with the same rules in both directions.
fn policy(object: ObjectRef, tier: Tier, subject: WorkloadSelector, rules: &[Rule]) -> Policy {
    Policy {
        object,
        tier,
        subjects: vec![Subject::Selected(subject)],
        isolates: [].into(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: rules.to_vec(),
        egress: rules.to_vec(),
    }
}

fn steps() -> [Choices; 7] {
    [
        quarantine(),
        admin(),
        segment("ring", Strength::Boundary),
        tenant(),
        neighbour(),
        baseline(),
        segment("zone", Strength::Default),
    ]
}

fn one(policy: Policy) -> Vec<Object> {
    vec![Object::Policy(Arc::new(policy))]
}

fn quarantine() -> Choices {
    let with = |rules: &[Rule]| {
        let object = ObjectRef::cluster(Kind::Quarantine, "q");
        one(policy(object, Tier::Quarantine, pods_of("red"), rules))
    };
    let exception = rule(Action::Allow, pods("green"), http());
    vec![vec![], with(&[]), with(&[exception])]
}

fn admin() -> Choices {
    let object = ObjectRef::cluster(Kind::ClusterSegmentationPolicy, "a");
    let mut choices = vec![vec![]];
    for action in [Action::Allow, Action::Deny, Action::Pass] {
        for peers in [
            Peers::Any,
            pods("green"),
            network("10.0.0.0/8", Some("10.0.2.0/24")),
            Peers::Of(vec![Peer::Unresolved]),
        ] {
            for ports in [Ports::Any, http()] {
                let rules = [rule(action, peers.clone(), ports)];
                let tier = Tier::Admin(0);
                choices.push(one(policy(object.clone(), tier, pods_of("red"), &rules)));
            }
        }
    }
    choices
}

fn tenant() -> Choices {
    let upstream = |rules: &[Rule]| {
        let object = ObjectRef::namespaced(Kind::NetworkPolicy, "red", "t");
        let policy = policy(object, Tier::Namespace, pods_of("red"), rules);
        Policy {
            isolates: [Direction::Ingress, Direction::Egress].into(),
            ..policy
        }
    };
    let ours = |rules: &[Rule]| {
        let object = ObjectRef::namespaced(Kind::SegmentationPolicy, "red", "t");
        policy(object, Tier::Namespace, pods_of("red"), rules)
    };
    let both = [
        rule(Action::Allow, Peers::Any, tcp(0, 1023)),
        rule(Action::Deny, pods("green"), Ports::Any),
    ];
    vec![
        vec![],
        one(upstream(&[])),
        one(upstream(&[rule(
            Action::Allow,
            network("10.0.0.0/8", None),
            http(),
        )])),
        one(ours(&both)),
        one(Policy {
            mode: Mode::Audit,
            ..upstream(&[])
        }),
    ]
}

/// What the other pod's namespace says.
fn neighbour() -> Choices {
    let object = ObjectRef::namespaced(Kind::NetworkPolicy, "green", "n");
    let rules = [rule(Action::Allow, pods("red"), tcp(80, 8080))];
    let policy = policy(object, Tier::Namespace, pods_of("green"), &rules);
    let isolates = [Direction::Ingress].into();
    vec![vec![], one(Policy { isolates, ..policy })]
}

fn baseline() -> Choices {
    let with = |rules: &[Rule]| {
        let object = ObjectRef::cluster(Kind::ClusterNetworkPolicy, "b");
        let everybody = WorkloadSelector::everything();
        one(policy(object, Tier::Baseline(1000), everybody, rules))
    };
    vec![
        vec![],
        with(&[rule(Action::Deny, Peers::Any, Ports::Any)]),
        with(&[
            rule(Action::Pass, pods("green"), tcp(0, 80)),
            rule(Action::Deny, network("10.0.0.0/16", None), Ports::Any),
            rule(Action::Allow, Peers::Any, Ports::Any),
        ]),
    ]
}

fn segment(name: &str, strength: Strength) -> Choices {
    let with = |outside, within, mode| {
        vec![Object::Segment(Box::new(Segment {
            name: name.into(),
            members: Membership {
                selectors: vec![WorkloadSelector::everything()],
                networks: Vec::new(),
                partial: false,
                domains: Vec::new(),
                unread: false,
            },
            isolation: Some(Isolation {
                ingress: outside,
                egress: outside,
                within,
                strength,
            }),
            mode,
        }))]
    };
    vec![
        vec![],
        with(Action::Deny, Action::Allow, Mode::Enforce),
        with(Action::Allow, Action::Deny, Mode::Enforce),
        with(Action::Deny, Action::Deny, Mode::Audit),
    ]
}
