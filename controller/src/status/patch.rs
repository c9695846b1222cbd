//! The status as it is written into the cluster's objects: what has changed since it was written last, as data.
//!
//! A write is made for a change of substance only; a node's digests alone are no substance and go out every half minute. An
//! idle cluster makes no writes.

use std::collections::BTreeMap;

use bulkhead_crds::kinds::{
    Condition, ConditionStatus, DeniedSubject, NodeCount, NodeEnforcementStatus, NodeHealth,
    PolicyStatus, Revision, TableUse,
};
use bulkhead_graph::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff;

use super::{NodeView, ObjectView, View};

/// Between two writes of a node whose health did not change.
const NODE_MS: i64 = 30_000;

/// Denied subjects that a node's status lists; the count is exact.
const LISTED: usize = 64;

/// Characters of a condition's message, as the definitions have it (in bytes, which are never fewer).
const MESSAGE_BYTES: usize = 32_000;

/// What is written to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A policy or segment of ours.
    Object {
        /// Its kind.
        kind: &'static str,
        /// Empty for cluster-scoped kinds.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A node's NodeEnforcement.
    Node(String),
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// Of a policy or segment.
    Object(PolicyStatus),
    /// Of a node.
    Node(NodeEnforcementStatus),
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// Where.
    pub target: Target,
    /// The whole status.
    pub status: Status,
}

/// Remembers what was written.
#[derive(Debug, Default)]
pub struct Ledger {
    written: BTreeMap<Target, (Status, Timestamp)>,
    /// How long the versions that are in force took, by the instant they came.
    took: BTreeMap<Target, (i64, f64)>,
}

impl Ledger {
    /// What has to be written now. Counts as written; say so if it was not.
    pub fn patches(&mut self, view: &View, now: Timestamp) -> Vec<Patch> {
        if !view.ready {
            return Vec::new();
        }
        let mut wanted: BTreeMap<Target, Status> = BTreeMap::new();
        for object in view.objects.iter().filter(|object| has_status(object.kind)) {
            let target = Target::Object {
                kind: object.kind,
                namespace: object.namespace.clone(),
                name: object.name.clone(),
            };
            let took = self.took(&target, object, now);
            let before = match self.written.get(&target) {
                Some((Status::Object(status), _)) => status.conditions.as_slice(),
                Some((Status::Node(_), _)) | None => &[],
            };
            let status = Status::Object(object_status(object, before, took, now));
            wanted.insert(target, status);
        }
        for node in &view.nodes {
            let target = Target::Node(node.name.clone());
            let status = match self.written.get(&target) {
                Some((Status::Node(before), _)) => node_status(node, Some(before), now),
                Some((Status::Object(_), _)) | None => node_status(node, None, now),
            };
            wanted.insert(target, Status::Node(status));
        }
        self.written.retain(|target, _| wanted.contains_key(target));
        self.took.retain(|target, _| wanted.contains_key(target));
        let mut patches = Vec::new();
        for (target, status) in wanted {
            if self.is_due(&target, &status, now) {
                self.written.insert(target.clone(), (status.clone(), now));
                patches.push(Patch { target, status });
            }
        }
        patches
    }

    /// From the version's coming to the moment it was first seen in force; `None` until then.
    fn took(&mut self, target: &Target, object: &ObjectView, now: Timestamp) -> Option<f64> {
        let came = object.changed_at_ms;
        match self.took.get(target) {
            Some((of, seconds)) if *of == came => return Some(*seconds),
            Some(_) | None if !object.enforced => return None,
            Some(_) | None => {}
        }
        let ms = u32::try_from(now.0.saturating_sub(came).max(0)).unwrap_or(u32::MAX);
        let seconds = f64::from(ms) / 1000.0;
        self.took.insert(target.clone(), (came, seconds));
        Some(seconds)
    }

    /// The write failed: it is due again.
    pub fn failed(&mut self, target: &Target) {
        self.written.remove(target);
    }

    fn is_due(&self, target: &Target, status: &Status, now: Timestamp) -> bool {
        let Some((before, at)) = self.written.get(target) else {
            return true;
        };
        match (before, status) {
            (Status::Node(before), Status::Node(now_status)) => {
                let substance = |status: &NodeEnforcementStatus| {
                    (
                        status.health,
                        status.denied.clone(),
                        status.denied_count,
                        status.conditions.clone(),
                    )
                };
                substance(before) != substance(now_status)
                    || (before != now_status && now.0 - at.0 >= NODE_MS)
            }
            (before, status) => before != status,
        }
    }
}

