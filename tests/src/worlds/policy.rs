//! Random policies and segments.

use bulkhead_policy::model::{
    Action, Direction, Isolation, Kind, Membership, Mode, NamespaceScope, ObjectRef, Peer, Peers,
    Policy, Ports, Rule, Segment, SortedSet, Strength, Subject, Tier, WorkloadSelector,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::cluster::{any_owner, uid};
use super::selector::{Reach, cluster_selector, namespace_selector, network, peers, ports, rarely};
use super::sorted::sorted_set;
use super::vocabulary::{DATES, LEASES, NAMESPACES, SEGMENTS, one};

const NAMES: &[&str] = &["p0", "p1", "p2"];

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![4 => Just(Mode::Enforce), 1 => Just(Mode::Audit)]
}

fn rules(actions: &'static [Action], reach: Reach) -> BoxedStrategy<Vec<Rule>> {
    let rule = (select(actions), peers(reach), ports()).prop_map(|(action, peers, ports)| Rule {
        name: "".into(),
        action,
        peers,
        ports,
    });
    vec(rule, 0..3)
        .prop_map(|mut rules| {
            for (number, rule) in rules.iter_mut().enumerate() {
                rule.name = format!("r{number}").as_str().into();
            }
            rules
        })
        .boxed()
}

fn isolates() -> impl Strategy<Value = SortedSet<Direction>> {
    sorted_set(select(&[Direction::Ingress, Direction::Egress][..]), 0..3)
}

/// What all kinds have in common.
fn policy(
    object: impl Strategy<Value = ObjectRef> + 'static,
    tier: impl Strategy<Value = Tier> + 'static,
    subjects: impl Strategy<Value = Vec<Subject>> + 'static,
    isolates: impl Strategy<Value = SortedSet<Direction>> + 'static,
    actions: &'static [Action],
    reach: Reach,
) -> BoxedStrategy<Policy> {
    let dates = (
        rarely(select(DATES)),
        rarely(select(DATES)),
        rarely(select(LEASES)),
    );
    let rules = (rules(actions, reach), rules(actions, reach));
    (object, tier, subjects, isolates, mode(), dates, rules)
        .prop_map(
            |(
                object,
                tier,
                subjects,
                isolates,
                mode,
                (active_from, expires_at, max_staleness),
                (ingress, egress),
            )| {
                Policy {
                    object,
                    tier,
                    subjects,
                    isolates,
                    mode,
                    active_from,
                    expires_at,
                    max_staleness,
                    ingress,
                    egress,
                }
            },
        )
        .boxed()
}

fn cluster_subjects() -> impl Strategy<Value = Vec<Subject>> {
    let subject = prop_oneof![
        4 => cluster_selector().prop_map(Subject::Selected),
        1 => one(SEGMENTS).prop_map(|name| Subject::Segment(name.into())),
        1 => uid().prop_map(Subject::Workload),
        1 => any_owner().prop_map(Subject::Owner),
    ];
    vec(subject, 1..3)
}

fn named(kind: Kind) -> impl Strategy<Value = ObjectRef> {
    one(NAMES).prop_map(move |name| ObjectRef::cluster(kind, name))
}

fn cluster_tier() -> impl Strategy<Value = Policy> {
    const ALL: &[Action] = &[Action::Allow, Action::Deny, Action::Pass];
    // Few priorities, so that equal ones are the rule, and both ends of their range.
    let priority = || select(&[0_u16, 1, 1, 1000][..]);
    let tier = prop_oneof![
        3 => priority().prop_map(Tier::Admin),
        2 => priority().prop_map(Tier::Baseline),
    ];
    let kind = select(&[Kind::ClusterSegmentationPolicy, Kind::ClusterNetworkPolicy][..]);
    let object = (kind, one(NAMES)).prop_map(|(kind, name)| ObjectRef::cluster(kind, name));
    policy(
        object,
        tier,
        cluster_subjects(),
        Just(SortedSet::new()),
        ALL,
        Reach::Cluster,
    )
}

