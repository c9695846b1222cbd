//! What packets see after every single write, in a kernel made of memory that refuses what a real one must not do.
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    clippy::result_large_err,
    reason = "a test that cannot go on should say where; its errors carry whole writes"
)]

mod brim;
mod leases;
#[path = "../../../encode/tests/world/mod.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use bulkhead_datapath::abi::{ExpiryId, Mac, RuleSet};
use bulkhead_datapath::memory::MemoryTables;
use bulkhead_encode::{Changes, Clock, Desired, Half, half};
use bulkhead_graph::{Address, Direction, NodeGraph, Protocol, Timestamp};
use proptest::prelude::*;
use thiserror::Error;

use super::{
    Attached, CommitError, Interface, Kernel, MapWrite, Plan, Planner, clear_away, commit, settle,
};

const CLOCK: Clock = Clock {
    wall: Timestamp(0),
    monotonic_ns: 77_000_000_000,
    heard_ns: 77_000_000_000,
};
const CLOSED: Half = Half {
    enforced: false,
    intended: false,
};

/// Every verdict of the node that the test looks at.
type Verdicts = Vec<Half>;

fn verdict(
    tables: &MemoryTables,
    ifindex: u32,
    direction: Direction,
    peer: Address,
    port: (Protocol, u16),
) -> Half {
    let Some(slot) = tables.interfaces.get(&ifindex) else {
        return CLOSED;
    };
    let Some(workload) = tables.workloads.get(slot).filter(|w| w.ifindex == ifindex) else {
        return CLOSED;
    };
    let lane = tables.node.generation.lane();
    let rule_set: RuleSet = match direction {
        Direction::Egress => workload.lane(lane).egress,
        Direction::Ingress => workload.lane(lane).ingress,
    };
    half(tables, rule_set, lane, peer, port.0, port.1).unwrap_or(CLOSED)
}

fn verdicts(tables: &MemoryTables) -> Verdicts {
    let ports = [
        (Protocol::Tcp, 80),
        (Protocol::Tcp, 443),
        (Protocol::Udp, 53),
        (Protocol::Icmp, 0),
    ];
    let mut all = Vec::new();
    for ifindex in 1..=3 {
        for direction in [Direction::Egress, Direction::Ingress] {
            for peer in world::everybody().into_iter().step_by(2) {
                all.extend(ports.map(|port| verdict(tables, ifindex, direction, peer, port)));
            }
        }
    }
    all
}

#[derive(Debug, Error)]
enum Refusal {
    #[error("the test stops it here")]
    Stopped,
    #[error("{0:?} is there already")]
    Present(MapWrite),
    #[error("there is no room for {0:?}")]
    Full(MapWrite),
    #[error("{0:?} comes before the packets that saw a deleted element are through")]
    TooEarly(MapWrite),
    #[error("after {0:?} some verdict is neither the old nor the new one")]
    Mixture(MapWrite),
}

/// Tables in memory that watch the rules of the kernel's.
#[derive(Debug, Clone, Default)]
struct MemoryKernel {
    tables: MemoryTables,
    /// Writes until it stops.
    patience: Option<usize>,
    deleted_since_grace: bool,
    /// What packets may see; empty = anything.
    allowed: Vec<Verdicts>,
    /// Swallows writes to DECISIONS and says that all is well.
    lies: bool,
    /// Nobody can say any more whether packets are through, once the revision has changed.
    is_deaf: bool,
}

impl MemoryKernel {
    /// Whether the table that an insert goes into has no room left.
    fn is_full(&self, write: &MapWrite) -> bool {
        let (tables, capacity) = (&self.tables, self.tables.capacity);
        let (held, room) = match write {
            MapWrite::InsertDecision { .. } => (tables.decisions.len(), capacity.decisions),
            MapWrite::InsertPeer { .. } => (tables.peers.len(), capacity.peers),
            MapWrite::InsertNetwork { .. } => (tables.networks.len(), capacity.networks),
            MapWrite::InsertInterface { .. } => (tables.interfaces.len(), capacity.workloads * 2),
            _ => return false,
        };
        held >= room as usize
    }
}

