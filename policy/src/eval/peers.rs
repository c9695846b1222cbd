//! Whether the other end of a flow is one of those that a rule, a subject or a segment speaks of.

use bulkhead_graph::Matched;

use super::{Owner, World};
use crate::model::{
    Action, Address, LabelSelector, Membership, NamespaceScope, Peer, Peers, Policy, Port, Ports,
    Rule, Subject, Tier, Workload, WorkloadSelector,
};

/// The other end of a flow.
#[derive(Clone, Copy)]
pub(super) struct OtherEnd<'w> {
    pub(super) address: Address,
    pub(super) owner: Owner<'w>,
}

impl World {
    pub(super) fn peer(&self, address: Address) -> OtherEnd<'_> {
        OtherEnd {
            address,
            owner: self.owner(address),
        }
    }

    /// Whether a policy protects a workload.
    pub(super) fn is_subject(&self, policy: &Policy, workload: &Workload) -> bool {
        // Nothing namespaced changes a verdict for a workload outside its namespace, whatever it selects.
        let in_reach =
            policy.tier != Tier::Namespace || policy.object.namespace == workload.namespace;
        in_reach
            && policy.subjects.iter().any(|subject| match subject {
                Subject::Selected(selector) => self.selects(selector, workload),
                Subject::Workload(uid) => *uid == workload.uid,
                Subject::Owner(owner) => workload.owners.contains(owner),
                Subject::Segment(name) => self
                    .segment(name)
                    .is_some_and(|segment| self.is_member(&segment.members, workload)),
            })
    }

    /// Whether a workload is in a segment: by identity, never by address.
    pub(super) fn is_member(&self, members: &Membership, workload: &Workload) -> bool {
        members
            .selectors
            .iter()
            .any(|selector| self.selects(selector, workload))
    }

    /// Whether a selector names a workload.
    pub(super) fn selects(&self, selector: &WorkloadSelector, workload: &Workload) -> bool {
        let in_scope = match &selector.namespaces {
            NamespaceScope::Named(name) => *name == workload.namespace,
            NamespaceScope::Matching(labels) => {
                labels.matches(&self.namespace_labels(&workload.namespace))
            }
        };
        in_scope
            && selector.labels.matches(&workload.labels)
            && selector
                .service_accounts
                .as_ref()
                .is_none_or(|names| names.contains(&workload.service_account))
    }

    /// What a rule does. A `Pass` of which something cannot be read or resolved would let go by what it was to leave to
    /// others, or leave to others what a later rule denies; it denies.
    pub(super) fn action(&self, rule: &Rule) -> Action {
        let is_lost = |peer: &Peer| match peer {
            Peer::Unresolved => true,
            Peer::Segment(name) => self
                .segment(name)
                .is_none_or(|segment| segment.members.partial),
            Peer::Workloads(_) | Peer::Network(_) | Peer::Nodes(_) => false,
        };
        let peers = matches!(&rule.peers, Peers::Of(peers) if peers.iter().any(is_lost));
        let ports = matches!(&rule.ports, Ports::Of(ports) if ports.contains(&Port::Unresolved));
        if rule.action == Action::Pass && (peers || ports) {
            return Action::Deny;
        }
        rule.action
    }

    /// Whether a rule with this action speaks of the other end. What cannot be read or resolved is nobody in an
    /// `Allow`, and everybody in a `Deny`.
    pub(super) fn matches_peers(
        &self,
        peers: &Peers,
        action: Action,
        end: OtherEnd<'_>,
    ) -> Matched {
        let unresolved = if action == Action::Deny {
            Matched::Yes
        } else {
            Matched::No
        };
        match peers {
            Peers::Any => Matched::Yes,
            Peers::Of(peers) => any(peers.iter().map(|peer| match peer {
                Peer::Workloads(selector) => self.matches_selector(selector, end),
                Peer::Network(network) => certain(network.contains(end.address)),
                Peer::Nodes(labels) => certain(self.is_node(labels, end.address)),
                Peer::Segment(name) => match self.segment(name) {
                    Some(segment) => self.matches_members(&segment.members, end),
                    None => unresolved,
                },
                Peer::Unresolved => unresolved,
            })),
        }
    }

    /// Whether the other end is in a segment: workloads by identity, and every address in its networks.
    pub(super) fn matches_members(&self, members: &Membership, end: OtherEnd<'_>) -> Matched {
        let by_address = members
            .networks
            .iter()
            .map(|network| certain(network.contains(end.address)));
        let by_identity = members
            .selectors
            .iter()
            .map(|selector| self.matches_selector(selector, end));
        let unread = members.partial.then_some(Matched::Maybe);
        any(by_address.chain(by_identity).chain(unread))
    }

    /// Whether one of the nodes with such labels has the address. What is there matches by address, whoever it is.
    fn is_node(&self, labels: &LabelSelector, address: Address) -> bool {
        self.nodes()
            .any(|node| labels.matches(&node.labels) && node.addresses.contains(&address.ip()))
    }

    fn matches_selector(&self, selector: &WorkloadSelector, end: OtherEnd<'_>) -> Matched {
        match end.owner {
            Owner::Workload(workload) => certain(self.selects(selector, workload)),
            // Only a selector without any condition is sure of a workload whose labels nobody knows.
            Owner::Unknown | Owner::Contested if selector.is_universal() => Matched::Yes,
            Owner::Unknown | Owner::Contested => Matched::Maybe,
            // Label selectors never match by address.
            Owner::Outside => Matched::No,
        }
    }
}

pub(super) fn certain(yes: bool) -> Matched {
    if yes { Matched::Yes } else { Matched::No }
}

/// The union of several conditions.
pub(super) fn any(conditions: impl Iterator<Item = Matched>) -> Matched {
    conditions.fold(Matched::No, |so_far, next| match (so_far, next) {
        (Matched::Yes, _) | (_, Matched::Yes) => Matched::Yes,
        (Matched::Maybe, _) | (_, Matched::Maybe) => Matched::Maybe,
        (Matched::No, Matched::No) => Matched::No,
    })
}

/// Both of two conditions.
pub(super) fn both(one: Matched, other: Matched) -> Matched {
    match (one, other) {
        (Matched::No, _) | (_, Matched::No) => Matched::No,
        (Matched::Maybe, _) | (_, Matched::Maybe) => Matched::Maybe,
        (Matched::Yes, Matched::Yes) => Matched::Yes,
    }
}
