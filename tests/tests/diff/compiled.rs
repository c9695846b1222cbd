//! The oracle against rule sets read by `graph::judge`, and against the tables that they become.

use std::time::Instant;

use bulkhead_encode::{Memory, explain};
use bulkhead_graph::{Direction, LocalWorkload};
use bulkhead_graph::{Moment, NodeGraph, RuleSetId, Stance};
use bulkhead_policy::eval::{Flow, World};
use bulkhead_tests::worlds::search::{Finding, Tally, effort, search_tuples, seed};
use bulkhead_tests::worlds::vocabulary::{self, NOW};
use bulkhead_tests::worlds::{
    SmallWorld, addresses_of, crowded_world, large_world, small_world, tiny_addresses, tiny_world,
    tiny_worlds,
};
use proptest::prelude::*;

use bulkhead_tests::tuples::{Compiled, Judged, Question, flows, may_overblock, sample};

pub(crate) fn rule_set(workload: &LocalWorkload, direction: Direction) -> RuleSetId {
    match direction {
        Direction::Egress => workload.egress,
        Direction::Ingress => workload.ingress,
    }
}

/// `(enforced, intended)` as the rule set says it.
fn by_rules(graph: &NodeGraph, id: RuleSetId, asked: &Question, at: Moment) -> (bool, bool) {
    let rules = &graph.rule_sets[&id];
    let allow = |stance| {
        explain(
            graph,
            rules,
            asked.peer,
            asked.protocol,
            asked.port,
            stance,
            at,
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

/// Holds what the nodes say of these flows against the oracle, flow by flow; of every second world, once its leases have ended.
pub(crate) fn compare(
    case: &SmallWorld,
    flows: impl Iterator<Item = Flow>,
    tally: &Tally,
) -> Finding {
    if case.objects.len().is_multiple_of(2) {
        compare_at(case, flows, NOW.into(), tally)
    } else {
        let (case, at) = case.unheard();
        compare_at(&case, flows, at, tally)
    }
}

fn compare_at(
    case: &SmallWorld,
    flows: impl Iterator<Item = Flow>,
    at: Moment,
    tally: &Tally,
) -> Finding {
    let world = case.world();
    let compiled = Compiled::build(&mut case.engine(NOW), at)?;
    for flow in flows {
        let halves = compiled.halves(&world, &flow, at);
        if !halves.is_empty() {
            tally.count();
        }
        halves
            .into_iter()
            .try_for_each(|judged| compare_half(&world, &judged, at))?;
    }
    Ok(())
}

fn compare_half(world: &World, judged: &Judged<'_>, at: Moment) -> Finding {
    let Judged {
        node,
        workload,
        asked,
        enforced,
        intended,
        ..
    } = judged;
    let expected = (enforced.allowed, intended.allowed);
    let id = rule_set(workload, asked.direction);
    let rules = by_rules(&node.graph, id, asked, at);
    let tables = by_tables(&node.memory, id, asked);
    let same = |actual: (bool, bool)| {
        let stances = [(actual.0, expected.0), (actual.1, expected.1)];
        stances
            .iter()
            .all(|(got, told)| got == told || (!got && may_overblock(world, asked)))
    };
    if rules == tables && same(rules) {
        return Ok(());
    }
    Err(format!(
        "on {}: {asked:?}\noracle (enforced, intended): {expected:?}, because {} / {}\n\
         rule set: {rules:?}\ntables: {tables:?}\n{:#?}",
        node.name, enforced.rule, intended.rule, node.graph.rule_sets[&id]
    ))
}

#[test]
fn g7_rule_sets_and_tables_say_what_the_oracle_says() {
    let addresses = vocabulary::addresses();
    search_tuples(
        "compiled",
        (1_700, 1_000_000),
        small_world(),
        |case, tally| compare(&case, flows(&addresses), tally),
    );
}

#[test]
fn g7_where_tenants_name_more_than_there_is_room_for_all_leave_out_the_same() {
    let addresses = vocabulary::addresses();
    search_tuples("crowded", (300, 100_000), crowded_world(), |case, tally| {
        compare(&case, flows(&addresses), tally)
    });
}

/// Tiny worlds, counted through: all of them in a deep run, else every twentieth from a random one on.
#[test]
fn g7_every_tuple_of_every_tiny_world() {
    const STRIDE: u64 = 20;
    let all = tiny_worlds();
    let stride = if effort() > 1 { 1 } else { STRIDE };
    let first = seed() % stride;
    let (tally, began) = (Tally::default(), Instant::now());
    println!("tiny: every {stride}. of {all} worlds, from {first} on");
    let addresses = tiny_addresses();
    for number in (first..all).step_by(usize::try_from(stride).unwrap()) {
        let case = tiny_world(number);
        if let Err(why) = compare(&case, flows(&addresses), &tally) {
            panic!("tiny world {number}: {case:#?}\n{why}");
        }
    }
    let worlds = (all - first).div_ceil(stride);
    tally.close("tiny", began, 0);
    assert!(tally.tuples() >= worlds * 50, "{worlds} worlds");
}

/// Worlds in which everything meets: dozens of policies over a hundred workloads. Flows are drawn at random.
#[test]
fn g7_samples_of_large_worlds() {
    const SAMPLES: usize = 2_000;
    search_tuples(
        "large",
        (30, 15_000),
        (large_world(), any::<u64>()),
        |(case, seed), tally| {
            let mut rng = fastrand::Rng::with_seed(seed);
            let sample = sample(&addresses_of(&case), &mut rng, SAMPLES);
            compare(&case, sample.into_iter(), tally)
        },
    );
}
