//! A world as its nodes hold it: who judges which half of a flow, and what the oracle says of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_encode::{Clock, Desired, Memory};
use bulkhead_graph::{Direction, LocalWorkload, NodeGraph, WorkloadUid};
use bulkhead_policy::engine::Engine;
use bulkhead_policy::eval::{Flow, Half, Provenance, World, eval};
use bulkhead_policy::model::{Address, Interned, Moment};

use super::question::{Question, fits, graphs};
use crate::worlds::vocabulary::{self, NOW};

/// Both clocks when worlds are judged.
pub const CLOCK: Clock = Clock {
    wall: NOW,
    monotonic_ns: 1 << 40,
    heard_ns: 1 << 40,
};

/// Every flow between two of these addresses that is worth asking about.
pub fn flows(addresses: &[Address]) -> impl Iterator<Item = Flow> {
    let pairs = addresses.iter().flat_map(|source| {
        let others = addresses.iter().filter(move |other| {
            // A packet has one family.
            *other != source && other.is_ipv4() == source.is_ipv4()
        });
        others.map(|destination| (*source, *destination))
    });
    pairs.flat_map(|(source, destination)| {
        let asked = vocabulary::ASKED.iter().copied();
        asked
            .filter(move |(protocol, _)| fits(*protocol, source))
            .map(move |(protocol, port)| Flow {
                source,
                destination,
                protocol,
                port,
            })
    })
}

/// So many draws among all flows between these addresses; a draw of two families is lost.
pub fn sample(addresses: &[Address], rng: &mut fastrand::Rng, draws: usize) -> Vec<Flow> {
    let draw = |rng: &mut fastrand::Rng| {
        let (source, destination) = (*rng.choice(addresses)?, *rng.choice(addresses)?);
        let (protocol, port) = *rng.choice(vocabulary::ASKED)?;
        let is_one = source != destination
            && source.is_ipv4() == destination.is_ipv4()
            && fits(protocol, source);
        is_one.then_some(Flow {
            source,
            destination,
            protocol,
            port,
        })
    };
    (0..draws).filter_map(|_| draw(rng)).collect()
}

/// One node's graph and the tables that it becomes.
pub struct NodeTables {
    /// The node.
    pub name: Interned,
    /// What it is told.
    pub graph: Arc<NodeGraph>,
    /// What its tables hold then.
    pub memory: Memory,
}

/// A world as all nodes hold it.
pub struct Compiled {
    nodes: Vec<NodeTables>,
    places: BTreeMap<Address, (usize, WorkloadUid)>,
}

/// A half of a flow that some node judges, and what the oracle says of it.
pub struct Judged<'a> {
    /// Where.
    pub node: &'a NodeTables,
    /// The workload that it is judged for.
    pub uid: &'a WorkloadUid,
    /// The same.
    pub workload: &'a LocalWorkload,
    /// The half.
    pub asked: Question,
    /// By the oracle.
    pub enforced: Half,
    /// By the oracle.
    pub intended: Half,
}

impl Compiled {
    /// Compiles it, for nodes that have not heard their controller for a while.
    ///
    /// # Errors
    /// If some node's ports do not fit into numbers.
    pub fn build(engine: &mut Engine, at: impl Into<Moment>) -> Result<Self, String> {
        let at = at.into();
        let clock = Clock {
            heard_ns: CLOCK.monotonic_ns - at.unheard_ms * 1_000_000,
            ..CLOCK
        };
        let (mut nodes, mut places) = (Vec::new(), BTreeMap::new());
        for (name, graph) in graphs(engine) {
            for (uid, workload) in &graph.workloads {
                let here = workload
                    .addresses
                    .iter()
                    .map(|address| (*address, (nodes.len(), uid.clone())));
                places.extend(here);
            }
            let memory = Memory::new(&Desired::build(&graph, at.now), clock)
                .ok_or_else(|| format!("{name}: more port classes than numbers"))?;
            nodes.push(NodeTables {
                name,
                graph,
                memory,
            });
        }
        Ok(Self { nodes, places })
    }

    /// The nodes, in the order of names.
    pub fn nodes(&self) -> &[NodeTables] {
        &self.nodes
    }

    /// The halves of a flow that nodes judge, the sender's first. None where neither end is a workload on a node, or
    /// both are the same: to itself a workload needs nobody's leave.
    pub fn halves(&self, world: &World, flow: &Flow, at: impl Into<Moment>) -> Vec<Judged<'_>> {
        let (source, destination) = (
            self.places.get(&flow.source),
            self.places.get(&flow.destination),
        );
        if source.map(|(_, uid)| uid) == destination.map(|(_, uid)| uid) {
            return Vec::new();
        }
        let verdict = eval(world, flow, at);
        let mut halves = Vec::new();
        if let Some(place) = source {
            let (enforced, intended) = (verdict.enforced.egress, verdict.intended.egress);
            halves.push(self.judged(place, flow, Direction::Egress, (enforced, intended)));
        }
        if let Some(place) = destination {
            let (enforced, intended) = (verdict.enforced.ingress, verdict.intended.ingress);
            // A Service translates it: the endpoint judges another flow.
            if enforced.rule != Provenance::JudgedAtEndpoint {
                halves.push(self.judged(place, flow, Direction::Ingress, (enforced, intended)));
            }
        }
        halves
    }

    fn judged<'a>(
        &'a self,
        (at, uid): &'a (usize, WorkloadUid),
        flow: &Flow,
        direction: Direction,
        (enforced, intended): (Half, Half),
    ) -> Judged<'a> {
        let (own, peer) = match direction {
            Direction::Egress => (flow.source, flow.destination),
            Direction::Ingress => (flow.destination, flow.source),
        };
        let node = &self.nodes[*at];
        Judged {
            node,
            uid,
            workload: &node.graph.workloads[uid],
            asked: Question {
                own,
                peer,
                direction,
                protocol: flow.protocol,
                port: flow.port,
            },
            enforced,
            intended,
        }
    }
}
