//! The status as people and programs read it.

use std::collections::BTreeMap;

use bulkhead_graph::{FORMAT, Timestamp};
use bulkhead_source::{Problem, Severity};
use bulkhead_wire::{Frontier, Limits};
use serde::Serialize;

use super::{NodeState, ObjectState, Presence, Status, findings};

/// Lines about nodes in the messages of an object.
const LISTED: usize = 10;

/// Everything at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct View {
    /// Whether the sources were read; before that nothing is sent to any node.
    pub ready: bool,
    /// The state of the inputs.
    pub versions: BTreeMap<String, u64>,
    /// The last time boundary, milliseconds since the epoch.
    pub instant_ms: i64,
    /// By name.
    pub nodes: Vec<NodeView>,
    /// By kind and name.
    pub objects: Vec<ObjectView>,
    /// What is wrong with the inputs.
    pub problems: Vec<Problem>,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// `healthy`, `behind`, `degraded`, `refusing`, `lost`, `unseen` or `incompatible`.
    pub health: &'static str,
    /// The same in a sentence.
    pub message: String,
    /// Whether its agent is connected.
    pub connected: bool,
    /// The agent's version.
    pub agent: String,
    /// Layout of its kernel tables.
    pub abi: u32,
    /// The revision it should enforce.
    pub desired: Option<String>,
    /// The revision it enforces, read back from its kernel.
    pub realised: Option<String>,
    /// Since when, milliseconds since the epoch.
    pub realised_at_ms: Option<i64>,
    /// When it last heard that this is right for all inputs, milliseconds since the epoch. From then on the `maxStaleness` of
    /// policies counts.
    pub heard_at_ms: Option<i64>,
    /// Workloads behind both hooks.
    pub protected: u32,
    /// Workloads that no hook guards, with reasons.
    pub unprotected: Vec<WorkloadView>,
    /// Workloads that were cut off because their rules do not fit, with reasons.
    pub denied: Vec<WorkloadView>,
    /// Use of the kernel's tables against their size.
    pub capacity: BTreeMap<&'static str, Use>,
    /// How long the last revision took, microseconds to the flip and from there to the read-back.
    pub applied_us: Option<u64>,
    /// See `applied_us`.
    pub confirmed_us: Option<u64>,
    /// Words written for the last revision.
    pub writes: Option<u64>,
}

/// A workload with something to say about it.
#[derive(Debug, Clone, Serialize)]
pub struct WorkloadView {
    /// `namespace/name`.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// How full a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Use {
    /// Entries of the revision in force.
    pub used: u32,
    /// Entries there may be.
    pub limit: u32,
}

/// One policy or segment.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectView {
    /// Its kind.
    pub kind: &'static str,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether its present version was understood. If not, the last good one is in force, or it denies.
    pub accepted: bool,
    /// Whether it is in force on every node that it belongs on, for every subject.
    pub enforced: bool,
    /// The version that this is about, where its source counts them.
    pub generation: Option<i64>,
    /// When that version came, milliseconds since the epoch.
    pub changed_at_ms: i64,
    /// Nodes with its subjects.
    pub desired_nodes: usize,
    /// Those of them that have read it back.
    pub realised_nodes: usize,
    /// What a person has to know: nodes that lag, workloads that do not fit or are not guarded.
    pub messages: Vec<String>,
}

impl Status {
    /// Everything at one moment.
    pub fn view(&self, frontier: Option<Frontier>, objects: &[ObjectState]) -> View {
        let ready = frontier.is_some();
        let frontier = frontier.unwrap_or_default();
        View {
            ready,
            versions: frontier.versions,
            instant_ms: frontier.instant.0,
            nodes: self
                .nodes
                .iter()
                .map(|(name, state)| state.view(name))
                .collect(),
            objects: objects
                .iter()
                .map(|object| self.object_view(object))
                .collect(),
            problems: self.problems.clone(),
        }
    }

    fn object_view(&self, state: &ObjectState) -> ObjectView {
        let mut realised = 0;
        let reference = state.object.to_string();
        let about = |problem: &&Problem| problem.object.as_deref() == Some(&*reference);
        let problems: Vec<&Problem> = self.problems.iter().filter(about).collect();
        let mut messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let mut of_nodes = Vec::new();
        let mut is_guarded = true;
        for name in &state.nodes {
            let Some(node) = self.nodes.get(&**name) else {
                of_nodes.push(format!("node {name}: no agent has connected"));
                continue;
            };
            let is_realised = node.progress.has_realised(state.sequence);
            realised += usize::from(is_realised);
            let is_late = !node.progress.is_there() || matches!(node.presence, Presence::Lost(_));
            if !is_realised || is_late {
                of_nodes.push(format!("node {name}: {}", node.message()));
            }
            let affected = node.ack.iter().flat_map(findings);
            for (workload, why) in affected.filter(|(name, _)| state.affected.contains(*name)) {
                of_nodes.push(format!("node {name}: {workload} is {why}"));
            }
            is_guarded &= !node.ack.iter().any(|ack| {
                ack.unprotected
                    .iter()
                    .any(|workload| state.affected.contains(&workload.name))
            });
        }
        messages.extend(first(of_nodes));
        ObjectView {
            kind: state.object.kind.name(),
            namespace: state.object.namespace.to_string(),
            name: state.object.name.to_string(),
            accepted: problems
                .iter()
                .all(|problem| problem.severity != Severity::Error),
            enforced: is_guarded && realised == state.nodes.len(),
            generation: state.generation,
            changed_at_ms: state.changed_at.0,
            desired_nodes: state.nodes.len(),
            realised_nodes: realised,
            messages,
        }
    }
}

