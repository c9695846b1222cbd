//! Where the compiler may deny more than the oracle.

use bulkhead_graph::Direction;
use bulkhead_policy::eval::World;
use bulkhead_policy::model::{Action, Address, Peer, Peers, Port, Ports, Protocol, Rule};

use super::Question;

/// The two places where a node may deny more than the oracle. An egress rule that names both networks and port names cannot
/// say "whoever is unknown in this network" in a line, so it says "whoever is unknown". And no policy lets a workload open a
/// tunnel to a node, which would unpack it behind the hooks.
pub fn may_overblock(world: &World, asked: &Question) -> bool {
    if asked.direction == Direction::Egress && is_tunnel_to_node(world, asked) {
        return true;
    }
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

fn is_tunnel_to_node(world: &World, asked: &Question) -> bool {
    // IP in IP, IPv6 in IP, GRE, EtherIP, MPLS in IP; VXLAN by both its ports, Geneve, GRE in UDP.
    let is_tunnel = match asked.protocol {
        Protocol::Other => matches!(asked.port, 4 | 41 | 47 | 97 | 137),
        Protocol::Udp => matches!(asked.port, 4789 | 8472 | 6081 | 4754),
        Protocol::Tcp | Protocol::Sctp | Protocol::Icmp | Protocol::Icmpv6 => false,
    };
    let mut addresses = world.nodes().flat_map(|node| &node.addresses);
    is_tunnel && addresses.any(|address| Address::from(*address) == asked.peer)
}
