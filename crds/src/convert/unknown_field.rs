//! Fields that a newer client wrote and nobody here knows. Each may be a condition that narrows what an Allow admits, or
//! that widens what a Deny closes, so what they stand in fails closed.

use std::sync::Arc;

use bulkhead_policy::model::{
    Action, Direction, Fault, Isolation, Kind, Object, ObjectRef, Peers, Policy, Ports, Rule,
    Strength, Tier,
};

use super::Converted;
use super::violation::{Rejection, Violation};

/// Where in a policy or segment a field lies.
enum Place {
    Rule(Direction, usize),
    Members,
    Isolation,
    /// Somewhere else, in a part that is known.
    Whole,
    /// Beside the parts that are known: it may be any of those that are absent, in other words.
    Spec,
}

const MESSAGE: &str = "this version of Bulkhead does not know the field, so what it stands in allows nothing; correct its name, \
                       remove it, or upgrade the controller";

/// Closes what the unknown fields of a policy or segment may concern; of other objects they concern nothing.
///
/// # Errors
/// If it is a segment of which a member is not known: with more of them its rules allow more, with fewer its isolation does.
pub(super) fn close(mut converted: Converted, unknown: &[String]) -> Result<Converted, Rejection> {
    let concerns = unknown.iter().filter(|field| field.starts_with("spec."));
    for field in concerns {
        let place = place(field);
        match &mut converted.object {
            Object::Policy(policy) => close_policy(Arc::make_mut(policy), &place),
            Object::Segment(segment) => match (&place, &mut segment.isolation) {
                (Place::Members, _) => {
                    let object = ObjectRef::cluster(Kind::Segment, &segment.name).to_string();
                    return Err(Violation::new(field, MESSAGE).into_rejection(object));
                }
                (Place::Isolation, Some(isolation)) => {
                    isolation.ingress = Action::Deny;
                    isolation.egress = Action::Deny;
                    isolation.within = Action::Deny;
                }
                (Place::Spec, None) => {
                    segment.members.leave_unread();
                    segment.isolation = Some(closed_isolation());
                }
                (Place::Isolation, None) | (Place::Rule(..) | Place::Whole | Place::Spec, _) => {
                    segment.members.leave_unread();
                }
            },
            Object::Namespace(_)
            | Object::Workload(..)
            | Object::Node(_)
            | Object::Service(_)
            | Object::EndpointSlice(_) => continue,
        }
        converted.faults.push(Fault {
            field: field.clone(),
            message: MESSAGE.to_owned(),
        });
    }
    Ok(converted)
}

/// `spec.ingress[3].from[0].x` lies in a rule, and so does `spec.exceptions.egress[0].x`.
fn place(field: &str) -> Place {
    let inside = field.trim_start_matches("spec.");
    let inside = inside.strip_prefix("exceptions.").unwrap_or(inside);
    for (word, direction) in [
        ("ingress[", Direction::Ingress),
        ("egress[", Direction::Egress),
    ] {
        let index = inside
            .strip_prefix(word)
            .and_then(|rest| rest.split_once(']'))
            .and_then(|(index, _)| index.parse().ok());
        if let Some(index) = index {
            return Place::Rule(direction, index);
        }
    }
    if inside.starts_with("isolation.") {
        return Place::Isolation;
    }
    if inside.starts_with("members[") || inside.starts_with("networks[") {
        return Place::Members;
    }
    match inside.contains(['.', '[']) {
        true => Place::Whole,
        false => Place::Spec,
    }
}

/// Isolation of which nothing is known.
pub(super) fn closed_isolation() -> Isolation {
    Isolation {
        ingress: Action::Deny,
        egress: Action::Deny,
        within: Action::Deny,
        strength: Strength::Boundary,
    }
}

/// A rule of which nothing is known.
pub(super) fn deny_everything() -> Rule {
    Rule {
        name: "".into(),
        action: Action::Deny,
        peers: Peers::Any,
        ports: Ports::Any,
    }
}

fn close_policy(policy: &mut Policy, place: &Place) {
    match place {
        Place::Rule(direction, index) => {
            let rules = match direction {
                Direction::Ingress => &mut policy.ingress,
                Direction::Egress => &mut policy.egress,
            };
            // A direction that a NetworkPolicy does not speak about has no rules.
            if let Some(rule) = rules.get_mut(*index) {
                close_rule(rule);
            }
        }
        // Perhaps it applies to fewer, or at other times: its Denies stay, and it opens nothing.
        Place::Members | Place::Isolation | Place::Whole => close_what_opens(policy),
        Place::Spec => {
            close_what_opens(policy);
            close_what_is_absent(policy);
        }
    }
}

fn close_what_opens(policy: &mut Policy) {
    for rule in policy.ingress.iter_mut().chain(&mut policy.egress) {
        match rule.action {
            Action::Allow => rule.peers = Peers::Of(Vec::new()),
            Action::Pass => rule.action = Action::Deny,
            Action::Deny => {}
        }
    }
}

/// The unknown field may hold the rules or the isolation of a direction that the policy seems to say nothing about.
fn close_what_is_absent(policy: &mut Policy) {
    // Isolation never stands beside an end: it would open by itself.
    if policy.tier == Tier::Namespace && policy.expires_at.is_none() {
        policy.isolates = [Direction::Ingress, Direction::Egress].into();
    }
    let denies = policy.object.kind != Kind::NetworkPolicy && policy.tier != Tier::Quarantine;
    for rules in [&mut policy.ingress, &mut policy.egress] {
        if denies && rules.is_empty() {
            rules.push(deny_everything());
        }
    }
}

fn close_rule(rule: &mut Rule) {
    match rule.action {
        Action::Allow => rule.peers = Peers::Of(Vec::new()),
        Action::Deny | Action::Pass => {
            let name = std::mem::replace(&mut rule.name, "".into());
            *rule = Rule {
                name,
                ..deny_everything()
            };
        }
    }
}
