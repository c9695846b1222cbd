//! What a successor finds noted in the kernel, beside the tables.

use bulkhead_graph::Digest;
use bulkhead_wire::Frontier;
use tracing::error;

use super::State;
use crate::enforce::journal::{Entry, Journal};

/// What a successor has to know of a revision.
#[derive(Debug, Clone)]
pub struct Note {
    /// Its name; `None` where everything is closed because nobody knows yet who the workloads are.
    pub digest: Option<Digest>,
    /// Its inputs.
    pub frontier: Frontier,
}

impl State {
    /// Notes in the kernel what is in force.
    pub(in crate::enforce) fn note(&mut self, note: &Note) {
        let current = Entry::new(self.generation(), note.digest, &note.frontier);
        self.write_journal(Journal {
            current: Some(current),
            next: None,
        });
    }

    pub(super) fn write_journal(&mut self, journal: Journal) {
        if journal == self.journal {
            return;
        }
        self.journal = journal;
        if let Err(error) = self.kernel.slate.write(&self.journal.to_bytes()) {
            // Whatever was there names another generation: the next agent will leave the kernel alone.
            error!(%error, "what is in force cannot be noted; a restarted agent would wait for the controller");
        }
    }
}
