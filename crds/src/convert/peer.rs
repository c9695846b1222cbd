//! Peers of our rules.

use bulkhead_policy::model::{Fault, Interned, Peer, Peers};

use super::limits::{LIST, filled};
use super::violation::{Checked, Violation};
use super::{labels, network, syntax, workload_selector};
use crate::kinds::{ClusterPeer, LabelSelector, NamespacedPeer};

const UNION: &str = "exactly one of workloads, segment, network, nodes, everyone";

/// `None` is everyone.
type One = Option<Peer>;

/// The peers of a rule in a namespaced policy.
pub(super) fn namespaced(
    peers: &[NamespacedPeer],
    namespace: &Interned,
    field: &str,
    faults: &mut Vec<Fault>,
) -> Checked<Peers> {
    union(peers, field, |peer, field| {
        let NamespacedPeer {
            workloads,
            segment,
            network,
            nodes,
            everyone,
        } = peer;
        match (workloads, segment, network, nodes, everyone) {
            (Some(workloads), None, None, None, None) => {
                let field = format!("{field}.workloads");
                Ok(Some(Peer::Workloads(workload_selector::namespaced(
                    workloads, namespace, &field,
                )?)))
            }
            (None, Some(name), None, None, None) => by_segment(name, field),
            (None, None, Some(range), None, None) => Ok(Some(Peer::Network(network::network(
                range,
                &format!("{field}.network"),
            )?))),
            (None, None, None, Some(labels), None) => by_nodes(labels, field),
            (None, None, None, None, Some(_)) => Ok(None),
            (None, None, None, None, None) => Ok(nothing(field, faults)),
            _ => Err(Violation::new(
                field,
                format!("several are set; set {UNION}"),
            )),
        }
    })
}

/// The peers of a rule in a cluster-scoped policy.
pub(super) fn cluster(
    peers: &[ClusterPeer],
    field: &str,
    faults: &mut Vec<Fault>,
) -> Checked<Peers> {
    union(peers, field, |peer, field| {
        let ClusterPeer {
            workloads,
            segment,
            network,
            nodes,
            everyone,
        } = peer;
        match (workloads, segment, network, nodes, everyone) {
            (Some(workloads), None, None, None, None) => Ok(Some(Peer::Workloads(
                workload_selector::cluster(workloads, &format!("{field}.workloads"))?,
            ))),
            (None, Some(name), None, None, None) => by_segment(name, field),
            (None, None, Some(range), None, None) => Ok(Some(Peer::Network(network::network(
                range,
                &format!("{field}.network"),
            )?))),
            (None, None, None, Some(labels), None) => by_nodes(labels, field),
            (None, None, None, None, Some(_)) => Ok(None),
            (None, None, None, None, None) => Ok(nothing(field, faults)),
            _ => Err(Violation::new(
                field,
                format!("several are set; set {UNION}"),
            )),
        }
    })
}

fn union<T>(
    peers: &[T],
    field: &str,
    mut one: impl FnMut(&T, &str) -> Checked<One>,
) -> Checked<Peers> {
    filled(peers, field, LIST)?;
    let mut list = Vec::with_capacity(peers.len());
    let mut everyone = false;
    for (index, peer) in peers.iter().enumerate() {
        match one(peer, &format!("{field}[{index}]"))? {
            Some(peer) => list.push(peer),
            None => everyone = true,
        }
    }
    Ok(if everyone {
        Peers::Any
    } else {
        Peers::Of(list)
    })
}

fn by_segment(name: &str, field: &str) -> Checked<One> {
    syntax::object_name(name, &format!("{field}.segment"))?;
    Ok(Some(Peer::Segment(name.into())))
}

fn by_nodes(labels: &LabelSelector, field: &str) -> Checked<One> {
    let labels = labels::selector(labels, &format!("{field}.nodes"))?;
    Ok(Some(Peer::Nodes(labels)))
}

fn nothing(field: &str, faults: &mut Vec<Fault>) -> One {
    faults.push(Fault {
        field: field.to_owned(),
        message: format!("nothing known is set; set {UNION}"),
    });
    Some(Peer::Unresolved)
}
