//! What of the API's objects is in force. Pure: messages in, an update out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_crds::manifest::{Problem, Severity};
use bulkhead_policy::model::{Event, Kind, Object, ObjectRef, Timestamp};

use super::follow::{Message, Seen};
use super::resources::KINDS;
use crate::{ObjectVersion, Update, review};

/// Kinds whose objects may restrict: what of them cannot be read is an error, and where no good version is known something
/// stands in for it.
const RESTRICTING: [Kind; 6] = [
    Kind::ClusterNetworkPolicy,
    Kind::ClusterSegmentationPolicy,
    Kind::NetworkPolicy,
    Kind::SegmentationPolicy,
    Kind::Quarantine,
    Kind::Segment,
];

/// Whether the last good version is kept for a new one that cannot be read. Of these two there are too many: one that
/// cannot be read is absent, from the event on as after a relist, and its absence denies.
fn is_kept(kind: Kind) -> bool {
    !matches!(kind, Kind::Pod | Kind::EndpointSlice)
}

/// Kinds that are looked at beside each other.
fn is_reviewed(kind: Kind) -> bool {
    RESTRICTING.contains(&kind) || kind == Kind::Workload
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    place: Arc<str>,
    incarnation: Timestamp,
    versions: BTreeMap<Kind, u64>,
    last_good: BTreeMap<ObjectRef, Object>,
    faults: BTreeMap<ObjectRef, Vec<Problem>>,
    /// Findings that need all policies together, as of the last change of one.
    findings: Vec<Problem>,
    events: Vec<Event>,
    versions_seen: BTreeMap<ObjectRef, ObjectVersion>,
    is_review_due: bool,
}

