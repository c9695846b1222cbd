//! Rows A–C: from typed objects in memory to the graphs of all nodes with their digests.

use std::hint::black_box;

use anyhow::Result;
use bulkhead_policy::engine::{Engine, EngineConfig};

use super::measure::{ms, peak, reset_peak, timed};
use super::report::{Figure, Unit};
use crate::worlds::rows::Row;

/// Milliseconds and megabytes that a row may take.
fn target(row: Row) -> (f64, f64) {
    match row {
        Row::A | Row::APlus => (200.0, 160.0),
        Row::ALarge => (45.0, 160.0),
        Row::B => (8.0, 120.0),
        Row::BPairs => (40.0, 120.0),
        Row::C | Row::CPlus => (50.0, 120.0),
    }
}

/// Compiles the world of a row once.
///
/// # Errors
/// If the kernel does not tell the peak.
pub fn run(row: Row, seed: u64) -> Result<Vec<Figure>> {
    let events = row.events(seed, 1000);
    reset_peak()?;
    let with_objects = peak()?;
    let ((engine, parts), took) = timed(|| {
        let mut engine = Engine::new(EngineConfig::default());
        events.into_iter().for_each(|event| engine.apply(event));
        let mut parts = 0;
        for node in engine.take_dirty() {
            if let Some(graph) = engine.node_graph(&node) {
                black_box(graph.digest());
                parts += graph.workloads.len() + graph.rule_sets.len() + graph.peer_sets.len();
            }
        }
        (engine, parts)
    });
    let peak = peak()?;
    let size = engine.size();
    let (time, memory) = target(row);
    let name = row.name();
    let what = format!(
        "{} workloads, {} policies → {} nodes, {parts} parts",
        size.workloads, size.policies, size.nodes
    );
    // An engine of this size takes longer to take apart than to leave to the end of the process.
    std::mem::forget(engine);
    Ok(vec![
        Figure::new(name, what, ms(took), Unit::Ms, time),
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
