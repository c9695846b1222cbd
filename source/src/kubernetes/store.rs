//! What of the API's objects is in force. Pure: messages in, an update out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bulkhead_crds::manifest::{Problem, Severity};
use bulkhead_policy::model::{Event, Kind, Object, ObjectRef, Timestamp};

use super::follow::{Message, Seen};
use super::resources::KINDS;
use crate::{ObjectVersion, Update, review};

/// Kinds whose last good version is kept, for a new version that cannot be read. There are few of them, and their
/// absence would open; of the many others an absence denies.
const KEPT: [Kind; 5] = [
    Kind::ClusterSegmentationPolicy,
    Kind::NetworkPolicy,
    Kind::SegmentationPolicy,
    Kind::Quarantine,
    Kind::Segment,
];

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
                let read = self.read(*seen);
                self.events.extend(read.map(Event::Apply));
            }
            Message::Gone(kind, reference, version) => {
                self.reached(kind, version);
                self.forget(&reference);
                self.events.push(Event::Delete(reference));
            }
            Message::Reached(kind, version) => self.reached(kind, version),
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
        self.is_review_due |= KEPT.contains(&kind);
        let objects = seen.into_iter().filter_map(|seen| {
            let reference = seen.reference.clone();
            self.read(seen)
                .or_else(|| self.last_good.get(&reference).cloned())
        });
        let objects = objects.collect();
        self.events.push(Event::Reset(kind, objects));
    }

    /// The object, unless it cannot be read; then its last good version stays as it is.
    fn read(&mut self, seen: Seen) -> Option<Object> {
        let Seen {
            reference,
            version,
            reading,
        } = seen;
        if KEPT.contains(&reference.kind) {
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
        let (object, problems) = match reading {
            Ok(converted) => {
                let faults = converted.faults.into_iter();
                let problems = faults
                    .map(|fault| problem(Severity::Warning, fault.field, fault.message))
                    .collect();
                (Some(converted.object), problems)
            }
            Err(rejection) => {
                let problem = problem(Severity::Error, rejection.field, rejection.message);
                (None, vec![problem])
            }
        };
        if problems.is_empty() {
            self.faults.remove(&reference);
        } else {
            self.faults.insert(reference.clone(), problems);
        }
        if let Some(object) = &object
            && KEPT.contains(&reference.kind)
        {
            self.last_good.insert(reference, object.clone());
            self.is_review_due = true;
        }
        object
    }

    fn forget(&mut self, reference: &ObjectRef) {
        self.faults.remove(reference);
        self.is_review_due |= self.last_good.remove(reference).is_some();
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
    use bulkhead_crds::convert::plain_object;
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
        Seen {
            reference,
            version: ObjectVersion {
                uid: "u".to_owned(),
                generation: 3,
            },
            reading: plain_object(kind, &value),
        }
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