impl Store {
    pub(super) fn new(place: &str, incarnation: Timestamp) -> Self {
        Self {
            place: place.into(),
            incarnation,
            versions: BTreeMap::new(),
            last_good: BTreeMap::new(),
            faults: BTreeMap::new(),
            findings: Vec::new(),
            events: Vec::new(),
            versions_seen: BTreeMap::new(),
            is_review_due: false,
        }
    }

    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::Whole(kind, seen, version) => {
                self.reached(kind, version);
                self.replace(kind, seen);
            }
            Message::Changed(kind, seen, version) => {
                self.reached(kind, version);
                let reference = seen.reference.clone();
                match self.read(*seen) {
                    Some(object) => self.events.push(Event::Apply(object)),
                    None if is_kept(kind) => {}
                    None => self.events.push(Event::Delete(reference)),
                }
            }
            Message::Gone(kind, reference, version) => {
                self.reached(kind, version);
                self.forget(&reference);
                self.events.push(Event::Delete(reference));
            }
            Message::Reached(kind, version) => self.reached(kind, version),
            Message::StillAbsent(_) => {}
            Message::Absent(kind) => {
                // Versions that were seen before stay.
                self.reached(kind, 0);
                self.replace(kind, Vec::new());
            }
        }
    }

    /// What came in since the last call. `None` before every kind has been read once.
    pub(super) fn update(&mut self) -> Option<Update> {
        if !self.is_whole() {
            return None;
        }
        if std::mem::take(&mut self.is_review_due) {
            self.findings = self.review();
        }
        let problems = self
            .faults
            .values()
            .flatten()
            .chain(&self.findings)
            .cloned()
            .collect();
        Some(Update {
            events: std::mem::take(&mut self.events),
            problems,
            incarnation: self.incarnation,
            versions: self
                .versions
                .iter()
                .map(|(kind, version)| (kind.name().to_owned(), *version))
                .collect(),
            seen: std::mem::take(&mut self.versions_seen),
        })
    }

    /// Kinds that have not been read yet.
    pub(super) fn missing(&self) -> BTreeSet<&'static str> {
        KINDS
            .iter()
            .filter(|kind| !self.versions.contains_key(kind))
            .map(|kind| kind.name())
            .collect()
    }

    fn is_whole(&self) -> bool {
        KINDS.iter().all(|kind| self.versions.contains_key(kind))
    }

    /// Versions never go back, also if a list is older than an event before it.
    fn reached(&mut self, kind: Kind, version: u64) {
        let known = self.versions.entry(kind).or_default();
        *known = version.max(*known);
    }

    fn replace(&mut self, kind: Kind, seen: Vec<Seen>) {
        let there: BTreeSet<ObjectRef> = seen.iter().map(|seen| seen.reference.clone()).collect();
        let is_gone = |reference: &ObjectRef| reference.kind == kind && !there.contains(reference);
        self.last_good.retain(|reference, _| !is_gone(reference));
        self.faults.retain(|reference, _| !is_gone(reference));
        self.is_review_due |= is_reviewed(kind);
        let objects = seen.into_iter().filter_map(|seen| {
            let reference = seen.reference.clone();
            self.read(seen)
                .or_else(|| self.last_good.get(&reference).cloned())
        });
        let objects = objects.collect();
        self.events.push(Event::Reset(kind, objects));
    }

    /// The object, unless it cannot be read; then its last good version stays as it is, or something stands in for it.
    fn read(&mut self, seen: Seen) -> Option<Object> {
        let Seen {
            reference,
            version,
            reading,
            stand_in,
        } = seen;
        if RESTRICTING.contains(&reference.kind) {
            self.versions_seen.insert(reference.clone(), version);
        }
        let place = self.place.clone();
        let problem = |severity, field: String, message: String| Problem {
            severity,
            file: place.clone(),
            line: None,
            object: Some(reference.to_string()),
            field: Some(field).filter(|field| !field.is_empty()),
            message,
        };
        // A part of a policy that is not understood is not in force; of other objects the rest is as good without it.
        let severity = match RESTRICTING.contains(&reference.kind) {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let stand_in = stand_in.filter(|_| !self.last_good.contains_key(&reference));
        let (object, good, problems) = match (reading, stand_in) {
            (Ok(converted), _) => {
                let faults = converted.faults.into_iter();
                let problems = faults
                    .map(|fault| problem(severity, fault.field, fault.message))
                    .collect();
                (Some(converted.object), true, problems)
            }
            (Err(rejection), stand_in) => {
                let mut problems =
                    vec![problem(Severity::Error, rejection.field, rejection.message)];
                let meaning = stand_in.as_ref().map(|stand_in| stand_in.meaning.clone());
                problems.extend(
                    meaning.map(|meaning| problem(Severity::Error, String::new(), meaning)),
                );
                (stand_in.map(|stand_in| stand_in.object), false, problems)
            }
        };
        if problems.is_empty() {
            self.faults.remove(&reference);
        } else {
            self.faults.insert(reference.clone(), problems);
        }
        if let Some(object) = &object
            && good
            && is_kept(reference.kind)
        {
            self.is_review_due |= is_reviewed(reference.kind);
            self.last_good.insert(reference, object.clone());
        }
        object
    }

    fn forget(&mut self, reference: &ObjectRef) {
        self.faults.remove(reference);
        self.last_good.remove(reference);
        self.is_review_due |= is_reviewed(reference.kind);
    }

    fn review(&self) -> Vec<Problem> {
        let problem = |finding: review::Finding| Problem {
            severity: Severity::Warning,
            file: self.place.clone(),
            line: None,
            object: Some(finding.object.to_string()),
            field: finding.field,
            message: finding.message,
        };
        review::objects(self.last_good.values())
            .into_iter()
            .map(problem)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn seen(kind: Kind, value: Value) -> Seen {
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let reference =
            ObjectRef::namespaced(kind, &text("/metadata/namespace"), &text("/metadata/name"));
        let version = ObjectVersion {
            uid: "u".to_owned(),
            generation: 3,
        };
        super::super::follow::seen(kind, reference, version, &value)
    }

    fn segment(name: &str, spec: Value) -> Seen {
        seen(
            Kind::Segment,
            json!({"apiVersion": "bulkhead.dev/v1alpha1", "kind": "Segment", "metadata": {"name": name}, "spec": spec}),
        )
    }

    fn whole_store(segments: Vec<Seen>) -> Store {
        let mut store = Store::new("kubernetes", Timestamp(7));
        for kind in KINDS.iter().filter(|kind| **kind != Kind::Segment) {
            store.take(Message::Whole(*kind, Vec::new(), 10));
            assert_eq!(store.update(), None, "{} is missing", Kind::Segment.name());
        }
        store.take(Message::Whole(Kind::Segment, segments, 11));
        store
    }

    fn members() -> Value {
        json!({"members": [{"namespaces": {}}]})
    }

    #[test]
    fn the_first_update_waits_for_every_kind() {
        let mut store = whole_store(vec![segment("a", members())]);
        let update = store.update();
        let update = update.as_ref();
        assert_eq!(update.map(|update| update.events.len()), Some(KINDS.len()));
        assert_eq!(
            update.and_then(|update| update.versions.get("Segment")),
            Some(&11)
        );
        assert_eq!(update.map(|update| update.incarnation), Some(Timestamp(7)));
        assert_eq!(store.update().map(|update| update.events), Some(vec![]));
    }

    #[test]
    fn a_bad_version_leaves_the_good_one_in_force_also_over_a_relist() {
        let mut store = whole_store(vec![segment("a", members()), segment("b", members())]);
        store.update();
        store.take(Message::Changed(
            Kind::Segment,
            Box::new(segment("a", json!({"members": 5}))),
            12,
        ));
        let update = store.update().unwrap_or_default();
        assert_eq!(update.events, []);
        assert_eq!(update.problems.len(), 1);
        assert_eq!(update.problems[0].object.as_deref(), Some("Segment a"));
        store.take(Message::Whole(
            Kind::Segment,
            vec![segment("a", json!({"members": 5}))],
            13,
        ));
        let update = store.update().unwrap_or_default();
        let [Event::Reset(Kind::Segment, objects)] = &update.events[..] else {
            panic!("{update:?}")
        };
        assert_eq!(
            objects
                .iter()
                .map(|object| object.reference().to_string())
                .collect::<Vec<_>>(),
            ["Segment a"]
        );
        store.take(Message::Changed(
            Kind::Segment,
            Box::new(segment("a", members())),
            14,
        ));
        assert_eq!(store.update().unwrap_or_default().problems, []);
    }

    fn policy(spec: Value) -> Box<Seen> {
        Box::new(seen(
            Kind::SegmentationPolicy,
            json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}),
        ))
    }

    #[test]
    fn g11_what_was_never_good_has_something_standing_in_for_it_until_it_is() {
        let kind = Kind::SegmentationPolicy;
        let mut store = whole_store(Vec::new());
        store.update();
        let bad = json!({"subjects": 5, "egress": [{"action": "Deny"}]});
        store.take(Message::Changed(kind, policy(bad.clone()), 12));
        let update = store.update().unwrap_or_default();
        let [Event::Apply(stand_in)] = &update.events[..] else {
            panic!("{update:?}")
        };
        assert_eq!(update.problems.len(), 2);
        let errors = update.problems.iter();
        assert!(errors.clone().all(|it| it.severity == Severity::Error));
        assert!(
            errors
                .clone()
                .all(|it| it.object.as_deref() == Some("SegmentationPolicy n/p"))
        );
        let stand_in = stand_in.clone();
        // Also over a relist.
        store.take(Message::Whole(kind, vec![*policy(bad.clone())], 13));
        let relisted = store.update().unwrap_or_default();
        assert_eq!(relisted.events, [Event::Reset(kind, vec![stand_in])]);
        let good = json!({"subjects": [{"pods": {}}], "isolates": ["Ingress"]});
        store.take(Message::Changed(kind, policy(good), 14));
        let update = store.update().unwrap_or_default();
        assert_eq!((update.events.len(), update.problems.len()), (1, 0));
        // From then on the good one stays.
        store.take(Message::Changed(kind, policy(bad), 15));
        let update = store.update().unwrap_or_default();
        assert_eq!((update.events.len(), update.problems.len()), (0, 1));
    }

    #[test]
    fn a_part_of_a_policy_that_is_not_understood_is_an_error() {
        let mut store = whole_store(Vec::new());
        store.update();
        let accept = json!({"action": "Accept", "to": [{"domainNames": ["example.org"]}]});
        let spec = json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}, "egress": [accept]});
        let object = json!({"metadata": {"name": "p"}, "spec": spec});
        let kind = Kind::ClusterNetworkPolicy;
        store.take(Message::Changed(kind, Box::new(seen(kind, object)), 12));
        let update = store.update().unwrap_or_default();
        assert_eq!(update.events.len(), 1);
        assert_eq!(update.problems[0].severity, Severity::Error);
        assert_eq!(
            update.problems[0].field.as_deref(),
            Some("spec.egress[0].to[0].domainNames")
        );
    }

    #[test]
    fn g10_an_unreadable_pod_is_absent_at_once_and_not_only_after_a_relist() {
        let mut store = whole_store(Vec::new());
        store.update();
        let pod = |spec: Value| {
            let object = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
            Box::new(seen(Kind::Pod, object))
        };
        store.take(Message::Changed(
            Kind::Pod,
            pod(json!({"containers": []})),
            12,
        ));
        assert_eq!(store.update().unwrap_or_default().events.len(), 1);
        store.take(Message::Changed(
            Kind::Pod,
            pod(json!({"containers": 5})),
            13,
        ));
        let update = store.update().unwrap_or_default();
        let reference = ObjectRef::namespaced(Kind::Pod, "n", "p");
        assert_eq!(update.events, [Event::Delete(reference)]);
        assert_eq!(update.problems.len(), 1);
    }

    #[test]
    fn a_kind_that_the_cluster_lacks_holds_up_nobody_and_may_come_and_go() {
        let kind = Kind::ClusterNetworkPolicy;
        let mut store = Store::new("kubernetes", Timestamp(7));
        for other in KINDS.iter().filter(|other| **other != kind) {
            store.take(Message::Whole(*other, Vec::new(), 10));
        }
        assert_eq!(store.update(), None);
        store.take(Message::Absent(kind));
        assert!(store.update().is_some());
        let spec = json!({"tier": "Admin", "priority": 1, "subject": {"namespaces": {}}});
        let object = seen(kind, json!({"metadata": {"name": "p"}, "spec": spec}));
        store.take(Message::Whole(kind, vec![object], 20));
        let update = store.update().unwrap_or_default();
        assert_eq!(update.versions.get("ClusterNetworkPolicy"), Some(&20));
        assert_eq!(update.events.len(), 1);
        store.take(Message::Absent(kind));
        let update = store.update().unwrap_or_default();
        assert_eq!(update.events, [Event::Reset(kind, Vec::new())]);
        assert_eq!(update.versions.get("ClusterNetworkPolicy"), Some(&20));
    }

    #[test]
    fn what_is_gone_takes_its_problems_along_and_shows_who_missed_it() {
        let policy = seen(
            Kind::Quarantine,
            json!({"apiVersion": "bulkhead.dev/v1alpha1", "kind": "Quarantine", "metadata": {"name": "q"},
                   "spec": {"reason": "r", "subjects": [{"segment": "a"}]}}),
        );
        let mut store = whole_store(vec![segment("a", members())]);
        store.take(Message::Changed(Kind::Quarantine, Box::new(policy), 12));
        assert_eq!(store.update().unwrap_or_default().problems, []);
        store.take(Message::Gone(
            Kind::Segment,
            ObjectRef::cluster(Kind::Segment, "a"),
            13,
        ));
        let update = store.update().unwrap_or_default();
        assert_eq!(
            update.events,
            [Event::Delete(ObjectRef::cluster(Kind::Segment, "a"))]
        );
        assert!(
            update.problems[0].message.contains("there is no Segment a"),
            "{:?}",
            update.problems
        );
    }

    #[test]
    fn versions_never_go_back() {
        let mut store = whole_store(Vec::new());
        store.take(Message::Whole(Kind::Pod, Vec::new(), 3));
        assert_eq!(
            store.update().unwrap_or_default().versions.get("Pod"),
            Some(&10)
        );
        store.take(Message::Reached(Kind::Pod, 20));
        assert_eq!(
            store.update().unwrap_or_default().versions.get("Pod"),
            Some(&20)
        );
    }
}
