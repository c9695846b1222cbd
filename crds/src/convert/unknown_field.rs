//! Fields that a newer client wrote and nobody here knows. Each may be a condition that narrows what an Allow admits, or
//! that widens what a Deny closes, so what they stand in fails closed.

use bulkhead_policy::model::{Action, Direction, Fault, Object, Peers, Policy, Ports, Rule};

use super::Converted;

/// Where in a policy or segment a field lies.
enum Place {
    Rule(Direction, usize),
    Members,
    Isolation,
    Whole,
}

/// Closes what the unknown fields of a policy or segment may concern; of other objects they concern nothing.
pub(super) fn close(mut converted: Converted, unknown: &[String]) -> Converted {
    let concerns = unknown.iter().filter(|field| field.starts_with("spec."));
    for field in concerns {
        let place = place(field);
        match &mut converted.object {
            Object::Policy(policy) => close_policy(policy, &place),
            Object::Segment(segment) => match (&place, &mut segment.isolation) {
                (Place::Isolation, Some(isolation)) => {
                    isolation.ingress = Action::Deny;
                    isolation.egress = Action::Deny;
                    isolation.within = Action::Deny;
                }
                (Place::Isolation, None) | (Place::Rule(..) | Place::Members | Place::Whole, _) => {
                    segment.members.partial = true;
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
            message: "this version of Bulkhead does not know the field, so what it stands in allows nothing; correct \
                      its name, remove it, or upgrade the controller"
                .to_owned(),
        });
    }
    converted
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
    Place::Whole
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
        Place::Members | Place::Isolation | Place::Whole => {
            for rule in policy.ingress.iter_mut().chain(&mut policy.egress) {
                match rule.action {
                    Action::Allow => rule.peers = Peers::Of(Vec::new()),
                    Action::Pass => rule.action = Action::Deny,
                    Action::Deny => {}
                }
            }
        }
    }
}

fn close_rule(rule: &mut Rule) {
    match rule.action {
        Action::Allow => rule.peers = Peers::Of(Vec::new()),
        Action::Deny | Action::Pass => {
            rule.action = Action::Deny;
            rule.peers = Peers::Any;
            rule.ports = Ports::Any;
        }
    }
}