impl Kernel for MemoryKernel {
    type Error = Refusal;

    fn write(&mut self, write: &MapWrite) -> Result<(), Refusal> {
        match &mut self.patience {
            Some(0) => return Err(Refusal::Stopped),
            Some(left) => *left -= 1,
            None => {}
        }
        let present = match write {
            MapWrite::InsertDecision { key, .. } => Some(self.tables.decisions.contains_key(key)),
            MapWrite::InsertPeer { address, .. } => Some(self.tables.peers.contains_key(address)),
            MapWrite::InsertNetwork { key, .. } => Some(self.tables.networks.contains_key(key)),
            MapWrite::InsertInterface { ifindex, .. } => {
                Some(self.tables.interfaces.contains_key(ifindex))
            }
            _ => None,
        };
        match present {
            Some(true) => return Err(Refusal::Present(*write)),
            Some(false) if self.deleted_since_grace => return Err(Refusal::TooEarly(*write)),
            Some(false) | None => {}
        }
        if present == Some(false) && self.is_full(write) {
            return Err(Refusal::Full(*write));
        }
        if self.lies && matches!(write, MapWrite::InsertDecision { .. }) {
            return Ok(());
        }
        self.deleted_since_grace |= matches!(
            write,
            MapWrite::RemoveDecision(_)
                | MapWrite::RemovePeer(_)
                | MapWrite::RemoveNetwork(_)
                | MapWrite::RemoveInterface(_)
        );
        write.perform(&mut self.tables);
        if !self.allowed.is_empty() && !self.allowed.contains(&verdicts(&self.tables)) {
            return Err(Refusal::Mixture(*write));
        }
        Ok(())
    }

    fn grace(&mut self) -> Result<(), Refusal> {
        if self.is_deaf && self.tables.node.generation.0 > 0 {
            return Err(Refusal::Stopped);
        }
        self.deleted_since_grace = false;
        Ok(())
    }

    fn holds(&mut self, write: &MapWrite) -> Result<bool, Refusal> {
        Ok(write.is_performed(&self.tables))
    }

    fn read(&mut self) -> Result<MemoryTables, Refusal> {
        Ok(self.tables.clone())
    }
}

/// All workloads of the graph, each behind an interface of its own.
fn attached(graph: &NodeGraph) -> Attached {
    let interface = |ifindex: u32| Interface {
        ifindex,
        mac: Mac {
            octets: [2, 0, 0, 0, 0, 1],
        },
        flags: 0,
    };
    let number = |uid: &str| uid.rsplit('-').next().unwrap().parse::<u32>().unwrap();
    graph
        .workloads
        .keys()
        .map(|uid| (uid.clone(), interface(number(&uid.0) + 1)))
        .collect()
}

fn perform(
    kernel: &mut MemoryKernel,
    planner: &mut Planner,
    plan: Plan,
) -> Result<usize, CommitError<Refusal>> {
    let committed = commit(kernel, planner, plan)?;
    settle(kernel, planner, committed)
}

fn go_to(kernel: &mut MemoryKernel, planner: &mut Planner, graph: &Arc<NodeGraph>) -> usize {
    let desired = Desired::build(graph, Timestamp(0));
    let plan = planner
        .plan(&desired, &attached(graph), &Changes::Everything, CLOCK)
        .unwrap();
    perform(kernel, planner, plan).unwrap()
}

/// What the verdicts are when a node that had nothing gets this graph.
fn expected(graph: &Arc<NodeGraph>) -> Verdicts {
    let (mut kernel, mut planner) = (
        MemoryKernel::default(),
        Planner::new(MemoryTables::default()),
    );
    go_to(&mut kernel, &mut planner, graph);
    let memory = bulkhead_encode::Memory::new(&Desired::build(graph, Timestamp(0)), CLOCK).unwrap();
    for (uid, interface) in attached(graph) {
        let workload = &graph.workloads[&uid];
        for peer in world::everybody() {
            let ours = verdict(
                &kernel.tables,
                interface.ifindex,
                Direction::Egress,
                peer,
                (Protocol::Tcp, 80),
            );
            assert_eq!(
                ours,
                memory
                    .half(workload.egress, peer, Protocol::Tcp, 80)
                    .unwrap_or(CLOSED)
            );
        }
    }
    verdicts(&kernel.tables)
}

