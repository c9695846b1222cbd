//! `Segment`.

use bulkhead_policy::model::{
    Action, Interned, Isolation, Kind, Membership, Mode, Object, Segment, Strength,
};

use super::limits::{LIST, optional};
use super::violation::{Checked, Rejection, Violation};
use super::{Converted, domain, metadata, network, workload_selector};
use crate::kinds::{self, SegmentSpec};

/// Reads a segment.
///
/// # Errors
/// If its members are not clear.
pub fn segment(object: &kinds::Segment) -> Result<Converted, Rejection> {
    let reference = metadata::cluster(Kind::Segment, &object.metadata)?;
    let spec = &object.spec;
    let members =
        membership(spec).map_err(|violation| violation.into_rejection(reference.to_string()))?;
    let segment = Segment {
        name: reference.name,
        members,
        isolation: spec.isolation.as_ref().map(isolation),
        mode: mode(spec.mode),
    };
    Ok(Converted {
        object: Object::Segment(Box::new(segment)),
        faults: Vec::new(),
    })
}

/// Acting or watching.
pub(super) fn mode(mode: kinds::Mode) -> Mode {
    match mode {
        kinds::Mode::Enforce => Mode::Enforce,
        kinds::Mode::Audit => Mode::Audit,
    }
}

fn membership(spec: &SegmentSpec) -> Checked<Membership> {
    if spec.members.is_none() && spec.networks.is_none() && spec.domains.is_none() {
        return Err(Violation::new(
            "spec",
            "a segment needs members, networks or domains",
        ));
    }
    if spec.isolation.is_some() && spec.members.is_none() {
        return Err(Violation::new(
            "spec.isolation",
            "isolation protects members: name them, networks and domains cannot be protected",
        ));
    }
    let members = optional(spec.members.as_ref(), "spec.members", LIST)?
        .iter()
        .enumerate();
    let networks = optional(spec.networks.as_ref(), "spec.networks", 256)?
        .iter()
        .enumerate();
    let domains: Vec<Interned> = optional(spec.domains.as_ref(), "spec.domains", LIST)?
        .iter()
        .enumerate()
        .map(|(index, name)| domain::domain(name, &format!("spec.domains[{index}]")))
        .collect::<Checked<_>>()?;
    Ok(Membership {
        selectors: members
            .map(|(index, member)| {
                workload_selector::cluster(member, &format!("spec.members[{index}]"))
            })
            .collect::<Checked<_>>()?,
        networks: networks
            .map(|(index, range)| network::network(range, &format!("spec.networks[{index}]")))
            .collect::<Checked<_>>()?,
        // Nobody has asked a name server yet.
        partial: !domains.is_empty(),
        domains,
        unread: false,
    })
}

fn isolation(isolation: &kinds::SegmentIsolation) -> Isolation {
    let action = |action| match action {
        kinds::IsolationAction::Allow => Action::Allow,
        kinds::IsolationAction::Deny => Action::Deny,
    };
    Isolation {
        ingress: action(isolation.ingress),
        egress: action(isolation.egress),
        within: action(isolation.within),
        strength: match isolation.strength {
            kinds::IsolationStrength::Default => Strength::Default,
            kinds::IsolationStrength::Boundary => Strength::Boundary,
        },
    }
}
