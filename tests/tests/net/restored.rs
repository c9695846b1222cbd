//! A controller whose state comes from a backup is behind its agents: they go back for nobody, it says so, and a new history is one
//! that they accept.

use std::fs;

use bulkhead_tests::lab::Plan;

use crate::controller_metrics::Exposition;
use crate::guarded::{Guarded, isolate};

#[test]
fn a_controller_restored_from_a_backup_is_refused_says_so_and_is_believed_with_a_new_history() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432]))
        .unwrap();
    let mut world = Guarded::start(plan).unwrap();
    let count = world.lab.folder().join("controller").join("frontier.json");
    let backup = fs::read(&count).unwrap();
    let (open, closed) = (
        isolate("shop", "db", &[("web", 5432)]),
        isolate("shop", "db", &[]),
    );
    // More changes than the one that a restored controller counts when it starts.
    for policy in [&closed, &open, &closed] {
        world.enforce("db.json", policy).unwrap();
    }
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();

    world.product.kill_controller().unwrap();
    fs::write(&count, backup).unwrap();
    world.product.apply("db.json", &open.to_string()).unwrap();
    world.product.start_controller().unwrap();
    let status = world
        .product
        .wait("a refusal", |status| {
            status.nodes.iter().any(|node| node.health == "refusing")
        })
        .unwrap();
    let message = &status.nodes[0].message;
    assert!(message.starts_with("refuses revision "), "{message}");
    assert!(message.contains("restored from a backup"), "{message}");
    let metrics = Exposition::of(&world);
    assert_eq!(metrics.described().get("refusals"), Some(&"counter"));
    // Tried again and again, with pauses.
    let refusals = metrics.value("refusals_total{reason=\"older\"}");
    assert!(refusals.is_some_and(|count| count > 0), "{metrics:?}");
    assert_eq!(metrics.value("nodes_behind"), Some(1), "{metrics:?}");
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();

    // What the operators' guide says.
    world.product.kill_controller().unwrap();
    fs::remove_file(&count).unwrap();
    world.product.start_controller().unwrap();
    world.product.wait_settled().unwrap();
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
}