fn sizes(tables: &MemoryTables) -> [usize; 4] {
    [
        tables.decisions.len(),
        tables.peers.len(),
        tables.networks.len(),
        tables.interfaces.len(),
    ]
}

fn is_settled(kernel: &mut MemoryKernel, graph: &Arc<NodeGraph>) -> bool {
    let mut restarted = Planner::new(kernel.read().unwrap());
    let desired = Desired::build(graph, Timestamp(0));
    // The clocks are read again, and never at the same distance.
    let clock = Clock {
        monotonic_ns: CLOCK.monotonic_ns + 3_000_000,
        ..CLOCK
    };
    let plan = restarted
        .plan(&desired, &attached(graph), &Changes::Everything, clock)
        .unwrap();
    assert!(
        plan.is_empty(),
        "an unchanged graph is written again: {plan:?}"
    );
    plan.is_empty()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_write_leaves_the_old_or_the_new_revision(old in world::parts(), new in world::parts()) {
        let (old, new) = (Arc::new(old), Arc::new(new));
        let (mut kernel, mut planner) = (MemoryKernel::default(), Planner::new(MemoryTables::default()));
        go_to(&mut kernel, &mut planner, &old);
        kernel.allowed = vec![expected(&old), expected(&new)];
        prop_assert_eq!(&verdicts(&kernel.tables), &kernel.allowed[0]);
        let writes = {
            let mut kernel = kernel.clone();
            let mut planner = Planner::new(kernel.read().unwrap());
            go_to(&mut kernel, &mut planner, &new)
        };
        // Killed at a write, and a new agent begins with what it finds.
        let step = (writes / 8).max(1);
        for patience in (0..=writes).step_by(step) {
            let mut kernel = MemoryKernel { patience: Some(patience), ..kernel.clone() };
            let mut planner = Planner::new(kernel.read().unwrap());
            let desired = Desired::build(&new, Timestamp(0));
            let plan = planner.plan(&desired, &attached(&new), &Changes::Everything, CLOCK).unwrap();
            match perform(&mut kernel, &mut planner, plan) {
                Ok(_) => {}
                Err(CommitError::Write { reason: Refusal::Stopped, .. }) => {}
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            }
            kernel.patience = None;
            let mut same_agent = (kernel.clone(), planner);
            go_to(&mut same_agent.0, &mut same_agent.1, &new);
            prop_assert_eq!(&verdicts(&same_agent.0.tables), &kernel.allowed[1]);
            let mut restarted = Planner::new(kernel.read().unwrap());
            go_to(&mut kernel, &mut restarted, &new);
            prop_assert_eq!(&verdicts(&kernel.tables), &kernel.allowed[1]);
            prop_assert!(is_settled(&mut kernel, &new));
        }
    }

    #[test]
    fn the_way_does_not_show(graphs in prop::collection::vec(world::parts(), 2..6)) {
        let (mut kernel, mut planner) = (MemoryKernel::default(), Planner::new(MemoryTables::default()));
        let first = Arc::new(graphs[0].clone());
        go_to(&mut kernel, &mut planner, &first);
        let before = sizes(&kernel.tables);
        let mut desired = Desired::build(&first, Timestamp(0));
        let mut last = first.clone();
        for graph in graphs {
            // Members only, then everything.
            let moved = Arc::new(NodeGraph::new(
                last.workloads.clone(),
                last.rule_sets.clone(),
                last.peer_sets.iter().map(|(id, set)| {
                    (*id, graph.peer_sets.get(id).cloned().unwrap_or_else(|| Arc::new(set.iter().skip(1).collect())))
                }).collect(),
                graph.known.clone(),
                last.cluster_ranges.clone(),
                last.services.clone(),
            ));
            for next in [moved, Arc::new(graph)] {
                let changes = desired.update(&next, Timestamp(0));
                kernel.allowed = vec![verdicts(&kernel.tables), expected(&next)];
                let plan = planner.plan(&desired, &attached(&next), &changes, CLOCK).unwrap();
                perform(&mut kernel, &mut planner, plan).unwrap();
                prop_assert_eq!(&verdicts(&kernel.tables), &kernel.allowed[1]);
                prop_assert!(is_settled(&mut kernel, &next));
                last = next;
            }
        }
        kernel.allowed.clear();
        go_to(&mut kernel, &mut planner, &first);
        prop_assert_eq!(&sizes(&kernel.tables)[1..], &before[1..]);
        // Holes in blocks of port classes may stay, but not without end.
        prop_assert!(sizes(&kernel.tables)[0] <= before[0] * 3, "{:?} after {before:?}", sizes(&kernel.tables));
        // Nobody is left: nothing but the two prefixes that hold everything.
        go_to(&mut kernel, &mut planner, &Arc::new(NodeGraph::default()));
        prop_assert_eq!(sizes(&kernel.tables), [0, 0, 2, 0]);
    }

    #[test]
    fn what_somebody_else_changed_is_repaired(graph in world::parts(), at in any::<prop::sample::Index>()) {
        let graph = Arc::new(graph);
        let (mut kernel, mut planner) = (MemoryKernel::default(), Planner::new(MemoryTables::default()));
        go_to(&mut kernel, &mut planner, &graph);
        let right = verdicts(&kernel.tables);
        let keys: Vec<_> = kernel.tables.decisions.keys().copied().collect();
        prop_assume!(!keys.is_empty());
        let key = keys[at.index(keys.len())];
        let falsified = [None, kernel.tables.decisions.get(&key).map(|value| {
            let mut value = *value;
            value.enforced = !value.enforced;
            value
        })];
        for value in falsified {
            let mut kernel = kernel.clone();
            match value {
                None => kernel.tables.decisions.remove(&key),
                Some(value) => kernel.tables.decisions.insert(key, value),
            };
            planner.reread(kernel.read().unwrap());
            prop_assert!(go_to(&mut kernel, &mut planner, &graph) > 0);
            prop_assert_eq!(&verdicts(&kernel.tables), &right);
            prop_assert!(is_settled(&mut kernel, &graph));
        }
    }
}

