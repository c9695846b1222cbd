//! The demo's matrix with real traffic, and that one falsified entry of one kernel table turns it red.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use aya::maps::{Array, Map, MapData};
use bulkhead_datapath::abi::{ABI_VERSION, Address, MapName, Plain, WorkloadValue};
use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::demo::{Scene, application::Manifests};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const LIMIT: Duration = Duration::from_secs(30);
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

/// Whatever still carries the name of a lab of that process.
fn leftovers(pid: u32) -> Vec<String> {
    let lab = format!("bhlab{pid}x");
    let mut found = Vec::new();
    for folder in ["/run/netns", "/run/bulkhead-lab"] {
        let entries = fs::read_dir(folder).unwrap();
        found.extend(
            entries
                .map(|entry| entry.unwrap().path().display().to_string())
                .filter(|path| path.contains(&lab)),
        );
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|it| it.contains(&lab))
            .map(str::to_owned),
    );
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        // Programs of the product are told their folders, those of the lab are children of the demo.
        let words = fs::read(path.join("cmdline")).unwrap_or_default();
        let parent = fs::read_to_string(path.join("status")).unwrap_or_default();
        if String::from_utf8_lossy(&words).contains(&lab)
            || parent.lines().any(|line| line == format!("PPid:\t{pid}"))
        {
            found.push(path.display().to_string());
        }
    }
    found
}

fn demo(environment: &[(&str, &Path)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_demo"))
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ended(child: &mut Child) -> ExitStatus {
    Deadline::after(LIMIT)
        .until("the end of the demo", || Ok(child.try_wait()?))
        .unwrap()
}

#[test]
fn a_demo_that_is_interrupted_anywhere_leaves_nothing_behind() {
    for (moment, signal) in [
        ("A shop on three nodes", Signal::SIGINT),
        ("Policies are copied", Signal::SIGTERM),
        ("The agents of both nodes are killed", Signal::SIGINT),
    ] {
        let mut child = demo(&[]);
        let pid = child.id();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.any(|line| line.unwrap().contains(moment));
        assert!(told, "the demo comes as far as {moment:?}");
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
        let status = ended(&mut child);
        assert!(status.success(), "{signal} at {moment:?}: {status}");
        assert_eq!(
            leftovers(pid),
            Vec::<String>::new(),
            "{signal} at {moment:?}"
        );
    }
}

#[test]
fn a_demo_that_fails_says_why_at_once_and_leaves_nothing_behind() {
    let programs = std::env::temp_dir().join(format!("bulkhead-broken-{}", std::process::id()));
    fs::create_dir_all(&programs).unwrap();
    // An agent that ends as soon as it is started.
    symlink("/bin/false", programs.join("bulkhead-agent")).unwrap();
    let started = Instant::now();
    let mut child = demo(&[("BULKHEAD_BIN_DIR", &programs)]);
    let status = ended(&mut child);
    let took = started.elapsed();
    fs::remove_dir_all(&programs).unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(!status.success());
    // All of them do; which one is noticed first is chance.
    let is_told = |node: u32| said.contains(&format!("node-{node} has ended by itself"));
    assert!((1..=3).any(is_told), "{said}");
    assert!(took < LIMIT / 2, "{took:?} until it was told");
    assert_eq!(leftovers(child.id()), Vec::<String>::new());
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
