//! Which peers of a tenant's policies count. What a rule names is a list on nodes, and a namespace may have so much of them.

use super::World;
use crate::model::{
    ListOf, ListedPort, NamedPort, PeerList, PeerRoom, Policy, Tier, Workload, longest_for,
};

impl World {
    /// What there is room for in the policies of a namespace, whether these are in force now or not.
    pub(super) fn peer_room(&self, namespace: &str) -> PeerRoom {
        let limits = self.peer_limits();
        let is_tenants =
            |it: &&Policy| it.tier == Tier::Namespace && *it.object.namespace == *namespace;
        let policies: Vec<&Policy> = self.policies().filter(is_tenants).collect();
        let workloads: Vec<&Workload> = self.workloads().filter(|it| it.is_live()).collect();
        // No list is longer than one of everybody.
        let needed = policies.iter().map(|policy| policy.peer_lists()).sum();
        let longest = workloads.iter().map(|it| longest_for(it.named_ports.len()));
        if limits.fit(needed, longest.sum()) {
            return PeerRoom::All;
        }
        let lists = limits.lists(policies.iter().copied());
        let length = |list: &PeerList| {
            let counts = workloads.iter().map(|workload| self.count(list, workload));
            counts.sum()
        };
        let lengths: Vec<usize> = lists.first.iter().map(length).collect();
        if limits.hold(lists.count, lengths.iter().sum()) {
            return PeerRoom::All;
        }
        let with_room = lists.first.into_iter().zip(limits.admit(&lengths));
        let with_room = with_room.filter(|(_, has_room)| *has_room);
        PeerRoom::Only(with_room.map(|(list, _)| list).collect())
    }

    /// How often a workload is on a list.
    fn count(&self, list: &PeerList, workload: &Workload) -> usize {
        let is_meant = match &list.of {
            ListOf::Selected(selector) => self.selects(selector, workload),
            ListOf::Others(_) => true,
        };
        if !is_meant {
            return 0;
        }
        let numbers = list.port.iter().flat_map(|port| {
            let ports = workload.named_ports.iter();
            ports.filter(|it| is_called(it, port))
        });
        list.count(numbers.count())
    }
}

fn is_called(port: &NamedPort, name: &ListedPort) -> bool {
    port.name == name.name && port.protocol == name.protocol
}
