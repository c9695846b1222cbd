//! The step in which everything ends: the kernel is led to what it should hold, and what was read back is acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_graph::NodeGraph;
use bulkhead_wire::{Ack, Frontier};
use tracing::{debug, error, info};

use super::{Done, EnforceError, Enforcer, Note, pending};
use crate::clock;

impl Enforcer {
    /// Leads the kernel to a graph and says so. Returns the number of writes.
    pub(super) fn enforce(
        &mut self,
        graph: Arc<NodeGraph>,
        inputs: Frontier,
        arrived: Instant,
    ) -> Result<usize, EnforceError> {
        let digest = graph.digest();
        let note = Note {
            digest: Some(digest),
            frontier: inputs.clone(),
        };
        let outcome = self.state.commit(graph, &note, clock::now());
        if self.state.has_graph() && self.state.graph().digest() == digest {
            // Also if only the read-back failed: the node does not go back behind what packets were judged by.
            self.frontier = Some((digest, inputs.clone()));
            self.closed = None;
        }
        let committed = outcome?;
        self.mark();
        let flipped = Instant::now();
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let report = self.state.report();
        let ack = Ack {
            digest,
            frontier: inputs,
            used: report.used,
            applied_us: micros(committed.flipped_at.saturating_duration_since(arrived)),
            confirmed_us: micros(flipped.saturating_duration_since(committed.flipped_at)),
            writes: committed.writes as u64,
            denied: report.denied,
            unprotected: report.unprotected,
            protected: report.protected,
        };
        self.outputs.metrics.enforced(&ack);
        self.outputs.acks.send_if_modified(|held| {
            let same = held.as_ref().is_some_and(|held| {
                let times = Ack {
                    applied_us: held.applied_us,
                    confirmed_us: held.confirmed_us,
                    ..ack.clone()
                };
                *held
                    == Ack {
                        writes: held.writes,
                        ..times
                    }
            });
            if !same {
                *held = Some(ack);
            }
            !same
        });
        let writes = self.settle(committed);
        self.outputs.waiting.send_replace(self.state.is_waiting());
        self.save();
        Ok(writes)
    }

    /// Tidies up. The revision is in force whatever comes of it, and the next step finishes what is left undone.
    fn settle(&mut self, done: Done) -> usize {
        let writes = done.writes;
        self.state.settle(done).unwrap_or_else(|error| {
            error!(%error, "in force, but the tables could not be tidied up; the next change or audit does it");
            writes
        })
    }

    /// Denies everything to what may be workloads. Nobody is told: it is no revision.
    fn close(&mut self, last: &NodeGraph) -> Result<usize, EnforceError> {
        let graph = Arc::new(pending::closed(last, self.state.links()));
        let (_, frontier) = self.frontier.clone().unwrap_or_default();
        let note = Note {
            digest: None,
            frontier,
        };
        let done = self.state.commit(graph, &note, clock::now())?;
        // Far ends get their addresses without the host hearing of it.
        self.outputs.waiting.send_replace(true);
        Ok(self.settle(done))
    }

    /// Leads the kernel once more to what it should hold.
    pub(super) fn lead(&mut self) -> Result<usize, EnforceError> {
        match self.closed.clone() {
            Some(last) => self.close(&last),
            None => {
                let (_, inputs) = self.frontier.clone().unwrap_or_default();
                self.enforce(self.state.shared_graph(), inputs, Instant::now())
            }
        }
    }

    /// The same graph under new circumstances.
    pub(super) fn again(&mut self, why: &'static str) {
        if !self.state.has_graph() {
            return;
        }
        match self.lead() {
            Ok(0) => debug!(why, "nothing to change"),
            Ok(writes) => info!(why, writes, "tables changed"),
            Err(error) => error!(%error, why, "cannot enforce; what is in force stays in force"),
        }
    }
}
