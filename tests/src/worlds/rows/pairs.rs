//! Worlds of one namespace with many policies.

use bulkhead_policy::model::{Event, Interned, LabelSelector};

use super::plan::{Mirror, Plan, inside};

/// As many policies as pods, each of which selects and admits every pod.
pub(super) fn all_select_all(mut plan: Plan, size: u32) -> Vec<Event> {
    let name: Interned = plan.word().into();
    plan.namespace(&name, ("app", &name));
    let label: (Interned, Interned) = ("app-1".into(), "scale-1".into());
    for number in 0..size {
        plan.pod(&name, &format!("pod{number}"), (&label.0, &label.1));
        let selector = LabelSelector::labels([("app-1", "scale-1")]);
        let peer = inside(&name, selector.clone());
        plan.policy(
            &name,
            &format!("np-{number}"),
            selector,
            Some(peer),
            Mirror::None,
        );
    }
    plan.events()
}

/// Pairs of pods with a label of their own each, and a policy for each that admits the other.
pub(super) fn pairs(mut plan: Plan, pairs: u32) -> Vec<Event> {
    let name: Interned = plan.word().into();
    plan.namespace(&name, ("app", &name));
    for pair in 0..pairs {
        let values = [plan.word(), plan.word()].map(|word| format!("scale-{word}"));
        for (own, other) in [(0, 1), (1, 0)] {
            let suffix = if own == 0 { "a" } else { "b" };
            plan.pod(
                &name,
                &format!("pod{pair}{suffix}"),
                (&"app".into(), &values[own].as_str().into()),
            );
            let select = |value: &str| LabelSelector::labels([("app", value)]);
            let peer = inside(&name, select(&values[other]));
            plan.policy(
                &name,
                &format!("np-{pair}{suffix}"),
                select(&values[own]),
                Some(peer),
                Mirror::None,
            );
        }
    }
    plan.events()
}
