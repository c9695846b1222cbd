//! The nodes' own addresses, which rules name by the nodes' labels.
//!
//! In the graph they are networks of one address each: a host is no workload and is matched by address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use bulkhead_graph::{Address, Network, PeerSet};
use ipnet::IpNet;

use super::Engine;
use crate::model::{Interned, LabelSelector, Node, ObjectRef, SortedMap, SortedSet};

#[derive(Default)]
pub(super) struct Hosts {
    by_name: BTreeMap<Interned, Host>,
    /// Policies that name nodes.
    pub(super) policies: BTreeSet<ObjectRef>,
}

#[derive(PartialEq, Eq)]
struct Host {
    labels: SortedMap<Interned, Interned>,
    addresses: SortedSet<IpAddr>,
}

impl Engine {
    pub(super) fn apply_host(&mut self, node: &Node) {
        let host = Host {
            labels: node.labels.clone(),
            addresses: node.addresses.clone(),
        };
        if self.hosts.by_name.get(&node.name) != Some(&host) {
            self.hosts.by_name.insert(node.name.clone(), host);
            self.hosts_changed();
        }
    }

    pub(super) fn delete_host(&mut self, name: &Interned) {
        if self.hosts.by_name.remove(name).is_some() {
            self.hosts_changed();
        }
    }

    fn hosts_changed(&mut self) {
        self.pending.node_addresses = true;
        for object in &self.hosts.policies {
            self.policies.mark(object, &mut self.pending.policies);
        }
    }

    /// Makes all nodes' addresses known to every node, where they are others than before.
    pub(super) fn settle_node_addresses(&mut self) {
        if !std::mem::take(&mut self.pending.node_addresses) {
            return;
        }
        let all = self.hosts.by_name.values().flat_map(|host| &host.addresses);
        let all: PeerSet = all.map(|ip| Address::from(*ip)).collect();
        if all != *self.node_addresses {
            self.node_addresses = Arc::new(all);
            self.nodes
                .keys()
                .into_iter()
                .for_each(|node| self.touch_rest(node));
        }
    }

    /// The addresses of the nodes with such labels.
    pub(super) fn node_networks(&self, labels: &LabelSelector) -> Vec<Network> {
        let hosts = self.hosts.by_name.values();
        hosts
            .filter(|host| labels.matches(&host.labels))
            .flat_map(|host| &host.addresses)
            .map(|address| Network::new(IpNet::from(*address), []))
            .collect()
    }
}
