//! The stories that are told to the oracle, told to the compiler: each flow through the node graphs and the tables that are
//! made of them, as the programs read them.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_encode::{Clock, Desired, Memory};
use bulkhead_graph::{Direction, LocalWorkload, WorkloadUid};
use bulkhead_policy::engine::{Engine, EngineConfig};
use bulkhead_policy::eval::Flow;
use bulkhead_policy::model::{Address, Event, Object, Workload};

use crate::compiled::rule_set;

#[path = "../../../crds/tests/stories/story.rs"]
mod story;

use story::Story;

/// Where workloads are that no node enforces for, so that somebody is asked about them.
const NOWHERE: &str = "(nowhere)";

/// What all nodes of a story enforce.
struct Tables {
    nodes: Vec<Memory>,
    guards: BTreeMap<Address, Guard>,
    contested: BTreeSet<Address>,
}

struct Guard {
    node: usize,
    uid: WorkloadUid,
    workload: LocalWorkload,
}

impl Tables {
    fn of(story: &Story) -> Self {
        let now = story.now();
        let mut engine = Engine::new(EngineConfig {
            cluster_ranges: story.cluster_ranges.clone(),
            ..EngineConfig::default()
        });
        engine.advance(now);
        for object in story.objects() {
            engine.apply(Event::Apply(placed(object)));
        }
        let contested = engine.contested();
        let clock = Clock {
            wall: now,
            monotonic_ns: 1 << 50,
            heard_ns: (1 << 50) - story.moment().unheard_ms * 1_000_000,
        };
        let (mut nodes, mut guards) = (Vec::new(), BTreeMap::new());
        for name in engine.nodes() {
            let graph = engine.node_graph(&name).unwrap();
            for (uid, workload) in &graph.workloads {
                let own = workload
                    .addresses
                    .iter()
                    .filter(|it| !contested.contains(it));
                guards.extend(own.map(|address| {
                    let guard = Guard {
                        node: nodes.len(),
                        uid: uid.clone(),
                        workload: (**workload).clone(),
                    };
                    (*address, guard)
                }));
            }
            nodes.push(Memory::new(&Desired::build(&graph, now), clock).unwrap());
        }
        Self {
            nodes,
            guards,
            contested,
        }
    }

    /// `(enforced, intended)`.
    fn judge(&self, flow: &Flow) -> (bool, bool) {
        let [source, destination] =
            [flow.source, flow.destination].map(|address| self.guards.get(&address));
        if let (Some(source), Some(destination)) = (source, destination)
            && source.uid == destination.uid
        {
            return (true, true);
        }
        let egress = self.half(flow.source, Direction::Egress, flow.destination, flow);
        let ingress = self.half(flow.destination, Direction::Ingress, flow.source, flow);
        (egress.0 && ingress.0, egress.1 && ingress.1)
    }

    fn half(&self, own: Address, direction: Direction, peer: Address, flow: &Flow) -> (bool, bool) {
        let Some(guard) = self.guards.get(&own) else {
            let allowed = !self.contested.contains(&own);
            return (allowed, allowed);
        };
        let rules = rule_set(&guard.workload, direction);
        let half = self.nodes[guard.node].half(rules, peer, flow.protocol, flow.port);
        half.map_or((false, false), |half| (half.enforced, half.intended))
    }
}

fn placed(object: Object) -> Object {
    match object {
        Object::Workload(kind, ref workload) if workload.node.is_none() => Object::Workload(
            kind,
            Box::new(Workload {
                node: Some(NOWHERE.into()),
                ..(**workload).clone()
            }),
        ),
        Object::Workload(..)
        | Object::Namespace(_)
        | Object::Node(_)
        | Object::Service(_)
        | Object::EndpointSlice(_)
        | Object::Segment(_)
        | Object::Policy(_) => object,
    }
}

#[test]
fn every_story_ends_in_the_tables_as_it_is_told() {
    let stories = story::all();
    let (mut wrong, mut flows) = (Vec::new(), 0);
    for (name, story) in &stories {
        let tables = Tables::of(story);
        for told in story.expectations(&story.world()) {
            flows += 1;
            let (enforced, intended) = tables.judge(&told.flow);
            for (stance, told_so, actual) in [
                ("enforced", told.enforced, enforced),
                ("intended", told.intended, intended),
            ] {
                if told_so.is_some_and(|told| told != actual) {
                    wrong.push(format!("{name}\n    {}: {stance} is {actual}", told.line));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(flows > stories.len(), "{flows} flows");
    println!("{} stories, {flows} flows", stories.len());
}
