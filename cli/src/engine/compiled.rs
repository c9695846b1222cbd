//! The compiler and the tables: what nodes get, read as their programs read it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bulkhead_encode::{Clock, Desired, Memory};
use bulkhead_graph::{Address, RuleSetId, Stance};
use bulkhead_policy::engine::{Engine, EngineConfig};
use bulkhead_policy::eval::Flow;
use bulkhead_policy::model::{Direction, Event, Interned, Object, Timestamp, Workload};
use ipnet::IpNet;

use super::{Answer, Judge, Side};

/// Stands for the node of workloads that are not scheduled yet, so that somebody judges for them. Not a legal node name.
const UNSCHEDULED: &str = "(unscheduled)";

/// One node's tables by node, and which workload is where.
pub(crate) struct Compiled {
    engine: Engine,
    nodes: Vec<Memory>,
    guards: BTreeMap<Address, Guard>,
}

/// Where an address is guarded, and by what.
#[derive(Clone, Copy)]
struct Guard {
    node: usize,
    egress: RuleSetId,
    ingress: RuleSetId,
}

impl Compiled {
    /// Compiles the objects for an instant.
    pub(crate) fn new(objects: &[Object], ranges: &[IpNet], now: Timestamp) -> Result<Self> {
        let mut engine = Engine::new(EngineConfig {
            cluster_ranges: ranges.to_vec(),
        });
        engine.advance(now);
        objects
            .iter()
            .for_each(|object| engine.apply(Event::Apply(scheduled(object))));
        let contested = engine.contested();
        let names: Vec<Interned> = engine.nodes().into_iter().collect();
        let (mut nodes, mut guards) = (Vec::new(), BTreeMap::new());
        for name in names {
            let Some(graph) = engine.node_graph(&name) else {
                continue;
            };
            let desired = Desired::build(&graph, now);
            let clock = Clock {
                wall: now,
                monotonic_ns: 0,
            };
            let memory = Memory::new(&desired, clock).with_context(|| {
                format!("the policies of node {name} tell more ports apart than its tables can; use fewer port ranges")
            })?;
            for workload in graph.workloads.values() {
                let guard = Guard {
                    node: nodes.len(),
                    egress: workload.egress,
                    ingress: workload.ingress,
                };
                let own = workload
                    .addresses
                    .iter()
                    .filter(|address| !contested.contains(address));
                guards.extend(own.map(|address| (*address, guard)));
            }
            nodes.push(memory);
        }
        Ok(Self {
            engine,
            nodes,
            guards,
        })
    }

    /// One side: enforced, intended, and why.
    fn side(
        &mut self,
        subject: Address,
        direction: Direction,
        peer: Address,
        flow: &Flow,
    ) -> (Side, bool) {
        let Some(guard) = self.guards.get(&subject).copied() else {
            return match self.engine.contested().contains(&subject) {
                true => (
                    Side {
                        allowed: false,
                        rule: "address claimed by several workloads".to_owned(),
                    },
                    false,
                ),
                false => (
                    Side {
                        allowed: true,
                        rule: "no known workload".to_owned(),
                    },
                    true,
                ),
            };
        };
        let rules = match direction {
            Direction::Egress => guard.egress,
            Direction::Ingress => guard.ingress,
        };
        let half = self.nodes[guard.node].half(rules, peer, flow.protocol, flow.port);
        let (allowed, intended) =
            half.map_or((false, false), |half| (half.enforced, half.intended));
        let port = (flow.protocol, flow.port);
        let explained = self
            .engine
            .explain(subject, direction, peer, port, Stance::Enforced);
        let rule = match explained {
            Some(explained) if explained.allowed == allowed => explained.reason.to_string(),
            // The tables decide; a reason for something else would be a lie.
            Some(_) | None => "the compiled tables".to_owned(),
        };
        (Side { allowed, rule }, intended)
    }
}

impl Judge for Compiled {
    fn judge(&mut self, flow: &Flow) -> Result<Answer> {
        if flow.source == flow.destination && self.guards.contains_key(&flow.source) {
            let itself = Side {
                allowed: true,
                rule: "own address".to_owned(),
            };
            return Ok(Answer {
                allowed: true,
                intended: true,
                egress: itself.clone(),
                ingress: itself,
            });
        }
        let (egress, may_leave) = self.side(flow.source, Direction::Egress, flow.destination, flow);
        let (ingress, may_enter) =
            self.side(flow.destination, Direction::Ingress, flow.source, flow);
        Ok(Answer {
            allowed: egress.allowed && ingress.allowed,
            intended: may_leave && may_enter,
            egress,
            ingress,
        })
    }
}

fn scheduled(object: &Object) -> Object {
    match object {
        Object::Workload(kind, workload) if workload.node.is_none() => Object::Workload(
            *kind,
            Workload {
                node: Some(UNSCHEDULED.into()),
                ..workload.clone()
            },
        ),
        Object::Workload(..)
        | Object::Namespace(_)
        | Object::Node(_)
        | Object::Service(_)
        | Object::EndpointSlice(_)
        | Object::Segment(_)
        | Object::Policy(_) => object.clone(),
    }
}
