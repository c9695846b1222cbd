//! What is known of the nodes, and what follows from it for each object: pure bookkeeping over reports.
//!
//! Nothing here is believed that an agent has not read back. A node is *behind* from the first batch whose outcome it has
//! not acknowledged; an object is realised on a node which is not behind the batch that last changed the object. A node that
//! enforces nothing, or something that nobody here has desired of it, is behind them all.

mod patch;
mod progress;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_graph::{Digest, Timestamp};
use bulkhead_policy::model::{Interned, ObjectRef};
use bulkhead_source::names::Counts;
use bulkhead_source::{Problem, Severity};
use bulkhead_wire::{Ack, Hello, Limits, Refused};

use progress::Progress;

pub use patch::{Ledger, Patch, Status as PatchStatus, Target};
pub use view::{NodeView, ObjectView, View, incompatible};

/// A policy or segment, and the nodes on which it has to be in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectState {
    /// Which.
    pub object: ObjectRef,
    /// The batch that last changed it.
    pub sequence: u64,
    /// When that was.
    pub changed_at: Timestamp,
    /// The version that was seen last, where its source counts them.
    pub generation: Option<i64>,
    /// Of the workloads that nodes say something about, those that are its subjects.
    pub affected: BTreeSet<String>,
    /// Where its subjects are.
    pub nodes: BTreeSet<Interned>,
}

/// Whether an agent is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Never seen since this controller started.
    Unseen,
    /// On the stream with this number.
    Connected(u64),
    /// Gone since then; it goes on enforcing what it had.
    Lost(Timestamp),
}

/// One node.
#[derive(Debug, Clone)]
pub struct NodeState {
    presence: Presence,
    /// Whether the intent knows it.
    is_declared: bool,
    version: String,
    abi: u32,
    format: u32,
    limits: Limits,
    progress: Progress,
    realised_at: Option<Timestamp>,
    ack: Option<Ack>,
    refused: Option<Refused>,
    /// When the node was last told that what it enforces is right, less the age of the inputs.
    heard_at: Option<Timestamp>,
}

