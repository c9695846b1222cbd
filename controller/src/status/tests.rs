//! What an object's status says as its nodes come, lag, realise and go.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use bulkhead_crds::convert::{plain_object, stand_in};
use bulkhead_crds::kinds::ConditionStatus;
use bulkhead_crds::manifest::{Problem, Severity};
use bulkhead_graph::{Digest, FORMAT, Timestamp};
use bulkhead_policy::engine::EngineConfig;
use bulkhead_policy::model::{Event, Kind, ObjectRef};
use bulkhead_source::{ObjectVersion, Update};
use bulkhead_wire::{Ack, Denied, Frontier, Hello, Limits, Refusal, Refused, Unprotected};

use super::{Ledger, ObjectState, ObjectView, PatchStatus, Status};
use crate::intent::Intent;

const NOW: Timestamp = Timestamp(1_000);

fn digest(number: u8) -> Digest {
    Digest([number; 16])
}

fn hello(node: &str) -> Hello {
    Hello {
        node: node.to_owned(),
        abi: 1,
        format: FORMAT,
        version: "0.1.0".to_owned(),
        limits: Limits::default(),
        realised: None,
    }
}

fn ack(number: u8) -> Ack {
    Ack {
        digest: digest(number),
        frontier: Frontier::default(),
        used: Limits::default(),
        applied_us: 1,
        confirmed_us: 2,
        writes: 3,
        denied: Vec::new(),
        unprotected: Vec::new(),
        protected: 0,
    }
}

/// What is said of an object that batch `sequence` changed last, and that concerns both nodes.
fn told(status: &Status, sequence: u64) -> ObjectView {
    let object = ObjectState {
        object: ObjectRef::namespaced(Kind::NetworkPolicy, "web", "allow"),
        sequence,
        changed_at: NOW,
        generation: None,
        affected: BTreeSet::new(),
        nodes: ["n1".into(), "n2".into()].into(),
    };
    let mut view = status.view(Some(Frontier::default()), &[object]);
    view.objects.remove(0)
}

fn check(status: &Status, sequence: u64, expected: (usize, usize)) {
    let object = told(status, sequence);
    assert_eq!(
        (object.realised_nodes, object.desired_nodes),
        expected,
        "{:?}",
        object.messages
    );
    assert_eq!(object.enforced, expected.0 == expected.1);
    assert_eq!(
        object.enforced,
        object.messages.is_empty(),
        "{:?}",
        object.messages
    );
}

#[test]
fn an_object_is_realised_where_its_batch_was_read_back() {
    let mut status = Status::default();
    status.desired("n1", digest(1), 1);
    status.desired("n2", digest(2), 1);
    check(&status, 1, (0, 2));
    status.hello(&hello("n1"), 1, NOW);
    status.hello(&hello("n2"), 2, NOW);
    check(&status, 1, (0, 2));
    status.acked("n1", ack(1), NOW);
    check(&status, 1, (1, 2));
    status.acked("n2", ack(2), NOW);
    check(&status, 1, (2, 2));

    // A later batch changes n1 only: whoever was realised before stays so, the new object is not yet.
    status.desired("n1", digest(3), 2);
    let view = status.view(None, &[]);
    assert_eq!(
        (view.nodes[0].health, view.nodes[1].health),
        ("behind", "healthy")
    );
    let object = |sequence| ObjectState {
        object: ObjectRef::cluster(Kind::Segment, "s"),
        sequence,
        changed_at: NOW,
        generation: None,
        affected: BTreeSet::new(),
        nodes: ["n1".into(), "n2".into()].into(),
    };
    let view = status.view(None, &[object(1), object(2)]);
    assert_eq!(
        (
            view.objects[0].realised_nodes,
            view.objects[1].realised_nodes
        ),
        (2, 1)
    );

    // What was on its way when another change came settles its own, the newest both.
    status.desired("n1", digest(4), 3);
    status.acked("n1", ack(3), NOW);
    assert_eq!(told(&status, 2).realised_nodes, 2);
    check(&status, 3, (1, 2));
    status.acked("n1", ack(4), NOW);
    check(&status, 3, (2, 2));
}

#[test]
fn a_lost_agent_is_said_and_what_it_realised_still_counts() {
    let mut status = Status::default();
    status.desired("n1", digest(1), 1);
    status.hello(&hello("n1"), 1, NOW);
    status.acked("n1", ack(1), NOW);
    let again = Hello {
        realised: Some((digest(1), Frontier::default())),
        ..hello("n1")
    };
    status.hello(&again, 2, NOW);
    status.gone("n1", 1, NOW);
    assert!(
        status.view(None, &[]).nodes[0].connected,
        "the end of an older stream says nothing"
    );
    status.gone("n1", 2, NOW);
    let node = &status.view(None, &[]).nodes[0];
    assert_eq!(
        (node.health, node.realised.as_deref()),
        ("lost", Some(&*digest(1).to_string()))
    );
}

