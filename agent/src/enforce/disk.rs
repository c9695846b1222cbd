//! What the state folder holds, and how it follows what is in force.

use bulkhead_graph::Digest;
use bulkhead_wire::Frontier;
use tracing::error;

use super::Enforcer;
use crate::store::{Context, Mark};

/// What the state folder holds, as far as it is of this run of the machine.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) graph: Option<Digest>,
    pub(super) mark: Option<(Digest, Frontier)>,
}

impl Enforcer {
    /// Notes on disk how far the node has come.
    pub(super) fn mark(&mut self) {
        let Some((digest, frontier)) = self.frontier.clone() else {
            return;
        };
        let held = self.disk.mark.as_ref();
        if held.is_some_and(|(noted, inputs)| *noted == digest && *inputs == frontier) {
            return;
        }
        let mark = Mark {
            digest,
            frontier: frontier.to_bytes(),
        };
        match self.store.save_mark(&mark) {
            Ok(()) => self.disk.mark = Some((digest, frontier)),
            Err(error) => error!(%error, "how far this node has come is not on disk"),
        }
        self.report_disk();
    }

    pub(super) fn save(&mut self) {
        let Some((digest, frontier)) = &self.frontier else {
            return;
        };
        let in_force = self.state.has_graph() && self.closed.is_none();
        if !in_force || self.state.graph().digest() != *digest || self.disk.graph == Some(*digest) {
            return;
        }
        let context = Context {
            boot_id: self.boot_id.clone(),
            frontier: frontier.to_bytes(),
        };
        match self.store.save(self.state.graph(), &context) {
            Ok(digest) => self.disk.graph = Some(digest),
            Err(error) => error!(%error, "the graph is in force and not on disk"),
        }
        self.report_disk();
    }

    fn report_disk(&self) {
        let held = self.frontier.as_ref().map(|(digest, _)| *digest);
        let mark = self.disk.mark.as_ref().map(|(digest, _)| *digest);
        self.outputs
            .metrics
            .store_ok(mark == held && (self.disk.graph == held || self.closed.is_some()));
    }
}
