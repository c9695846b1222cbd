//! Whether a revision may follow what is held: never an older one, never a damaged one. Pure.

use std::sync::Arc;

use bulkhead_graph::{DeltaError, Digest, NodeGraph};
use bulkhead_wire::{Frontier, Refusal, Revision};

/// The graph that a revision makes of `graph`. `held` is the newest revision that this node ever had, with its inputs.
pub(super) fn accept(
    held: Option<&(Digest, Frontier)>,
    graph: &NodeGraph,
    revision: &Revision,
) -> Result<Arc<NodeGraph>, (Refusal, String)> {
    if let Some((digest, frontier)) = held
        && *digest != revision.delta.target
        && !revision.frontier.reaches(frontier)
    {
        let reason = format!(
            "it was compiled from inputs {}, this node has had {frontier} already; if the inputs were restored from a \
             backup, remove the agent's state folder",
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
    revision.delta.apply(base).map(Arc::new).map_err(|error| {
        let refusal = match error {
            DeltaError::WrongBase { .. } => Refusal::Base,
            DeltaError::WrongDigest { .. }
            | DeltaError::WrongRuleSet(_)
            | DeltaError::MissingRuleSet { .. }
            | DeltaError::MissingPeerSet { .. } => Refusal::Damaged,
        };
        (refusal, error.to_string())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use bulkhead_graph::{Address, Delta, PeerSetId};
    use std::collections::BTreeMap;

    fn graph(number: u8) -> NodeGraph {
        let members = [Address([number; 16])].into_iter().collect();
        NodeGraph::new(
            BTreeMap::new(),
            BTreeMap::new(),
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
        assert_eq!(
            accept(Some(&held), &graph(2), &same).unwrap().digest(),
            graph(2).digest()
        );
        let newer = Revision {
            frontier: frontier(6),
            ..older
        };
        assert_eq!(
            accept(Some(&held), &graph(2), &newer).unwrap().digest(),
            graph(1).digest()
        );
    }

    #[test]
    fn a_snapshot_needs_no_base_and_a_delta_needs_its_own() {
        let held = (graph(2).digest(), frontier(5));
        let snapshot = Revision {
            delta: Delta::snapshot(&graph(3)),
            frontier: frontier(6),
        };
        assert_eq!(
            accept(Some(&held), &graph(2), &snapshot).unwrap().digest(),
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