fn one_graph() -> Arc<NodeGraph> {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    loop {
        let graph = Arc::new(world::parts().new_tree(&mut runner).unwrap().current());
        let desired = Desired::build(&graph, Timestamp(0));
        let memory = bulkhead_encode::Memory::new(&desired, CLOCK).unwrap();
        let dated = memory
            .tables
            .decisions
            .values()
            .any(|value| !value.expiry.is_none());
        if graph.workloads.len() == 3 && dated && memory.tables.decisions.len() > 5 {
            return graph;
        }
    }
}

#[test]
fn what_is_not_held_is_not_acked() {
    let graph = one_graph();
    let (mut kernel, mut planner) = (
        MemoryKernel::default(),
        Planner::new(MemoryTables::default()),
    );
    kernel.lies = true;
    let desired = Desired::build(&graph, Timestamp(0));
    let plan = planner
        .plan(&desired, &attached(&graph), &Changes::Everything, CLOCK)
        .unwrap();
    let outcome = commit(&mut kernel, &mut planner, plan);
    assert!(
        matches!(outcome, Err(CommitError::NotHeld { .. })),
        "{outcome:?}"
    );
    // As soon as it tells the truth again, everything is put right from what it really holds.
    kernel.lies = false;
    planner.reread(kernel.read().unwrap());
    go_to(&mut kernel, &mut planner, &graph);
    assert_eq!(verdicts(&kernel.tables), expected(&graph));
}

