//! What an agent takes up that starts where another ended.

use std::sync::Arc;
use std::time::Instant;

use bulkhead_graph::{Digest, NodeGraph};
use bulkhead_wire::Frontier;
use tracing::{error, info, warn};

use super::Enforcer;
use super::journal::{self, Boot, Folder, OnDisk, Start};
use crate::store::Stored;

impl Enforcer {
    /// Takes up where the last agent ended. Where the kernel holds the last graph on disk, nothing is written; where it holds
    /// something else, it stays so until the controller speaks.
    pub fn resume(&mut self) {
        if let Err(error) = self.store.prepare() {
            warn!(%error, "there may be no room later to note how far this node has come");
        }
        let (stored, mark, folder) = self.read_disk();
        let on_disk = stored.as_ref().map(|stored| self.on_disk(stored));
        if let Some(on_disk) = on_disk.as_ref().filter(|disk| disk.boot == Boot::This) {
            self.disk.graph = Some(on_disk.digest);
        }
        self.disk.mark.clone_from(&mark);
        let found = journal::Found {
            generation: self.state.generation(),
            journal: self.state.journal().clone(),
            others: self.state.others(),
            on_disk,
            mark,
            folder,
        };
        let (start, held) = journal::start(&found);
        self.frontier = held;
        let graph = stored.map(|stored| Arc::new(stored.graph));
        match (start, graph) {
            (Start::Resume, Some(graph)) => self.take_up(graph),
            (Start::Closed, Some(graph)) => {
                warn!(
                    "the machine was restarted, and who its workloads are now only the controller knows: until it speaks, \
                     those that the last graph lets recognise are closed"
                );
                self.closed = Some(graph);
                if let Err(error) = self.lead() {
                    error!(%error, "the workloads cannot be closed");
                }
            }
            (Start::Frozen, _) => warn!(
                "what is in force is not the graph on disk: it stays in force, and nothing changes until the controller speaks"
            ),
            (Start::Empty | Start::Resume | Start::Closed, _) => {
                info!("nothing is in force yet: this node waits for the controller");
            }
        }
        self.report_disk();
    }

    fn take_up(&mut self, graph: Arc<NodeGraph>) {
        let digest = graph.digest();
        let (_, inputs) = self.frontier.clone().unwrap_or_default();
        match self.enforce(graph, inputs, Instant::now()) {
            Ok(writes) => info!(revision = %digest, writes, "took up the last revision"),
            Err(error) => {
                error!(%error, revision = %digest, "the last revision cannot be enforced")
            }
        }
    }

    fn read_disk(&self) -> (Option<Stored>, Option<(Digest, Frontier)>, Folder) {
        let mut folder = Folder::Empty;
        let stored = self.store.load().unwrap_or_else(|error| {
            error!(%error, "the last graph is lost");
            folder = Folder::Used;
            None
        });
        let mark = self.store.load_mark().unwrap_or_else(|error| {
            error!(%error, "how far this node had come is lost");
            folder = Folder::Used;
            None
        });
        if stored.is_some() || mark.is_some() {
            folder = Folder::Used;
        }
        let mark = mark.map(|mark| (mark.digest, inputs(&mark.frontier)));
        (stored, mark, folder)
    }

    fn on_disk(&self, stored: &Stored) -> OnDisk {
        OnDisk {
            digest: stored.graph.digest(),
            frontier: inputs(&stored.context.frontier),
            boot: if stored.context.boot_id == self.boot_id {
                Boot::This
            } else {
                Boot::Earlier
            },
        }
    }
}

/// What cannot be read reaches nothing: whatever comes is newer.
fn inputs(bytes: &[u8]) -> Frontier {
    Frontier::from_bytes(bytes).unwrap_or_else(|error| {
        warn!(%error, "the inputs of the last graph are not known");
        Frontier::default()
    })
}
