//! What is wrong with objects only beside each other: references that lead nowhere, addresses with two owners.
//!
//! Everything here is in force as the semantics say, failing closed; the findings tell people about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bulkhead_policy::model::{
    Direction, Object, ObjectRef, Peer, Peers, Phase, Policy, Subject, Workload,
};

/// One thing that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whose it is.
    pub object: ObjectRef,
    /// Path of the field, where there is one.
    pub field: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

/// Looks at all objects together.
pub fn objects<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<Finding> {
    let mut segments = BTreeSet::new();
    let mut policies = Vec::new();
    let mut claims: BTreeMap<IpAddr, Vec<(ObjectRef, &Workload)>> = BTreeMap::new();
    for object in objects {
        match object {
            Object::Segment(segment) => drop(segments.insert(segment.name.clone())),
            Object::Policy(policy) => policies.push(policy),
            Object::Workload(_, workload) if workload.is_live() => {
                for address in &workload.addresses {
                    claims
                        .entry(*address)
                        .or_default()
                        .push((object.reference(), workload));
                }
            }
            Object::Workload(..)
            | Object::Namespace(_)
            | Object::Node(_)
            | Object::Service(_)
            | Object::EndpointSlice(_) => {}
        }
    }
    let known = |name: &str| segments.contains(name);
    let mut findings: Vec<Finding> = policies
        .iter()
        .flat_map(|policy| references(policy, &known))
        .collect();
    findings.extend(
        claims
            .iter()
            .filter_map(|(address, claimants)| contested(*address, claimants)),
    );
    findings
}

/// Names of the outside world, where nobody asks a name server for them.
pub fn unasked_names<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for object in objects {
        let Object::Segment(segment) = object else {
            continue;
        };
        for (index, name) in segment.members.domains.iter().enumerate() {
            findings.push(Finding {
                object: object.reference(),
                field: Some(format!("spec.domains[{index}]")),
                message: format!(
                    "no name server is asked for {name} here: it is nobody in an Allow and everybody in a Deny; to judge its \
                     addresses, write them in spec.networks of a copy"
                ),
            });
        }
    }
    findings
}

/// References of one policy to segments that are not there.
pub fn references(policy: &Policy, known: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let finding = |field: String, name: &str, meaning: &str| Finding {
        object: policy.object.clone(),
        field: Some(field),
        message: format!(
            "there is no Segment {name}: {meaning}; create the segment or correct the name"
        ),
    };
    let mut findings = Vec::new();
    for (index, subject) in policy.subjects.iter().enumerate() {
        if let Subject::Segment(name) = subject
            && !known(name)
        {
            findings.push(finding(
                format!("spec.subjects[{index}]"),
                name,
                "the policy protects nobody by it",
            ));
        }
    }
    for (direction, word, end) in [
        (Direction::Ingress, "ingress", "from"),
        (Direction::Egress, "egress", "to"),
    ] {
        for (index, rule) in policy.rules(direction).iter().enumerate() {
            let Peers::Of(peers) = &rule.peers else {
                continue;
            };
            for (at, peer) in peers.iter().enumerate() {
                if let Peer::Segment(name) = peer
                    && !known(name)
                {
                    let meaning = "it matches nobody in an Allow and everybody in a Deny";
                    findings.push(finding(
                        format!("spec.{word}[{index}].{end}[{at}].segment"),
                        name,
                        meaning,
                    ));
                }
            }
        }
    }
    findings
}

/// An address that several running workloads claim. A running one takes it from one that still waits.
fn contested(address: IpAddr, claimants: &[(ObjectRef, &Workload)]) -> Option<Finding> {
    let running: Vec<&ObjectRef> = claimants
        .iter()
        .filter(|(_, workload)| workload.phase == Phase::Running)
        .map(|(reference, _)| reference)
        .collect();
    let rivals = if running.is_empty() {
        claimants.iter().map(|(reference, _)| reference).collect()
    } else {
        running
    };
    let [first, others @ ..] = &rivals[..] else {
        return None;
    };
    if others.is_empty() {
        return None;
    }
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    Some(Finding {
        object: (*first).clone(),
        field: None,
        message: format!(
            "{} also claims {address}; unless the range of one's node decides, the address belongs to nobody and is \
             denied: correct the addresses or remove one",
            others.join(", ")
        ),
    })
}
