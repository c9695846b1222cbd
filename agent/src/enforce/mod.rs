//! The thread that owns the kernel's tables: it alone writes them, one revision after the other.
//!
//! Whatever arrives (a revision, news of interfaces, a deadline, the look for drift) ends in the same step: what the
//! tables should hold is computed from the graph in force and the interfaces found, and the kernel is led there. Only
//! what was read back is acknowledged (I11).

mod accept;
mod hooks;
mod state;
mod writer;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bulkhead_encode::Clock;
use bulkhead_graph::{Digest, NodeGraph};
use bulkhead_wire::{Ack, Frontier, Refusal, Refused, Revision};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tracing::{debug, error, info, info_span, warn};

use accept::accept;

use crate::clock;
use crate::events::{Event, Namer};
use crate::interfaces::Links;
use crate::kernel::{KernelError, Timeouts};
use crate::metrics::{Kernel as KernelFigures, Metrics};
use crate::store::{Context, Store};

pub use state::{EnforceError, State};

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
    /// The graph in force is not on disk.
    unsaved: bool,
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
            unsaved: false,
        }
    }

    /// Takes up the last graph, if it is there and the machine has not been restarted since. Finds the kernel as it was left and
    /// then writes nothing.
    pub fn resume(&mut self) {
        let stored = match self.store.load() {
            Ok(Some(stored)) => stored,
            Ok(None) => return,
            Err(error) => {
                error!(%error, "the last graph is lost; this node waits for the controller");
                return;
            }
        };
        let digest = stored.graph.digest();
        match Frontier::from_bytes(&stored.context.frontier) {
            Ok(frontier) => self.frontier = Some((digest, frontier)),
            Err(error) => warn!(%error, "the last graph's inputs are not known"),
        }
        if stored.context.boot_id != self.boot_id {
            info!("the machine was restarted: local identities wait for the controller");
            return;
        }
        match self.enforce(Arc::new(stored.graph), Instant::now()) {
            Ok(writes) => info!(revision = %digest, writes, "took up the last revision"),
            Err(error) => {
                error!(%error, revision = %digest, "the last revision cannot be enforced")
            }
        }
    }

    /// Works until it is told to end, or nobody can tell it anything.
    pub fn run(mut self, inputs: &Receiver<Input>) {
        loop {
            match inputs.recv_timeout(TICK) {
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(input) => self.take(input),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.drain_events();
            self.state.drain_diagnostics();
            self.by_the_clock();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Revision(revision) => self.revision(&revision),
            Input::Confirm { digest, frontier } => self.confirm(digest, frontier),
            Input::Links(links) => {
                if self.state.set_links(*links) {
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
        let outcome = accepted.and_then(|graph| {
            let before = self.frontier.replace((target, revision.frontier.clone()));
            self.enforce(graph, arrived).map_err(|error| {
                self.frontier = before;
                (Refusal::Kernel, error.to_string())
            })
        });
        match outcome {
            Ok(writes) => {
                let micros = u64::try_from(arrived.elapsed().as_micros()).unwrap_or(u64::MAX);
                info!(writes, micros, "in force");
            }
            Err((refusal, reason)) => {
                warn!(
                    refusal = refusal.name(),
                    reason, "refused; what was in force still is"
                );
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

    fn confirm(&mut self, digest: Digest, frontier: Frontier) {
        let known = self.frontier.as_ref();
        if known.is_some_and(|(held, before)| *held == digest && frontier.reaches(before)) {
            self.frontier = Some((digest, frontier.clone()));
            self.outputs.acks.send_if_modified(|ack| match ack {
                Some(ack) if ack.digest == digest => {
                    ack.frontier = frontier;
                    true
                }
                Some(_) | None => false,
            });
            self.unsaved = true;
        }
    }

    /// Leads the kernel to a graph and says so. Returns the number of writes.
    fn enforce(&mut self, graph: Arc<NodeGraph>, arrived: Instant) -> Result<usize, EnforceError> {
        let digest = graph.digest();
        let committed = self.state.commit(graph, clock::now())?;
        let flipped = Instant::now();
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let (_, frontier) = self.frontier.clone().unwrap_or_default();
        let report = self.state.report();
        let ack = Ack {
            digest,
            frontier,
            used: report.used,
            applied_us: micros(committed.flipped_at.saturating_duration_since(arrived)),
            confirmed_us: micros(flipped.saturating_duration_since(committed.flipped_at)),
            writes: committed.writes as u64,
            denied: report.denied,
            unprotected: report.unprotected,
            protected: report.protected,
        };
        self.outputs.metrics.enforced(&ack);
        let changed = self.outputs.acks.send_if_modified(|held| {
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
        self.unsaved |= changed;
        let writes = self.state.settle(committed)?;
        self.outputs.waiting.send_replace(self.state.is_waiting());
        self.save();
        Ok(writes)
    }

    /// The same graph under new circumstances.
    fn again(&mut self, why: &'static str) {
        if !self.state.has_graph() {
            return;
        }
        match self.enforce(self.state.shared_graph(), Instant::now()) {
            Ok(0) => debug!(why, "nothing to change"),
            Ok(writes) => info!(why, writes, "tables changed"),
            Err(error) => error!(%error, why, "cannot enforce; what is in force stays in force"),
        }
    }

    fn save(&mut self) {
        let Some((digest, frontier)) = &self.frontier else {
            return;
        };
        if !self.unsaved || self.state.graph().digest() != *digest {
            return;
        }
        let context = Context {
            boot_id: self.boot_id.clone(),
            frontier: frontier.to_bytes(),
        };
        match self.store.save(self.state.graph(), &context) {
            Ok(_) => {
                self.unsaved = false;
                self.outputs.metrics.store_ok(true);
            }
            Err(error) => {
                self.outputs.metrics.store_ok(false);
                error!(%error, "the graph is in force and not on disk");
            }
        }
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
                Ok((live, over)) => self.outputs.metrics.swept(live, over),
                Err(error) => warn!(%error, "flows that are over could not be taken out"),
            }
        }
        if self.audited.elapsed() >= self.rhythm.audit {
            self.audited = Instant::now();
            self.audit();
        }
    }

    /// Reads the kernel back and repairs what is not as it should be.
    fn audit(&mut self) {
        if self.unsaved {
            self.save();
        }
        if !self.state.has_graph() {
            return;
        }
        let repaired: Result<usize, EnforceError> = self
            .state
            .reread()
            .map_err(EnforceError::from)
            .and_then(|()| self.enforce(self.state.shared_graph(), Instant::now()));
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

fn offset_ms(clock: Clock) -> i64 {
    clock.wall.0 - i64::try_from(clock.monotonic_ns / 1_000_000).unwrap_or(0)
}

impl From<KernelError> for EnforceError {
    fn from(error: KernelError) -> Self {
        Self::Kernel(error)
    }
}
