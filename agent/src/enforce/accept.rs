//! Whether a revision may follow what is held: never an older one, never a damaged one. Pure.

use std::sync::Arc;

use bulkhead_graph::{DeltaError, Digest, NodeGraph};
use bulkhead_wire::{Frontier, Refusal, Revision};

/// The graph that a revision makes of `graph`, and the inputs behind which nothing is accepted once it is in force. `held`
/// is the newest revision that this node ever had, with its inputs.
pub(super) fn accept(
    held: Option<&(Digest, Frontier)>,
    graph: &NodeGraph,
    revision: &Revision,
) -> Result<(Arc<NodeGraph>, Frontier), (Refusal, String)> {
    if let Some((digest, frontier)) = held
        && *digest != revision.delta.target
        && !revision.frontier.reaches(frontier)
    {
        let reason = format!(
            "it was compiled from inputs {}, this node has had {frontier} already; if the inputs were restored from a \
             backup, empty the agent's state folder and restart the agent",
            revision.frontier
        );
        return Err((Refusal::Older, reason));
    }
    let empty = NodeGraph::default();
    let base = if revision.delta.base == empty.digest() {
        &empty
    } else {
        graph
    };
    // The same revision of older inputs is welcome, but not as a step back for the next one.
    let inputs = match held {
        Some((_, frontier)) => revision.frontier.joined(frontier),
        None => revision.frontier.clone(),
    };
    let graph = revision.delta.apply(base).map_err(|error| {
        let refusal = match error {
            DeltaError::WrongBase { .. } => Refusal::Base,
            DeltaError::WrongDigest { .. }
            | DeltaError::WrongRuleSet(_)
            | DeltaError::MissingRuleSet { .. }
            | DeltaError::MissingPeerSet { .. } => Refusal::Damaged,
        };
        (refusal, error.to_string())
    })?;
    Ok((Arc::new(graph), inputs))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use bulkhead_graph::{Address, Delta, PeerSetId, SortedMap};

    fn graph(number: u8) -> NodeGraph {
        let members = [Address([number; 16])].into_iter().collect();
        NodeGraph::new(
            SortedMap::new(),
            SortedMap::new(),
            [(PeerSetId([1; 16]), Arc::new(members))].into(),
            Arc::default(),
            [].into(),
            Arc::default(),
        )
    }

    fn frontier(version: u64) -> Frontier {
        Frontier {
            versions: [("folder".to_owned(), version)].into(),
            ..Frontier::default()
        }
    }

    fn taken(held: &(Digest, Frontier), graph: &NodeGraph, revision: &Revision) -> Arc<NodeGraph> {
        accept(Some(held), graph, revision).unwrap().0
    }

    fn refusal(held: &(Digest, Frontier), graph: &NodeGraph, revision: &Revision) -> Refusal {
        accept(Some(held), graph, revision).unwrap_err().0
    }

    #[test]
    fn a_node_never_goes_back() {
        let held = (graph(2).digest(), frontier(5));
        let older = Revision {
            delta: Delta::between(&graph(2), &graph(1)),
            frontier: frontier(4),
        };
        assert_eq!(refusal(&held, &graph(2), &older), Refusal::Older);
        let same = Revision {
            delta: Delta::snapshot(&graph(2)),
            frontier: frontier(4),
        };
        assert_eq!(taken(&held, &graph(2), &same).digest(), graph(2).digest());
        let newer = Revision {
            frontier: frontier(6),
            ..older
        };
        assert_eq!(taken(&held, &graph(2), &newer).digest(), graph(1).digest());
    }

    #[test]
    fn g5_the_same_revision_of_older_inputs_takes_nothing_back() {
        let mut held = (graph(2).digest(), frontier(5));
        let same = Revision {
            delta: Delta::snapshot(&graph(2)),
            frontier: frontier(3),
        };
        let (_, inputs) = accept(Some(&held), &graph(2), &same).unwrap();
        assert_eq!(inputs, frontier(5));
        held.1 = inputs;
        let between = Revision {
            delta: Delta::between(&graph(2), &graph(1)),
            frontier: frontier(4),
        };
        assert_eq!(refusal(&held, &graph(2), &between), Refusal::Older);
    }

    #[test]
    fn a_snapshot_needs_no_base_and_a_delta_needs_its_own() {
        let held = (graph(2).digest(), frontier(5));
        let snapshot = Revision {
            delta: Delta::snapshot(&graph(3)),
            frontier: frontier(6),
        };
        assert_eq!(
            taken(&held, &graph(2), &snapshot).digest(),
            graph(3).digest()
        );
        let foreign = Revision {
            delta: Delta::between(&graph(1), &graph(3)),
            frontier: frontier(6),
        };
        assert_eq!(refusal(&held, &graph(2), &foreign), Refusal::Base);
    }

    #[test]
    fn what_was_damaged_on_the_way_makes_no_graph() {
        let held = (graph(2).digest(), frontier(5));
        let mut delta = Delta::snapshot(&graph(3));
        delta
            .peer_sets
            .values_mut()
            .for_each(|change| change.added.push(Address([9; 16])));
        let revision = Revision {
            delta,
            frontier: frontier(6),
        };
        assert_eq!(refusal(&held, &graph(2), &revision), Refusal::Damaged);
    }
}
