//! The packet that opens a flow, at the hook that judges a half of it.

use bulkhead_datapath::abi::{Hook, Mac};
use bulkhead_datapath::frame::{IpFrame, Payload, SYN};
use bulkhead_graph::{Direction, WorkloadUid};
use bulkhead_policy::model::Protocol;

use super::{Judged, Question};

/// Where packets from other nodes come in.
pub const UPLINK: u32 = 9_999;

/// The frame that opens the flow, sent from `mac`.
pub fn opener(asked: &Question, mac: Mac) -> Vec<u8> {
    let flow = asked.flow();
    IpFrame::new(mac, flow.source.ip(), flow.destination.ip(), payload(asked)).build()
}

/// The hook of the workload that the half is judged for.
pub fn hook(asked: &Question) -> Hook {
    match asked.direction {
        Direction::Egress => Hook::FromWorkload,
        Direction::Ingress => Hook::ToWorkload,
    }
}

/// The workload of the same node that the other end is, if it is one: packets from it come in by its interface.
pub fn came_in_by<'a>(judged: &Judged<'a>) -> Option<&'a WorkloadUid> {
    let mut workloads = judged.node.graph.workloads.iter();
    workloads
        .find(|(_, workload)| workload.addresses.contains(&judged.asked.peer))
        .map(|(uid, _)| uid)
}

fn payload(asked: &Question) -> Payload {
    let [kind, code] = asked.port.to_be_bytes();
    match asked.protocol {
        Protocol::Tcp => Payload::Tcp {
            source: 40_000,
            destination: asked.port,
            flags: SYN,
        },
        Protocol::Udp => Payload::Udp {
            source: 40_000,
            destination: asked.port,
        },
        // INIT opens an association (RFC 9260, section 3.2).
        Protocol::Sctp => Payload::Sctp {
            source: 40_000,
            destination: asked.port,
            chunk: 1,
        },
        Protocol::Icmp | Protocol::Icmpv6 => Payload::Icmp {
            kind,
            code,
            rest: [0, 1, 0, 1],
            body: vec![0; 8],
        },
        Protocol::Other => Payload::Raw {
            protocol: code,
            bytes: vec![0; 16],
        },
    }
}
