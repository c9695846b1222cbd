//! A world of which one node sees a small part: row E.

use bulkhead_policy::model::{
    Action, Event, Interned, Kind, LabelSelector, Mode, NamespaceScope, ObjectRef, Operator, Peer,
    Peers, Policy, Ports, Requirement, Rule, SortedMap, SortedSet, Subject, Tier, WorkloadSelector,
};

use super::plan::Plan;

const MARKERS: u32 = 31;
const NAMESPACES: u32 = 100;
const RULES: u32 = 5;
const ONE_IN: [u32; 5] = [10, 11, 20, 30, 40];

/// The node whose view is wanted, and how many workloads it has.
pub(super) const HERE: u32 = 0;
const LOCAL: u32 = 200;

/// Workloads with six labels each, `remote` of them elsewhere, and policies that select by the presence of one label and
/// admit by that of others.
pub(super) fn view(mut plan: Plan, nodes: u32, remote: u32, policies: u32) -> Vec<Event> {
    let namespaces: Vec<Interned> = (0..NAMESPACES)
        .map(|number| format!("namespace-{number}").into())
        .collect();
    for namespace in &namespaces {
        plan.namespace(namespace, ("view", "all"));
    }
    let keys = ONE_IN.map(|share| Interned::from(format!("one-in-{share}")));
    let values: Vec<Interned> = (0..40).map(|n| format!("value-{n}").into()).collect();
    let markers: Vec<Interned> = (0..MARKERS).map(|n| format!("marker-{n}").into()).collect();
    let present: Interned = "true".into();
    for number in 0..remote + LOCAL {
        let shares = keys.iter().zip(ONE_IN);
        let mut labels: SortedMap<Interned, Interned> = shares
            .map(|(key, share)| (key.clone(), values[(number % share) as usize].clone()))
            .collect();
        let marker = plan.below(MARKERS) as usize;
        labels.insert(markers[marker].clone(), present.clone());
        let node = if number < LOCAL {
            HERE
        } else {
            1 + plan.below(nodes - 1)
        };
        let namespace = &namespaces[(number % NAMESPACES) as usize];
        plan.pod_near(node, namespace, &format!("workload-{number}"), labels);
    }
    for number in 0..policies {
        let policy = policy(&mut plan, number, &markers);
        plan.add(policy);
    }
    plan.events()
}

fn policy(plan: &mut Plan, number: u32, markers: &[Interned]) -> Policy {
    let mut any = || {
        let marker = &markers[plan.below(MARKERS) as usize];
        WorkloadSelector {
            namespaces: NamespaceScope::Matching(LabelSelector::everything()),
            labels: LabelSelector::new([Requirement {
                key: marker.clone(),
                operator: Operator::Exists,
            }]),
            service_accounts: None,
        }
    };
    let subjects = vec![Subject::Selected(any())];
    let rules = (0..RULES).map(|_| Rule {
        name: "".into(),
        action: Action::Allow,
        peers: Peers::Of(vec![Peer::Workloads(any())]),
        ports: Ports::Any,
    });
    let name = format!("view-{number}");
    Policy {
        object: ObjectRef::cluster(Kind::ClusterSegmentationPolicy, &name),
        tier: Tier::Baseline(number as u16 % 1000),
        subjects,
        isolates: SortedSet::new(),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: rules.collect(),
        egress: Vec::new(),
    }
}
