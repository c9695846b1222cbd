//! The halves of flows that a node's graph answers for, and what the oracle says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::worlds::vocabulary;
use bulkhead_graph::{Direction, LocalWorkload, NodeGraph};
use bulkhead_policy::engine::Engine;
use bulkhead_policy::eval::{Flow, Half, Provenance, World, eval};
use bulkhead_policy::model::{Address, Interned, Moment, Protocol};

/// Graphs of all nodes.
pub fn graphs(engine: &mut Engine) -> BTreeMap<Interned, Arc<NodeGraph>> {
    let nodes = engine.nodes();
    nodes
        .into_iter()
        .filter_map(|node| engine.node_graph(&node).map(|graph| (node, graph)))
        .collect()
}

/// One half of a flow, as a local workload's rule set is asked about it.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The workload's end.
    pub own: Address,
    /// The other end.
    pub peer: Address,
    /// Seen from the workload.
    pub direction: Direction,
    /// Transport.
    pub protocol: Protocol,
    /// Destination port of the flow.
    pub port: u16,
}

impl Question {
    /// The flow that it is a half of.
    pub fn flow(&self) -> Flow {
        let (source, destination) = match self.direction {
            Direction::Egress => (self.own, self.peer),
            Direction::Ingress => (self.peer, self.own),
        };
        Flow {
            source,
            destination,
            protocol: self.protocol,
            port: self.port,
        }
    }

    /// What the oracle says: enforced and intended. `None` where this half is not judged on this flow: ingress of a
    /// flow that a Service will translate.
    pub fn oracle(&self, world: &World, at: impl Into<Moment>) -> Option<(Half, Half)> {
        let verdict = eval(world, &self.flow(), at);
        let (enforced, intended) = match self.direction {
            Direction::Egress => (verdict.enforced.egress, verdict.intended.egress),
            Direction::Ingress => (verdict.enforced.ingress, verdict.intended.ingress),
        };
        (enforced.rule != Provenance::JudgedAtEndpoint).then_some((enforced, intended))
    }
}

/// Everything worth asking about one local workload.
pub fn questions(workload: &LocalWorkload) -> Vec<Question> {
    let mut questions = Vec::new();
    for own in &workload.addresses {
        for peer in vocabulary::addresses() {
            // A packet has one family, and to its own address a workload needs nobody's leave.
            if peer.is_ipv4() != own.is_ipv4() || workload.addresses.contains(&peer) {
                continue;
            }
            for direction in [Direction::Egress, Direction::Ingress] {
                for (protocol, port) in vocabulary::ASKED
                    .iter()
                    .copied()
                    .filter(|(p, _)| fits(*p, *own))
                {
                    questions.push(Question {
                        own: *own,
                        peer,
                        direction,
                        protocol,
                        port,
                    });
                }
            }
        }
    }
    questions
}

/// Whether packets of that family carry the protocol.
pub fn fits(protocol: Protocol, address: Address) -> bool {
    match protocol {
        Protocol::Icmp => address.is_ipv4(),
        Protocol::Icmpv6 => !address.is_ipv4(),
        Protocol::Tcp | Protocol::Udp | Protocol::Sctp | Protocol::Other => true,
    }
}
