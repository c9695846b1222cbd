//! Upstream's own specs against our cluster.

use std::time::Duration;

use bulkhead_tests::cluster::installation::Installation;
use bulkhead_tests::cluster::suite::{NetworkPolicySuite, SuiteOptions};
use bulkhead_tests::cluster::{Cluster, Options};

use crate::machine;

#[test]
fn the_suite_tells_allowed_connections_from_a_missing_engine() {
    let _machine = machine();
    let cluster = Cluster::up(&Options::new("suite").unwrap().with_nodes(2)).unwrap();
    let suite = NetworkPolicySuite::ready(cluster.programs()).unwrap();
    let options = SuiteOptions {
        focus: "support (allow-all|a 'default-deny-all') policy".into(),
        processes: 2,
        limit: Duration::from_secs(400),
    };
    let outcomes = suite.run(&cluster, &options).unwrap();
    let passed = |name: &str| {
        outcomes
            .iter()
            .find(|spec| spec.name.contains(name))
            .map(|spec| spec.passed())
    };
    assert_eq!(
        passed("support allow-all policy"),
        Some(true),
        "{outcomes:#?}"
    );
    assert_eq!(
        passed("support a 'default-deny-all' policy"),
        Some(false),
        "{outcomes:#?}"
    );
}

#[test]
fn the_product_passes_the_suite() {
    let _machine = machine();
    let cluster = Cluster::up(&Options::new("netpol").unwrap()).unwrap();
    let mut product = Installation::start(&cluster).unwrap();
    let suite = NetworkPolicySuite::ready(cluster.programs()).unwrap();
    let options = SuiteOptions {
        focus: "Netpol".into(),
        processes: 3,
        limit: Duration::from_secs(1200),
    };
    let outcomes = suite.run(&cluster, &options).unwrap();
    product.check_running().unwrap();
    let failed: Vec<_> = outcomes.iter().filter(|spec| !spec.passed()).collect();
    // Fewer would mean that the focus met nothing, and nothing passes easily.
    assert!(outcomes.len() >= 47, "only {} specs ran", outcomes.len());
    assert!(
        failed.is_empty(),
        "{} of {} specs: {failed:#?}",
        failed.len(),
        outcomes.len()
    );
}
