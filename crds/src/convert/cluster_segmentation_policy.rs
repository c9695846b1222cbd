//! `ClusterSegmentationPolicy`.

use bulkhead_policy::model::{Fault, Kind, ObjectRef, Policy, SortedSet, Subject, Tier};

use super::instant::lifetime;
use super::limits::{LIST, filled, optional};
use super::rule::rules;
use super::segment::mode;
use super::staleness::max_staleness;
use super::violation::{Checked, Rejection, Violation};
use super::{Converted, metadata, syntax, workload_selector};
use crate::kinds::{
    ClusterSegmentationPolicy, ClusterSegmentationPolicySpec, ClusterSubject, PolicyTier,
};

/// The weakest priority.
const PRIORITY_LIMIT: u16 = 1000;

/// Reads an administrator's policy.
///
/// # Errors
/// If it breaks a rule of its schema.
pub fn cluster_segmentation_policy(
    object: &ClusterSegmentationPolicy,
) -> Result<Converted, Rejection> {
    let reference = metadata::cluster(Kind::ClusterSegmentationPolicy, &object.metadata)?;
    Converted::policy(reference, |reference, faults| {
        policy(reference, &object.spec, faults)
    })
}

fn policy(
    object: ObjectRef,
    spec: &ClusterSegmentationPolicySpec,
    faults: &mut Vec<Fault>,
) -> Checked<Policy> {
    if spec.ingress.is_none() && spec.egress.is_none() {
        return Err(Violation::new(
            "spec",
            "a policy needs ingress or egress rules",
        ));
    }
    let priority = priority(spec.priority)?;
    let (active_from, expires_at) = lifetime(spec.active_from.as_ref(), spec.expires_at.as_ref())?;
    let ingress = optional(spec.ingress.as_ref(), "spec.ingress", LIST)?;
    let egress = optional(spec.egress.as_ref(), "spec.egress", LIST)?;
    Ok(Policy {
        object,
        tier: match spec.tier {
            PolicyTier::Admin => Tier::Admin(priority),
            PolicyTier::Baseline => Tier::Baseline(priority),
        },
        subjects: subjects(&spec.subjects)?,
        isolates: SortedSet::new(),
        mode: mode(spec.mode),
        active_from,
        expires_at,
        max_staleness: max_staleness(spec.max_staleness.as_ref())?,
        ingress: rules(ingress, &(), "spec.ingress", faults)?,
        egress: rules(egress, &(), "spec.egress", faults)?,
    })
}

/// A place in a cluster tier.
pub(super) fn priority(priority: i32) -> Checked<u16> {
    u16::try_from(priority)
        .ok()
        .filter(|priority| *priority <= PRIORITY_LIMIT)
        .ok_or_else(|| {
            let message = format!("{priority} is not between 0 (strongest) and {PRIORITY_LIMIT}");
            Violation::new("spec.priority", message)
        })
}

fn subjects(subjects: &[ClusterSubject]) -> Checked<Vec<Subject>> {
    filled(subjects, "spec.subjects", LIST)?;
    subjects
        .iter()
        .enumerate()
        .map(|(index, it)| subject(it, &format!("spec.subjects[{index}]")))
        .collect()
}

/// Unlike a peer, a subject that is nothing known rejects the object: nobody can say whom it was to protect.
pub(super) fn subject(subject: &ClusterSubject, field: &str) -> Checked<Subject> {
    match (&subject.workloads, &subject.segment) {
        (Some(workloads), None) => {
            workload_selector::cluster(workloads, &format!("{field}.workloads"))
                .map(Subject::Selected)
        }
        (None, Some(name)) => {
            syntax::object_name(name, &format!("{field}.segment"))?;
            Ok(Subject::Segment(name.as_str().into()))
        }
        (None, None) => Err(Violation::new(
            field,
            "nothing known is set; set exactly one of workloads, segment",
        )),
        (Some(_), Some(_)) => Err(Violation::new(
            field,
            "several are set; set exactly one of workloads, segment",
        )),
    }
}
