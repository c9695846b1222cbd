//! The end state does not tell how it came about.

use std::collections::BTreeMap;

use bulkhead_graph::Digest;
use bulkhead_policy::engine::{Engine, Size};
use bulkhead_policy::model::{Event, Interned, Timestamp};
use bulkhead_tests::worlds::search::{Finding, search};
use bulkhead_tests::worlds::vocabulary::NOW;
use bulkhead_tests::worlds::{SmallWorld, crowded_world, history, history_of, small_world};
use proptest::prelude::*;

use bulkhead_tests::tuples::graphs;

fn digests(engine: &mut Engine) -> BTreeMap<Interned, Digest> {
    graphs(engine)
        .into_iter()
        .map(|(node, graph)| (node, graph.digest()))
        .collect()
}

fn straight(world: &SmallWorld) -> BTreeMap<Interned, Digest> {
    digests(&mut world.engine(NOW))
}

/// How often the compiler is asked on the way: what it has settled in between must not show.
#[derive(Debug, Clone, Copy)]
enum Asked {
    AtTheEnd,
    AfterEvery(usize),
}

fn by_history(
    world: &SmallWorld,
    events: &[Event],
    start: Timestamp,
    asked: Asked,
) -> BTreeMap<Interned, Digest> {
    let mut engine = Engine::new(world.config());
    engine.advance(start);
    for (number, event) in events.iter().enumerate() {
        engine.apply(event.clone());
        if let Asked::AfterEvery(step) = asked
            && number % step == 0
        {
            engine.take_dirty();
            drop(graphs(&mut engine));
        }
    }
    engine.advance(NOW);
    digests(&mut engine)
}

fn compare(case: (SmallWorld, Vec<Event>), start: Timestamp, asked: Asked) -> Finding {
    let (world, events) = case;
    let (expected, actual) = (straight(&world), by_history(&world, &events, start, asked));
    if expected == actual {
        Ok(())
    } else {
        Err(format!("straight {expected:?}\nby history {actual:?}"))
    }
}

#[test]
fn any_history_of_events_ends_in_the_same_bytes() {
    search("orders, asked at the end", 500, history(), |case| {
        compare(case, NOW, Asked::AtTheEnd)
    });
}

#[test]
fn asking_in_between_changes_nothing() {
    let steps = (history(), 1_usize..4);
    search("orders, asked in between", 500, steps, |(case, step)| {
        compare(case, NOW, Asked::AfterEvery(step))
    });
}

#[test]
fn what_tenants_have_room_for_depends_on_no_order() {
    let steps = (history_of(crowded_world()), 1_usize..4);
    search("orders, crowded", 500, steps, |(case, step)| {
        compare(case, NOW, Asked::AfterEvery(step))
    });
}

#[test]
fn time_that_passes_ends_where_time_would_have_begun() {
    let late = (
        history(),
        prop_oneof![Just(0_i64), Just(5_000), Just(9_999)],
    );
    search("orders, time passes", 300, late, |(case, start)| {
        compare(case, Timestamp(start), Asked::AfterEvery(2))
    });
}

#[test]
fn nodes_that_were_not_called_dirty_did_not_change() {
    search("dirty nodes", 300, history(), |(world, events)| {
        let mut engine = Engine::new(world.config());
        engine.advance(NOW);
        let mut before = BTreeMap::new();
        for event in &events {
            engine.apply(event.clone());
            let dirty = engine.take_dirty();
            let after = digests(&mut engine);
            let nodes = before.keys().chain(after.keys());
            let mut changed = nodes.filter(|node| before.get(*node) != after.get(*node));
            if let Some(node) = changed.find(|node| !dirty.contains(*node)) {
                return Err(format!(
                    "{node} changed by {event:#?} and was not called dirty: {dirty:?}"
                ));
            }
            before = after;
        }
        Ok(())
    });
}

#[test]
fn a_world_taken_down_leaves_nothing() {
    search("taken down", 300, small_world(), |world| {
        let mut engine = world.engine(NOW);
        engine.take_dirty();
        for object in &world.objects {
            engine.apply(Event::Delete(object.reference()));
        }
        engine.take_dirty();
        // Strings are given back later, when they are the greater part.
        let size = Size {
            strings: 0,
            ..engine.size()
        };
        let left = (digests(&mut engine), size);
        let nothing = (BTreeMap::new(), Size::default());
        if left == nothing {
            Ok(())
        } else {
            Err(format!("left over: {left:?}"))
        }
    });
}
