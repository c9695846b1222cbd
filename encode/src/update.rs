//! The next graph at the price of the change: while rule sets, Services, ranges and deadlines stay, only the
//! addresses that joined or left something are looked at again.

use std::collections::BTreeSet;
use std::sync::Arc;

use bulkhead_graph::{Address, NodeGraph, PeerSet, Timestamp};

use crate::desired::{UsedClass, service_ports};
use crate::{ClassKey, Desired};

/// What may differ from before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// Anything.
    Everything,
    /// Workloads, and what belongs to some addresses.
    Peers {
        /// Addresses that may be of another class than before.
        addresses: BTreeSet<Address>,
        /// Classes that nobody was of before.
        fresh: BTreeSet<ClassKey>,
        /// Classes that nobody is of any more.
        gone: BTreeSet<ClassKey>,
    },
}

impl Changes {
    /// These changes and later ones, as one.
    pub fn then(self, later: Self) -> Self {
        match (self, later) {
            (
                Self::Peers {
                    mut addresses,
                    fresh,
                    gone,
                },
                Self::Peers {
                    addresses: more,
                    fresh: fresh_later,
                    gone: gone_later,
                },
            ) => {
                addresses.extend(more);
                let still = |set: &BTreeSet<ClassKey>, back: &BTreeSet<ClassKey>| set - back;
                Self::Peers {
                    addresses,
                    fresh: &still(&fresh, &gone_later) | &still(&fresh_later, &gone),
                    gone: &still(&gone, &fresh_later) | &still(&gone_later, &fresh),
                }
            }
            (Self::Everything, _) | (_, Self::Everything) => Self::Everything,
        }
    }
}

impl Desired {
    /// Goes on to another graph and instant. The outcome equals [`Desired::build`] of them.
    pub fn update(&mut self, graph: &Arc<NodeGraph>, now: Timestamp) -> Changes {
        if !self.is_like(graph, now) {
            *self = Self::build(graph, now);
            return Changes::Everything;
        }
        let before: BTreeSet<ClassKey> = self.classes.keys().copied().collect();
        let changed_services = self.changed_services(graph);
        let changed = self.changed_addresses(graph);
        let old = std::mem::replace(&mut self.graph, graph.clone());
        self.now = now;
        for address in &changed_services {
            if let Some(service) = old.services.get(address) {
                self.remove_fronts(*address, service);
            }
            if let Some(service) = graph.services.get(address) {
                self.add_fronts(*address, service);
            }
        }
        let mut again: BTreeSet<Address> = &changed | &changed_services;
        for address in &changed {
            again.extend(self.fronts.get(address).into_iter().flatten());
        }
        // Backends before the Services that lead to them.
        let services = graph.services.clone();
        let local: BTreeSet<Address> = graph
            .workloads
            .values()
            .flat_map(|workload| workload.addresses.iter().copied())
            .collect();
        for address in again
            .iter()
            .filter(|address| !services.contains_key(address))
        {
            let (key, _, _) = self.classify(*address);
            let around = self.regions.list[self.regions.at(*address)].class;
            self.set_peer(
                *address,
                (local.contains(address) || key != around).then_some(key),
            );
        }
        for address in again
            .iter()
            .filter(|address| services.contains_key(address))
        {
            let key = self.classify_service(*address);
            self.set_peer(*address, Some(key));
        }
        self.classes.retain(|_, used: &mut UsedClass| used.uses > 0);
        let after: BTreeSet<ClassKey> = self.classes.keys().copied().collect();
        Changes::Peers {
            addresses: again,
            fresh: &after - &before,
            gone: &before - &after,
        }
    }

    /// Whether only memberships and workloads differ.
    fn is_like(&self, graph: &NodeGraph, now: Timestamp) -> bool {
        let old = &self.graph;
        let time_stands = now >= self.now && self.next_date().is_none_or(|date| now < date);
        time_stands
            && old.rule_sets.keys().eq(graph.rule_sets.keys())
            && old.cluster_ranges == graph.cluster_ranges
            && old.closed == graph.closed
            && (Arc::ptr_eq(&old.services, &graph.services)
                || self.service_ports == service_ports(graph))
    }

    /// Service addresses that are not what they were.
    fn changed_services(&self, graph: &NodeGraph) -> BTreeSet<Address> {
        let (old, new) = (&self.graph.services, &graph.services);
        if Arc::ptr_eq(old, new) {
            return BTreeSet::new();
        }
        let fresh = new
            .iter()
            .filter(|(address, service)| old.get(*address) != Some(*service));
        let gone = old.keys().filter(|address| !new.contains_key(*address));
        fresh
            .map(|(address, _)| *address)
            .chain(gone.copied())
            .collect()
    }

    fn changed_addresses(&self, graph: &NodeGraph) -> BTreeSet<Address> {
        let mut changed = BTreeSet::new();
        let mut compare = |old: Option<&Arc<PeerSet>>, new: Option<&Arc<PeerSet>>| {
            let nobody = PeerSet::default();
            let of = |set: Option<&Arc<PeerSet>>| {
                set.map_or_else(|| nobody.clone(), |set| (**set).clone())
            };
            if old.map(|set| set.digest()) != new.map(|set| set.digest()) {
                let (added, removed) = of(old).diff(&of(new));
                changed.extend(added);
                changed.extend(removed);
            }
        };
        for id in self.matches.by_set.keys() {
            compare(self.graph.peer_sets.get(id), graph.peer_sets.get(id));
        }
        compare(Some(&self.graph.known), Some(&graph.known));
        for (uid, workload) in &graph.workloads {
            let before = self.graph.workloads.get(uid);
            if before.map(|before| &before.addresses) != Some(&workload.addresses) {
                changed.extend(&workload.addresses);
                changed.extend(before.into_iter().flat_map(|before| &before.addresses));
            }
        }
        for (uid, before) in &self.graph.workloads {
            if !graph.workloads.contains_key(uid) {
                changed.extend(&before.addresses);
            }
        }
        changed
    }

    fn set_peer(&mut self, address: Address, key: Option<ClassKey>) {
        let before = match key {
            Some(key) => self.peers.insert(address, key),
            None => self.peers.remove(&address),
        };
        if let Some(used) = key.and_then(|key| self.classes.get_mut(&key)) {
            used.uses += 1;
        }
        if let Some(used) = before.and_then(|key| self.classes.get_mut(&key)) {
            used.uses -= 1;
        }
    }
}
