//! G8: what does not fit into a node's tables is denied for its own subject, and for nobody else.

use bulkhead_tests::lab::Plan;
use serde_json::{Value, json};

use crate::guarded::{Guarded, isolate};

/// Room for everybody who is modest.
const DECISIONS: &str = "256";
const GREEDY_RULES: u8 = 200;

/// Every rule names a network and a port of its own, so that none can share a decision with another.
fn greedy() -> Value {
    let rules: Vec<Value> = (0..GREEDY_RULES)
        .map(|n| {
            json!({
                "from": [{"ipBlock": {"cidr": format!("198.51.{n}.0/24")}}],
                "ports": [{"protocol": "TCP", "port": 10_000 + u16::from(n) * 2}],
            })
        })
        .chain([json!({"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}], "ports": [{"protocol": "TCP", "port": 80}]})])
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"namespace": "hog", "name": "greedy"},
        "spec": {"podSelector": {"matchLabels": {"app": "greedy"}}, "policyTypes": ["Ingress"], "ingress": rules},
    })
}

#[test]
fn g8_a_full_map_denies_only_the_subject_that_does_not_fit() {
    let plan = Plan::new(1)
        .workload("shop/web", 1, &[8080])
        .and_then(|plan| plan.workload("shop/db", 1, &[5432]))
        .and_then(|plan| plan.workload("hog/greedy", 1, &[80]))
        .and_then(|plan| plan.workload("hog/friend", 1, &[80]))
        .unwrap();
    let world = Guarded::with_agent_flags(plan, &["--max-decisions", DECISIONS]).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    world
        .expect_reached("hog/friend", "hog/greedy", 80)
        .unwrap();
    world.enforce("greedy.json", &greedy()).unwrap();
    let status = world.product.wait_settled().unwrap();
    let denied: Vec<&str> = status.nodes[0]
        .denied
        .iter()
        .map(|workload| workload.name.as_str())
        .collect();
    assert!(denied.contains(&"hog/greedy"), "{status:#?}");
    assert!(
        denied.iter().all(|name| name.starts_with("hog/")),
        "only the greedy tenant is hit: {denied:?}"
    );
    // Denied, although its own policy would allow this.
    world
        .expect_silence("hog/friend", "hog/greedy", 80)
        .unwrap();
    world.expect_silence("shop/web", "hog/greedy", 80).unwrap();
    // Everybody else goes on, and revoking works as ever.
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
    world
        .enforce("db.json", &isolate("shop", "db", &[]))
        .unwrap();
    world.expect_silence("shop/web", "shop/db", 5432).unwrap();
    // Modest again, served again.
    world
        .product
        .settle(|| world.product.withdraw("greedy.json"))
        .unwrap();
    world
        .expect_reached("hog/friend", "hog/greedy", 80)
        .unwrap();
    assert!(world.product.status().unwrap().nodes[0].denied.is_empty());
}
