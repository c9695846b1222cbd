//! Messages into graph types. What was lost on the way is an error: a rule that lost its peers is not one for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_graph::{
    Action, Address, Delta, Digest, Entry, Lease, LocalWorkload, MemberChange, Network, PeerMatch,
    PeerSetId, PortMatch, PortRange, Prefix, RuleSet, RuleSetId, ServiceAddress, ServiceBackend,
    ServicePort, SharedWorkload, Timestamp, WorkloadUid, Workloads,
};
use prost::Message as _;

use super::names::{read_action, read_direction, read_mode, read_protocol, read_stage};
use crate::field::{self, Malformed, each, required};
use crate::proto::{self, peer_match, port_match};

/// Reads a delta from `base` to `target`.
///
/// # Errors
/// Names the first field that is missing, of the wrong length, or not understood.
pub fn decode_delta(base: Digest, target: Digest, bytes: &[u8]) -> Result<Delta, Malformed> {
    let message =
        proto::Delta::decode(bytes).map_err(|error| Malformed::new("Delta", error.to_string()))?;
    read_delta(base, target, message).map_err(|error| error.within("Delta"))
}

fn read_delta(base: Digest, target: Digest, message: proto::Delta) -> Result<Delta, Malformed> {
    let rule_set_id = |bytes: Vec<u8>| field::id(&bytes, "id").map(RuleSetId);
    let peer_set_id = |bytes: Vec<u8>| field::id(&bytes, "id").map(PeerSetId);
    let prefixes = |list: Option<proto::Prefixes>, field: &str| match list {
        None => Ok(None),
        Some(list) => each(list.prefixes, field, read_prefix).map(|list| Some(Arc::from(list))),
    };
    Ok(Delta {
        base,
        target,
        workloads: unique(
            each(message.workloads, "workloads", read_workload)?,
            "workloads",
        )?,
        workloads_gone: each(message.workloads_gone, "workloads_gone", |uid| {
            field::text(uid, "uid").map(WorkloadUid)
        })?,
        rule_sets: unique(
            each(message.rule_sets, "rule_sets", read_rule_set)?,
            "rule_sets",
        )?,
        rule_sets_gone: each(message.rule_sets_gone, "rule_sets_gone", rule_set_id)?,
        peer_sets: unique(
            each(message.peer_sets, "peer_sets", read_peer_set)?,
            "peer_sets",
        )?,
        peer_sets_gone: each(message.peer_sets_gone, "peer_sets_gone", peer_set_id)?,
        known: read_members(required(message.known, "known")?)
            .map_err(|error| error.within("known"))?,
        cluster_ranges: prefixes(message.cluster_ranges, "cluster_ranges")?,
        services: unique(
            each(message.services, "services", read_service)?,
            "services",
        )?,
        services_gone: field::addresses(&message.services_gone, "services_gone")?,
        closed: prefixes(message.closed, "closed")?,
        node_addresses: read_members(required(message.node_addresses, "node_addresses")?)
            .map_err(|error| error.within("node_addresses"))?,
    })
}

fn unique<K: Ord, V>(items: Vec<(K, V)>, field: &str) -> Result<BTreeMap<K, V>, Malformed> {
    let length = items.len();
    let map: BTreeMap<K, V> = items.into_iter().collect();
    if map.len() == length {
        Ok(map)
    } else {
        Err(Malformed::new(field, "names one thing twice"))
    }
}

fn read_workload(message: proto::Workload) -> Result<(WorkloadUid, SharedWorkload), Malformed> {
    let interface = match message.interface {
        None => None,
        Some(name) => Some(field::text(name, "interface")?),
    };
    let workload = LocalWorkload {
        namespace: field::text(message.namespace, "namespace")?,
        name: field::text(message.name, "name")?,
        addresses: field::addresses(&message.addresses, "addresses")?.into(),
        interface,
        egress: RuleSetId(field::id(&message.egress, "egress")?),
        ingress: RuleSetId(field::id(&message.ingress, "ingress")?),
    };
    Ok((
        WorkloadUid(field::text(message.uid, "uid")?),
        workload.into(),
    ))
}

fn read_members(message: proto::MemberChange) -> Result<MemberChange, Malformed> {
    Ok(MemberChange {
        added: field::addresses(&message.added, "added")?,
        removed: field::addresses(&message.removed, "removed")?,
    })
}

fn read_peer_set(message: proto::PeerSet) -> Result<(PeerSetId, MemberChange), Malformed> {
    let id = PeerSetId(field::id(&message.id, "id")?);
    Ok((id, read_members(required(message.change, "change")?)?))
}

