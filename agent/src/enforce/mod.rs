//! The thread that owns the kernel's tables: it alone writes them, one revision after the other.
//!
//! Whatever arrives (a revision, news of interfaces, a deadline, the look for drift) ends in the same step: what the
//! tables should hold is computed from the graph in force and the interfaces found, and the kernel is led there. Only
//! what was read back is acknowledged (I11). What the kernel is about to enforce is noted in the kernel before, and how far
//! the node has come is on disk before the ack: a successor never leads it back ([`journal`]).

mod accept;
mod budgets;
mod hooks;
mod journal;
mod pending;
mod state;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_encode::Clock;
use bulkhead_graph::{Digest, NodeGraph};
use bulkhead_wire::{Ack, Answer, Frontier, Refusal, Refused, Revision};
use tokio::runtime::Handle;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::{debug, error, info, info_span, warn};

use accept::accept;

use crate::clock;
use crate::events::{Event, Namer};
use crate::interfaces::Links;
use crate::kernel::{KernelError, Timeouts};
use crate::metrics::{Kernel as KernelFigures, Metrics};
use crate::store::{Context, Mark, Store, Stored};
use journal::{Boot, Folder, OnDisk, Start};

use state::Done;
pub use state::{EnforceError, Heard, Note, State};
pub use writer::read_tables;

/// How often events are taken out of the ring, and time is looked at.
const TICK: Duration = Duration::from_millis(25);

/// The wall clock may be slewed by this much before deadlines are computed again.
const CLOCK_STEP_MS: u64 = 500;

/// Events taken at once.
const EVENTS_AT_ONCE: usize = 4096;

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

/// How often what is done by the clock is done.
#[derive(Debug, Clone, Copy)]
pub struct Rhythm {
    /// Between two sweeps of flows.
    pub sweep: Duration,
    /// Between two looks for drift.
    pub audit: Duration,
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

/// What the state folder holds, as far as it is of this run of the machine.
#[derive(Debug, Default)]
struct Disk {
    graph: Option<Digest>,
    mark: Option<(Digest, Frontier)>,
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

