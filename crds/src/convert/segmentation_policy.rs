//! `SegmentationPolicy`.

use bulkhead_policy::model::{Direction, Fault, Kind, ObjectRef, Policy, SortedSet, Subject, Tier};

use super::instant::lifetime;
use super::limits::{LIST, filled, optional};
use super::rule::rules;
use super::segment::mode;
use super::staleness::max_staleness;
use super::violation::{Checked, Rejection, Violation};
use super::{Converted, metadata, workload_selector};
use crate::kinds::{IsolatedDirection, SegmentationPolicy, SegmentationPolicySpec};

/// Reads a tenant's policy.
///
/// # Errors
/// If it breaks a rule of its schema.
pub fn segmentation_policy(object: &SegmentationPolicy) -> Result<Converted, Rejection> {
    let reference = metadata::namespaced(Kind::SegmentationPolicy, &object.metadata)?;
    Converted::policy(reference, |reference, faults| {
        policy(reference, &object.spec, faults)
    })
}

fn policy(
    object: ObjectRef,
    spec: &SegmentationPolicySpec,
    faults: &mut Vec<Fault>,
) -> Checked<Policy> {
    if spec.isolates.is_some() && spec.expires_at.is_some() {
        return Err(Violation::new(
            "spec.isolates",
            "isolates and expiresAt exclude each other: isolation that expires would open by itself; use two policies",
        ));
    }
    if spec.isolates.is_none() && spec.ingress.is_none() && spec.egress.is_none() {
        return Err(Violation::new(
            "spec",
            "a policy needs isolates, ingress or egress",
        ));
    }
    let (active_from, expires_at) = lifetime(spec.active_from.as_ref(), spec.expires_at.as_ref())?;
    let ingress = optional(spec.ingress.as_ref(), "spec.ingress", LIST)?;
    let egress = optional(spec.egress.as_ref(), "spec.egress", LIST)?;
    let namespace = object.namespace.clone();
    Ok(Policy {
        tier: Tier::Namespace,
        subjects: subjects(spec, &object)?,
        isolates: isolates(optional(spec.isolates.as_ref(), "spec.isolates", 2)?),
        mode: mode(spec.mode),
        active_from,
        expires_at,
        max_staleness: max_staleness(spec.max_staleness.as_ref())?,
        ingress: rules(ingress, &namespace, "spec.ingress", faults)?,
        egress: rules(egress, &namespace, "spec.egress", faults)?,
        object,
    })
}

fn subjects(spec: &SegmentationPolicySpec, object: &ObjectRef) -> Checked<Vec<Subject>> {
    filled(&spec.subjects, "spec.subjects", LIST)?;
    let one = |(index, workloads)| {
        let field = format!("spec.subjects[{index}]");
        workload_selector::subject(workloads, &object.namespace, &field).map(Subject::Selected)
    };
    spec.subjects.iter().enumerate().map(one).collect()
}

fn isolates(directions: &[IsolatedDirection]) -> SortedSet<Direction> {
    let direction = |direction: &IsolatedDirection| match direction {
        IsolatedDirection::Ingress => Direction::Ingress,
        IsolatedDirection::Egress => Direction::Egress,
    };
    directions.iter().map(direction).collect()
}
