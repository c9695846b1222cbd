//! Our kinds in a real API server: it takes the generated definitions, and refuses what they were written to refuse.

use bulkhead_tests::cluster::installation::install_definitions;
use bulkhead_tests::cluster::{Cluster, Options};

use crate::machine;

const EVERYBODY_IS_QUARANTINED: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Quarantine
metadata: {name: everybody}
spec:
  reason: a selector that is empty by mistake
  subjects: [{workloads: {namespaces: {}}}]
";

const NOBODY_IS_MEANT: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: nobody}
spec: {mode: Enforce}
";

const A_TEAM: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: team}
spec: {members: [{namespaces: {matchLabels: {team: web}}}]}
";

#[test]
fn the_api_server_takes_our_kinds_and_refuses_their_misuse() {
    let _machine = machine();
    let cluster = Cluster::up(&Options::new("kinds").unwrap().with_nodes(1)).unwrap();
    install_definitions(&cluster).unwrap();

    cluster.apply(A_TEAM).unwrap();
    let refused = |yaml: &str| cluster.apply(yaml).unwrap_err().to_string();
    assert!(refused(EVERYBODY_IS_QUARANTINED).contains("would cut off the whole cluster"));
    assert!(refused(NOBODY_IS_MEANT).contains("a segment needs members or networks"));
    let names = cluster
        .kubectl(&["get", "segments,quarantines", "-o", "name"])
        .unwrap();
    assert_eq!(names, "segment.bulkhead.dev/team\n");
}
