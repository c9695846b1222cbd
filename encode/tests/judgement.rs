//! What the tables say is what the graph says, for every address, port, rule set, stance and phase of time.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod world;

use std::sync::Arc;

use bulkhead_encode::{Changes, Clock, Desired, Half, Memory, explain};
use bulkhead_graph::{Moment, NodeGraph, Protocol, RuleSet, Stance, Timestamp};
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
fn check(graph: &NodeGraph, memory: &Memory, at: impl Into<Moment>) -> Result<(), TestCaseError> {
    let at = at.into();
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
        heard_ns: 1_000_000_000_000,
    }
}

/// Nothing passes that the graph does not let pass.
fn check_closed(graph: &NodeGraph, memory: &Memory, at: Moment) -> Result<(), TestCaseError> {
    for (id, rules) in &graph.rule_sets {
        for address in world::everybody() {
            for (protocol, port) in PROTOCOLS
                .iter()
                .flat_map(|p| world::PORTS.map(|port| (*p, port)))
            {
                let half = memory.half(*id, address, protocol, port);
                for stance in [Stance::Enforced, Stance::Intended] {
                    let told = explain(graph, rules, address, protocol, port, stance, at);
                    let passes = half.is_some_and(|half| match stance {
                        Stance::Enforced => half.enforced,
                        Stance::Intended => half.intended,
                    });
                    prop_assert!(
                        told.allow || !passes,
                        "{} {} {:?} at {:?}",
                        address,
                        port,
                        stance,
                        at
                    );
                }
            }
        }
    }
    Ok(())
}

/// The same graph with other rule sets under the old names: tables do not ask what a name stands for.
fn with_rules(graph: &NodeGraph, change: impl Fn(&mut RuleSet)) -> NodeGraph {
    let mut graph = graph.clone();
    for rules in graph.rule_sets.values_mut() {
        change(Arc::make_mut(rules));
    }
    graph
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The controller is silent, and nobody touches the tables: each lease ends when it should, and comes back once the controller
    /// is heard, with nothing else written than ends.
    #[test]
    fn leases_end_without_anybody(graph in world::parts()) {
        let graph = Arc::new(with_rules(&graph, |rules| {
            rules.entries.iter_mut().for_each(|entry| entry.until = None);
        }));
        let now = Timestamp(0);
        let desired = Desired::build(&graph, now);
        prop_assert_eq!(desired.next_date(), None);
        let mut memory = Memory::new(&desired, clock(now)).unwrap();
        let mut before_first_end = true;
        // Up to two milliseconds before its end a lease may be over.
        for unheard_ms in [0, 497, 500, 501, 1_497, 1_500, 2_500, 9_000] {
            memory.tables.now_ns = clock(now).monotonic_ns + unheard_ms * 1_000_000;
            before_first_end &= unheard_ms < 500;
            let at = Moment { now, unheard_ms };
            if before_first_end || desired.deadlines().len() < 2 {
                check(&graph, &memory, at)?;
            } else {
                check_closed(&graph, &memory, at)?;
            }
        }
        let heard_ns = memory.tables.now_ns;
        let heard = Memory::new(&desired, Clock { heard_ns, ..clock(now) }).unwrap();
        memory.tables.expiries = heard.tables.expiries;
        check(&graph, &memory, now)?;
    }

    /// Dates come and leases end in any order, with every other part dead.
    #[test]
    fn dates_and_leases_together_open_nothing(graph in world::parts()) {
        let (graph, now) = (Arc::new(graph), Timestamp(0));
        let desired = Desired::build(&graph, now);
        for heard_ms in [0, 700, 1_600] {
            let base = clock(now).monotonic_ns;
            let clock = Clock { heard_ns: base + heard_ms * 1_000_000, ..clock(now) };
            let mut memory = Memory::new(&desired, clock).unwrap();
            for later in [700, 1_000, 1_199, 1_200, 1_600, 2_000, 2_100, 2_200, 3_100, 4_100, 9_000] {
                let Some(unheard_ms) = u64::checked_sub(later, heard_ms) else { continue };
                memory.tables.now_ns = base + later * 1_000_000;
                let at = Moment { now: Timestamp(i64::try_from(later).unwrap()), unheard_ms };
                check_closed(&graph, &memory, at)?;
            }
        }
    }

    /// A lease that ends never opens anything, so what is left of several is what is left of the shortest.
    #[test]
    fn an_end_of_a_lease_never_opens(graph in world::parts()) {
        for rules in graph.rule_sets.values() {
            for address in world::everybody().into_iter().step_by(2) {
                for port in world::PORTS {
                    let told = |unheard_ms| {
                        let at = Moment { now: Timestamp(0), unheard_ms };
                        explain(&graph, rules, address, Protocol::Tcp, port, Stance::Enforced, at).allow
                    };
                    for (later, earlier) in [(500, 0), (1_500, 500), (2_500, 1_500)] {
                        prop_assert!(told(earlier) || !told(later), "{} {} after {}", address, port, later);
                    }
                }
            }
        }
    }

    #[test]
    fn tables_say_what_the_graph_says(graph in world::parts(), now in 0_i64..5_000) {
        let (graph, now) = (Arc::new(graph), Timestamp(now));
        let memory = Memory::new(&Desired::build(&graph, now), clock(now)).unwrap();
        check(&graph, &memory, now)?;
    }

    /// Nobody touches the tables: what is over ends, and nothing is opened that the graph does not open.
    #[test]
    fn deadlines_pass_without_anybody(graph in world::parts()) {
        let now = Timestamp(0);
        let graph = Arc::new(with_rules(&graph, |rules| {
            rules.entries.iter_mut().for_each(|entry| entry.lease = None);
        }));
        let desired = Desired::build(&graph, now);
        let mut memory = Memory::new(&desired, clock(now)).unwrap();
        let mut before_first_change = true;
        for at in [999, 1_000, 1_001, 2_000, 2_500, 3_000, 9_000].map(Timestamp) {
            memory.tables.now_ns = clock(now).monotonic_of(at);
            before_first_change &= at < desired.next_date().unwrap_or(Timestamp(i64::MAX));
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
