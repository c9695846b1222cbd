//! Leases are renewed without a revision, no flow outlives a date by it, and no restart makes one longer.

use bulkhead_encode::Deadline;
use bulkhead_graph::Lease;

use super::super::Renewal;
use super::*;

fn heard(after_ms: u64) -> Clock {
    Clock {
        heard_ns: CLOCK.heard_ns + after_ms * 1_000_000,
        ..CLOCK
    }
}

/// Expiries that leases move, as some planner numbered them.
fn leased(planner: &Planner) -> Vec<(Deadline, ExpiryId)> {
    let numbers = planner.numbers().expiries.iter();
    let leased = numbers.filter(|(deadline, _)| deadline.lease.is_some());
    leased.map(|(deadline, id)| (*deadline, *id)).collect()
}

/// The graph with one lease on whatever it allows, and with this date in the place of its own.
fn with_lease(graph: &NodeGraph, date: Option<Timestamp>) -> Arc<NodeGraph> {
    let mut graph = graph.clone();
    for rules in graph.rule_sets.values_mut() {
        for entry in &mut Arc::make_mut(rules).entries {
            entry.until = entry.until.and(date);
            entry.lease = (entry.action != bulkhead_graph::Action::Deny).then_some(Lease(1_500));
        }
    }
    Arc::new(graph)
}

fn renew(kernel: &mut MemoryKernel, planner: &mut Planner, before: Clock, after: Clock) -> usize {
    let Renewal::Stores(stores) = planner.renewal(before, after) else {
        panic!("no date is in the way");
    };
    for store in &stores {
        kernel.write(store).unwrap();
        planner.note(store);
    }
    stores.len()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_renewal_is_a_store_for_each_lease_and_a_restart_finds_it(graph in world::parts()) {
        let graph = with_lease(&graph, None);
        let desired = Desired::build(&graph, Timestamp(0));
        let (mut kernel, mut planner) = (MemoryKernel::default(), Planner::new(MemoryTables::default()));
        go_to(&mut kernel, &mut planner, &graph);
        let numbers = leased(&planner);
        let stores = renew(&mut kernel, &mut planner, CLOCK, heard(5_000));
        prop_assert_eq!(stores, numbers.len());
        for (deadline, id) in &numbers {
            prop_assert_eq!(kernel.tables.expiries[id], heard(5_000).ends(deadline));
        }
        prop_assert_eq!(renew(&mut kernel, &mut planner, heard(5_000), heard(5_000)), 0);
        // Nothing is left to write for whoever comes next and knows what was heard.
        let mut restarted = Planner::new(kernel.read().unwrap());
        let plan = restarted.plan(&desired, &attached(&graph), &Changes::Everything, heard(5_000)).unwrap();
        prop_assert!(plan.is_empty(), "{:?}", plan);
        // Whoever knows of less, as after a kill between two stores, takes no lease for its own, and makes none longer.
        let mut restarted = Planner::new(kernel.read().unwrap());
        let plan = restarted.plan(&desired, &attached(&graph), &Changes::Everything, heard(2_000)).unwrap();
        perform(&mut kernel, &mut restarted, plan).unwrap();
        for (deadline, id) in leased(&restarted) {
            prop_assert_eq!(kernel.tables.expiries[&id], heard(2_000).ends(&deadline));
        }
    }

    /// A flow keeps the earlier of two deadlines. One that keeps a lease may have a date behind it.
    #[test]
    fn a_lease_that_overtakes_a_date_gets_a_fresh_number(graph in world::parts()) {
        let graph = with_lease(&graph, Some(Timestamp(2_000)));
        let desired = Desired::build(&graph, Timestamp(0));
        let (mut kernel, mut planner) = (MemoryKernel::default(), Planner::new(MemoryTables::default()));
        go_to(&mut kernel, &mut planner, &graph);
        let old = leased(&planner);
        let before: BTreeMap<ExpiryId, u64> = kernel.tables.expiries.clone();
        let is_dated = |planner: &Planner| planner.numbers().expiries.keys().any(|it| it.until.is_some());
        if old.is_empty() || !is_dated(&planner) {
            return Ok(());
        }
        // Every date is at 2 s; leases end at 1.5 s, and then 3 s later.
        let after = heard(3_000);
        prop_assert_eq!(planner.renewal(CLOCK, after), Renewal::Anew);
        planner.doubt();
        let unchanged = Changes::Peers {
            addresses: Default::default(),
            fresh: Default::default(),
            gone: Default::default(),
        };
        let plan = planner.plan(&desired, &attached(&graph), &unchanged, after).unwrap();
        prop_assert!(plan.flip.is_some(), "flows are judged again");
        for write in plan.writes() {
            let MapWrite::Expiry { id, .. } = write else { continue };
            prop_assert!(!old.iter().any(|(_, of)| *of == id), "{:?} moves under flows", id);
        }
        perform(&mut kernel, &mut planner, plan).unwrap();
        for (_, id) in &old {
            prop_assert_eq!(kernel.tables.expiries[id], before[id]);
        }
        for (deadline, id) in leased(&planner) {
            prop_assert_eq!(kernel.tables.expiries[&id], after.ends(&deadline));
        }
        // From now on there is nothing in the way.
        renew(&mut kernel, &mut planner, after, heard(3_900));
        for (deadline, id) in leased(&planner) {
            prop_assert_eq!(kernel.tables.expiries[&id], heard(3_900).ends(&deadline));
        }
    }
    /// As where a revision is refused and its controller goes back to the one before it.
    #[test]
    fn after_a_plan_that_broke_off_the_leases_in_force_are_renewed(old in world::parts(), new in world::parts()) {
        let (old, new) = (with_lease(&old, None), with_lease(&new, None));
        let desired = Desired::build(&old, Timestamp(0));
        let (mut kernel, mut planner) = (MemoryKernel::default(), Planner::new(MemoryTables::default()));
        go_to(&mut kernel, &mut planner, &old);
        let next = Desired::build(&new, Timestamp(0));
        let plan = planner.plan(&next, &attached(&new), &Changes::Everything, CLOCK).unwrap();
        kernel.patience = Some(plan.len() / 2);
        if perform(&mut kernel, &mut planner, plan).is_ok() {
            return Ok(());
        }
        kernel.patience = None;
        let after = heard(5_000);
        prop_assert_eq!(planner.renewal(CLOCK, after), Renewal::Anew);
        let plan = planner.plan(&desired, &attached(&old), &Changes::Everything, after).unwrap();
        perform(&mut kernel, &mut planner, plan).unwrap();
        for (deadline, id) in leased(&planner) {
            prop_assert_eq!(kernel.tables.expiries[&id], after.ends(&deadline));
        }
        // What the kernel holds is what a node that never knew of the other revision would hold.
        let mut restarted = Planner::new(kernel.read().unwrap());
        let plan = restarted.plan(&desired, &attached(&old), &Changes::Everything, after).unwrap();
        prop_assert!(plan.is_empty(), "{:?}", plan);
        prop_assert_eq!(renew(&mut kernel, &mut planner, after, heard(9_000)), leased(&planner).len());
    }
}
