//! The thread that owns the kernel's tables: it alone writes them, one revision after the other.
//!
//! Whatever arrives (a revision, news of interfaces, a deadline, the look for drift) ends in the same step: what the
//! tables should hold is computed from the graph in force and the interfaces found, and the kernel is led there. Only
//! what was read back is acknowledged (I11). What the kernel is about to enforce is noted in the kernel before, and how far
//! the node has come is on disk before the ack: a successor never leads it back ([`journal`]).

mod accept;
mod budgets;
mod disk;
mod error;
mod hooks;
mod journal;
mod lead;
mod observed;
mod pending;
mod resume;
mod revision;
mod rhythm;
mod state;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_graph::{Digest, NodeGraph};
use bulkhead_wire::{Ack, Answer, Frontier, Refused, Revision};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::clock;
use crate::events::Event;
use crate::interfaces::Links;
use crate::metrics::{Kernel as KernelFigures, Metrics};
use crate::store::Store;

use disk::Disk;
pub use error::EnforceError;
pub use rhythm::Rhythm;
use rhythm::offset_ms;
use state::Done;
pub use state::{Heard, Note, State};
pub use writer::read_tables;

/// How often events are taken out of the ring, and time is looked at.
const TICK: Duration = Duration::from_millis(25);

/// What the thread is told.
#[derive(Debug)]
pub enum Input {
    /// From the controller.
    Revision(Box<Revision>),
    /// The revision in force is right for newer inputs.
    Confirm {
        /// The revision.
        digest: Digest,
        /// The inputs.
        frontier: Frontier,
        /// To the newest question.
        answer: Option<Answer>,
    },
    /// The node's links as they are now.
    Links(Box<Links>),
    /// For metrics.
    Figures(oneshot::Sender<KernelFigures>),
    /// The agent ends; the kernel goes on.
    End,
}

/// What comes out.
#[derive(Debug)]
pub struct Outputs {
    /// What is in force and was read back.
    pub acks: watch::Sender<Option<Ack>>,
    /// Revisions that were not taken.
    pub refusals: mpsc::Sender<Refused>,
    /// What the programs report.
    pub events: broadcast::Sender<Arc<Event>>,
    /// Whether interfaces should be looked for again soon.
    pub waiting: watch::Sender<bool>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// See the module.
pub struct Enforcer {
    state: State,
    store: Store,
    boot_id: String,
    /// What the graph in force, or at least the newest ever held, was compiled from.
    frontier: Option<(Digest, Frontier)>,
    outputs: Outputs,
    rhythm: Rhythm,
    swept: Instant,
    audited: Instant,
    /// How the wall clock lay to the monotonic one, milliseconds.
    clock_offset_ms: i64,
    /// The last graph before the machine was restarted: until the controller speaks, its workloads are closed.
    closed: Option<Arc<NodeGraph>>,
    disk: Disk,
}

impl Enforcer {
    /// An agent before its first revision; [`Enforcer::resume`] takes up the last one.
    pub fn new(state: State, store: Store, outputs: Outputs, rhythm: Rhythm) -> Self {
        let now = Instant::now();
        Self {
            state,
            store,
            boot_id: clock::boot_id(),
            frontier: None,
            outputs,
            rhythm,
            swept: now,
            audited: now,
            clock_offset_ms: offset_ms(clock::now()),
            closed: None,
            disk: Disk::default(),
        }
    }

    /// Works until it is told to end, or nobody can tell it anything. It sleeps on `runtime`, and must not be one of its
    /// threads.
    pub fn run(mut self, runtime: &Handle, inputs: &mut mpsc::Receiver<Input>) {
        loop {
            match runtime.block_on(async { tokio::time::timeout(TICK, inputs.recv()).await }) {
                Ok(Some(Input::End) | None) => return self.finish_disk(),
                Ok(Some(input)) => self.take(input),
                Err(_) => {}
            }
            self.drain_events();
            self.state.drain_diagnostics();
            self.look_at_disk();
            self.by_the_clock();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Revision(revision) => self.revision(&revision),
            Input::Confirm {
                digest,
                frontier,
                answer,
            } => {
                if self.confirm(digest, frontier)
                    && let Some(answer) = answer
                {
                    self.heard(answer);
                }
            }
            Input::Links(links) => {
                let changed = self.state.set_links(*links);
                if changed || self.state.is_unattached() {
                    self.again("interfaces changed");
                }
            }
            Input::Figures(answer) => {
                // Whoever asked may have gone: then nobody needs the answer.
                drop(answer.send(self.state.figures()));
            }
            Input::End => {}
        }
    }
}
