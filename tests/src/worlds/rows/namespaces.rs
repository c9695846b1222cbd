//! Worlds of namespaces that keep to themselves.

use bulkhead_policy::model::{Event, Interned, LabelSelector};

use super::plan::{Mirror, Plan, inside};

/// Four pods under two labels and three policies in each.
pub(super) fn small(mut plan: Plan, namespaces: u32, mirror: Mirror) -> Vec<Event> {
    for _ in 0..namespaces {
        namespace(&mut plan, 2, 2, mirror);
    }
    plan.events()
}

/// A thousand pods under a hundred labels and a hundred and one policies in each.
pub(super) fn large(mut plan: Plan, namespaces: u32) -> Vec<Event> {
    for _ in 0..namespaces {
        namespace(&mut plan, 100, 10, Mirror::None);
    }
    plan.events()
}

fn namespace(plan: &mut Plan, groups: u32, pods_each: u32, mirror: Mirror) {
    let name: Interned = plan.word().into();
    plan.namespace(&name, ("app", &name));
    plan.policy(
        &name,
        "default-deny",
        LabelSelector::everything(),
        None,
        mirror,
    );
    for group in 1..=groups {
        let (key, value) = (format!("app-{group}"), format!("scale-{group}"));
        let label: (Interned, Interned) = (key.as_str().into(), value.as_str().into());
        for pod in 1..=pods_each {
            let number = (group - 1) * pods_each + pod;
            plan.pod(&name, &format!("pod{number}"), (&label.0, &label.1));
        }
        let selector = LabelSelector::labels([(key.as_str(), value.as_str())]);
        let peer = inside(&name, selector.clone());
        plan.policy(&name, &format!("np-{group}"), selector, Some(peer), mirror);
    }
}
