//! Whether the destination port of a flow is one of those that a rule speaks of.

use bulkhead_graph::Matched;

use super::Owner;
use super::peers::{any, certain};
use crate::model::{Action, Port, Ports, Protocol};

/// The destination port of a flow.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) protocol: Protocol,
    pub(super) port: u16,
}

/// Whether a rule with this action speaks of the port at its destination. What cannot be read is no port in an
/// `Allow`, and every port in a `Deny`.
pub(super) fn matches(
    ports: &Ports,
    action: Action,
    wanted: Wanted,
    destination: Owner<'_>,
) -> Matched {
    match ports {
        Ports::Any => Matched::Yes,
        Ports::Of(ports) => any(ports.iter().map(|port| match port {
            Port::Protocol(protocol) => certain(*protocol == wanted.protocol),
            Port::Range { protocol, from, to } => {
                certain(*protocol == wanted.protocol && (*from..=*to).contains(&wanted.port))
            }
            Port::Named { protocol, .. } if *protocol != wanted.protocol => Matched::No,
            Port::Named { protocol, name } => match destination {
                // The name means what the destination says it means. Where it does not say, nobody can tell which port
                // of the protocol is meant; otherwise who names the ports could take his own out of an admin's rule.
                Owner::Workload(workload) => {
                    let mut meant = workload
                        .named_ports
                        .iter()
                        .filter(|named| named.name == *name && named.protocol == *protocol)
                        .peekable();
                    match (meant.peek(), action) {
                        (Some(_), _) => certain(meant.any(|named| named.port == wanted.port)),
                        (None, Action::Allow) => Matched::No,
                        (None, Action::Deny) => Matched::Yes,
                        // It holds or it does not, and both ways have to allow.
                        (None, Action::Pass) => Matched::Maybe,
                    }
                }
                // It may give the name to any number.
                Owner::Unknown | Owner::Contested => Matched::Maybe,
                // Nobody outside gives names, so no name speaks of them.
                Owner::Outside => Matched::No,
            },
            Port::Unresolved => certain(action == Action::Deny),
        })),
    }
}
