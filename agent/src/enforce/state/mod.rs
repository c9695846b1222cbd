//! What is in force, and the steps that change it. Time comes in as an argument.

mod commit;
mod figures;
mod heard;
mod note;
mod report;
mod surroundings;
mod sweep;
mod talks;

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_datapath::abi::{EventRecord, Generation, WorkloadSlot};
use bulkhead_encode::{Fitted, Limits};
use bulkhead_graph::{LocalWorkload, NodeGraph, Timestamp, WorkloadUid};
use tracing::{debug, warn};

use super::hooks::Hooks;
use super::journal::{Journal, Others};
use crate::interfaces::{Found, Links};
use crate::kernel::{Kernel, KernelError};
use crate::lanes::{Kernel as _, Planner};
use crate::talks::Talks;

pub(super) use commit::Done;
pub(super) use heard::HEARD;
pub use heard::Heard;
pub use note::Note;
use surroundings::write_surroundings;

/// See the module.
pub struct State {
    kernel: Kernel,
    planner: Planner,
    limits: Limits,
    /// `None` before the first graph.
    fitted: Option<Fitted>,
    /// The graph in force.
    graph: Arc<NodeGraph>,
    links: Links,
    found: Found,
    /// What kept hooks off interfaces that were found.
    unattached: BTreeMap<WorkloadUid, String>,
    hooks: Hooks,
    /// Whether some revision was in force, by this agent or one before it.
    has_been_enforced: bool,
    /// Programs of other ABI versions on interfaces.
    others: Others,
    journal: Journal,
    talks: Talks,
    /// When what is enforced was last known to be right, by the programs' clock. It lies in the kernel, so that a restart makes
    /// it no newer; a kernel that was booted has heard nothing.
    heard_ns: u64,
}

impl State {
    /// Takes over a kernel as it is, with the node's links. Hooks that hold older programs get those of this binary, in place.
    ///
    /// # Errors
    /// If the tables cannot be read.
    pub fn open(mut kernel: Kernel, links: Links) -> Result<Self, KernelError> {
        let limits = Limits::of(&kernel.maps.capacity);
        write_surroundings(&mut kernel, None, &links)?;
        let planner = Planner::new(kernel.read()?);
        let mut hooks = Hooks::default();
        hooks.forget(&mut kernel, &links);
        let updated = kernel.update_links()?;
        debug!(updated, "the hooks hold this binary's programs");
        hooks.adopt(&kernel, &links)?;
        let others = if kernel.other_links()?.is_empty() {
            Others::None
        } else {
            Others::Guard
        };
        let journal = Journal::from_bytes(&kernel.slate.read()?);
        let has_been_enforced = !hooks.guarded().is_empty();
        let heard_ns = kernel.maps.expiries.read(HEARD).unwrap_or(0);
        Ok(Self {
            kernel,
            planner,
            limits,
            fitted: None,
            graph: Arc::default(),
            links,
            found: Found::default(),
            unattached: BTreeMap::new(),
            hooks,
            has_been_enforced,
            others,
            journal,
            talks: Talks::default(),
            heard_ns,
        })
    }

    /// The number of what is in force.
    pub fn generation(&self) -> Generation {
        self.planner.generation()
    }

    /// What the last agent noted, or this one has.
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Whether programs of other ABI versions stand on interfaces.
    pub(super) fn others(&self) -> Others {
        self.others
    }

    /// The node's links, as they were given last.
    pub(super) fn links(&self) -> &Links {
        &self.links
    }

    /// The graph in force; the empty one before the first.
    pub fn graph(&self) -> &NodeGraph {
        &self.graph
    }

    /// The same, to be kept.
    pub fn shared_graph(&self) -> Arc<NodeGraph> {
        self.graph.clone()
    }

    /// Whether there has been one.
    pub fn has_graph(&self) -> bool {
        self.fitted.is_some()
    }

    /// The links as they are now. Says whether something depends on the change.
    pub fn set_links(&mut self, links: Links) -> bool {
        if links == self.links {
            return false;
        }
        let nodes = self.has_graph().then_some(&*self.graph.node_addresses);
        if let Err(error) = write_surroundings(&mut self.kernel, nodes, &links) {
            warn!(%error, "the node's own addresses could not be written");
        }
        self.hooks.forget(&mut self.kernel, &links);
        self.links = links;
        true
    }

    /// Whether looking for interfaces again soon may find more.
    pub fn is_waiting(&self) -> bool {
        self.found.is_waiting() || self.is_unattached()
    }

    /// Whether an interface that was found could not be guarded.
    pub fn is_unattached(&self) -> bool {
        !self.unattached.is_empty()
    }

    /// Whether a deadline has passed since the tables were computed.
    pub fn deadline_passed(&self, now: Timestamp) -> bool {
        let next = self
            .fitted
            .as_ref()
            .and_then(|fitted| fitted.desired.next_date());
        next.is_some_and(|deadline| deadline <= now)
    }

    /// Starts from what the kernel really holds: the next commit repairs what drifted.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn reread(&mut self) -> Result<(), KernelError> {
        let tables = self.kernel.read()?;
        self.planner.reread(tables);
        Ok(())
    }

    /// Puts hooks back that somebody took off. Returns how many interfaces lacked them.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn check_hooks(&mut self) -> Result<usize, KernelError> {
        self.hooks.check(&mut self.kernel)
    }

    /// Logs what the programs say of themselves.
    pub fn drain_diagnostics(&mut self) {
        self.kernel.diagnostics.drain();
    }

    /// What the programs reported.
    pub fn drain_events(&mut self, limit: usize) -> Vec<EventRecord> {
        self.kernel.events.drain(limit)
    }

    /// Who owns a slot.
    pub fn owner(&self, slot: WorkloadSlot) -> Option<&LocalWorkload> {
        self.graph
            .workloads
            .get(self.planner.owner(slot)?)
            .map(|workload| &**workload)
    }
}