/// Kinds with a status that we write.
fn has_status(kind: &str) -> bool {
    [
        "ClusterNetworkPolicy",
        "SegmentationPolicy",
        "ClusterSegmentationPolicy",
        "Quarantine",
        "Segment",
    ]
    .contains(&kind)
}

fn time(at: Timestamp) -> Time {
    Time(jiff::Timestamp::from_millisecond(at.0).unwrap_or_default())
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A condition, with the time of the last change of its status.
fn truth(holds: bool) -> ConditionStatus {
    match holds {
        true => ConditionStatus::True,
        false => ConditionStatus::False,
    }
}

fn condition(
    kind: &str,
    status: ConditionStatus,
    (reason, mut message): (&str, String),
    before: &[Condition],
    now: Timestamp,
) -> Condition {
    if message.len() > MESSAGE_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        message.push('…');
    }
    let same = before
        .iter()
        .find(|condition| condition.kind == kind && condition.status == status);
    Condition {
        kind: kind.to_owned(),
        status,
        observed_generation: None,
        last_transition_time: same.map_or_else(
            || time(now),
            |condition| condition.last_transition_time.clone(),
        ),
        reason: reason.to_owned(),
        message,
    }
}

fn object_status(
    object: &ObjectView,
    before: &[Condition],
    took: Option<f64>,
    now: Timestamp,
) -> PolicyStatus {
    let condition = |kind, holds, said: (&str, String)| Condition {
        observed_generation: object.generation,
        ..condition(kind, truth(holds), said, before, now)
    };
    let said = object.messages.join("\n");
    let accepted = match object.accepted {
        true => ("Understood", "the object is understood".to_owned()),
        false => ("NotUnderstood", said.clone()),
    };
    let enforced = match (object.enforced, object.desired_nodes) {
        (true, 0) => ("NoSubjects", "no workload is concerned".to_owned()),
        (true, nodes) => (
            "Realised",
            format!("read back from the kernels of all {nodes} nodes concerned"),
        ),
        (false, nodes) => (
            "Pending",
            format!(
                "read back from {} of {nodes} nodes concerned\n{said}",
                object.realised_nodes
            ),
        ),
    };
    let degraded = match said.is_empty() {
        true => ("Whole", "nothing is missing".to_owned()),
        false => ("Incomplete", said),
    };
    PolicyStatus {
        observed_generation: object.generation,
        conditions: vec![
            condition("Accepted", object.accepted, accepted),
            condition("Enforced", object.enforced, enforced),
            condition("Degraded", degraded.0 == "Incomplete", degraded),
        ],
        nodes: Some(NodeCount {
            desired: count(object.desired_nodes),
            realised: count(object.realised_nodes),
        }),
        last_enforced_seconds: took,
    }
}

fn node_status(
    node: &NodeView,
    before: Option<&NodeEnforcementStatus>,
    now: Timestamp,
) -> NodeEnforcementStatus {
    let revision = |digest: &Option<String>, before: Option<&Revision>| {
        let digest = digest.clone()?;
        let same = before.filter(|before| before.digest == digest);
        Some(same.cloned().unwrap_or(Revision {
            digest,
            since: time(now),
        }))
    };
    let health = match node.health {
        "healthy" => NodeHealth::Realised,
        "behind" => NodeHealth::Updating,
        "lost" | "unseen" | "incompatible" => NodeHealth::Silent,
        _ => NodeHealth::Degraded,
    };
    let conditions = before.map_or(&[][..], |before| &before.conditions);
    let unprotected = node
        .unprotected
        .iter()
        .map(|w| format!("{}: {}", w.name, w.reason))
        .collect::<Vec<_>>();
    // What is guarded is told with what was read back.
    let (is_guarded, guarded) = match (node.applied_us, unprotected.is_empty()) {
        (None, _) => (
            ConditionStatus::Unknown,
            (
                "NotReadBack",
                "nothing was read back from this node's kernel yet".to_owned(),
            ),
        ),
        (Some(_), true) => (
            ConditionStatus::True,
            (
                "AllGuarded",
                "every workload is behind both hooks".to_owned(),
            ),
        ),
        (Some(_), false) => (ConditionStatus::False, ("NoHook", unprotected.join("\n"))),
    };
    let healthy = matches!(health, NodeHealth::Realised);
    NodeEnforcementStatus {
        desired: revision(
            &node.desired,
            before.and_then(|before| before.desired.as_ref()),
        ),
        realised: revision(
            &node.realised,
            before.and_then(|before| before.realised.as_ref()),
        ),
        health: Some(health),
        workloads: count(node.protected as usize),
        tables: node
            .capacity
            .iter()
            .map(|(name, table)| TableUse {
                name: (*name).to_owned(),
                used: i64::from(table.used),
                capacity: i64::from(table.limit),
            })
            .collect(),
        denied: node
            .denied
            .iter()
            .take(LISTED)
            .map(|denied| DeniedSubject {
                workload: denied.name.clone(),
                reason: denied.reason.clone(),
            })
            .collect(),
        denied_count: count(node.denied.len()),
        conditions: vec![
            condition(
                "Healthy",
                truth(healthy),
                (health_reason(health), node.message.clone()),
                conditions,
                now,
            ),
            condition("Guarded", is_guarded, guarded, conditions, now),
        ],
    }
}

