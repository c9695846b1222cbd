//! Objects that an API server with newer definitions has accepted: what nobody here knows fails closed, and says so.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use bulkhead_crds::convert::{Converted, plain_object, stand_in};
use bulkhead_policy::model::{Action, Kind, Object, Peers, Policy, Ports};
use serde_json::{Value, json};

fn read(kind: Kind, spec: Value) -> Converted {
    let value = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
    plain_object(kind, &value).unwrap()
}

fn policy(converted: Converted) -> (Arc<Policy>, Vec<String>) {
    let fields = converted.faults.into_iter().map(|fault| fault.field);
    let Object::Policy(policy) = converted.object else {
        panic!("no policy")
    };
    (policy, fields.collect())
}

fn rule(action: &str, extra: &str) -> Value {
    let mut rule = json!({"action": action, "from": [{"everyone": {}}], "ports": [{"every": {}}]});
    if !extra.is_empty() {
        rule[extra] = json!({"some": "thing"});
    }
    rule
}

#[test]
fn g11_an_unknown_field_in_a_rule_closes_that_rule() {
    let spec = json!({"subjects": [{"pods": {}}], "ingress": [rule("Allow", "when"), rule("Allow", ""), rule("Deny", "when")]});
    let (policy, fields) = policy(read(Kind::SegmentationPolicy, spec));
    assert_eq!(fields, ["spec.ingress[0].when", "spec.ingress[2].when"]);
    let [closed, whole, denying] = &policy.ingress[..] else {
        panic!("{policy:?}")
    };
    assert_eq!(closed.peers, Peers::Of(Vec::new()));
    assert_eq!(whole.peers, Peers::Any);
    assert_eq!(
        (denying.action, &denying.peers, &denying.ports),
        (Action::Deny, &Peers::Any, &Ports::Any)
    );
}

#[test]
fn g11_an_unknown_field_of_the_whole_policy_closes_what_opens() {
    let spec = json!({"subjects": [{"pods": {}, "images": ["x"]}], "ingress": [rule("Allow", ""), rule("Deny", "")]});
    let (policy, fields) = policy(read(Kind::SegmentationPolicy, spec));
    assert_eq!(fields, ["spec.subjects[0].images"]);
    assert_eq!(policy.ingress[0].peers, Peers::Of(Vec::new()));
    assert_eq!(policy.ingress[1].action, Action::Deny);
    assert_eq!(policy.subjects.len(), 1);
}

#[test]
fn g11_an_unknown_condition_on_a_peer_of_an_upstream_policy_admits_nobody() {
    let spec = json!({"podSelector": {}, "ingress": [{"from": [{"podSelector": {}, "nodeSelector": {}}]}]});
    let (policy, fields) = policy(read(Kind::NetworkPolicy, spec));
    assert_eq!(fields, ["spec.ingress[0].from[0].nodeSelector"]);
    assert_eq!(policy.ingress[0].peers, Peers::Of(Vec::new()));
    assert_eq!(policy.isolates.len(), 1);
}

#[test]
fn g11_an_unknown_field_of_a_segment_leaves_its_members_uncertain_or_its_isolation_closed() {
    let read = |spec: Value| {
        plain_object(
            Kind::Segment,
            &json!({"metadata": {"name": "p"}, "spec": spec}),
        )
        .unwrap()
    };
    let segment = |spec| {
        let Object::Segment(segment) = read(spec).object else {
            panic!("no segment")
        };
        segment
    };
    let members = json!([{"namespaces": {}}]);
    let unread = segment(json!({"members": members, "images": ["x"]})).members;
    assert!(unread.partial && unread.unread);
    // More members would let its rules allow more, and fewer its isolation.
    let uncertain =
        json!({"metadata": {"name": "p"}, "spec": {"members": [{"namespaces": {}, "images": []}]}});
    let rejection = plain_object(Kind::Segment, &uncertain).unwrap_err();
    assert_eq!(rejection.field, "spec.members[0].images");
    let Object::Segment(stands_in) = stand_in(Kind::Segment, &uncertain).unwrap().object else {
        panic!("no segment")
    };
    assert!(stands_in.members.partial && stands_in.members.selectors.is_empty());
    let isolation =
        json!({"ingress": "Allow", "egress": "Allow", "within": "Allow", "by": "night"});
    let closed = segment(json!({"members": members, "isolation": isolation}));
    assert!(!closed.members.partial);
    assert_eq!(closed.isolation.unwrap().ingress, Action::Deny);
}

#[test]
fn a_segment_with_names_is_partial_until_they_are_asked_for_and_unread_only_by_what_is_not_known() {
    let members = |spec: Value| {
        let value = json!({"metadata": {"name": "p"}, "spec": spec});
        let Object::Segment(segment) = plain_object(Kind::Segment, &value).unwrap().object else {
            panic!("no segment")
        };
        segment.members
    };
    let known = members(json!({"domains": ["api.example.org", "a.b"]}));
    assert_eq!(known.domains, ["api.example.org".into(), "a.b".into()]);
    assert!(known.partial && !known.unread);
    let unread = members(json!({"domains": ["a.b"], "images": ["x"]}));
    assert!(unread.partial && unread.unread);
    let value = json!({"metadata": {"name": "p"}, "spec": {"domains": ["a.b", "*.b"]}});
    let Object::Segment(stands_in) = stand_in(Kind::Segment, &value).unwrap().object else {
        panic!("no segment")
    };
    assert_eq!(stands_in.members.domains, ["a.b".into()]);
    assert!(stands_in.members.unread);
}

#[test]
fn unknown_fields_outside_of_policies_mean_nothing() {
    let pod =
        json!({"metadata": {"name": "p", "selfie": 1}, "spec": {"containers": [], "novelty": {}}});
    assert_eq!(plain_object(Kind::Pod, &pod).unwrap().faults, []);
}
