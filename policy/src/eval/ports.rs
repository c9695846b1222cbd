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
                // The name means what the destination says it means, and nothing where it does not know it.
                Owner::Workload(workload) => certain(workload.named_ports.iter().any(|named| {
                    named.name == *name && named.protocol == *protocol && named.port == wanted.port
                })),
                // It may give the name to any number.
                Owner::Unknown | Owner::Contested => Matched::Maybe,
                Owner::Outside => Matched::No,
            },
            Port::Unresolved => certain(action == Action::Deny),
        })),
    }
}
