//! Which entry of a rule set decides, for people. Reads the graph itself, so that it also checks the tables.

use bulkhead_graph::{
    Address, Direction, Judgement, Known, Moment, NodeGraph, Peer, PeerSetId, Protocol, RuleSet,
    Stance, judge,
};

/// What decides one half of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The outcome.
    pub allow: bool,
    /// The judgement on the address as what it is; for a Service's port, that on the deciding backend.
    pub judgement: Judgement,
    /// The backend and its port, where one decided.
    pub backend: Option<(Address, u16)>,
    /// A Service's port without any backend, or one that there was no room for.
    pub no_backend: bool,
}

/// The address as rule sets see it.
fn known_as(graph: &NodeGraph, address: Address) -> (Known, Vec<PeerSetId>) {
    let sets: Vec<PeerSetId> = graph
        .peer_sets
        .iter()
        .filter(|(_, set)| set.contains(address))
        .map(|(id, _)| *id)
        .collect();
    let known = if !sets.is_empty() || graph.known.contains(address) {
        Known::Workload
    } else if graph
        .cluster_ranges
        .iter()
        .any(|range| range.contains(address))
    {
        Known::Unknown
    } else {
        Known::Outside
    };
    (known, sets)
}

/// Judges one half of a flow to `address` (egress) or from it (ingress).
pub fn explain(
    graph: &NodeGraph,
    rules: &RuleSet,
    address: Address,
    protocol: Protocol,
    port: u16,
    stance: Stance,
    at: impl Into<Moment>,
) -> Explanation {
    let at = at.into();
    let as_it_is = |address: Address, port: u16| {
        let (known, sets) = known_as(graph, address);
        (
            known,
            judge(
                rules,
                &Peer {
                    address,
                    known,
                    sets: &sets,
                },
                protocol,
                port,
                stance,
                at,
            ),
        )
    };
    let (known, itself) = as_it_is(address, port);
    let plain = Explanation {
        allow: itself.allow,
        judgement: itself,
        backend: None,
        no_backend: false,
    };
    if rules.direction == Direction::Ingress {
        return plain;
    }
    let nowhere = Explanation {
        allow: false,
        judgement: Judgement {
            allow: false,
            entry: None,
        },
        backend: None,
        no_backend: true,
    };
    let Some(service) = graph.services.get(&address) else {
        let left_out = graph.closed.iter().any(|prefix| prefix.contains(address));
        return if left_out && known == Known::Outside {
            nowhere
        } else {
            plain
        };
    };
    let Some(target) = service
        .ports
        .iter()
        .find(|p| p.protocol == protocol && p.port == port)
    else {
        return if service.closed { nowhere } else { plain };
    };
    if (service.external || known == Known::Workload) && !itself.allow {
        return plain;
    }
    let judged: Vec<(&bulkhead_graph::ServiceBackend, Judgement)> = target
        .backends
        .iter()
        .map(|backend| (backend, as_it_is(backend.address, backend.port).1))
        .collect();
    let forbidden = judged.iter().find(|(_, judgement)| !judgement.allow);
    match forbidden.or(judged.first()) {
        Some((backend, judgement)) => Explanation {
            allow: judgement.allow,
            judgement: *judgement,
            backend: Some((backend.address, backend.port)),
            no_backend: false,
        },
        None => nowhere,
    }
}
