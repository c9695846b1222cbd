//! Row F: one event in a cluster of 100,000 pods, until the deltas of all nodes that it concerns are ready to be sent.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bulkhead_graph::{Delta, NodeGraph};
use bulkhead_policy::engine::Engine;
use bulkhead_policy::model::{
    Event, Interned, LabelSelector, Object, Operator, Peer, Peers, Policy, Requirement, SortedSet,
    Workload,
};

use super::compile::engine_of_one_range;
use super::measure::{quantile, threads, timed, us};
use super::report::{Figure, Unit};
use crate::worlds::rows::Row;

const EVENTS: usize = 2000;

struct Cluster {
    engine: Engine,
    /// What each agent has.
    graphs: BTreeMap<Interned, Arc<NodeGraph>>,
}

impl Cluster {
    fn start(events: &[Event]) -> Self {
        let mut engine = engine_of_one_range();
        events.iter().cloned().for_each(|event| engine.apply(event));
        let nodes = engine.take_dirty();
        let graphs = engine.node_graphs(nodes, threads()).into_iter().collect();
        Self { engine, graphs }
    }

    /// The event, and the number of nodes that get a delta.
    fn apply(&mut self, event: Event) -> usize {
        self.engine.apply(event);
        let mut sent = 0;
        let nodes = self.engine.take_dirty();
        for (node, new) in self.engine.node_graphs(nodes, threads()) {
            let old = self.graphs.entry(node).or_default();
            if old.digest() != new.digest() {
                black_box(Delta::between(old, &new));
                sent += 1;
            }
            *old = new;
        }
        sent
    }
}

/// Measures pods that come and go, and policies that admit somebody else.
///
/// # Errors
/// None at present; a benchmark may fail to find its world.
pub fn run(seed: u64) -> Result<Vec<Figure>> {
    let events = Row::A.events(seed, 1000);
    let mut cluster = Cluster::start(&events);
    let pods: Vec<&Workload> = events.iter().filter_map(pod).collect();
    let step = pods.len() / EVENTS;
    let (mut came, mut nodes) = (Vec::new(), 0);
    for (number, pod) in (0_u32..).zip(pods.iter().step_by(step).take(EVENTS)) {
        let event = Event::Apply(Object::Workload(
            bulkhead_policy::model::Kind::Pod,
            Box::new(sibling(pod, number)),
        ));
        let (sent, took) = timed(|| cluster.apply(event));
        nodes += sent;
        came.push(took);
    }
    let policies: Vec<&Policy> = events.iter().filter_map(policy).collect();
    let step = policies.len() / EVENTS;
    let (mut changed, mut emptied) = (Vec::new(), Vec::new());
    for policy in policies.iter().step_by(step).take(EVENTS) {
        let mut change = |policy: Policy| {
            let event = Event::Apply(Object::Policy(Arc::new(policy)));
            timed(|| cluster.apply(event)).1
        };
        changed.push(change(with_another_value(policy)));
        emptied.push(change(without_peers(policy)));
    }
    let each = nodes as f64 / came.len() as f64;
    let mut figures = figures(&format!("a pod comes ({each:.1} nodes get a delta)"), came);
    figures.extend(self::figures("a selector changes", changed));
    figures.extend(self::figures("a policy admits nobody any more", emptied));
    Ok(figures)
}

fn figures(what: &str, mut took: Vec<Duration>) -> Vec<Figure> {
    took.sort_unstable();
    let at = |share: f64| us(quantile(&took, share));
    vec![
        Figure::new("F", format!("{what}: p50"), at(0.5), Unit::Us, 200.0),
        Figure::new("F", format!("{what}: p99"), at(0.99), Unit::Us, 200.0),
    ]
}

fn pod(event: &Event) -> Option<&Workload> {
    match event {
        Event::Apply(Object::Workload(_, workload)) => Some(workload),
        Event::Apply(_) | Event::Delete(_) | Event::Reset(..) => None,
    }
}

fn policy(event: &Event) -> Option<&Policy> {
    match event {
        Event::Apply(Object::Policy(policy)) if !policy.ingress.is_empty() => Some(policy),
        Event::Apply(_) | Event::Delete(_) | Event::Reset(..) => None,
    }
}

/// Another pod of the same kind, elsewhere.
fn sibling(pod: &Workload, number: u32) -> Workload {
    Workload {
        uid: format!("{}-sibling", pod.uid).into(),
        name: format!("{}-sibling", pod.name).into(),
        addresses: SortedSet::from([IpAddr::from(Ipv4Addr::from(0x0af0_0000 + number))]),
        ..pod.clone()
    }
}

/// A selector that nobody else has, with the same peers.
fn with_another_value(policy: &Policy) -> Policy {
    let another = |requirement: &Requirement| {
        let mut requirement = requirement.clone();
        if let Operator::In(values) = &mut requirement.operator {
            values.insert("another".into());
        }
        requirement
    };
    let mut policy = policy.clone();
    for rule in &mut policy.ingress {
        if let Peers::Of(peers) = &mut rule.peers {
            for peer in peers {
                if let Peer::Workloads(selector) = peer {
                    let requirements = selector.labels.requirements().iter().map(another);
                    selector.labels = LabelSelector::new(requirements);
                }
            }
        }
    }
    policy
}

fn without_peers(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    for rule in &mut policy.ingress {
        rule.peers = Peers::Of(Vec::<Peer>::new());
    }
    policy
}