/// As many as a person reads, and how many there are beside them.
fn first(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(LISTED);
    lines.truncate(LISTED);
    if more > 0 {
        lines.push(format!("and {more} more; `/status` has all nodes"));
    }
    lines
}

/// What is to be said of an agent that names graphs otherwise than this controller.
pub fn incompatible(version: &str, format: u32) -> String {
    format!(
        "the agent ({version}) names revisions by format {format}, this controller ({}) by format {FORMAT}; the node keeps what \
         it enforces and takes nothing new until both are of one version",
        env!("CARGO_PKG_VERSION")
    )
}

impl NodeState {
    fn health(&self) -> &'static str {
        match self.presence {
            Presence::Unseen => "unseen",
            Presence::Lost(_) if self.format != FORMAT => "incompatible",
            Presence::Lost(_) => "lost",
            Presence::Connected(_) if self.refused.is_some() => "refusing",
            Presence::Connected(_)
                if self.progress.desired().is_some() && !self.progress.is_there() =>
            {
                "behind"
            }
            Presence::Connected(_) if self.has_findings() => "degraded",
            Presence::Connected(_) => "healthy",
        }
    }

    fn has_findings(&self) -> bool {
        self.ack
            .as_ref()
            .is_some_and(|ack| !ack.denied.is_empty() || !ack.unprotected.is_empty())
    }

    fn message(&self) -> String {
        match (self.health(), &self.refused, &self.ack) {
            ("unseen", ..) => "no agent has connected since this controller started".to_owned(),
            ("incompatible", ..) => incompatible(&self.version, self.format),
            ("lost", ..) if self.progress.realised().is_none() => {
                "the agent is not connected, and nothing was read back from it".to_owned()
            }
            ("lost", ..) => {
                "the agent is not connected; what it last realised stays in force".to_owned()
            }
            (_, Some(refused), _) => {
                format!("refuses revision {}: {}", refused.digest, refused.reason)
            }
            ("behind", ..) => "the newest revision is not read back yet".to_owned(),
            ("degraded", _, Some(ack)) => format!(
                "{} workloads are cut off because their rules do not fit, {} have no hook",
                ack.denied.len(),
                ack.unprotected.len()
            ),
            _ => "enforces the newest revision".to_owned(),
        }
    }

    fn view(&self, name: &str) -> NodeView {
        let ack = self.ack.as_ref();
        let workloads = |items: Vec<(&String, &String)>| {
            let view = |(name, reason): (&String, &String)| WorkloadView {
                name: name.clone(),
                reason: reason.clone(),
            };
            items.into_iter().map(view).collect()
        };
        let denied = ack.map(|ack| ack.denied.iter().map(|d| (&d.name, &d.reason)).collect());
        let unprotected = ack.map(|ack| {
            ack.unprotected
                .iter()
                .map(|u| (&u.name, &u.reason))
                .collect()
        });
        NodeView {
            name: name.to_owned(),
            health: self.health(),
            message: self.message(),
            connected: matches!(self.presence, Presence::Connected(_)),
            agent: self.version.clone(),
            abi: self.abi,
            desired: self.progress.desired().map(|digest| digest.to_string()),
            realised: self.progress.realised().map(|digest| digest.to_string()),
            realised_at_ms: self.realised_at.map(|Timestamp(ms)| ms),
            heard_at_ms: self.heard_at.map(|Timestamp(ms)| ms),
            protected: ack.map_or(0, |ack| ack.protected),
            unprotected: workloads(unprotected.unwrap_or_default()),
            denied: workloads(denied.unwrap_or_default()),
            capacity: capacity(ack.map(|ack| ack.used).unwrap_or_default(), self.limits),
            applied_us: ack.map(|ack| ack.applied_us),
            confirmed_us: ack.map(|ack| ack.confirmed_us),
            writes: ack.map(|ack| ack.writes),
        }
    }
}

fn capacity(used: Limits, limits: Limits) -> BTreeMap<&'static str, Use> {
    let of = |used, limit| Use { used, limit };
    [
        ("workloads", of(used.workloads, limits.workloads)),
        ("peers", of(used.peers, limits.peers)),
        ("networks", of(used.networks, limits.networks)),
        ("decisions", of(used.decisions, limits.decisions)),
        ("expiries", of(used.expiries, limits.expiries)),
    ]
    .into()
}