#[test]
fn an_agent_that_comes_back_with_less_has_not_realised_what_it_had() {
    let mut status = Status::default();
    for node in ["n1", "n2"] {
        status.desired(node, digest(2), 1);
        status.hello(&hello(node), 1, NOW);
        status.acked(node, ack(2), NOW);
    }
    check(&status, 1, (2, 2));
    // After a reboot, or after `remove`.
    status.hello(&hello("n1"), 2, NOW);
    check(&status, 1, (1, 2));
    assert_eq!(status.behind(), 1);
    let node = &status.view(None, &[]).nodes[0];
    assert_eq!((node.health, node.realised.as_deref()), ("behind", None));
    assert_eq!((node.realised_at_ms, node.heard_at_ms), (None, None));
    // With the disk of last week.
    let earlier = Hello {
        realised: Some((digest(1), Frontier::default())),
        ..hello("n1")
    };
    status.hello(&earlier, 3, NOW);
    check(&status, 1, (1, 2));
    assert_eq!(status.view(None, &[]).nodes[0].health, "behind");
    status.acked("n1", ack(2), NOW);
    check(&status, 1, (2, 2));
    assert_eq!(status.view(None, &[]).nodes[0].health, "healthy");
    // The same while a batch is on its way: not even what was there before it counts.
    status.desired("n1", digest(3), 5);
    assert_eq!(told(&status, 1).realised_nodes, 2);
    status.hello(&earlier, 4, NOW);
    check(&status, 1, (1, 2));
    status.acked("n1", ack(3), NOW);
    check(&status, 5, (2, 2));
}

#[test]
fn what_was_desired_in_between_and_is_read_back_late_takes_nothing_back() {
    let mut status = Status::default();
    for node in ["n1", "n2"] {
        status.desired(node, digest(1), 1);
        status.hello(&hello(node), 1, NOW);
        status.acked(node, ack(1), NOW);
    }
    status.desired("n1", digest(2), 5);
    status.desired("n1", digest(1), 6);
    // Sent before it was known that all is as it was.
    status.acked("n1", ack(2), NOW);
    assert_eq!(told(&status, 5).realised_nodes, 2);
    check(&status, 6, (1, 2));
    status.acked("n1", ack(1), NOW);
    check(&status, 6, (2, 2));
}

#[test]
fn nothing_is_said_to_be_guarded_before_it_was_read_back() {
    let mut status = Status::default();
    status.desired("n1", digest(1), 1);
    let (mut ledger, mut minute) = (Ledger::default(), 0);
    let mut guarded = |status: &Status| {
        let view = status.view(Some(Frontier::default()), &[]);
        minute += 60_000;
        let patches = ledger.patches(&view, Timestamp(minute));
        let Some(PatchStatus::Node(node)) = patches.into_iter().next().map(|patch| patch.status)
        else {
            panic!("nothing is written of the node")
        };
        let mut conditions = node.conditions.into_iter();
        let guarded = conditions.find(|condition| condition.kind == "Guarded");
        let guarded = guarded.unwrap();
        (guarded.status, guarded.reason)
    };
    let not_yet = (ConditionStatus::Unknown, "NotReadBack".to_owned());
    assert_eq!(guarded(&status), not_yet);
    status.hello(&hello("n1"), 1, NOW);
    status.acked("n1", ack(1), NOW);
    let all = (ConditionStatus::True, "AllGuarded".to_owned());
    assert_eq!(guarded(&status), all);
    status.hello(&hello("n1"), 2, NOW);
    assert_eq!(guarded(&status), not_yet);
}

#[test]
fn a_refusal_is_shown_until_something_is_realised() {
    let mut status = Status::default();
    status.desired("n1", digest(2), 1);
    status.hello(&hello("n1"), 1, NOW);
    let refused = Refused {
        digest: digest(2),
        refusal: Refusal::Damaged,
        reason: "cut".to_owned(),
    };
    status.refused("n1", refused);
    let node = &status.view(None, &[]).nodes[0];
    assert_eq!(node.health, "refusing");
    assert!(node.message.contains("cut"), "{}", node.message);
    status.acked("n1", ack(2), NOW);
    assert_eq!(status.view(None, &[]).nodes[0].health, "healthy");
}

