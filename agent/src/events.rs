//! What the programs report, in words: both ends, what happened, and why.

use std::collections::BTreeMap;

use bulkhead_datapath::abi::{EventKind, EventRecord, Hook, Reason};
use bulkhead_encode::Clock;
use bulkhead_graph::{Address, LocalWorkload, NodeGraph};
use serde::Serialize;

/// One end of a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// Its address.
    pub address: String,
    /// Its port; for ICMP the identifier, or type × 256 + code.
    pub port: u16,
    /// `namespace/name`, for workloads of this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, milliseconds since the epoch.
    pub time_ms: i64,
    /// `opened`, `denied`, `would_deny`, `would_allow` or `closed`.
    pub kind: &'static str,
    /// Why; the names are those of the counters.
    pub reason: &'static str,
    /// Which program saw it.
    pub hook: &'static str,
    /// Where the packet came from.
    pub source: End,
    /// Where it was to go.
    pub destination: End,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, or the number.
    pub protocol: String,
    /// Bytes of the frame.
    pub length: u32,
    /// The revision's number on this node.
    pub generation: u64,
}

/// Gives names to addresses and times to records.
pub struct Namer<'a> {
    names: BTreeMap<Address, &'a LocalWorkload>,
    clock: Clock,
}

impl<'a> Namer<'a> {
    /// For a batch of records.
    pub fn new(graph: &'a NodeGraph, clock: Clock) -> Self {
        let workloads = graph.workloads.values();
        let names = workloads.flat_map(|workload| {
            workload
                .addresses
                .iter()
                .map(move |address| (*address, &**workload))
        });
        Self {
            names: names.collect(),
            clock,
        }
    }

    /// One record; `owner` is the workload at whose hook it was seen.
    pub fn name(&self, record: &EventRecord, owner: Option<&LocalWorkload>) -> Event {
        let peer = Address(record.peer.octets());
        let local = End {
            address: Address(record.local.octets()).to_string(),
            port: record.local_port,
            workload: owner.map(full_name),
        };
        let peer = End {
            address: peer.to_string(),
            port: record.peer_port,
            workload: self.names.get(&peer).map(|workload| full_name(workload)),
        };
        let from_workload = record.hook == Hook::FromWorkload as u8;
        let (source, destination) = if from_workload {
            (local, peer)
        } else {
            (peer, local)
        };
        let hook = if from_workload {
            Hook::FromWorkload
        } else {
            Hook::ToWorkload
        };
        let ago_ms = self.clock.monotonic_ns.saturating_sub(record.time_ns) / 1_000_000;
        Event {
            time_ms: self
                .clock
                .wall
                .0
                .saturating_sub(i64::try_from(ago_ms).unwrap_or(i64::MAX)),
            kind: EventKind::from_number(record.kind).map_or("unknown", kind_name),
            reason: Reason::from_number(record.reason).map_or("unknown", Reason::name),
            hook: hook.name(),
            source,
            destination,
            protocol: protocol_name(record.protocol),
            length: record.length,
            generation: record.generation.0,
        }
    }
}

pub(crate) fn full_name(workload: &LocalWorkload) -> String {
    format!("{}/{}", workload.namespace, workload.name)
}

/// The stable name of a kind of event.
pub const fn kind_name(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Opened => "opened",
        EventKind::Denied => "denied",
        EventKind::WouldDeny => "would_deny",
        EventKind::WouldAllow => "would_allow",
        EventKind::Closed => "closed",
    }
}

/// Its name, or the number.
pub(crate) fn protocol_name(number: u8) -> String {
    match number {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_datapath::abi;
    use bulkhead_graph::{RuleSetId, SharedWorkload, SortedMap, Timestamp, WorkloadUid};
    use std::net::IpAddr;
    use std::sync::Arc;

    fn workload(name: &str, address: [u8; 4]) -> SharedWorkload {
        SharedWorkload::from(LocalWorkload {
            namespace: "shop".into(),
            name: name.into(),
            addresses: [IpAddr::from(address).into()].into(),
            interface: None,
            egress: RuleSetId::default(),
            ingress: RuleSetId::default(),
        })
    }

    #[test]
    fn both_ends_have_their_names_in_the_packets_direction() {
        let (web, db) = (
            workload("web", [10, 0, 0, 1]),
            workload("db", [10, 0, 0, 2]),
        );
        let workloads =
            [("a", web.clone()), ("b", db)].map(|(uid, w)| (WorkloadUid(uid.into()), w));
        let graph = NodeGraph::new(
            workloads.into(),
            SortedMap::new(),
            SortedMap::new(),
            Arc::default(),
            [].into(),
            Arc::default(),
        );
        let clock = Clock {
            wall: Timestamp(100_000),
            monotonic_ns: 9_000_000_000,
            heard_ns: 9_000_000_000,
        };
        let record = EventRecord {
            time_ns: 8_990_000_000,
            peer: abi::Address::from_octets(Address::from(IpAddr::from([10, 0, 0, 2])).0),
            local: abi::Address::from_octets(Address::from(IpAddr::from([10, 0, 0, 1])).0),
            local_port: 40_000,
            peer_port: 5_432,
            protocol: 6,
            kind: EventKind::Denied as u8,
            hook: Hook::FromWorkload as u8,
            ..EventRecord::default()
        };
        let event = Namer::new(&graph, clock).name(&record, Some(&web));
        assert_eq!(event.source.workload.as_deref(), Some("shop/web"));
        assert_eq!(event.destination.workload.as_deref(), Some("shop/db"));
        assert_eq!(
            (event.destination.address.as_str(), event.destination.port),
            ("10.0.0.2", 5_432)
        );
        assert_eq!(
            (event.kind, event.protocol.as_str(), event.time_ms),
            ("denied", "tcp", 99_990)
        );
        let back = EventRecord {
            hook: Hook::ToWorkload as u8,
            ..record
        };
        assert_eq!(
            Namer::new(&graph, clock)
                .name(&back, Some(&web))
                .source
                .address,
            "10.0.0.2"
        );
    }
}
