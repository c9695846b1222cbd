//! What the tables say is what the graph says, for every address, port, rule set, stance and phase of time.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod world;

use std::sync::Arc;

use bulkhead_encode::{Changes, Clock, Desired, Half, Memory, explain};
use bulkhead_graph::{NodeGraph, Protocol, Stance, Timestamp};
use proptest::prelude::*;

const PROTOCOLS: [Protocol; 4] = [
    Protocol::Tcp,
    Protocol::Udp,
    Protocol::Icmp,
    Protocol::Other,
];

fn ports() -> impl Iterator<Item = u16> {
    let around = |port: &u16| [port.saturating_sub(1), *port, port.saturating_add(1)];
    world::PORTS
        .iter()
        .flat_map(around)
        .collect::<std::collections::BTreeSet<u16>>()
        .into_iter()
}

/// Every half: rule set, address, protocol, port.
fn check(graph: &NodeGraph, memory: &Memory, at: Timestamp) -> Result<(), TestCaseError> {
    for (id, rules) in &graph.rule_sets {
        for address in world::everybody() {
            for (protocol, port) in PROTOCOLS
                .iter()
                .flat_map(|p| ports().map(move |port| (*p, port)))
            {
                let nothing = Half {
                    enforced: false,
                    intended: false,
                };
                let half = memory.half(*id, address, protocol, port).unwrap_or(nothing);
                let told =
                    |stance| explain(graph, rules, address, protocol, port, stance, at).allow;
                let expected = Half {
                    enforced: told(Stance::Enforced),
                    intended: told(Stance::Intended),
                };
                prop_assert_eq!(
                    half,
                    expected,
                    "{} {} {:?} {} at {:?}",
                    id,
                    address,
                    protocol,
                    port,
                    at
                );
            }
        }
    }
    Ok(())
}

fn clock(now: Timestamp) -> Clock {
    Clock {
        wall: now,
        monotonic_ns: 1_000_000_000_000,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn tables_say_what_the_graph_says(graph in world::parts(), now in 0_i64..5_000) {
        let (graph, now) = (Arc::new(graph), Timestamp(now));
        let memory = Memory::new(&Desired::build(&graph, now), clock(now)).unwrap();
        check(&graph, &memory, now)?;
    }

    /// Nobody touches the tables: what is over ends, and nothing is opened that the graph does not open.
    #[test]
    fn deadlines_pass_without_anybody(graph in world::parts()) {
        let (graph, now) = (Arc::new(graph), Timestamp(0));
        let desired = Desired::build(&graph, now);
        let mut memory = Memory::new(&desired, clock(now)).unwrap();
        let mut before_first_change = true;
        for at in [999, 1_000, 1_001, 2_000, 2_500, 3_000, 9_000].map(Timestamp) {
            memory.tables.now_ns = clock(now).monotonic_of(at);
            before_first_change &= at < desired.next_deadline().unwrap_or(Timestamp(i64::MAX));
            if before_first_change || desired.deadlines().len() == 1 {
                check(&graph, &memory, at)?;
                continue;
            }
            for (id, rules) in &graph.rule_sets {
                for address in world::everybody() {
                    for (protocol, port) in PROTOCOLS.iter().flat_map(|p| world::PORTS.map(|port| (*p, port))) {
                        let told = explain(&graph, rules, address, protocol, port, Stance::Enforced, at);
                        let half = memory.half(*id, address, protocol, port);
                        prop_assert!(told.allow || !half.is_some_and(|half| half.enforced), "{address} {port}");
                    }
                }
            }
        }
    }

    #[test]
    fn going_on_is_building_afresh(graphs in prop::collection::vec((world::parts(), 0_i64..5_000), 2..5)) {
        let mut now = 0;
        let mut desired = Desired::build(&Arc::new(NodeGraph::default()), Timestamp(now));
        // Every second step keeps rule sets and moves members only, so that the short way is taken.
        let mut last: Option<NodeGraph> = None;
        for (graph, step) in graphs {
            let moved = last.as_ref().map(|last| NodeGraph::new(
                last.workloads.clone(),
                last.rule_sets.clone(),
                last.peer_sets.iter().map(|(id, set)| {
                    (*id, graph.peer_sets.get(id).cloned().unwrap_or_else(|| Arc::new(set.iter().skip(1).collect())))
                }).collect(),
                graph.known.clone(),
                last.cluster_ranges.clone(),
                if step % 2 == 0 { last.services.clone() } else { graph.services.clone() },
            ));
            for graph in moved.into_iter().chain([graph]) {
                let graph = Arc::new(graph);
                let changes = desired.update(&graph, Timestamp(now));
                let afresh = Desired::build(&graph, Timestamp(now));
                prop_assert_eq!(desired.peers(), afresh.peers());
                prop_assert_eq!(desired.regions(), afresh.regions());
                prop_assert_eq!(desired.port_classes(), afresh.port_classes());
                let names = |desired: &Desired| desired.classes().map(|(key, _)| key).collect::<Vec<_>>();
                prop_assert_eq!(names(&desired), names(&afresh));
                if let Changes::Peers { .. } = changes {
                    let layout = desired.compact_layout().unwrap();
                    prop_assert_eq!(desired.decisions(&layout), afresh.decisions(&layout));
                }
                last = Some((*graph).clone());
            }
            now += step / 4;
        }
    }
}