fn health_reason(health: NodeHealth) -> &'static str {
    match health {
        NodeHealth::Realised => "Realised",
        NodeHealth::Updating => "Updating",
        NodeHealth::Degraded => "Degraded",
        NodeHealth::Silent => "Silent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(object: ObjectView) -> View {
        View {
            ready: true,
            versions: BTreeMap::new(),
            instant_ms: 0,
            nodes: Vec::new(),
            objects: vec![object],
            problems: Vec::new(),
        }
    }

    fn segment(realised_nodes: usize) -> ObjectView {
        ObjectView {
            kind: "Segment",
            namespace: String::new(),
            name: "db".to_owned(),
            accepted: true,
            enforced: realised_nodes == 2,
            generation: Some(7),
            changed_at_ms: 500,
            desired_nodes: 2,
            realised_nodes,
            messages: if realised_nodes == 2 {
                Vec::new()
            } else {
                vec!["node n2: lags".to_owned()]
            },
        }
    }

    fn enforced_since(patch: &Patch) -> Time {
        let Status::Object(status) = &patch.status else {
            panic!("not an object")
        };
        status.conditions[1].last_transition_time.clone()
    }

    #[test]
    fn only_changes_are_written_and_times_are_those_of_transitions() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.patches(&view(segment(0)), Timestamp(1_000)).len(), 1);
        assert!(
            ledger
                .patches(&view(segment(0)), Timestamp(2_000))
                .is_empty(),
            "an idle cluster makes no writes"
        );
        let half = ledger.patches(&view(segment(1)), Timestamp(3_000));
        assert_eq!(
            enforced_since(&half[0]),
            time(Timestamp(1_000)),
            "still not enforced, since then"
        );
        let whole = ledger.patches(&view(segment(2)), Timestamp(4_000));
        assert_eq!(enforced_since(&whole[0]), time(Timestamp(4_000)));
        ledger.failed(&whole[0].target);
        assert_eq!(
            ledger.patches(&view(segment(2)), Timestamp(5_000)).len(),
            1,
            "a failed write is due again"
        );
    }

    #[test]
    fn a_status_names_its_generation_and_how_long_it_took_and_fits_into_the_definition() {
        let mut ledger = Ledger::default();
        let status = |patches: Vec<Patch>| match patches.into_iter().next() {
            Some(Patch {
                status: Status::Object(status),
                ..
            }) => status,
            other => panic!("{other:?}"),
        };
        let mut lagging = segment(1);
        lagging.messages = vec!["é".repeat(100_000)];
        let pending = status(ledger.patches(&view(lagging), Timestamp(1_000)));
        assert_eq!(pending.observed_generation, Some(7));
        assert_eq!(pending.last_enforced_seconds, None);
        for condition in &pending.conditions {
            assert_eq!(condition.observed_generation, Some(7));
            assert!(condition.message.chars().count() <= 32_768);
        }
        let whole = status(ledger.patches(&view(segment(2)), Timestamp(3_000)));
        assert_eq!(whole.last_enforced_seconds, Some(2.5));
        // A node that lags and catches up later says nothing about how long the change took.
        ledger.patches(&view(segment(1)), Timestamp(4_000));
        let again = status(ledger.patches(&view(segment(2)), Timestamp(9_000)));
        assert_eq!(again.last_enforced_seconds, Some(2.5));
    }

    #[test]
    fn kinds_of_others_are_left_alone() {
        let mut object = segment(2);
        object.kind = "NetworkPolicy";
        assert!(
            Ledger::default()
                .patches(&view(object), Timestamp(1_000))
                .is_empty()
        );
    }
}
