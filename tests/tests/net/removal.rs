//! `bulkhead-agent remove`: not while an agent runs; then its node is open, no other is, and nothing of the agent is left but its lock.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use bulkhead_agent::kernel::attached;
use bulkhead_datapath::abi::Hook;
use bulkhead_tests::cluster::Deadline;
use bulkhead_tests::lab::Plan;

use crate::guarded::{Guarded, isolate};

const LIMIT: Duration = Duration::from_secs(20);
const GUARDED: [usize; 2] = [1, 1];
const BARE: [usize; 2] = [0, 0];

/// How many programs stand on each hook of a workload's interface.
fn programs_on(world: &Guarded, key: &str) -> Result<[usize; 2]> {
    let workload = world.lab.plan().find(key).unwrap();
    world.lab.node(workload.node).enter(|| {
        let mut counts = [0; 2];
        for (count, hook) in counts.iter_mut().zip(Hook::ALL) {
            *count = attached(&workload.interface, hook, 0)?.programs.len();
        }
        Ok(counts)
    })
}

/// What lies in a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn removing_an_agent_opens_its_node_and_no_other_and_leaves_nothing_of_it() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    for app in ["web", "db"] {
        world
            .enforce(&format!("{app}.json"), &isolate("shop", app, &[]))
            .unwrap();
    }
    let node = world.lab.plan().find("shop/db").unwrap().node;
    let pins = world.lab.pins(node);
    let state = world.lab.folder().join("state").join(node.name());
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();
    world.expect_silence("shop/db", "shop/web", 8080).unwrap();

    // Under a running agent nothing is taken away.
    let refused = world.product.remove_agent(node, &pins, &state).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let expected = format!(
        "bulkhead-agent: another agent runs on this node (it holds {}): end that one first",
        state.join("lock").display()
    );
    assert_eq!(said.trim_end(), expected);
    // Nor by somebody who is wrong about where it keeps its state: it holds its pins, too.
    let mistaken = state.with_file_name("mistaken");
    let refused = world.product.remove_agent(node, &pins, &mistaken).unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let expected = format!(
        "bulkhead-agent: another agent runs on this node (it holds {}): end that one first",
        pins.display()
    );
    assert_eq!(said.trim_end(), expected);
    assert_eq!(programs_on(&world, "shop/db").unwrap(), GUARDED);
    world.product.ask_agent(node, "/healthz").unwrap();
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();

    // Its end alone takes nothing away either.
    world.product.stop_agent(node).unwrap();
    assert_eq!(programs_on(&world, "shop/db").unwrap(), GUARDED);
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();
    assert!(pins.exists());
    for file in ["graph", "frontier"] {
        assert!(names(&state).contains(file), "{file}");
    }

    // Where nothing is pinned there is nothing to remove, and what the agent would need again stays.
    let elsewhere = pins.with_file_name("elsewhere");
    let refused = world
        .product
        .remove_agent(node, &elsewhere, &state)
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let expected = format!(
        "bulkhead-agent: nothing of an agent is pinned in {}, and yet programs of one stand on ",
        elsewhere.display()
    );
    assert!(said.starts_with(&expected), "{said}");
    assert_eq!(programs_on(&world, "shop/db").unwrap(), GUARDED);
    assert!(names(&state).contains("graph"));

    // What somebody else has in the folder of pins stays, and is told; nothing else does.
    let foreign = pins.join("foreign");
    fs::create_dir(&foreign).unwrap();
    let removed = world.product.remove_agent(node, &pins, &state).unwrap();
    let said = String::from_utf8_lossy(&removed.stderr);
    assert_eq!(removed.status.code(), Some(1), "{said}");
    for told in [
        "from now on nothing is enforced on this node",
        "it stays behind",
    ] {
        assert!(said.contains(told), "{said}");
    }
    assert!(!names(&state).contains("graph"), "{said}");
    fs::remove_dir(&foreign).unwrap();

    // Again: the folder goes, too. And again: there is nothing any more, and that is no error.
    for time in ["first", "second"] {
        let removed = world.product.remove_agent(node, &pins, &state).unwrap();
        let said = String::from_utf8_lossy(&removed.stderr);
        assert!(removed.status.success(), "the {time} time: {said}");
        assert!(
            said.contains("nothing of an agent is pinned there"),
            "{said}"
        );
        // The kernel lets go of a link some time after its pin is gone.
        Deadline::after(LIMIT)
            .until("no program on the interface", || {
                let programs = programs_on(&world, "shop/db")?;
                ensure!(programs == BARE, "{programs:?}");
                Ok(Some(()))
            })
            .unwrap();
        assert!(!pins.exists(), "the {time} time");
        assert_eq!(names(&state), ["lock".to_owned()].into());
        world.expect_reached("shop/web", "shop/db", 5432).unwrap();
    }
    // The other node has not heard of it.
    assert_eq!(programs_on(&world, "shop/web").unwrap(), GUARDED);
    world.expect_silence("shop/db", "shop/web", 8080).unwrap();

    // An agent that comes back finds nothing in its way.
    world.product.start_agent(node).unwrap();
    Deadline::after(LIMIT)
        .until("the node guarded again", || {
            let programs = programs_on(&world, "shop/db")?;
            ensure!(programs == GUARDED, "{programs:?}");
            world.expect_silence("shop/web", "shop/db", 5432).map(Some)
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", world.product.logs()));
}
