//! Deltas lead from one graph to the next, whatever happened between them.

use std::sync::Arc;

use bulkhead_graph::{Delta, NodeGraph};
use bulkhead_policy::engine::Engine;
use bulkhead_tests::worlds::history;
use bulkhead_tests::worlds::search::search;
use bulkhead_tests::worlds::vocabulary::{NODES, NOW};

#[test]
fn deltas_along_a_history_rebuild_every_graph() {
    search(
        "deltas",
        300,
        (history(), 1_usize..6),
        |((world, events), step)| {
            let mut engine = Engine::new(world.config());
            engine.advance(NOW);
            let mut held: Vec<NodeGraph> = NODES.iter().map(|_| NodeGraph::default()).collect();
            for some in events.chunks(step) {
                some.iter().for_each(|event| engine.apply(event.clone()));
                for (node, held) in NODES.iter().zip(&mut held) {
                    let graph = engine
                        .node_graph(node)
                        .unwrap_or_else(|| Arc::new(NodeGraph::default()));
                    let delta = Delta::between(held, &graph);
                    *held = delta
                        .apply(held)
                        .map_err(|error| format!("{node}: {error}"))?;
                }
            }
            Ok(())
        },
    );
}
