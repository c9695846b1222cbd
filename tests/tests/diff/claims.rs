//! Whose node graph a workload is in, and with which addresses.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_policy::eval::{Owner, World};
use bulkhead_policy::model::{Address, Interned};
use bulkhead_tests::worlds::search::{Finding, search};
use bulkhead_tests::worlds::vocabulary::NOW;
use bulkhead_tests::worlds::{SmallWorld, small_world};

use bulkhead_tests::tuples::graphs;

type Places = BTreeMap<Interned, BTreeMap<Interned, BTreeSet<Address>>>;

/// By node and incarnation: the addresses that it owns.
fn told_by_the_oracle(world: &World) -> Places {
    let mut places = Places::new();
    for workload in world.workloads().filter(|workload| workload.is_live()) {
        let Some(node) = &workload.node else { continue };
        let owned = workload.addresses.iter().map(|ip| Address::from(*ip)).filter(
            |address| matches!(world.owner(*address), Owner::Workload(owner) if owner.uid == workload.uid),
        );
        places
            .entry(node.clone())
            .or_default()
            .insert(workload.uid.clone(), owned.collect());
    }
    places
}

fn check(case: SmallWorld) -> Finding {
    let graphs = graphs(&mut case.engine(NOW));
    let mut compiled = Places::new();
    for (node, graph) in &graphs {
        graph
            .check_references()
            .map_err(|error| format!("graph of {node}: {error}"))?;
        for (uid, workload) in &graph.workloads {
            let addresses = workload.addresses.iter().copied().collect();
            compiled
                .entry(node.clone())
                .or_default()
                .insert(uid.0.clone(), addresses);
        }
    }
    let expected = told_by_the_oracle(&case.world());
    if compiled == expected {
        Ok(())
    } else {
        Err(format!("expected {expected:#?}\ncompiled {compiled:#?}"))
    }
}

#[test]
fn a_node_holds_its_workloads_with_the_addresses_they_own() {
    search("claims", 2000, small_world(), check);
}
