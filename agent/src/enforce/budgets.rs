//! How many entries of the flow table a workload may take, so that [`FLOODS`] floods at once cost nobody else a flow (G9).
//!
//! A function of the table's size and the number of workloads. Half of the table is shared out fairly; three eighths are for as
//! many workloads as flood, because most use little and some need much; an eighth is nobody's, for workloads that come while others
//! still hold what was theirs before. The number of workloads is rounded up to a power of two, so that shares seldom change.

use bulkhead_datapath::abi::{Capacity, NodeValue};

/// No workload needs more, however large the table.
const MOST: u32 = 8_192;
const MOST_BY_HOST: u32 = 1_024;
const MOST_FRAGMENTS: u32 = 64;

/// So many may take all they may, and everybody else still has a fair share.
const FLOODS: u32 = 8;

/// The node's limits with shares for so many workloads.
pub(super) fn with_budgets(node: NodeValue, capacity: &Capacity, workloads: usize) -> NodeValue {
    let places = u32::try_from(workloads).unwrap_or(u32::MAX).min(1 << 30);
    let places = places.max(FLOODS).next_power_of_two();
    let share = |entries: u32| entries / 2 / places + entries / 8 * 3 / FLOODS;
    let flows = share(capacity.flows);
    // What the host opens is little, and never denied: only its answers need the entry.
    let by_host = (flows / 16).clamp(1, MOST_BY_HOST);
    let rest = flows.saturating_sub(by_host);
    // A flow that a workload opens needs its entry. One that is opened to it is judged by itself where the budget is used up.
    let to_workload = (rest / 4).clamp(1, MOST);
    let by_workload = rest.saturating_sub(to_workload).clamp(1, MOST);
    NodeValue {
        flows_by_workload: by_workload,
        flows_to_workload: to_workload,
        flows_by_host: by_host,
        fragments: share(capacity.fragments).clamp(1, MOST_FRAGMENTS),
        ..node
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_datapath::abi::CAPACITIES;

    fn budgets(flows: u32, workloads: usize) -> NodeValue {
        let capacity = Capacity {
            flows,
            ..CAPACITIES
        };
        with_budgets(NodeValue::DEFAULT, &capacity, workloads)
    }

    #[test]
    fn g9_eight_floods_leave_everybody_a_fair_share() {
        for flows in [4_096, 65_536, 131_072, 1 << 20] {
            for workloads in (1_usize..=300).chain([511, 512]) {
                let node = budgets(flows, workloads);
                let one = node.flows_by_workload + node.flows_to_workload + node.flows_by_host;
                let floods = workloads.min(8);
                let others = workloads - floods;
                let fair = flows as usize / 2 / 512_usize.min(workloads.next_power_of_two().max(8));
                let all = one as usize * floods + fair * others;
                assert!(
                    all <= (flows - flows / 8) as usize,
                    "{workloads} workloads take {all} of {flows}"
                );
                assert!(
                    one as usize >= fair.min(8_192),
                    "a share is no less than fair"
                );
                let floods = node.fragments as usize * floods;
                assert!(floods <= CAPACITIES.fragments as usize / 8 * 7);
            }
        }
    }

    #[test]
    fn shares_are_known() {
        let of = |workloads| {
            let node = budgets(CAPACITIES.flows, workloads);
            let flows = (node.flows_by_workload, node.flows_to_workload);
            (flows, node.flows_by_host, node.fragments)
        };
        assert_eq!(of(1), ((8_192, 3_360), 896, 64));
        assert_eq!(of(110), ((4_680, 1_560), 416, 64));
        assert_eq!(of(512), ((4_410, 1_470), 392, 64));
        // A table that is far too small still lets everybody begin.
        let small = budgets(16, 512);
        assert_eq!((small.flows_by_workload, small.flows_to_workload), (1, 1));
    }
}
