//! The demo's matrix with real traffic, and that one falsified entry of one kernel table turns it red.

use std::process::Command;

use aya::maps::{Array, Map, MapData};
use bulkhead_datapath::abi::{ABI_VERSION, Address, MapName, Plain, WorkloadValue};
use bulkhead_tests::demo::{Scene, application::Manifests};

const VALUE_LENGTH: usize = size_of::<WorkloadValue>();

#[test]
fn the_matrix_of_the_demo_is_the_oracles_before_and_after_the_policies() {
    let mut scene = Scene::set_up(Manifests::of_source_tree()).unwrap();
    let before = scene.checked_matrix().unwrap();
    assert_eq!(before.reached(), before.outcomes().len());
    let took = scene.apply_policies().unwrap();
    let after = scene.checked_matrix().unwrap();
    assert!(after.reached() < before.reached());
    println!(
        "in force after {took:?}; {} of {} questions answered",
        after.reached(),
        after.outcomes().len()
    );
}

#[test]
fn one_falsified_map_entry_turns_the_matrix_red() {
    let mut scene = Scene::set_up(Manifests::of_source_tree()).unwrap();
    scene.apply_policies().unwrap();
    scene.checked_matrix().unwrap();
    give_the_rules_of(&scene, "ops/ci-runner", "data/orders-db");
    let error = scene
        .checked_matrix()
        .expect_err("the database is judged by the rules of another")
        .to_string();
    assert!(
        error.contains("data/orders-db") && error.contains("must not be reached"),
        "{error}"
    );
}

#[test]
fn the_demo_checks_itself_and_leaves_nothing_behind() {
    let output = Command::new(env!("CARGO_BIN_EXE_demo"))
        .arg("--check")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!said.contains('\u{1b}'), "no colours where nobody looks");
}

/// Writes one element of WORKLOADS: the slot of `victim` gets the rule sets of `generous`, on the same node.
fn give_the_rules_of(scene: &Scene, generous: &str, victim: &str) {
    let plan = scene.lab().plan();
    let (generous, victim) = (plan.find(generous).unwrap(), plan.find(victim).unwrap());
    assert_eq!(
        generous.node, victim.node,
        "rule sets are numbered per node"
    );
    let pin = scene
        .lab()
        .pins(victim.node)
        .join(format!("v{ABI_VERSION}"))
        .join("maps")
        .join(MapName::Workloads.name());
    let mut map: Array<MapData, [u8; VALUE_LENGTH]> =
        Array::try_from(Map::Array(MapData::from_pin(&pin).unwrap())).unwrap();
    let find = |address: std::net::Ipv4Addr| {
        let address = Address::from_octets(address.to_ipv6_mapped().octets());
        let values = (0..map.len()).map(|slot| {
            (
                slot,
                WorkloadValue::from_bytes(&map.get(&slot, 0).unwrap()).unwrap(),
            )
        });
        values
            .into_iter()
            .find(|(_, value)| value.v4.contains(&address))
            .unwrap()
    };
    let (_, source) = find(generous.addresses.v4);
    let (slot, mut falsified) = find(victim.addresses.v4);
    assert_ne!(falsified.lanes, source.lanes, "they are told apart");
    falsified.lanes = source.lanes;
    map.set(
        slot,
        <[u8; VALUE_LENGTH]>::try_from(falsified.as_bytes()).unwrap(),
        0,
    )
    .unwrap();
}
