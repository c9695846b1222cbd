//! `Quarantine`.

use bulkhead_policy::model::{
    Direction, Fault, Kind, LabelSelector, Mode, NamespaceScope, ObjectRef, Policy, SortedSet,
    Subject, Tier, WorkloadSelector, owner,
};

use super::instant::instant;
use super::limits::{LIST, filled, optional};
use super::rule::rules;
use super::staleness::max_staleness;
use super::violation::{Checked, Rejection, Violation};
use super::{Converted, metadata, syntax, workload_selector};
use crate::kinds::{PodOwner, Quarantine, QuarantineSpec, QuarantineSubject};

const UNION: &str = "exactly one of workloads, segment, uid, owner";

/// Most exceptions in one direction.
const EXCEPTIONS: usize = 16;

/// Reads a quarantine.
///
/// # Errors
/// If it is not clear whom to cut off, or it would be everybody.
pub fn quarantine(object: &Quarantine) -> Result<Converted, Rejection> {
    let reference = metadata::cluster(Kind::Quarantine, &object.metadata)?;
    Converted::policy(reference, |reference, faults| {
        policy(reference, &object.spec, faults)
    })
}

fn policy(object: ObjectRef, spec: &QuarantineSpec, faults: &mut Vec<Fault>) -> Checked<Policy> {
    if spec.reason.is_empty() {
        return Err(Violation::new("spec.reason", "say why, for the records"));
    }
    let exceptions = spec.exceptions.as_ref();
    if exceptions
        .is_some_and(|exceptions| exceptions.ingress.is_none() && exceptions.egress.is_none())
    {
        return Err(Violation::new(
            "spec.exceptions",
            "exceptions need ingress or egress; add one or remove the field",
        ));
    }
    let ingress = exceptions.and_then(|exceptions| exceptions.ingress.as_ref());
    let ingress = optional(ingress, "spec.exceptions.ingress", EXCEPTIONS)?;
    let egress = exceptions.and_then(|exceptions| exceptions.egress.as_ref());
    let egress = optional(egress, "spec.exceptions.egress", EXCEPTIONS)?;
    Ok(Policy {
        object,
        tier: Tier::Quarantine,
        subjects: subjects(&spec.subjects)?,
        isolates: SortedSet::from([Direction::Ingress, Direction::Egress]),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: spec.expires_at.as_ref().map(instant),
        max_staleness: max_staleness(spec.max_staleness.as_ref())?,
        ingress: rules(ingress, &(), "spec.exceptions.ingress", faults)?,
        egress: rules(egress, &(), "spec.exceptions.egress", faults)?,
    })
}

fn subjects(subjects: &[QuarantineSubject]) -> Checked<Vec<Subject>> {
    filled(subjects, "spec.subjects", LIST)?;
    subjects
        .iter()
        .enumerate()
        .map(|(index, it)| subject(it, &format!("spec.subjects[{index}]")))
        .collect()
}

pub(super) fn subject(subject: &QuarantineSubject, field: &str) -> Checked<Subject> {
    let QuarantineSubject {
        workloads,
        segment,
        uid,
        owner,
    } = subject;
    match (workloads, segment, uid, owner) {
        (Some(workloads), None, None, None) => {
            let field = format!("{field}.workloads");
            let selector = workload_selector::cluster(workloads, &field)?;
            if is_empty(&selector) {
                return Err(Violation::new(
                    field,
                    "this selector is empty and would cut off the whole cluster; name namespaces, pods or serviceAccounts",
                ));
            }
            Ok(Subject::Selected(selector))
        }
        (None, Some(name), None, None) => {
            syntax::object_name(name, &format!("{field}.segment"))?;
            Ok(Subject::Segment(name.as_str().into()))
        }
        (None, None, Some(uid), None) => {
            syntax::uid(uid, &format!("{field}.uid"))?;
            Ok(Subject::Workload(uid.as_str().into()))
        }
        (None, None, None, Some(owner)) => pods_of(owner, &format!("{field}.owner")),
        (None, None, None, None) => Err(Violation::new(
            field,
            format!("nothing known is set; set {UNION}"),
        )),
        _ => Err(Violation::new(
            field,
            format!("several are set; set {UNION}"),
        )),
    }
}

fn pods_of(by: &PodOwner, field: &str) -> Checked<Subject> {
    syntax::object_name(&by.namespace, &format!("{field}.namespace"))?;
    let kind = format!("{field}.kind");
    syntax::kind(&by.kind, &kind)?;
    match by.kind.as_str() {
        "CronJob" => {
            let message = "a CronJob is not told by its pods; name its Jobs";
            return Err(Violation::new(kind, message));
        }
        "Pod" => {
            return Err(Violation::new(
                kind,
                "no pod makes pods; name it by its uid",
            ));
        }
        _ => {}
    }
    syntax::object_name(&by.name, &format!("{field}.name"))?;
    Ok(Subject::Owner(owner(&by.namespace, &by.kind, &by.name)))
}

fn is_empty(selector: &WorkloadSelector) -> bool {
    let everything = LabelSelector::everything();
    let namespaces = match &selector.namespaces {
        NamespaceScope::Matching(labels) => *labels == everything,
        NamespaceScope::Named(_) => false,
    };
    namespaces && selector.labels == everything && selector.service_accounts.is_none()
}
