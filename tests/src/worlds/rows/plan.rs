//! A world under construction: nodes with ranges, and pods spread over them.

use std::sync::Arc;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use bulkhead_policy::model::{
    Action, Direction, Event, Interned, Kind, LabelSelector, Mode, Namespace, NamespaceScope, Node,
    Object, ObjectRef, Peer, Peers, Phase, Policy, Ports, Rule, SortedMap, SortedSet, Subject,
    Tier, Workload, WorkloadSelector,
};
use ipnet::{IpNet, Ipv4Net};

use super::random::Random;

/// Whether policies admit by egress what they admit by ingress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mirror {
    None,
    Egress,
}

pub(super) struct Plan {
    random: Random,
    words: BTreeSet<String>,
    /// Addresses given out on each node.
    given: Vec<u32>,
    account: Interned,
    nodes: Vec<Event>,
    namespaces: Vec<Event>,
    pods: Vec<Event>,
    policies: Vec<Event>,
}

/// Each node has a /24.
const RANGE_BITS: u32 = 8;
const ADDRESSES_EACH: u32 = 254;

impl Plan {
    pub(super) fn new(seed: u64, nodes: u32) -> Self {
        let mut plan = Self {
            random: Random::new(seed),
            words: BTreeSet::new(),
            given: vec![0; nodes as usize],
            account: "default".into(),
            nodes: Vec::new(),
            namespaces: Vec::new(),
            pods: Vec::new(),
            policies: Vec::new(),
        };
        plan.nodes = (0..nodes).map(Self::node).collect();
        plan
    }

    fn first_address(node: u32) -> u32 {
        0x0a00_0000 | node << RANGE_BITS
    }

    fn node(number: u32) -> Event {
        let range = Ipv4Net::new_assert(Ipv4Addr::from(Self::first_address(number)), 24);
        Event::Apply(Object::Node(Box::new(Node {
            name: node_name(number),
            labels: SortedMap::new(),
            pod_ranges: [IpNet::V4(range)].into(),
            addresses: [IpAddr::V4(Ipv4Addr::from(0xac10_0000 | number))].into(),
        })))
    }

    /// A word that this world does not have yet.
    pub(super) fn word(&mut self) -> String {
        loop {
            let word = self.random.word();
            if self.words.insert(word.clone()) {
                return word;
            }
        }
    }

    pub(super) fn namespace(&mut self, name: &str, label: (&str, &str)) {
        let labels =
            [("kubernetes.io/metadata.name", name), label].map(|(k, v)| (k.into(), v.into()));
        let namespace = Namespace {
            name: name.into(),
            labels: labels.into(),
            closing: false,
        };
        self.namespaces
            .push(Event::Apply(Object::Namespace(namespace)));
    }

    /// A running pod with one label on a random node.
    pub(super) fn pod(
        &mut self,
        namespace: &Interned,
        name: &str,
        (key, value): (&Interned, &Interned),
    ) {
        let labels = SortedMap::from([(key.clone(), value.clone())]);
        let nodes = self.given.len() as u32;
        let node = self.random.below(nodes);
        self.pod_near(node, namespace, name, labels);
    }

    /// A running pod on that node, or on the next one with an address left.
    pub(super) fn pod_near(
        &mut self,
        mut node: u32,
        namespace: &Interned,
        name: &str,
        labels: SortedMap<Interned, Interned>,
    ) {
        let nodes = self.given.len() as u32;
        assert!(
            self.pods.len() < self.given.len() * ADDRESSES_EACH as usize,
            "the nodes have no address left"
        );
        while self.given[node as usize] >= ADDRESSES_EACH {
            node = (node + 1) % nodes;
        }
        self.given[node as usize] += 1;
        let address = Ipv4Addr::from(Self::first_address(node) + self.given[node as usize]);
        self.pods.push(Event::Apply(Object::Workload(
            Kind::Pod,
            Box::new(Workload {
                uid: format!("{namespace}-{name}").into(),
                owners: SortedSet::new(),
                namespace: namespace.clone(),
                name: name.into(),
                labels,
                service_account: self.account.clone(),
                node: Some(node_name(node)),
                addresses: [IpAddr::V4(address)].into(),
                named_ports: SortedSet::new(),
                phase: Phase::Running,
                host_network: false,
                interface: None,
            }),
        )));
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.random.below(end)
    }

    /// A policy of any kind, as it is.
    pub(super) fn add(&mut self, policy: Policy) {
        self.policies
            .push(Event::Apply(Object::Policy(Arc::new(policy))));
    }

    /// A policy for pods of its namespace that isolates both directions and admits one peer, or none.
    pub(super) fn policy(
        &mut self,
        namespace: &str,
        name: &str,
        subject: LabelSelector,
        peer: Option<WorkloadSelector>,
        mirror: Mirror,
    ) {
        let rules: Vec<Rule> = peer
            .into_iter()
            .map(|peer| Rule {
                name: "".into(),
                action: Action::Allow,
                peers: Peers::Of(vec![Peer::Workloads(peer)]),
                ports: Ports::Any,
            })
            .collect();
        let egress = if mirror == Mirror::Egress {
            rules.clone()
        } else {
            Vec::new()
        };
        self.policies
            .push(Event::Apply(Object::Policy(Arc::new(Policy {
                object: ObjectRef::namespaced(Kind::NetworkPolicy, namespace, name),
                tier: Tier::Namespace,
                subjects: vec![Subject::Selected(inside(namespace, subject))],
                isolates: [Direction::Ingress, Direction::Egress].into(),
                mode: Mode::Enforce,
                active_from: None,
                expires_at: None,
                max_staleness: None,
                ingress: rules,
                egress,
            }))));
    }

    pub(super) fn events(mut self) -> Vec<Event> {
        // One list of the right length: nothing is left over that would count as memory of the objects.
        let others = self.namespaces.len() + self.pods.len() + self.policies.len();
        let mut events = Vec::with_capacity(self.nodes.len() + others);
        events.append(&mut self.nodes);
        events.append(&mut self.namespaces);
        events.append(&mut self.pods);
        events.append(&mut self.policies);
        events
    }
}

pub(super) fn node_name(number: u32) -> Interned {
    format!("node-{number}").into()
}

/// Pods of one namespace.
pub(super) fn inside(namespace: &str, labels: LabelSelector) -> WorkloadSelector {
    WorkloadSelector {
        namespaces: NamespaceScope::Named(namespace.into()),
        labels,
        service_accounts: None,
    }
}
