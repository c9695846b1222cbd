//! The oracle against rule sets read by `graph::judge`, and against the tables that they become.

use bulkhead_encode::{Clock, Desired, Memory, explain};
use bulkhead_graph::{Direction, LocalWorkload};
use bulkhead_graph::{NodeGraph, RuleSetId, Stance};
use bulkhead_policy::eval::World;
use bulkhead_policy::model::{Action, Peer, Peers, Port, Ports, Rule};
use bulkhead_tests::worlds::search::{Finding, search};
use bulkhead_tests::worlds::vocabulary::NOW;
use bulkhead_tests::worlds::{SmallWorld, small_world};

use crate::halves::{Question, graphs, questions};

pub(crate) const CLOCK: Clock = Clock {
    wall: NOW,
    monotonic_ns: 1 << 40,
};

pub(crate) fn rule_set(workload: &LocalWorkload, direction: Direction) -> RuleSetId {
    match direction {
        Direction::Egress => workload.egress,
        Direction::Ingress => workload.ingress,
    }
}

/// The one place where the compiler is allowed to deny more than the oracle: an egress rule that names both networks and
/// port names cannot say "whoever is unknown in this network" in a line, so it says "whoever is unknown".
pub(crate) fn may_overblock(world: &World, asked: &Question) -> bool {
    let names_both = |rule: &Rule| {
        let has_network = |peer: &Peer| match peer {
            Peer::Network(_) | Peer::Nodes(_) => true,
            Peer::Segment(name) => world
                .segment(name)
                .is_some_and(|s| !s.members.networks.is_empty()),
            Peer::Workloads(_) | Peer::Unresolved => false,
        };
        rule.action != Action::Allow
            && matches!(&rule.peers, Peers::Of(peers) if peers.iter().any(has_network))
            && matches!(&rule.ports, Ports::Of(ports) if ports.iter().any(|p| matches!(p, Port::Named { .. })))
    };
    asked.direction == Direction::Egress
        && world
            .policies()
            .any(|policy| policy.egress.iter().any(names_both))
}

/// `(enforced, intended)` as the rule set says it.
fn by_rules(graph: &NodeGraph, id: RuleSetId, asked: &Question) -> (bool, bool) {
    let rules = &graph.rule_sets[&id];
    let allow = |stance| {
        explain(
            graph,
            rules,
            asked.peer,
            asked.protocol,
            asked.port,
            stance,
            NOW,
        )
        .allow
    };
    (allow(Stance::Enforced), allow(Stance::Intended))
}

/// `(enforced, intended)` as the tables say it; nothing in a table denies.
pub(crate) fn by_tables(memory: &Memory, id: RuleSetId, asked: &Question) -> (bool, bool) {
    let half = memory.half(id, asked.peer, asked.protocol, asked.port);
    half.map_or((false, false), |half| (half.enforced, half.intended))
}

fn check(case: SmallWorld) -> Finding {
    let world = case.world();
    for (node, graph) in graphs(&mut case.engine(NOW)) {
        let memory = Memory::new(&Desired::build(&graph, NOW), CLOCK)
            .ok_or_else(|| format!("{node}: more port classes than numbers"))?;
        for workload in graph.workloads.values() {
            for asked in questions(workload) {
                let Some((enforced, intended)) = asked.oracle(&world, NOW) else {
                    continue;
                };
                let expected = (enforced.allowed, intended.allowed);
                let id = rule_set(workload, asked.direction);
                let rules = by_rules(&graph, id, &asked);
                let tables = by_tables(&memory, id, &asked);
                let same = |actual: (bool, bool)| {
                    let stances = [(actual.0, expected.0), (actual.1, expected.1)];
                    stances
                        .iter()
                        .all(|(got, told)| got == told || (!got && may_overblock(&world, &asked)))
                };
                if rules != tables || !same(rules) {
                    return Err(format!(
                        "on {node}: {asked:?}\noracle (enforced, intended): {expected:?}, because {} / {}\n\
                         rule set: {rules:?}\ntables: {tables:?}\n{:#?}",
                        enforced.rule, intended.rule, graph.rule_sets[&id]
                    ));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn rule_sets_and_tables_say_what_the_oracle_says() {
    search("compiled", 500, small_world(), check);
}
