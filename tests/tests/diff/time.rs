//! Deadlines: what the engine announces, and what the kernel does when nobody is left to tell it.

use bulkhead_encode::{Clock, Desired, Memory};
use bulkhead_policy::eval::{eval, next_boundary};
use bulkhead_policy::model::{Lease, Moment, Object, Timestamp};
use bulkhead_tests::worlds::search::{Finding, search};
use bulkhead_tests::worlds::vocabulary::{DATES, LEASES, NOW, addresses};
use bulkhead_tests::worlds::{SmallWorld, small_world};

use crate::compiled::{by_tables, rule_set};
use bulkhead_tests::tuples::{CLOCK, flows, graphs, questions};

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
            // The controller is dead too, and was last heard when the tables were written.
            let unheard_ms = u64::try_from(later.0 - NOW.0).map_err(|error| error.to_string())?;
            let at = Moment {
                now: later,
                unheard_ms,
            };
            for workload in graph.workloads.values() {
                for asked in questions(workload).into_iter().step_by(3) {
                    let Some((enforced, _)) = asked.oracle(&world, at) else {
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

/// What a node allows that has not heard its controller for longer, it allows one that has as well.
#[test]
fn an_end_of_a_lease_opens_nothing() {
    let addresses = addresses();
    search("ends of leases", 200, small_world(), |case| {
        let world = case.world();
        for flow in flows(&addresses).step_by(2) {
            let allowed = |unheard_ms| {
                let at = Moment {
                    now: NOW,
                    unheard_ms,
                };
                let verdict = eval(&world, &flow, at);
                (verdict.allowed(), verdict.intended())
            };
            let mut before = allowed(0);
            for Lease(ms) in LEASES {
                let after = allowed(*ms);
                if after.0 && !before.0 || after.1 && !before.1 {
                    return Err(format!(
                        "{flow:?} is opened by the end of a lease of {ms} ms"
                    ));
                }
                before = after;
            }
        }
        Ok(())
    });
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
