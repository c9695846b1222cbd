//! Who owns an address.
//!
//! A pod that is over owns none, and a pod on the host's network is the host. A terminating pod is a running one
//! until its object is gone.

use std::net::IpAddr;

use super::World;
use crate::model::{Address, Phase, Workload};

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
        let claimants: Vec<&Workload> = self
            .workloads()
            .filter(|w| w.is_live() && w.addresses.contains(&ip))
            .collect();
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

    fn is_in_range_of_its_node(&self, workload: &Workload, ip: IpAddr) -> bool {
        let node = workload.node.as_ref().and_then(|name| self.node(name));
        node.is_some_and(|node| node.pod_ranges.iter().any(|range| range.contains(&ip)))
    }
}
