//! A world of companies that have several namespaces each.

use bulkhead_policy::model::{Event, Interned, LabelSelector, NamespaceScope, WorkloadSelector};

use super::plan::{Mirror, Plan};

const COMPANIES: u32 = 100;
const GROUPS: u32 = 10;
const PODS_EACH: u32 = 10;

/// Namespaces whose groups of pods admit the same group of their own company.
pub(super) fn companies(mut plan: Plan, namespaces: u32, mirror: Mirror) -> Vec<Event> {
    let key: Interned = "app".into();
    for number in 0..namespaces {
        let company = format!("company-{}", number % COMPANIES);
        let name: Interned = format!("{company}-{}", plan.word()).into();
        plan.namespace(&name, ("company", &company));
        for group in 0..GROUPS {
            let value: Interned = format!("scale-{group}").into();
            for pod in 0..PODS_EACH {
                plan.pod(&name, &format!("pod{group}-{pod}"), (&key, &value));
            }
            let selector = LabelSelector::labels([(&*key, &*value)]);
            let peer = WorkloadSelector {
                namespaces: NamespaceScope::Matching(LabelSelector::labels([(
                    "company",
                    company.as_str(),
                )])),
                labels: selector.clone(),
                service_accounts: None,
            };
            plan.policy(&name, &format!("np-{group}"), selector, Some(peer), mirror);
        }
    }
    plan.events()
}
