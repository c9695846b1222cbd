//! The compiler and the tables: what nodes get, read as their programs read it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::{Context, Result};
use bulkhead_encode::{Clock, Desired, Memory};
use bulkhead_graph::{Address, NodeGraph, RuleSetId, Stance};
use bulkhead_policy::engine::{Engine, EngineConfig};
use bulkhead_policy::eval::Flow;
use bulkhead_policy::model::{Direction, Event, Interned, Moment, Object, Workload};
use ipnet::IpNet;

use super::{Answer, Judge, Side};

/// Stands for the node of workloads that are not scheduled yet, so that somebody judges for them. Not a legal node name.
const UNSCHEDULED: &str = "(unscheduled)";

/// What a node gets.
pub(crate) struct NodeTables {
    /// Its name.
    #[cfg_attr(
        not(feature = "kernel"),
        expect(
            dead_code,
            reason = "only the programs of the kernel are told apart by node"
        )
    )]
    pub(crate) name: Interned,
    /// Its graph.
    pub(crate) graph: Arc<NodeGraph>,
    /// Its tables.
    pub(crate) memory: Memory,
}

/// Everything compiled for one instant.
pub(crate) struct Compilation {
    /// Answers why.
    pub(crate) engine: Engine,
    /// Node by node.
    pub(crate) nodes: Vec<NodeTables>,
    /// Addresses that belong to nobody, because several claim them.
    pub(crate) contested: BTreeSet<Address>,
}

/// A node that has been up for as long as anybody may ask about.
const AGES_NS: u64 = 1 << 62;

/// When the controller was heard last, if it is `monotonic_ns` now.
///
/// # Errors
/// If the clock is younger than that: no node could say so, and 0 would mean that nothing was ever heard.
pub(crate) fn heard_ns(monotonic_ns: u64, at: Moment) -> Result<u64> {
    let unheard_ns = at.unheard_ms.saturating_mul(1_000_000);
    let heard_ns = monotonic_ns.checked_sub(unheard_ns).filter(|ns| *ns > 0);
    heard_ns.with_context(|| {
        format!(
            "--unheard: a node that has been up for {} s cannot have been unheard for longer; ask for less, or take --engine compiled, whose nodes are older",
            monotonic_ns / 1_000_000_000
        )
    })
}

/// Compiles the objects for an instant.
pub(crate) fn compile(objects: &[Object], ranges: &[IpNet], clock: Clock) -> Result<Compilation> {
    let mut engine = Engine::new(EngineConfig {
        cluster_ranges: ranges.to_vec(),
        ..EngineConfig::default()
    });
    engine.advance(clock.wall);
    objects
        .iter()
        .for_each(|object| engine.apply(Event::Apply(scheduled(object))));
    let contested = engine.contested();
    let mut nodes = Vec::new();
    for name in engine.nodes() {
        let Some(graph) = engine.node_graph(&name) else {
            continue;
        };
        let memory = Memory::new(&Desired::build(&graph, clock.wall), clock).with_context(|| {
            format!("the policies of node {name} tell more ports apart than its tables can; use fewer port ranges")
        })?;
        nodes.push(NodeTables {
            name,
            graph,
            memory,
        });
    }
    Ok(Compilation {
        engine,
        nodes,
        contested,
    })
}

/// The compiled tables, and which workload is where.
pub(crate) struct Compiled {
    compilation: Compilation,
    guards: BTreeMap<Address, Guard>,
    unheard_ms: u64,
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
    pub(crate) fn new(objects: &[Object], ranges: &[IpNet], at: Moment) -> Result<Self> {
        let compilation = compile(
            objects,
            ranges,
            Clock {
                wall: at.now,
                monotonic_ns: AGES_NS,
                heard_ns: heard_ns(AGES_NS, at)?,
            },
        )?;
        let mut guards = BTreeMap::new();
        for (node, tables) in compilation.nodes.iter().enumerate() {
            for workload in tables.graph.workloads.values() {
                let guard = Guard {
                    node,
                    egress: workload.egress,
                    ingress: workload.ingress,
                };
                let own = workload
                    .addresses
                    .iter()
                    .filter(|address| !compilation.contested.contains(address));
                guards.extend(own.map(|address| (*address, guard)));
            }
        }
        Ok(Self {
            compilation,
            guards,
            unheard_ms: at.unheard_ms,
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
            return match self.compilation.contested.contains(&subject) {
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
        let half =
            self.compilation.nodes[guard.node]
                .memory
                .half(rules, peer, flow.protocol, flow.port);
        let (allowed, intended) =
            half.map_or((false, false), |half| (half.enforced, half.intended));
        let port = (flow.protocol, flow.port);
        let explained = self.compilation.engine.explain_unheard(
            subject,
            direction,
            peer,
            port,
            Stance::Enforced,
            self.unheard_ms,
        );
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
            Box::new(Workload {
                node: Some(UNSCHEDULED.into()),
                ..(**workload).clone()
            }),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bulkhead_graph::Timestamp;

    use super::*;

    #[test]
    fn nobody_was_heard_before_the_clock_began() {
        let unheard = |unheard_ms| Moment {
            now: Timestamp(0),
            unheard_ms,
        };
        let up_ns = 90_000_000_000;
        assert_eq!(heard_ns(up_ns, unheard(0)).unwrap(), up_ns);
        assert_eq!(heard_ns(up_ns, unheard(89_999)).unwrap(), 1_000_000);
        for ms in [90_000, 90_001, u64::MAX] {
            let error = heard_ns(up_ns, unheard(ms)).unwrap_err().to_string();
            assert!(
                error.starts_with("--unheard: ") && error.contains("90 s"),
                "{error}"
            );
        }
        // As long as anybody may ask about: a century.
        assert!(heard_ns(AGES_NS, unheard(3_155_760_000_000)).is_ok());
    }
}