impl Default for NodeState {
    fn default() -> Self {
        Self {
            presence: Presence::Unseen,
            is_declared: false,
            version: String::new(),
            abi: 0,
            format: 0,
            limits: Limits::default(),
            progress: Progress::default(),
            realised_at: None,
            ack: None,
            refused: None,
            heard_at: None,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Status {
    nodes: BTreeMap<String, NodeState>,
    problems: Vec<Problem>,
    names: Counts,
    changes: u64,
}

impl Status {
    /// Counts what was reported: while it stays, a view stays.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    fn node(&mut self, node: &str) -> &mut NodeState {
        self.changes += 1;
        self.nodes.entry(node.to_owned()).or_default()
    }

    /// The batch `sequence` makes the node ought to enforce `digest`.
    pub fn desired(&mut self, node: &str, digest: Digest, sequence: u64) {
        let state = self.node(node);
        state.is_declared = true;
        state.progress.desire(digest, sequence);
    }

    /// Workloads that some node does not guard, or has cut off.
    pub fn concerned(&self) -> BTreeSet<String> {
        let acks = self.nodes.values().filter_map(|state| state.ack.as_ref());
        acks.flat_map(findings)
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// These are all nodes there are. Of another one nothing is known any more, unless its agent is still there.
    pub fn forget_others(&mut self, nodes: &BTreeSet<Interned>) {
        let before = self.nodes.len();
        self.nodes.retain(|name, state| {
            state.is_declared = nodes.contains(name.as_str());
            state.is_declared || matches!(state.presence, Presence::Connected(_))
        });
        self.changes += u64::from(self.nodes.len() != before);
    }

    /// All that is wrong with the inputs.
    pub fn problems(&mut self, problems: Vec<Problem>) {
        self.changes += 1;
        self.problems = problems;
    }

    /// How much there is of names of the outside world.
    pub fn names(&mut self, names: Counts) {
        self.names = names;
    }

    /// See [`Self::names`].
    pub fn name_counts(&self) -> Counts {
        self.names
    }

    /// An agent has come; `connection` tells its streams apart.
    pub fn hello(&mut self, hello: &Hello, connection: u64, now: Timestamp) {
        let state = self.node(&hello.node);
        state.presence = Presence::Connected(connection);
        state.version.clone_from(&hello.version);
        state.abi = hello.abi;
        state.format = hello.format;
        state.limits = hello.limits;
        let realised = hello.realised.as_ref().map(|(digest, _)| *digest);
        state.realise(realised, now);
        if realised.is_none() {
            // Its tables are new, or nobody knows what they hold: what was told of the earlier ones says nothing any more.
            (state.ack, state.refused, state.heard_at) = (None, None, None);
        }
    }

    /// An agent has come that names graphs otherwise, and cannot stay. It comes again and again: `false` if that is known.
    pub fn sent_away(&mut self, hello: &Hello, now: Timestamp) -> bool {
        let state = self.nodes.entry(hello.node.clone()).or_default();
        let is_known = matches!(state.presence, Presence::Lost(_))
            && (state.format, &state.version) == (hello.format, &hello.version);
        if is_known {
            return false;
        }
        state.presence = Presence::Lost(now);
        state.version.clone_from(&hello.version);
        (state.abi, state.format, state.limits) = (hello.abi, hello.format, hello.limits);
        // What it has bears a name that nobody here knows.
        state.realise(None, now);
        (state.ack, state.refused, state.heard_at) = (None, None, None);
        self.changes += 1;
        true
    }

    /// The agent has read this back.
    pub fn acked(&mut self, node: &str, ack: Ack, now: Timestamp) {
        let state = self.node(node);
        state.realise(Some(ack.digest), now);
        state.refused = None;
        state.ack = Some(ack);
    }

    /// The agent did not take a revision.
    pub fn refused(&mut self, node: &str, refused: Refused) {
        self.node(node).refused = Some(refused);
    }

    /// The node was told that what it enforces is right for the inputs of that moment. No change: it comes with every question.
    pub fn heard(&mut self, node: &str, at: Timestamp) {
        if let Some(state) = self.nodes.get_mut(node) {
            state.heard_at = state.heard_at.max(Some(at));
        }
    }

    /// A stream has ended. An older stream than the present one says nothing about the agent.
    pub fn gone(&mut self, node: &str, connection: u64, now: Timestamp) {
        let state = self.node(node);
        if state.presence == Presence::Connected(connection) {
            state.presence = Presence::Lost(now);
            if !state.is_declared {
                self.nodes.remove(node);
            }
        }
    }

    /// Connected agents and all nodes.
    pub fn connected(&self) -> (usize, usize) {
        let here = |state: &&NodeState| matches!(state.presence, Presence::Connected(_));
        (self.nodes.values().filter(here).count(), self.nodes.len())
    }

    /// How much is wrong with the inputs, by kind of object and how bad it is.
    pub fn problem_counts(&self) -> BTreeMap<(String, Severity), usize> {
        let mut counts = BTreeMap::new();
        for problem in &self.problems {
            let object = problem.object.as_deref().unwrap_or_default();
            let kind = object.split(' ').next().unwrap_or_default();
            *counts
                .entry((kind.to_owned(), problem.severity))
                .or_insert(0) += 1;
        }
        counts
    }

    /// Nodes that do not enforce what they should.
    pub fn behind(&self) -> usize {
        self.nodes
            .values()
            .filter(|state| !state.progress.is_there())
            .count()
    }
}

/// Workloads that are not as their policies want them, by name, and why.
fn findings(ack: &Ack) -> impl Iterator<Item = (&str, String)> {
    let unprotected = ack.unprotected.iter().map(|workload| {
        let why = format!("not guarded: {}", workload.reason);
        (workload.name.as_str(), why)
    });
    let denied = ack.denied.iter().map(|workload| {
        let why = format!("cut off: {}", workload.reason);
        (workload.name.as_str(), why)
    });
    unprotected.chain(denied)
}

impl NodeState {
    fn realise(&mut self, digest: Option<Digest>, now: Timestamp) {
        if self.progress.realise(digest) {
            self.realised_at = digest.map(|_| now);
        }
    }
}

#[cfg(test)]
mod tests;
