//! Rows A–C and E: from typed objects in memory to node graphs with their digests.

use std::collections::BTreeSet;
use std::hint::black_box;

use anyhow::{Context, Result};
use bulkhead_graph::NodeGraph;
use bulkhead_policy::engine::{Engine, EngineConfig};
use bulkhead_policy::model::Event;

use super::measure::{Spent, ms, peak, reset_peak, spent, threads};
use super::report::{Figure, Unit};
use crate::worlds::rows::{Row, node_of_view};

/// Milliseconds and megabytes that a row may take.
fn target(row: Row) -> (f64, f64) {
    match row {
        Row::A | Row::APlus => (200.0, 160.0),
        Row::ALarge => (45.0, 160.0),
        Row::B => (8.0, 120.0),
        Row::BPairs => (40.0, 120.0),
        Row::C | Row::CPlus => (50.0, 120.0),
        Row::D => (0.0, 0.0),
        Row::E => (400.0, 120.0),
    }
}

/// An engine that knows of nothing.
pub(super) fn engine() -> Engine {
    Engine::new(EngineConfig::default())
}

/// An engine that knows the range of all pods, as of a cluster whose network plugin has one. A pod outside of it would
/// concern every node.
pub(super) fn engine_of_one_range() -> Engine {
    let range = ipnet::Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 0, 0, 0), 8);
    Engine::new(EngineConfig {
        cluster_ranges: vec![range.into()],
        ..EngineConfig::default()
    })
}

/// Compiles the world of a row once: for all nodes, in row E for one.
///
/// # Errors
/// If the kernel does not tell the peak.
pub fn run(row: Row, seed: u64) -> Result<Vec<Figure>> {
    let events = row.events(seed, 1000);
    reset_peak()?;
    let with_objects = peak()?;
    let (engine, parts, took) = if row == Row::E {
        view(events)?
    } else {
        everything(events)?
    };
    let peak = peak()?;
    let size = engine.size();
    let (time, memory) = target(row);
    let name = row.name();
    let what = format!(
        "{} workloads, {} policies → {parts}",
        size.workloads, size.policies
    );
    // An engine of this size takes longer to take apart than to leave to the end of the process.
    std::mem::forget(engine);
    Ok(vec![
        Figure::new(name, what, ms(took.wall), Unit::Ms, time),
        Figure::new(
            name,
            "processor time of that, all threads together",
            ms(took.processor),
            Unit::Ms,
            time,
        ),
        Figure::new(
            name,
            "of which the kernel's, for pages",
            ms(took.kernel),
            Unit::Ms,
            0.0,
        ),
        Figure::new(
            name,
            "peak, the objects themselves included",
            peak / 1e6,
            Unit::Mb,
            memory,
        ),
        Figure::new(
            name,
            "of which the typed objects, before it starts",
            with_objects / 1e6,
            Unit::Mb,
            0.0,
        ),
    ])
}

fn parts(graph: &NodeGraph) -> usize {
    black_box(graph.digest());
    graph.workloads.len() + graph.rule_sets.len() + graph.peer_sets.len()
}

fn everything(events: Vec<Event>) -> Result<(Engine, String, Spent)> {
    let ((engine, said), took) = spent(|| {
        let mut engine = engine();
        events.into_iter().for_each(|event| engine.apply(event));
        let nodes = engine.take_dirty();
        let graphs = engine.node_graphs(nodes, threads());
        let parts: usize = graphs.iter().map(|(_, graph)| parts(graph)).sum();
        (engine, format!("{} nodes, {parts} parts", graphs.len()))
    })?;
    Ok((engine, said, took))
}

fn view(events: Vec<Event>) -> Result<(Engine, String, Spent)> {
    let here = node_of_view();
    let ((engine, graph), took) = spent(|| {
        let mut engine = engine();
        events.into_iter().for_each(|event| engine.apply(event));
        let graph = engine.node_graphs(BTreeSet::from([here]), threads()).pop();
        let graph = graph.map(|(_, graph)| graph);
        graph.iter().for_each(|graph| {
            black_box(graph.digest());
        });
        (engine, graph)
    })?;
    let graph = graph.context("the node of the view has no graph")?;
    let members: usize = graph.peer_sets.values().map(|set| set.len()).sum();
    let said = format!(
        "a node of {} workloads, {members} peers",
        graph.workloads.len()
    );
    Ok((engine, said, took))
}