#[test]
fn g15_what_packets_may_not_have_left_is_not_acked() {
    let graph = one_graph();
    let (mut kernel, mut planner) = (
        MemoryKernel::default(),
        Planner::new(MemoryTables::default()),
    );
    kernel.is_deaf = true;
    let desired = Desired::build(&graph, Timestamp(0));
    let attached = attached(&graph);
    let plan = |planner: &mut Planner| {
        planner
            .plan(&desired, &attached, &Changes::Everything, CLOCK)
            .unwrap()
    };
    let first = plan(&mut planner);
    let outcome = commit(&mut kernel, &mut planner, first);
    assert!(matches!(outcome, Err(CommitError::Grace(_))), "{outcome:?}");
    // It is in force all the same; whoever goes on waits first, and flips nothing.
    assert_eq!(verdicts(&kernel.tables), expected(&graph));
    let again = plan(&mut planner);
    assert_eq!((again.wait_first, again.flip), (true, None));
    assert!(perform(&mut kernel, &mut planner, again).is_err());
    kernel.is_deaf = false;
    let again = plan(&mut planner);
    perform(&mut kernel, &mut planner, again).unwrap();
    assert!(is_settled(&mut kernel, &graph));
}

#[test]
fn a_full_table_leaves_the_old_revision() {
    let graph = one_graph();
    let mut tables = MemoryTables::default();
    tables.capacity.decisions = 2;
    let mut planner = Planner::new(tables);
    let desired = Desired::build(&graph, Timestamp(0));
    let error = planner
        .plan(&desired, &attached(&graph), &Changes::Everything, CLOCK)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("DECISIONS has room for 2 entries"),
        "{error}"
    );
}

#[test]
fn an_interface_that_leaves_takes_its_workload_with_it() {
    let graph = one_graph();
    let (mut kernel, mut planner) = (
        MemoryKernel::default(),
        Planner::new(MemoryTables::default()),
    );
    go_to(&mut kernel, &mut planner, &graph);
    let desired = Desired::build(&graph, Timestamp(0));
    let mut attached = attached(&graph);
    let (uid, interface) = attached.pop_first().unwrap();
    let unchanged = Changes::Peers {
        addresses: Default::default(),
        fresh: Default::default(),
        gone: Default::default(),
    };
    let slot = planner.slot(&uid).unwrap();
    let incarnation = kernel.tables.workloads[&slot].incarnation;
    let plan = planner
        .plan(&desired, &attached, &unchanged, CLOCK)
        .unwrap();
    perform(&mut kernel, &mut planner, plan).unwrap();
    assert!(!kernel.tables.interfaces.contains_key(&interface.ifindex));
    assert_eq!(planner.slot(&uid), None);
    // The slot's next owner inherits no flow.
    attached.insert(
        uid.clone(),
        Interface {
            ifindex: 99,
            ..interface
        },
    );
    let plan = planner
        .plan(&desired, &attached, &unchanged, CLOCK)
        .unwrap();
    perform(&mut kernel, &mut planner, plan).unwrap();
    assert_eq!(kernel.tables.interfaces[&99], slot);
    assert_eq!(kernel.tables.workloads[&slot].incarnation, incarnation + 1);
    assert_eq!(kernel.tables.workloads[&slot].ifindex, 99);
}

#[test]
fn deadlines_follow_the_wall_clock() {
    let graph = one_graph();
    let (mut kernel, mut planner) = (
        MemoryKernel::default(),
        Planner::new(MemoryTables::default()),
    );
    go_to(&mut kernel, &mut planner, &graph);
    let desired = Desired::build(&graph, Timestamp(0));
    let deadlines: BTreeMap<ExpiryId, u64> = kernel.tables.expiries.clone();
    let unchanged = Changes::Peers {
        addresses: Default::default(),
        fresh: Default::default(),
        gone: Default::default(),
    };
    let stepped = Clock {
        wall: Timestamp(500),
        ..CLOCK
    };
    let plan = planner
        .plan(&desired, &attached(&graph), &unchanged, stepped)
        .unwrap();
    assert!(!deadlines.is_empty());
    assert!(plan.len() <= deadlines.len());
    assert_eq!(plan.flip, None);
    perform(&mut kernel, &mut planner, plan).unwrap();
    let dated = planner.numbers().expiries.iter();
    let dated = dated.filter(|(deadline, _)| deadline.lease.is_none());
    for (id, ns) in dated.map(|(_, id)| (id, deadlines[id])) {
        let moved = ns - kernel.tables.expiries[id];
        assert!(moved.abs_diff(500_000_000) <= 2 << 20, "{moved}");
    }
}
