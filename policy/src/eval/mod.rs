//! The oracle: what a policy means, as directly as it can be said.
//!
//! Every question is answered from the objects themselves, by looking at all of them. There is no index, no cache and
//! nothing incremental, so that each function can be held against the sentence it stands for. The compiler is
//! checked against this; nothing here is on the way of a packet.
//!
//! What an address pair cannot tell is left to the packet path: traffic that a node's own host *originates* to its
//! local workloads always passes there, while here a node's address is an address like any other.

mod address;
mod peers;
mod pipeline;
mod ports;
mod room;
mod service;
#[cfg(test)]
mod tests;
mod time;
mod verdict;
mod world;

use crate::model::{Address, Direction, Moment, Protocol};

pub use address::Owner;
pub use bulkhead_graph::{Stage, Stance};
use service::Destination;
pub use time::next_boundary;
pub use verdict::{Half, Outcome, Provenance, RuleReference, Verdict};
pub use world::World;

/// The first packet of a flow, as its sender's node sees it: before service translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Who opens it.
    pub source: Address,
    /// To whom; may be the address of a Service.
    pub destination: Address,
    /// Transport.
    pub protocol: Protocol,
    /// Destination port; for ICMP `type << 8 | code`, for [`Protocol::Other`] the protocol number.
    pub port: u16,
}

/// Judges a flow: as the kernel acts, and as it would if every object were enforced. An instant alone is one at which both
/// ends' nodes have just heard their controller.
pub fn eval(world: &World, flow: &Flow, at: impl Into<Moment>) -> Verdict {
    let at = at.into();
    Verdict {
        enforced: outcome(world, flow, Stance::Enforced, at),
        intended: outcome(world, flow, Stance::Intended, at),
    }
}

/// Both halves are judged, also when the first one already denies.
fn outcome(world: &World, flow: &Flow, stance: Stance, at: Moment) -> Outcome {
    let (source, destination) = (world.owner(flow.source), world.owner(flow.destination));
    if let (Owner::Workload(a), Owner::Workload(b)) = (source, destination)
        && a.uid == b.uid
    {
        let itself = || Half::allowed(Provenance::OwnAddress);
        return Outcome {
            egress: itself(),
            ingress: itself(),
        };
    }
    let judge = Judge { world, stance, at };
    let egress = judge.side(source, Direction::Egress, flow.destination, flow);
    match world.destination(flow.destination, flow.protocol, flow.port) {
        Destination::Plain => Outcome {
            egress,
            ingress: judge.side(destination, Direction::Ingress, flow.source, flow),
        },
        Destination::Services(services) => Outcome {
            egress: judge.through_service(source, &services, flow),
            ingress: Half::allowed(Provenance::JudgedAtEndpoint),
        },
        Destination::LeftOut(service) => Outcome {
            egress: match source {
                Owner::Workload(_) => Half::denied(Provenance::LeftOut(service)),
                Owner::Unknown | Owner::Contested | Owner::Outside => egress,
            },
            ingress: Half::allowed(Provenance::JudgedAtEndpoint),
        },
    }
}

/// What stays the same while one verdict is looked for.
#[derive(Clone, Copy)]
struct Judge<'w> {
    world: &'w World,
    stance: Stance,
    at: Moment,
}

impl Judge<'_> {
    /// One half. A side whose end is no workload of ours allows: the world outside has no policy, and an unknown
    /// workload's half is judged by the node that knows it.
    fn side(self, end: Owner<'_>, direction: Direction, peer: Address, flow: &Flow) -> Half {
        match end {
            Owner::Workload(subject) => {
                let port = ports::Wanted {
                    protocol: flow.protocol,
                    port: flow.port,
                };
                pipeline::judge(self, subject, direction, self.world.peer(peer), port)
            }
            // Nobody can say whose policies hold, so none of the claimants gets through.
            Owner::Contested => Half::denied(Provenance::Contested),
            Owner::Unknown | Owner::Outside => Half::allowed(Provenance::NotOurs),
        }
    }
}
