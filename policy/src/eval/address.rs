//! Who owns an address.
//!
//! A pod that is over owns none, and a pod on the host's network is the host. A terminating pod is a running one
//! until its object is gone. A declared workload takes no address from a pod, and where there are pods it takes none from the
//! nodes' ranges: those are given out to pods, and whoever declares one there claims what is, or will be, another's.

use std::net::IpAddr;

use super::World;
use crate::model::{Address, Kind, Phase, Workload};

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'w> {
    /// A workload's.
    Workload(&'w Workload),
    /// A workload's whose identity is not known: an address of the cluster that nobody claims.
    Unknown,
    /// Several live workloads claim it and none of them has the better right. To others it is `Unknown`.
    Contested,
    /// No workload's.
    Outside,
}

impl World {
    /// Whose the address is now.
    pub fn owner(&self, address: Address) -> Owner<'_> {
        let ip = address.ip();
        let claimants_of = |kind: Kind| -> Vec<&Workload> {
            self.workloads_of(kind)
                .filter(|w| w.is_live() && w.addresses.contains(&ip))
                .collect()
        };
        let pods = claimants_of(Kind::Pod);
        let claimants = if !pods.is_empty() {
            pods
        } else if self.is_for_pods(ip) {
            Vec::new()
        } else {
            claimants_of(Kind::Workload)
        };
        if claimants.is_empty() {
            let is_cluster = self.cluster_ranges().any(|range| range.contains(&ip));
            return if is_cluster {
                Owner::Unknown
            } else {
                Owner::Outside
            };
        }
        let running: Vec<&Workload> = claimants
            .iter()
            .filter(|w| w.phase == Phase::Running)
            .copied()
            .collect();
        // Where none runs yet, those that wait for their start are told apart in the same way.
        let candidates = if running.is_empty() {
            claimants
        } else {
            running
        };
        if let [only] = candidates[..] {
            return Owner::Workload(only);
        }
        let placed: Vec<&Workload> = candidates
            .into_iter()
            .filter(|workload| self.is_in_range_of_its_node(workload, ip))
            .collect();
        if let [only] = placed[..] {
            Owner::Workload(only)
        } else {
            Owner::Contested
        }
    }

    /// Whether only pods may have the address.
    fn is_for_pods(&self, ip: IpAddr) -> bool {
        let mut ranges = self.nodes().flat_map(|node| &node.pod_ranges);
        self.workloads_of(Kind::Pod).next().is_some() && ranges.any(|range| range.contains(&ip))
    }

    fn is_in_range_of_its_node(&self, workload: &Workload, ip: IpAddr) -> bool {
        let node = workload.node.as_ref().and_then(|name| self.node(name));
        node.is_some_and(|node| node.pod_ranges.iter().any(|range| range.contains(&ip)))
    }
}
