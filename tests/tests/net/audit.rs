//! Audit: nothing changes for packets, and whatever would have been otherwise is reported.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use bulkhead_tests::lab::Plan;
use serde_json::Value;

use crate::guarded::{Guarded, isolate};

const TOLD_LIMIT: Duration = Duration::from_secs(5);

/// The next event of a kind about a connection from one address to a port.
fn next(events: &Receiver<Value>, kind: &str, source: &str, port: u16) -> Value {
    std::iter::from_fn(|| events.recv_timeout(TOLD_LIMIT).ok())
        .find(|event| {
            event["kind"] == kind
                && event["source"]["address"] == source
                && event["destination"]["port"] == port
        })
        .unwrap_or_else(|| panic!("nothing about {kind} from {source} to port {port}"))
}

fn in_audit(mut policy: Value) -> Value {
    policy["spec"]["mode"] = "Audit".into();
    policy
}

#[test]
fn what_audited_policies_would_change_is_reported_while_packets_go_as_before() {
    let plan = Plan::new(2)
        .workload("shop/web", 1, &[80])
        .and_then(|plan| plan.workload("shop/cart", 1, &[80]))
        .and_then(|plan| plan.workload("shop/db", 2, &[5432]))
        .unwrap();
    let world = Guarded::start(plan).unwrap();
    let db = world.lab.plan().find("shop/db").unwrap().clone();
    let of = |name: &str| world.lab.addresses(name).unwrap().both();
    let events = world.events(db.node).unwrap();

    // A draft that would close the door to cart.
    world
        .enforce(
            "db.json",
            &in_audit(isolate("shop", "db", &[("web", 5432)])),
        )
        .unwrap();
    world.expect_reached("shop/web", "shop/db", 5432).unwrap();
    world.expect_reached("shop/cart", "shop/db", 5432).unwrap();
    for address in of("shop/cart") {
        let event = next(&events, "would_deny", &address.to_string(), 5432);
        assert_eq!(event["destination"]["workload"], "shop/db", "{event}");
        assert_eq!(event["protocol"], "tcp", "{event}");
    }

    // Enforced, and a draft that would open it again.
    world
        .enforce("db.json", &isolate("shop", "db", &[("web", 5432)]))
        .unwrap();
    let mut draft = in_audit(isolate("shop", "db", &[("cart", 5432)]));
    draft["metadata"]["name"] = "draft".into();
    world.enforce("draft.json", &draft).unwrap();
    world.expect_silence("shop/cart", "shop/db", 5432).unwrap();
    for address in of("shop/cart") {
        let event = next(&events, "would_allow", &address.to_string(), 5432);
        assert_eq!(event["reason"], "ingress_denied", "{event}");
    }
    // What both agree about is a plain denial.
    world.expect_silence("shop/web", "shop/db", 22).unwrap();
    for address in of("shop/web") {
        next(&events, "denied", &address.to_string(), 22);
    }
    let metrics = world.product.ask_agent(db.node, "/metrics").unwrap();
    for kind in ["would_deny", "would_allow", "denied"] {
        let label = format!("bulkhead_agent_events_total{{kind=\"{kind}\"}}");
        assert!(metrics.contains(&label), "{metrics}");
    }
}
