//! What the state folder holds, and how it follows what is in force.
//!
//! How far the node has come is noted before an ack, in a file that is overwritten in place. The graph may be large and a disk
//! slow: it is written by a thread of its own, one at a time, and neither a revision nor a deadline waits for it.

use std::thread::{Builder, JoinHandle};

use bulkhead_graph::Digest;
use bulkhead_wire::Frontier;
use tracing::error;

use super::Enforcer;
use crate::store::{Context, Mark, StoreError};

/// What the state folder holds, as far as it is of this run of the machine.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) graph: Option<Digest>,
    pub(super) mark: Option<(Digest, Frontier)>,
    writing: Option<Writing>,
}

/// A graph on its way.
#[derive(Debug)]
struct Writing {
    digest: Digest,
    thread: JoinHandle<Result<Digest, StoreError>>,
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

    /// Begins to write the graph in force, unless one is on its way: its end looks again.
    pub(super) fn save(&mut self) {
        let Some((digest, frontier)) = &self.frontier else {
            return;
        };
        let digest = *digest;
        let in_force = self.state.has_graph() && self.closed.is_none();
        if !in_force || self.state.graph().digest() != digest || self.disk.graph == Some(digest) {
            return;
        }
        if self.is_writing() {
            return;
        }
        let context = Context {
            boot_id: self.boot_id.clone(),
            frontier: frontier.to_bytes(),
        };
        let (store, graph) = (self.store.clone(), self.state.shared_graph());
        let thread = Builder::new()
            .name("disk".to_owned())
            .spawn(move || store.save(&graph, &context));
        match thread {
            Ok(thread) => {
                // From now on the file may be either.
                self.disk.graph = None;
                self.disk.writing = Some(Writing { digest, thread });
            }
            Err(error) => {
                error!(%error, "no thread to write the graph to disk; the next audit tries again")
            }
        }
        self.report_disk();
    }

    /// Whether a graph is on its way.
    pub(super) fn is_writing(&self) -> bool {
        self.disk.writing.is_some()
    }

    /// Takes note of a graph that has been written.
    pub(super) fn look_at_disk(&mut self) {
        let writing = self.disk.writing.as_ref();
        if writing.is_some_and(|writing| writing.thread.is_finished()) {
            self.wait_for_disk();
        }
    }

    /// The same, and waits for it: what is on its way, and what came into force meanwhile.
    pub(super) fn finish_disk(&mut self) {
        while self.is_writing() {
            self.wait_for_disk();
        }
    }

    fn wait_for_disk(&mut self) {
        let Some(writing) = self.disk.writing.take() else {
            return;
        };
        match writing.thread.join() {
            Ok(Ok(digest)) => self.disk.graph = Some(digest),
            Ok(Err(error)) => {
                error!(%error, revision = %writing.digest, "the graph is not on disk")
            }
            Err(_) => error!("what writes the graph to disk has panicked"),
        }
        // What failed is tried again by the next audit, what is newer at once.
        let held = self.frontier.as_ref().map(|(digest, _)| *digest);
        if held != Some(writing.digest) {
            self.save();
        }
        self.report_disk();
    }

    pub(super) fn report_disk(&self) {
        let held = self.frontier.as_ref().map(|(digest, _)| *digest);
        let mark = self.disk.mark.as_ref().map(|(digest, _)| *digest);
        self.outputs
            .metrics
            .store_ok(mark == held && (self.disk.graph == held || self.closed.is_some()));
    }
}