/// A cluster policy for everybody whose first rule passes some peers on to the later steps.
fn passing() -> impl Strategy<Value = Policy> {
    let other = (select(&[Action::Allow, Action::Deny][..]), ports());
    (cluster_tier(), peers(Reach::Cluster), ports(), other).prop_map(
        |(policy, peers, ports, (action, others))| {
            let rules = vec![
                rule("r0", Action::Pass, peers, ports),
                rule("r1", action, Peers::Any, others),
            ];
            Policy {
                subjects: vec![Subject::Selected(WorkloadSelector::everything())],
                ingress: rules.clone(),
                egress: rules,
                ..policy
            }
        },
    )
}

/// The policy that most people write: everybody in the namespace is closed, and some peers are let in and out.
fn closing() -> impl Strategy<Value = Policy> {
    (one(NAMESPACES), cluster_selector(), mode()).prop_map(|(namespace, peer, mode)| {
        let everybody = WorkloadSelector {
            namespaces: NamespaceScope::Named(namespace.into()),
            ..WorkloadSelector::everything()
        };
        let rules = vec![rule(
            "r0",
            Action::Allow,
            Peers::Of(vec![Peer::Workloads(peer)]),
            Ports::Any,
        )];
        Policy {
            object: ObjectRef::namespaced(Kind::NetworkPolicy, namespace, "closed"),
            tier: Tier::Namespace,
            subjects: vec![Subject::Selected(everybody)],
            isolates: [Direction::Ingress, Direction::Egress].into(),
            mode,
            active_from: None,
            expires_at: None,
            max_staleness: None,
            ingress: rules.clone(),
            egress: rules,
        }
    })
}

fn rule(name: &str, action: Action, peers: Peers, ports: Ports) -> Rule {
    Rule {
        name: name.into(),
        action,
        peers,
        ports,
    }
}

fn quarantine() -> impl Strategy<Value = Policy> {
    let tier = Just(Tier::Quarantine);
    let nothing = Just(SortedSet::new());
    policy(
        named(Kind::Quarantine),
        tier,
        cluster_subjects(),
        nothing,
        &[Action::Allow],
        Reach::Cluster,
    )
}

fn tenant(kind: Kind, actions: &'static [Action]) -> impl Strategy<Value = Policy> {
    one(NAMESPACES).prop_flat_map(move |namespace| {
        let object = one(NAMES).prop_map(move |name| ObjectRef::namespaced(kind, namespace, name));
        let subjects = vec(
            namespace_selector(namespace).prop_map(Subject::Selected),
            1..3,
        );
        let reach = Reach::Namespace(namespace);
        policy(
            object,
            Just(Tier::Namespace),
            subjects,
            isolates(),
            actions,
            reach,
        )
    })
}

/// A policy of any kind.
pub(super) fn any_policy() -> BoxedStrategy<Policy> {
    prop_oneof![
        8 => cluster_tier(),
        2 => passing(),
        3 => closing(),
        1 => quarantine(),
        4 => tenant(Kind::NetworkPolicy, &[Action::Allow]),
        4 => tenant(Kind::SegmentationPolicy, &[Action::Allow, Action::Deny]),
    ]
    .boxed()
}

fn isolation() -> impl Strategy<Value = Isolation> {
    let action = || select(&[Action::Allow, Action::Deny][..]);
    // One Deny among several common segments denies, and a Boundary never allows: what opens has to be likelier.
    let within = prop_oneof![3 => Just(Action::Allow), 1 => Just(Action::Deny)];
    let strength = prop_oneof![2 => Just(Strength::Default), 1 => Just(Strength::Boundary)];
    (action(), action(), within, strength).prop_map(|(ingress, egress, within, strength)| {
        Isolation {
            ingress,
            egress,
            within,
            strength,
        }
    })
}

/// A segment; the last name of the vocabulary stays free.
pub(super) fn any_segment() -> impl Strategy<Value = Segment> {
    let names = &SEGMENTS[..SEGMENTS.len() - 1];
    let members = (
        vec(cluster_selector(), 0..3),
        vec(network(), 0..2),
        rarely(Just(())),
    )
        .prop_map(|(selectors, networks, unread)| Membership {
            selectors,
            networks,
            partial: unread.is_some(),
            domains: Vec::new(),
            unread: unread.is_some(),
        });
    let isolation = prop_oneof![1 => Just(None), 3 => isolation().prop_map(Some)];
    (one(names), members, isolation, mode()).prop_map(|(name, members, isolation, mode)| Segment {
        name: name.into(),
        members,
        isolation,
        mode,
    })
}