    /// Works until it is told to end, or nobody can tell it anything. It sleeps on `runtime`, and must not be one of its
    /// threads.
    pub fn run(mut self, runtime: &Handle, inputs: &mut mpsc::Receiver<Input>) {
        loop {
            match runtime.block_on(async { tokio::time::timeout(TICK, inputs.recv()).await }) {
                Ok(Some(Input::End) | None) => return,
                Ok(Some(input)) => self.take(input),
                Err(_) => {}
            }
            self.drain_events();
            self.state.drain_diagnostics();
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

    fn revision(&mut self, revision: &Revision) {
        let arrived = Instant::now();
        let target = revision.delta.target;
        let _span = info_span!("revision", revision = %target).entered();
        let accepted = accept(self.frontier.as_ref(), self.state.graph(), revision);
        let before = self.state.generation();
        let outcome = accepted.and_then(|(graph, inputs)| {
            let enforced = self.enforce(graph, inputs, arrived);
            enforced.map_err(|error| (Refusal::Kernel, error.to_string()))
        });
        match outcome {
            Ok(writes) => {
                let micros = u64::try_from(arrived.elapsed().as_micros()).unwrap_or(u64::MAX);
                info!(writes, micros, "in force");
            }
            Err((refusal, reason)) => {
                let refusal_name = refusal.name();
                if self.state.generation() == before {
                    warn!(
                        refusal = refusal_name,
                        reason, "refused; what was in force still is"
                    );
                } else {
                    error!(
                        reason,
                        "in force, but not as it should be; it is not acknowledged"
                    );
                }
                self.outputs.metrics.refused(refusal);
                let refused = Refused {
                    digest: target,
                    refusal,
                    reason,
                };
                if self.outputs.refusals.try_send(refused).is_err() {
                    debug!("nobody to tell the refusal to");
                }
            }
        }
    }

    /// Says whether this is what is in force here, of inputs that are no older.
    fn confirm(&mut self, digest: Digest, frontier: Frontier) -> bool {
        let known = self.frontier.as_ref();
        if !known.is_some_and(|(held, before)| *held == digest && frontier.reaches(before)) {
            return false;
        }
        let mut is_acked = false;
        self.outputs.acks.send_if_modified(|ack| match ack {
            Some(ack) if ack.digest == digest => {
                is_acked = true;
                let moved = ack.frontier != frontier;
                ack.frontier = frontier.clone();
                moved
            }
            Some(_) | None => false,
        });
        if is_acked {
            // On disk it is noted in the rhythm of the audits: a disk is not to be written for every bookmark.
            self.state.note(&Note {
                digest: Some(digest),
                frontier: frontier.clone(),
            });
            self.frontier = Some((digest, frontier));
        }
        is_acked
    }

    /// Leases count from when it was asked, less the age of what was answered: whatever held the answer up makes it no newer.
    fn heard(&mut self, answer: Answer) {
        let clock = clock::now();
        if answer.at > clock.monotonic_ns {
            warn!("an answer to a question that was never asked; it counts for nothing");
            return;
        }
        let age_ns = answer.age_ms.saturating_mul(1_000_000);
        let heard_ns = answer.at.saturating_sub(age_ns);
        match self.state.heard(heard_ns, clock) {
            Ok(Heard::Renewed | Heard::Known) => {}
            Ok(Heard::ToCommit) => self.again("leases get new numbers"),
            Err(error) => error!(%error, "leases cannot be renewed; what they allow ends"),
        }
    }

    /// Leads the kernel to a graph and says so. Returns the number of writes.
    fn enforce(
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
    fn lead(&mut self) -> Result<usize, EnforceError> {
        match self.closed.clone() {
            Some(last) => self.close(&last),
            None => {
                let (_, inputs) = self.frontier.clone().unwrap_or_default();
                self.enforce(self.state.shared_graph(), inputs, Instant::now())
            }
        }
    }

    /// The same graph under new circumstances.
    fn again(&mut self, why: &'static str) {
        if !self.state.has_graph() {
            return;
        }
        match self.lead() {
            Ok(0) => debug!(why, "nothing to change"),
            Ok(writes) => info!(why, writes, "tables changed"),
            Err(error) => error!(%error, why, "cannot enforce; what is in force stays in force"),
        }
    }

    /// Notes on disk how far the node has come.
    fn mark(&mut self) {
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

    fn save(&mut self) {
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

    fn drain_events(&mut self) {
        loop {
            let records = self.state.drain_events(EVENTS_AT_ONCE);
            let more = records.len() == EVENTS_AT_ONCE;
            if self.outputs.events.receiver_count() > 0 && !records.is_empty() {
                let namer = Namer::new(self.state.graph(), clock::now());
                for record in &records {
                    let event = namer.name(record, self.state.owner(record.slot));
                    // Nobody may be left by now.
                    drop(self.outputs.events.send(Arc::new(event)));
                }
            }
            self.outputs.metrics.events(&records);
            if !more {
                return;
            }
        }
    }

    fn by_the_clock(&mut self) {
        let offset_ms = offset_ms(clock::now());
        if offset_ms.abs_diff(self.clock_offset_ms) > CLOCK_STEP_MS {
            self.clock_offset_ms = offset_ms;
            warn!("the wall clock was set; deadlines are computed again");
            if let Err(error) = self.state.reread() {
                error!(%error, "the kernel's tables cannot be read");
            }
            self.again("the clock was set");
        }
        if self.state.deadline_passed(clock::now().wall) {
            self.again("a deadline passed");
        }
        if self.swept.elapsed() >= self.rhythm.sweep {
            self.swept = Instant::now();
            match self
                .state
                .sweep(&Timeouts::default(), clock::tick(clock::monotonic_ns()))
            {
                Ok(swept) => self.outputs.metrics.swept(&swept),
                Err(error) => warn!(%error, "flows that are over could not be taken out"),
            }
            match self.state.read_talks() {
                Ok(reading) => self.outputs.metrics.talked(&reading),
                Err(error) => warn!(%error, "what was denied could not be read"),
            }
        }
        if self.audited.elapsed() >= self.rhythm.audit {
            self.audited = Instant::now();
            self.audit();
        }
    }

    /// Reads the kernel back and repairs what is not as it should be.
    fn audit(&mut self) {
        self.mark();
        self.save();
        self.audit_hooks();
        if !self.state.has_graph() {
            return;
        }
        let repaired: Result<usize, EnforceError> = self
            .state
            .reread()
            .map_err(EnforceError::from)
            .and_then(|()| self.lead());
        match repaired {
            Ok(0) => debug!("the kernel holds what it should"),
            Ok(writes) => {
                self.outputs.metrics.repaired(writes);
                warn!(
                    writes,
                    "somebody else changed the kernel's tables; they are repaired"
                );
            }
            Err(error) => error!(%error, "the kernel's tables cannot be compared or repaired"),
        }
    }

    fn audit_hooks(&mut self) {
        match self.state.check_hooks() {
            Ok(0) => {}
            Ok(hooks) => {
                self.outputs.metrics.repaired(hooks);
                warn!(hooks, "hooks were missing; they are put back");
            }
            Err(error) => error!(%error, "hooks cannot be checked"),
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

fn offset_ms(clock: Clock) -> i64 {
    clock.wall.0 - i64::try_from(clock.monotonic_ns / 1_000_000).unwrap_or(0)
}

impl From<KernelError> for EnforceError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}
