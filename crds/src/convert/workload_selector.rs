//! Selectors of workloads: what they say about namespaces depends on where they stand.

use bulkhead_policy::model::{
    Interned, LabelSelector, NamespaceScope, SortedSet, WorkloadSelector,
};

use super::limits::{LIST, filled};
use super::violation::{Checked, Violation};
use super::{labels, syntax};
use crate::kinds;

/// Workloads of the policy's own namespace.
pub(super) fn subject(
    workloads: &kinds::SubjectWorkloads,
    namespace: &Interned,
    field: &str,
) -> Checked<WorkloadSelector> {
    if workloads.pods.is_none() && workloads.service_accounts.is_none() {
        return Err(Violation::new(
            field,
            "it names nobody; say pods, serviceAccounts, or both (`pods: {}` is every workload of the namespace)",
        ));
    }
    selector(
        NamespaceScope::Named(namespace.clone()),
        workloads.pods.as_ref(),
        workloads.service_accounts.as_deref(),
        field,
    )
}

/// Workloads as seen from a namespace.
pub(super) fn namespaced(
    workloads: &kinds::NamespacedWorkloads,
    namespace: &Interned,
    field: &str,
) -> Checked<WorkloadSelector> {
    let scope = match &workloads.namespaces {
        Some(namespaces) => NamespaceScope::Matching(labels::selector(
            namespaces,
            &format!("{field}.namespaces"),
        )?),
        None if workloads.pods.is_none() && workloads.service_accounts.is_none() => {
            return Err(Violation::new(
                field,
                "it names nobody; say namespaces, pods or serviceAccounts (`pods: {}` is every workload of this namespace)",
            ));
        }
        None => NamespaceScope::Named(namespace.clone()),
    };
    selector(
        scope,
        workloads.pods.as_ref(),
        workloads.service_accounts.as_deref(),
        field,
    )
}

/// Workloads as seen from the cluster.
pub(super) fn cluster(
    workloads: &kinds::ClusterWorkloads,
    field: &str,
) -> Checked<WorkloadSelector> {
    let namespaces = labels::selector(&workloads.namespaces, &format!("{field}.namespaces"))?;
    let scope = NamespaceScope::Matching(namespaces);
    selector(
        scope,
        workloads.pods.as_ref(),
        workloads.service_accounts.as_deref(),
        field,
    )
}

fn selector(
    namespaces: NamespaceScope,
    pods: Option<&kinds::LabelSelector>,
    service_accounts: Option<&[String]>,
    field: &str,
) -> Checked<WorkloadSelector> {
    let labels = match pods {
        Some(pods) => labels::selector(pods, &format!("{field}.pods"))?,
        None => LabelSelector::everything(),
    };
    let service_accounts = match service_accounts {
        Some(accounts) => Some(names(accounts, &format!("{field}.serviceAccounts"))?),
        None => None,
    };
    Ok(WorkloadSelector {
        namespaces,
        labels,
        service_accounts,
    })
}

fn names(accounts: &[String], field: &str) -> Checked<SortedSet<Interned>> {
    filled(accounts, field, LIST)?;
    accounts
        .iter()
        .enumerate()
        .try_for_each(|(index, name)| syntax::object_name(name, &format!("{field}[{index}]")))?;
    Ok(accounts.iter().map(|name| name.as_str().into()).collect())
}
