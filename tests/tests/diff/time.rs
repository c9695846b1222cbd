//! Deadlines: what the engine announces, and what the kernel does when nobody is left to tell it.

use bulkhead_encode::{Clock, Desired, Memory};
use bulkhead_policy::eval::next_boundary;
use bulkhead_policy::model::{Object, Timestamp};
use bulkhead_tests::worlds::search::{Finding, search};
use bulkhead_tests::worlds::vocabulary::{DATES, NOW};
use bulkhead_tests::worlds::{SmallWorld, small_world};

use crate::compiled::{by_tables, rule_set};
use bulkhead_tests::tuples::{CLOCK, graphs, questions};

fn begins_after(object: &Object, now: Timestamp) -> bool {
    matches!(object, Object::Policy(policy) if policy.active_from.is_some_and(|from| from > now))
}

/// With every other part dead, tables written at [`NOW`] allow nothing later that the oracle denies then.
fn check_alone(case: SmallWorld) -> Finding {
    // What only begins later needs somebody alive to bring it.
    let objects = case
        .objects
        .iter()
        .filter(|object| !begins_after(object, NOW))
        .cloned()
        .collect();
    let case = SmallWorld { objects, ..case };
    let world = case.world();
    for (node, graph) in graphs(&mut case.engine(NOW)) {
        let desired = Desired::build(&graph, NOW);
        for later in DATES.iter().copied().filter(|date| *date > NOW) {
            let mut memory = Memory::new(&desired, CLOCK).ok_or("too many port classes")?;
            memory.tables.now_ns = Clock::monotonic_of(&CLOCK, later);
            for workload in graph.workloads.values() {
                for asked in questions(workload).into_iter().step_by(3) {
                    let Some((enforced, _)) = asked.oracle(&world, later) else {
                        continue;
                    };
                    let (passes, _) =
                        by_tables(&memory, rule_set(workload, asked.direction), &asked);
                    if passes && !enforced.allowed {
                        return Err(format!(
                            "on {node} at {later:?}: {asked:?} still passes; oracle: {}",
                            enforced.rule
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_grant_ends_on_time_with_every_other_part_dead() {
    search("alone", 100, small_world(), check_alone);
}

#[test]
fn the_next_change_is_announced() {
    search("boundaries", 300, small_world(), |case| {
        let (world, mut engine) = (case.world(), case.engine(NOW));
        engine.take_dirty();
        let (expected, announced) = (next_boundary(&world, NOW), engine.next_boundary());
        if expected == announced {
            Ok(())
        } else {
            Err(format!("{announced:?} instead of {expected:?}"))
        }
    });
}
