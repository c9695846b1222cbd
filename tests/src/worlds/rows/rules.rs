//! A world of policies that concern nobody, and of one subject with many networks: row D.

use std::net::Ipv4Addr;

use bulkhead_policy::model::{
    Action, Direction, Event, Interned, Kind, LabelSelector, Mode, Network, ObjectRef, Peer, Peers,
    Policy, Port, Ports, Protocol, Rule, SortedSet, Subject, Tier,
};
use ipnet::{IpNet, Ipv4Net};

use super::plan::{Mirror, Plan, inside};

pub(super) const NAMESPACE: &str = "rules";
/// The label of the subject of [`networks`].
pub(super) const SUBJECT: (&str, &str) = ("app", "subject");

/// One workload and policies of which none selects it.
pub(super) fn elsewhere(mut plan: Plan, policies: u32) -> Vec<Event> {
    let name: Interned = NAMESPACE.into();
    plan.namespace(NAMESPACE, ("app", NAMESPACE));
    plan.pod(&name, "subject", (&SUBJECT.0.into(), &SUBJECT.1.into()));
    for number in 0..policies {
        let select = |what: &str| {
            let value = format!("{what}-{number}");
            LabelSelector::labels([("app", value.as_str())])
        };
        let peer = inside(NAMESPACE, select("peer"));
        let name = format!("policy-{number}");
        plan.policy(NAMESPACE, &name, select("other"), Some(peer), Mirror::None);
    }
    plan.events()
}

/// A policy that lets the subject open connections to so many networks, nested in each other.
pub(super) fn networks(count: u32) -> Policy {
    let rule = |number: u32| {
        let length = [8, 16, 24, 28, 32][number as usize % 5];
        let address = Ipv4Addr::from(0x1400_0000 + (number / 5) * 0x0001_0101);
        let network = IpNet::V4(Ipv4Net::new_assert(address, length));
        let port = 80 + (number % 97) as u16;
        Rule {
            name: "".into(),
            action: Action::Allow,
            peers: Peers::Of(vec![Peer::Network(Network::new(network, []))]),
            ports: Ports::Of(vec![Port::Range {
                protocol: Protocol::Tcp,
                from: port,
                to: port,
            }]),
        }
    };
    Policy {
        object: ObjectRef::namespaced(Kind::NetworkPolicy, NAMESPACE, "networks"),
        tier: Tier::Namespace,
        subjects: vec![Subject::Selected(inside(
            NAMESPACE,
            LabelSelector::labels([SUBJECT]),
        ))],
        isolates: SortedSet::from([Direction::Egress]),
        mode: Mode::Enforce,
        active_from: None,
        expires_at: None,
        max_staleness: None,
        ingress: Vec::new(),
        egress: (0..count).map(rule).collect(),
    }
}