fn read_rule_set(message: proto::RuleSet) -> Result<(RuleSetId, Arc<RuleSet>), Malformed> {
    let rules = RuleSet {
        direction: read_direction(message.direction, "direction")?,
        entries: each(message.entries, "entries", read_entry)?,
    };
    Ok((RuleSetId(field::id(&message.id, "id")?), Arc::new(rules)))
}

fn read_entry(message: proto::Entry) -> Result<Entry, Malformed> {
    let action = read_action(message.action, "action")?;
    if action == Action::Deny && message.lease_ms.is_some() {
        return Err(Malformed::new("lease_ms", "what denies does not end"));
    }
    Ok(Entry {
        stage: read_stage(message.stage, "stage")?,
        action,
        mode: read_mode(message.mode, "mode")?,
        peers: read_peers(required(message.peers, "peers")?)?,
        ports: read_ports(required(message.ports, "ports")?)?,
        until: message.until_ms.map(Timestamp),
        lease: message.lease_ms.map(Lease),
    })
}

fn read_peers(message: proto::PeerMatch) -> Result<PeerMatch, Malformed> {
    let perhaps = message.perhaps;
    let peers = read_certain_peers(message)?;
    Ok(if perhaps {
        PeerMatch::Perhaps(Box::new(peers))
    } else {
        peers
    })
}

fn read_certain_peers(message: proto::PeerMatch) -> Result<PeerMatch, Malformed> {
    use peer_match::of::Workloads as Written;
    let of = match required(message.peers, "peers")? {
        peer_match::Peers::Any(proto::Everyone {}) => return Ok(PeerMatch::Any),
        peer_match::Peers::Of(of) => of,
    };
    let workloads = match required(of.workloads, "peers.of.workloads")? {
        Written::All(proto::Everyone {}) => Workloads::All,
        Written::Sets(sets) => {
            let ids = field::ids(&sets.ids, "peers.of.sets.ids")?;
            Workloads::Sets(ids.into_iter().map(PeerSetId).collect())
        }
    };
    Ok(PeerMatch::Of {
        workloads,
        networks: each(of.networks, "peers.of.networks", read_network)?,
    })
}

fn read_network(message: proto::Network) -> Result<Network, Malformed> {
    Ok(Network {
        cidr: field::network(&message.cidr, "cidr")?,
        except: each(message.except, "except", |hole| {
            field::network(&hole, "network")
        })?,
    })
}

fn read_ports(message: proto::PortMatch) -> Result<PortMatch, Malformed> {
    match required(message.ports, "ports")? {
        port_match::Ports::Any(proto::Everyone {}) => Ok(PortMatch::Any),
        port_match::Ports::Of(ranges) => {
            each(ranges.ranges, "ports.of", read_port_range).map(PortMatch::Of)
        }
    }
}

fn read_port_range(message: proto::PortRange) -> Result<PortRange, Malformed> {
    let range = PortRange {
        protocol: read_protocol(message.protocol, "protocol")?,
        from: field::port(message.from, "from")?,
        to: field::port(message.to, "to")?,
    };
    if range.from <= range.to {
        Ok(range)
    } else {
        Err(Malformed::new(
            "to",
            format!("{} is before {}", range.to, range.from),
        ))
    }
}

fn read_prefix(message: proto::Prefix) -> Result<Prefix, Malformed> {
    let length = u8::try_from(message.length)
        .ok()
        .filter(|length| *length <= 128);
    let length = length.ok_or_else(|| {
        Malformed::new("length", format!("{} is no prefix length", message.length))
    })?;
    Ok(Prefix {
        address: Address(field::id(&message.address, "address")?),
        length,
    })
}

fn read_service(message: proto::Service) -> Result<(Address, ServiceAddress), Malformed> {
    let service = ServiceAddress {
        namespaces: each(message.namespaces, "namespaces", |name| {
            field::text(name, "namespace")
        })?,
        external: message.external,
        closed: message.closed,
        ports: each(message.ports, "ports", read_service_port)?,
    };
    Ok((Address(field::id(&message.address, "address")?), service))
}

fn read_service_port(message: proto::ServicePort) -> Result<ServicePort, Malformed> {
    Ok(ServicePort {
        protocol: read_protocol(message.protocol, "protocol")?,
        port: field::port(message.port, "port")?,
        backends: each(message.backends, "backends", |backend| {
            Ok(ServiceBackend {
                address: Address(field::id(&backend.address, "address")?),
                port: field::port(backend.port, "port")?,
            })
        })?,
    })
}
