//! Small worlds in few words, and what is expected of a flow in them.

use std::sync::Arc;

use std::net::IpAddr;

use super::super::{Flow, World, eval};
use crate::model::*;

/// Labels, as written in the tests.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// The pods' range in every fixture; `10.0.0.0/24` is node `n1`, `10.0.1.0/24` is node `n2`.
pub(super) const CLUSTER_RANGE: &str = "10.0.0.0/16";

/// An instant at which everything without a date is in force.
pub(super) const NOW: Timestamp = Timestamp(1_000);

/// What becomes of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Allowed,
    Denied,
    /// Allowed now, denied if everything were enforced.
    WouldDeny,
    /// Denied now, allowed if everything were enforced.
    WouldAllow,
}

/// Judges a flow at [`NOW`].
#[track_caller]
pub(super) fn check(world: &Fixture, flow: Flow, expected: Expected) {
    check_at(world, flow, NOW, expected);
}

/// Judges a flow at an instant.
#[track_caller]
pub(super) fn check_at(world: &Fixture, flow: Flow, now: Timestamp, expected: Expected) {
    let verdict = eval(&world.0, &flow, now);
    let actual = match (verdict.allowed(), verdict.intended()) {
        (true, true) => Expected::Allowed,
        (false, false) => Expected::Denied,
        (true, false) => Expected::WouldDeny,
        (false, true) => Expected::WouldAllow,
    };
    assert_eq!(actual, expected, "{flow:?}\n{verdict:#?}");
}

/// A world under construction.
pub(super) struct Fixture(pub(super) World);

impl Fixture {
    /// Two nodes with a range each, nothing else.
    pub(super) fn new() -> Self {
        let mut fixture = Self(World::new([CLUSTER_RANGE.parse().unwrap()]));
        for (name, range) in [("n1", "10.0.0.0/24"), ("n2", "10.0.1.0/24")] {
            fixture = fixture.with(Object::Node(Box::new(Node {
                name: name.into(),
                labels: SortedMap::new(),
                pod_ranges: SortedSet::from([range.parse().unwrap()]),
                addresses: SortedSet::new(),
            })));
        }
        fixture
    }

    /// Namespaces `shop` (`team=shop`) and `bank` (`team=bank`) with two pods each: `shop/web` (`app=web`) 10.0.0.1,
    /// `shop/db` (`app=db`) 10.0.1.2, `bank/web` (`app=web`) 10.0.0.3, `bank/db` (`app=db`) 10.0.1.4.
    pub(super) fn shop_and_bank() -> Self {
        Self::new()
            .namespace("shop", &[("team", "shop")])
            .namespace("bank", &[("team", "bank")])
            .pod("shop/web", "10.0.0.1", &[("app", "web")])
            .pod("shop/db", "10.0.1.2", &[("app", "db")])
            .pod("bank/web", "10.0.0.3", &[("app", "web")])
            .pod("bank/db", "10.0.1.4", &[("app", "db")])
    }

    pub(super) fn with(mut self, object: Object) -> Self {
        self.0.apply(Event::Apply(object));
        self
    }

    pub(super) fn namespace(self, name: &str, extra: Labels<'_>) -> Self {
        let mut labels = labels(extra);
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
        self.with(Object::Namespace(Namespace {
            name: name.into(),
            labels,
            closing: false,
        }))
    }

    pub(super) fn pod(self, path: &str, address: &str, with: Labels<'_>) -> Self {
        self.workload(pod(path, address, with))
    }

    pub(super) fn workload(self, workload: Workload) -> Self {
        self.with(Object::Workload(Kind::Pod, Box::new(workload)))
    }

    pub(super) fn policy(self, policy: Policy) -> Self {
        self.with(Object::Policy(Arc::new(policy)))
    }

    pub(super) fn segment(self, segment: Segment) -> Self {
        self.with(Object::Segment(Box::new(segment)))
    }

    pub(super) fn delete(mut self, reference: ObjectRef) -> Self {
        self.0.apply(Event::Delete(reference));
        self
    }

    /// A flow between workloads named `namespace/name`, or addresses.
    pub(super) fn flow(&self, from: &str, to: &str, (protocol, port): (Protocol, u16)) -> Flow {
        let address = |end: &str| match end.parse::<IpAddr>() {
            Ok(ip) => Address::from(ip),
            Err(_) => {
                let found = self
                    .0
                    .workloads()
                    .find(|w| format!("{}/{}", w.namespace, w.name) == end);
                Address::from(*found.unwrap().addresses.first().unwrap())
            }
        };
        Flow {
            source: address(from),
            destination: address(to),
            protocol,
            port,
        }
    }
}

/// A running pod on the node that the third byte of its address names.
pub(super) fn pod(path: &str, address: &str, with: Labels<'_>) -> Workload {
    let (namespace, name) = path.split_once('/').unwrap();
    let node = if address.starts_with("10.0.1.") {
        "n2"
    } else {
        "n1"
    };
    Workload {
        uid: format!("uid-of-{path}").as_str().into(),
        owners: SortedSet::new(),
        namespace: namespace.into(),
        name: name.into(),
        labels: labels(with),
        service_account: "default".into(),
        node: Some(node.into()),
        addresses: SortedSet::from([address.parse().unwrap()]),
        named_ports: SortedSet::new(),
        phase: Phase::Running,
        host_network: false,
        interface: None,
    }
}

pub(super) fn labels(pairs: Labels<'_>) -> SortedMap<Interned, Interned> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect()
}

