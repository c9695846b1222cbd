//! Graph types into messages. Equal deltas make equal bytes.

use bulkhead_graph::{
    Delta, Entry, LocalWorkload, Matched, MemberChange, Network, PeerMatch, PortMatch, Prefix,
    RuleSet, ServiceAddress, ServicePort, WorkloadUid, Workloads,
};
use prost::Message as _;

use super::names::{write_action, write_direction, write_mode, write_protocol, write_stage};
use crate::field::joined;
use crate::proto::{self, peer_match, port_match};

/// The bytes of a delta, without its base and target.
pub fn encode_delta(delta: &Delta) -> Vec<u8> {
    let message = proto::Delta {
        workloads: delta
            .workloads
            .iter()
            .map(|(uid, workload)| write_workload(uid, workload))
            .collect(),
        workloads_gone: delta
            .workloads_gone
            .iter()
            .map(|uid| uid.0.to_string())
            .collect(),
        rule_sets: delta
            .rule_sets
            .iter()
            .map(|(id, rules)| write_rule_set(&id.0, rules))
            .collect(),
        rule_sets_gone: delta
            .rule_sets_gone
            .iter()
            .map(|id| id.0.to_vec())
            .collect(),
        peer_sets: delta
            .peer_sets
            .iter()
            .map(|(id, change)| proto::PeerSet {
                id: id.0.to_vec(),
                change: Some(write_members(change)),
            })
            .collect(),
        peer_sets_gone: delta
            .peer_sets_gone
            .iter()
            .map(|id| id.0.to_vec())
            .collect(),
        known: Some(write_members(&delta.known)),
        cluster_ranges: delta.cluster_ranges.as_deref().map(write_prefixes),
        services: delta
            .services
            .iter()
            .map(|(address, service)| write_service(&address.0, service))
            .collect(),
        services_gone: joined(delta.services_gone.iter().map(|address| &address.0)),
        closed: delta.closed.as_deref().map(write_prefixes),
        node_addresses: Some(write_members(&delta.node_addresses)),
    };
    message.encode_to_vec()
}

fn write_workload(uid: &WorkloadUid, workload: &LocalWorkload) -> proto::Workload {
    proto::Workload {
        uid: uid.0.to_string(),
        namespace: workload.namespace.to_string(),
        name: workload.name.to_string(),
        addresses: joined(workload.addresses.iter().map(|address| &address.0)),
        interface: workload.interface.as_deref().map(str::to_owned),
        egress: workload.egress.0.to_vec(),
        ingress: workload.ingress.0.to_vec(),
    }
}

fn write_members(change: &MemberChange) -> proto::MemberChange {
    proto::MemberChange {
        added: joined(change.added.iter().map(|address| &address.0)),
        removed: joined(change.removed.iter().map(|address| &address.0)),
    }
}

fn write_prefixes(prefixes: &[Prefix]) -> proto::Prefixes {
    let write = |prefix: &Prefix| proto::Prefix {
        address: prefix.address.0.to_vec(),
        length: u32::from(prefix.length),
    };
    proto::Prefixes {
        prefixes: prefixes.iter().map(write).collect(),
    }
}

fn write_rule_set(id: &[u8; 16], rules: &RuleSet) -> proto::RuleSet {
    proto::RuleSet {
        id: id.to_vec(),
        direction: write_direction(rules.direction),
        entries: rules.entries.iter().map(write_entry).collect(),
    }
}

fn write_entry(entry: &Entry) -> proto::Entry {
    proto::Entry {
        stage: write_stage(entry.stage),
        action: write_action(entry.action),
        mode: write_mode(entry.mode),
        peers: Some(write_peers(&entry.peers)),
        ports: Some(write_ports(&entry.ports)),
        until_ms: entry.until.map(|until| until.0),
        lease_ms: entry.lease.map(|lease| lease.0),
    }
}

fn write_peers(peers: &PeerMatch) -> proto::PeerMatch {
    use peer_match::of::Workloads as Written;
    let (peers, certainty) = peers.certainty();
    let perhaps = certainty == Matched::Maybe;
    let peers = match peers {
        // Nothing is inside but what is certain.
        PeerMatch::Any | PeerMatch::Perhaps(_) => peer_match::Peers::Any(proto::Everyone {}),
        PeerMatch::Of {
            workloads,
            networks,
        } => peer_match::Peers::Of(peer_match::Of {
            workloads: Some(match workloads {
                Workloads::All => Written::All(proto::Everyone {}),
                Workloads::Sets(sets) => Written::Sets(proto::Sets {
                    ids: joined(sets.iter().map(|set| &set.0)),
                }),
            }),
            networks: networks.iter().map(write_network).collect(),
        }),
    };
    proto::PeerMatch {
        peers: Some(peers),
        perhaps,
    }
}

fn write_network(network: &Network) -> proto::Network {
    proto::Network {
        cidr: network.cidr.to_string(),
        except: network.except.iter().map(ToString::to_string).collect(),
    }
}

fn write_ports(ports: &PortMatch) -> proto::PortMatch {
    let ports = match ports {
        PortMatch::Any => port_match::Ports::Any(proto::Everyone {}),
        PortMatch::Of(ranges) => port_match::Ports::Of(proto::Ranges {
            ranges: ranges
                .iter()
                .map(|range| proto::PortRange {
                    protocol: write_protocol(range.protocol),
                    from: u32::from(range.from),
                    to: u32::from(range.to),
                })
                .collect(),
        }),
    };
    proto::PortMatch { ports: Some(ports) }
}

fn write_service(address: &[u8; 16], service: &ServiceAddress) -> proto::Service {
    proto::Service {
        address: address.to_vec(),
        external: service.external,
        namespaces: service.namespaces.iter().map(ToString::to_string).collect(),
        closed: service.closed,
        ports: service.ports.iter().map(write_service_port).collect(),
    }
}

fn write_service_port(port: &ServicePort) -> proto::ServicePort {
    proto::ServicePort {
        protocol: write_protocol(port.protocol),
        port: u32::from(port.port),
        backends: port
            .backends
            .iter()
            .map(|backend| proto::Backend {
                address: backend.address.0.to_vec(),
                port: u32::from(backend.port),
            })
            .collect(),
    }
}
