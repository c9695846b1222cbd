//! What the kernel's tables really hold, as JSON. Opens the pinned tables and nothing else: no program is loaded, nothing is
//! pinned or written, whatever agent runs beside.

use anyhow::bail;
use bulkhead_datapath::abi::{ABI_VERSION, Address, Lane, MapName, RuleSet};
use bulkhead_datapath::memory::MemoryTables;
use serde_json::{Value, json};

use crate::checks;
use crate::enforce::read_tables;
use crate::kernel::Maps;
use crate::settings::Dump;

/// Reads the pinned tables.
///
/// # Errors
/// If there are none, or they cannot be read.
pub fn dump(dump: &Dump) -> anyhow::Result<Value> {
    checks::root()?;
    let pins = &dump.places.pins;
    let maps = pins.join(format!("v{ABI_VERSION}")).join("maps");
    if !maps.join(MapName::Node.name()).exists() {
        bail!(
            "{}: no tables of layout {ABI_VERSION} are pinned there: no agent of this version has run",
            pins.display()
        );
    }
    let maps = Maps::pinned(&maps)?;
    let tables = read_tables(&maps)?;
    let flows = maps.flows.entries()?;
    let mut value = render(&tables);
    value["flows"] = flows
        .iter()
        .map(|(key, flow)| {
            json!({
                "workload_slot": key.owner.slot().0,
                "peer": address(key.peer),
                "protocol": key.owner.protocol(),
                "local_port": key.local_port,
                "peer_port": key.peer_port,
                "opener": format!("{:?}", flow.life.opener()),
                "state": format!("{:?}", flow.life.state()),
            })
        })
        .collect();
    Ok(value)
}

fn address(address: Address) -> String {
    bulkhead_graph::Address(address.octets()).to_string()
}

fn rule_set(number: RuleSet) -> Value {
    if number.is_none() {
        Value::Null
    } else {
        json!(number.0)
    }
}

fn render(tables: &MemoryTables) -> Value {
    let lane = tables.node.generation.lane();
    let own = |addresses: &[Address]| -> Vec<String> {
        addresses
            .iter()
            .filter(|one| **one != Address::UNSPECIFIED)
            .map(|one| address(*one))
            .collect()
    };
    let workloads: Vec<Value> = tables
        .interfaces
        .iter()
        .filter_map(|(ifindex, slot)| {
            let workload = tables.workloads.get(slot)?;
            let rules = workload.lane(lane);
            let addresses = [own(&workload.v4), own(&workload.v6)].concat();
            Some(json!({
                "ifindex": ifindex,
                "slot": slot.0,
                "mac": workload.mac.octets.map(|byte| format!("{byte:02x}")).join(":"),
                "addresses": addresses,
                "egress": rule_set(rules.egress),
                "ingress": rule_set(rules.ingress),
            }))
        })
        .collect();
    let peers: Vec<Value> = tables
        .peers
        .iter()
        .filter_map(|(key, slot)| {
            let peer = tables.classes.get(slot)?;
            Some(
                json!({"address": address(*key), "slot": slot.0, "class": peer.lane(lane).class.0}),
            )
        })
        .collect();
    let networks: Vec<Value> = tables
        .networks
        .iter()
        .filter_map(|(key, slot)| {
            let network = tables.network_classes.get(slot)?;
            let prefix = bulkhead_graph::Prefix {
                address: bulkhead_graph::Address(key.octets),
                length: u8::try_from(key.prefix_length).ok()?,
            };
            Some(json!({"prefix": prefix.to_string(), "class": network.lanes.read(lane).0}))
        })
        .collect();
    let decisions: Vec<Value> = tables
        .decisions
        .iter()
        .map(|(key, value)| {
            json!({
                "rule_set": key.rule_set.0,
                "class": key.class.0,
                "port_classes_from": key.block * 64,
                "enforced": format!("{:#018x}", value.enforced),
                "intended": format!("{:#018x}", value.intended),
                "expiry": value.expiry.0,
            })
        })
        .collect();
    json!({
        "abi": ABI_VERSION,
        "generation": tables.node.generation.0,
        "lane": if lane == Lane::Even { "even" } else { "odd" },
        "workloads": workloads,
        "peers": peers,
        "networks": networks,
        "decisions": decisions,
        "ports": ports(tables, lane),
        "node_addresses": tables.node_addresses.keys().map(|one| address(*one)).collect::<Vec<_>>(),
    })
}

/// Runs of ports with the same class, by protocol table.
fn ports(tables: &MemoryTables, lane: Lane) -> Value {
    let runs = |classes: &[bulkhead_datapath::abi::PortClass]| -> Vec<Value> {
        let mut from = 0_usize;
        let mut runs = Vec::new();
        for run in classes.chunk_by(|a, b| a == b) {
            if !run[0].is_none() {
                runs.push(json!({"from": from, "to": from + run.len() - 1, "class": run[0].0}));
            }
            from += run.len();
        }
        runs
    };
    let tables = tables
        .ports
        .iter()
        .map(|(table, lanes)| (format!("{table:?}"), json!(runs(&lanes[lane.index()]))));
    Value::Object(tables.collect())
}
