//! Row D: what one subject costs among many policies that are not its own, and what many networks cost one subject.

use std::sync::Arc;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::Result;
use bulkhead_encode::Desired;
use bulkhead_graph::Timestamp;
use bulkhead_policy::engine::Engine;
use bulkhead_policy::model::{
    Event, Interned, Kind, Object, Phase, SortedMap, SortedSet, Workload,
};

use super::compile::engine_of_one_range;
use super::measure::{ms, quantile, threads, timed, us};
use super::report::{Figure, Unit};
use crate::worlds::rows::{Row, networks};

const EVENTS: u32 = 2000;
const NETWORKS: u32 = 1000;
const ROUNDS: usize = 20;

/// Measures both halves of the row.
///
/// # Errors
/// None at present.
pub fn run(seed: u64) -> Result<Vec<Figure>> {
    let mut engine = engine_of_one_range();
    let events = Row::D.events(seed, 1000);
    events.into_iter().for_each(|event| engine.apply(event));
    let nodes = engine.take_dirty();
    engine.node_graphs(nodes, threads());
    let policies = engine.size().policies;
    let mut found = found(&mut engine);
    found.sort_unstable();
    let (compiled, encoded) = with_networks(&mut engine);
    let of_a_pod = format!("a pod of a new label set among {policies} policies: ");
    Ok(vec![
        Figure::new(
            "D",
            format!("{of_a_pod}p50"),
            us(quantile(&found, 0.5)),
            Unit::Us,
            5.0,
        ),
        Figure::new(
            "D",
            format!("{of_a_pod}fastest"),
            us(found[0]),
            Unit::Us,
            5.0,
        ),
        Figure::new(
            "D",
            format!("{NETWORKS} networks on one subject: to the node graph"),
            ms(compiled),
            Unit::Ms,
            2.0,
        ),
        Figure::new(
            "D",
            "the same graph: to what the tables say",
            ms(encoded),
            Unit::Ms,
            0.0,
        ),
    ])
}

/// From the event to the rules that apply: the label set is one that nobody had, and no policy selects it.
fn found(engine: &mut Engine) -> Vec<Duration> {
    let (key, node): (Interned, Interned) = ("app".into(), "node-1".into());
    let pod = |number: u32| Workload {
        uid: format!("uid-{number}").into(),
        owners: SortedSet::new(),
        namespace: "rules".into(),
        name: format!("pod-{number}").into(),
        labels: SortedMap::from([(key.clone(), format!("nobody-{number}").into())]),
        service_account: "default".into(),
        node: Some(node.clone()),
        addresses: SortedSet::from([IpAddr::from(Ipv4Addr::from(0x0af0_0000 + number))]),
        named_ports: SortedSet::new(),
        phase: Phase::Running,
        host_network: false,
        interface: None,
    };
    (0..EVENTS)
        .map(|number| {
            let event = Event::Apply(Object::Workload(Kind::Pod, Box::new(pod(number))));
            let settled = timed(|| {
                engine.apply(event);
                engine.take_dirty()
            });
            settled.1
        })
        .collect()
}

/// The fastest of some rounds: the policy comes, and goes again.
fn with_networks(engine: &mut Engine) -> (Duration, Duration) {
    let (mut compiled, mut encoded) = (Duration::MAX, Duration::MAX);
    for _ in 0..ROUNDS {
        let policy = networks(NETWORKS);
        let object = policy.object.clone();
        let event = Event::Apply(Object::Policy(Arc::new(policy)));
        let (graphs, took) = timed(|| {
            engine.apply(event);
            let nodes = engine.take_dirty();
            engine.node_graphs(nodes, threads())
        });
        compiled = compiled.min(took);
        for (_, graph) in &graphs {
            let (tables, took) = timed(|| Desired::build(graph, Timestamp::default()));
            encoded = encoded.min(took);
            drop(tables);
        }
        engine.apply(Event::Delete(object));
        let nodes = engine.take_dirty();
        engine.node_graphs(nodes, threads());
    }
    (compiled, encoded)
}