#[test]
fn an_object_is_not_in_force_for_subjects_without_a_hook_and_says_who_is_cut_off() {
    let mut status = Status::default();
    status.desired("n1", digest(1), 1);
    status.hello(&hello("n1"), 1, NOW);
    let mut ack = ack(1);
    ack.unprotected = vec![Unprotected {
        uid: "u1".to_owned(),
        name: "web/bare".to_owned(),
        reason: "no such interface".to_owned(),
    }];
    ack.denied = vec![Denied {
        uid: "u2".to_owned(),
        name: "web/large".to_owned(),
        reason: "decisions".to_owned(),
    }];
    status.acked("n1", ack, NOW);
    assert_eq!(
        status.concerned(),
        ["web/bare".to_owned(), "web/large".to_owned()].into()
    );
    let object = |affected: &[&str]| ObjectState {
        object: ObjectRef::cluster(Kind::Segment, "s"),
        sequence: 1,
        changed_at: NOW,
        generation: None,
        affected: affected.iter().map(|name| (*name).to_owned()).collect(),
        nodes: ["n1".into()].into(),
    };
    let view = status.view(
        None,
        &[object(&[]), object(&["web/bare"]), object(&["web/large"])],
    );
    let [whole, unguarded, cut] = &view.objects[..] else {
        panic!("{view:?}")
    };
    assert!(whole.enforced && whole.messages.is_empty());
    assert!(!unguarded.enforced);
    assert_eq!(
        unguarded.messages,
        ["node n1: web/bare is not guarded: no such interface"]
    );
    assert!(cut.enforced);
    assert_eq!(cut.messages, ["node n1: web/large is cut off: decisions"]);
}

#[test]
fn four_hundred_lagging_nodes_make_a_short_message() {
    let mut status = Status::default();
    let nodes: BTreeSet<_> = (0..400).map(|n| format!("n{n}").into()).collect();
    for node in &nodes {
        let node: &bulkhead_policy::model::Interned = node;
        status.desired(node, digest(1), 1);
    }
    let object = ObjectState {
        object: ObjectRef::cluster(Kind::Segment, "s"),
        sequence: 1,
        changed_at: NOW,
        generation: None,
        affected: BTreeSet::new(),
        nodes,
    };
    let view = status.view(None, &[object]);
    assert_eq!(view.objects[0].messages.len(), 11);
    assert!(view.objects[0].messages[10].starts_with("and 390 more"));
}

#[test]
fn a_node_that_is_gone_is_forgotten_once_its_agent_is() {
    let mut status = Status::default();
    status.desired("n1", digest(1), 1);
    status.desired("n2", digest(1), 1);
    status.hello(&hello("n2"), 1, NOW);
    status.forget_others(&["n1".into(), "n2".into()].into());
    assert_eq!(status.connected(), (1, 2));
    status.forget_others(&[].into());
    assert_eq!(
        status.connected(),
        (1, 1),
        "an agent that is there is shown"
    );
    status.gone("n2", 1, NOW);
    assert_eq!((status.connected(), status.behind()), ((0, 0), 0));
}

#[test]
fn g11_what_was_never_good_has_conditions_that_say_so_in_every_kind_with_a_status() {
    for kind in [
        Kind::ClusterNetworkPolicy,
        Kind::ClusterSegmentationPolicy,
        Kind::SegmentationPolicy,
        Kind::Quarantine,
        Kind::Segment,
    ] {
        let object = serde_json::json!({"metadata": {"name": "p"}, "spec": {"mode": 5, "tier": 5}});
        let rejection = plain_object(kind, &object).unwrap_err();
        let stand_in = stand_in(kind, &object).unwrap();
        let reference = stand_in.object.reference();
        let version = ObjectVersion {
            uid: "u".to_owned(),
            generation: 3,
        };
        let mut intent = Intent::new(EngineConfig::default(), NonZeroUsize::MIN, NOW);
        let update = Update {
            events: vec![Event::Apply(stand_in.object)],
            seen: [(reference.clone(), version)].into(),
            ..Update::default()
        };
        intent.take(update, NOW);
        let mut status = Status::default();
        status.problems(vec![Problem {
            severity: Severity::Error,
            file: "kubernetes".into(),
            line: None,
            object: Some(reference.to_string()),
            field: Some(rejection.field),
            message: rejection.message,
        }]);
        let objects = intent.objects(&BTreeSet::new());
        let view = status.view(Some(Frontier::default()), &objects);
        let patches = Ledger::default().patches(&view, NOW);
        let [patch] = &patches[..] else {
            panic!("{kind:?}: {patches:?}")
        };
        let PatchStatus::Object(written) = &patch.status else {
            panic!("{kind:?}: {patch:?}")
        };
        assert_eq!(written.observed_generation, Some(3));
        let holds = |name: &str| {
            let mut all = written.conditions.iter();
            all.find(|it| it.kind == name).map(|it| it.status)
        };
        assert_eq!(holds("Accepted"), Some(ConditionStatus::False), "{kind:?}");
        assert_eq!(holds("Degraded"), Some(ConditionStatus::True), "{kind:?}");
    }
}