pub(super) const fn tcp(port: u16) -> (Protocol, u16) {
    (Protocol::Tcp, port)
}

pub(super) const fn udp(port: u16) -> (Protocol, u16) {
    (Protocol::Udp, port)
}

// ---- selectors and peers -------------------------------------------------------------------------------------

/// Pods with these labels in one namespace.
pub(super) fn in_namespace(name: &str, with: Labels<'_>) -> WorkloadSelector {
    WorkloadSelector {
        namespaces: NamespaceScope::Named(name.into()),
        labels: LabelSelector::labels(with.iter().copied()),
        service_accounts: None,
    }
}

/// Pods with these labels wherever the namespace has those.
pub(super) fn anywhere(namespaces: Labels<'_>, with: Labels<'_>) -> WorkloadSelector {
    WorkloadSelector {
        namespaces: NamespaceScope::Matching(LabelSelector::labels(namespaces.iter().copied())),
        labels: LabelSelector::labels(with.iter().copied()),
        service_accounts: None,
    }
}

pub(super) fn workloads(selector: WorkloadSelector) -> Peers {
    Peers::Of(vec![Peer::Workloads(selector)])
}

pub(super) fn network(cidr: &str, except: &[&str]) -> Network {
    Network::new(
        cidr.parse().unwrap(),
        except.iter().map(|net| net.parse().unwrap()),
    )
}

pub(super) fn networks(cidr: &str, except: &[&str]) -> Peers {
    Peers::Of(vec![Peer::Network(network(cidr, except))])
}

pub(super) fn in_segment(name: &str) -> Peers {
    Peers::Of(vec![Peer::Segment(name.into())])
}

pub(super) fn on(protocol: Protocol, from: u16, to: u16) -> Ports {
    Ports::Of(vec![Port::Range { protocol, from, to }])
}

// ---- policies ------------------------------------------------------------------------------------------------

pub(super) fn allow(peers: Peers, ports: Ports) -> Rule {
    rule(Action::Allow, peers, ports)
}

pub(super) fn deny(peers: Peers, ports: Ports) -> Rule {
    rule(Action::Deny, peers, ports)
}

pub(super) fn pass(peers: Peers, ports: Ports) -> Rule {
    rule(Action::Pass, peers, ports)
}

fn rule(action: Action, peers: Peers, ports: Ports) -> Rule {
    Rule {
        name: "".into(),
        action,
        peers,
        ports,
    }
}

/// A cluster policy over `subject`.
pub(super) fn cluster(tier: Tier, name: &str, subject: WorkloadSelector) -> Policy {
    policy(
        ObjectRef::cluster(Kind::ClusterSegmentationPolicy, name),
        tier,
        subject,
    )
}

/// A policy of our kind for pods of its namespace; isolates nothing by itself.
pub(super) fn tenant(path: &str, pods: Labels<'_>) -> Policy {
    let (namespace, name) = path.split_once('/').unwrap();
    let object = ObjectRef::namespaced(Kind::SegmentationPolicy, namespace, name);
    policy(object, Tier::Namespace, in_namespace(namespace, pods))
}

/// An upstream policy that isolates.
pub(super) fn upstream(path: &str, pods: Labels<'_>, isolates: &[Direction]) -> Policy {
    let (namespace, name) = path.split_once('/').unwrap();
    let object = ObjectRef::namespaced(Kind::NetworkPolicy, namespace, name);
    let isolates = isolates.iter().copied().collect();
    Policy {
        isolates,
        ..policy(object, Tier::Namespace, in_namespace(namespace, pods))
    }
}

pub(super) fn quarantine(name: &str, subject: Subject) -> Policy {
    let object = ObjectRef::cluster(Kind::Quarantine, name);
    let policy = policy(object, Tier::Quarantine, WorkloadSelector::everything());
    Policy {
        subjects: vec![subject],
        ..policy
    }
}

fn policy(object: ObjectRef, tier: Tier, subject: WorkloadSelector) -> Policy {
    Policy {
        object,
        tier,
        subjects: vec![Subject::Selected(subject)],
        isolates: SortedSet::new(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: Vec::new(),
        egress: Vec::new(),
    }
}

impl Policy {
    pub(super) fn ingress(mut self, rule: Rule) -> Self {
        self.ingress.push(rule);
        self
    }

    pub(super) fn egress(mut self, rule: Rule) -> Self {
        self.egress.push(rule);
        self
    }

    pub(super) fn isolating(mut self, direction: Direction) -> Self {
        self.isolates.insert(direction);
        self
    }

    pub(super) fn audited(self) -> Self {
        Self {
            mode: Mode::Audit,
            ..self
        }
    }
}

/// A segment that closes both directions, opens its inside, and speaks last.
pub(super) fn closed_segment(name: &str, members: WorkloadSelector) -> Segment {
    Segment {
        name: name.into(),
        members: Membership {
            selectors: vec![members],
            networks: Vec::new(),
            partial: false,
            domains: Vec::new(),
            unread: false,
        },
        isolation: Some(Isolation {
            ingress: Action::Deny,
            egress: Action::Deny,
            within: Action::Allow,
            strength: Strength::Default,
        }),
        mode: Mode::Enforce,
    }
}

impl Segment {
    pub(super) fn isolation(self, change: impl FnOnce(&mut Isolation)) -> Self {
        let mut isolation = self.isolation.unwrap();
        change(&mut isolation);
        Self {
            isolation: Some(isolation),
            ..self
        }
    }
}
