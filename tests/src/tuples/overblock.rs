//! Where the compiler may deny more than the oracle.

use bulkhead_graph::Direction;
use bulkhead_policy::eval::World;
use bulkhead_policy::model::{Action, Peer, Peers, Port, Ports, Rule};

use super::Question;

/// The one place where the compiler is allowed to deny more than the oracle: an egress rule that names both networks and
/// port names cannot say "whoever is unknown in this network" in a line, so it says "whoever is unknown".
pub fn may_overblock(world: &World, asked: &Question) -> bool {
    let names_both = |rule: &Rule| {
        let has_network = |peer: &Peer| match peer {
            Peer::Network(_) | Peer::Nodes(_) => true,
            Peer::Segment(name) => world
                .segment(name)
                .is_some_and(|s| !s.members.networks.is_empty()),
            Peer::Workloads(_) | Peer::Unresolved => false,
        };
        rule.action != Action::Allow
            && matches!(&rule.peers, Peers::Of(peers) if peers.iter().any(has_network))
            && matches!(&rule.ports, Ports::Of(ports) if ports.iter().any(|p| matches!(p, Port::Named { .. })))
    };
    asked.direction == Direction::Egress
        && world
            .policies()
            .any(|policy| policy.egress.iter().any(names_both))
}
