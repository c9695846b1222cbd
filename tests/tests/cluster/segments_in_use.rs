//! The API server keeps a segment that somebody is protected by.

use std::time::Duration;

use bulkhead_tests::cluster::installation::install_definitions;
use bulkhead_tests::cluster::{Cluster, Deadline, Options};

use crate::machine;

/// How long the API server may take to take notice of a policy that is new to it, or gone.
const NOTICE_LIMIT: Duration = Duration::from_secs(60);

const OBJECTS: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: team}
spec: {members: [{namespaces: {matchLabels: {team: web}}}]}
---
apiVersion: bulkhead.dev/v1alpha1
kind: Segment
metadata: {name: guests}
spec: {networks: [{cidr: 192.0.2.0/24}]}
---
apiVersion: bulkhead.dev/v1alpha1
kind: Quarantine
metadata: {name: breach}
spec: {reason: seen moving sideways, subjects: [{uid: a}, {segment: team}]}
---
apiVersion: bulkhead.dev/v1alpha1
kind: Quarantine
metadata: {name: another}
spec: {reason: seen moving sideways, subjects: [{uid: a}]}
";

const GUARD: &str = "
apiVersion: bulkhead.dev/v1alpha1
kind: ClusterSegmentationPolicy
metadata: {name: guard}
spec:
  tier: Admin
  priority: 1
  subjects: [{segment: team}]
  ingress: [{action: Allow, from: [{segment: guests}], ports: [{every: {}}]}]
";

/// Whose members would be open from then on, by a quarantine and by a policy. As a peer it fails closed and is nobody's shield.
#[test]
fn a_segment_that_is_a_subject_cannot_be_deleted() {
    let _machine = machine();
    let cluster = Cluster::up(&Options::new("segments").unwrap().with_nodes(1)).unwrap();
    install_definitions(&cluster).unwrap();
    cluster.apply(OBJECTS).unwrap();

    let delete = |name: &str| cluster.kubectl(&["delete", &format!("segment/{name}")]);
    held_by(&cluster, "Quarantine breach");
    cluster.kubectl(&["delete", "quarantine/breach"]).unwrap();
    cluster.apply(GUARD).unwrap();
    held_by(&cluster, "ClusterSegmentationPolicy guard");
    let error = delete("team").unwrap_err().to_string();
    assert!(error.contains("spec.subjects"), "{error}");

    delete("guests").unwrap();
    let guard = ["delete", "clustersegmentationpolicy/guard"];
    cluster.kubectl(&guard).unwrap();
    Deadline::after(NOTICE_LIMIT)
        .until("the segment goes", || delete("team").map(Some))
        .unwrap();
    let left = cluster.kubectl(&["get", "segments", "-o", "name"]).unwrap();
    assert_eq!(left, "");
}

/// Waits until the API server refuses the segment's end because of this object. Of several it names any one.
fn held_by(cluster: &Cluster, holder: &str) {
    let wanted = format!("Segment team is a subject of {holder}");
    let refused = || {
        let tried = ["delete", "segment/team", "--dry-run=server"];
        let error = cluster.kubectl(&tried).err()?.to_string();
        error.contains(&wanted).then_some(())
    };
    Deadline::after(NOTICE_LIMIT)
        .until(&wanted, || Ok(refused()))
        .unwrap();
}
